//! Which pages the guests of an artifact write.
//!
//! What comes in: what resetting the slots of an artifact found. What goes out: a [`WriteSet`], once no reset has found
//! anything new for a while. From then on slots have just these pages writable and restore all of them, which takes no
//! system call; what is written elsewhere is noticed by `late.rs` and comes in here. A page joins the set when it was
//! written late by two instances, so that one unusual request does not tax all later ones. For the same reason pages
//! leave that many samples in a row found as they were. Some of those are written nevertheless (a count goes up and down
//! again): so a few leave at a time, and one that comes back stays much longer.
//!
//! An artifact that was compiled with a profile has a set from the start: that of the profile.
//!
//! The set belongs to the artifact, and each slot follows it at its own pace: [`Learner::version`] says when it changed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};

use crate::apart::Apart;
use crate::blueprint::Piece;
use crate::restore::How;
use crate::sys::memory;

/// Resets that find nothing new before the set is frozen.
const PATIENCE: u32 = 12;

/// Times that a page is written late before it joins the set.
const LATE: u32 = 2;

/// Samples in a row that find a page as it was before it leaves the set for the first time.
const UNCHANGED: u32 = 48;

/// By how much longer a page stays each time that it comes back.
const LONGER: u32 = 16;

/// Pages that leave the set at once.
const LEAVING: usize = 8;

/// Runs of pages in a set at most: each is a mapping of its own, and so is what lies before it.
const MAX_RUNS: usize = 64;

/// Pages in a set at most. Guests that write more are not learnt.
const MAX_PAGES: usize = 1024;

/// Pages between two runs that are rather copied than kept apart.
const GAP: usize = 2;

/// Pages that are writable and restored at each reset.
#[derive(Debug)]
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct WriteSet {
    /// Tells it from the artifact's earlier ones.
    pub(crate) version: u64,
    /// In bytes from the slot's start: whole pages, sorted, apart, each inside one accessible range.
    pub(crate) runs: Box<[Range<usize>]>,
    /// How to restore them.
    pub(crate) how: How,
    /// What they are at first, once that has been looked up.
    pub(crate) pieces: OnceLock<Apart<Piece>>,
    /// Which of them a slot has resident from the start. What only fills gaps is not written by restoring if that compares,
    /// and can stay the file's.
    pub(crate) resident: Box<[Range<usize>]>,
}

impl WriteSet {
    /// Bytes of all its pages.
    pub(crate) fn len(&self) -> usize {
        self.runs.iter().map(Range::len).sum()
    }

