//! Where everything is in the slot: see [`precast_abi::slot`].
//!
//! The block is filled downwards from the base, the hot parts first: globals in the order of the index space (compilers
//! of C and Rust make the stack pointer the first), size words, segment lengths, the host words, and last the tables,
//! which may be large.

use precast_abi::host;
use precast_abi::slot::{ALIGN, GUARDED_RESERVATION, STACK_GUARD, SlotLayout, WASM_PAGE};
use precast_abi::types::ValType;

use crate::Error;
use crate::error::Place;
use crate::options::MemoryModel;
use crate::program::GroupPlace;

/// Elements that a table which may grow has room for, beyond its minimum.
const TABLE_ROOM: u64 = 1 << 20;
/// Elements that any table has room for: a larger minimum fails at instantiation.
const MAX_TABLE_ROOM: u64 = 16 << 20;
/// Bytes of all tables together, well within the reach of a displacement.
const MAX_TABLES_SIZE: u64 = 1 << 30;
/// Bytes of addresses of a slot: a sixteenth of what a process has.
const MAX_SLOT_SIZE: u64 = 1 << 43;

/// Bytes of addresses that one page of page tables is for, where pages have 4 KiB. Linux places reservations that are a
/// multiple of it at one.
const TABLE_REACH: u64 = 2 << 20;
/// Bytes of stack that most guests need no more than.
const SHALLOW_STACK: u64 = 64 << 10;

/// Hands out places in the block, from the base downwards.
#[derive(Default)]
pub(crate) struct Block {
    used: u64,
    tables: u64,
}

impl Block {
    /// An offset from the base of `size` bytes, aligned to `align`. Meaningless if the block turns out too large, which
    /// [`slot`] finds.
    fn place(&mut self, size: u64, align: u64) -> i32 {
        self.used = (self.used + size).next_multiple_of(align);
        (self.used as i32).wrapping_neg()
    }

    pub(crate) fn global(&mut self, ty: ValType) -> i32 {
        let size = if ty == ValType::V128 { 16 } else { 8 };
        self.place(size, size)
    }

    /// A 64-bit word.
    pub(crate) fn word(&mut self) -> i32 {
        self.place(8, 8)
    }

    /// A 32-bit word.
    pub(crate) fn half_word(&mut self) -> i32 {
        self.place(4, 4)
    }

    /// Bytes that start as zero, aligned to 16.
    pub(crate) fn bytes(&mut self, size: u64) -> i64 {
        self.used = (self.used + size).next_multiple_of(16);
        self.used.cast_signed().wrapping_neg()
    }

    /// References of an element segment.
    pub(crate) fn cells(&mut self, count: usize) -> i32 {
        self.place(8 * count as u64, 8)
    }

    /// The host words.
    fn host_words(&mut self, size: u64) -> u64 {
        self.used = (self.used + size).next_multiple_of(ALIGN);
        self.used
    }

    /// The elements of a table and how many there is room for.
    pub(crate) fn table(&mut self, min: u64, max: Option<u64>, may_grow: bool) -> (i32, u64) {
        let wanted = if may_grow { min.saturating_add(TABLE_ROOM).min(max.unwrap_or(u64::MAX)).max(min) } else { min };
        let limit = wanted.min(MAX_TABLE_ROOM).min((MAX_TABLES_SIZE - self.tables) / 8);
        self.tables += 8 * limit;
        (self.place(8 * limit, 8), limit)
    }
}

/// Hands out import cells among the host words.
pub(crate) struct HostArea {
    used: u32,
}

impl HostArea {
    pub(crate) fn new() -> Self {
        HostArea { used: host::HostWords::SIZE as u32 }
    }

    /// Size of all.
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.used).next_multiple_of(ALIGN)
    }

    /// Offset of a cell of `size` bytes from the start of the host words.
    pub(crate) fn cell(&mut self, size: i32) -> u32 {
        let at = self.used;
        self.used += size as u32;
        at
    }
}

/// What a group needs.
#[derive(Default)]
pub(crate) struct GroupArea {
    /// Its block.
    pub block: Block,
    /// Bytes of addresses of its memories.
    pub memories: u64,
    /// Size of the host words, which are in the first group.
    pub host_size: u64,
    /// Distance of the host words from the base, once they have a place.
    host: Option<u64>,
}

impl GroupArea {
    /// Gives the host words their place, if they are in this group and have none yet.
    pub(crate) fn place_host_words(&mut self) {
        if self.host_size > 0 {
            self.host.get_or_insert_with(|| self.block.host_words(self.host_size));
        }
    }

