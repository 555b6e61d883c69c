//! Values of Rust types at the border between host and guest.
//!
//! What comes in: Rust values. What goes out: 8-byte cells (two for a v128), one after the other, which is how entry
//! and host thunks have parameters and results. [`WasmTy`] is one value, [`WasmParams`] and [`WasmResults`] are lists
//! of them.
//!
//! To add a type of value: a line in `numbers!`, or an implementation of [`WasmTy`] like that of references.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::Instant;

use precast_abi::types::ValType;

use crate::call::{self, CallError};
use crate::externs::Func;
use crate::interrupt;
use crate::record::InstanceRecord;
use crate::references::{self, ForeignStore};
use crate::store::{AsStore, StoreInner};
use crate::suspend;
use crate::val::ExternRef;

/// A Rust type that is a WebAssembly value: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, `u128` (v128),
/// `Option<Func>` (funcref) and `Option<ExternRef>` (externref).
pub trait WasmTy: Value {}

pub(crate) mod border {
    use super::{ForeignStore, InstanceRecord, ValType};

    /// Keeps the traits of this module to this crate, whose unsafe code believes them.
    pub trait Value: Sized {
        /// Its type.
        const TYPE: ValType;
        /// What functions in the C convention take for it. (Of other types than numbers, none do.)
        type Register: Register;
        /// Number of cells.
        const CELLS: usize = if matches!(Self::TYPE, ValType::V128) { 2 } else { 1 };

        /// Reads a value of instance `at`.
        ///
        /// # Safety
        /// `cells` is readable for `CELLS` words; `at` is alive.
        unsafe fn load(cells: *const u64, at: At) -> Self;

        /// Writes a value for instance `at`.
        ///
        /// # Safety
        /// `cells` is writable for `CELLS` words; `at` is alive.
        unsafe fn store(self, cells: *mut u64, at: At) -> Result<(), Foreign>;
    }

    /// A value as it is in a register.
    pub trait Register: Copy {
        /// The same in a cell.
        fn cell(self) -> u64;
    }

    macro_rules! registers {
        ($($ty:ident: $value:ident => $cell:expr;)*) => { $(
            impl Register for $ty {
                #[inline]
                fn cell(self) -> u64 {
                    let $value = self;
                    $cell
                }
            }
        )* };
    }
    registers! {
        u32: value => u64::from(value);
        u64: value => value;
        f32: value => u64::from(value.to_bits());
        f64: value => value.to_bits();
    }

    /// A list of values.
    pub trait Values: Sized {
        /// Their types.
        const TYPES: &'static [ValType];
        /// Room for them.
        type Cells: Send;

        /// Reads values of instance `at`.
        ///
        /// # Safety
        /// `cells` is readable for all values; `at` is alive.
        unsafe fn load(cells: *const u64, at: At) -> Self;

        /// Writes values for instance `at`.
        ///
        /// # Safety
        /// `cells` is writable for all values; `at` is alive.
        unsafe fn store(self, cells: *mut u64, at: At) -> Result<(), Foreign>;
    }

    /// The instance whose encoding of references counts.
    #[derive(Clone, Copy)]
    pub struct At(pub(crate) *mut InstanceRecord);

    /// A reference belongs to another store.
    pub struct Foreign(pub(crate) ForeignStore);
}
use border::{At, Foreign, Value, Values};

