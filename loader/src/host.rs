//! Host functions: from a closure to what an import's cell holds.
//!
//! What comes in: a Rust closure. What goes out: a [`HostFunc`]: its WebAssembly type, the closure's address, and functions
//! made for just this closure: one that a host thunk reaches by the loader's host-call switch, with values in cells
//! ([`border`]), and where all values fit registers, another that imports reach without a thunk.
//!
//! At the border the guest's values become Rust values and back; a panic is caught, and it or the error is left in the
//! store's context while a status tells the switch to abandon the guest. So nothing ever unwinds through guest frames.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use precast_abi::host::FuncImport;
use precast_abi::types::{FuncType, ValType};

use crate::HostError;
use crate::call::CallError;
use crate::context::{Abort, host_status};
use crate::externs::{Extern, Memory};
use crate::record::{self, InstanceRecord};
use crate::store::{AsStore, InstanceId, StoreInner, sealed::Sealed};
use crate::sys::arch;
use crate::typed::border::{At, Register, Value, Values};
use crate::typed::{WasmResults, WasmTy, for_each_tuple};

mod dynamic;

/// What a cell's `HOST_CALL` is.
pub(crate) type HostCall = unsafe extern "C" fn(words: *mut u8, cell: *mut u8, values: *mut u64) -> u32;

/// A host function.
#[derive(Clone)]
pub(crate) struct HostFunc {
    ty: FuncType,
    call: HostCall,
    /// The same for [`arch::register_switch`], if all values are in registers.
    in_registers: Option<usize>,
    /// The closure that these are for.
    data: Arc<dyn Send + Sync>,
}

/// What `HOST_DATA` of a cell points to: the same for all instances that share bindings.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Callee {
    /// Address of the closure.
    closure: usize,
    /// What [`arch::register_switch`] calls: `extern "C" fn(cell, parameters…) -> Outcome`.
    pub(crate) in_registers: usize,
    /// From the host words to the cell, in bytes.
    pub(crate) cell: usize,
}

/// The closure of a cell.
///
/// # Safety
/// The cell is in the host words of a live instance and was filled in for a `C`.
#[inline]
pub(crate) unsafe fn closure_of<'a, C>(cell: *mut u8) -> &'a C {
    // SAFETY: the caller's promise; what cells point to, bindings keep.
    unsafe { &*ptr::with_exposed_provenance((*callee_of(cell)).closure) }
}

/// # Safety
/// As [`closure_of`].
#[inline]
unsafe fn callee_of(cell: *mut u8) -> *const Callee {
    // SAFETY: the caller's promise.
    ptr::with_exposed_provenance(unsafe { cell.add(FuncImport::HOST_DATA as usize).cast::<usize>().read() })
}

/// What a host function returns in registers.
#[repr(C)]
struct Outcome {
    /// The result, if there is one: the bits of its cell.
    value: u64,
    /// A [`host_status`].
    status: u64,
}

impl HostFunc {
    /// A function whose border is `call`, which finds `data` in its cell.
    pub(crate) fn with_border<C: Send + Sync + 'static>(ty: FuncType, call: HostCall, data: Arc<C>) -> Self {
        HostFunc { ty, call, in_registers: None, data }
    }

    fn new<T, C: Closure<T>>(ty: FuncType, closure: C) -> Self {
        HostFunc { ty, call: border::<T, C>, in_registers: None, data: Arc::new(closure) }
    }

    /// Its type.
    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// For the cell's `HOST_CALL`.
    pub(crate) fn call_address(&self) -> usize {
        (self.call as *const ()).expose_provenance()
    }

    /// For `HOST_DATA` of a cell, which is at `cell` in the host words: good while a clone of `self` is alive.
    pub(crate) fn callee(&self, cell: usize) -> Callee {
        let closure = Arc::as_ptr(&self.data).cast::<()>().expose_provenance();
        Callee { closure, in_registers: self.in_registers.unwrap_or_default(), cell }
    }

    /// Code to be called with the convention of compiled functions and the address of the cell as the base, instead of the
    /// artifact's host thunk.
    pub(crate) fn switch(&self) -> Option<usize> {
        self.in_registers.and_then(|_| arch::register_switch())
    }
}

/// A closure that reads its parameters from cells and writes its results there.
trait Closure<T>: Send + Sync + 'static {
    /// Calls it.
    ///
    /// # Safety
    /// `values` has room for parameters and results and holds the former, in the encoding of the caller's instance.
    unsafe fn call(&self, caller: &mut Caller<'_, T>, values: *mut u64) -> Result<(), HostError>;
}

