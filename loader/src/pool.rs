//! The idle slots of an artifact.
//!
//! Slots stay with their artifact, so that what they hold is either fresh or being used. Resetting happens outside the
//! lock, on the thread that gives a slot back.

use std::sync::{Mutex, PoisonError};

use crate::artifact::ArtifactInner;
use crate::slot::{Slot, SlotError};

/// Idle slots kept at most; more are unmapped. Each may hold a few megabytes of resident pages.
const MAX_IDLE: usize = 256;

/// Idle slots of one artifact, all of them fresh.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// The last one given back is taken first: its pages are in the caches.
    idle: Mutex<Vec<Slot>>,
}

impl Pool {
    /// A fresh slot of `artifact`, whose pool this is.
    pub(crate) fn take(&self, artifact: &ArtifactInner) -> Result<Slot, SlotError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Slot::map(artifact), Ok)
    }

    /// Resets a slot and keeps it for another instance. One that cannot be reset is unmapped.
    pub(crate) fn give_back(&self, mut slot: Slot) {
        if slot.reset().is_err() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(slot);
        }
    }

    /// The hash of each idle slot.
    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().map(Slot::hash).collect()
    }
}
