//! Slots (bodies to follow).

use std::ops::Range;

use crate::artifact::ArtifactInner;

/// Why an artifact cannot have another slot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The operating system refused the reservation: a limit on addresses (`ulimit -v`) or on mappings.
    #[error("cannot reserve {wanted} bytes of addresses for an instance: {source}")]
    AddressSpace {
        /// Bytes of the reservation.
        wanted: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// A memory's minimum, or the size asked for, is beyond its reservation.
    #[error("memory {memory} of {wanted} bytes is too large: the artifact reserves {reservation} bytes for it")]
    MemoryTooLarge {
        /// Index of the memory.
        memory: usize,
        /// Bytes wanted.
        wanted: u64,
        /// Bytes reserved.
        reservation: u64,
    },
    /// The artifact's tables contradict each other.
    #[error("malformed artifact: {0}")]
    Malformed(&'static str),
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A mapped slot.
pub(crate) struct Slot {}

impl Slot {
    pub(crate) fn map(_artifact: &ArtifactInner) -> Result<Slot, SlotError> {
        unimplemented!()
    }
    /// Start of the slot: the host words.
    pub(crate) fn start(&self) -> *mut u8 {
        unimplemented!()
    }
    /// What compiled code gets as its base.
    pub(crate) fn base(&self) -> *mut u8 {
        unimplemented!()
    }
    /// The guest stack, from just above its guard.
    pub(crate) fn stack(&self) -> Range<usize> {
        unimplemented!()
    }
    /// Makes the first `bytes` of an own memory (its row's index) accessible; never fewer than before. The size word is
    /// the caller's to write.
    pub(crate) fn set_memory_size(&mut self, _memory: usize, _bytes: u64) -> Result<(), SlotError> {
        unimplemented!()
    }
}
