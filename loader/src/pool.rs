//! The idle slots of an artifact.
//!
//! Slots stay with their artifact, so that what they hold is either fresh or being used. Resetting happens outside the
//! locks, on the thread that gives a slot back. Each thread has a shelf, to which nobody else goes as long as the
//! thread finds what it needs there: so threads write nothing in common. What a shelf has no room for goes to the store
//! room, and a thread that finds neither there looks at the others' shelves before it has a new slot mapped.
//!
//! A slot stays with a share in the bindings that it was used with last, because counting shares for each instance would
//! be a write that all threads have in common. The bindings own the artifact, which has the pool; so [`Pool::forget`]
//! has to be called when nobody makes instances with the bindings any more.
//!
//! # Safety
//! Who reaches into a shelf has it for himself: [`Shelf::try_with`].

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::artifact::ArtifactInner;
use crate::bindings::Bindings;
use crate::slot::{Slot, SlotError};

/// Shelves of an artifact. Of more threads than that, some share one.
const SHELVES: usize = 64;

/// Idle slots on a shelf at most.
const ON_SHELF: usize = 32;

/// Idle slots in the store room at most; more are unmapped. Each may hold a few megabytes of resident pages.
const IN_STORE: usize = 256;

/// Idle slots of one artifact, all of them fresh.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Made when the first slot is given back.
    shelves: OnceLock<Box<[Shelf]>>,
    store: Mutex<Vec<Idle>>,
}

/// On cache lines of its own, of which processors fetch two at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shelf {
    is_taken: AtomicBool,
    idle: UnsafeCell<Vec<Idle>>,
}

// SAFETY: one thread at a time reaches into it, and idle slots are no thread's in particular.
unsafe impl Sync for Shelf {}

#[derive(Debug)]
struct Idle {
    slot: Box<Slot>,
    bindings: Option<Arc<Bindings>>,
}

impl Shelf {
    /// What `f` does with the idle slots, unless somebody else is at it: then there is little use in waiting. (A mutex takes
    /// twice as long: who gives it back has to learn whether anybody waits.)
    #[inline]
    fn try_with<R>(&self, f: impl FnOnce(&mut Vec<Idle>) -> R) -> Option<R> {
        struct Taken<'a>(&'a AtomicBool);
        impl Drop for Taken<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        if self.is_taken.swap(true, Ordering::Acquire) {
            return None;
        }
        let _taken = Taken(&self.is_taken);
        // SAFETY: whoever finds `is_taken` set leaves the slots alone until it is not.
        Some(f(unsafe { &mut *self.idle.get() }))
    }

    /// The same, but it waits. Others take no longer than it takes to move a slot.
    fn with<R>(&self, mut f: impl FnMut(&mut Vec<Idle>) -> R) -> R {
        loop {
            match self.try_with(&mut f) {
                Some(result) => return result,
                None => std::thread::yield_now(),
            }
        }
    }
}

/// The number of the calling thread's shelf.
fn own_shelf() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static OWN: Cell<u32> = const { Cell::new(u32::MAX) };
    }
    let own = OWN.get();
    if own != u32::MAX {
        return own as usize;
    }
    let own = NEXT.fetch_add(1, Ordering::Relaxed) % SHELVES as u32;
    OWN.set(own);
    own as usize
}

impl Pool {
    /// A fresh slot of `artifact`, whose pool this is, perhaps with a share in the bindings that it was used with last.
    pub(crate) fn take(&self, artifact: &ArtifactInner) -> Result<(Box<Slot>, Option<Arc<Bindings>>), SlotError> {
        match self.idle() {
            Some(Idle { slot, bindings }) => Ok((slot, bindings)),
            None => Ok((Box::new(Slot::map(artifact)?), None)),
        }
    }

    /// The last slot given back is taken first: its pages are in the caches.
    fn idle(&self) -> Option<Idle> {
        let shelves = self.shelves.get()?;
        let own = own_shelf();
        if let Some(Some(idle)) = shelves[own].try_with(Vec::pop) {
            return Some(idle);
        }
        if let Some(idle) = self.in_store().pop() {
            return Some(idle);
        }
        shelves.iter().find_map(|shelf| shelf.try_with(Vec::pop)?)
    }

    /// Resets a slot and keeps it for another instance, with the share in the bindings. One that cannot be reset is
    /// unmapped. A share that is not kept comes back, because the last one takes the artifact with it, and this pool.
    pub(crate) fn give_back(&self, mut slot: Box<Slot>, mut bindings: Option<Arc<Bindings>>) -> Option<Arc<Bindings>> {
        if slot.reset().is_err() {
            return bindings;
        }
        let shelves = self.shelves.get_or_init(|| (0..SHELVES).map(|_| Shelf::default()).collect());
        let mut slot = Some(slot);
        shelves[own_shelf()].try_with(|idle| {
            if idle.len() < ON_SHELF
                && let Some(slot) = slot.take()
            {
                // Whoever closes bindings looks at this shelf after that.
                let kept = bindings.take_if(|bindings| !bindings.is_closed());
                idle.push(Idle { slot, bindings: kept });
            }
        });
        if let Some(slot) = slot {
            let mut store = self.in_store();
            if store.len() < IN_STORE {
                store.push(Idle { slot, bindings: None });
            }
        }
        bindings
    }

    /// Gives up the shares in `bindings`, which are closed.
    pub(crate) fn forget(&self, bindings: &Arc<Bindings>) {
        let Some(shelves) = self.shelves.get() else { return };
        for shelf in shelves {
            // The caller has a share too, so none of these is the last.
            shelf.with(|idle| {
                idle.iter_mut().for_each(|idle| drop(idle.bindings.take_if(|share| Arc::ptr_eq(share, bindings))));
            });
        }
    }

    /// The hash of each idle slot.
    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        let on_shelves = self.shelves.get().into_iter().flat_map(|shelves| shelves.iter());
        let mut hashes: Vec<_> = on_shelves
            .flat_map(|shelf| shelf.with(|idle| idle.iter_mut().map(|idle| idle.slot.hash()).collect::<Vec<_>>()))
            .collect();
        hashes.extend(self.in_store().iter_mut().map(|idle| idle.slot.hash()));
        hashes
    }

    fn in_store(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
