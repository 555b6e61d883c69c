//! The idle slots of an artifact.
//!
//! Slots stay with their artifact, so that what they hold is fresh, being used, or waiting for other slots to be fresh, which
//! nobody is given. Resetting happens outside the locks, on the thread that gives a slot back. Each thread has a shelf, to which nobody else goes as long as the
//! thread finds what it needs there: so threads write nothing in common. What a shelf has no room for goes to the store
//! room, and a thread that finds neither there looks at the others' shelves before it has a new slot mapped.
//!
//! What idle slots keep resident has a limit for all of them together ([`Allowance`]), of which each shelf has a part: what
//! it once kept, it may keep again without asking. Only a shelf that is to keep more than ever looks at the others, and
//! takes from their parts what they do not use now.
//!
//! A slot stays with a share in the bindings that it was used with last, because counting shares for each instance would
//! be a write that all threads have in common. The bindings own the artifact, which has the pool; so [`Pool::forget`]
//! has to be called when nobody makes instances with the bindings any more.
//!
//! # Safety
//! Who reaches into a shelf has it for himself: [`Shelf::try_stock`].

use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crate::artifact::ArtifactInner;
use crate::bindings::Bindings;
use crate::slot::{Slot, SlotError};
use addresses::Addresses;
use stock::{Allowance, Idle, Stock};

mod addresses;
mod stock;

/// Shelves of an artifact. Of more threads than that, some share one.
const SHELVES: usize = 64;

/// Idle slots on a shelf at most.
const ON_SHELF: usize = 32;

/// Idle slots in the store room at most; more are unmapped.
const IN_STORE: usize = 256;

/// Bytes of what memories grew by that are rather given up, and had again as faults, than closed while other processors have to
/// be told of it: about as much work for two threads.
const FEW: usize = 64 << 10;

/// The same where no other thread ever made an instance, and nobody has to be told.
const FEW_ALONE: usize = 12 << 10;

/// Idle slots of one artifact.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Made when the first slot is given back, or the first bindings are forgotten.
    shelves: OnceLock<Box<[Shelf]>>,
    store: Shelf,
    allowance: Allowance,
    /// For slots that are not mapped yet.
    pub(crate) addresses: Addresses,
}

/// On cache lines of its own, of which processors fetch two at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shelf {
    is_taken: AtomicBool,
    stock: UnsafeCell<Stock>,
}

// SAFETY: one thread at a time reaches into it, and idle slots are no thread's in particular.
unsafe impl Sync for Shelf {}

/// Who reaches into a shelf.
struct Taken<'a>(&'a Shelf);

impl Shelf {
    /// The stock, unless somebody else is at it. (Giving a mutex back is another atomic exchange, to learn whether anybody
    /// waits.)
    #[inline]
    fn try_stock(&self) -> Option<Taken<'_>> {
        // Only who takes it makes a `Taken`: dropping one gives the shelf back.
        (!self.is_taken.swap(true, Ordering::Acquire)).then(|| Taken(self))
    }

    /// The same, but it waits: others take no longer than it takes to move a slot, or to give back what some grew by.
    #[inline]
    fn stock(&self) -> Taken<'_> {
        loop {
            match self.try_stock() {
                Some(stock) => return stock,
                None => std::thread::yield_now(),
            }
        }
    }
}

impl Deref for Taken<'_> {
    type Target = Stock;
    #[inline]
    fn deref(&self) -> &Stock {
        // SAFETY: whoever finds `is_taken` set leaves the stock alone until it is not.
        unsafe { &*self.0.stock.get() }
    }
}

impl DerefMut for Taken<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Stock {
        // SAFETY: as above.
        unsafe { &mut *self.0.stock.get() }
    }
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Release);
    }
}

/// Threads that gave themselves a shelf.
static THREADS: AtomicU32 = AtomicU32::new(0);

/// The number of the calling thread's shelf.
fn own_shelf() -> usize {
    thread_local! {
        static OWN: Cell<u32> = const { Cell::new(u32::MAX) };
    }
    let own = OWN.get();
    if own != u32::MAX {
        return own as usize;
    }
    let own = THREADS.fetch_add(1, Ordering::Relaxed) % SHELVES as u32;
    OWN.set(own);
    own as usize
}

/// Bytes of what memories grew by that are few.
fn few() -> usize {
    if THREADS.load(Ordering::Relaxed) > 1 { FEW } else { FEW_ALONE }
}

impl Pool {
    /// An empty pool with the limit of another one.
    pub(crate) fn like(other: &Pool) -> Pool {
        Pool { allowance: Allowance::new(other.allowance.limit()), ..Pool::default() }
    }

    /// A fresh slot of `artifact`, whose pool this is, perhaps with a share in the bindings that it was used with last.
    pub(crate) fn take(&self, artifact: &ArtifactInner) -> Result<(Box<Slot>, Option<Arc<Bindings>>), SlotError> {
        let parts = |Idle { slot, bindings }| (slot, bindings);
        if let Some(idle) = self.idle() {
            return Ok(parts(idle));
        }
        let mapped = Slot::map(artifact).map(|slot| (Box::new(slot), None));
        mapped.or_else(|error| self.waiting().map(parts).ok_or(error))
    }

