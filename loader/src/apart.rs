//! Lists that all threads read for each instance, apart from whatever else is in the heap.
//!
//! Threads write nothing in common on the way of an instance; but a list that lies beside what one of them writes in its own
//! heap is on the same cache line, which then goes back and forth between processors all the same. (Two threads took 400
//! instead of 200 ns for a cycle, or not, depending on what the allocator had put where.) Structures that are shared are
//! aligned to two lines, of which processors fetch two at a time.

use std::ops::Deref;

/// Bytes between a list and whatever lies beside it.
const DISTANCE: usize = 128;

/// A list with room around it.
#[derive(Debug)]
pub(crate) struct Apart<T> {
    /// As much padding as there has to be, the list, and padding again.
    items: Box<[T]>,
    padding: usize,
}

impl<T> Default for Apart<T> {
    fn default() -> Self {
        Apart { items: Box::default(), padding: 0 }
    }
}

impl<T: Clone> From<Vec<T>> for Apart<T> {
    fn from(list: Vec<T>) -> Self {
        let Some(first) = list.first() else { return Apart::default() };
        let padding = DISTANCE.div_ceil(size_of::<T>().max(1));
        let around = vec![first.clone(); padding];
        Apart { items: [&around[..], &list, &around].concat().into(), padding }
    }
}

impl<T> Deref for Apart<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.items[self.padding..self.items.len() - self.padding]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_as_they_were() {
        for list in [vec![], vec![[1u8; 3]], vec![[7; 3], [8; 3], [9; 3]]] {
            let apart = Apart::from(list.clone());
            assert_eq!(*apart, list);
            let room = apart.padding * size_of::<[u8; 3]>();
            assert!(list.is_empty() || room >= DISTANCE && apart.items.len() == list.len() + 2 * apart.padding);
        }
    }
}
