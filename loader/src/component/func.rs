//! Calling what a component exports.
//!
//! What comes in: an instance and parameters, as Rust values or [`Val`]s. What goes out: the result. Parameters are
//! lowered, which may call the guest's `realloc`; the lifted core function is entered; the result is lifted, and
//! `post-return` called. An import that is exported again is called on the host's side: see `passing.rs`.
//!
//! # Safety
//! Each call holds the instance exclusively, and with it the store of the record that it works on.

mod dropping;
mod passing;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use precast_abi::component::{MAX_FLAT_PARAMS, MAX_FLAT_RESULTS};
use precast_abi::trap::TrapCode;

use super::context::{LiftContext, LowerContext};
use super::fault::{self, Fault};
use super::guest::{Guest, Signature};
use super::import::{CELLS, Site};
use super::instance::Instance;
use super::plan::{Canon, Code, Target};
use super::types::FuncType;
use super::val::{self, Val};
use super::value::{FlatReader, FlatWriter, Lift, LowerParams, matches_result};
use crate::HostError;
use crate::bindings::Bindings;
use crate::call::{self, CallError};
use crate::externs::ExportError;
use crate::interrupt;
use crate::record::InstanceRecord;
use crate::suspend;
use passing::Passing;
pub(super) use passing::poll_once;

/// An exported function of all instances of a bound component.
pub(crate) struct ExportSite {
    bindings: Arc<Bindings>,
    site: Site,
    target: Target,
}

impl ExportSite {
    pub(crate) fn new(bindings: Arc<Bindings>, ty: FuncType, signature: Signature, target: Target) -> Self {
        ExportSite { bindings, site: Site { ty, signature }, target }
    }
}

/// An exported function. It can be called in every instance of the [`super::Bound`] that the one is of where it was found.
#[derive(Clone)]
pub struct Func {
    site: Arc<ExportSite>,
}

/// An exported function whose parameters are the tuple `P` and whose result is `R`. It can be called in every instance of
/// the [`super::Bound`] that the one is of where it was found.
pub struct TypedFunc<P, R> {
    site: Arc<ExportSite>,
    types: PhantomData<fn() -> (P, R)>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        TypedFunc { site: Arc::clone(&self.site), types: PhantomData }
    }
}

impl std::fmt::Debug for Func {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.site.site.ty.fmt(f)
    }
}

impl<P, R> std::fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.site.site.ty.fmt(f)
    }
}

impl Func {
    pub(crate) fn new(site: ExportSite) -> Self {
        Func { site: Arc::new(site) }
    }

    /// Its type.
    pub fn ty(&self) -> FuncType {
        self.site.site.ty.clone()
    }

    /// Calls the function.
    ///
    /// # Errors
    /// The guest trapped, a host function it called failed, or the parameters are of other types. In the first two cases
    /// the instance cannot be called any more.
    ///
    /// # Panics
    /// With the panic of a host function that the guest called.
    pub fn call<T: 'static>(&self, instance: &mut Instance<T>, params: &[Val]) -> Result<Option<Val>, CallError> {
        let ty = &self.site.site.ty;
        let lower = |cx: &mut LowerContext<'_>, cells: &mut Cells| val::lower_params(ty, params, cx, cells);
        let lift = |cx: &mut LiftContext<'_>, cells: &Cells| val::lift_result(ty, cx, cells);
        call(instance, &self.site, lower, lift)
    }

    /// As [`Self::call`]; host functions that the guest calls may wait.
    ///
    /// The call does nothing until it is polled. Dropping it before it is ready abandons the guest, and the instance
    /// cannot be called any more.
    ///
    /// # Errors
    /// As [`Self::call`].
    ///
    /// # Panics
    /// As [`Self::call`].
    pub async fn call_async<T: 'static>(
        &self,
        instance: &mut Instance<T>,
        params: &[Val],
    ) -> Result<Option<Val>, CallError> {
        let ty = &self.site.site.ty;
        let lower = |cx: &mut LowerContext<'_>, cells: &mut Cells| val::lower_params(ty, params, cx, cells);
        let lift = |cx: &mut LiftContext<'_>, cells: &Cells| val::lift_result(ty, cx, cells);
        call_async(instance, &self.site, lower, lift).await
    }
}

