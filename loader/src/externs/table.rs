//! Tables.

use precast_abi::types::ValType;

use crate::bindings;
use crate::externs::{GrowError, own_store};
use crate::state::{ItemId, TableState};
use crate::store::{AsStore, StoreId};
use crate::types::TableType;
use crate::val::Val;

/// A table of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    pub(crate) store: StoreId,
    pub(crate) id: ItemId,
}

/// Why a table stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// There is no such element.
    #[error("element {index} is not inside a table of {size} elements")]
    OutOfBounds {
        /// The element.
        index: u64,
        /// Size of the table.
        size: u64,
    },
    /// The value is of another type.
    #[error("{} was stored into a table of {}", found.name(), wanted.name())]
    Type {
        /// Type of the value.
        found: ValType,
        /// Type of the table's elements.
        wanted: ValType,
    },
    /// The reference belongs to another store.
    #[error("the reference belongs to another store")]
    Store,
    /// See there.
    #[error(transparent)]
    Grow(#[from] GrowError),
}

impl Table {
    /// Its type, with the current size as the minimum.
    ///
    /// # Panics
    /// If the table belongs to another store, as all methods do.
    pub fn ty(&self, store: &impl AsStore) -> TableType {
        let state = self.state(store);
        TableType { min: state.size(), ..bindings::table_type(&state.row) }
    }

    /// Number of elements.
    pub fn size(&self, store: &impl AsStore) -> u64 {
        self.state(store).size()
    }

    /// The element at `index`, if there is one.
    pub fn get(&self, store: &impl AsStore, index: u64) -> Option<Val> {
        let state = self.state(store);
        let cell = state.get(index)?;
        // SAFETY: the store is borrowed, so the owner is alive.
        Some(unsafe { Val::load(state.row.element, &cell, state.owner) })
    }

    /// Stores an element.
    ///
    /// # Errors
    /// There is no such element, or the value is none for this table; the table stays as it is.
    pub fn set(&self, store: &mut impl AsStore, index: u64, value: Val) -> Result<(), TableError> {
        let state = self.state(store);
        let cell = encode(&state, &value)?;
        state.set(index, cell).ok_or(TableError::OutOfBounds { index, size: state.size() })
    }

    /// Adds `delta` elements of `value`. Returns the old number of elements.
    ///
    /// # Errors
    /// The value is none for this table, or the table's maximum or a limit forbids it; the table stays as it is.
    pub fn grow(&self, store: &mut impl AsStore, delta: u64, value: Val) -> Result<u64, TableError> {
        let state = self.state(store);
        let cell = encode(&state, &value)?;
        state.grow(delta, cell).ok_or(TableError::Grow(GrowError { size: state.size(), delta }))
    }

    fn state(&self, store: &impl AsStore) -> TableState {
        let store = own_store(store, self.store);
        // SAFETY: the store is borrowed longer than the state is used.
        let state = unsafe { TableState::new(store, self.id) };
        state.expect("a handle of the store names one of its tables")
    }
}

/// `value` as an element of the table.
fn encode(state: &TableState, value: &Val) -> Result<u64, TableError> {
    let (found, wanted) = (value.ty(), state.row.element);
    if found != wanted {
        return Err(TableError::Type { found, wanted });
    }
    let mut cell = 0;
    // SAFETY: a reference takes one cell; the store is borrowed, so the owner is alive.
    unsafe { value.store(&mut cell, state.owner) }.map_err(|_| TableError::Store)?;
    Ok(cell)
}
