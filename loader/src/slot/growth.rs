//! What memories grow by, and how it is given back.
//!
//! Pages that belong to a guest only now and then have to be opened and closed. Closing them has to be told to all
//! processors that run the process, since they may remember that they could access them; in a virtual machine that is the
//! dearest thing an instance can do. There are two ways:
//!
//! - [`Slot::give_back_growth`]: protection. What was written is zeroed and stays, so that the next guest that grows has
//!   pages at once; the processors are told for each slot.
//! - [`Slot::give_back_together`]: markers in the page tables, for some slots at once, whose pages all go; the processors are
//!   told once. The mapping stays writable up to where a memory once reached, and so nothing takes the lock of all mappings
//!   exclusively. The next guest faults for each page that it writes.
//!
//! The second way is for guests that write few of these pages, and come one soon after the other, since there have to be
//! several slots of them.
//!
//! # Safety
//! As in `slot.rs`.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::{Slot, SlotError};
use crate::blueprint::OwnMemory;
use crate::restore::How;
use crate::sys::memory;

/// Bytes of what memories grew by that a slot keeps: fewer than of others, since no set says which pages are written each
/// time.
const KEPT: usize = 512 << 10;

/// Bytes that a slot may keep of everything else, if it is to wait for others: threads that are busy with it have several.
const SMALL: usize = 256 << 10;

/// How soon after each other guests grow for whom that is worth while.
#[cfg(not(test))]
fn soon() -> Duration {
    Duration::from_millis(10)
}

#[cfg(test)]
fn soon() -> Duration {
    in_tests::SOON.get()
}

#[cfg(test)]
pub(super) mod in_tests {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        /// So soon that no test is too slow.
        pub(crate) static SOON: Cell<Duration> = const { Cell::new(Duration::from_secs(3600)) };
    }
}

/// Bytes that are marked of a slot at once: each 2 MiB of them are a page of page tables.
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
                // What was opened just now is not marked. Nobody knows what is marked of the rest.
                if new > open {
                    let _ = memory::close(self.at(start + open), new - open);
                }
                self.is_spoilt = true;
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

    /// What is to become of what memories have grown by: the bytes of it to keep, or nothing if it is left to
    /// [`Self::give_back_together`], as if at most `few` bytes of it were written, and the slot is one that may wait.
    pub(super) fn growth_to_keep(&mut self, few: usize) -> Option<usize> {
        let grown: usize = self.growth().map(|grown| grown.len()).sum();
        let is_soon = grown > 0 && self.grew_before();
        if few == 0 || !is_soon || grown > MARKED || self.fixed + self.kept > SMALL || !memory::has_markers() {
            return Some(KEPT);
        }
        let is_to_ask = self.wrote_few.is_none() || self.resets.is_multiple_of(ASK);
        let wrote_few = if grown <= few {
            true
        } else if is_to_ask {
            let mut rest = few;
            self.growth().all(|grown| self.for_each_written(grown, &mut rest, |_| ()).is_none())
        } else {
            // What is true of one instance is so of most.
            self.wrote_few == Some(true)
        };
        self.wrote_few = Some(wrote_few);
        if wrote_few {
            self.left = grown.min(few);
            return None;
        }
        // Pages that are kept would count as written the next time too.
        Some(if is_to_ask { 0 } else { KEPT })
    }

    /// Whether the instance before this one grew too, a moment ago.
    fn grew_before(&mut self) -> bool {
        let before = self.grew.replace(Instant::now());
        before.is_some_and(|before| before.elapsed() < soon())
    }

    /// Whether a memory has grown: after a reset, whether that is left to [`Self::give_back_together`].
    #[inline]
    pub(crate) fn has_grown(&self) -> bool {
        self.growth().next().is_some()
    }

    /// Makes grown memories as small as they were. Up to `kept` bytes of what was written are zeroed and kept for the next that
    /// grows.
    ///
    /// # Errors
    /// As [`Slot::reset`].
    pub(super) fn give_back_growth(&mut self, kept: usize) -> Result<(), SlotError> {
        let mut keep = kept;
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
        self.kept_growth = self.kept_growth.max(kept - keep);
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
