//! Functions of the host as a component calls them.
//!
//! What comes in: closures over component-level values. What goes out: [`Definition`]s, which make host functions for
//! core imports: at the border, core values in cells become Rust values and back, with all checks of the Canonical ABI.
//! What fails abandons the guest, as for core host functions.
//!
//! # Safety
//! The borders are called with host words and cells that binding filled in, on the host's stack, while the guest that
//! called is left alone; [`Site`]s and closures live in the bindings, which the instance's record holds.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use precast_abi::component::{Handle, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS};
use precast_abi::trap::TrapCode;
use precast_abi::types::FuncType as CoreType;

use super::context::{LiftContext, LowerContext};
use super::fault::{self, Fault};
use super::guest::{Guest, Signature};
use super::plan::Canon;
use super::types::FuncType;
use super::val::{self, Val};
use super::value::{FlatReader, FlatWriter, LiftParams, Lower, matches_result};
use crate::HostError;
use crate::context::{Abort, host_status};
use crate::host::{Caller, HostCall, HostFunc, abort_with, closure_of};
use crate::record::{self, InstanceRecord};
use crate::suspend::{self, Pending};

/// Cells of a call: parameters, and a pointer to results.
pub(crate) const CELLS: usize = MAX_FLAT_PARAMS + 1;

/// The type of a function at the border, with what is often asked of it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) ty: FuncType,
    pub(crate) signature: Signature,
}

/// A future that a closure gives.
pub type HostFuture<'a, R> = Pin<Box<dyn Future<Output = Result<R, HostError>> + Send + 'a>>;

/// A host function, whatever the types of its closure.
pub(crate) trait Definition<T>: Send + Sync {
    /// Whether it can be called as a function of type `ty`; otherwise, what it is.
    fn check(&self, ty: &FuncType, ambiguity: &Result<(), String>) -> Result<(), String>;

    /// As the import of a core function of type `core`.
    fn bind(&self, core: CoreType, site: Site, canon: Canon) -> HostFunc;

    /// Calls it with core values.
    ///
    /// # Safety
    /// As [`HostFunction::call`].
    unsafe fn call(
        &self,
        site: &Site,
        record: *mut InstanceRecord,
        guest: Guest,
        cells: *mut u64,
    ) -> Result<Option<Pending>, HostError>;
}

/// A closure that takes core values.
pub(crate) trait HostFunction<T>: Send + Sync + 'static {
    /// See [`Definition::check`].
    fn check(&self, ty: &FuncType, ambiguity: &Result<(), String>) -> Result<(), String>;

    /// Calls the closure with the parameters in `cells`, and leaves the results there, at once or when the future that
    /// this gives is ready.
    ///
    /// # Safety
    /// The record is of a live store with data of type `T`, which the caller has for itself; `cells` has as many cells
    /// as the site's type wants, of `guest`. All, the site and `self` too, live until the future is gone.
    unsafe fn call(
        &self,
        site: &Site,
        record: *mut InstanceRecord,
        guest: Guest,
        cells: *mut u64,
    ) -> Result<Option<Pending>, HostError>;
}

/// What `HOST_DATA` points to.
struct Import<H> {
    function: Arc<H>,
    site: Site,
    canon: Canon,
}

impl<T: 'static, H: HostFunction<T>> Definition<T> for Arc<H> {
    fn check(&self, ty: &FuncType, ambiguity: &Result<(), String>) -> Result<(), String> {
        (**self).check(ty, ambiguity)
    }

    fn bind(&self, core: CoreType, site: Site, canon: Canon) -> HostFunc {
        let import = Import { function: Arc::clone(self), site, canon };
        HostFunc::with_border(core, border::<T, H>, Arc::new(import))
    }

    unsafe fn call(
        &self,
        site: &Site,
        record: *mut InstanceRecord,
        guest: Guest,
        cells: *mut u64,
    ) -> Result<Option<Pending>, HostError> {
        // SAFETY: as the caller says.
        unsafe { (**self).call(site, record, guest, cells) }
    }
}

const _: HostCall = border::<(), Missing>;

/// What the host-call switch calls.
///
/// # Safety
/// `words` and `cell` are the host words of a live instance and a cell in them that was filled in for an `Import<H>`;
/// the data of the instance's store is a `T`, which nobody else borrows; `values` is as the import's core type wants.
unsafe extern "C" fn border<T: 'static, H: HostFunction<T>>(words: *mut u8, cell: *mut u8, values: *mut u64) -> u32 {
    // SAFETY: as the caller says.
    let (record, import) = unsafe { (record::of_words(words), closure_of::<Import<H>>(cell)) };
    // SAFETY: as the caller says.
    unsafe {
        finish(record, || {
            let guest = Guest::new(record, &import.canon);
            if !guest.handles.may_leave() {
                return Err(Fault::new(TrapCode::CannotLeave).into());
            }
            import.function.call(&import.site, record, guest, values)
        })
    }
}

