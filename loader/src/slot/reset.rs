//! Making a used slot fresh: every byte that a guest can access is the image's, or zero.
//!
//! Resetting copies. The pages that a guest wrote stay in the slot, private and resident, and the next guest writes
//! them without a fault; they are copied back from the artifact's mapping or filled with zeros. Those that every guest
//! writes are known beforehand (`Blueprint::pinned`). Of the others the kernel tells at first which they are. Once the
//! artifact's [`WriteSet`] is known, its pages are restored whether they were written or not,
//! all others are read-only, and neither the instance nor the reset needs the kernel. What a guest writes beyond
//! [`RESIDENT_LIMIT`] is given back.
//!
//! # Safety
//! As in `slot.rs`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Slot, SlotError};
use crate::blueprint::Piece;
use crate::late::LateWrites;
use crate::restore::{self, How};
use crate::signal;
use crate::sys::{memory, pagemap};
use crate::write_set::WriteSet;

/// Bytes of written pages that a slot keeps when it is reset.
const RESIDENT_LIMIT: usize = 4 << 20;

/// Resets of a slot of which one looks which pages of the write set were really written.
const SAMPLE: u32 = 64;

/// Runs of write sets at most, in all slots of the process: each takes two mappings, of which Linux allows 65,530 by
/// default, and the host needs some too. Slots beyond that ask the kernel at each reset.
const MAX_RUNS: usize = 10_000;

/// Those that there are.
static RUNS: AtomicUsize = AtomicUsize::new(0);

#[cfg(not(test))]
fn max_runs() -> usize {
    MAX_RUNS
}

#[cfg(test)]
fn max_runs() -> usize {
    if refusals::RUNS.get() { 0 } else { MAX_RUNS }
}

