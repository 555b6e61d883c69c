//! Slots: the address range an instance lives in. Mapped once, then reset after each instance (`slot/reset.rs`).
//!
//! What comes in: an artifact's [`Blueprint`]. What goes out: addresses that hold the initial state, and hold it again
//! after [`Slot::reset`] and, where that leaves what memories have grown by, [`Slot::give_back_together`]. The host words
//! are not the guest's: whoever takes a slot writes all of them.
//!
//! # Safety
//! A slot owns its reservation; nothing is mapped into it, and nothing in it is protected or given back, except here.
//! While no guest and no host function runs, which `&mut self` stands for, nobody else accesses it. No reference to
//! slot memory is ever made, only raw pointers.

use std::ops::Range;
use std::sync::Arc;

use crate::artifact::ArtifactInner;
use crate::blueprint::Blueprint;
use crate::restore::How;
use crate::sys::memory;

mod growth;
mod recorded;
mod reset;
use growth::Growth;
use reset::Frozen;

/// Why an artifact cannot have another slot, or a slot not more memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The system refused the addresses: a limit of the process (`ulimit -v`), or none are left.
    #[error("cannot reserve {wanted} bytes of addresses for an instance{}", of_limit(*limit))]
    AddressSpace {
        /// Bytes of the reservation.
        wanted: u64,
        /// Bytes of addresses that the process may have in all (`RLIMIT_AS`), if that is limited.
        limit: Option<u64>,
        /// What the system said.
        source: std::io::Error,
    },
    /// A memory's minimum, or the size asked for, is beyond what its artifact reserves.
    #[error("memory {memory} is to have {wanted} bytes, but the artifact reserves {reservation} for it")]
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
    #[error("cannot {what}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

fn of_limit(limit: Option<u64>) -> String {
    limit.map(|limit| format!(": the process may have {limit} in all (ulimit -v)")).unwrap_or_default()
}

impl SlotError {
    fn os(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| SlotError::Os { what, source }
    }
}

/// A mapped slot of one artifact, for its whole life.
#[derive(Debug)]
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct Slot {
    start: *mut u8,
    blueprint: Arc<Blueprint>,
    growth: Growth,
    /// If all but a write set is read-only.
    frozen: Option<Frozen>,
    /// The version of the write set that the slot last tried to follow.
    version: u64,
    resets: u32,
    /// Bytes of accessible pages that were written and are kept, after a reset.
    kept: usize,
}

// SAFETY: the slot owns its reservation, which is not bound to a thread.
unsafe impl Send for Slot {}
// SAFETY: through `&Slot` addresses can be read, but nothing behind them.
unsafe impl Sync for Slot {}

impl Slot {
    /// Reserves and maps a fresh slot.
    pub(crate) fn map(artifact: &ArtifactInner) -> Result<Slot, SlotError> {
        let blueprint = artifact.blueprint()?.clone();
        let len = blueprint.slot_size;
        let start = artifact.pool.addresses.take(&blueprint).map_err(|source| SlotError::AddressSpace {
            wanted: len as u64,
            limit: memory::address_limit(),
            source,
        })?;
        let growth = Growth::none(&blueprint.memories);
        let mut slot = Slot { start, blueprint, growth, frozen: None, version: 0, resets: 0, kept: 0 };
        slot.map_parts(artifact)?;
        if slot.blueprint.hot.is_empty() {
            slot.follow()?;
        } else {
            // Most instances write these. It follows the write set from its second reset on: that takes a system call for each
            // run and more, which its first instance is not to wait for.
            //
            // SAFETY: they are accessible memory of the slot, which is new.
            unsafe { slot.populate(slot.blueprint.hot.iter().cloned()) };
        }
        Ok(slot)
    }

    fn map_parts(&mut self, artifact: &ArtifactInner) -> Result<(), SlotError> {
        let plan = Arc::clone(&self.blueprint);
        // SAFETY: every range of the blueprint is inside the reservation, which is new and ours.
        unsafe {
            if plan.is_dense {
                memory::guard(self.at(0), plan.stack.start).map_err(SlotError::os("guard an instance's stack"))?;
            } else {
                for range in &plan.accessible {
                    memory::open(self.at(range.start), range.len())
                        .map_err(SlotError::os("make an instance's memory accessible"))?;
                }
            }
            if !plan.copies_image {
                // Before there are any pages: dividing a mapping that has some takes longer.
                for run in &plan.runs {
                    for part in plan.beside_pinned(&run.slot) {
                        let from = run.file.start + (part.start - run.slot.start) as u64;
                        memory::map_file(self.at(part.start), part.len(), artifact.file(), from)
                            .map_err(SlotError::os("map the initial state of an instance"))?;
                    }
                }
                memory::keep_from_children(self.start, plan.slot_size)
                    .map_err(SlotError::os("set up an instance's memory"))?;
            }
        }
        // What is zero is so already, and looking would be a fault. Writing is one for each page, which takes less than asking
        // for pages that do not lie together.
        self.restore_pieces(&plan.first_contents, How::Store);
        Ok(())
    }

    /// Bytes that the slot keeps resident when it is idle, as far as that is known without asking the kernel: no fewer than
    /// it has to itself, page tables aside, and more where pages are counted twice.
    #[inline]
    pub(crate) fn resident(&self) -> usize {
        self.blueprint.fixed + self.kept + self.growth.resident()
    }

    /// Gives the slot pages of its own.
    ///
    /// # Safety
    /// The ranges are writable memory of the slot.
    unsafe fn populate(&self, ranges: impl Iterator<Item = Range<usize>>) {
        // SAFETY: as the caller says, and the slot owns its memory.
        unsafe { memory::populate(ranges.map(|range| (self.at(range.start), range.len()))) };
    }

    /// The slot's first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// The host words.
    pub(crate) fn words(&self) -> *mut u8 {
        self.at(self.blueprint.host.start)
    }

    /// The base that compiled code is called with.
    pub(crate) fn base(&self) -> *mut u8 {
        self.at(self.blueprint.base)
    }

    /// Addresses of the guest stack, from just above its guard to where the first frame begins.
    pub(crate) fn stack(&self) -> Range<usize> {
        let start = self.start.expose_provenance();
        start + self.blueprint.stack.start..start + self.blueprint.stack.end
    }

    /// BLAKE3 of every byte that a guest can access, with its place, but for the host words: equal for all fresh slots of
    /// an artifact, and only for them. For tests of [`Self::reset`].
    pub(crate) fn hash(&mut self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let plan = &*self.blueprint;
        for range in plan.accessible.iter().cloned().chain(self.grown()) {
            hasher.update(&(range.start as u64).to_le_bytes()).update(&(range.len() as u64).to_le_bytes());
            const PAGE: usize = 4096;
            let mut page = [0; PAGE];
            for at in range.step_by(page.len()) {
                // SAFETY: the page is accessible memory of the slot (system pages are 4 KiB or multiples), which
                // nobody writes meanwhile: this has the slot exclusively.
                unsafe { page.as_mut_ptr().copy_from_nonoverlapping(self.at(at), page.len()) };
                let in_page = |offset: usize| offset.clamp(at, at + PAGE) - at;
                page[in_page(plan.host.start)..in_page(plan.host.end)].fill(0);
                hasher.update(&page);
            }
        }
        hasher.finalize().into()
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.start.wrapping_add(offset)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: the reservation is ours, and whoever owned the slot is done with it.
        unsafe { memory::unmap(self.start, self.blueprint.slot_size) };
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
