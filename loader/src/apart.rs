//! Lists that all threads read for each instance, apart from whatever else is in the heap.
//!
//! Threads write nothing in common on the way of an instance; but a list that lies beside what one of them writes in its own
//! heap would be on the same cache line, which then goes back and forth between processors all the same. So structures that
//! are shared, and those of one thread that it writes each time, are aligned to two lines, of which processors fetch two at
//! a time, and shared lists are these.

use std::ops::Deref;

/// Bytes between a list and whatever lies beside it.
const DISTANCE: usize = 128;

/// A list with room around it.
#[derive(Debug)]
pub(crate) struct Apart<T> {
    /// Padding, the list, and padding again; nothing if the list is empty.
    items: Box<[T]>,
}

impl<T> Apart<T> {
    /// Items of padding on each side.
    const PADDING: usize = DISTANCE.div_ceil(size_of::<T>());
}

impl<T> Default for Apart<T> {
    fn default() -> Self {
        Apart { items: Box::default() }
    }
}

impl<T: Clone> From<Vec<T>> for Apart<T> {
    fn from(list: Vec<T>) -> Self {
        let Some(first) = list.first() else { return Apart::default() };
        let around = vec![first.clone(); Self::PADDING];
        Apart { items: [&around[..], &list, &around].concat().into() }
    }
}

impl<T> Deref for Apart<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        let end = self.items.len().saturating_sub(Self::PADDING);
        self.items.get(Self::PADDING..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_as_they_were_and_have_room_around_them() {
        for list in [vec![], vec![[1u8; 3]], vec![[7; 3], [8; 3], [9; 3]]] {
            let apart = Apart::from(list.clone());
            assert_eq!(*apart, list);
            if !list.is_empty() {
                let (list, all) = (apart.as_ptr_range(), apart.items.as_ptr_range());
                assert!(list.start.addr() - all.start.addr() >= DISTANCE);
                assert!(all.end.addr() - list.end.addr() >= DISTANCE);
            }
        }
    }
}
