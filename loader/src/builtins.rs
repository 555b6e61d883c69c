//! Bodies of the functions that compiled code calls in the loader.
//!
//! What comes in: the calling instance's host words, and what the guest asked for. What goes out: a number, with which
//! the caller goes on or traps. The list with its meanings is `precast_builtins::for_each_builtin!`; to add one, add a
//! body of the same name to [`bodies`].
//!
//! # Safety
//! A body is called by its stub only, on the host's stack, with the host words of the live instance that runs, whose
//! thread has the store for itself. Everything after the words is the guest's, so nothing about it is believed: ranges
//! are checked in 64 bits before a byte is touched, and there is no panic for lack of an index.

#[cfg(test)]
pub(crate) mod counted;

use std::ops::Range;

use precast_abi::meta::{DataRow, ElementRow};
use precast_abi::trap::TrapCode;
use precast_abi::types::ValType;

use crate::record::{self, InstanceRecord};
use crate::references;
use crate::state::{GlobalState, MemoryState, TableState};
use crate::store::StoreInner;
use crate::sys;
use crate::transcode;

/// What [`precast_abi::host::HostWords::BUILTINS`] of every instance points to, which is the second field: a host thunk
/// finds the host-call switch in the word before.
#[repr(C)]
struct Table {
    host_switch: Stub,
    stubs: [Stub; precast_builtins::Builtin::ALL.len()],
}

type Stub = unsafe extern "C" fn();

/// A builtin's result where it is two words.
#[repr(C)]
pub(crate) struct Pair(u64, u64);

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ty),*) -> $result:ty;)*) => {
        static TABLE: Table = Table { host_switch: sys::host_switch, stubs: [$($name),*] };

        $(
            sys::builtin_stub!(
                /// Switches to the host's stack and calls the body of the same name.
                $name => bodies::$name
            );
        )*
    };
}
precast_builtins::for_each_builtin!(table);

/// The word that [`precast_abi::host::HostWords::BUILTINS`] holds.
pub(crate) fn table() -> *const u8 {
    TABLE.stubs.as_ptr().cast()
}

/// One for each line of the list.
mod bodies {
    use super::*;

    pub(super) extern "C" fn memory_grow(words: *mut u8, memory: u32, delta: u64) -> u64 {
        caller(words).memory(memory).and_then(|memory| memory.grow(delta)).unwrap_or(u64::MAX)
    }

    pub(super) extern "C" fn memory_copy(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u64,
        from: u64,
        len: u64,
    ) -> u32 {
        status(|| {
            let to = caller(words).memory(to_memory)?.range(to, len)?;
            let from = caller(words).memory(from_memory)?.range(from, len)?;
            // SAFETY: `range` gives `len` bytes of live memories; they may overlap.
            unsafe { std::ptr::copy(from, to, len as usize) };
            Some(())
        })
    }

    pub(super) extern "C" fn memory_fill(words: *mut u8, memory: u32, to: u64, value: u32, len: u64) -> u32 {
        status(|| {
            let to = caller(words).memory(memory)?.range(to, len)?;
            // SAFETY: `range` gives `len` bytes of a live memory.
            unsafe { std::ptr::write_bytes(to, value as u8, len as usize) };
            Some(())
        })
    }

    pub(super) extern "C" fn memory_init(
        words: *mut u8,
        memory: u32,
        segment: u32,
        to: u64,
        from: u32,
        len: u32,
    ) -> u32 {
        status(|| {
            let to = caller(words).memory(memory)?.range(to, len.into())?;
            let bytes = caller(words).data(segment)?;
            let from = bytes.cast::<u8>().wrapping_add(part(bytes.len(), from, len)?.start);
            // SAFETY: `range` gives `len` bytes of a live memory and `part` as many of the artifact, which is
            // elsewhere.
            unsafe { std::ptr::copy_nonoverlapping(from, to, len as usize) };
            Some(())
        })
    }

    pub(super) extern "C" fn table_grow(words: *mut u8, table: u32, delta: u64, value: u64) -> u64 {
        let grow = || {
            let table = caller(words).table(table)?;
            table.grow(delta, caller(words).encode_for(&table, value))
        };
        grow().unwrap_or(u64::MAX)
    }

