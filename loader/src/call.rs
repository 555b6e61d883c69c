//! Calling from the host into the guest, and what can come of it.
//!
//! What comes in: a function of a store and its parameters in 8-byte cells. What goes out: the results in the same
//! cells, or a [`CallError`]. A panic of a host function comes out as that panic.

use crate::HostError;
use crate::context::{self, Abort};
use crate::record::InstanceRecord;
use crate::references::ForeignStore;
use crate::store::StoreInner;
use crate::trap::Trap;

/// Why a call into the guest gave no results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The guest trapped.
    #[error(transparent)]
    Trap(#[from] Trap),
    /// A host function it called failed.
    #[error("{0}")]
    Host(HostError),
    /// The arguments are of other types than the function's parameters, or something belongs to another store.
    #[error("{0}")]
    Mismatch(String),
}

impl From<ForeignStore> for CallError {
    fn from(error: ForeignStore) -> Self {
        CallError::Mismatch(error.to_string())
    }
}

impl From<Box<Abort>> for CallError {
    /// Why guest code was abandoned.
    ///
    /// # Panics
    /// With the host function's panic, if that was why.
    #[cold]
    fn from(abort: Box<Abort>) -> Self {
        match *abort {
            Abort::Trap(trap) => CallError::Trap(trap),
            // A trap of a nested call that the host function in between passed on is still that trap.
            Abort::Host(error) => error.downcast::<CallError>().map_or_else(CallError::Host, |error| *error),
            Abort::Panic(payload) => std::panic::resume_unwind(payload),
        }
    }
}

impl CallError {
    /// The trap, if it was one.
    pub fn trap(&self) -> Option<&Trap> {
        if let CallError::Trap(trap) = self { Some(trap) } else { None }
    }
}

/// Calls the code at `text` of instance `record` through the entry thunk of its type.
///
/// # Panics
/// With the panic of a host function that the guest called.
///
/// # Safety
/// The record is of a live store, which the caller has for itself; `entry` and `text` are offsets, in the text of the
/// record's artifact, of an entry thunk and a function of its type; `cells` has room for the type's parameters and
/// results and holds the former.
#[inline]
pub(crate) unsafe fn enter(
    record: *mut InstanceRecord,
    entry: u32,
    text: u32,
    cells: *mut u64,
) -> Result<(), Box<Abort>> {
    // SAFETY: as the caller says. The context is the store's, whose first instance gave it its stack.
    unsafe {
        let store: *mut StoreInner = (*record).store;
        let (entry, base, code) = ((*record).code(entry), (*record).base, (*record).code(text));
        context::enter(&raw mut (*store).context, entry, base, code, cells)
    }
}
