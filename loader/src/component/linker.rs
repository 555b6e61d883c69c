//! Binding: what the functions and resources are that a component imports, decided once for all its instances.
//!
//! What comes in: host functions and resources, by interface and name. What goes out: a [`Bound`], which instantiates,
//! or a [`BindError`] that names what is missing or ill-typed. Versions of interfaces match by their track: see
//! [`super::version`].

use std::any::TypeId;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::guest::Signature;
use super::import::{self, Definition, DropResource, Dynamic, HostFuture, Missing, Site, Typed, TypedAsync};
use super::instance::{Bound, Linked};
use super::obtain::Obtaining;
use super::plan::{ComponentPlan, ImportKind};
use super::types::FuncType;
use super::val::Val;
use super::value::{LiftParams, Lower};
use super::version;
use crate::HostError;
use crate::artifact::Artifact;
use crate::bindings::{Bindings, Found, func_type};
use crate::host::Caller;
use crate::linker::{BindError, MissingFunction};
use crate::plan::Malformed;

/// Definitions for what components import, by interface and name. A later definition under the same names replaces the
/// earlier. The interface is written with its version, as in `wasi:io/streams@0.2.12`, and any version of the same track
/// finds it; it is empty for what the component itself imports.
pub struct Linker<T> {
    interfaces: HashMap<String, Interface<T>>,
    trap_missing: bool,
}

struct Interface<T> {
    funcs: HashMap<String, Arc<dyn Definition<T>>>,
    resources: HashMap<String, Resource<T>>,
}

struct Resource<T> {
    of: TypeId,
    drop: Arc<DropResource<T>>,
}

impl<T> Clone for Resource<T> {
    fn clone(&self) -> Self {
        Resource { of: self.of, drop: Arc::clone(&self.drop) }
    }
}

impl<T> Default for Interface<T> {
    fn default() -> Self {
        Interface { funcs: HashMap::new(), resources: HashMap::new() }
    }
}

impl<T> Clone for Interface<T> {
    fn clone(&self) -> Self {
        Interface { funcs: self.funcs.clone(), resources: self.resources.clone() }
    }
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker { interfaces: self.interfaces.clone(), trap_missing: self.trap_missing }
    }
}

impl<T> Default for Linker<T> {
    fn default() -> Self {
        Linker { interfaces: HashMap::new(), trap_missing: false }
    }
}

impl<T> std::fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let funcs = self.interfaces.iter().flat_map(|(name, of)| of.funcs.keys().map(move |func| (name, func)));
        f.debug_set().entries(funcs).finish()
    }
}

