//! Memories, tables and globals of live instances, by address: what builtins and host handles both work on.
//!
//! What comes in: an instance and an index in one of its index spaces. What goes out: [`MemoryState`], [`TableState`],
//! [`GlobalState`] of the instance that owns the thing, with bounds checked in 64 bits.
//!
//! # Safety
//! A state is good while its store is alive, for which whoever makes it vouches; slots and records live as long as
//! their store. Guest-visible bytes are only ever touched through raw pointers, since compiled code may change them
//! whenever it runs, and no reference to a record outlives a statement.

use crate::plan;
use crate::record::InstanceRecord;
use crate::store::StoreInner;

/// A memory, table or global of a store: the instance that owns it, and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ItemId {
    pub(crate) instance: u32,
    pub(crate) index: u32,
}

/// A memory of a live instance.
#[derive(Clone, Copy)]
pub(crate) struct MemoryState {
    pub(crate) owner: *mut InstanceRecord,
    pub(crate) index: u32,
    pub(crate) row: plan::Memory,
}

impl MemoryState {
    /// The memory `id`, if there is such.
    ///
    /// # Safety
    /// `store` is alive, and so while the state is used.
    pub(crate) unsafe fn new(store: *mut StoreInner, id: ItemId) -> Option<Self> {
        // SAFETY: as the caller says; the record is live and the borrow ends with the statement.
        let (owner, row) = unsafe {
            let owner = StoreInner::record(store, id.instance)?;
            (owner, (*owner).plan().memories.get(id.index as usize).copied()?)
        };
        row.import.is_none().then_some(MemoryState { owner, index: id.index, row })
    }

    /// Address of its first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        // SAFETY: the store is alive; binding checked that the memory lies in the slot.
        unsafe { (*self.owner).base.offset(self.row.start) }
    }

    /// Address of the word with its size.
    pub(crate) fn size_word(&self) -> *mut u64 {
        // SAFETY: the store is alive; binding checked that the word is an aligned one of the block.
        unsafe { (*self.owner).base.offset(self.row.size_word).cast() }
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: see `size_word`; the block is always readable.
        unsafe { self.size_word().read() }
    }

    /// Size in pages.
    pub(crate) fn pages(&self) -> u64 {
        self.size() >> self.row.page_size_log2
    }

    /// Address of the bytes `[offset, offset + len)`, if they are all inside. They stay so: memories never shrink.
    pub(crate) fn range(&self, offset: u64, len: u64) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        // Within the slot, so it neither wraps nor leaves the address space.
        (end <= self.size()).then(|| self.start().wrapping_add(offset as usize))
    }

    /// Adds `delta` pages of zeros. The old number of pages, or `None` if a limit forbids it or the system refuses.
    pub(crate) fn grow(&self, delta: u64) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|pages| *pages <= self.row.max)?;
        let bytes = new.checked_mul(1 << self.row.page_size_log2).filter(|bytes| *bytes <= self.row.capacity)?;
        // SAFETY: the store is alive and nothing else borrows the slot: whoever calls this has the store for itself.
        unsafe {
            if delta == 0 {
                return Some(old);
            }
            if bytes > (*self.owner).limits.memory_bytes.unwrap_or(u64::MAX) {
                return None;
            }
            (*self.owner).slot.set_memory_size(self.index as usize, bytes).ok()?;
            self.size_word().write(bytes);
        }
        Some(old)
    }
}

/// A table of a live instance. Its elements are in the owner's encoding.
#[derive(Clone, Copy)]
pub(crate) struct TableState {
    pub(crate) owner: *mut InstanceRecord,
    pub(crate) row: plan::Table,
}

impl TableState {
    /// The table `id`, if there is such.
    ///
    /// # Safety
    /// `store` is alive, and so while the state is used.
    pub(crate) unsafe fn new(store: *mut StoreInner, id: ItemId) -> Option<Self> {
        // SAFETY: as the caller says; the record is live and the borrow ends with the statement.
        let (owner, row) = unsafe {
            let owner = StoreInner::record(store, id.instance)?;
            (owner, (*owner).plan().tables.get(id.index as usize).copied()?)
        };
        row.import.is_none().then_some(TableState { owner, row })
    }

