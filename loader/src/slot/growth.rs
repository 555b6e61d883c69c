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

use std::io::{self, ErrorKind};
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
struct Extent {
    /// What is accessible.
    size: usize,
    /// What is mapped writable. From `size` on it is marked.
    open: usize,
}

impl Extent {
    fn new(memory: &OwnMemory) -> Extent {
        Extent { size: memory.initial, open: memory.initial }
    }
}

/// What a slot knows of it.
#[derive(Debug)]
pub(super) struct Growth {
    /// Of each own memory.
    extents: Vec<Extent>,
    /// Bytes that are resident and closed.
    kept: usize,
    /// Bytes that are resident and left to [`Slot::give_back_together`].
    left: usize,
    /// Whether few bytes were written when the kernel was last asked.
    wrote_few: Option<bool>,
    /// When it was last given back or left.
    last: Option<Instant>,
    /// Whether it is not known what is accessible.
    is_spoilt: bool,
}

impl Growth {
    /// Of a slot whose memories have not grown.
    pub(super) fn none(memories: &[OwnMemory]) -> Growth {
        let extents = memories.iter().map(Extent::new).collect();
        Growth { extents, kept: 0, left: 0, wrote_few: None, last: None, is_spoilt: false }
    }

    /// Bytes that it keeps resident after a reset.
    #[inline]
    pub(super) fn resident(&self) -> usize {
        self.kept + self.left
    }
}

impl Slot {
    /// Makes the first `bytes` of memory `memory`, an own one, accessible. What was accessible stays so; what is new is
    /// zero. The size word is the caller's to write.
    ///
    /// # Errors
    /// If the artifact reserves less, or the system refuses. Nothing has changed then, but that the slot may not be reset any
    /// more.
    pub(crate) fn set_memory_size(&mut self, memory: usize, bytes: u64) -> Result<(), SlotError> {
        let found = self.blueprint.memories.iter().position(|own| own.index == memory);
        let at = found.ok_or(SlotError::Malformed("an imported memory was to be resized in its importer's slot"))?;
        let OwnMemory { start, limit, .. } = self.blueprint.memories[at];
        if bytes > limit as u64 {
            return Err(SlotError::MemoryTooLarge { memory, wanted: bytes, reservation: limit as u64 });
        }
        let (Extent { size, open }, new) =
            (self.growth.extents[at], (bytes as usize).next_multiple_of(memory::page_size()));
        if new <= size {
            return Ok(());
        }
        let refused = SlotError::os("grow a memory");
        // SAFETY: the ranges are parts of the memory's reservation.
        unsafe {
            if new > open {
                match refusable(|| memory::open(self.at(start + open), new - open)) {
                    Ok(()) => self.growth.extents[at].open = new,
                    Err(error) => return Err(refused(error)),
                }
            }
            if size < open
                && let Err(error) = refusable(|| memory::unmark(self.at(start + size), new.min(open) - size))
            {
                // What was opened just now is not marked. Nobody knows what is marked of the rest.
                if new > open {
                    let _ = memory::close(self.at(start + open), new - open);
                }
                self.growth.is_spoilt = true;
                return Err(refused(error));
            }
        }
        self.growth.extents[at].size = new;
        Ok(())
    }

    /// What memories have grown by.
    pub(super) fn grown(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let memories = self.blueprint.memories.iter().zip(&self.growth.extents);
        memories
            .map(|(memory, extent)| memory.start + memory.initial..memory.start + extent.size)
            .filter(|grown| !grown.is_empty())
    }

    /// Whether a memory has grown: after a reset, whether that is left to [`Self::give_back_together`].
    #[inline]
    pub(crate) fn has_grown(&self) -> bool {
        self.grown().next().is_some()
    }

    /// Gives back what memories have grown by, or leaves it to [`Self::give_back_together`]: see [`Slot::reset`].
    ///
    /// # Errors
    /// As [`Slot::reset`].
    pub(super) fn reset_growth(&mut self, few: usize) -> Result<(), SlotError> {
        if self.growth.is_spoilt {
            return Err(refused(ErrorKind::Other.into()));
        }
        if !self.has_grown() {
            return Ok(());
        }
        match self.growth_to_keep(few) {
            Some(kept) => self.give_back_growth(kept),
            None => Ok(()),
        }
    }

