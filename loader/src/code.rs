//! The registry of guest text: which artifact an address belongs to.
//!
//! What comes in: artifacts when they are opened and dropped. What goes out: [`find`], which takes no lock and
//! allocates nothing, because the signal handler calls it. Entries live in chunks that are only ever added. Writers
//! hold a mutex; each entry has a version, odd while it changes, which tells a reader that it saw a mixture.
//!
//! # Safety
//! An entry's code is alive while the entry is there: its [`Registration`] owns a share. A pc that executes, or
//! will be returned to, belongs to an artifact that whoever runs it keeps alive; so a reader that looks such a pc up
//! may follow the pointer, and entries that change under it are other artifacts'.

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mapping::Code;

const CHUNK: usize = 64;

struct Entry {
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    code: AtomicPtr<Code>,
}

struct Chunk {
    entries: [Entry; CHUNK],
    next: AtomicPtr<Chunk>,
}

impl Chunk {
    const fn new() -> Self {
        Chunk { entries: [const { Entry::new() }; CHUNK], next: AtomicPtr::new(ptr::null_mut()) }
    }
}

static FIRST: Chunk = Chunk::new();
static WRITER: Mutex<()> = Mutex::new(());

/// The code whose text contains `pc`.
///
/// The reference is valid as long as the artifact is open, which whoever runs `pc` sees to.
pub(crate) fn find(pc: usize) -> Option<&'static Code> {
    // SAFETY: the entry belongs to the artifact of `pc`, which is alive: see the head of this file.
    unsafe { find_pointer(pc)?.as_ref() }
}

/// The code whose text contains `pc`, to be kept. Not for signal handlers: its last owner frees it.
pub(crate) fn find_shared(pc: usize) -> Option<Arc<Code>> {
    let code = find_pointer(pc)?;
    // SAFETY: the pointer is that of the `Arc` that the entry's registration owns, as above.
    unsafe {
        Arc::increment_strong_count(code);
        Some(Arc::from_raw(code))
    }
}

fn find_pointer(pc: usize) -> Option<*const Code> {
    chunks()
        .flat_map(|chunk| &chunk.entries)
        .find_map(|entry| entry.read().filter(|(start, end, _)| (*start..*end).contains(&pc)).map(|(_, _, code)| code))
}

/// An entry of the registry; dropping it removes it.
pub(crate) struct Registration {
    entry: &'static Entry,
    /// What the entry points to.
    code: Arc<Code>,
}

impl Registration {
    /// What was registered.
    pub(crate) fn code(&self) -> &Arc<Code> {
        &self.code
    }
}

/// Registers the addresses of the text of `code`.
pub(crate) fn register(code: Arc<Code>) -> Registration {
    let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let free = |entry: &&Entry| entry.code.load(Ordering::Relaxed).is_null();
    let entry = chunks().flat_map(|chunk| &chunk.entries).find(free).unwrap_or_else(|| &add_chunk().entries[0]);
    entry.write(code.addresses(), Arc::as_ptr(&code).cast_mut());
    Registration { entry, code }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        self.entry.write(0..0, ptr::null_mut());
    }
}

impl Entry {
    const fn new() -> Self {
        Entry {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            code: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Start, end and code, unless they are just changing.
    fn read(&self) -> Option<(usize, usize, *const Code)> {
        let before = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let end = self.end.load(Ordering::Relaxed);
        let code = self.code.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (before.is_multiple_of(2) && before == self.version.load(Ordering::Relaxed)).then_some((
            start,
            end,
            code.cast_const(),
        ))
    }

    /// Only with the writers' lock.
    fn write(&self, text: Range<usize>, code: *mut Code) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(text.start, Ordering::Relaxed);
        self.end.store(text.end, Ordering::Relaxed);
        self.code.store(code, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

fn chunks() -> impl Iterator<Item = &'static Chunk> {
    std::iter::successors(Some(&FIRST), |chunk| {
        // SAFETY: a chunk's successor is null or a leaked allocation.
        unsafe { chunk.next.load(Ordering::Acquire).as_ref() }
    })
}

/// Only with the writers' lock.
fn add_chunk() -> &'static Chunk {
    let chunk: &'static mut Chunk = Box::leak(Box::new(Chunk::new()));
    let chunk: *mut Chunk = chunk;
    if let Some(last) = chunks().last() {
        last.next.store(chunk, Ordering::Release);
    }
    // SAFETY: the allocation is leaked, and from here on only shared.
    unsafe { &*chunk }
}
