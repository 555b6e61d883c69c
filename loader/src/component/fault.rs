//! Traps of the Canonical ABI that the host finds: as an error while a value is lifted or lowered, as a
//! [`crate::Trap`] once the call that it ends is known.
//!
//! # Safety
//! Records are followed that the caller says are alive.

use precast_abi::host::HostWords;
use precast_abi::trap::TrapCode;

use crate::HostError;
use crate::backtrace::Backtrace;
use crate::call::CallError;
use crate::context::Abort;
use crate::record::InstanceRecord;
use crate::trap::{self, Trap};

/// Ends a call with a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", trap::message(*code, *detail))]
pub(crate) struct Fault {
    pub(crate) code: TrapCode,
    /// See [`TrapCode`].
    pub(crate) detail: Option<u32>,
}

impl Fault {
    #[cold]
    pub(crate) fn new(code: TrapCode) -> Self {
        Fault { code, detail: None }
    }

    #[cold]
    pub(crate) fn of_handle(code: TrapCode, handle: u32) -> Self {
        Fault { code, detail: Some(handle) }
    }
}

/// Why a call into `record`'s instance was abandoned, with the number that belongs to the trap.
///
/// # Panics
/// With the host function's panic, if that was why.
///
/// # Safety
/// The record is alive, and the caller has its store for itself.
#[cold]
pub(crate) unsafe fn abandoned(record: *mut InstanceRecord, abort: Box<Abort>) -> CallError {
    // SAFETY: as the caller says.
    unsafe { with_detail(record, abort.into()) }
}

/// A trap that compiled code left a number for, with that number.
///
/// # Safety
/// As [`abandoned`].
#[cold]
pub(crate) unsafe fn with_detail(record: *mut InstanceRecord, error: CallError) -> CallError {
    match error {
        CallError::Trap(trap) if trap.wants_detail() => {
            // SAFETY: the host words of a live instance are readable.
            let detail = unsafe { (*record).slot.words().add(HostWords::DETAIL as usize).cast::<u32>().read() };
            CallError::Trap(trap.with_detail(Some(detail)))
        }
        error => error,
    }
}

/// Why the host ends a call: a [`Fault`] is a trap, as is that of a nested call.
///
/// # Safety
/// As [`abandoned`].
#[cold]
pub(crate) unsafe fn to_call_error(record: *mut InstanceRecord, error: HostError) -> CallError {
    match error.downcast::<Fault>() {
        Ok(fault) => {
            // SAFETY: the record, its store and the context are alive; no reference to them is held.
            let backtrace = unsafe { Backtrace::of_host_call(&raw const (*(*record).store).context) };
            CallError::Trap(Trap::new(fault.code, backtrace).with_detail(fault.detail))
        }
        Err(error) => error.downcast::<CallError>().map_or_else(CallError::Host, |error| *error),
    }
}