    /// Address of its first element.
    pub(crate) fn elements(&self) -> *mut u64 {
        // SAFETY: the store is alive; binding checked that the elements are aligned words of the block.
        unsafe { (*self.owner).base.offset(self.row.elements).cast() }
    }

    /// Address of the word with its size.
    pub(crate) fn size_word(&self) -> *mut u64 {
        // SAFETY: the store is alive; binding checked that the word is an aligned one of the block.
        unsafe { (*self.owner).base.offset(self.row.size_word).cast() }
    }

    /// Number of elements.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: see `size_word`; the block is always readable.
        unsafe { self.size_word().read() }
    }

    /// Address of the elements `[index, index + len)`, if they are all inside. They stay so: tables never shrink.
    pub(crate) fn range(&self, index: u64, len: u64) -> Option<*mut u64> {
        let end = index.checked_add(len)?;
        // Within the block, so it neither wraps nor leaves the address space.
        (end <= self.size().min(self.row.limit)).then(|| self.elements().wrapping_add(index as usize))
    }

    /// The element at `index`.
    pub(crate) fn get(&self, index: u64) -> Option<u64> {
        // SAFETY: `range` gives addresses in the block.
        self.range(index, 1).map(|element| unsafe { element.read() })
    }

    /// Stores `value`, in the owner's encoding. `None` if out of bounds.
    pub(crate) fn set(&self, index: u64, value: u64) -> Option<()> {
        self.fill(index, value, 1)
    }

    /// Stores `value`, in the owner's encoding, `len` times. `None` if out of bounds.
    pub(crate) fn fill(&self, index: u64, value: u64, len: u64) -> Option<()> {
        let elements = self.range(index, len)?;
        for at in 0..len as usize {
            // SAFETY: `range` gives addresses in the block.
            unsafe { elements.add(at).write(value) };
        }
        Some(())
    }

    /// Adds `delta` elements of `value`, in the owner's encoding. The old number of elements, or `None` if a limit
    /// forbids it.
    pub(crate) fn grow(&self, delta: u64, value: u64) -> Option<u64> {
        let old = self.size();
        let new = old.checked_add(delta)?;
        if delta == 0 {
            return Some(old);
        }
        // SAFETY: the store is alive.
        let limit = unsafe { (*self.owner).limits.table_elements.unwrap_or(u64::MAX) };
        if new > self.row.max.min(self.row.limit).min(limit) {
            return None;
        }
        // SAFETY: see `size_word`; the block is always writable.
        unsafe { self.size_word().write(new) };
        self.fill(old, value, delta)?;
        Some(old)
    }
}

/// A global of a live instance. A reference in it is in the owner's encoding.
#[derive(Clone, Copy)]
pub(crate) struct GlobalState {
    pub(crate) owner: *mut InstanceRecord,
    pub(crate) row: plan::Global,
}

impl GlobalState {
    /// The global `id`, if there is such.
    ///
    /// # Safety
    /// `store` is alive, and so while the state is used.
    pub(crate) unsafe fn new(store: *mut StoreInner, id: ItemId) -> Option<Self> {
        // SAFETY: as the caller says; the record is live and the borrow ends with the statement.
        let (owner, row) = unsafe {
            let owner = StoreInner::record(store, id.instance)?;
            (owner, (*owner).plan().globals.get(id.index as usize).copied()?)
        };
        row.import.is_none().then_some(GlobalState { owner, row })
    }

    /// Address of its value.
    pub(crate) fn cell(&self) -> *mut u64 {
        // SAFETY: the store is alive; binding checked that the value lies in the block.
        unsafe { (*self.owner).base.offset(self.row.cell).cast() }
    }
}