impl<P: LowerParams, R: Lift> TypedFunc<P, R> {
    pub(crate) fn new(site: ExportSite, ambiguity: Result<(), String>) -> Result<Self, ExportError> {
        let ty = &site.site.ty;
        let mismatch = |wanted: String| ExportError::Type { name: String::new(), found: ty.to_string(), wanted };
        if !P::matches_params(ty.params()) || !matches_result::<R>(ty.result()) {
            let result = if R::is_nothing() { String::new() } else { format!(" -> {}", R::wit()) };
            return Err(mismatch(format!("func({}){result}", P::wit_params())));
        }
        ambiguity.map_err(|why| mismatch(format!("a function of Rust types, which cannot be: {why},")))?;
        Ok(TypedFunc { site: Arc::new(site), types: PhantomData })
    }

    /// Calls the function.
    ///
    /// # Errors
    /// As [`Func::call`].
    ///
    /// # Panics
    /// As [`Func::call`].
    #[inline]
    pub fn call<T: 'static>(&self, instance: &mut Instance<T>, params: P) -> Result<R, CallError> {
        call(instance, &self.site, |cx, cells| lower_params(&params, cx, cells), lift_result::<R>)
    }

    /// As [`Self::call`], but the guest traps with [`TrapCode::Interrupted`] if it still runs at `deadline`: see
    /// [`crate::with_deadline`]. Asynchronous calls have [`crate::with_deadline_async`].
    ///
    /// # Errors
    /// As [`Func::call`]; and if there can be no deadlines in this process or thread.
    ///
    /// # Panics
    /// As [`Func::call`].
    pub fn call_with_deadline<T: 'static>(
        &self,
        instance: &mut Instance<T>,
        params: P,
        deadline: Instant,
    ) -> Result<R, CallError> {
        interrupt::call_with_deadline(deadline, || self.call(instance, params))
    }

    /// As [`Self::call`]; host functions that the guest calls may wait. See [`Func::call_async`].
    ///
    /// # Errors
    /// As [`Func::call`].
    ///
    /// # Panics
    /// As [`Func::call`].
    pub async fn call_async<T: 'static>(&self, instance: &mut Instance<T>, params: P) -> Result<R, CallError> {
        call_async(instance, &self.site, move |cx, cells| lower_params(&params, cx, cells), lift_result::<R>).await
    }
}

/// Core values of parameters, and later of results.
type Cells = [u64; CELLS];

fn lower_params<P: LowerParams>(params: &P, cx: &mut LowerContext<'_>, cells: &mut Cells) -> Result<(), HostError> {
    if P::FLAT <= MAX_FLAT_PARAMS {
        return params.lower_params(cx, &mut FlatWriter::new(cells));
    }
    let pointer = cx.realloc(P::SIZE, P::ALIGN)?;
    cells[0] = pointer.into();
    params.store_params(cx, pointer)
}

fn lift_result<R: Lift>(cx: &mut LiftContext<'_>, cells: &Cells) -> Result<R, HostError> {
    if R::FLAT <= MAX_FLAT_RESULTS {
        return R::lift(cx, &mut FlatReader::new(cells));
    }
    let pointer = cells[0] as u32;
    cx.area(pointer, R::SIZE, R::ALIGN)?;
    R::load(cx, pointer)
}

/// Checks that the call can be made: the record to make it with.
#[inline]
fn begin<T>(instance: &Instance<T>, export: &ExportSite) -> Result<*mut InstanceRecord, CallError> {
    let record = instance.record();
    // SAFETY: the record and its store are alive.
    unsafe {
        if !Arc::ptr_eq(&(*record).bindings, &export.bindings) {
            return Err(CallError::Mismatch("the function belongs to another component".into()));
        }
        check_enter(record)?;
    }
    Ok(record)
}

/// # Safety
/// The record is alive, and the caller has its store for itself.
unsafe fn check_enter(record: *mut InstanceRecord) -> Result<(), CallError> {
    // SAFETY: as the caller says.
    unsafe {
        let context = &raw mut (*(*record).store).context;
        if (*context).poisoned || !(*context).is_idle() {
            return Err(fault::to_call_error(record, Fault::new(TrapCode::CannotEnter).into()));
        }
    }
    Ok(())
}

/// The error of a value that cannot be lowered, or lifted: the latter, and a trap, end the instance.
///
/// # Safety
/// As [`check_enter`].
#[cold]
unsafe fn fail(record: *mut InstanceRecord, error: HostError, lowering: bool) -> CallError {
    // SAFETY: as the caller says.
    unsafe {
        match fault::to_call_error(record, error) {
            CallError::Host(error) if lowering => CallError::Mismatch(error.to_string()),
            error => {
                (*(*record).store).context.poisoned = true;
                error
            }
        }
    }
}

