//! Binding: what an artifact's imports are, decided once for all its instances.
//!
//! What comes in: host functions, and things of live instances, each under two names. What goes out: a [`Bound`], which
//! instantiates, or a [`BindError`] that names what is missing or ill-typed. Things of live instances are checked for
//! their kind here, and for their type when an instance is made, since a handle tells its type only with its store.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use precast_abi::meta::ExternKind;
use precast_abi::types::FuncType;

use crate::HostError;
use crate::artifact::Artifact;
use crate::bindings::{self, Bindings, Found, Maker};
use crate::describe;
use crate::externs::Extern;
use crate::host::{Caller, HostFunc, IntoHostFunc};
use crate::instance::{Instance, InstantiateError, LimitError, Limits};
use crate::plan::Malformed;
use crate::record;
use crate::store::{InstanceId, Store, sealed::Sealed};
use crate::types::ExternType;
use crate::val::Val;

/// Why an artifact's imports cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Nothing is defined under the import's names.
    #[error("unknown import: {module:?} {name:?} is not defined, and {wanted} is wanted")]
    Missing {
        /// First name.
        module: String,
        /// Second name.
        name: String,
        /// What the module imports.
        wanted: String,
    },
    /// What is defined under the import's names is something else.
    #[error("incompatible import type: {module:?} {name:?} is {found}, and {wanted} is wanted")]
    Type {
        /// First name.
        module: String,
        /// Second name.
        name: String,
        /// What is defined.
        found: String,
        /// What the module imports.
        wanted: String,
    },
    /// The artifact is a component, and the linker one for modules.
    #[error("the artifact is a component: precast_loader::component::Linker binds it")]
    Component,
    /// The artifact is a module, and the linker one for components.
    #[error("the artifact is a core module and no component: precast_loader::Linker binds it")]
    NotComponent,
    /// The artifact's tables do not make sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A host function was called that is not there: see [`Linker::trap_missing_functions`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the import {module:?} {name:?} was called, which the host does not provide")]
pub struct MissingFunction {
    /// First name.
    pub module: String,
    /// Second name.
    pub name: String,
}

/// Definitions for imports, by name. A later definition under the same names replaces the earlier.
pub struct Linker<T> {
    modules: HashMap<String, HashMap<String, Item>>,
    trap_missing_functions: bool,
    data: PhantomData<fn(&mut T)>,
}

#[derive(Clone)]
enum Item {
    Host(HostFunc),
    Linked(Extern),
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker { modules: self.modules.clone(), trap_missing_functions: self.trap_missing_functions, data: PhantomData }
    }
}

impl<T> Default for Linker<T> {
    fn default() -> Self {
        Linker { modules: HashMap::new(), trap_missing_functions: false, data: PhantomData }
    }
}

impl<T> std::fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.modules.iter().flat_map(|(module, items)| items.keys().map(move |name| (module, name)));
        f.debug_set().entries(names).finish()
    }
}

impl<T> Linker<T> {
    /// No definitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines a host function: a closure that takes `&mut Caller<'_, T>` and up to 16 values, and returns nothing, a
    /// value, a tuple, or a `Result` of one of these.
    pub fn func<P, R>(&mut self, module: &str, name: &str, f: impl IntoHostFunc<T, P, R>) -> &mut Self {
        self.insert(module, name, Item::Host(f.into_host_func()))
    }

    /// Defines a host function whose type is known at run time only. It is given the parameters, and zeros or nulls of
    /// the result types to replace.
    pub fn func_dynamic(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        f: impl Fn(&mut Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), HostError> + Send + Sync + 'static,
    ) -> &mut Self {
        self.insert(module, name, Item::Host(HostFunc::dynamic(ty, f)))
    }

