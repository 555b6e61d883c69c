//! Host functions whose type is known at run time only, synchronous and asynchronous.
//!
//! What comes in: a closure that works with [`Val`]s. What goes out: a [`HostFunc`]. The border of asynchronous ones gives
//! the closure's future to [`suspend`], where the guest waits for it.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_abi::types::{FuncType, ValType};

use super::{Caller, Closure, HostFunc, closure_of};
use crate::HostError;
use crate::record::{self, InstanceRecord};
use crate::suspend;
use crate::val::Val;

impl HostFunc {
    /// A function whose closure takes and gives values of type `ty`.
    pub(crate) fn dynamic<T, F>(ty: FuncType, f: F) -> Self
    where
        F: Fn(&mut Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), HostError> + Send + Sync + 'static,
    {
        HostFunc::new::<T, _>(ty.clone(), Dynamic { ty, f })
    }

    /// A function whose closure gives a future of values of type `ty`.
    pub(crate) fn dynamic_async<T, F: AsyncClosure<T>>(ty: FuncType, f: F) -> Self {
        HostFunc::with_border(ty.clone(), border_async::<T, F>, Arc::new(Dynamic { ty, f }))
    }
}

/// A closure for [`Val`]s.
struct Dynamic<F> {
    ty: FuncType,
    f: F,
}

impl<T, F> Closure<T> for Dynamic<F>
where
    F: Fn(&mut Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), HostError> + Send + Sync + 'static,
{
    unsafe fn call(&self, caller: &mut Caller<'_, T>, values: *mut u64) -> Result<(), HostError> {
        let record = caller.record.as_ptr();
        // SAFETY: the caller says that the cells are there; the record of a running instance is alive.
        let params = unsafe { load(&self.ty.params, values, record) };
        let mut results = self.ty.results.iter().map(|ty| Val::zero(*ty)).collect::<Vec<_>>();
        (self.f)(caller, &params, &mut results)?;
        // SAFETY: as above.
        unsafe { store(&self.ty.results, &results, values, record) }
    }
}

/// Reads parameters.
///
/// # Safety
/// `cells` has values of these types of instance `record`, which is alive.
unsafe fn load(types: &[ValType], cells: *const u64, record: *mut InstanceRecord) -> Vec<Val> {
    let mut at = 0;
    let params = types.iter().map(|ty| {
        // SAFETY: as the caller says.
        let value = unsafe { Val::load(*ty, cells.add(at), record) };
        at += ty.cells();
        value
    });
    params.collect()
}

/// Writes results.
///
/// # Safety
/// `cells` has room for values of these types; `record` is alive.
unsafe fn store(
    types: &[ValType],
    results: &[Val],
    cells: *mut u64,
    record: *mut InstanceRecord,
) -> Result<(), HostError> {
    if results.len() != types.len() {
        let (found, wanted) = (results.len(), types.len());
        return Err(format!("the host function gave {found} results, and {wanted} are wanted").into());
    }
    let mut at = 0;
    for (result, ty) in results.iter().zip(types) {
        if result.ty() != *ty {
            let (found, wanted) = (result.ty().name(), ty.name());
            return Err(format!("the host function gave {found} for a result of type {wanted}").into());
        }
        // SAFETY: as the caller says.
        unsafe { result.store(cells.add(at), record)? };
        at += ty.cells();
    }
    Ok(())
}

/// What the future of an asynchronous host function gives.
pub(crate) type AsyncResults<'a> = Pin<Box<dyn Future<Output = Result<Vec<Val>, HostError>> + Send + 'a>>;

/// A closure that gives a future of results.
pub(crate) trait AsyncClosure<T>:
    for<'a> Fn(&'a mut Caller<'_, T>, &[Val]) -> AsyncResults<'a> + Send + Sync + 'static
{
}
impl<T, F> AsyncClosure<T> for F where
    F: for<'a> Fn(&'a mut Caller<'_, T>, &[Val]) -> AsyncResults<'a> + Send + Sync + 'static
{
}

/// As [`border`], for asynchronous functions: the guest waits for the closure's future.
///
/// # Safety
/// As [`border`], with `Dynamic<F>` for `C`.
unsafe extern "C" fn border_async<T, F: AsyncClosure<T>>(words: *mut u8, cell: *mut u8, values: *mut u64) -> u32 {
    // SAFETY: as the caller says. What the future uses is there for as long as the guest waits in this host call: the
    // record, the closure, which the record's bindings hold, and the cells, which are on the guest's stack. The caller is
    // its own.
    unsafe {
        let closure = closure_of::<Dynamic<F>>(cell);
        let record = record::of_words(words);
        let future = async move {
            let mut caller = Caller { record: NonNull::new_unchecked(record), data: PhantomData };
            let params = load(&closure.ty.params, values, record);
            let results = (closure.f)(&mut caller, &params).await?;
            store(&closure.ty.results, &results, values, record)
        };
        suspend::suspend(&raw mut (*(*record).store).context, suspend::erase(future))
    }
}
