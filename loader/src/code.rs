//! The registry of guest text: which artifact an address belongs to.
//!
//! What comes in: artifacts when they are opened and dropped. What goes out: [`find`], for the signal handlers.
//!
//! # Safety
//! An entry's code is alive while the entry is there: its [`Registration`] owns a share. A pc that executes, or
//! will be returned to, belongs to an artifact that whoever runs it keeps alive; so a reader that looks such a pc up
//! may follow the pointer, and entries that change under it are other artifacts'.

use std::sync::Arc;

use crate::mapping::Code;
use crate::registry::{Entry, Registry};

static TEXTS: Registry<Code> = Registry::new();

/// The code whose text contains `pc`.
///
/// The reference is valid as long as the artifact is open, which whoever runs `pc` sees to.
pub(crate) fn find(pc: usize) -> Option<&'static Code> {
    // SAFETY: the entry belongs to the artifact of `pc`, which is alive: see the head of this file.
    unsafe { TEXTS.find(pc)?.as_ref() }
}

/// The code whose text contains `pc`, to be kept. Not for signal handlers: its last owner frees it.
pub(crate) fn find_shared(pc: usize) -> Option<Arc<Code>> {
    let code = TEXTS.find(pc)?;
    // SAFETY: the pointer is that of the `Arc` that the entry's registration owns, as above.
    unsafe {
        Arc::increment_strong_count(code);
        Some(Arc::from_raw(code))
    }
}

/// An entry of the registry; dropping it removes it.
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct Registration {
    entry: &'static Entry<Code>,
    /// What the entry points to.
    code: Arc<Code>,
}

impl Registration {
    /// What was registered.
    pub(crate) fn code(&self) -> &Arc<Code> {
        &self.code
    }
}

/// Registers the addresses of the text of `code`.
pub(crate) fn register(code: Arc<Code>) -> Registration {
    Registration { entry: TEXTS.add(code.addresses(), Arc::as_ptr(&code)), code }
}

impl Drop for Registration {
    fn drop(&mut self) {
        TEXTS.remove(self.entry);
    }
}
