//! Instances of components.
//!
//! What comes in: a [`Bound`] component and the host's data. What goes out: an [`Instance`], whose exported functions
//! are found by interface and name, in any version of the interface's track.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::fault;
use super::func::{ExportSite, Func, TypedFunc};
use super::guest::Signature;
use super::import::Definition;
use super::obtain::{self, Obtaining, Origins};
use super::plan::ComponentPlan;
use super::types::FuncType;
use super::value::{Lift, LowerParams};
use super::version;
use crate::bindings::{Bindings, Maker};
use crate::externs::ExportError;
use crate::instance::{InstantiateError, LimitError, Limits};
use crate::interrupt::{CannotInterrupt, InterruptHandle};
use crate::record::{self, InstanceRecord};
use crate::store::{Store, StoreInner, sealed::Sealed};

/// What all instances of a bound component share, besides the core bindings.
pub(crate) struct Linked<T> {
    pub(crate) plan: ComponentPlan,
    pub(crate) hosts: Arc<[Option<TypeId>]>,
    /// For each function that the component imports.
    pub(crate) host_funcs: Box<[Arc<dyn Definition<T>>]>,
    /// Handles that instances start with.
    pub(crate) obtained: Box<[Obtaining<T>]>,
}

/// A component whose imports are bound: makes instances.
pub struct Bound<T> {
    /// Its bindings have a [`Linked<T>`].
    maker: Arc<Maker>,
    limits: Limits,
    /// Why no instance can be made with these limits.
    exceeded: Option<LimitError>,
    /// Whether instances note where they have the host's resources from.
    keeps_origins: bool,
    data: PhantomData<fn(&mut T)>,
}

impl<T> Clone for Bound<T> {
    fn clone(&self) -> Self {
        Bound { maker: Arc::clone(&self.maker), ..*self }
    }
}

impl<T> std::fmt::Debug for Bound<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<T> Bound<T> {
    /// `bindings` are a component's that `linked` belongs to.
    pub(crate) fn new(mut bindings: Bindings, linked: Linked<T>) -> Self
    where
        T: 'static,
    {
        bindings.component = Some(Arc::new(linked));
        Self::with_limits(Maker::new(bindings), Limits::default())
    }

    fn with_limits(maker: Arc<Maker>, limits: Limits) -> Self {
        let exceeded = maker.bindings().exceeded(limits);
        Bound { maker, limits, exceeded, keeps_origins: false, data: PhantomData }
    }

    /// The same with limits for each of its instances.
    pub fn limits(self, limits: Limits) -> Self {
        Bound { keeps_origins: self.keeps_origins, ..Self::with_limits(self.maker, limits) }
    }

    /// The same, but its instances note which functions gave them resources of the host's, for
    /// [`Instance::snapshot`] and [`Instance::checkpoint`]: a resource of a function that takes nothing and returns an
    /// owned handle, and nothing else, can be part of these. What starts from there is given one of its own by the same
    /// function when it is made. Noting costs some nanoseconds for each handle.
    #[must_use]
    pub fn keep_origins(self) -> Self {
        Bound { keeps_origins: true, ..self }
    }

    /// All functions that its instances export: interface, name and type.
    pub fn exports(&self) -> impl Iterator<Item = (&str, &str, FuncType)> {
        // SAFETY: `new` put it there.
        exports(unsafe { linked::<T>(self.maker.bindings()) })
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// It needs more than it may have, there is no slot for it, or its initialiser fails.
    ///
    /// # Panics
    /// With the panic of a host function that the initialiser called.
    pub fn instantiate(&self, data: T) -> Result<Instance<T>, InstantiateError> {
        self.check_limits()?;
        let store = self.store(data);
        let inner = store.inner().as_ptr();
        // SAFETY: the store was just made, and its data is the `T` of the host functions.
        let made = unsafe { record::instantiate(inner, self.maker.bindings(), self.limits) };
        let mut instance = self.finish(store, made.map(drop))?;
        obtain::all(&mut instance, self.obtained())?;
        Ok(instance)
    }

    /// As [`Self::instantiate`]; host functions that the initialiser calls may wait.
    ///
    /// # Errors
    /// As [`Self::instantiate`].
    ///
    /// # Panics
    /// As [`Self::instantiate`].
    pub async fn instantiate_async(&self, data: T) -> Result<Instance<T>, InstantiateError> {
        self.check_limits()?;
        let store = self.store(data);
        // SAFETY: as above; the store outlives the call of the initialiser, and nobody uses it meanwhile.
        let initialise = unsafe {
            let inner = store.inner().as_ptr();
            record::instantiate_async(inner, self.maker.bindings(), self.limits)?.1
        };
        let made = match initialise {
            Some(initialise) => initialise.await.map_err(InstantiateError::from),
            None => Ok(()),
        };
        let mut instance = self.finish(store, made)?;
        obtain::all_async(&mut instance, self.obtained()).await?;
        Ok(instance)
    }

    /// A store for an instance.
    fn store(&self, data: T) -> Store<T> {
        let store = Store::new(data);
        if self.keeps_origins {
            // SAFETY: the store is alive, and used by nobody else.
            unsafe { (*store.inner().as_ptr()).component.held.origins = Some(Origins::default()) };
        }
        store
    }

    fn obtained(&self) -> &[Obtaining<T>] {
        // SAFETY: `new` put it there.
        unsafe { &linked::<T>(self.maker.bindings()).obtained }
    }

    fn finish(&self, store: Store<T>, made: Result<(), InstantiateError>) -> Result<Instance<T>, InstantiateError> {
        let instance = Instance { store };
        match made {
            Ok(()) => Ok(instance),
            // SAFETY: what has been initialised is in its store.
            Err(InstantiateError::Start(error)) => unsafe { Err(fault::with_detail(instance.record(), error).into()) },
            Err(error) => Err(error),
        }
    }

    fn check_limits(&self) -> Result<(), LimitError> {
        self.exceeded.map_or(Ok(()), Err)
    }
}

/// An instance of a component, with the host's data.
///
/// A trap, or a failure of a host function, ends it: later calls fail with "cannot enter component instance".
pub struct Instance<T> {
    /// Whose only instance was made by a [`Bound<T>`].
    store: Store<T>,
}

impl<T: std::fmt::Debug> std::fmt::Debug for Instance<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("data", self.data()).finish_non_exhaustive()
    }
}

