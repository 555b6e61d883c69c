//! Host functions: from a closure to what an import's cell holds.
//!
//! What comes in: a Rust closure. What goes out: a [`HostFunc`]: its WebAssembly type, and the two words that a host
//! thunk hands to the loader's host-call switch, which are a function made for just this closure ([`border`]) and the
//! closure's address.
//!
//! At the border the guest's values become Rust values and back; a panic is caught, and it or the error is left in the
//! store's context while a status tells the switch to abandon the guest. So nothing ever unwinds through guest frames.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use precast_abi::host::FuncImport;
use precast_abi::types::FuncType;

use crate::HostError;
use crate::call::CallError;
use crate::context::{Abort, host_status};
use crate::externs::{Extern, Memory};
use crate::record::{self, InstanceRecord};
use crate::store::{AsStore, InstanceId, StoreInner, sealed::Sealed};
use crate::typed::border::{At, Values};
use crate::typed::{WasmResults, WasmTy, for_each_tuple};

mod dynamic;

/// What a cell's `HOST_CALL` is.
pub(crate) type HostCall = unsafe extern "C" fn(words: *mut u8, cell: *mut u8, values: *mut u64) -> u32;

/// A host function.
#[derive(Clone)]
pub(crate) struct HostFunc {
    ty: FuncType,
    call: HostCall,
    /// The closure that `call` is for.
    data: Arc<dyn Send + Sync>,
}

impl HostFunc {
    /// A function whose border is `call`, which finds `data` in its cell.
    pub(crate) fn with_border<C: Send + Sync + 'static>(ty: FuncType, call: HostCall, data: Arc<C>) -> Self {
        HostFunc { ty, call, data }
    }

    fn new<T, C: Closure<T>>(ty: FuncType, closure: C) -> Self {
        HostFunc { ty, call: border::<T, C>, data: Arc::new(closure) }
    }

    /// Its type.
    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// For the cell's `HOST_CALL`.
    pub(crate) fn call_address(&self) -> usize {
        (self.call as *const ()).expose_provenance()
    }

    /// For the cell's `HOST_DATA`: good while a clone of `self` is alive.
    pub(crate) fn data_address(&self) -> usize {
        Arc::as_ptr(&self.data).cast::<()>().expose_provenance()
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
unsafe extern "C" fn border<T, C: Closure<T>>(words: *mut u8, cell: *mut u8, values: *mut u64) -> u32 {
    // SAFETY: as the caller says.
    let (record, closure) = unsafe {
        let closure = cell.add(FuncImport::HOST_DATA as usize).cast::<usize>().read();
        (record::of_words(words), &*ptr::with_exposed_provenance::<C>(closure))
    };
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
                HostFunc::new::<T, _>(FuncType { params, results }, closure)
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