    /// Defines an asynchronous host function: while its future is not ready, a guest that was called with `call_async`
    /// is suspended, and its thread goes on. Where the guest was called with `call`, the future has to be ready when it
    /// is polled first.
    ///
    /// The future may borrow the caller, and is dropped before the guest goes on or is abandoned.
    pub fn func_async(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        f: impl for<'a> Fn(
            &'a mut Caller<'_, T>,
            &[Val],
        ) -> Pin<Box<dyn Future<Output = Result<Vec<Val>, HostError>> + Send + 'a>>
        + Send
        + Sync
        + 'static,
    ) -> &mut Self {
        self.insert(module, name, Item::Host(HostFunc::dynamic_async(ty, f)))
    }

    /// Defines something of a live instance. What is bound to it can be instantiated in that instance's store only.
    pub fn define(&mut self, module: &str, name: &str, item: Extern) -> &mut Self {
        self.insert(module, name, Item::Linked(item))
    }

    /// Defines all exports of a live instance.
    ///
    /// # Panics
    /// If the instance is another store's.
    pub fn define_instance(&mut self, module: &str, store: &Store<T>, instance: InstanceId) -> &mut Self {
        for (name, item) in store.exports(instance) {
            self.define(module, name, item);
        }
        self
    }

    /// From now on a missing function is no error: calling it fails with [`MissingFunction`].
    pub fn trap_missing_functions(&mut self) -> &mut Self {
        self.trap_missing_functions = true;
        self
    }

    /// Finds a definition for every import of `artifact`.
    ///
    /// # Errors
    /// The first import that has none, or one of another kind or type; or the artifact is damaged.
    pub fn bind(&self, artifact: &Artifact) -> Result<Bound<T>, BindError> {
        if artifact.is_component() {
            return Err(BindError::Component);
        }
        let inner = artifact.inner();
        let meta = inner.meta();
        let plan = inner.plan()?;
        let mut found = Vec::with_capacity(plan.imports.len());
        for (row, import) in (0..).zip(meta.imports.iter()) {
            let damaged = Malformed("an import's name or type is out of range");
            let (module, name) = meta.str(import.module).zip(meta.str(import.name)).ok_or(damaged)?;
            let wanted = bindings::import_type(inner, &plan, row).ok_or(damaged)?;
            found.push(self.find(module, name, &wanted)?);
        }
        let bindings = Bindings::new(artifact.clone(), plan, found);
        let exceeded = bindings.exceeded(Limits::default());
        Ok(Bound { maker: Maker::new(bindings), limits: Limits::default(), exceeded, data: PhantomData })
    }

    fn find(&self, module: &str, name: &str, wanted: &ExternType) -> Result<Found, BindError> {
        let mismatch = |found: String| BindError::Type {
            module: module.into(),
            name: name.into(),
            found,
            wanted: describe::item(wanted),
        };
        match (self.modules.get(module).and_then(|items| items.get(name)), wanted) {
            (Some(Item::Host(function)), ExternType::Func(ty)) if function.ty() == ty => {
                Ok(Found::Host(function.clone()))
            }
            (Some(Item::Host(function)), _) => Err(mismatch(describe::item(&ExternType::Func(function.ty().clone())))),
            (Some(Item::Linked(item)), _) if item.kind() == kind(wanted) => Ok(Found::Linked(*item)),
            (Some(Item::Linked(item)), _) => Err(mismatch(format!("a {}", item.kind()))),
            (None, ExternType::Func(ty)) if self.trap_missing_functions => {
                Ok(Found::Host(missing::<T>(module, name, ty.clone())))
            }
            (None, _) => {
                Err(BindError::Missing { module: module.into(), name: name.into(), wanted: describe::item(wanted) })
            }
        }
    }

    fn insert(&mut self, module: &str, name: &str, item: Item) -> &mut Self {
        if !self.modules.contains_key(module) {
            self.modules.insert(module.into(), HashMap::new());
        }
        if let Some(items) = self.modules.get_mut(module) {
            items.insert(name.into(), item);
        }
        self
    }
}

fn kind(ty: &ExternType) -> &'static str {
    let kind = match ty {
        ExternType::Func(_) => ExternKind::Func,
        ExternType::Table(_) => ExternKind::Table,
        ExternType::Memory(_) => ExternKind::Memory,
        ExternType::Global(_) => ExternKind::Global,
    };
    kind.name()
}