/// Runs a host function and keeps whatever goes wrong: the status that the host call returns.
///
/// # Safety
/// The record is that of the guest that called.
#[inline]
unsafe fn finish(record: *mut InstanceRecord, run: impl FnOnce() -> Result<Option<Pending>, HostError>) -> u32 {
    let abort = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(None)) => return 0,
        // SAFETY: the caller's promise.
        Ok(Ok(Some(pending))) => return unsafe { suspend::suspend(&raw mut (*(*record).store).context, pending) },
        // SAFETY: as above.
        Ok(Err(error)) => abort_with(unsafe { fault::to_call_error(record, error) }.into()),
        Err(payload) => Abort::Panic(payload),
    };
    // SAFETY: the record, its store and the context are alive, and nothing borrows them now.
    unsafe { (*(*record).store).context.pending = Some(abort) };
    host_status::ABANDON
}

/// Lifts parameters from `cells`.
///
/// # Safety
/// `cells` can be read for the core values of `P`, or for one if there are more than may be.
#[inline]
unsafe fn lift_params<P: LiftParams>(cx: &mut LiftContext<'_>, cells: *const u64) -> Result<P, HostError> {
    // SAFETY: as the caller says.
    let cells = unsafe { std::slice::from_raw_parts(cells, param_cells::<P>()) };
    if P::FLAT <= MAX_FLAT_PARAMS {
        return P::lift_params(cx, &mut FlatReader::new(cells));
    }
    let pointer = cells[0] as u32;
    cx.area(pointer, P::SIZE, P::ALIGN)?;
    P::load_params(cx, pointer)
}

const fn param_cells<P: LiftParams>() -> usize {
    if P::FLAT <= MAX_FLAT_PARAMS { P::FLAT } else { 1 }
}

/// Lowers a result to the first of `cells`, or where the cell after `params` cells points to.
///
/// # Safety
/// That cell can be written or read.
#[inline]
unsafe fn lower_result<R: Lower>(
    result: &R,
    cx: &mut LowerContext<'_>,
    cells: *mut u64,
    params: usize,
) -> Result<(), HostError> {
    if R::FLAT <= MAX_FLAT_RESULTS {
        let mut flat = [0];
        result.lower(cx, &mut FlatWriter::new(&mut flat))?;
        if R::FLAT == 1 {
            // SAFETY: as the caller says.
            unsafe { cells.write(flat[0]) };
        }
        return Ok(());
    }
    // SAFETY: as the caller says.
    let pointer = unsafe { cells.add(params).read() } as u32;
    cx.area(pointer, R::SIZE, R::ALIGN)?;
    result.store(cx, pointer)
}

/// What a typed closure is, for messages.
fn wit<P: LiftParams, R: Lower>() -> String {
    let result = if R::is_nothing() { String::new() } else { format!(" -> {}", R::wit()) };
    format!("func({}){result}", P::wit_params())
}

fn check_typed<P: LiftParams, R: Lower>(ty: &FuncType, ambiguity: &Result<(), String>) -> Result<(), String> {
    if !P::matches_params(ty.params()) || !matches_result::<R>(ty.result()) {
        return Err(wit::<P, R>());
    }
    ambiguity.clone().map_err(|why| format!("a function of Rust types, which cannot be: {why}"))
}

/// A closure with values for its parameters `P` and result `R`.
pub(crate) struct Typed<F, P, R> {
    pub(crate) f: F,
    pub(crate) types: PhantomData<fn(P) -> R>,
}