    pub(super) extern "C" fn table_copy(
        words: *mut u8,
        to_table: u32,
        from_table: u32,
        to: u64,
        from: u64,
        len: u64,
    ) -> u32 {
        status(|| {
            let (to_table, from_table) = (caller(words).table(to_table)?, caller(words).table(from_table)?);
            let (to, from) = (to_table.range(to, len)?, from_table.range(from, len)?);
            if to_table.owner == from_table.owner || !to_table.holds_funcs() {
                // SAFETY: `range` gives `len` elements of live tables; they may overlap.
                unsafe { std::ptr::copy(from, to, len as usize) };
                return Some(());
            }
            for at in 0..len as usize {
                // SAFETY: as above; tables of different owners do not overlap, and both owners are alive.
                unsafe {
                    to.add(at).write(references::translate(from_table.owner, to_table.owner, from.add(at).read()))
                };
            }
            Some(())
        })
    }

    pub(super) extern "C" fn table_fill(words: *mut u8, table: u32, to: u64, value: u64, len: u64) -> u32 {
        status(|| {
            let table = caller(words).table(table)?;
            table.fill(to, caller(words).encode_for(&table, value), len)
        })
    }

    pub(super) extern "C" fn table_init(words: *mut u8, table: u32, segment: u32, to: u64, from: u32, len: u32) -> u32 {
        status(|| {
            let table = caller(words).table(table)?;
            let to = table.range(to, len.into())?;
            let segment = caller(words).elements(segment)?;
            for (at, index) in part(segment.len as usize, from, len)?.enumerate() {
                let value = caller(words).encode_for(&table, segment.get(index));
                // SAFETY: `range` gives `len` elements of a live table.
                unsafe { to.add(at).write(value) };
            }
            Some(())
        })
    }

    pub(super) extern "C" fn table_get(words: *mut u8, table: u32, index: u64) -> Pair {
        let get = || {
            let table = caller(words).table(table)?;
            let element = table.get(index)?;
            Some(if table.holds_funcs() { caller(words).decode_from(table.owner, element) } else { element })
        };
        get().map_or(Pair(0, 1), |element| Pair(element, 0))
    }

    pub(super) extern "C" fn table_set(words: *mut u8, table: u32, index: u64, value: u64) -> u32 {
        status(|| {
            let table = caller(words).table(table)?;
            table.set(index, caller(words).encode_for(&table, value))
        })
    }

    pub(super) extern "C" fn table_callee(words: *mut u8, table: u32, index: u64, ty: u32) -> Pair {
        let element = || {
            let table = caller(words).table(table)?;
            Some((table.owner, table.get(index)?))
        };
        let callee = element().ok_or(TrapCode::UndefinedElement);
        // SAFETY: the owner of the table and the caller are alive, in one store.
        pair(callee.and_then(|(owner, element)| unsafe { references::callee(owner, element, caller(words).0, ty) }))
    }

    pub(super) extern "C" fn foreign_callee(words: *mut u8, payload: u32, ty: u32) -> Pair {
        use precast_abi::funcref::{FOREIGN_TYPE, pack};
        let record = caller(words).0;
        // SAFETY: the caller is alive.
        pair(unsafe { references::callee(record, pack(FOREIGN_TYPE, payload), record, ty) })
    }

    pub(super) extern "C" fn funcref_from(words: *mut u8, base: u64, reference: u64) -> u64 {
        caller(words).at_base(base).map_or(0, |owner| caller(words).decode_from(owner, reference))
    }

    pub(super) extern "C" fn funcref_to(words: *mut u8, base: u64, reference: u64) -> u64 {
        // SAFETY: the instance at the base and the caller are alive, in one store.
        caller(words).at_base(base).map_or(0, |to| unsafe { references::translate(caller(words).0, to, reference) })
    }

    pub(super) extern "C" fn global_get_funcref(words: *mut u8, global: u32) -> u64 {
        let Some(global) = caller(words).global(global) else { return 0 };
        // SAFETY: a live global's value is readable.
        caller(words).decode_from(global.owner, unsafe { global.cell().read() })
    }

    pub(super) extern "C" fn global_set_funcref(words: *mut u8, global: u32, reference: u64) -> u32 {
        if let Some(global) = caller(words).global(global) {
            // SAFETY: the owner and the caller are alive, in one store; a live global's value is writable.
            unsafe { global.cell().write(references::translate(caller(words).0, global.owner, reference)) };
        }
        0
    }