fn missing<T>(module: &str, name: &str, ty: FuncType) -> HostFunc {
    let error = MissingFunction { module: module.into(), name: name.into() };
    HostFunc::dynamic(ty, move |_: &mut Caller<'_, T>, _, _| Err(error.clone().into()))
}

/// An artifact whose imports are bound: makes instances.
pub struct Bound<T> {
    maker: Arc<Maker>,
    limits: Limits,
    /// Why no instance can be made with these limits.
    exceeded: Option<LimitError>,
    data: PhantomData<fn(&mut T)>,
}

impl<T> Clone for Bound<T> {
    fn clone(&self) -> Self {
        Bound { maker: Arc::clone(&self.maker), limits: self.limits, exceeded: self.exceeded, data: PhantomData }
    }
}

impl<T> std::fmt::Debug for Bound<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<T> Bound<T> {
    /// The same with limits for each of its instances.
    pub fn limits(self, limits: Limits) -> Self {
        let exceeded = self.bindings().exceeded(limits);
        Bound { limits, exceeded, ..self }
    }

    /// Makes an instance in a store of its own.
    ///
    /// # Errors
    /// It needs more than it may have, there is no slot for it, or its initialiser fails. What is bound to a live
    /// instance can be instantiated in that instance's store only.
    ///
    /// # Panics
    /// With the panic of a host function that the initialiser called.
    pub fn instantiate(&self, data: T) -> Result<Instance<T>, InstantiateError> {
        let mut store = Store::new(data);
        let id = self.instantiate_in(&mut store)?;
        Ok(Instance::new(store, id))
    }

    /// Makes an instance in `store`. If its initialiser fails, what it did until then remains.
    ///
    /// # Errors
    /// As [`Self::instantiate`]; or what is bound to a live instance is of another type, or of another store.
    ///
    /// # Panics
    /// With the panic of a host function that the initialiser called.
    pub fn instantiate_in(&self, store: &mut Store<T>) -> Result<InstanceId, InstantiateError> {
        self.check_limits()?;
        let inner = store.inner().as_ptr();
        // SAFETY: the borrow of the store is exclusive, and its data is the `T` of the linker's host functions.
        unsafe {
            let index = record::instantiate(inner, self.bindings(), self.limits)?;
            Ok(InstanceId { store: (*inner).id, index })
        }
    }

    /// As [`Self::instantiate`]; host functions that the initialiser calls may wait.
    ///
    /// # Errors
    /// As [`Self::instantiate`].
    ///
    /// # Panics
    /// As [`Self::instantiate`].
    pub async fn instantiate_async(&self, data: T) -> Result<Instance<T>, InstantiateError> {
        let mut store = Store::new(data);
        let id = self.instantiate_in_async(&mut store).await?;
        Ok(Instance::new(store, id))
    }

    /// As [`Self::instantiate_in`]; host functions that the initialiser calls may wait.
    ///
    /// # Errors
    /// As [`Self::instantiate_in`].
    ///
    /// # Panics
    /// As [`Self::instantiate_in`].
    pub async fn instantiate_in_async(&self, store: &mut Store<T>) -> Result<InstanceId, InstantiateError> {
        self.check_limits()?;
        // SAFETY: as above; the borrow outlives the call of the initialiser.
        let (id, initialise) = unsafe {
            let inner = store.inner().as_ptr();
            let (index, initialise) = record::instantiate_async(inner, self.bindings(), self.limits)?;
            (InstanceId { store: (*inner).id, index }, initialise)
        };
        if let Some(initialise) = initialise {
            initialise.await?;
        }
        Ok(id)
    }

    pub(crate) fn bindings(&self) -> &Arc<Bindings> {
        self.maker.bindings()
    }

    fn check_limits(&self) -> Result<(), LimitError> {
        self.exceeded.map_or(Ok(()), Err)
    }
}
