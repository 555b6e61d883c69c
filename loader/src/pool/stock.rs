//! Idle slots in one place, and what they may keep resident.
//!
//! What comes in: slots that were reset, which know what they keep ([`Slot::resident`]), and whose memories may still be as
//! large as they had grown ([`Slot::has_grown`]): these wait until there are [`TOGETHER`] of them. What goes out: whether
//! one more may be kept. A stock counts for itself, behind its lock, against a part of the pool's limit that was granted to it; all
//! that stocks have in common is the sum of these parts, which is written only when one has to grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bindings::Bindings;
use crate::slot::Slot;

/// Bytes that the idle slots of an artifact keep resident at most, unless somebody sets another limit.
const DEFAULT_LIMIT: usize = 256 << 20;

/// Slots whose memories give back together what they grew by. Telling other processors of it, in a virtual machine some 10 µs,
/// is so little for each of these that more would not be seen, and each of them is kept resident.
const TOGETHER: usize = 8;

/// A slot that nobody uses.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) slot: Box<Slot>,
    pub(super) bindings: Option<Arc<Bindings>>,
}

/// What all stocks of a pool may keep resident together.
#[derive(Debug)]
pub(super) struct Allowance {
    /// In bytes.
    limit: AtomicUsize,
    /// Bytes that were granted to stocks.
    granted: AtomicUsize,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance::new(DEFAULT_LIMIT)
    }
}

impl Allowance {
    pub(super) fn new(limit: usize) -> Self {
        Allowance { limit: AtomicUsize::new(limit), granted: AtomicUsize::new(0) }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.granted.load(Ordering::Relaxed) > self.limit()
    }

    /// Grants so many more bytes, if they are there.
    fn grant(&self, bytes: usize) -> bool {
        let more = |granted: usize| granted.checked_add(bytes).filter(|granted| *granted <= self.limit());
        self.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// Idle slots in one place.
#[derive(Debug, Default)]
pub(super) struct Stock {
    slots: Vec<Idle>,
    /// Those whose memories are as large as they had grown.
    grown: Vec<Idle>,
    /// Bytes that they keep resident.
    resident: usize,
    /// Bytes that they may keep.
    granted: usize,
}

impl Stock {
    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.grown.len()
    }

    pub(super) fn resident(&self) -> usize {
        self.resident
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Idle> {
        self.slots.iter_mut().chain(&mut self.grown)
    }

    /// The last that was put here, of those that are fresh.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Idle> {
        let idle = self.slots.pop()?;
        self.resident -= idle.slot.resident();
        Some(idle)
    }

    /// Makes all slots here fresh. Those where the system refuses it are unmapped.
    #[cold]
    pub(super) fn give_back_growth(&mut self) {
        // A share in bindings that is here is not the last: who closes them has one, and looks here first.
        if Slot::give_back_together(self.grown.iter_mut().map(|idle| &mut *idle.slot)).is_err() {
            self.grown.clear();
        }
        self.slots.append(&mut self.grown);
        self.resident = self.slots.iter().map(|idle| idle.slot.resident()).sum();
    }

    /// Whether a slot that keeps so many bytes may be put here as things are.
    #[inline]
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.resident + bytes <= self.granted
    }

    /// Asks for what is missing to put a slot here that keeps so many bytes. Whether it is granted.
    pub(super) fn ask(&mut self, bytes: usize, allowance: &Allowance) -> bool {
        let missing = (self.resident + bytes).saturating_sub(self.granted);
        let is_granted = allowance.grant(missing);
        self.granted += if is_granted { missing } else { 0 };
        is_granted
    }

    /// Gives back what the slots here do not need.
    pub(super) fn return_unused(&mut self, allowance: &Allowance) {
        allowance.granted.fetch_sub(self.granted - self.resident, Ordering::Relaxed);
        self.granted = self.resident;
    }

    /// Keeps a slot, for which there is room. Whether all that are here wait now.
    #[inline]
    pub(super) fn put(&mut self, idle: Idle) -> bool {
        self.resident += idle.slot.resident();
        if !idle.slot.has_grown() {
            self.slots.push(idle);
            return false;
        }
        self.grown.push(idle);
        if self.grown.len() == TOGETHER {
            self.give_back_growth();
        }
        self.slots.is_empty()
    }
}
