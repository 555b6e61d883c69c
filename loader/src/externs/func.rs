//! Functions.

use std::marker::PhantomData;

use precast_abi::meta::NONE;
use precast_abi::types::FuncType;

use crate::artifact::ArtifactInner;
use crate::call::{self, CallError};
use crate::describe;
use crate::externs::own_store;
use crate::record::InstanceRecord;
use crate::references::{ForeignStore, FuncId};
use crate::store::{AsStore, StoreId, StoreInner};
use crate::suspend;
use crate::typed::{self, TypedFunc, WasmParams, WasmResults};
use crate::val::Val;

/// A function of an instance, or a host function that an instance exports again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Func {
    pub(crate) store: StoreId,
    pub(crate) id: FuncId,
}

/// Why an export cannot be had, or not as the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// There is no export of that name.
    #[error("there is no export {name:?}")]
    Missing {
        /// The name.
        name: String,
    },
    /// The export is something else.
    #[error("export {name:?} is a {found}, and a {wanted} is wanted")]
    Kind {
        /// The name.
        name: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The function has another type.
    #[error("function {name:?} is {found}, and {wanted} is wanted")]
    Type {
        /// The name of the export; empty if the function was not found by name.
        name: String,
        /// Its type.
        found: String,
        /// The type that was asked for.
        wanted: String,
    },
    /// The artifact has no code to enter the function from outside, because it exports no function of that type.
    #[error("function {name:?} cannot be called from outside")]
    NoEntry {
        /// The name of the export; empty if the function was not found by name.
        name: String,
    },
    /// The function belongs to another store, or to instances of another [`crate::Bound`].
    #[error("the function belongs to another store")]
    Store,
    /// The function is a live instance's, and only that instance's store knows how to call it.
    #[error("export {name:?} is a function of another instance: look it up in an instance that exports it")]
    Linked {
        /// The name of the export.
        name: String,
    },
}

impl ExportError {
    /// The same error about the export called `export`.
    pub(crate) fn named(mut self, export: &str) -> Self {
        if let ExportError::Type { name, .. } | ExportError::NoEntry { name } = &mut self {
            *name = export.into();
        }
        self
    }
}

/// What is needed to call a function.
struct Target {
    entry: u32,
    ty: FuncType,
}

