//! The idle slots of an artifact.
//!
//! Slots stay with their artifact, so that what they hold is either fresh or being used. Resetting happens outside the
//! locks, on the thread that gives a slot back. Each thread has a shelf, whose lock nobody else takes as long as the
//! thread finds what it needs there: so threads write nothing in common. What a shelf has no room for goes to the store
//! room, and a thread that finds neither there looks at the others' shelves before it has a new slot mapped.
//!
//! A slot stays with a share in the bindings that it was used with last, because counting shares for each instance would
//! be a write that all threads have in common. The bindings own the artifact, which has the pool; so [`Pool::forget`]
//! has to be called when nobody makes instances with the bindings any more.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
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
struct Shelf(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    slot: Box<Slot>,
    bindings: Option<Arc<Bindings>>,
}

impl Shelf {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(idle) = shelves[own].idle().pop() {
            return Some(idle);
        }
        if let Some(idle) = self.in_store().pop() {
            return Some(idle);
        }
        // One that is locked is in use.
        shelves.iter().find_map(|shelf| shelf.0.try_lock().ok()?.pop())
    }

    /// Resets a slot and keeps it for another instance, with the share in the bindings. One that cannot be reset is
    /// unmapped, and so is one whose artifact is recorded. A share that is not kept comes back, because the last one takes
    /// the artifact with it, and this pool.
    pub(crate) fn give_back(&self, mut slot: Box<Slot>, mut bindings: Option<Arc<Bindings>>) -> Option<Arc<Bindings>> {
        if slot.record() || slot.reset().is_err() {
            return bindings;
        }
        let shelves = self.shelves.get_or_init(|| (0..SHELVES).map(|_| Shelf::default()).collect());
        let mut shelf = shelves[own_shelf()].idle();
        if shelf.len() < ON_SHELF {
            // Whoever closes bindings looks at this shelf after that.
            let kept = bindings.take_if(|bindings| !bindings.is_closed());
            shelf.push(Idle { slot, bindings: kept });
            return bindings;
        }
        drop(shelf);
        let mut store = self.in_store();
        if store.len() < IN_STORE {
            store.push(Idle { slot, bindings: None });
        }
        bindings
    }

    /// Gives up the shares in `bindings`, which are closed.
    pub(crate) fn forget(&self, bindings: &Arc<Bindings>) {
        let Some(shelves) = self.shelves.get() else { return };
        for shelf in shelves {
            for idle in shelf.idle().iter_mut() {
                // The caller has a share too, so this one is not the last.
                idle.bindings.take_if(|share| Arc::ptr_eq(share, bindings));
            }
        }
    }

    /// The hash of each idle slot.
    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        let on_shelves = self.shelves.get().into_iter().flat_map(|shelves| shelves.iter());
        let mut hashes: Vec<_> = on_shelves
            .flat_map(|shelf| shelf.idle().iter_mut().map(|idle| idle.slot.hash()).collect::<Vec<_>>())
            .collect();
        hashes.extend(self.in_store().iter_mut().map(|idle| idle.slot.hash()));
        hashes
    }

    fn in_store(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