    /// The bytes to keep of what memories have grown by, or nothing if it is left, as it seems that no more than `few` of them
    /// were written, and the slot is one that may wait.
    fn growth_to_keep(&mut self, few: usize) -> Option<usize> {
        let (now, grown) = (Instant::now(), self.grown().map(|grown| grown.len()).sum());
        let is_soon = self.growth.last.replace(now).is_some_and(|last| now.duration_since(last) < soon());
        if few == 0 || !is_soon || grown > MARKED || self.blueprint.fixed + self.kept > SMALL || !memory::has_markers()
        {
            return Some(KEPT);
        }
        if grown <= few {
            self.growth.left = grown;
            return None;
        }
        // What is true of one instance is so of most.
        let known = self.growth.wrote_few.filter(|_| !self.resets.is_multiple_of(ASK));
        let wrote_few = known.unwrap_or_else(|| {
            let mut rest = few;
            self.grown().all(|grown| self.for_each_written(grown, &mut rest, |_| ()).is_none())
        });
        self.growth.wrote_few = Some(wrote_few);
        if wrote_few {
            self.growth.left = few;
            return None;
        }
        // Pages that are kept would count as written the next time that the kernel is asked.
        Some(if known.is_none() { 0 } else { KEPT })
    }

    /// Makes grown memories as small as they were. Up to `kept` bytes of what was written are zeroed and kept for the next that
    /// grows.
    ///
    /// # Errors
    /// As [`Slot::reset`].
    fn give_back_growth(&mut self, kept: usize) -> Result<(), SlotError> {
        let mut keep = kept;
        for grown in self.grown() {
            let rest = self.for_each_written(grown.clone(), &mut keep, |written| {
                self.restore(written, How::Store);
            });
            if let Some(rest) = rest {
                // SAFETY: the range is accessible memory of the slot.
                unsafe { memory::discard(self.at(rest), grown.end - rest) }.map_err(refused)?;
            }
        }
        for (memory, extent) in self.blueprint.memories.iter().zip(&mut self.growth.extents) {
            let (Extent { size, open }, at) = (*extent, |offset| self.start.wrapping_add(memory.start + offset));
            if open == memory.initial {
                continue;
            }
            // SAFETY: what is mapped writable beyond the beginning is part of the memory's reservation, and was made so here.
            unsafe {
                if size < open {
                    refusable(|| memory::unmark(at(size), open - size)).map_err(refused)?;
                }
                refusable(|| memory::close(at(memory.initial), open - memory.initial)).map_err(refused)?;
            }
            *extent = Extent::new(memory);
        }
        self.growth.kept = self.growth.kept.max(kept - keep);
        Ok(())
    }

    /// Makes grown memories of several slots as small as they were, and gives what was written back to the system.
    ///
    /// # Errors
    /// As [`Slot::reset`], for all of them.
    pub(crate) fn give_back_together<'a>(slots: impl Iterator<Item = &'a mut Slot>) -> Result<(), SlotError> {
        let slots: Vec<_> = slots.collect();
        let grown = slots.iter().flat_map(|slot| slot.grown().map(|grown| (slot.at(grown.start), grown.len())));
        // SAFETY: the ranges are accessible, anonymous memory of the slots.
        refusable(|| unsafe { memory::mark(grown) }).map_err(refused)?;
        for slot in slots {
            let memories = slot.blueprint.memories.iter().zip(&mut slot.growth.extents);
            memories.for_each(|(memory, extent)| extent.size = memory.initial);
            slot.growth.left = 0;
        }
        Ok(())
    }
}

/// A call of the system that tests have refused (`reset::refusals`).
fn refusable(call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    #[cfg(test)]
    super::reset::refusals::call()?;
    call()
}

fn refused(source: io::Error) -> SlotError {
    SlotError::os("give grown memory back")(source)
}