macro_rules! numbers {
    ($($ty:ty, $val:ident in $register:ty: $cell:ident => $from:expr, $value:ident => $into:expr;)*) => { $(
        impl Value for $ty {
            const TYPE: ValType = ValType::$val;
            type Register = $register;
            #[inline]
            unsafe fn load(cells: *const u64, _: At) -> Self {
                // SAFETY: the caller says that the cell is readable.
                let $cell = unsafe { cells.read() };
                $from
            }
            #[inline]
            unsafe fn store(self, cells: *mut u64, _: At) -> Result<(), Foreign> {
                let $value = self;
                // SAFETY: the caller says that the cell is writable.
                unsafe { cells.write($into) };
                Ok(())
            }
        }
        impl WasmTy for $ty {}
    )* };
}
numbers! {
    i32, I32 in u32: cell => cell as i32, value => u64::from(value as u32);
    u32, I32 in u32: cell => cell as u32, value => u64::from(value);
    i64, I64 in u64: cell => cell as i64, value => value as u64;
    u64, I64 in u64: cell => cell, value => value;
    f32, F32 in f32: cell => f32::from_bits(cell as u32), value => u64::from(value.to_bits());
    f64, F64 in f64: cell => f64::from_bits(cell), value => value.to_bits();
}

impl Value for u128 {
    const TYPE: ValType = ValType::V128;
    type Register = u64;
    #[inline]
    unsafe fn load(cells: *const u64, _: At) -> Self {
        // SAFETY: the caller says that both cells are readable.
        let (low, high) = unsafe { (cells.read(), cells.add(1).read()) };
        u128::from(low) | u128::from(high) << 64
    }
    #[inline]
    unsafe fn store(self, cells: *mut u64, _: At) -> Result<(), Foreign> {
        // SAFETY: the caller says that both cells are writable.
        unsafe {
            cells.write(self as u64);
            cells.add(1).write((self >> 64) as u64);
        }
        Ok(())
    }
}
impl WasmTy for u128 {}

impl Value for Option<Func> {
    const TYPE: ValType = ValType::FuncRef;
    type Register = u64;
    unsafe fn load(cells: *const u64, at: At) -> Self {
        // SAFETY: as the caller says.
        unsafe { references::to_func(at.0, cells.read()) }
    }
    unsafe fn store(self, cells: *mut u64, at: At) -> Result<(), Foreign> {
        // SAFETY: as the caller says.
        unsafe { cells.write(references::from_func(at.0, self).map_err(Foreign)?) };
        Ok(())
    }
}
impl WasmTy for Option<Func> {}

impl Value for Option<ExternRef> {
    const TYPE: ValType = ValType::ExternRef;
    type Register = u64;
    unsafe fn load(cells: *const u64, at: At) -> Self {
        // SAFETY: as the caller says.
        unsafe { references::to_extern(at.0, cells.read()) }
    }
    unsafe fn store(self, cells: *mut u64, at: At) -> Result<(), Foreign> {
        // SAFETY: as the caller says.
        unsafe { cells.write(references::from_extern(at.0, self.as_ref())) };
        Ok(())
    }
}
impl WasmTy for Option<ExternRef> {}

/// Parameters of a function: a [`WasmTy`], or a tuple of up to 16.
pub trait WasmParams: Values {}

/// Results of a function: a [`WasmTy`], or a tuple of up to 16.
pub trait WasmResults: Values {}

impl<V: WasmTy> Values for V {
    const TYPES: &'static [ValType] = &[V::TYPE];
    type Cells = [u64; 2];
    #[inline]
    unsafe fn load(cells: *const u64, at: At) -> Self {
        // SAFETY: as the caller says.
        unsafe { <V as Value>::load(cells, at) }
    }
    #[inline]
    unsafe fn store(self, cells: *mut u64, at: At) -> Result<(), Foreign> {
        // SAFETY: as the caller says.
        unsafe { <V as Value>::store(self, cells, at) }
    }
}
impl<V: WasmTy> WasmParams for V {}
impl<V: WasmTy> WasmResults for V {}

