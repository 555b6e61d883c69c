//! The host's resources by number.
//!
//! What comes in: values of any type. What goes out: typed handles of them, checked when they are used, since the
//! number may come back from a guest long after the value was deleted.

use std::any::Any;

use super::resource::Resource;

/// Why a handle gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceTableError {
    /// There is nothing at the handle's number.
    #[error("there is no resource behind the handle: it was deleted")]
    Missing,
    /// What is at the handle's number is of another type.
    #[error("the resource behind the handle is of another type")]
    Type,
    /// A resource cannot be deleted before its children.
    #[error("the resource has children that are still there")]
    HasChildren,
    /// There is no number left.
    #[error("the table of resources is full")]
    Full,
}

/// A table of values of any type, each with a number that is its resource's representation. A value may be the child of
/// another, which then cannot be deleted first.
#[derive(Default)]
pub struct ResourceTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Default)]
struct Entry {
    value: Option<Box<dyn Any + Send>>,
    parent: Option<u32>,
    children: u32,
}

/// Entries that a table may have.
const LIMIT: usize = 1 << 24;

impl ResourceTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a value.
    ///
    /// # Errors
    /// There are too many.
    pub fn push<X: Any + Send>(&mut self, value: X) -> Result<Resource<X>, ResourceTableError> {
        self.insert(Box::new(value), None).map(Resource::new_own)
    }

    /// Adds a value as a child of `parent`.
    ///
    /// # Errors
    /// There are too many, or no parent.
    pub fn push_child<X: Any + Send, P: 'static>(
        &mut self,
        value: X,
        parent: &Resource<P>,
    ) -> Result<Resource<X>, ResourceTableError> {
        self.get::<P>(parent)?;
        let child = self.insert(Box::new(value), Some(parent.rep()))?;
        self.entries[parent.rep() as usize].children += 1;
        Ok(Resource::new_own(child))
    }

    fn insert(&mut self, value: Box<dyn Any + Send>, parent: Option<u32>) -> Result<u32, ResourceTableError> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.entries.len() == LIMIT => return Err(ResourceTableError::Full),
            None => {
                self.entries.push(Entry::default());
                (self.entries.len() - 1) as u32
            }
        };
        self.entries[place as usize] = Entry { value: Some(value), parent, children: 0 };
        self.len += 1;
        Ok(place)
    }

    /// The value behind a handle.
    ///
    /// # Errors
    /// There is none, or one of another type.
    pub fn get<X: 'static>(&self, resource: &Resource<X>) -> Result<&X, ResourceTableError> {
        self.get_any(resource.rep())?.downcast_ref().ok_or(ResourceTableError::Type)
    }

    /// The value behind a handle.
    ///
    /// # Errors
    /// There is none, or one of another type.
    pub fn get_mut<X: 'static>(&mut self, resource: &Resource<X>) -> Result<&mut X, ResourceTableError> {
        self.get_any_mut(resource.rep())?.downcast_mut().ok_or(ResourceTableError::Type)
    }

    /// The value with a number, whatever its type.
    ///
    /// # Errors
    /// There is none.
    pub fn get_any(&self, representation: u32) -> Result<&(dyn Any + Send), ResourceTableError> {
        let entry = self.entries.get(representation as usize);
        entry.and_then(|entry| entry.value.as_deref()).ok_or(ResourceTableError::Missing)
    }

    /// The value with a number, whatever its type.
    ///
    /// # Errors
    /// There is none.
    pub fn get_any_mut(&mut self, representation: u32) -> Result<&mut (dyn Any + Send), ResourceTableError> {
        let entry = self.entries.get_mut(representation as usize);
        entry.and_then(|entry| entry.value.as_deref_mut()).ok_or(ResourceTableError::Missing)
    }

    /// Takes the value behind a handle out of the table.
    ///
    /// # Errors
    /// There is none, one of another type, or it has children.
    pub fn delete<X: 'static>(&mut self, resource: Resource<X>) -> Result<X, ResourceTableError> {
        self.get::<X>(&resource)?;
        let value = self.delete_any(resource.rep())?;
        value.downcast().map(|value| *value).map_err(|_| ResourceTableError::Type)
    }

    /// Takes the value with a number out of the table, whatever its type.
    ///
    /// # Errors
    /// There is none, or it has children.
    pub fn delete_any(&mut self, representation: u32) -> Result<Box<dyn Any + Send>, ResourceTableError> {
        let entry = self.entries.get_mut(representation as usize).ok_or(ResourceTableError::Missing)?;
        if entry.children > 0 && entry.value.is_some() {
            return Err(ResourceTableError::HasChildren);
        }
        let value = entry.value.take().ok_or(ResourceTableError::Missing)?;
        if let Some(parent) = entry.parent.take().and_then(|parent| self.entries.get_mut(parent as usize)) {
            parent.children -= 1;
        }
        self.free.push(representation);
        self.len -= 1;
        Ok(value)
    }
}

impl std::fmt::Debug for ResourceTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceTable").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_and_go() {
        let mut table = ResourceTable::new();
        let one = table.push(1u32).unwrap();
        let two = table.push("two").unwrap();
        assert_eq!((table.get(&one), *table.get(&two).unwrap(), table.len()), (Ok(&1), "two", 2));
        *table.get_mut(&one).unwrap() = 7;
        assert_eq!(table.get(&Resource::<u64>::new_borrow(one.rep())), Err(ResourceTableError::Type));
        let again = Resource::<u32>::new_own(one.rep());
        assert_eq!(table.delete(one), Ok(7));
        assert_eq!(table.get(&again), Err(ResourceTableError::Missing));
        assert_eq!(table.delete(again), Err(ResourceTableError::Missing));
        assert_eq!(table.push(3u8).unwrap().rep(), 0);
        assert_eq!(table.get(&Resource::<u8>::new_borrow(9)), Err(ResourceTableError::Missing));
    }

    #[test]
    fn parents_outlive_their_children() {
        let mut table = ResourceTable::new();
        let parent = table.push(1u32).unwrap();
        let child = table.push_child(2u8, &parent).unwrap();
        assert_eq!(table.delete_any(parent.rep()).err(), Some(ResourceTableError::HasChildren));
        table.delete(child).unwrap();
        assert_eq!(table.delete(parent), Ok(1));
        assert!(table.is_empty());
    }
}