    /// The parts of `range` that are not in it.
    pub(crate) fn outside(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut at = range.start;
        for run in self.runs.iter().filter(|run| run.end > range.start && run.start < range.end) {
            if run.start > at {
                parts.push(at..run.start);
            }
            at = run.end;
        }
        if at < range.end {
            parts.push(at..range.end);
        }
        parts
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Learner {
    /// That of the set; 0 while there is none.
    version: AtomicU64,
    state: Mutex<State>,
}

/// Beside it lies what threads read for each instance.
#[derive(Debug, Default)]
#[repr(align(128))] // See `apart.rs`.
struct State {
    /// The pages of the set, or of the one to be, by their offsets in the slot.
    pages: BTreeMap<usize, Page>,
    /// Pages that left the set, with the samples that they stay next time.
    left: BTreeMap<usize, u32>,
    /// Pages that are not in the set and were written late, with the number of times.
    late: BTreeMap<usize, u32>,
    /// Resets that found nothing new, one after the other.
    unchanged: u32,
    /// How often a set that was being learnt became too large.
    overflows: u32,
    set: Option<Arc<WriteSet>>,
    versions: u64,
}

#[derive(Clone, Copy, Debug)]
struct Page {
    /// Samples in a row that found it as it was.
    unchanged: u32,
    /// After how many of those it leaves.
    stays: u32,
}

impl Page {
    const NEW: Page = Page { unchanged: 0, stays: UNCHANGED };
}

impl Learner {
    /// One that knows from the start which pages most instances write, unless they are too many.
    pub(crate) fn knowing(written: &[Range<usize>], accessible: &[Range<usize>]) -> Learner {
        let learner = Learner::default();
        let count = written.iter().map(Range::len).sum::<usize>() / memory::page_size();
        if (1..=MAX_PAGES).contains(&count) {
            let mut state = State::default();
            state.add(written);
            state.freeze(accessible, &learner.version);
            *learner.state() = state;
        }
        learner
    }

    /// The version of the set; 0 if there is none.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The set, if there is one.
    pub(crate) fn set(&self) -> Option<Arc<WriteSet>> {
        self.state().set.clone()
    }

    /// What an instance wrote: all of it, or where there is a set, at least all that is not in it.
    pub(crate) fn observe(&self, written: &[Range<usize>], accessible: &[Range<usize>]) {
        let state = &mut *self.state();
        let grown = if state.set.is_some() { state.add_late(written) } else { state.add(written) };
        if state.pages.len() > MAX_PAGES {
            // Learning it again takes longer each time.
            state.overflows = (state.overflows + 1).min(16);
            (state.pages, state.left, state.unchanged) = (BTreeMap::new(), BTreeMap::new(), 0);
            state.publish(None, &self.version);
        } else if state.set.is_some() {
            if grown {
                state.freeze(accessible, &self.version);
            }
        } else if grown {
            state.unchanged = 0;
        } else {
            state.unchanged += 1;
            if state.unchanged >= PATIENCE << state.overflows {
                state.freeze(accessible, &self.version);
            }
        }
    }

    /// A sample: an instance changed these pages, and no others of the set. Of threads that come with one at the same time
    /// only one is listened to, so that the more there are, the less any of them waits.
    pub(crate) fn sample(&self, changed: &[Range<usize>], accessible: &[Range<usize>]) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let state = &mut *state;
        state.pages.values_mut().for_each(|page| page.unchanged += 1);
        for at in pages(changed) {
            state.pages.entry(at).and_modify(|page| page.unchanged = 0);
        }
        let leaving = state.pages.iter().filter(|(_, page)| page.unchanged >= page.stays).take(LEAVING);
        let leaving: Vec<_> = leaving.map(|(at, page)| (*at, page.stays.saturating_mul(LONGER))).collect();
        if !leaving.is_empty() {
            state.pages.retain(|at, _| !leaving.iter().any(|(leaving, _)| leaving == at));
            state.left.extend(leaving);
            state.freeze(accessible, &self.version);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether any of the pages was not known.
    fn add(&mut self, written: &[Range<usize>]) -> bool {
        let before = self.pages.len();
        for page in pages(written) {
            self.pages.entry(page).or_insert(Page::NEW);
        }
        self.pages.len() > before
    }

    /// Whether any of the pages has been written late often enough to join the set.
    fn add_late(&mut self, written: &[Range<usize>]) -> bool {
        let mut joined = false;
        for page in pages(written) {
            if self.pages.contains_key(&page) {
                continue;
            }
            if let Some(stays) = self.left.remove(&page) {
                self.pages.insert(page, Page { unchanged: 0, stays });
                joined = true;
                continue;
            }
            let times = self.late.entry(page).or_default();
            *times += 1;
            if *times >= LATE {
                self.late.remove(&page);
                self.pages.insert(page, Page::NEW);
                joined = true;
            }
        }
        if self.late.len() > MAX_PAGES {
            self.late.clear();
        }
        joined
    }

    fn freeze(&mut self, accessible: &[Range<usize>], version: &AtomicU64) {
        let pages = || self.pages.keys().map(|start| *start..start + memory::page_size());
        let runs = runs(pages().collect(), accessible);
        let how = How::of_size(runs.iter().map(Range::len).sum());
        let resident = if how == How::Store { runs.clone() } else { join(pages(), 0, accessible) };
        let (runs, resident) = (runs.into(), resident.into());
        let set = WriteSet { version: self.versions + 1, runs, how, pieces: OnceLock::new(), resident };
        self.publish(Some(Arc::new(set)), version);
    }

    fn publish(&mut self, set: Option<Arc<WriteSet>>, version: &AtomicU64) {
        self.versions += 1;
        version.store(set.as_ref().map_or(0, |set| set.version), Ordering::Release);
        self.set = set;
    }
}

/// The pages of ranges.
fn pages(ranges: &[Range<usize>]) -> impl Iterator<Item = usize> {
    ranges.iter().flat_map(|range| range.clone().step_by(memory::page_size()))
}

/// Runs with these pages: the fewest pages besides that make no more than [`MAX_RUNS`], each within one of the
/// `accessible` ranges.
fn runs(pages: Vec<Range<usize>>, accessible: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut runs = join(pages.into_iter(), GAP * memory::page_size(), accessible);
    if runs.len() > MAX_RUNS {
        let mut gaps: Vec<_> = runs.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
        gaps.sort_unstable();
        let gap = gaps[gaps.len() - MAX_RUNS];
        runs = join(runs.into_iter(), gap, accessible);
    }
    runs
}

/// The same runs, with those joined that lie in one of the `accessible` ranges and no more than `gap` bytes apart.
fn join(runs: impl Iterator<Item = Range<usize>>, gap: usize, accessible: &[Range<usize>]) -> Vec<Range<usize>> {
    let same_range = |from: usize, to: usize| accessible.iter().any(|range| range.start <= from && to < range.end);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.start - last.end <= gap && same_range(last.start, run.start) => last.end = run.end,
            _ => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(range: Range<usize>) -> Range<usize> {
        range.start * memory::page_size()..range.end * memory::page_size()
    }

    fn learnt(learner: &Learner) -> Vec<Range<usize>> {
        let page = memory::page_size();
        let set = learner.set().expect("there is a set");
        assert_eq!(set.version, learner.version());
        set.runs.iter().map(|run| run.start / page..run.end / page).collect()
    }

    /// A learner whose set has these pages.
    fn frozen(pages: &[Range<usize>], all: &[Range<usize>]) -> Learner {
        let learner = Learner::default();
        let written: Vec<_> = pages.iter().cloned().map(at).collect();
        for _ in 0..=PATIENCE {
            assert_eq!(learner.version(), 0);
            learner.observe(&written, all);
        }
        assert_ne!(learner.version(), 0);
        learner
    }

    #[test]
    fn sets_are_frozen_when_nothing_new_is_found() {
        let all = [at(0..100)];
        let learner = Learner::default();
        for page in 0..3 {
            (0..PATIENCE).for_each(|_| learner.observe(&[at(9 * page..9 * page + 1)], &all));
        }
        assert_eq!(learner.version(), 0);
        learner.observe(&[at(9..10)], &all);
        assert_eq!(learnt(&learner), [0..1, 9..10, 18..19]);
        let set = learner.set().unwrap();
        assert_eq!(set.outside(at(0..20)), [at(1..9), at(10..18), at(19..20)]);
        assert_eq!(set.outside(at(9..12)), [at(10..12)]);
        assert!(set.outside(at(18..19)).is_empty());
    }

    #[test]
    fn what_a_profile_says_is_known_from_the_start() {
        let all = [at(0..5000)];
        let learner = Learner::knowing(&[at(1..3), at(40..41)], &all);
        assert_eq!(learnt(&learner), [1..3, 40..41]);
        // From there on it is as any other.
        (0..LATE).for_each(|_| learner.observe(&[at(60..61)], &all));
        assert_eq!(learnt(&learner), [1..3, 40..41, 60..61]);
        (0..UNCHANGED).for_each(|_| learner.sample(&[at(1..2), at(60..61)], &all));
        assert_eq!(learnt(&learner), [1..2, 60..61]);
        for written in [&[][..], &[at(0..MAX_PAGES + 1)]] {
            assert_eq!(Learner::knowing(written, &all).version(), 0);
        }
    }

    #[test]
    fn pages_that_are_written_late_twice_join_and_unwritten_ones_leave() {
        let all = [at(0..100)];
        let learner = frozen(&[1..2, 30..31], &all);
        let first = learner.version();
        learner.observe(&[at(60..61)], &all);
        learner.observe(&[at(70..71)], &all);
        assert_eq!(learner.version(), first);
        learner.observe(&[at(60..61)], &all);
        assert!(learner.version() > first);
        assert_eq!(learnt(&learner), [1..2, 30..31, 60..61]);
        let sample = |times| (0..times).for_each(|_| learner.sample(&[at(1..2), at(60..61)], &all));
        sample(UNCHANGED);
        assert_eq!(learnt(&learner), [1..2, 60..61]);
        // One that comes back stays longer.
        learner.observe(&[at(30..31)], &all);
        sample(UNCHANGED * LONGER - 1);
        assert_eq!(learnt(&learner), [1..2, 30..31, 60..61]);
        sample(1);
        assert_eq!(learnt(&learner), [1..2, 60..61]);
    }

    #[test]
    fn a_sample_does_not_wait_for_another() {
        let all = [at(0..100)];
        let learner = frozen(&[1..2, 30..31], &all);
        let others = learner.state();
        (0..UNCHANGED).for_each(|_| learner.sample(&[at(1..2)], &all));
        drop(others);
        assert_eq!(learnt(&learner), [1..2, 30..31]);
        (0..UNCHANGED).for_each(|_| learner.sample(&[at(1..2)], &all));
        assert_eq!(learnt(&learner), std::slice::from_ref(&(1..2)));
    }

    #[test]
    fn a_few_pages_leave_at_a_time() {
        let all = [at(0..100)];
        let learner = frozen(&[0..10, 10..20], &all);
        (0..UNCHANGED).for_each(|_| learner.sample(&[], &all));
        assert_eq!(learnt(&learner)[0], LEAVING..20);
        learner.sample(&[], &all);
        assert_eq!(learnt(&learner)[0], 2 * LEAVING..20);
    }

    #[test]
    fn close_runs_are_one_but_not_across_ranges() {
        let all = [at(0..50), at(50..2000)];
        assert_eq!(learnt(&frozen(&[1..2, 3..4, 48..50, 50..51, 60..61], &all)), [1..4, 48..50, 50..51, 60..61]);
        let many: Vec<_> = (0..150).map(|index| 100 + index * 10..101 + index * 10).collect();
        let runs = learnt(&frozen(&many, &all));
        assert!(runs.len() <= MAX_RUNS, "{runs:?}");
        assert!(many.iter().all(|page| runs.iter().any(|run| run.start <= page.start && page.end <= run.end)));
    }

    #[test]
    fn guests_that_write_too_much_are_not_learnt() {
        let all = [at(0..10_000)];
        let learner = Learner::default();
        for round in 0..100 {
            let start = 1 + round % 2 * (MAX_PAGES / 2 + 1);
            learner.observe(&[at(start..start + MAX_PAGES / 2 + 1)], &all);
            assert_eq!(learner.version(), 0);
        }
        let resets = (0..).take_while(|_| {
            learner.observe(&[at(5..6)], &all);
            learner.version() == 0
        });
        assert!(resets.count() >= 1000 * PATIENCE as usize, "learning again takes longer");
    }
}
