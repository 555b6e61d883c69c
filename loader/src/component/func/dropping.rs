//! Dropping resources that the host has.
//!
//! What comes in: a [`ResourceAny`]. What goes out: nothing, once the guest's destructor has run.
//!
//! # Safety
//! As the calls of `func.rs`.

use super::{CELLS, Cells, check_enter, enter};
use crate::call::CallError;
use crate::component::fault;
use crate::component::instance::Instance;
use crate::component::plan::Code;
use crate::component::resource::ResourceAny;
use crate::suspend;

impl ResourceAny {
    /// Drops the handle. If it owns a guest's resource, that is destroyed: its destructor is called. Of a resource of the
    /// host's only the handle is dropped, since what is behind it is the host's already.
    ///
    /// # Errors
    /// The handle was used up, or the destructor trapped.
    ///
    /// # Panics
    /// With the panic of a host function that the destructor called.
    pub fn drop<T>(self, instance: &mut Instance<T>) -> Result<(), CallError> {
        match self.destroy(instance)? {
            // SAFETY: the plan checked the code; the instance is held.
            Some((code, mut cells)) => unsafe { enter(instance.record(), code, &mut cells) },
            None => Ok(()),
        }
    }

    /// As [`Self::drop`]; host functions that the destructor calls may wait.
    ///
    /// # Errors
    /// As [`Self::drop`].
    ///
    /// # Panics
    /// As [`Self::drop`].
    pub async fn drop_async<T>(self, instance: &mut Instance<T>) -> Result<(), CallError> {
        let Some((code, cells)) = self.destroy(instance)? else { return Ok(()) };
        let mut cells = Box::new(cells);
        // SAFETY: as above; the cells outlive the call.
        let entered =
            unsafe { suspend::call_async(instance.record(), code.entry, code.text, cells.as_mut_ptr()) }.await;
        // SAFETY: the record is alive, and the call has the store.
        entered.map_err(|error| unsafe { fault::with_detail(instance.record(), error) })
    }

    /// Gives the handle up: the destructor to call, and its parameter.
    fn destroy<T>(&self, instance: &mut Instance<T>) -> Result<Option<(Code, Cells)>, CallError> {
        if self.is_host() {
            return Ok(None);
        }
        let record = instance.record();
        // SAFETY: the record and its store are alive, and the instance is held.
        let taken = unsafe {
            check_enter(record)?;
            (*(*record).store).component.held.take(self.given())
        };
        let Some((row, representation)) = taken.map_err(|error| CallError::Mismatch(error.to_string()))? else {
            return Ok(None);
        };
        let resource = instance.linked().plan.resources.get(row as usize).copied().flatten();
        let mut cells = [0; CELLS];
        cells[0] = representation.into();
        Ok(resource.and_then(|resource| resource.destructor).map(|code| (code, cells)))
    }
}
