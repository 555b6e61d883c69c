//! Globals.

use precast_abi::types::ValType;

use crate::bindings;
use crate::externs::own_store;
use crate::state::{GlobalState, ItemId};
use crate::store::{AsStore, StoreId};
use crate::types::GlobalType;
use crate::val::Val;

/// A global of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Global {
    pub(crate) store: StoreId,
    pub(crate) id: ItemId,
}

/// Why a global stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobalError {
    /// It is a constant.
    #[error("the global is immutable")]
    Immutable,
    /// The value is of another type.
    #[error("{} was stored into a global of type {}", found.name(), wanted.name())]
    Type {
        /// Type of the value.
        found: ValType,
        /// Type of the global.
        wanted: ValType,
    },
    /// The reference belongs to another store.
    #[error("the reference belongs to another store")]
    Store,
}

impl Global {
    /// Its type.
    ///
    /// # Panics
    /// If the global belongs to another store, as all methods do.
    pub fn ty(&self, store: &impl AsStore) -> GlobalType {
        bindings::global_type(&self.state(store).row)
    }

    /// Its value.
    pub fn get(&self, store: &impl AsStore) -> Val {
        let state = self.state(store);
        // SAFETY: the store is borrowed, so the owner is alive; binding checked that the value's cells are in the
        // block.
        unsafe { Val::load(state.row.ty, state.cell(), state.owner) }
    }

    /// Sets its value.
    ///
    /// # Errors
    /// It is immutable, or the value is none for this global; the global stays as it is.
    pub fn set(&self, store: &mut impl AsStore, value: Val) -> Result<(), GlobalError> {
        let state = self.state(store);
        let (found, wanted) = (value.ty(), state.row.ty);
        if !state.row.mutable {
            return Err(GlobalError::Immutable);
        }
        if found != wanted {
            return Err(GlobalError::Type { found, wanted });
        }
        // SAFETY: as in `get`; the borrow of the store is exclusive.
        unsafe { value.store(state.cell(), state.owner) }.map_err(|_| GlobalError::Store)
    }

    fn state(&self, store: &impl AsStore) -> GlobalState {
        let store = own_store(store, self.store);
        // SAFETY: the store is borrowed longer than the state is used.
        let state = unsafe { GlobalState::new(store, self.id) };
        state.expect("a handle of the store names one of its globals")
    }
}
