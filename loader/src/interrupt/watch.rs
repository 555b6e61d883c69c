//! A thread's deadline, as the thread, the watcher and the handler see it.
//!
//! A signal that arrives late must not hit what the thread does by then. So each use of an alarm has a generation, the
//! watcher says in [`Alarm::requested`] which one it means, and the handler compares.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{SIGNAL, WATCHER, Wait};
use crate::sys::signals::ThreadId;

/// What the watcher looks at.
pub(crate) struct Watch {
    thread: ThreadId,
    /// When the guest is stopped.
    pub(crate) stop: Alarm,
    /// When it is paused.
    pub(crate) pause: Alarm,
}

/// A moment, in nanoseconds since [`super::origin`], at which something is to happen to the guest.
pub(crate) struct Alarm {
    /// [`NEVER`] if there is none.
    deadline: AtomicU64,
    /// Which use of the alarm this is.
    generation: AtomicU64,
    /// The generation that is late.
    requested: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Watch {
    pub(super) fn new(thread: ThreadId) -> Self {
        Watch { thread, stop: Alarm::new(), pause: Alarm::new() }
    }

    /// Sends the thread a signal, if it is late.
    pub(super) fn check(&self, now: u64) -> Wait {
        let wait = self.stop.check(now).max(self.pause.check(now));
        if wait == Wait::Late {
            self.thread.send(SIGNAL);
        }
        wait
    }
}

impl Alarm {
    const fn new() -> Self {
        Alarm { deadline: AtomicU64::new(NEVER), generation: AtomicU64::new(1), requested: AtomicU64::new(0) }
    }

    /// Starts another use of the alarm, which ends when the result is dropped.
    #[inline]
    pub(super) fn arm(&self, deadline: u64) -> Armed<'_> {
        let outer = self.deadline.load(Ordering::Relaxed);
        let deadline = deadline.min(NEVER - 1);
        if deadline < outer {
            self.begin(deadline);
        }
        // Either the watcher sees the deadline before it falls asleep, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        WATCHER.wake();
        Armed { alarm: self, outer, is_mine: deadline < outer }
    }

    /// Only the watch's thread writes these. In between there is no deadline, so that none is taken for one of another
    /// generation.
    fn begin(&self, deadline: u64) {
        self.deadline.store(NEVER, Ordering::Release);
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.generation.store(generation, Ordering::Release);
        self.deadline.store(deadline, Ordering::Release);
    }

    /// Says whether the present use is late, for the handler too.
    fn check(&self, now: u64) -> Wait {
        let generation = self.generation.load(Ordering::Acquire);
        let deadline = self.deadline.load(Ordering::Acquire);
        if deadline == NEVER {
            return Wait::Idle;
        }
        // The deadline is of this generation only if there is no other by now.
        if deadline > now || self.generation.load(Ordering::Acquire) != generation {
            return Wait::Armed;
        }
        self.requested.store(generation, Ordering::Release);
        Wait::Late
    }

    /// Whether the present use was found late.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.load(Ordering::Relaxed) != NEVER
            && self.requested.load(Ordering::Acquire) == self.generation.load(Ordering::Relaxed)
    }
}

/// A use of an alarm.
pub(super) struct Armed<'a> {
    alarm: &'a Alarm,
    outer: u64,
    is_mine: bool,
}

impl Drop for Armed<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_mine {
            self.alarm.begin(self.outer);
        }
    }
}
