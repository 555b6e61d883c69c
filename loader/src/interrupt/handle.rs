//! Handles: from any thread, what a store's guest does is stopped.
//!
//! A request is a flag that belongs to one store, and only this store's guest takes it, whoever runs on the thread by
//! then and however late a signal arrives: so no other store is ever hit. It is taken by the handler in guest text of that
//! store, or else by the next entry into the guest. A store that runs says on which thread; `interrupt` sends that the
//! first signal, and the watcher the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::{SIGNAL, WATCHER};
use crate::sys::signals::ThreadId;

/// Stops the guest of a store from any thread: [`crate::Store::interrupt_handle`] makes them. All handles of a store are
/// as good as one.
#[derive(Clone, Debug)]
pub struct InterruptHandle(Arc<Interrupts>);

impl InterruptHandle {
    /// A handle of the store whose share in it is this.
    pub(crate) fn new(interrupts: Arc<Interrupts>) -> Self {
        InterruptHandle(interrupts)
    }

    /// Has the guest trap with [`crate::TrapCode::Interrupted`]: the innermost call into the store that is under way, or
    /// the next one if there is none. Returns at once, without waiting for that.
    ///
    /// Host functions are not interrupted, nor are guests of other stores that they call: a guest that called one traps
    /// soon after it returned. A guest that is suspended traps when it would go on. Of requests that were not taken yet
    /// there is only one.
    ///
    /// The request is remembered until it is taken, since whoever interrupts cannot know whether the call that is meant
    /// has begun yet. If it has ended by itself, the request is for the next call of the same store, and for nobody if
    /// the store is gone; see [`Self::withdraw`].
    pub fn interrupt(&self) {
        // Either the guest's thread sees the request when it enters, or this sees the thread.
        if !self.0.requested.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.0.thread()
        {
            thread.send(SIGNAL);
            WATCHER.remind(&self.0);
        }
    }

    /// Takes a request back. Whether there was one that nobody had taken, so that no call has trapped for it, or will.
    pub fn withdraw(&self) -> bool {
        self.0.take()
    }
}

/// What a store and its handles share.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    /// The thread that entered the store's guest last and has not left it, as [`ThreadId::number`]; 0 if there is none.
    thread: AtomicI32,
    requested: AtomicBool,
}

impl Interrupts {
    fn thread(&self) -> Option<ThreadId> {
        ThreadId::from_number(self.thread.load(Ordering::SeqCst))
    }

    /// Says that `thread` enters the guest now: what [`Self::end`] is to be given. None if the guest is not to be entered.
    pub(crate) fn begin(&self, thread: ThreadId) -> Option<Outside> {
        // Only who has the store writes this.
        let outside = Outside(self.thread.load(Ordering::Relaxed));
        self.thread.store(thread.number(), Ordering::SeqCst);
        if self.take() {
            self.end(outside);
            return None;
        }
        Some(outside)
    }

    /// Says that the guest was left. Who does not see that yet sends a signal too many.
    pub(crate) fn end(&self, outside: Outside) {
        self.thread.store(outside.0, Ordering::Release);
    }

    /// Whether there is a request.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Takes the request, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.is_requested() && self.requested.swap(false, Ordering::SeqCst)
    }

    /// Sends the thread another signal. Whether there was any use in that.
    pub(super) fn remind(&self) -> bool {
        let thread = self.thread().filter(|_| self.is_requested());
        thread.inspect(|thread| thread.send(SIGNAL)).is_some()
    }
}

/// The thread that runs a store's guest around an entry.
pub(crate) struct Outside(i32);