impl Func {
    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: &impl AsStore) -> FuncType {
        let store = own_store(store, self.store);
        // SAFETY: the store is borrowed.
        unsafe { self.target(store) }.map(|target| target.ty).unwrap_or_default()
    }

    /// Calls the function with parameters of its type.
    ///
    /// # Errors
    /// The guest traps, or a host function that it calls fails; the arguments do not have the function's types, or
    /// something belongs to another store.
    ///
    /// # Panics
    /// With the panic of a host function that the guest called.
    pub fn call(&self, store: &mut impl AsStore, params: &[Val]) -> Result<Vec<Val>, CallError> {
        let (mut cells, target) = self.prepare(store, params)?;
        // SAFETY: the store is borrowed exclusively, so it is alive and ours; `prepare` made cells for the function.
        unsafe {
            let record = StoreInner::record(store.inner().as_ptr(), self.id.instance).ok_or(ForeignStore)?;
            call::enter(record, target.entry, self.id.text, cells.as_mut_ptr())?;
            Ok(results(&target.ty, &cells, record))
        }
    }

    /// Calls the function, from where its thread may go on meanwhile: see [`TypedFunc::call_async`].
    ///
    /// # Errors
    /// As [`Self::call`].
    ///
    /// # Panics
    /// As [`Self::call`].
    pub async fn call_async(&self, store: &mut impl AsStore, params: &[Val]) -> Result<Vec<Val>, CallError> {
        let (mut cells, target) = self.prepare(store, params)?;
        // SAFETY: as above, until the future that this is is dropped, and the call with it; the cells are on the heap.
        let call = unsafe {
            let record = StoreInner::record(store.inner().as_ptr(), self.id.instance).ok_or(ForeignStore)?;
            suspend::call_async(record, target.entry, self.id.text, cells.as_mut_ptr())
        };
        call.await?;
        // SAFETY: as above; the results are in the cells now.
        unsafe {
            let record = StoreInner::record(store.inner().as_ptr(), self.id.instance).ok_or(ForeignStore)?;
            Ok(results(&target.ty, &cells, record))
        }
    }

    /// Cells with the parameters, and what to call.
    fn prepare(&self, store: &impl AsStore, params: &[Val]) -> Result<(Vec<u64>, Target), CallError> {
        let store = store.inner().as_ptr();
        // SAFETY: the store is borrowed; the values are compared with the type of the function, which the entry thunk is
        // for; the cells have room for that type.
        unsafe {
            if self.store != (*store).id {
                return Err(ForeignStore.into());
            }
            let no_entry = || CallError::Mismatch(ExportError::NoEntry { name: String::new() }.to_string());
            let target = self.target(store).filter(|target| target.entry != NONE).ok_or_else(no_entry)?;
            let ty = &target.ty;
            if !params.iter().map(Val::ty).eq(ty.params.iter().copied()) {
                let found = params.iter().map(Val::ty).collect::<Vec<_>>();
                let (found, wanted) = (describe::signature(&found, &[]), describe::signature(&ty.params, &ty.results));
                return Err(CallError::Mismatch(format!("a function {wanted} was called as {found}")));
            }
            let record = StoreInner::record(store, self.id.instance).ok_or(ForeignStore)?;
            let mut cells = vec![0; ty.cells()];
            let mut at = 0;
            for param in params {
                param.store(cells[at..].as_mut_ptr(), record)?;
                at += param.ty().cells();
            }
            Ok((cells, target))
        }
    }

    /// The function, to be called with parameters `P` and results `R`: values, or tuples of them.
    ///
    /// # Errors
    /// It has another type, or belongs to another store.
    pub fn typed<P: WasmParams, R: WasmResults>(&self, store: &impl AsStore) -> Result<TypedFunc<P, R>, ExportError> {
        let store = store.inner().as_ptr();
        // SAFETY: the store is borrowed; borrows of the record end with their statement.
        unsafe {
            if self.store != (*store).id {
                return Err(ExportError::Store);
            }
            let record = StoreInner::record(store, self.id.instance).ok_or(ExportError::Store)?;
            let entry = typed_entry::<P, R>((*record).artifact(), self.id.ty)?;
            Ok(TypedFunc { func: *self, entry, types: PhantomData })
        }
    }

    /// # Safety
    /// `store` is alive, and the function belongs to it.
    unsafe fn target(&self, store: *mut StoreInner) -> Option<Target> {
        // SAFETY: as the caller says; the borrow of the record ends with the statement.
        let (row, ty, text_len) = unsafe {
            let artifact = (*StoreInner::record(store, self.id.instance)?).artifact();
            let (row, ty) = artifact.func_type(self.id.ty)?;
            (row, ty, artifact.meta().header.text_len)
        };
        let entry = if u64::from(row.entry) < text_len { row.entry } else { NONE };
        Some(Target { entry, ty })
    }
}

/// Text offset of the entry thunk of the type in row `ty`, if it is that of `P` and `R`. Errors are about no name.
pub(crate) fn typed_entry<P: WasmParams, R: WasmResults>(
    artifact: &ArtifactInner,
    ty: u32,
) -> Result<u32, ExportError> {
    let row = artifact.meta().types.get(ty as usize).ok_or_else(|| ExportError::NoEntry { name: String::new() })?;
    let signature = artifact.meta().bytes(row.signature).unwrap_or_default();
    if !typed::signature_is::<P, R>(signature) {
        let FuncType { params, results } = artifact.func_type(ty).map(|(_, ty)| ty).unwrap_or_default();
        return Err(ExportError::Type {
            name: String::new(),
            found: describe::signature(&params, &results),
            wanted: describe::signature(P::TYPES, R::TYPES),
        });
    }
    if u64::from(row.entry) >= artifact.meta().header.text_len {
        return Err(ExportError::NoEntry { name: String::new() });
    }
    Ok(row.entry)
}

/// The results of a function of type `ty`.
///
/// # Safety
/// `cells` has them, as instance `record` has them, which is alive.
unsafe fn results(ty: &FuncType, cells: &[u64], record: *mut InstanceRecord) -> Vec<Val> {
    let mut at = 0;
    let results = ty.results.iter().map(|ty| {
        // SAFETY: as the caller says.
        let result = unsafe { Val::load(*ty, cells[at..].as_ptr(), record) };
        at += ty.cells();
        result
    });
    results.collect()
}