/// What the system refuses on this thread, in tests.
#[cfg(test)]
pub(super) mod refusals {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// More mappings.
        pub(crate) static RUNS: Cell<bool> = const { Cell::new(false) };
        /// To protect pages, after so many times.
        pub(crate) static AFTER: Cell<Option<usize>> = const { Cell::new(None) };
    }

    pub(crate) fn call() -> io::Result<()> {
        match AFTER.get() {
            Some(0) => Err(io::ErrorKind::OutOfMemory.into()),
            left => {
                AFTER.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

/// Of a slot whose accessible memory is read-only but for the set, and what was written late.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) set: Arc<WriteSet>,
    pub(super) late: LateWrites,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        RUNS.fetch_sub(self.set.runs.len(), Ordering::Relaxed);
    }
}

impl Slot {
    /// Makes the slot fresh.
    ///
    /// What its memories grew by is left to [`Slot::give_back_together`] if it seems that few bytes of it were written, no
    /// more than `few`, and guests come soon after each other: [`Slot::has_grown`] says so.
    ///
    /// # Errors
    /// If the system refuses something. The slot is then neither fresh nor of any use.
    pub(crate) fn reset(&mut self, few: usize) -> Result<(), SlotError> {
        self.resets = self.resets.wrapping_add(1);
        self.reset_growth(few)?;
        self.restore_pieces(&self.blueprint.pinned_pieces, How::Store);
        match self.frozen.take() {
            Some(frozen) if !frozen.late.is_open() => self.restore_set(frozen)?,
            frozen => {
                if frozen.is_some() {
                    // Everything is writable, as if it had never followed a set.
                    self.version = 0;
                }
                self.restore_written()?;
            }
        }
        // What a cold slot is for has waited long enough, and may be waiting for this.
        if self.resets == 1 && !self.blueprint.hot.is_empty() { Ok(()) } else { self.follow() }
    }

    /// Restores the write set and what was written late.
    fn restore_set(&mut self, mut frozen: Frozen) -> Result<(), SlotError> {
        let (learner, accessible) = (&self.blueprint.learner, &self.blueprint.others);
        if self.resets.is_multiple_of(SAMPLE) {
            let pages = frozen.set.runs.iter().flat_map(|run| run.clone().step_by(memory::page_size()));
            let pages = pages.map(|page| page..page + memory::page_size());
            let changed: Vec<_> = pages.filter(|page| self.restore(page.clone(), How::Compare)).collect();
            learner.sample(&changed, accessible);
        } else {
            let pieces = frozen.set.runs.iter().flat_map(|run| self.blueprint.few_pieces(run.clone()));
            self.restore_pieces(frozen.set.pieces.get_or_init(|| pieces.collect::<Vec<_>>().into()), frozen.set.how);
        }
        if !frozen.late.is_empty() {
            let offset = |page: usize| page - self.start.addr();
            let late: Vec<_> =
                frozen.late.pages().map(|page| offset(page)..offset(page) + memory::page_size()).collect();
            for page in &late {
                // Most are not written again.
                self.give_pages_back(page.clone())?;
                // SAFETY: the page is accessible memory of the slot.
                unsafe { memory::make_readable(self.at(page.start), page.len()) }
                    .map_err(SlotError::os("protect a page"))?;
            }
            learner.observe(&late, accessible);
            frozen.late.clear();
        }
        self.frozen = Some(frozen);
        Ok(())
    }

    /// Restores what the kernel says was written since the slot was mapped.
    fn restore_written(&mut self) -> Result<(), SlotError> {
        let plan = Arc::clone(&self.blueprint);
        let mut keep = RESIDENT_LIMIT;
        let mut written = Vec::new();
        let mut is_all = true;
        for range in &plan.others {
            let rest = self.for_each_written(range.clone(), &mut keep, |dirty| {
                self.restore(dirty.clone(), How::Store);
                written.push(dirty);
            });
            if let Some(rest) = rest {
                is_all = false;
                self.give_pages_back(rest..range.end)?;
            }
        }
        if is_all {
            plan.learner.observe(&written, &plan.others);
        }
        self.kept = written.iter().map(Range::len).sum();
        // What does not belong to the set is not kept, so that an instance that wrote a lot does not cost memory for long.
        if let Some(set) = plan.learner.set() {
            for rest in written.iter().flat_map(|written| set.outside(written.clone())) {
                self.kept -= rest.len();
                self.give_pages_back(rest)?;
            }
        }
        Ok(())
    }

    /// Gives accessible pages back to the system, so that they are as if they had never been written.
    fn give_pages_back(&self, range: Range<usize>) -> Result<(), SlotError> {
        // SAFETY: the range is accessible memory of the slot, which holds no guard.
        unsafe { memory::discard(self.at(range.start), range.len()) }.map_err(SlotError::os("reset an instance"))?;
        if self.blueprint.copies_image {
            // What is not mapped from the file reads as zero now.
            for run in self.blueprint.runs_in(range.clone()) {
                self.restore(run.slot.start.max(range.start)..run.slot.end.min(range.end), How::Store);
            }
        }
        Ok(())
    }

    /// Makes all but the artifact's write set read-only, if there is one that the slot does not follow yet. Where the
    /// system refuses that, everything is writable.
    pub(super) fn follow(&mut self) -> Result<(), SlotError> {
        if self.version == self.blueprint.learner.version() {
            return Ok(());
        }
        let (old, set) = (self.frozen.take(), self.blueprint.learner.set());
        if let (Some(old), Some(set)) = (old, &set) {
            for left in old.set.runs.iter().flat_map(|run| set.outside(run.clone())) {
                self.give_pages_back(left)?;
            }
        }
        self.version = set.as_ref().map_or(0, |set| set.version);
        let set = set.filter(|set| RUNS.load(Ordering::Relaxed) + set.runs.len() <= max_runs());
        match set.filter(|set| self.protect(set).is_ok()) {
            Some(set) => {
                RUNS.fetch_add(set.runs.len(), Ordering::Relaxed);
                let plan = &*self.blueprint;
                let addresses = |range: &Range<usize>| {
                    let start = self.at(range.start).expose_provenance();
                    start..start + range.len()
                };
                let accessible = plan.others.iter().map(addresses).collect();
                let late = LateWrites::new(addresses(&(0..plan.slot_size)), accessible);
                self.kept = set.len();
                self.frozen = Some(Frozen { set, late });
            }
            None => {
                for range in &self.blueprint.others {
                    // SAFETY: the range is accessible memory of the slot, which holds no guard.
                    unsafe { memory::open(self.at(range.start), range.len()) }
                        .map_err(SlotError::os("make an instance's memory writable"))?;
                }
            }
        }
        Ok(())
    }

    fn protect(&self, set: &WriteSet) -> std::io::Result<()> {
        signal::install_handlers()?;
        // SAFETY: all ranges are accessible memory of the slot, which holds no guard, and the pages of the set are as
        // good as new ones.
        unsafe {
            for range in &self.blueprint.others {
                #[cfg(test)]
                refusals::call()?;
                memory::make_readable(self.at(range.start), range.len())?;
            }
            for run in &set.runs {
                #[cfg(test)]
                refusals::call()?;
                memory::open(self.at(run.start), run.len())?;
            }
            self.populate(set.resident.iter().cloned());
        }
        Ok(())
    }

    /// Calls `visit` with the runs of pages in `range` that were written, in order, as long as they are no more than
    /// `keep` bytes, which they are taken from. From where on they are not known, if that is so.
    pub(super) fn for_each_written(
        &self,
        range: Range<usize>,
        keep: &mut usize,
        mut visit: impl FnMut(Range<usize>),
    ) -> Option<usize> {
        let start = self.start.addr();
        let mut rest = None;
        let scanned = pagemap::for_each_dirty(start + range.start..start + range.end, |dirty| {
            if dirty.len() > *keep {
                rest = Some(dirty.start - start);
                return false;
            }
            *keep -= dirty.len();
            visit(dirty.start - start..dirty.end - start);
            true
        });
        // A kernel that cannot tell which pages were written drops them all.
        if scanned.is_ok() { rest } else { Some(range.start) }
    }

    /// Writes the initial state over a range of accessible and writable bytes, from and to a multiple of
    /// [`precast_abi::slot::ALIGN`]. Whether it was another, or may have been.
    pub(super) fn restore(&self, range: Range<usize>, how: How) -> bool {
        self.restore_pieces(&self.blueprint.pieces(range), how)
    }

    /// The same for pieces of the blueprint.
    pub(super) fn restore_pieces(&self, pieces: &[Piece], how: How) -> bool {
        let mut changed = false;
        for Piece { slot, file } in pieces {
            // SAFETY: the bytes are accessible and writable memory of the slot, and nobody else accesses it while it is
            // reset. The image does not overlap them: it is another mapping.
            changed |= unsafe {
                match file {
                    None => restore::zero(self.at(slot.start), slot.len()),
                    Some(file) => how.copy(self.at(slot.start), self.blueprint.contents(file.clone())),
                }
            };
        }
        changed
    }
}
