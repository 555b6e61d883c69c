//! Calling a host function that a component exports again.
//!
//! What comes in: parameters as for any export. What goes out: the result, after values went through a [`Scratch`] from the
//! types of the caller to those of the function's closure and back.
//!
//! # Safety
//! As the calls of `func.rs`.

use std::task::{Context as TaskContext, Poll, Waker};

use precast_abi::component::{MAX_FLAT_PARAMS, MAX_FLAT_RESULTS};

use super::{Cells, ExportSite, fail};
use crate::HostError;
use crate::call::CallError;
use crate::component::context::{LiftContext, LowerContext};
use crate::component::fault;
use crate::component::guest::Scratch;
use crate::component::instance::Instance;
use crate::record::InstanceRecord;
use crate::suspend::{CannotWait, Pending};

/// A call of a host function by the host.
pub(super) struct Passing<'e> {
    record: *mut InstanceRecord,
    export: &'e ExportSite,
    scratch: Box<Scratch>,
}

// SAFETY: what it points to belongs to the instance that its call holds, or to itself.
unsafe impl Send for Passing<'_> {}

impl<'e> Passing<'e> {
    pub(super) fn new(
        record: *mut InstanceRecord,
        export: &'e ExportSite,
        cells: &mut Cells,
        lower: impl FnOnce(&mut LowerContext<'_>, &mut Cells) -> Result<(), HostError>,
    ) -> Result<Self, CallError> {
        // SAFETY: the record and its store are alive, and used by the call only.
        let mut scratch = unsafe { Scratch::new(&raw mut (*(*record).store).component.held) };
        let ty = &export.site.ty;
        let (params, result) = ty.layout();
        let mut guest = scratch.guest();
        let lowered = lower(&mut LowerContext::new(&mut guest, &export.site.signature), cells).and_then(|()| {
            if result.flat as usize > MAX_FLAT_RESULTS {
                let after = if params.flat as usize > MAX_FLAT_PARAMS { 1 } else { params.flat as usize };
                cells[after] = scratch.alloc(result.size, result.align)?.into();
            }
            Ok(())
        });
        // SAFETY: the record is alive, and the call has the store.
        lowered.map_err(|error| unsafe { fail(record, error, true) })?;
        Ok(Passing { record, export, scratch })
    }

    /// Calls the function, which may leave something to wait for.
    pub(super) fn call<T: 'static>(
        &mut self,
        instance: &Instance<T>,
        import: u32,
        cells: &mut Cells,
    ) -> Result<Option<Pending>, CallError> {
        let Some(definition) = instance.linked().host_funcs.get(import as usize) else {
            return Err(CallError::Mismatch("the function belongs to another component".into()));
        };
        let (guest, cells) = (self.scratch.guest(), cells.as_mut_ptr());
        // SAFETY: the instance is held, and its data is a `T`; site, cells and scratch live until the call's end, which
        // drops the future before them.
        let outcome = unsafe { definition.call(&self.export.site, self.record, guest, cells) };
        // SAFETY: the record is alive, and the call has the store.
        outcome.map_err(|error| unsafe { fault::to_call_error(self.record, error) })
    }

    /// What a host function's own failure is to its caller.
    pub(super) fn fail(&self, outcome: Result<(), HostError>) -> Result<(), CallError> {
        // SAFETY: as above.
        outcome.map_err(|error| unsafe { fault::to_call_error(self.record, error) })
    }

    pub(super) fn finish<R>(
        mut self,
        cells: &mut Cells,
        lift: impl FnOnce(&mut LiftContext<'_>, &Cells) -> Result<R, HostError>,
    ) -> Result<R, CallError> {
        let (params, result) = self.export.site.ty.layout();
        if result.flat as usize > MAX_FLAT_RESULTS {
            let after = if params.flat as usize > MAX_FLAT_PARAMS { 1 } else { params.flat as usize };
            cells[0] = cells[after];
        }
        let guest = self.scratch.guest();
        let lifted = lift(&mut LiftContext::new(&guest, &self.export.site.signature), cells);
        // SAFETY: the record is alive, and the call has the store.
        lifted.map_err(|error| unsafe { fault::to_call_error(self.record, error) })
    }
}

/// The outcome of a future that cannot be waited for.
pub(in crate::component) fn poll_once(mut pending: Pending) -> Result<(), HostError> {
    match pending.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(CannotWait::Synchronous.into()),
    }
}