impl<T: 'static> Linker<T> {
    /// No definitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines a function. `P` is a tuple of the parameters, and `R` the result, `()` for none. An error fails the call
    /// of the guest that is under way.
    pub fn func<P, R>(
        &mut self,
        interface: &str,
        name: &str,
        f: impl Fn(&mut Caller<'_, T>, P) -> Result<R, HostError> + Send + Sync + 'static,
    ) -> &mut Self
    where
        P: LiftParams + 'static,
        R: Lower + 'static,
    {
        self.insert(interface, name, Arc::new(Arc::new(Typed { f, types: PhantomData::<fn(P) -> R> })))
    }

    /// Defines an asynchronous function: while its future is not ready, a guest that was called with `call_async` is
    /// suspended, and its thread goes on. Where the guest was called with `call`, the future has to be ready when it is
    /// polled first.
    ///
    /// The future may borrow the caller, and is dropped before the guest goes on or is abandoned.
    pub fn func_async<P, R>(
        &mut self,
        interface: &str,
        name: &str,
        f: impl for<'a> Fn(&'a mut Caller<'_, T>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
    ) -> &mut Self
    where
        P: LiftParams + 'static,
        R: Lower + 'static,
    {
        self.insert(interface, name, Arc::new(Arc::new(TypedAsync { f, types: PhantomData::<fn(P) -> R> })))
    }

    /// Defines a function of whatever type a component imports it with.
    pub fn func_dynamic(
        &mut self,
        interface: &str,
        name: &str,
        f: impl Fn(&mut Caller<'_, T>, &FuncType, &[Val]) -> Result<Option<Val>, HostError> + Send + Sync + 'static,
    ) -> &mut Self {
        self.insert(interface, name, Arc::new(Arc::new(Dynamic { f })))
    }

    /// Defines a resource, which [`super::Resource<X>`] are handles of. `drop` is called with the representation when a
    /// guest drops its last handle.
    pub fn resource<X: 'static>(
        &mut self,
        interface: &str,
        name: &str,
        drop: impl Fn(&mut Caller<'_, T>, u32) -> Result<(), HostError> + Send + Sync + 'static,
    ) -> &mut Self {
        let resource = Resource { of: TypeId::of::<X>(), drop: Arc::new(drop) };
        self.interface(interface).resources.insert(name.into(), resource);
        self
    }

    /// From now on a missing function or resource is no error: calling it, or dropping one, fails with
    /// [`MissingFunction`].
    pub fn trap_missing(&mut self) -> &mut Self {
        self.trap_missing = true;
        self
    }

    fn insert(&mut self, interface: &str, name: &str, definition: Arc<dyn Definition<T>>) -> &mut Self {
        self.interface(interface).funcs.insert(name.into(), definition);
        self
    }

    fn interface(&mut self, name: &str) -> &mut Interface<T> {
        if !self.interfaces.contains_key(name) {
            self.interfaces.insert(name.into(), Interface::default());
        }
        self.interfaces.entry(name.into()).or_default()
    }

    /// Finds a definition for everything that `artifact`, which has to be a component, imports.
    ///
    /// # Errors
    /// The first import that has none, or one of another type; or the artifact is no component, or damaged.
    pub fn bind(&self, artifact: &Artifact) -> Result<Bound<T>, BindError> {
        if !artifact.is_component() {
            return Err(BindError::NotComponent);
        }
        let inner = artifact.inner();
        let core = inner.plan()?;
        let plan = ComponentPlan::new(inner.meta(), &core, &inner.obtained())?;
        let mut finder = Finder { linker: self, candidates: HashMap::new() };
        let resources = finder.resources(&plan)?;
        let hosts: Arc<[Option<TypeId>]> =
            resources.iter().map(|resource| resource.as_ref().map(|resource| resource.of)).collect();
        let site = |func: u32, origin: Option<u32>| {
            let ty = FuncType::new(Arc::clone(&plan.types), Arc::clone(&hosts), func);
            let (signature, ambiguity) = Signature::new(&ty);
            (Site { ty, signature: Signature { origin, ..signature } }, ambiguity)
        };
        let mut host_funcs = Vec::with_capacity(plan.host_funcs.len());
        for import in &plan.host_funcs {
            let (site, ambiguity) = site(import.func, None);
            host_funcs.push(finder.func(&import.interface, &import.name, &site.ty, &ambiguity)?);
        }
        let obtained = plan.obtained.iter().map(|row| {
            let (site, _) = site(plan.host_funcs[row.function as usize].func, Some(row.function));
            Obtaining { row: *row, site, definition: Arc::clone(&host_funcs[row.function as usize]) }
        });
        let obtained = obtained.collect();
        let mut found = Vec::with_capacity(plan.imports.len());
        for (import, row) in plan.imports.iter().zip(&core.imports) {
            let core = func_type(inner, row.ty).ok_or(Malformed("an import's type is out of range"))?;
            found.push(Found::Host(match import.kind {
                ImportKind::Func(func, canon) => {
                    let (site, ambiguity) = site(func, plan.origin(&import.interface, &import.name, func));
                    let definition = finder.func(&import.interface, &import.name, &site.ty, &ambiguity)?;
                    definition.bind(core, site, canon)
                }
                ImportKind::Drop(row) => match resources.get(row as usize).cloned().flatten() {
                    Some(resource) => import::bind_drop(core, resource.drop),
                    None => import::bind_drop(core, missing_drop::<T>(&import.interface, &import.name)),
                },
            }));
        }
        let linked = Linked { plan, hosts, host_funcs: host_funcs.into(), obtained };
        Ok(Bound::new(Bindings::new(artifact.clone(), core, found), linked))
    }
}

/// Looks for definitions.
struct Finder<'l, T> {
    linker: &'l Linker<T>,
    /// The interfaces that may stand for one that is imported.
    candidates: HashMap<String, Vec<&'l Interface<T>>>,
}

impl<'l, T: 'static> Finder<'l, T> {
    fn candidates(&self, interface: &str) -> Vec<&'l Interface<T>> {
        let names = self.linker.interfaces.keys().map(String::as_str);
        let found = version::candidates(names, interface);
        found.iter().filter_map(|name| self.linker.interfaces.get(*name)).collect()
    }

    fn func(
        &mut self,
        interface: &str,
        name: &str,
        ty: &FuncType,
        ambiguity: &Result<(), String>,
    ) -> Result<Arc<dyn Definition<T>>, BindError> {
        if !self.candidates.contains_key(interface) {
            self.candidates.insert(interface.into(), self.candidates(interface));
        }
        let candidates = self.candidates.get(interface).map_or(&[][..], Vec::as_slice);
        let names = || (interface.to_owned(), name.to_owned());
        let Some(definition) = candidates.iter().find_map(|interface| interface.funcs.get(name)) else {
            let (module, name) = names();
            if self.linker.trap_missing {
                return Ok(Arc::new(Arc::new(Missing { error: MissingFunction { module, name } })));
            }
            return Err(BindError::Missing { module, name, wanted: ty.to_string() });
        };
        definition.check(ty, ambiguity).map_err(|found| {
            let (module, name) = names();
            BindError::Type { module, name, found, wanted: ty.to_string() }
        })?;
        Ok(Arc::clone(definition))
    }

    /// For each resource of a component, what the host defined, if it is the host's.
    fn resources(&self, plan: &ComponentPlan) -> Result<Vec<Option<Resource<T>>>, BindError> {
        let find = |resource: &super::types::Resource| {
            if resource.instance.is_some() {
                return Ok(None);
            }
            let candidates = self.candidates(&resource.interface);
            let found = candidates.iter().find_map(|interface| interface.resources.get(&*resource.name));
            if found.is_none() && !self.linker.trap_missing {
                let (module, name) = (resource.interface.to_string(), resource.name.to_string());
                return Err(BindError::Missing { module, name, wanted: "a resource".into() });
            }
            Ok(found.cloned())
        };
        plan.types.resources.iter().map(find).collect()
    }
}

fn missing_drop<T>(interface: &str, name: &str) -> Arc<DropResource<T>> {
    let error = MissingFunction { module: interface.into(), name: format!("[resource-drop]{name}") };
    Arc::new(move |_, _| Err(error.clone().into()))
}