/// What the host-call switch calls: runs the closure, and keeps whatever goes wrong on the host's side.
///
/// # Safety
/// `words` and `cell` are the host words of a live instance and a cell in them that was filled in for a `C` (see
/// `Bindings::new`); the data of the instance's store is a `T`, which nobody else borrows; `values` is as the closure's
/// type wants.
#[inline]
unsafe extern "C" fn border<T, C: Closure<T>>(words: *mut u8, cell: *mut u8, values: *mut u64) -> u32 {
    // SAFETY: as the caller says.
    let (record, closure) = unsafe { (record::of_words(words), closure_of::<C>(cell)) };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the words of a live instance point to its record, which is not null.
        let mut caller = Caller { record: unsafe { NonNull::new_unchecked(record) }, data: PhantomData };
        // SAFETY: as the caller says.
        unsafe { closure.call(&mut caller, values) }
    }));
    let abort = match outcome {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => abort_with(error),
        Err(payload) => Abort::Panic(payload),
    };
    // SAFETY: the record, its store and the context are alive, and nothing borrows them now.
    unsafe { (*(*record).store).context.pending = Some(abort) };
    host_status::ABANDON
}

/// A trap of a nested call that the closure passed on stays a trap, with its backtrace.
#[cold]
pub(crate) fn abort_with(error: HostError) -> Abort {
    match error.downcast::<CallError>().map(|error| *error) {
        Ok(CallError::Trap(trap)) => Abort::Trap(trap),
        Ok(CallError::Host(error)) => Abort::Host(error),
        Ok(mismatch) => Abort::Host(mismatch.into()),
        Err(error) => Abort::Host(error),
    }
}

/// A closure with values for its parameters `P` and results `R`.
struct Typed<F, P, R> {
    f: F,
    types: PhantomData<fn(P) -> R>,
}

/// A closure that can be a host function: `Fn(&mut Caller<'_, T>, A, B, …) -> R` with up to 16 values, where `R` is
/// `()`, a value, a tuple, or a `Result` of one of these and a [`HostError`].
pub trait IntoHostFunc<T, P, R>: into::Into<T, P, R> {}
impl<T, P, R, F: into::Into<T, P, R>> IntoHostFunc<T, P, R> for F {}

pub(crate) mod into {
    use super::HostFunc;

    /// Keeps [`super::IntoHostFunc`] to this crate.
    pub trait Into<T, P, R> {
        /// The closure as a host function.
        #[allow(private_interfaces, reason = "the trait is sealed")]
        fn into_host_func(self) -> HostFunc;
    }
}

/// What a host function may return: results, or a `Result` of them.
pub trait HostResults: results::Results {}
impl<R: results::Results> HostResults for R {}

pub(crate) mod results {
    use super::{HostError, Values, WasmResults};

    /// Keeps [`super::HostResults`] to this crate.
    pub trait Results {
        /// The results proper.
        type Values: Values;
        /// The results, or why there are none.
        fn values(self) -> Result<Self::Values, HostError>;
    }

    impl<R: WasmResults> Results for R {
        type Values = R;
        #[inline]
        fn values(self) -> Result<R, HostError> {
            Ok(self)
        }
    }

    impl<R: WasmResults> Results for Result<R, HostError> {
        type Values = R;
        #[inline]
        fn values(self) -> Result<R, HostError> {
            self
        }
    }
}

/// Whether parameters, after one word more, and results are numbers that conventions have in registers.
fn fit_registers(params: &[ValType], results: &[ValType]) -> bool {
    let count = |types: &[ValType], of: [ValType; 2]| types.iter().filter(|ty| of.contains(ty)).count();
    let integers = |types: &[ValType]| count(types, [ValType::I32, ValType::I64]);
    let floats = |types: &[ValType]| count(types, [ValType::F32, ValType::F64]);
    let are_numbers = |types: &[ValType]| integers(types) + floats(types) == types.len();
    are_numbers(params) && are_numbers(results) && integers(params) <= 5 && floats(params) <= 8 && results.len() <= 1
}

