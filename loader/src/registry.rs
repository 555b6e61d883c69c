//! Registries: what an address belongs to, for signal handlers.
//!
//! What comes in: ranges of addresses that are apart, each with a pointer. What goes out: [`Registry::find`], which takes
//! no lock and allocates nothing. Entries live in chunks that are only ever added. Writers hold a mutex; each entry has a
//! version, odd while it changes, which tells a reader that it saw a mixture.
//!
//! The pointer that is found is as good as who asks makes it: whoever uses an address sees to it that what the address
//! belongs to stays alive. Entries that change meanwhile are others'.

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, PoisonError};

const CHUNK: usize = 64;

/// See the head of this file.
pub(crate) struct Registry<T: 'static> {
    first: Chunk<T>,
    /// The writers' lock, and the entries that are free.
    writer: Mutex<Option<Vec<&'static Entry<T>>>>,
}

struct Chunk<T> {
    entries: [Entry<T>; CHUNK],
    next: AtomicPtr<Chunk<T>>,
}

/// A place in a registry.
pub(crate) struct Entry<T> {
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    value: AtomicPtr<T>,
}

impl<T> Registry<T> {
    pub(crate) const fn new() -> Self {
        Registry { first: Chunk::new(), writer: Mutex::new(None) }
    }

    /// What was added with a range that contains `address`.
    pub(crate) fn find(&'static self, address: usize) -> Option<*const T> {
        self.chunks()
            .flat_map(|chunk| &chunk.entries)
            .find_map(|entry| entry.read().filter(|(range, _)| range.contains(&address)).map(|(_, value)| value))
    }

    /// Adds a range, until the entry is given to [`Self::remove`].
    pub(crate) fn add(&'static self, range: Range<usize>, value: *const T) -> &'static Entry<T> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let free = writer.get_or_insert_with(|| self.first.entries.iter().rev().collect());
        let entry = free.pop().unwrap_or_else(|| {
            let [first, others @ ..] = &self.add_chunk().entries;
            free.extend(others.iter().rev());
            first
        });
        entry.write(range, value.cast_mut());
        entry
    }

    /// Removes what was added.
    pub(crate) fn remove(&'static self, entry: &'static Entry<T>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        entry.write(0..0, ptr::null_mut());
        writer.get_or_insert_default().push(entry);
    }

    fn chunks(&'static self) -> impl Iterator<Item = &'static Chunk<T>> {
        std::iter::successors(Some(&self.first), |chunk| {
            // SAFETY: a chunk's successor is null or a leaked allocation.
            unsafe { chunk.next.load(Ordering::Acquire).as_ref() }
        })
    }

    /// Only with the writers' lock.
    fn add_chunk(&'static self) -> &'static Chunk<T> {
        let chunk: *mut Chunk<T> = Box::leak(Box::new(Chunk::new()));
        if let Some(last) = self.chunks().last() {
            last.next.store(chunk, Ordering::Release);
        }
        // SAFETY: the allocation is leaked, and from here on only shared.
        unsafe { &*chunk }
    }
}

impl<T> Chunk<T> {
    const fn new() -> Self {
        Chunk { entries: [const { Entry::new() }; CHUNK], next: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl<T> Entry<T> {
    const fn new() -> Self {
        Entry {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            value: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Range and value, unless they are just changing.
    fn read(&self) -> Option<(Range<usize>, *const T)> {
        let before = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let end = self.end.load(Ordering::Relaxed);
        let value = self.value.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let unchanged = before.is_multiple_of(2) && before == self.version.load(Ordering::Relaxed);
        unchanged.then_some((start..end, value.cast_const()))
    }

    /// Only with the writers' lock.
    fn write(&self, range: Range<usize>, value: *mut T) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(range.start, Ordering::Relaxed);
        self.end.store(range.end, Ordering::Relaxed);
        self.value.store(value, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_found_until_it_is_removed() {
        static REGISTRY: Registry<usize> = Registry::new();
        static VALUES: [usize; 200] = [0; 200];
        let at = |index: usize| 1000 * index + 1;
        let find = |index: usize| REGISTRY.find(at(index)).map(<*const usize>::addr);
        let value = |index: usize| ptr::from_ref(&VALUES[index]).addr();
        for round in 0..3 {
            let entries: Vec<_> =
                (0..200).map(|index| REGISTRY.add(at(index)..at(index) + 1000, &raw const VALUES[index])).collect();
            assert!((0..200).all(|index| find(index) == Some(value(index))), "round {round}");
            assert_eq!(REGISTRY.find(at(200)), None);
            entries.iter().step_by(2).for_each(|entry| REGISTRY.remove(entry));
            assert!((0..200).all(|index| find(index).is_some() == (index % 2 == 1)));
            entries.iter().skip(1).step_by(2).for_each(|entry| REGISTRY.remove(entry));
        }
        assert_eq!(REGISTRY.chunks().count(), 4, "free entries are used again");
    }
}
