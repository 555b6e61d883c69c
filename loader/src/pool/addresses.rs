//! Addresses for the slots of an artifact, reserved for several at once.
//!
//! What comes in: the size of a slot. What goes out: addresses for one, kept from forked children. A process that needs one
//! slot mostly needs more, and each reservation takes system calls that as well are for all of them.
//!
//! # Safety
//! What is spare is nobody's but this structure's; what was taken is the slot's that it was taken for.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::blueprint::Blueprint;
use crate::sys::memory;

/// Slots that addresses are reserved for at once, at most.
const BATCH: usize = 16;

/// Bytes of addresses that are reserved at once, unless one slot takes more: a small part of what a process has.
const MOST: usize = 1 << 38;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<Spare>);

#[derive(Debug, Default)]
struct Spare {
    starts: Vec<*mut u8>,
    /// Bytes of each.
    len: usize,
    /// How many were reserved last.
    batch: usize,
}

// SAFETY: addresses are no thread's in particular.
unsafe impl Send for Spare {}

impl Addresses {
    /// Addresses for a slot of the only blueprint that this is asked with: inaccessible, but writable if slots are dense.
    pub(crate) fn take(&self, plan: &Blueprint) -> io::Result<*mut u8> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(start) = spare.starts.pop() {
            return Ok(start);
        }
        let len = plan.slot_size;
        let count = (4 * spare.batch).min(BATCH).min(MOST / len).max(1);
        // Where there is no room for many, there may be for one.
        let (start, count) = match reserve(plan, count) {
            Err(_) if count > 1 => (reserve(plan, 1)?, 1),
            start => (start?, count),
        };
        (spare.len, spare.batch) = (len, count);
        spare.starts.extend((1..count).rev().map(|index| start.wrapping_add(index * len)));
        Ok(start)
    }
}

/// Reserves addresses for `count` slots.
fn reserve(plan: &Blueprint, count: usize) -> io::Result<*mut u8> {
    let len = plan.slot_size * count;
    let start = memory::reserve(len)?;
    // SAFETY: the range is new, and nobody else knows of it.
    unsafe {
        let prepared = memory::keep_from_children(start, len)
            .and_then(|()| if plan.is_dense { memory::open(start, len) } else { Ok(()) });
        if prepared.is_err() {
            memory::unmap(start, len);
        }
        prepared.map(|()| start)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        for start in &self.starts {
            // SAFETY: what is spare is nobody else's.
            unsafe { memory::unmap(*start, self.len) };
        }
    }
}
