//! Exported functions of all instances of a [`Bound`]: looked up by name, and compared with their type, once.
//!
//! What comes in: bindings and a name. What goes out: [`BoundFunc`], which calls the function in whatever instance was made
//! with the bindings.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use precast_abi::meta::ExternKind;

use crate::bindings::{Bindings, Source};
use crate::call::CallError;
use crate::externs::{ExportError, Func, typed_entry};
use crate::instance::Instance;
use crate::linker::Bound;
use crate::references::{ForeignStore, FuncId};
use crate::store::{AsStore, InstanceId, StoreInner};
use crate::typed::{TypedFunc, WasmParams, WasmResults};

/// An exported function, to be called in each instance of the [`Bound`] that it is of, or of a clone of that.
pub struct BoundFunc<P, R> {
    bindings: Arc<Bindings>,
    /// Row of its type.
    ty: u32,
    /// Text offset of its code.
    text: u32,
    /// Text offset of the entry thunk.
    entry: u32,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for BoundFunc<P, R> {
    fn clone(&self) -> Self {
        BoundFunc { bindings: Arc::clone(&self.bindings), ..*self }
    }
}

impl<P, R> std::fmt::Debug for BoundFunc<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundFunc").field("text", &self.text).finish_non_exhaustive()
    }
}

impl<T> Bound<T> {
    /// The exported function called `name`, to be called with parameters `P` and results `R` in any instance. Saves looking
    /// it up in each one.
    ///
    /// # Errors
    /// There is no such function, or it has another type; or it is bound to a live instance, whose store alone can call it.
    pub fn func<P: WasmParams, R: WasmResults>(&self, name: &str) -> Result<BoundFunc<P, R>, ExportError> {
        let bindings = self.bindings();
        let artifact = bindings.artifact.inner();
        let row = artifact.meta().export(name).ok_or_else(|| ExportError::Missing { name: name.into() })?;
        let kind = ExternKind::from_raw(row.kind);
        if kind != Some(ExternKind::Func) {
            let found = kind.map_or("malformed item", ExternKind::name);
            return Err(ExportError::Kind { name: name.into(), found, wanted: "func" });
        }
        let (ty, text) = match bindings.plan.func_imports.get(row.index as usize) {
            None => (row.ty, row.text_offset),
            Some(import) => match (bindings.sources.get(*import as usize), bindings.plan.imports.get(*import as usize))
            {
                (Some(Source::Host), Some(import)) => (import.ty, import.host_thunk),
                _ => return Err(ExportError::Linked { name: name.into() }),
            },
        };
        if u64::from(text) >= artifact.meta().header.text_len {
            return Err(ExportError::NoEntry { name: name.into() });
        }
        let entry = typed_entry::<P, R>(artifact, ty).map_err(|error| error.named(name))?;
        Ok(BoundFunc { bindings: Arc::clone(bindings), ty, text, entry, types: PhantomData })
    }
}

impl<P: WasmParams, R: WasmResults> BoundFunc<P, R> {
    /// The function of an instance in a store.
    ///
    /// # Errors
    /// The instance was made with other bindings, or is another store's.
    #[inline]
    pub fn of(&self, store: &impl AsStore, instance: InstanceId) -> Result<TypedFunc<P, R>, ExportError> {
        let inner = store.inner().as_ptr();
        // SAFETY: the store is borrowed; what is read of the record does not change.
        let is_ours = unsafe {
            (*inner).id == instance.store
                && StoreInner::record(inner, instance.index)
                    .is_some_and(|record| std::ptr::eq(&raw const **(*record).bindings, &raw const *self.bindings))
        };
        if !is_ours {
            return Err(ExportError::Store);
        }
        let id = FuncId { instance: instance.index, ty: self.ty, text: self.text };
        Ok(TypedFunc { func: Func { store: instance.store, id }, entry: self.entry, types: PhantomData })
    }

    /// Calls the function in an instance.
    ///
    /// # Errors
    /// As [`TypedFunc::call`]; and if the instance was made with other bindings.
    ///
    /// # Panics
    /// With the panic of a host function that the guest called.
    #[inline]
    pub fn call<T>(&self, instance: &mut Instance<T>, params: P) -> Result<R, CallError> {
        self.of(instance, instance.id()).map_err(|_| ForeignStore)?.call(instance, params)
    }

    /// As [`Self::call`], with a deadline: see [`TypedFunc::call_with_deadline`].
    ///
    /// # Errors
    /// As [`Self::call`]; and if there can be no deadlines in this process or thread.
    ///
    /// # Panics
    /// As [`Self::call`].
    pub fn call_with_deadline<T>(
        &self,
        instance: &mut Instance<T>,
        params: P,
        deadline: Instant,
    ) -> Result<R, CallError> {
        self.of(instance, instance.id()).map_err(|_| ForeignStore)?.call_with_deadline(instance, params, deadline)
    }

    /// As [`Self::call`], from where the thread may go on meanwhile: see [`TypedFunc::call_async`].
    ///
    /// # Errors
    /// As [`Self::call`].
    ///
    /// # Panics
    /// As [`Self::call`].
    pub async fn call_async<T>(&self, instance: &mut Instance<T>, params: P) -> Result<R, CallError> {
        let func = self.of(instance, instance.id()).map_err(|_| ForeignStore)?;
        func.call_async(instance, params).await
    }
}
