//! Slots: the address range an instance lives in. Mapped once, then reset after each instance.
//!
//! What comes in: an artifact's [`Blueprint`]. What goes out: addresses that hold the initial state, and hold it again
//! after [`Slot::reset`], the only function that makes a used slot fresh. Fresh means: every byte that a guest can
//! access is the image's, or zero. The host words are not the guest's: whoever takes a slot writes all of them.
//!
//! Resetting copies. The pages that a guest wrote stay in the slot, private and resident, and the next guest writes
//! them without a fault; they are copied back from the artifact's mapping or filled with zeros. At first the kernel tells
//! which they are. Once the artifact's [`WriteSet`] is known, its pages are restored whether they were written or not,
//! all others are read-only, and neither the instance nor the reset needs the kernel. What a guest writes beyond
//! [`RESIDENT_LIMIT`] is given back.
//!
//! # Safety
//! A slot owns its reservation; nothing is mapped into it, and nothing in it is protected or given back, except here.
//! While no guest and no host function runs, which `&mut self` stands for, nobody else accesses it. No reference to
//! slot memory is ever made, only raw pointers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::artifact::ArtifactInner;
use crate::blueprint::{Blueprint, OwnMemory};
use crate::late::LateWrites;
use crate::restore::How;
use crate::signal;
use crate::sys::{memory, pagemap};
use crate::write_set::WriteSet;

/// Bytes of written pages that a slot keeps when it is reset.
const RESIDENT_LIMIT: usize = 4 << 20;

/// Bytes of the first block, of those nearest to the base, that a new slot has resident.
const POPULATED: usize = 16 << 10;

/// Resets of a slot of which one looks which pages of the write set were really written.
const SAMPLE: u32 = 64;

/// Runs of write sets at most, in all slots of the process: each takes two mappings, of which Linux allows 65,530 by
/// default, and the host needs some too. Slots beyond that ask the kernel at each reset.
const MAX_RUNS: usize = 10_000;

/// Those that there are.
static RUNS: AtomicUsize = AtomicUsize::new(0);

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
pub(crate) struct Slot {
    start: *mut u8,
    blueprint: Arc<Blueprint>,
    /// Accessible bytes of each own memory, whole pages, never fewer than initially.
    sizes: Vec<usize>,
    /// If all but a write set is read-only.
    frozen: Option<Frozen>,
    /// The version of the write set that the slot last tried to follow.
    version: u64,
    resets: u32,
}