fn call<T: 'static, R>(
    instance: &mut Instance<T>,
    export: &ExportSite,
    lower: impl FnOnce(&mut LowerContext<'_>, &mut Cells) -> Result<(), HostError>,
    lift: impl FnOnce(&mut LiftContext<'_>, &Cells) -> Result<R, HostError>,
) -> Result<R, CallError> {
    let record = begin(instance, export)?;
    let mut cells = [0; CELLS];
    match &export.target {
        // SAFETY: the record is alive and the instance held; the plan checked code and options.
        Target::Lifted(code, canon) => unsafe {
            lower_into(record, canon, export, &mut cells, lower)?;
            let entered = call::enter(record, code.entry, code.text, cells.as_mut_ptr());
            entered.map_err(|abort| fault::abandoned(record, abort))?;
            finish(record, canon, export, &mut cells, lift)
        },
        Target::Import(import) => {
            let mut passing = Passing::new(record, export, &mut cells, lower)?;
            if let Some(pending) = passing.call(instance, *import, &mut cells)? {
                let waited = poll_once(pending);
                passing.fail(waited)?;
            }
            passing.finish(&mut cells, lift)
        }
    }
}

async fn call_async<T: 'static, R>(
    instance: &mut Instance<T>,
    export: &ExportSite,
    lower: impl FnOnce(&mut LowerContext<'_>, &mut Cells) -> Result<(), HostError>,
    lift: impl FnOnce(&mut LiftContext<'_>, &Cells) -> Result<R, HostError>,
) -> Result<R, CallError> {
    begin(instance, export)?;
    // On the heap, since the guest's entry thunk knows their address.
    let mut cells = Box::new([0; CELLS]);
    match &export.target {
        Target::Lifted(code, canon) => {
            // SAFETY: as in `call`. No pointer is held across an await but the call's, which the cells outlive.
            let entered = unsafe {
                lower_into(instance.record(), canon, export, &mut cells, lower)?;
                suspend::call_async(instance.record(), code.entry, code.text, cells.as_mut_ptr())
            };
            let entered = entered.await;
            let record = instance.record();
            // SAFETY: as in `call`.
            unsafe {
                entered.map_err(|error| fault::with_detail(record, error))?;
                finish(record, canon, export, &mut cells, lift)
            }
        }
        Target::Import(import) => {
            let mut passing = Passing::new(instance.record(), export, &mut cells, lower)?;
            if let Some(pending) = passing.call(instance, *import, &mut cells)? {
                let waited = pending.await;
                passing.fail(waited)?;
            }
            passing.finish(&mut cells, lift)
        }
    }
}

/// Lowers parameters for a core function.
///
/// # Safety
/// The record is of a live store, which the caller has for itself; `canon` is of its plan.
#[inline]
unsafe fn lower_into(
    record: *mut InstanceRecord,
    canon: &Canon,
    export: &ExportSite,
    cells: &mut Cells,
    lower: impl FnOnce(&mut LowerContext<'_>, &mut Cells) -> Result<(), HostError>,
) -> Result<(), CallError> {
    // SAFETY: as the caller says.
    unsafe {
        let mut guest = Guest::new(record, canon);
        let lowered = lower(&mut LowerContext::new(&mut guest, &export.site.signature), cells);
        lowered.map_err(|error| fail(record, error, true))
    }
}

/// Lifts the result of a core function and calls `post-return`.
///
/// # Safety
/// As [`lower_into`], and the function has returned.
#[inline]
unsafe fn finish<R>(
    record: *mut InstanceRecord,
    canon: &Canon,
    export: &ExportSite,
    cells: &mut Cells,
    lift: impl FnOnce(&mut LiftContext<'_>, &Cells) -> Result<R, HostError>,
) -> Result<R, CallError> {
    // SAFETY: as the caller says.
    unsafe {
        let guest = Guest::new(record, canon);
        if guest.handles.has_borrows() {
            return Err(fail(record, Fault::new(TrapCode::BorrowsRemain).into(), false));
        }
        let lifted = lift(&mut LiftContext::new(&guest, &export.site.signature), cells);
        let result = lifted.map_err(|error| fail(record, error, false))?;
        if let Some(code) = canon.post_return {
            guest.handles.set_may_leave(false);
            enter(record, code, cells)?;
            guest.handles.set_may_leave(true);
        }
        Ok(result)
    }
}

/// # Safety
/// As [`lower_into`]; the code is of the record's plan, and the cells are as its type wants.
unsafe fn enter(record: *mut InstanceRecord, code: Code, cells: &mut Cells) -> Result<(), CallError> {
    // SAFETY: as the caller says.
    unsafe {
        let entered = call::enter(record, code.entry, code.text, cells.as_mut_ptr());
        entered.map_err(|abort| fault::abandoned(record, abort))
    }
}