macro_rules! tuples {
    ($($n:literal: $($value:ident)*;)*) => { $(
        impl<$($value: WasmTy),*> Values for ($($value,)*) {
            const TYPES: &'static [ValType] = &[$($value::TYPE),*];
            type Cells = [u64; 2 * $n];
            #[inline]
            #[allow(unused_variables, unused_mut, unused_assignments, clippy::unused_unit, reason = "the unit tuple")]
            unsafe fn load(cells: *const u64, at: At) -> Self {
                let mut cells = cells;
                ($({
                    // SAFETY: the caller says that the cells of all values are readable.
                    let value = unsafe { <$value as Value>::load(cells, at) };
                    cells = cells.wrapping_add($value::CELLS);
                    value
                },)*)
            }
            #[inline]
            #[allow(non_snake_case, unused_variables, unused_mut, unused_assignments, reason = "of the unit tuple")]
            unsafe fn store(self, cells: *mut u64, at: At) -> Result<(), Foreign> {
                let mut cells = cells;
                let ($($value,)*) = self;
                $(
                    // SAFETY: the caller says that the cells of all values are writable.
                    unsafe { Value::store($value, cells, at)? };
                    cells = cells.wrapping_add($value::CELLS);
                )*
                Ok(())
            }
        }
        impl<$($value: WasmTy),*> WasmParams for ($($value,)*) {}
        impl<$($value: WasmTy),*> WasmResults for ($($value,)*) {}
    )* };
}

/// Calls a macro with `length: names;` for each length of a tuple.
macro_rules! for_each_tuple {
    ($with:ident) => {
        $with! {
            0: ;
            1: A;
            2: A B;
            3: A B C;
            4: A B C D;
            5: A B C D E;
            6: A B C D E F;
            7: A B C D E F G;
            8: A B C D E F G H;
            9: A B C D E F G H I;
            10: A B C D E F G H I J;
            11: A B C D E F G H I J K;
            12: A B C D E F G H I J K L;
            13: A B C D E F G H I J K L M;
            14: A B C D E F G H I J K L M N;
            15: A B C D E F G H I J K L M N O;
            16: A B C D E F G H I J K L M N O Q;
        }
    };
}
pub(crate) use for_each_tuple;
for_each_tuple!(tuples);

/// Whether the encoded signature (`precast_abi::types::FuncType::encode`) is that of `P` and `R`. Allocates nothing.
pub(crate) fn signature_is<P: Values, R: Values>(signature: &[u8]) -> bool {
    let Some((len, types)) = signature.split_first_chunk::<4>() else { return false };
    let wanted = P::TYPES.iter().chain(R::TYPES).map(|ty| *ty as u8);
    u32::from_le_bytes(*len) as usize == P::TYPES.len() && types.iter().copied().eq(wanted)
}

/// A function whose type is known at compile time. Belongs to a store, like [`Func`].
pub struct TypedFunc<P, R> {
    pub(crate) func: Func,
    /// Text offset of the entry thunk.
    pub(crate) entry: u32,
    pub(crate) types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P, R> Copy for TypedFunc<P, R> {}

impl<P, R> std::fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.func.fmt(f)
    }
}