    pub(super) extern "C" fn utf8_check(words: *mut u8, memory: u32, at: u32, len: u32) -> u32 {
        status(|| {
            let at = caller(words).memory(memory)?.range(at.into(), len.into())?;
            // SAFETY: `range` gives `len` bytes of a live memory, which nothing writes before the guest goes on.
            transcode::check_utf8(unsafe { std::slice::from_raw_parts(at, len as usize) })
        })
    }

    pub(super) extern "C" fn utf16_copy(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 2, room: 2 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::utf16_copy)
    }

    pub(super) extern "C" fn utf16_to_ascii(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 2, room: 1 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::utf16_to_ascii)
    }

    pub(super) extern "C" fn utf16_to_utf8(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 2, room: 3 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::utf16_to_utf8)
    }

    pub(super) extern "C" fn utf16_to_latin1(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 2, room: 1 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::utf16_to_latin1)
    }

    pub(super) extern "C" fn utf8_to_utf16(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 1, room: 2 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::utf8_to_utf16)
    }

    pub(super) extern "C" fn utf8_to_latin1(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 1, room: 1 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::utf8_to_latin1)
    }

    pub(super) extern "C" fn latin1_to_utf8(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 1, room: 2 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::latin1_to_utf8)
    }

    pub(super) extern "C" fn latin1_to_utf16(
        words: *mut u8,
        to_memory: u32,
        from_memory: u32,
        to: u32,
        from: u32,
        len: u32,
    ) -> u64 {
        let sizes = Sizes { unit: 1, room: 2 };
        caller(words).transcode((to_memory, to), (from_memory, from), len, sizes, transcode::latin1_to_utf16)
    }
}

/// Bytes of a code unit, and for each one the room in bytes that the result may take.
#[derive(Clone, Copy)]
struct Sizes {
    unit: u64,
    room: u64,
}

/// The instance that calls a builtin.
#[derive(Clone, Copy)]
struct Caller(*mut InstanceRecord);

fn caller(words: *mut u8) -> Caller {
    // SAFETY: a stub passes on the words of the running instance.
    Caller(unsafe { record::of_words(words) })
}

/// All of these give live things only: the caller is alive and with it its store, in which owners live as long.
impl Caller {
    fn store(self) -> *mut StoreInner {
        // SAFETY: the caller is alive.
        unsafe { (*self.0).store }
    }

    fn memory(self, index: u32) -> Option<MemoryState> {
        // SAFETY: the caller and its store are alive; the borrow ends with the statement.
        unsafe { MemoryState::new(self.store(), (*self.0).memory(index)?) }
    }

    /// Has `convert` write what `len` code units say to another place. −1 as `u64` if it refuses, or a range is out of
    /// bounds, or the two overlap.
    fn transcode(
        self,
        (to_memory, to): (u32, u32),
        (from_memory, from): (u32, u32),
        len: u32,
        sizes: Sizes,
        convert: impl FnOnce(&[u8], &mut [u8]) -> Option<u64>,
    ) -> u64 {
        let run = || {
            let (from_len, to_len) = (u64::from(len) * sizes.unit, u64::from(len) * sizes.room);
            let from = self.memory(from_memory)?.range(from.into(), from_len)?;
            let to = self.memory(to_memory)?.range(to.into(), to_len)?;
            let (from_start, to_start) = (from.addr() as u64, to.addr() as u64);
            let apart = from_start + from_len <= to_start || to_start + to_len <= from_start;
            if !apart && from_len > 0 && to_len > 0 {
                return None;
            }
            // SAFETY: `range` gives as many bytes of live memories; they do not overlap, and nothing else reads or
            // writes them before the guest goes on.
            unsafe {
                let from = std::slice::from_raw_parts(from, from_len as usize);
                convert(from, std::slice::from_raw_parts_mut(to, to_len as usize))
            }
        };
        run().unwrap_or(u64::MAX)
    }

    fn table(self, index: u32) -> Option<TableState> {
        // SAFETY: as above.
        unsafe { TableState::new(self.store(), (*self.0).table(index)?) }
    }

    fn global(self, index: u32) -> Option<GlobalState> {
        // SAFETY: as above.
        unsafe { GlobalState::new(self.store(), (*self.0).global(index)?) }
    }

    fn at_base(self, base: u64) -> Option<*mut InstanceRecord> {
        // SAFETY: the store is alive.
        unsafe { StoreInner::record_at(self.store(), base as usize) }
    }