impl<T, F, P, R> HostFunction<T> for Typed<F, P, R>
where
    T: 'static,
    P: LiftParams + 'static,
    R: Lower + 'static,
    F: Fn(&mut Caller<'_, T>, P) -> Result<R, HostError> + Send + Sync + 'static,
{
    fn check(&self, ty: &FuncType, ambiguity: &Result<(), String>) -> Result<(), String> {
        check_typed::<P, R>(ty, ambiguity)
    }

    #[inline]
    unsafe fn call(
        &self,
        site: &Site,
        record: *mut InstanceRecord,
        mut guest: Guest,
        cells: *mut u64,
    ) -> Result<Option<Pending>, HostError> {
        let mut lift = LiftContext::new(&guest, &site.signature);
        // SAFETY: as the caller says, and `check` has seen the type.
        let params = unsafe { lift_params::<P>(&mut lift, cells)? };
        let loans = lift.loans;
        // SAFETY: as the caller says.
        let result = (self.f)(&mut unsafe { Caller::of(record) }, params)?;
        let mut lower = LowerContext::new(&mut guest, &site.signature);
        // SAFETY: as above.
        unsafe { lower_result(&result, &mut lower, cells, param_cells::<P>())? };
        guest.give_back(&loans);
        Ok(None)
    }
}

/// A closure that gives a future.
pub(crate) struct TypedAsync<F, P, R> {
    pub(crate) f: F,
    pub(crate) types: PhantomData<fn(P) -> R>,
}

impl<T, F, P, R> HostFunction<T> for TypedAsync<F, P, R>
where
    T: 'static,
    P: LiftParams + 'static,
    R: Lower + 'static,
    F: for<'a> Fn(&'a mut Caller<'_, T>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
{
    fn check(&self, ty: &FuncType, ambiguity: &Result<(), String>) -> Result<(), String> {
        check_typed::<P, R>(ty, ambiguity)
    }

    unsafe fn call(
        &self,
        site: &Site,
        record: *mut InstanceRecord,
        mut guest: Guest,
        cells: *mut u64,
    ) -> Result<Option<Pending>, HostError> {
        let mut lift = LiftContext::new(&guest, &site.signature);
        // SAFETY: as the caller says, and `check` has seen the type.
        let params = unsafe { lift_params::<P>(&mut lift, cells)? };
        let loans = lift.loans;
        let future = async move {
            // SAFETY: as the caller says.
            let mut caller = unsafe { Caller::of(record) };
            let outcome = (self.f)(&mut caller, params).await.and_then(|result| {
                let mut lower = LowerContext::new(&mut guest, &site.signature);
                // SAFETY: as above.
                unsafe { lower_result(&result, &mut lower, cells, param_cells::<P>()) }
            });
            guest.give_back(&loans);
            // SAFETY: as above.
            outcome.map_err(|error| unsafe { fault::to_call_error(record, error) }.into())
        };
        // SAFETY: the future is for the host call under way; what it uses lives as long, as the caller says.
        Ok(Some(unsafe { suspend::erase(future) }))
    }
}

/// A closure for [`Val`]s.
pub(crate) struct Dynamic<F> {
    pub(crate) f: F,
}

impl<T, F> HostFunction<T> for Dynamic<F>
where
    T: 'static,
    F: Fn(&mut Caller<'_, T>, &FuncType, &[Val]) -> Result<Option<Val>, HostError> + Send + Sync + 'static,
{
    fn check(&self, _: &FuncType, _: &Result<(), String>) -> Result<(), String> {
        Ok(())
    }

    unsafe fn call(
        &self,
        site: &Site,
        record: *mut InstanceRecord,
        mut guest: Guest,
        cells: *mut u64,
    ) -> Result<Option<Pending>, HostError> {
        let mut lift = LiftContext::new(&guest, &site.signature);
        // SAFETY: the plan saw that the core type has these cells.
        let given = unsafe { std::slice::from_raw_parts(cells, val::param_cells(&site.ty)) };
        let params = val::lift_params(&site.ty, &mut lift, given)?;
        let loans = lift.loans;
        // SAFETY: as the caller says.
        let result = (self.f)(&mut unsafe { Caller::of(record) }, &site.ty, &params)?;
        let mut lower = LowerContext::new(&mut guest, &site.signature);
        // SAFETY: as above: the pointer to results is in the cell after the parameters.
        let pointer = || unsafe { cells.add(val::param_cells(&site.ty)).read() } as u32;
        if let Some(cell) = val::lower_result(&site.ty, result.as_ref(), &mut lower, pointer)? {
            // SAFETY: as above.
            unsafe { cells.write(cell) };
        }
        guest.give_back(&loans);
        Ok(None)
    }
}

/// A function that the host does not provide.
pub(crate) struct Missing {
    pub(crate) error: crate::MissingFunction,
}

impl<T: 'static> HostFunction<T> for Missing {
    fn check(&self, _: &FuncType, _: &Result<(), String>) -> Result<(), String> {
        Ok(())
    }

    unsafe fn call(
        &self,
        _: &Site,
        _: *mut InstanceRecord,
        _: Guest,
        _: *mut u64,
    ) -> Result<Option<Pending>, HostError> {
        Err(self.error.clone().into())
    }
}

/// Called with the representation of a resource whose last handle was dropped.
pub(crate) type DropResource<T> = dyn Fn(&mut Caller<'_, T>, u32) -> Result<(), HostError> + Send + Sync;

/// `drop` as the import of a core function of type `core`.
pub(crate) fn bind_drop<T: 'static>(core: CoreType, drop: Arc<DropResource<T>>) -> HostFunc {
    HostFunc::with_border(core, border_drop::<T>, Arc::new(drop))
}

/// # Safety
/// As [`border`], for an `Arc<DropResource<T>>`.
unsafe extern "C" fn border_drop<T: 'static>(words: *mut u8, cell: *mut u8, values: *mut u64) -> u32 {
    // SAFETY: as the caller says.
    unsafe {
        let drop = closure_of::<Arc<DropResource<T>>>(cell);
        let (record, representation) = (record::of_words(words), values.read() as u32);
        if representation == Handle::GONE {
            return 0;
        }
        finish(record, || drop(&mut Caller::of(record), representation).map(|()| None))
    }
}