/// Room for parameters, and later results, whichever takes more.
#[repr(C)]
union Cells<P: Values, R: Values> {
    _params: std::mem::ManuallyDrop<P::Cells>,
    _results: std::mem::ManuallyDrop<R::Cells>,
}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    /// Calls the function.
    ///
    /// # Errors
    /// The guest traps, or a host function that it calls fails; the function, or a reference among the parameters, is
    /// of another store.
    ///
    /// # Panics
    /// With the panic of a host function that the guest called.
    #[inline]
    pub fn call(&self, store: &mut impl AsStore, params: P) -> Result<R, CallError> {
        let store = store.inner().as_ptr();
        // SAFETY: the store is borrowed exclusively, so it is alive and ours; a function with the store's identity is
        // one of its functions, whose type `Func::typed` compared with `P` and `R`; `Cells` has room for both.
        unsafe {
            if self.func.store != (*store).id {
                return Err(ForeignStore.into());
            }
            let record = StoreInner::record(store, self.func.id.instance).ok_or(ForeignStore)?;
            let mut room = MaybeUninit::<Cells<P, R>>::uninit();
            let cells = room.as_mut_ptr().cast::<u64>();
            params.store(cells, At(record)).map_err(|foreign| foreign.0)?;
            call::enter(record, self.entry, self.func.id.text, cells)?;
            Ok(R::load(cells, At(record)))
        }
    }

    /// As [`Self::call`], but the guest traps with [`crate::TrapCode::Interrupted`] if it still runs at `deadline`: see
    /// [`crate::with_deadline`]. Asynchronous calls have [`crate::with_deadline_async`].
    ///
    /// # Errors
    /// As [`Self::call`]; and if there can be no deadlines in this process or thread.
    ///
    /// # Panics
    /// As [`Self::call`].
    pub fn call_with_deadline(&self, store: &mut impl AsStore, params: P, deadline: Instant) -> Result<R, CallError> {
        interrupt::call_with_deadline(deadline, || self.call(store, params))
    }

    /// Calls the function, from where its thread may go on meanwhile: while an async host function waits, so does the
    /// future, and the guest is suspended. Dropping the future then abandons the guest in the middle of what it does.
    ///
    /// In a host function, for a guest that it was called by, this is [`Self::call`].
    ///
    /// # Errors
    /// As [`Self::call`].
    ///
    /// # Panics
    /// As [`Self::call`].
    pub async fn call_async(&self, store: &mut impl AsStore, params: P) -> Result<R, CallError> {
        let mut room = MaybeUninit::<Cells<P, R>>::uninit();
        // SAFETY: as in `call`; the future that this is keeps store and room where they are until the call is dropped.
        let call = unsafe {
            let store = store.inner().as_ptr();
            if self.func.store != (*store).id {
                return Err(ForeignStore.into());
            }
            let record = StoreInner::record(store, self.func.id.instance).ok_or(ForeignStore)?;
            let cells = room.as_mut_ptr().cast::<u64>();
            params.store(cells, At(record)).map_err(|foreign| foreign.0)?;
            suspend::call_async(record, self.entry, self.func.id.text, cells)
        };
        call.await?;
        // SAFETY: as above; the results are in the cells now.
        unsafe {
            let record = StoreInner::record(store.inner().as_ptr(), self.func.id.instance).ok_or(ForeignStore)?;
            Ok(R::load(room.as_ptr().cast(), At(record)))
        }
    }

    /// The function without its type.
    pub fn func(&self) -> Func {
        self.func
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use precast_abi::types::FuncType;

    const NOWHERE: At = At(std::ptr::null_mut());

    #[test]
    fn values_are_cells_one_after_the_other() {
        let mut cells = [u64::MAX; 6];
        // SAFETY: the array has a cell for each number and two for the vector; numbers need no instance.
        let back = unsafe {
            let stored = (-1i32, 1u128 << 64 | 5, -0.5f32, -2i64).store(cells.as_mut_ptr(), NOWHERE);
            assert!(stored.is_ok());
            <(u32, u128, f32, u64)>::load(cells.as_ptr(), NOWHERE)
        };
        assert_eq!(cells, [0xffff_ffff, 5, 1, u64::from((-0.5f32).to_bits()), -2i64 as u64, u64::MAX]);
        assert_eq!(back, (u32::MAX, 1 << 64 | 5, -0.5, -2i64 as u64));
    }

    #[test]
    fn signatures_are_compared() {
        use ValType::*;
        let signature = FuncType { params: [I32, V128].into(), results: [F64].into() }.encode();
        assert!(signature_is::<(u32, u128), f64>(&signature));
        assert!(signature_is::<(i32, u128), (f64,)>(&signature));
        assert!(!signature_is::<(i32, u128), ()>(&signature));
        assert!(!signature_is::<i32, (u128, f64)>(&signature));
        assert!(!signature_is::<(i32, u128, f64), ()>(&signature));
        assert!(!signature_is::<(), ()>(&[]));
        assert!(signature_is::<(), Option<Func>>(&[0, 0, 0, 0, FuncRef as u8]));
    }
}