impl<T> Instance<T> {
    /// The host's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Drops the instance and gives the host's data back. Guests' destructors are not called.
    pub fn into_data(self) -> T {
        self.store.into_data()
    }

    /// A handle with which other threads can stop the guest: see [`Store::interrupt_handle`].
    ///
    /// # Errors
    /// As that.
    pub fn interrupt_handle(&mut self) -> Result<InterruptHandle, CannotInterrupt> {
        self.store.interrupt_handle()
    }

    /// Has asynchronous calls give their thread back now and then: see [`Store::set_time_slice`].
    ///
    /// # Errors
    /// As that.
    pub fn set_time_slice(&mut self, slice: Option<Duration>) -> Result<(), CannotInterrupt> {
        self.store.set_time_slice(slice)
    }

    /// The function `name` of the exported instance `interface` (empty: of the component itself), to be called with a
    /// tuple of parameters `P` and a result `R`, which is `()` for none.
    ///
    /// # Errors
    /// There is no such function, or it has another type.
    pub fn func<P: LowerParams, R: Lift>(&self, interface: &str, name: &str) -> Result<TypedFunc<P, R>, ExportError> {
        let (site, ambiguity) = self.find(interface, name)?;
        TypedFunc::new(site, ambiguity).map_err(|error| error.named(&full_name(interface, name)))
    }

    /// The function `name` of the exported instance `interface`, to be called with [`super::Val`]s.
    ///
    /// # Errors
    /// There is no such function.
    pub fn func_dynamic(&self, interface: &str, name: &str) -> Result<Func, ExportError> {
        self.find(interface, name).map(|(site, _)| Func::new(site))
    }

    /// All exported functions: interface, name and type.
    pub fn exports(&self) -> impl Iterator<Item = (&str, &str, FuncType)> {
        exports(self.linked())
    }

    fn find(&self, interface: &str, name: &str) -> Result<(ExportSite, Result<(), String>), ExportError> {
        let plan = &self.linked().plan;
        let index = plan.export(interface, name).or_else(|| {
            let interfaces = plan.exports.iter().filter(|row| *row.name == *name).map(|row| &*row.interface);
            version::candidates(interfaces, interface).first().and_then(|interface| plan.export(interface, name))
        });
        let index = index.ok_or_else(|| ExportError::Missing { name: full_name(interface, name) })?;
        let row = &plan.exports[index];
        let ty = FuncType::new(Arc::clone(&plan.types), Arc::clone(&self.linked().hosts), row.func);
        let (signature, ambiguity) = Signature::new(&ty);
        // SAFETY: the record is alive.
        let bindings = unsafe { Arc::clone(&(*self.record()).bindings) };
        Ok((ExportSite::new(bindings, ty, signature, row.target.clone()), ambiguity))
    }

    pub(crate) fn store(&self) -> &Store<T> {
        &self.store
    }

    pub(crate) fn store_mut(&mut self) -> &mut Store<T> {
        &mut self.store
    }

    pub(crate) fn linked(&self) -> &Linked<T> {
        // SAFETY: the record is alive and keeps its bindings, which are those of the `Bound<T>` that made this instance.
        unsafe { linked(&*Arc::as_ptr(&(*self.record()).bindings)) }
    }

    /// The instance's record, which lives as long as the store.
    #[inline]
    pub(crate) fn record(&self) -> *mut InstanceRecord {
        // SAFETY: the store is alive, and the only instance is its first.
        unsafe { StoreInner::first(self.store.inner().as_ptr()) }
    }
}

/// What a [`Bound<T>`] put into its bindings. Instances do not share it themselves: counting shares for each would be a
/// write that all threads have in common.
///
/// # Safety
/// The bindings are those of a `Bound<T>`.
unsafe fn linked<T>(bindings: &Bindings) -> &Linked<T> {
    let linked = bindings.component.as_ref().expect("the bindings are a component's");
    // SAFETY: as the caller says, this is its type.
    unsafe { &*Arc::as_ptr(linked).cast() }
}

fn exports<T>(linked: &Linked<T>) -> impl Iterator<Item = (&str, &str, FuncType)> {
    let ty = |func| FuncType::new(Arc::clone(&linked.plan.types), Arc::clone(&linked.hosts), func);
    linked.plan.exports.iter().map(move |row| (&*row.interface, &*row.name, ty(row.func)))
}

fn full_name(interface: &str, name: &str) -> String {
    if interface.is_empty() { name.into() } else { format!("{interface}#{name}") }
}