    /// A reference of the caller as an element of `table`.
    fn encode_for(self, table: &TableState, value: u64) -> u64 {
        if !table.holds_funcs() {
            return value;
        }
        // SAFETY: the caller and the table's owner are alive, in one store.
        unsafe { references::translate(self.0, table.owner, value) }
    }

    /// A function reference of `owner` in the caller's encoding.
    fn decode_from(self, owner: *mut InstanceRecord, reference: u64) -> u64 {
        // SAFETY: the caller and the owner are alive, in one store.
        unsafe { references::translate(owner, self.0, reference) }
    }

    /// What is left of data segment `index`: bytes of the artifact, which is open as long as the caller is alive.
    fn data(self, index: u32) -> Option<*const [u8]> {
        // SAFETY: the caller is alive; what is borrowed here does not change, and the borrow ends with the block.
        unsafe {
            let meta = (*self.0).artifact().meta();
            let row: DataRow = meta.data.get(index as usize)?;
            let len = self.segment_len(row.len_word)?;
            Some(std::ptr::from_ref(meta.bytes(row.contents)?.get(..len as usize)?))
        }
    }

    /// What is left of element segment `index`.
    fn elements(self, index: u32) -> Option<Elements> {
        // SAFETY: as above.
        unsafe {
            let meta = (*self.0).artifact().meta();
            let row: ElementRow = meta.elements.get(index as usize)?;
            let len = self.segment_len(row.len_word)?;
            let size = len as usize * 8;
            let first = match row.cells {
                0 => meta.bytes(row.contents)?.get(..size)?.as_ptr(),
                cells if (*self.0).plan().blocks.contain(cells, size as u64) => {
                    (*self.0).base.offset(cells as isize).cast_const()
                }
                _ => return None,
            };
            Some(Elements { first, len })
        }
    }

    /// The word with the current length of a segment; zero if there is none, because it was dropped from the start.
    fn segment_len(self, word: i64) -> Option<u32> {
        if word == 0 {
            return Some(0);
        }
        // SAFETY: the caller is alive; a word of a block of a live instance is readable.
        unsafe {
            let inside = (*self.0).plan().blocks.contain_aligned(word, 4, 4);
            inside.then(|| (*self.0).base.offset(word as isize).cast::<u32>().read())
        }
    }
}

/// The references of an element segment, in the encoding of its instance: in the artifact or the block.
struct Elements {
    first: *const u8,
    len: u32,
}

impl Elements {
    /// The reference at `index`, which is less than `len`.
    fn get(&self, index: usize) -> u64 {
        debug_assert!(index < self.len as usize);
        // SAFETY: `Caller::elements` made sure of `len` references; the blob need not be aligned.
        u64::from_le(unsafe { self.first.cast::<u64>().add(index).read_unaligned() })
    }
}

impl TableState {
    /// Whether its elements need translation between instances. Host references are the same in the whole store.
    fn holds_funcs(&self) -> bool {
        self.row.element == ValType::FuncRef
    }
}

/// The range `[from, from + len)` of a segment of `size`, if it is all inside.
fn part(size: usize, from: u32, len: u32) -> Option<Range<usize>> {
    let end = u64::from(from) + u64::from(len);
    (end <= size as u64).then_some(from as usize..end as usize)
}

/// 0, or 1 if something was out of bounds.
fn status(run: impl FnOnce() -> Option<()>) -> u32 {
    u32::from(run().is_none())
}

fn pair(callee: Result<(*const u8, *mut u8), TrapCode>) -> Pair {
    match callee {
        Ok((code, base)) => Pair(code.expose_provenance() as u64, base.expose_provenance() as u64),
        Err(trap) => Pair(0, trap as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_segments() {
        assert_eq!(part(4, 1, 3), Some(1..4));
        assert_eq!(part(4, 4, 0), Some(4..4));
        assert_eq!(part(4, 5, 0), None);
        assert_eq!(part(4, u32::MAX, u32::MAX), None);
        assert_eq!(part(0, 0, 0), Some(0..0));
    }

    #[test]
    fn the_word_before_the_builtins_is_the_switch() {
        assert_eq!(std::mem::offset_of!(Table, stubs), 8);
        assert_eq!(table().addr(), (&raw const TABLE).addr() + 8);
    }
}
