//! Instances as the host has them: exports by name, and what an instance may cost.
//!
//! What comes in: an instance in a store that is its own. What goes out: handles of its exports, and the errors of
//! making instances. The inside is in `record.rs`.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::call::CallError;
use crate::externs::{ExportError, Extern, Func, Global, Memory, Table};
use crate::fuel::MeteringError;
use crate::slot::SlotError;
use crate::store::{AsStore, InstanceId, Store, StoreInner, sealed::Sealed};
use crate::typed::{TypedFunc, WasmParams, WasmResults};

/// What an instance may grow to, beyond what its module says, and use. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of each memory.
    pub memory_bytes: Option<u64>,
    /// Elements of each table.
    pub table_elements: Option<u64>,
    /// What a store starts with that this instance is the first in, if the artifact is metered: see
    /// [`Store::set_fuel`]. The initialiser uses of it. What later instances use is the store's.
    pub fuel: Option<u64>,
}

/// A module needs more from the start than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {index} starts with {wanted} {unit}, more than the limit of {limit}")]
pub struct LimitError {
    /// "memory" or "table".
    pub kind: &'static str,
    /// Its index in the module.
    pub index: usize,
    /// What it starts with.
    pub wanted: u64,
    /// What it may have.
    pub limit: u64,
    /// Of `wanted` and `limit`.
    pub unit: &'static str,
}

/// Why an instance cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstantiateError {
    /// There is no slot for it.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// A memory or table is too large.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// What another instance provides is not what is imported.
    #[error("incompatible import type: {module:?} {name:?} is {found}, and {wanted} is wanted")]
    Import {
        /// First name.
        module: String,
        /// Second name.
        name: String,
        /// What the other instance provides.
        found: String,
        /// What the module imports.
        wanted: String,
    },
    /// What is bound to an import lives in another store.
    #[error("import {module:?} {name:?} is bound to something of another store")]
    Store {
        /// First name.
        module: String,
        /// Second name.
        name: String,
    },
    /// Its code is not metered, and should be, or the other way round.
    #[error(transparent)]
    Metering(#[from] MeteringError),
    /// The artifact is one of a snapshot with a resource that this function of the host's gave, and now it does not.
    #[error("the host gives no resource by `{interface}#{name}`, with which the component starts")]
    Resource {
        /// The interface, or empty.
        interface: String,
        /// The function.
        name: String,
        /// Why not.
        #[source]
        error: CallError,
    },
    /// The initialiser (active segments, the start function) trapped or failed.
    #[error(transparent)]
    Start(#[from] CallError),
}

/// An instance with a store of its own, to which it derefs.
#[derive(Debug)]
pub struct Instance<T> {
    store: Store<T>,
    id: InstanceId,
}

impl<T> Instance<T> {
    pub(crate) fn new(store: Store<T>, id: InstanceId) -> Self {
        Instance { store, id }
    }

    /// The instance in its store.
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// Drops the instance and gives the host's data back.
    pub fn into_data(self) -> T {
        self.store.into_data()
    }

    /// The export called `name`.
    pub fn export(&self, name: &str) -> Option<Extern> {
        self.store.export(self.id, name)
    }

    /// The exported function called `name`, to be called with parameters `P` and results `R`: values, or tuples of
    /// them.
    ///
    /// # Errors
    /// There is no such function, or it has another type.
    pub fn func<P: WasmParams, R: WasmResults>(&self, name: &str) -> Result<TypedFunc<P, R>, ExportError> {
        self.func_dynamic(name)?.typed(&self.store).map_err(|error| error.named(name))
    }

    /// The exported function called `name`.
    ///
    /// # Errors
    /// There is no export of that name, or it is no function.
    pub fn func_dynamic(&self, name: &str) -> Result<Func, ExportError> {
        self.find(name, "func", |item| if let Extern::Func(func) = item { Some(func) } else { None })
    }

    /// The exported memory called `name`.
    ///
    /// # Errors
    /// There is no export of that name, or it is no memory.
    pub fn memory(&self, name: &str) -> Result<Memory, ExportError> {
        self.find(name, "memory", |item| if let Extern::Memory(memory) = item { Some(memory) } else { None })
    }

    /// The exported table called `name`.
    ///
    /// # Errors
    /// There is no export of that name, or it is no table.
    pub fn table(&self, name: &str) -> Result<Table, ExportError> {
        self.find(name, "table", |item| if let Extern::Table(table) = item { Some(table) } else { None })
    }

    /// The exported global called `name`.
    ///
    /// # Errors
    /// There is no export of that name, or it is no global.
    pub fn global(&self, name: &str) -> Result<Global, ExportError> {
        self.find(name, "global", |item| if let Extern::Global(global) = item { Some(global) } else { None })
    }

    fn find<X>(
        &self,
        name: &str,
        wanted: &'static str,
        pick: impl FnOnce(Extern) -> Option<X>,
    ) -> Result<X, ExportError> {
        let item = self.export(name).ok_or_else(|| ExportError::Missing { name: name.into() })?;
        pick(item).ok_or_else(|| ExportError::Kind { name: name.into(), found: item.kind(), wanted })
    }
}

impl<T> Deref for Instance<T> {
    type Target = Store<T>;
    fn deref(&self) -> &Store<T> {
        &self.store
    }
}

impl<T> DerefMut for Instance<T> {
    fn deref_mut(&mut self) -> &mut Store<T> {
        &mut self.store
    }
}

impl<T> Sealed for Instance<T> {
    #[inline]
    fn inner(&self) -> NonNull<StoreInner> {
        self.store.inner()
    }
}
impl<T> AsStore for Instance<T> {
    type Data = T;
}
