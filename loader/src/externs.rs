//! Handles of what instances export: functions, memories, tables, globals.
//!
//! What comes in: a store's identity and an index into it. What goes out: access, through a borrow of the store.
//! Handles are small and `Copy`, name the instance that owns the thing whoever exported it, and keep nothing alive.
//! Used with another store than its own, a handle makes calls fail and everything else panic.

mod func;
mod global;
mod memory;
mod table;

pub(crate) use func::typed_entry;
pub use func::{ExportError, Func};
pub use global::{Global, GlobalError};
pub use memory::{GrowError, Memory, OutOfBounds};
pub use table::{Table, TableError};

use crate::store::{AsStore, StoreId, StoreInner};
use crate::types::ExternType;

/// Something that an instance exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A table.
    Table(Table),
    /// A memory.
    Memory(Memory),
    /// A global.
    Global(Global),
}

impl Extern {
    /// Its type. Of memories and tables the current size is the minimum.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: &impl AsStore) -> ExternType {
        match self {
            Extern::Func(func) => ExternType::Func(func.ty(store)),
            Extern::Table(table) => ExternType::Table(table.ty(store)),
            Extern::Memory(memory) => ExternType::Memory(memory.ty(store)),
            Extern::Global(global) => ExternType::Global(global.ty(store)),
        }
    }

    /// `func`, `table`, `memory` or `global`.
    pub fn kind(&self) -> &'static str {
        match self {
            Extern::Func(_) => "func",
            Extern::Table(_) => "table",
            Extern::Memory(_) => "memory",
            Extern::Global(_) => "global",
        }
    }

    /// The function, if it is one.
    pub fn func(self) -> Option<Func> {
        if let Extern::Func(func) = self { Some(func) } else { None }
    }

    /// The table, if it is one.
    pub fn table(self) -> Option<Table> {
        if let Extern::Table(table) = self { Some(table) } else { None }
    }

    /// The memory, if it is one.
    pub fn memory(self) -> Option<Memory> {
        if let Extern::Memory(memory) = self { Some(memory) } else { None }
    }

    /// The global, if it is one.
    pub fn global(self) -> Option<Global> {
        if let Extern::Global(global) = self { Some(global) } else { None }
    }

    pub(crate) fn store(&self) -> StoreId {
        match self {
            Extern::Func(func) => func.store,
            Extern::Table(table) => table.store,
            Extern::Memory(memory) => memory.store,
            Extern::Global(global) => global.store,
        }
    }
}

/// The store as a pointer, if it is the one a handle belongs to.
///
/// # Panics
/// If it is not.
#[inline]
fn own_store(store: &impl AsStore, id: StoreId) -> *mut StoreInner {
    let store = store.inner().as_ptr();
    // SAFETY: a borrowed store is alive.
    assert!(unsafe { (*store).id } == id, "the handle belongs to another store");
    store
}
