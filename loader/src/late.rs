//! Late writes: to pages that are not in the write set, and therefore read-only.
//!
//! What comes in: a slot whose memory is read-only but for its [`crate::write_set::WriteSet`], and faults. What goes
//! out: the page is writable, the write is done again, and the slot knows of it. It does not matter what code wrote:
//! guests, builtins, the host. The kernel does not count: a system call that is to write there fails with `EFAULT`, so
//! guest memory is never given to one.
//!
//! BANS. [`allow`] runs in the signal handler: no lock, no allocation, no panic.
//!
//! # Safety
//! An address in a slot is accessed only while the slot is alive, by whoever has it for himself; so what the registry
//! says of such an address is alive too, and no other thread works on the slot.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::registry::{Entry, Registry};
use crate::sys::memory;

static SLOTS: Registry<Shared> = Registry::new();

/// Late writes of one instance that are handled one by one. After that all its memory is writable.
const PAGES: usize = 24;

/// What signal handler and slot share.
struct Shared {
    /// The addresses that guests can access.
    accessible: Box<[Range<usize>]>,
    /// The pages written late, of which there are `len`.
    pages: [AtomicUsize; PAGES],
    len: AtomicUsize,
    /// Whether all is writable.
    open: AtomicBool,
}

/// A slot's late writes, which are handled for as long as this is there.
pub(crate) struct LateWrites {
    shared: Box<Shared>,
    entry: &'static Entry<Shared>,
}

impl LateWrites {
    /// For the slot at `slot`, whose guests can access just these addresses.
    pub(crate) fn new(slot: Range<usize>, accessible: Box<[Range<usize>]>) -> Self {
        let pages = [const { AtomicUsize::new(0) }; PAGES];
        let shared = Shared { accessible, pages, len: AtomicUsize::new(0), open: AtomicBool::new(false) };
        let shared = Box::new(shared);
        let entry = SLOTS.add(slot, &raw const *shared);
        LateWrites { shared, entry }
    }

    /// Whether so much was written late that all is writable, and what was written is not known.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Whether nothing was written late.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.len.load(Ordering::Relaxed) == 0
    }

    /// The pages that were written late, by their addresses.
    pub(crate) fn pages(&self) -> impl Iterator<Item = usize> {
        self.shared.pages.iter().take(self.shared.len.load(Ordering::Relaxed)).map(|page| page.load(Ordering::Relaxed))
    }

    /// Forgets what was written late: these pages are read-only again.
    pub(crate) fn clear(&mut self) {
        debug_assert!(!self.is_open());
        self.shared.len.store(0, Ordering::Relaxed);
    }
}

impl Drop for LateWrites {
    fn drop(&mut self) {
        SLOTS.remove(self.entry);
    }
}

impl std::fmt::Debug for LateWrites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pages()).finish()
    }
}

/// Makes the page at `address`, an access to which was refused, writable if it is one to which a guest may write.
/// Whether it is, so that the access is to be tried again.
pub(crate) fn allow(address: usize) -> bool {
    // SAFETY: the slot is alive, and so is what it registered.
    let Some(shared) = SLOTS.find(address).and_then(|shared| unsafe { shared.as_ref() }) else { return false };
    if shared.open.load(Ordering::Relaxed) || !shared.accessible.iter().any(|range| range.contains(&address)) {
        return false;
    }
    let page = address & !(memory::page_size() - 1);
    let len = shared.len.load(Ordering::Relaxed);
    let known = shared.pages.iter().take(len);
    // One that is writable by now has another reason to be refused.
    if known.clone().any(|known| known.load(Ordering::Relaxed) == page) {
        return false;
    }
    if let Some(place) = shared.pages.get(len)
        && is_opened(page..page + memory::page_size())
    {
        place.store(page, Ordering::Relaxed);
        shared.len.store(len + 1, Ordering::Relaxed);
        return true;
    }
    // Too many, or too many mappings, of which this leaves fewer.
    shared.open.store(true, Ordering::Relaxed);
    shared.accessible.iter().cloned().all(is_opened)
}

fn is_opened(range: Range<usize>) -> bool {
    // SAFETY: the range is memory of a slot that guests can access, for which whoever uses the slot is prepared.
    unsafe { memory::open(std::ptr::with_exposed_provenance_mut(range.start), range.len()) }.is_ok()
}
