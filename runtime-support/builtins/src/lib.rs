//! What compiled code may call in the loader: one list of names and signatures.
//!
//! What comes in: nothing. What goes out: [`for_each_builtin!`], from which the compiler makes call signatures and the
//! loader its table of bodies, in the same order, so that [`Builtin`] is an index into the table that
//! [`precast_abi::host::HostWords::BUILTINS`] points to.
//!
//! Each is called with the platform's C convention, the slot's host words before the listed parameters, from the
//! guest's stack; the loader's stub switches to the host's stack and back, so a body may use as much as it likes and
//! needs no room on the guest's. None of them may be interrupted: an interruption waits until the guest's code goes on.
//! A body never unwinds. Indices come from the compiler and are in range; everything else comes from the guest.
//!
//! To add one: a line in the list, a body of the same name in the loader, and raise [`precast_abi::ABI_VERSION`].
#![no_std]
#![forbid(unsafe_code)]

/// Calls a macro with the list: `name(parameter: type, …) -> result;` where types are `u32` and `u64`, and a result
/// may also be `(u64, u64)`.
#[macro_export]
macro_rules! for_each_builtin {
    ($with:ident) => {
        $with! {
            /// Grows a memory by `delta` pages. Returns the old number of pages, or −1 as `u64`.
            memory_grow(memory: u32, delta: u64) -> u64;
            /// Copies within or between memories. Returns 0, or 1 if a range is out of bounds (nothing is copied).
            memory_copy(to_memory: u32, from_memory: u32, to: u64, from: u64, len: u64) -> u32;
            /// Fills with the low byte of `value`. Returns 0, or 1 if out of bounds (nothing is written).
            memory_fill(memory: u32, to: u64, value: u32, len: u64) -> u32;
            /// Copies from a data segment. Returns 0, or 1 if out of bounds (nothing is copied).
            memory_init(memory: u32, segment: u32, to: u64, from: u32, len: u32) -> u32;

            /// Grows a table by `delta` elements of `value`. Returns the old number of elements, or −1 as `u64`.
            table_grow(table: u32, delta: u64, value: u64) -> u64;
            /// Copies within or between tables. Returns 0, or 1 if a range is out of bounds (nothing is copied).
            table_copy(to_table: u32, from_table: u32, to: u64, from: u64, len: u64) -> u32;
            /// Fills with `value`. Returns 0, or 1 if out of bounds (nothing is written).
            table_fill(table: u32, to: u64, value: u64, len: u64) -> u32;
            /// Copies from an element segment. Returns 0, or 1 if out of bounds (nothing is copied).
            table_init(table: u32, segment: u32, to: u64, from: u32, len: u32) -> u32;

            /// An element of an imported table, in the caller's encoding. Returns it and 0, or anything and 1 if out of
            /// bounds.
            table_get(table: u32, index: u64) -> (u64, u64);
            /// Stores into an imported table. Returns 0, or 1 if out of bounds.
            table_set(table: u32, index: u64, value: u64) -> u32;
            /// For `call_indirect` through an imported table: code and base of the element, if it is a function of the
            /// caller's type `ty`. Otherwise 0 and the number of a `TrapCode`.
            table_callee(table: u32, index: u64, ty: u32) -> (u64, u64);
            /// Code and base of the foreign function `payload`, if it is of the caller's type `ty`; otherwise 0 and the
            /// number of a `TrapCode`.
            foreign_callee(payload: u32, ty: u32) -> (u64, u64);

            /// Translates a function reference from the encoding of the instance with base `base` to the caller's.
            funcref_from(base: u64, reference: u64) -> u64;
            /// Translates a function reference from the caller's encoding to that of the instance with base `base`.
            funcref_to(base: u64, reference: u64) -> u64;
            /// The value of an imported global of type `funcref`, in the caller's encoding.
            global_get_funcref(global: u32) -> u64;
            /// Sets an imported global of type `funcref` from the caller's encoding. Returns 0.
            global_set_funcref(global: u32, reference: u64) -> u32;

            /// Whether bytes are UTF-8: 0, or 1 if they are not, or out of bounds.
            utf8_check(memory: u32, at: u32, len: u32) -> u32;
            /// Copies UTF-16. Here and below, lengths are in the source's code units, and the result is −1 as `u64` if
            /// the text is invalid or a range is out of bounds; whatever else it is, all of the text was looked at.
            /// Returns 1 if any unit is above 255, else 0. Writes `2 * len` bytes.
            utf16_copy(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
            /// Writes what comes before the first unit above 127 as bytes, of which there must be room for `len`.
            /// Returns how many that is.
            utf16_to_ascii(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
            /// Writes UTF-8, for which there must be room for `3 * len` bytes. Returns how many bytes it takes.
            utf16_to_utf8(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
            /// Writes Latin-1, for which there must be room for `len` bytes. Returns how many bytes it wrote, and in
            /// bit 32 whether it stopped there, at a character that Latin-1 does not have.
            utf16_to_latin1(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
            /// Writes UTF-16, for which there must be room for `2 * len` bytes. Returns how many units it takes.
            utf8_to_utf16(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
            /// As `utf16_to_latin1`, from UTF-8.
            utf8_to_latin1(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
            /// Writes UTF-8, for which there must be room for `2 * len` bytes. Returns how many bytes it takes.
            latin1_to_utf8(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
            /// Writes UTF-16, `2 * len` bytes. Returns `len`.
            latin1_to_utf16(to_memory: u32, from_memory: u32, to: u32, from: u32, len: u32) -> u64;
        }
    };
}

macro_rules! define {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ty),*) -> $result:ty;)*) => {
        /// A builtin; as a number, its index in the loader's table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the names are those of functions")]
        #[repr(u32)]
        pub enum Builtin { $($(#[$doc])* $name,)* }

        impl Builtin {
            /// Every builtin, in order.
            pub const ALL: &[Builtin] = &[$(Builtin::$name,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Builtin::$name => stringify!($name),)* }
            }

            /// Size in bytes of each parameter after the host words.
            pub fn params(self) -> &'static [usize] {
                match self { $(Builtin::$name => &[$(size_of::<$ty>()),*],)* }
            }

            /// Size in bytes of the result: 4, 8, or 16 for a pair.
            pub fn result(self) -> usize {
                match self { $(Builtin::$name => size_of::<$result>(),)* }
            }
        }
    };
}
for_each_builtin!(define);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_fits_in_argument_registers() {
        for builtin in Builtin::ALL {
            assert!(builtin.params().len() < 6, "{}", builtin.name());
            assert!(matches!(builtin.result(), 4 | 8 | 16), "{}", builtin.name());
        }
        assert_eq!(Builtin::ALL[Builtin::table_init as usize], Builtin::table_init);
    }
}