    /// Offset from the base of another memory, which has so many bytes of addresses.
    pub(crate) fn memory(&mut self, reservation: u64) -> i64 {
        let start = self.memories;
        self.memories = start.saturating_add(reservation);
        start.cast_signed()
    }
}

/// Bytes of addresses of a memory of `min` to `max` pages.
pub(crate) fn reservation(model: MemoryModel, page_size: u64, min: u64, max: Option<u64>) -> u64 {
    let bytes = match model {
        MemoryModel::Guarded => GUARDED_RESERVATION,
        MemoryModel::Checked { reservation } => {
            let bytes = |pages: u64| pages.saturating_mul(WASM_PAGE).min(MAX_SLOT_SIZE);
            max.map_or(reservation, |max| bytes(max).min(reservation)).max(bytes(min))
        }
    };
    bytes.next_multiple_of(page_size)
}

/// The slot for these parts, with a stack of at least `stack_size` bytes, and where each group is in it. The host words
/// have a place in the first.
///
/// # Errors
/// [`Error::Limit`] if host words, stack and a block are more than a displacement reaches.
pub(crate) fn slot(
    page_size: u64,
    stack_size: u64,
    groups: &[GroupArea],
) -> Result<(SlotLayout, Vec<GroupPlace>), Error> {
    let pages = |bytes: u64| bytes.next_multiple_of(page_size);
    // A large slot has page tables of its own: upper frames, first block and the beginning of the memory share one.
    let is_large = groups.iter().any(|group| group.memories >= GUARDED_RESERVATION);
    let is_shared = is_large && pages(groups[0].block.used) + SHALLOW_STACK <= TABLE_REACH / 2;
    let shared_start = pages(STACK_GUARD) + pages(stack_size).saturating_sub(SHALLOW_STACK);
    let shift = if is_shared { shared_start.next_multiple_of(TABLE_REACH) - shared_start } else { 0 };
    let stack_start = pages(STACK_GUARD) + shift;
    let limit = i32::MAX as u64;
    // The first block is in one piece with the stack.
    let mut end = stack_start + pages(stack_size);
    let mut places = Vec::with_capacity(groups.len());
    for group in groups {
        let used = group.block.used.next_multiple_of(ALIGN);
        let base_offset = pages(end + used);
        let block_start = base_offset - used;
        let reached = if places.is_empty() { base_offset - shift } else { used };
        if reached > limit {
            let what = "size of imports, stack, tables and globals in bytes";
            return Err(Error::Limit { what, found: reached, limit, place: Place::default() });
        }
        end = base_offset.saturating_add(group.memories);
        places.push(GroupPlace { block_start, base_offset });
    }
    if end > MAX_SLOT_SIZE {
        let what = "size of all memories' address ranges in bytes";
        return Err(Error::Limit { what, found: end, limit: MAX_SLOT_SIZE, place: Place::default() });
    }
    let GroupPlace { block_start, base_offset } = places[0];
    let GroupArea { host_size, host, .. } = groups[0];
    let host_start = base_offset - host.unwrap_or_default();
    let slot_size = if is_large { end.next_multiple_of(TABLE_REACH) } else { end };
    let layout = SlotLayout { page_size, stack_start, block_start, host_start, host_size, base_offset, slot_size };
    Ok((layout, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(used: u64, memories: u64, page_size: u64) -> SlotLayout {
        let block = Block { used, tables: 0 };
        slot(page_size, 1 << 20, &[GroupArea { block, memories, ..GroupArea::default() }]).unwrap().0
    }

    #[test]
    fn stack_block_and_memory_of_a_large_slot_share_a_page_of_page_tables() {
        for (used, page_size) in [(8, 4096), (4000, 4096), (300_000, 4096), (5000, 65536)] {
            let layout = layout(used, GUARDED_RESERVATION, page_size);
            let table = |offset: u64| offset / TABLE_REACH;
            let first = table(layout.block_start - SHALLOW_STACK);
            assert_eq!([layout.base_offset, layout.base_offset + TABLE_REACH / 4].map(table), [first; 2]);
            assert!(layout.slot_size.is_multiple_of(TABLE_REACH), "or it is placed anywhere");
            assert!(layout.stack_start >= STACK_GUARD && layout.stack_start.is_multiple_of(page_size));
            assert!(layout.base_offset - layout.stack_start >= used + (1 << 20));
        }
    }

    #[test]
    fn slots_without_guards_and_large_blocks_have_no_room_to_lose() {
        let dense = layout(4000, WASM_PAGE, 4096);
        assert_eq!((dense.stack_start, dense.slot_size), (STACK_GUARD, dense.base_offset + WASM_PAGE));
        assert_eq!(layout(TABLE_REACH, GUARDED_RESERVATION, 4096).stack_start, STACK_GUARD);
    }
}
