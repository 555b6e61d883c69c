//! The resource `fields`.

use precast_loader::HostError;
use precast_loader::component::Resource;

use super::types::{HeaderError, HostFields};
use crate::http::fields::{Fields, FieldsError};
use crate::preview2::Ctx;

/// A guest wants more fields than the host keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest sets more header fields than fit")]
struct TooManyFields;

/// The guest's error, or what stops it.
fn told<T>(result: Result<T, FieldsError>) -> Result<Result<T, HeaderError>, HostError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(FieldsError::InvalidSyntax) => Ok(Err(HeaderError::InvalidSyntax)),
        Err(FieldsError::Forbidden) => Ok(Err(HeaderError::Forbidden)),
        Err(FieldsError::Immutable) => Ok(Err(HeaderError::Immutable)),
        Err(FieldsError::TooLarge) => Err(TooManyFields.into()),
    }
}

impl HostFields for Ctx {
    fn new(&mut self) -> Result<Resource<Fields>, HostError> {
        Ok(self.table.push(Fields::new())?)
    }

    fn from_list(
        &mut self,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Result<Result<Resource<Fields>, HeaderError>, HostError> {
        match told(Fields::from_list(entries))? {
            Ok(fields) => Ok(Ok(self.table.push(fields)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn get(&mut self, self_: Resource<Fields>, name: String) -> Result<Vec<Vec<u8>>, HostError> {
        Ok(self.table.get(&self_)?.get(&name))
    }

    fn has(&mut self, self_: Resource<Fields>, name: String) -> Result<bool, HostError> {
        Ok(self.table.get(&self_)?.has(&name))
    }

    fn set(
        &mut self,
        self_: Resource<Fields>,
        name: String,
        value: Vec<Vec<u8>>,
    ) -> Result<Result<(), HeaderError>, HostError> {
        told(self.table.get_mut(&self_)?.set(&name, value))
    }

    fn delete(&mut self, self_: Resource<Fields>, name: String) -> Result<Result<(), HeaderError>, HostError> {
        told(self.table.get_mut(&self_)?.delete(&name))
    }

    fn append(
        &mut self,
        self_: Resource<Fields>,
        name: String,
        value: Vec<u8>,
    ) -> Result<Result<(), HeaderError>, HostError> {
        told(self.table.get_mut(&self_)?.append(&name, value))
    }

    fn entries(&mut self, self_: Resource<Fields>) -> Result<Vec<(String, Vec<u8>)>, HostError> {
        Ok(self.table.get(&self_)?.entries())
    }

    fn clone(&mut self, self_: Resource<Fields>) -> Result<Resource<Fields>, HostError> {
        let copy = self.table.get(&self_)?.copy();
        Ok(self.table.push(copy)?)
    }

    fn drop(&mut self, rep: Resource<Fields>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}
