//! The state of an instance, by item and not by address.
//!
//! What comes in: a live instance that no call is under way in, which the loader reads. What goes out: what the compiler
//! lays out as the image, in place of the state that the program says it starts with. Items are in the order of the
//! artifact's tables, and functions are named by their rows in the function table. Neither depends on the target, as the
//! offsets of the one and the text offsets of the other do, so a state taken here fits the same program anywhere.

use alloc::vec::Vec;

use crate::component::ObtainedRow;
use crate::slot::WASM_PAGE;

/// A reference to a function: its row in the function table; `None` is null. References of other types can only be null.
pub type FuncRow = Option<u32>;

/// The state of an instance. Each list has as many entries as the artifact's table of the same name has rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Memories.
    pub memories: Vec<MemoryState>,
    /// The elements of tables.
    pub tables: Vec<Vec<FuncRow>>,
    /// Globals.
    pub globals: Vec<GlobalState>,
    /// Whether code may still copy from data segments.
    pub data: Vec<SegmentState>,
    /// Whether code may still copy from element segments.
    pub elements: Vec<SegmentState>,
    /// Handle tables of component instances.
    pub handles: Vec<HandleState>,
}

/// A memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    /// Its size in pages.
    pub pages: u64,
    /// Pages that are not zero: number and contents, in order.
    pub contents: Vec<(u64, Vec<u8>)>,
}

impl MemoryState {
    /// Bytes of a page.
    pub const PAGE: u64 = WASM_PAGE;
}

/// A global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalState {
    /// The bits of a number or vector, zeros after those that its type has.
    Bits(u128),
    /// A reference.
    Reference(FuncRow),
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// There is nothing to copy from any more.
    Dropped,
    /// As the program has it.
    Whole,
    /// An element segment whose references were computed when the instance was made.
    Computed(Vec<FuncRow>),
}

/// The handle table of a component instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandleState {
    /// Entries from the first on, as far as they were ever used.
    pub entries: Vec<HandleEntry>,
    /// The first free handle, or 0.
    pub free: u32,
}

impl HandleState {
    /// The handles in `tables`, one for each component instance, that the host gives again.
    pub fn obtained(tables: &[HandleState]) -> Vec<ObtainedRow> {
        let entries = |(instance, table): (u32, &'_ HandleState)| {
            let entries = (1..).zip(table.entries.clone());
            entries.filter_map(move |(handle, entry)| match entry {
                HandleEntry::Obtained { function, .. } => Some(ObtainedRow { instance, handle, function }),
                HandleEntry::Owned { .. } | HandleEntry::Free(_) => None,
            })
        };
        (0..).zip(tables).flat_map(entries).collect()
    }
}

/// An entry of a handle table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleEntry {
    /// An owned handle of a resource that the component defines; or of one of the host's that is gone
    /// ([`crate::component::Handle::GONE`]).
    Owned {
        /// Row of the resource.
        resource: u32,
        /// What the component knows it by.
        representation: u32,
    },
    /// An owned handle of a resource of the host's that is obtained again: by the function that gave it, which takes
    /// nothing and returns nothing else.
    Obtained {
        /// Row of the resource.
        resource: u32,
        /// Row of the function in the host functions.
        function: u32,
    },
    /// None; the next free handle, or 0.
    Free(u32),
}