    /// One of those that wait for others to give back together what their memories grew by.
    #[cold]
    fn waiting(&self) -> Option<Idle> {
        self.all().find_map(|shelf| {
            let mut stock = shelf.stock();
            stock.give_back_growth();
            stock.take()
        })
    }

    /// The last slot given back is taken first: its pages are in the caches.
    fn idle(&self) -> Option<Idle> {
        let shelves = self.shelves.get()?;
        let own = own_shelf();
        if let Some(idle) = shelves[own].stock().take() {
            return Some(idle);
        }
        if let Some(idle) = self.store.stock().take() {
            return Some(idle);
        }
        // One that is taken is in use.
        shelves.iter().find_map(|shelf| shelf.try_stock()?.take())
    }

    /// Resets a slot and keeps it for another instance, with the share in the bindings. One that cannot be reset, or would
    /// keep more resident than the limit allows, is unmapped, and so is one whose artifact is recorded. A share that is not
    /// kept comes back, because the last one takes the artifact with it, and this pool.
    pub(crate) fn give_back(&self, mut slot: Box<Slot>, mut bindings: Option<Arc<Bindings>>) -> Option<Arc<Bindings>> {
        let few = if slot.has_grown() { few() } else { 0 };
        if slot.record() || slot.reset(few).is_err() {
            return bindings;
        }
        let mut shelf = self.made_shelves()[own_shelf()].stock();
        if shelf.len() < ON_SHELF {
            if self.may_keep(&mut shelf, slot.resident()) {
                // Whoever closes bindings looks at this shelf after that.
                let kept = bindings.take_if(|bindings| !bindings.is_closed());
                self.put(&mut shelf, Idle { slot, bindings: kept });
            }
            return bindings;
        }
        drop(shelf);
        let mut store = self.store.stock();
        if store.len() < IN_STORE && self.may_keep(&mut store, slot.resident()) {
            self.put(&mut store, Idle { slot, bindings: None });
        }
        bindings
    }

    /// Puts a slot into a stock, which has room for it.
    #[inline]
    fn put(&self, stock: &mut Stock, idle: Idle) {
        let resident = idle.slot.resident();
        // Slots only wait if there may be one more, to be used meanwhile.
        if stock.put(idle) && !self.may_keep(stock, resident) {
            stock.give_back_growth();
        }
    }

    /// Whether a slot that keeps so many bytes resident may be put into a stock of this pool.
    #[inline]
    fn may_keep(&self, stock: &mut Stock, bytes: usize) -> bool {
        stock.has_room(bytes) || self.make_room(stock, bytes)
    }

    #[cold]
    fn make_room(&self, stock: &mut Stock, bytes: usize) -> bool {
        stock.ask(bytes, &self.allowance) || {
            // One that is taken is in use, or is this one.
            self.all().filter_map(Shelf::try_stock).for_each(|mut other| other.return_unused(&self.allowance));
            stock.ask(bytes, &self.allowance)
        }
    }

    /// Has all idle slots together keep at most so many bytes resident. Those that are too many are unmapped.
    pub(crate) fn set_limit(&self, bytes: usize) {
        self.allowance.set_limit(bytes);
        for stock in self.all() {
            let mut stock = stock.stock();
            let mut removed = Vec::new();
            stock.give_back_growth();
            stock.return_unused(&self.allowance);
            while self.allowance.is_exceeded()
                && let Some(idle) = stock.take()
            {
                removed.push(idle);
                stock.return_unused(&self.allowance);
            }
            // Shares in bindings are let go of without the lock, which they may want.
            drop(stock);
        }
    }

    /// Bytes that idle slots keep resident, as far as is known without asking the kernel.
    pub(crate) fn resident(&self) -> usize {
        self.all().map(|shelf| shelf.stock().resident()).sum()
    }

    /// Gives up the shares in `bindings`, which are closed.
    pub(crate) fn forget(&self, bindings: &Arc<Bindings>) {
        // Whoever makes the shelves after this finds the bindings closed.
        for shelf in self.made_shelves() {
            for idle in shelf.stock().iter_mut() {
                // The caller has a share too, so this one is not the last.
                idle.bindings.take_if(|share| Arc::ptr_eq(share, bindings));
            }
        }
    }

    /// The hash of each idle slot.
    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        let hashes = |shelf: &Shelf| {
            let mut stock = shelf.stock();
            stock.give_back_growth();
            stock.iter_mut().map(|idle| idle.slot.hash()).collect::<Vec<_>>()
        };
        self.all().flat_map(hashes).collect()
    }

    #[inline]
    fn made_shelves(&self) -> &[Shelf] {
        self.shelves.get_or_init(|| (0..SHELVES).map(|_| Shelf::default()).collect())
    }

    fn all(&self) -> impl Iterator<Item = &Shelf> {
        self.shelves.get().into_iter().flatten().chain([&self.store])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_that_is_taken_stays_so_whoever_else_tries() {
        let shelf = Shelf::default();
        let taken = shelf.try_stock().expect("nobody has it");
        assert!((0..3).all(|_| shelf.try_stock().is_none()));
        drop(taken);
        assert!(shelf.try_stock().is_some() && shelf.try_stock().is_some());
    }
}
