//! The idle slots of an artifact (bodies to follow).

use crate::artifact::ArtifactInner;
use crate::slot::{Slot, SlotError};

/// Idle slots of one artifact, all fresh.
pub(crate) struct Pool {}

impl Pool {
    /// An idle slot, or a new one.
    pub(crate) fn take(&self, _artifact: &ArtifactInner) -> Result<Slot, SlotError> {
        unimplemented!()
    }
    /// Resets the slot and keeps it for the next instance.
    pub(crate) fn give_back(&self, _slot: Slot) {
        unimplemented!()
    }
}