macro_rules! closures {
    ($($n:literal: $($value:ident)*;)*) => { $(
        impl<T, R, Fun, $($value,)*> into::Into<T, ($($value,)*), R> for Fun
        where
            R: HostResults + 'static,
            Fun: Fn(&mut Caller<'_, T> $(, $value)*) -> R + Send + Sync + 'static,
            $($value: WasmTy + 'static,)*
        {
            #[allow(private_interfaces, reason = "the trait is sealed")]
            fn into_host_func(self) -> HostFunc {
                let params = <($($value,)*) as Values>::TYPES.into();
                let results = <R::Values as Values>::TYPES.into();
                let closure = Typed { f: self, types: PhantomData::<fn(($($value,)*)) -> R> };
                let in_registers = Typed::<Fun, ($($value,)*), R>::in_registers::<T>;
                let in_registers: unsafe extern "C" fn(*mut u8 $(, <$value as Value>::Register)*) -> Outcome = in_registers;
                let in_registers = fit_registers(<($($value,)*) as Values>::TYPES, <R::Values as Values>::TYPES)
                    .then(|| (in_registers as *const ()).expose_provenance());
                HostFunc { in_registers, ..HostFunc::new::<T, _>(FuncType { params, results }, closure) }
            }
        }

        impl<R, Fun, $($value,)*> Typed<Fun, ($($value,)*), R>
        where
            R: HostResults + 'static,
            $($value: WasmTy + 'static,)*
        {
            /// As [`border`], for values that [`fit_registers`].
            ///
            /// # Safety
            /// As [`border`].
            #[allow(non_snake_case, reason = "values are named as their types")]
            unsafe extern "C" fn in_registers<T>(
                cell: *mut u8
                $(, $value: <$value as Value>::Register)*
            ) -> Outcome
            where
                Fun: Fn(&mut Caller<'_, T> $(, $value)*) -> R + Send + Sync + 'static,
            {
                let mut values = [$($value.cell(),)* 0];
                // SAFETY: as the caller says; there is room for all parameters, and for one result.
                let status = unsafe {
                    let words = cell.sub((*callee_of(cell)).cell);
                    border::<T, Self>(words, cell, values.as_mut_ptr())
                };
                Outcome { value: values[0], status: u64::from(status) }
            }
        }

        impl<T, R, Fun, $($value,)*> Closure<T> for Typed<Fun, ($($value,)*), R>
        where
            R: HostResults + 'static,
            Fun: Fn(&mut Caller<'_, T> $(, $value)*) -> R + Send + Sync + 'static,
            $($value: WasmTy + 'static,)*
        {
            #[allow(non_snake_case, reason = "values are named as their types")]
            #[inline]
            unsafe fn call(&self, caller: &mut Caller<'_, T>, values: *mut u64) -> Result<(), HostError> {
                let at = At(caller.record.as_ptr());
                // SAFETY: as the caller says; the record of a running instance is alive.
                let ($($value,)*) = unsafe { <($($value,)*) as Values>::load(values, at) };
                let results = (self.f)(caller $(, $value)*).values()?;
                // SAFETY: as above.
                unsafe { results.store(values, at).map_err(|foreign| foreign.0)? };
                Ok(())
            }
        }
    )* };
}
for_each_tuple!(closures);

/// What a host function sees of whom it was called by: the instance that imports it, and its store.
pub struct Caller<'a, T> {
    record: NonNull<InstanceRecord>,
    /// Stands for the exclusive borrow of the store that the outermost call holds.
    data: PhantomData<&'a mut T>,
}

// SAFETY: a caller is the store's exclusive borrow for a while, with `&mut T` in it; and the guest that called may be
// called back from another thread: entries count on their context, not on a thread.
unsafe impl<T: Send> Send for Caller<'_, T> {}

impl<T> Caller<'_, T> {
    /// What a host function sees of `record`'s instance.
    ///
    /// # Safety
    /// The record is of a live store, whose data is a `T`, and which is not otherwise used while the caller is.
    #[inline]
    pub(crate) unsafe fn of(record: *mut InstanceRecord) -> Self {
        // SAFETY: a record's address is not null.
        Caller { record: unsafe { NonNull::new_unchecked(record) }, data: PhantomData }
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        // SAFETY: the store is alive and its data a `T`; the borrow of the caller keeps others from changing it.
        unsafe { &*self.data_ptr() }
    }

    /// The host's data. While it is borrowed the guest cannot be called.
    pub fn data_mut(&mut self) -> &mut T {
        // SAFETY: as above; a closure can reach only the caller it was given, and borrows it exclusively.
        unsafe { &mut *self.data_ptr() }
    }

    /// The memory that the instance exports as "memory".
    pub fn memory(&self) -> Option<Memory> {
        // SAFETY: the record of a running instance is alive, and the borrow ends with the statement.
        unsafe { (*self.record.as_ptr()).exported_memory() }
    }

    /// The export of the instance called `name`.
    pub fn export(&self, name: &str) -> Option<Extern> {
        // SAFETY: as above.
        unsafe { (*self.record.as_ptr()).export(name) }
    }

    /// The instance.
    pub fn instance(&self) -> InstanceId {
        // SAFETY: the record of a running instance and its store are alive.
        unsafe {
            let record = self.record.as_ptr();
            InstanceId { store: (*(*record).store).id, index: (*record).index }
        }
    }

    fn data_ptr(&self) -> *mut T {
        // SAFETY: the record of a running instance, its store and its context are alive.
        unsafe { (*(*self.record.as_ptr()).store).context.data.cast() }
    }
}

impl<T> std::fmt::Debug for Caller<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("instance", &self.instance()).finish_non_exhaustive()
    }
}

impl<T> Sealed for Caller<'_, T> {
    #[inline]
    fn inner(&self) -> NonNull<StoreInner> {
        // SAFETY: the record of a running instance is alive, and its store's address is not null.
        unsafe { NonNull::new_unchecked((*self.record.as_ptr()).store) }
    }
}
impl<T> AsStore for Caller<'_, T> {
    type Data = T;
}