/// Of a slot whose accessible memory is read-only but for the set, and what was written late.
#[derive(Debug)]
struct Frozen {
    set: Arc<WriteSet>,
    late: LateWrites,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        RUNS.fetch_sub(self.set.runs.len(), Ordering::Relaxed);
    }
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
        let start = memory::reserve(len).map_err(|source| SlotError::AddressSpace {
            wanted: len as u64,
            limit: memory::address_limit(),
            source,
        })?;
        let sizes = blueprint.memories.iter().map(|memory| memory.initial).collect();
        let mut slot = Slot { start, blueprint, sizes, frozen: None, version: 0, resets: 0 };
        slot.map_parts(artifact)?;
        slot.follow()?;
        Ok(slot)
    }

    fn map_parts(&self, artifact: &ArtifactInner) -> Result<(), SlotError> {
        let plan = &*self.blueprint;
        let set_up = || SlotError::os("set up an instance's memory");
        // SAFETY: every range of the blueprint is inside the reservation, which is new and ours.
        unsafe {
            memory::without_huge_pages(self.start, plan.slot_size);
            memory::keep_from_children(self.start, plan.slot_size).map_err(set_up())?;
            for (number, range) in plan.accessible.iter().enumerate() {
                // Host words, guard, stack and what follows are one mapping.
                let from = if number == 0 { 0 } else { range.start };
                memory::open(self.at(from), range.end - from)
                    .map_err(SlotError::os("make an instance's memory accessible"))?;
            }
            for run in plan.runs.iter().filter(|_| !plan.is_dense) {
                memory::map_file(self.at(run.slot.start), run.slot.len(), artifact.file(), run.file.start)
                    .map_err(SlotError::os("map the initial state of an instance"))?;
                memory::keep_from_children(self.at(run.slot.start), run.slot.len()).map_err(set_up())?;
            }
            memory::guard(self.at(plan.host.end), plan.stack.start - plan.host.end)
                .map_err(SlotError::os("guard an instance's stack"))?;
            if plan.is_dense {
                plan.runs.iter().for_each(|run| self.restore(run.slot.clone(), How::Store));
                return Ok(());
            }
            // What every instance writes: one by one these pages would be faults.
            memory::populate(self.at(0), plan.host.end);
            let top = plan.stack.end - memory::page_size();
            let block = (plan.base - plan.stack.end).min(POPULATED);
            memory::populate(self.at(top), memory::page_size());
            memory::populate(self.at(plan.base - block), block);
        }
        Ok(())
    }

    /// The slot's first byte, where the host words are.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// The base that compiled code is called with.
    pub(crate) fn base(&self) -> *mut u8 {
        self.at(self.blueprint.base)
    }

    /// Addresses of the guest stack, from just above its guard.
    pub(crate) fn stack(&self) -> Range<usize> {
        let start = self.start.expose_provenance();
        start + self.blueprint.stack.start..start + self.blueprint.stack.end
    }

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
        let (old, new) = (self.sizes[at], (bytes as usize).next_multiple_of(memory::page_size()));
        if new > old {
            // SAFETY: the range is part of the memory's reservation.
            unsafe { memory::open(self.at(start + old), new - old) }.map_err(SlotError::os("grow a memory"))?;
            self.sizes[at] = new;
        }
        Ok(())
    }

    /// Makes the slot fresh.
    ///
    /// # Errors
    /// If the system refuses something. The slot is then neither fresh nor of any use.
    pub(crate) fn reset(&mut self) -> Result<(), SlotError> {
        self.give_back_growth()?;
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
        self.follow()
    }

    /// Restores the write set and what was written late.
    fn restore_set(&mut self, mut frozen: Frozen) -> Result<(), SlotError> {
        let (learner, accessible) = (&self.blueprint.learner, &self.blueprint.accessible);
        self.resets = self.resets.wrapping_add(1);
        if self.resets.is_multiple_of(SAMPLE) {
            let pages = frozen.set.runs.iter().flat_map(|run| run.clone().step_by(memory::page_size()));
            let pages = pages.map(|page| page..page + memory::page_size());
            let changed: Vec<_> = pages.filter(|page| !self.is_fresh(page.clone())).collect();
            learner.sample(&changed, accessible);
        }
        for run in &frozen.set.runs {
            self.restore(run.clone(), frozen.set.how);
        }
        if !frozen.late.is_empty() {
            let offset = |page: usize| page - self.start.addr();
            let late: Vec<_> =
                frozen.late.pages().map(|page| offset(page)..offset(page) + memory::page_size()).collect();
            for page in &late {
                self.restore(page.clone(), How::Store);
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
        let plan = &*self.blueprint;
        let mut keep = RESIDENT_LIMIT;
        let mut written = Vec::new();
        let mut is_all = true;
        for range in &plan.accessible {
            let rest = self.for_each_written(range.clone(), &mut keep, |dirty| {
                self.restore(dirty.clone(), How::Store);
                written.push(dirty);
            });
            if let Some(rest) = rest {
                is_all = false;
                // SAFETY: the range is accessible memory of the slot, which holds no guard.
                unsafe { memory::discard(self.at(rest), range.end - rest) }
                    .map_err(SlotError::os("reset an instance"))?;
            }
        }
        if is_all {
            plan.learner.observe(&written, &plan.accessible);
        }
        // What does not belong to the set is not kept, so that an instance that wrote a lot does not cost memory for long.
        if let Some(set) = plan.learner.set() {
            for rest in written.iter().flat_map(|written| set.outside(written.clone())) {
                // SAFETY: as above.
                unsafe { memory::discard(self.at(rest.start), rest.len()) }
                    .map_err(SlotError::os("reset an instance"))?;
            }
        }
        Ok(())
    }

    /// Makes all but the artifact's write set read-only, if there is one that the slot does not follow yet. Where the
    /// system refuses that, everything is writable.
    fn follow(&mut self) -> Result<(), SlotError> {
        if self.version == self.blueprint.learner.version() {
            return Ok(());
        }
        let set = self.blueprint.learner.set();
        self.version = set.as_ref().map_or(0, |set| set.version);
        let frozen = self.frozen.take();
        if let Some(set) = set
            && RUNS.load(Ordering::Relaxed) + set.runs.len() <= MAX_RUNS
            && self.protect(&set).is_ok()
        {
            RUNS.fetch_add(set.runs.len(), Ordering::Relaxed);
            let plan = &*self.blueprint;
            let addresses = |range: &Range<usize>| self.at(range.start).expose_provenance()..self.at(range.end).addr();
            let late =
                LateWrites::new(addresses(&(0..plan.slot_size)), plan.accessible.iter().map(addresses).collect());
            self.frozen = Some(Frozen { set, late });
        } else if frozen.is_some() {
            for range in &self.blueprint.accessible {
                // SAFETY: the range is accessible memory of the slot, which holds no guard.
                unsafe { memory::open(self.at(range.start), range.len()) }
                    .map_err(SlotError::os("make an instance's memory writable"))?;
            }
        }
        Ok(())
    }

    fn protect(&self, set: &WriteSet) -> std::io::Result<()> {
        signal::install_handlers()?;
        // SAFETY: all ranges are accessible memory of the slot, which holds no guard, and the pages of the set are as
        // good as new ones.
        unsafe {
            for range in &self.blueprint.accessible {
                memory::make_readable(self.at(range.start), range.len())?;
            }
            for run in &set.runs {
                memory::open(self.at(run.start), run.len())?;
                memory::populate(self.at(run.start), run.len());
            }
        }
        Ok(())
    }

    /// Calls `visit` with the runs of pages in `range` that were written, in order, as long as they are no more than
    /// `keep` bytes, which they are taken from. From where on they are not known, if that is so.
    fn for_each_written(
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
    /// Makes grown memories as small as they were. What was written is zeroed and kept for the next that grows.
    fn give_back_growth(&mut self) -> Result<(), SlotError> {
        let mut keep = RESIDENT_LIMIT;
        for (memory, size) in self.blueprint.memories.iter().zip(&self.sizes) {
            let grown = memory.start + memory.initial..memory.start + size;
            if grown.is_empty() {
                continue;
            }
            let rest = self.for_each_written(grown.clone(), &mut keep, |written| self.restore(written, How::Store));
            // SAFETY: the range is what `set_memory_size` made accessible, part of the memory's reservation.
            unsafe {
                if let Some(rest) = rest {
                    memory::discard(self.at(rest), grown.end - rest)
                        .map_err(SlotError::os("give grown memory back"))?;
                }
                memory::close(self.at(grown.start), grown.len()).map_err(SlotError::os("give grown memory back"))?;
            }
        }
        for (memory, size) in self.blueprint.memories.iter().zip(&mut self.sizes) {
            *size = memory.initial;
        }
        Ok(())
    }

    /// Whether a range of accessible pages holds the initial state.
    fn is_fresh(&self, range: Range<usize>) -> bool {
        let plan = &*self.blueprint;
        // SAFETY: the pages are accessible memory of the slot, which nobody writes while it is reset.
        let bytes = |range: Range<usize>| unsafe { std::slice::from_raw_parts(self.at(range.start), range.len()) };
        let is_zero = |range: Range<usize>| bytes(range).iter().all(|byte| *byte == 0);
        let mut at = range.start;
        for run in plan.runs_in(range.clone()) {
            let (from, to) = (run.slot.start.max(at), run.slot.end.min(range.end));
            let contents = &plan.contents(run)[from - run.slot.start..to - run.slot.start];
            if !is_zero(at..from) || bytes(from..to) != contents {
                return false;
            }
            at = to;
        }
        is_zero(at..range.end)
    }

    /// Writes the initial state over a range of accessible pages.
    fn restore(&self, range: Range<usize>, how: How) {
        let plan = &*self.blueprint;
        let mut at = range.start;
        // SAFETY: the pages are accessible and writable memory of the slot, and nobody else accesses it while it is
        // reset. The image does not overlap them: it is another mapping.
        unsafe {
            for run in plan.runs_in(range.clone()) {
                let from = run.slot.start.max(at);
                let to = run.slot.end.min(range.end);
                how.zero(self.at(at), from - at);
                let contents = &plan.contents(run)[from - run.slot.start..to - run.slot.start];
                how.copy(self.at(from), contents);
                at = to;
            }
            how.zero(self.at(at), range.end - at);
        }
    }

    /// BLAKE3 of every byte that a guest can access, with its place: equal for all fresh slots of an artifact, and only
    /// for them. For tests of [`Self::reset`].
    pub(crate) fn hash(&mut self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let plan = &*self.blueprint;
        let grown = plan
            .memories
            .iter()
            .zip(&self.sizes)
            .map(|(memory, size)| memory.start + memory.initial..memory.start + size);
        for range in plan.accessible.iter().cloned().chain(grown.filter(|range| !range.is_empty())) {
            hasher.update(&(range.start as u64).to_le_bytes()).update(&(range.len() as u64).to_le_bytes());
            let mut page = [0; 4096];
            for at in range.step_by(page.len()) {
                // SAFETY: the page is accessible memory of the slot (system pages are 4 KiB or multiples), which
                // nobody writes meanwhile: this has the slot exclusively.
                unsafe { page.as_mut_ptr().copy_from_nonoverlapping(self.at(at), page.len()) };
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
