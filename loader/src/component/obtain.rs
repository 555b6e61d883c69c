//! Resources of the host's that are part of a snapshot, since their host can be asked for them again.
//!
//! What comes in: a function of the host that takes nothing and gives an owned handle, as `wasi:cli/stdout#get-stdout`
//! does. While a guest runs whose state is to be kept, [`Origins`] notes which of these a resource is from. What goes
//! out: instances that start from the state have such handles under the numbers that they had, of resources that the
//! function gives *them* ([`all`]), before any of their code runs.
//!
//! So no representation of one instance's host is ever another's. Tried on paper: representations that stand for "not
//! obtained yet", resolved when the handle is first used. Each place that meets a representation, in compiled adapters
//! too, would have to know of them, to save what is 0.1 µs for a handle.
//!
//! # Safety
//! A host function is called as for a guest that is not there: with the record of an instance that is held, and a handle
//! table that its plan checked.

use std::collections::HashMap;
use std::sync::Arc;

use super::fault;
use super::func::poll_once;
use super::guest::Guest;
use super::import::{Definition, Site};
use super::instance::Instance;
use super::plan::Obtained;
use crate::HostError;
use crate::instance::InstantiateError;
use crate::record::InstanceRecord;
use crate::suspend::Pending;

/// For the host's resources that a guest has: the functions that gave them, if these can be asked again.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// By row of the resource, and representation.
    functions: HashMap<(u32, u32), u32>,
}

impl Origins {
    /// A guest is given a resource, by the function `origin` if that can be asked again. What was known of the
    /// representation is not true any more: hosts use them again.
    pub(crate) fn note(&mut self, resource: u32, representation: u32, origin: Option<u32>) {
        match origin {
            Some(origin) => self.functions.insert((resource, representation), origin),
            None => self.functions.remove(&(resource, representation)),
        };
    }

    /// The function that gave a resource which a guest has now.
    pub(crate) fn get(&self, resource: u32, representation: u32) -> Option<u32> {
        self.functions.get(&(resource, representation)).copied()
    }
}

/// A handle that instances start with.
pub(crate) struct Obtaining<T> {
    pub(crate) row: Obtained,
    /// The function's type, with itself as the origin of what it gives.
    pub(crate) site: Site,
    pub(crate) definition: Arc<dyn Definition<T>>,
}

/// The core value that a function gives: the handle, which is known.
type Cell = Box<[u64; 1]>;

impl<T> Obtaining<T> {
    /// Calls the function, which may leave something to wait for.
    fn call(&self, record: *mut InstanceRecord, cell: &mut Cell) -> Result<Option<Pending>, HostError> {
        let Obtained { instance, place, handle, .. } = self.row;
        // SAFETY: the instance is held, and its data is a `T`; the plan checked the place, and that the function takes
        // nothing and returns one core value. Site, cell and definition live until the future is gone.
        unsafe {
            let guest = Guest::of_handles(record, instance, place);
            guest.handles.add_next_at(handle);
            self.definition.call(&self.site, record, guest, cell.as_mut_ptr())
        }
    }

    fn failed(&self, instance: &Instance<T>, error: HostError) -> InstantiateError {
        let row = &instance.linked().plan.host_funcs[self.row.function as usize];
        let (interface, name) = (row.interface.to_string(), row.name.to_string());
        // SAFETY: the record is alive, and the instance held.
        let error = unsafe { fault::to_call_error(instance.record(), error) };
        InstantiateError::Resource { interface, name, error }
    }
}

/// Obtains all of `wanted` for an instance that was just made.
pub(crate) fn all<T>(instance: &mut Instance<T>, wanted: &[Obtaining<T>]) -> Result<(), InstantiateError> {
    for handle in wanted {
        let mut cell = Cell::default();
        let called = handle.call(instance.record(), &mut cell);
        let obtained = called.and_then(|pending| pending.map_or(Ok(()), poll_once));
        obtained.map_err(|error| handle.failed(instance, error))?;
    }
    Ok(())
}

/// As [`all`], where the host may take its time.
pub(crate) async fn all_async<T>(instance: &mut Instance<T>, wanted: &[Obtaining<T>]) -> Result<(), InstantiateError> {
    for handle in wanted {
        let mut cell = Cell::default();
        let obtained = match handle.call(instance.record(), &mut cell) {
            Ok(Some(pending)) => pending.await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        obtained.map_err(|error| handle.failed(instance, error))?;
    }
    Ok(())
}
