//! What memories grow by, and how it is given back.
//!
//! Pages that belong to a guest only now and then have to be opened and closed. Closing them has to be told to all
//! processors that run the process, since they may remember that they could access them; in a virtual machine that is the
//! dearest thing an instance can do. There are two ways:
//!
//! - [`Slot::give_back_growth`]: protection. What was written is zeroed and stays, so that the next guest that grows has
//!   pages at once; the processors are told for each slot.
//! - [`Slot::give_back_together`]: markers in the page tables, for some slots at once, whose pages all go; the processors are
//!   told once. The mapping stays writable up to where a memory once reached, and so nothing here takes the lock that all
//!   changes of a process's mappings have in common. Where one thread has the process to itself, this is slower: it faults
//!   for each page.
//!
//! # Safety
//! As in `slot.rs`.

use std::ops::Range;

use super::{Slot, SlotError};
use crate::blueprint::OwnMemory;
use crate::restore::How;
use crate::sys::memory;

/// Bytes of what memories grew by that a slot keeps: fewer than of others, since no set says which pages are written each
/// time.
const KEPT: usize = 512 << 10;

/// Bytes that are marked at most: each 2 MiB of them are a page of page tables.
const MARKED: usize = 2 << 20;

/// Resets of a slot of which one asks how much was written.
const ASK: u32 = 16;

/// How far a memory reaches, in bytes, whole pages, never fewer than initially.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// What is accessible.
    size: usize,
    /// What is mapped writable. From `size` on it is marked.
    open: usize,
}

impl Extent {
    pub(super) fn new(memory: &OwnMemory) -> Extent {
        Extent { size: memory.initial, open: memory.initial }
    }
}

impl Slot {
    /// Makes the first `bytes` of memory `memory`, an own one, accessible. What was accessible stays so; what is new is
    /// zero. The size word is the caller's to write.
    ///
    /// # Errors
    /// If the artifact reserves less, or the system refuses. Nothing has changed then.
    pub(crate) fn set_memory_size(&mut self, memory: usize, bytes: u64) -> Result<(), SlotError> {
        let found = self.blueprint.memories.iter().position(|own| own.index == memory);
        let at = found.ok_or(SlotError::Malformed("an imported memory was to be resized in its importer's slot"))?;
        let OwnMemory { start, limit, .. } = self.blueprint.memories[at];
        if bytes > limit as u64 {
            return Err(SlotError::MemoryTooLarge { memory, wanted: bytes, reservation: limit as u64 });
        }
        let (Extent { size, open }, new) = (self.extents[at], (bytes as usize).next_multiple_of(memory::page_size()));
        if new <= size {
            return Ok(());
        }
        let refused = SlotError::os("grow a memory");
        // SAFETY: the ranges are parts of the memory's reservation.
        unsafe {
            if new > open {
                match memory::open(self.at(start + open), new - open) {
                    Ok(()) => self.extents[at].open = new,
                    Err(error) => return Err(refused(error)),
                }
            }
            if size < open
                && let Err(error) = memory::unmark(self.at(start + size), new.min(open) - size)
            {
                // What was opened just now is not marked.
                if new > open {
                    let _ = memory::close(self.at(start + open), new - open);
                    self.extents[at].open = open;
                }
                return Err(refused(error));
            }
        }
        self.extents[at].size = new;
        Ok(())
    }

    /// What memories have grown by.
    pub(super) fn growth(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let memories = self.blueprint.memories.iter().zip(&self.extents);
        memories
            .map(|(memory, extent)| memory.start + memory.initial..memory.start + extent.size)
            .filter(|grown| !grown.is_empty())
    }

    /// Leaves what memories have grown by to [`Self::give_back_together`], if no more than `few` bytes of it were written.
    /// Whether that is so.
    pub(super) fn leave_growth(&mut self, few: usize) -> bool {
        let grown = self.growth().map(|grown| grown.len()).sum();
        if grown == 0 || grown > MARKED || !memory::has_markers() {
            return false;
        }
        let (mut are_few, mut written) = (true, grown);
        if grown > few {
            match self.wrote_few {
                // What is true of one instance is so of most: the kernel is asked now and then.
                Some(were_few) if grown <= KEPT && !self.resets.is_multiple_of(ASK) => are_few = were_few,
                _ => {
                    let mut rest = few;
                    are_few = self.growth().all(|grown| self.for_each_written(grown, &mut rest, |_| ()).is_none());
                    self.wrote_few = Some(are_few);
                    written = few - rest;
                }
            }
        }
        self.left = if are_few { written } else { 0 };
        are_few
    }

    /// Whether a memory has grown: after a reset, whether that is left to [`Self::give_back_together`].
    #[inline]
    pub(crate) fn has_grown(&self) -> bool {
        self.growth().next().is_some()
    }

    /// Makes grown memories as small as they were. What was written is zeroed and kept for the next that grows.
    pub(super) fn give_back_growth(&mut self) -> Result<(), SlotError> {
        let mut keep = KEPT;
        for grown in self.growth() {
            let rest = self.for_each_written(grown.clone(), &mut keep, |written| {
                self.restore(written, How::Store);
            });
            if let Some(rest) = rest {
                // SAFETY: the range is accessible memory of the slot.
                unsafe { memory::discard(self.at(rest), grown.end - rest) }.map_err(refused)?;
            }
        }
        for (memory, extent) in self.blueprint.memories.iter().zip(&mut self.extents) {
            let (Extent { size, open }, at) = (*extent, |offset| self.start.wrapping_add(memory.start + offset));
            if open == memory.initial {
                continue;
            }
            // SAFETY: what is mapped writable beyond the beginning is part of the memory's reservation, and was made so here.
            unsafe {
                if size < open {
                    memory::unmark(at(size), open - size).map_err(refused)?;
                }
                memory::close(at(memory.initial), open - memory.initial).map_err(refused)?;
            }
            *extent = Extent::new(memory);
        }
        self.kept_growth = self.kept_growth.max(KEPT - keep);
        Ok(())
    }

    /// Makes grown memories of several slots as small as they were, and gives what was written back to the system.
    ///
    /// # Errors
    /// As [`Slot::reset`], for all of them.
    pub(crate) fn give_back_together<'a>(slots: impl Iterator<Item = &'a mut Slot>) -> Result<(), SlotError> {
        let slots: Vec<_> = slots.collect();
        let grown = slots.iter().flat_map(|slot| slot.growth().map(|grown| (slot.at(grown.start), grown.len())));
        // SAFETY: the ranges are accessible, anonymous memory of the slots.
        unsafe { memory::mark(grown) }.map_err(refused)?;
        for slot in slots {
            slot.blueprint
                .memories
                .iter()
                .zip(&mut slot.extents)
                .for_each(|(memory, extent)| extent.size = memory.initial);
            slot.left = 0;
        }
        Ok(())
    }
}

fn refused(source: std::io::Error) -> SlotError {
    SlotError::os("give grown memory back")(source)
}
