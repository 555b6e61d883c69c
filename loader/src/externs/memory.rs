//! Memories. The guest's bytes are copied in and out; no reference to them is ever made.

use crate::bindings;
use crate::externs::own_store;
use crate::state::{ItemId, MemoryState};
use crate::store::{AsStore, StoreId};
use crate::types::MemoryType;

/// A memory of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    pub(crate) store: StoreId,
    pub(crate) id: ItemId,
}

/// An access reaches beyond the memory's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at {offset:#x} are not all inside a memory of {size} bytes")]
pub struct OutOfBounds {
    /// First byte of the access.
    pub offset: u64,
    /// Length of the access in bytes.
    pub len: u64,
    /// Size of the memory in bytes.
    pub size: u64,
}

/// A memory or table cannot grow: its maximum, a limit or the system forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot grow by {delta} from {size}")]
pub struct GrowError {
    /// What it has: pages or elements.
    pub size: u64,
    /// How many more were wanted.
    pub delta: u64,
}

macro_rules! integers {
    ($($int:ty, $read:ident, $write:ident;)*) => { $(
        #[doc = concat!("The little-endian `", stringify!($int), "` at `offset`.")]
        ///
        /// # Errors
        /// It is not inside the memory.
        ///
        /// # Panics
        /// If the memory belongs to another store.
        #[inline]
        pub fn $read(&self, store: &impl AsStore, offset: u64) -> Result<$int, OutOfBounds> {
            let mut bytes = [0; size_of::<$int>()];
            self.read(store, offset, &mut bytes)?;
            Ok(<$int>::from_le_bytes(bytes))
        }

        #[doc = concat!("Stores a little-endian `", stringify!($int), "` at `offset`.")]
        ///
        /// # Errors
        /// It would not be inside the memory, which stays as it is.
        ///
        /// # Panics
        /// If the memory belongs to another store.
        #[inline]
        pub fn $write(&self, store: &mut impl AsStore, offset: u64, value: $int) -> Result<(), OutOfBounds> {
            self.write(store, offset, &value.to_le_bytes())
        }
    )* };
}

impl Memory {
    /// Its type, with the current size as the minimum.
    ///
    /// # Panics
    /// If the memory belongs to another store, as all methods do.
    pub fn ty(&self, store: &impl AsStore) -> MemoryType {
        let state = self.state(store);
        MemoryType { min: state.pages(), ..bindings::memory_type(&state.row) }
    }

    /// Size in bytes.
    pub fn size_bytes(&self, store: &impl AsStore) -> u64 {
        self.state(store).size()
    }

    /// Size in pages.
    pub fn size_pages(&self, store: &impl AsStore) -> u64 {
        self.state(store).pages()
    }

    /// Adds `pages` pages of zeros. Returns the old number of pages.
    ///
    /// # Errors
    /// The memory's maximum, a limit or the system forbids it; the memory stays as it is.
    pub fn grow(&self, store: &mut impl AsStore, pages: u64) -> Result<u64, GrowError> {
        let state = self.state(store);
        state.grow(pages).ok_or_else(|| GrowError { size: state.pages(), delta: pages })
    }

    /// Copies bytes out of the memory.
    ///
    /// # Errors
    /// They are not all inside; `to` stays as it is.
    #[inline]
    pub fn read(&self, store: &impl AsStore, offset: u64, to: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = self.range(store, offset, to.len())?;
        // SAFETY: `range` gives readable bytes, which lie in a slot, where no Rust object does.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies bytes out of the memory.
    ///
    /// # Errors
    /// They are not all inside.
    pub fn read_vec(&self, store: &impl AsStore, offset: u64, len: u64) -> Result<Vec<u8>, OutOfBounds> {
        let state = self.state(store);
        let error = OutOfBounds { offset, len, size: state.size() };
        let from = state.range(offset, len).ok_or(error)?;
        // What lies in the address space has a length that fits.
        let len = usize::try_from(len).map_err(|_| error)?;
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: `range` gives readable bytes, and the vector has room for them.
        unsafe {
            std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), len);
            bytes.set_len(len);
        }
        Ok(bytes)
    }

    /// Copies bytes into the memory.
    ///
    /// # Errors
    /// They would not all be inside; the memory stays as it is.
    #[inline]
    pub fn write(&self, store: &mut impl AsStore, offset: u64, from: &[u8]) -> Result<(), OutOfBounds> {
        let to = self.range(store, offset, from.len())?;
        // SAFETY: `range` gives writable bytes, which lie in a slot, where no Rust object does.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        Ok(())
    }

    /// Sets `len` bytes to `value`.
    ///
    /// # Errors
    /// They are not all inside; the memory stays as it is.
    pub fn fill(&self, store: &mut impl AsStore, offset: u64, value: u8, len: u64) -> Result<(), OutOfBounds> {
        let state = self.state(store);
        let to = state.range(offset, len).ok_or_else(|| OutOfBounds { offset, len, size: state.size() })?;
        // SAFETY: `range` gives writable bytes, so `len` fits the address space.
        unsafe { std::ptr::write_bytes(to, value, len as usize) };
        Ok(())
    }

    integers! {
        u8, read_u8, write_u8;
        u16, read_u16, write_u16;
        u32, read_u32, write_u32;
        u64, read_u64, write_u64;
    }

    #[inline]
    fn range(&self, store: &impl AsStore, offset: u64, len: usize) -> Result<*mut u8, OutOfBounds> {
        let (state, len) = (self.state(store), len as u64);
        state.range(offset, len).ok_or_else(|| OutOfBounds { offset, len, size: state.size() })
    }

    #[inline]
    fn state(&self, store: &impl AsStore) -> MemoryState {
        let store = own_store(store, self.store);
        // SAFETY: the store is borrowed longer than the state is used.
        let state = unsafe { MemoryState::new(store, self.id) };
        state.expect("a handle of the store names one of its memories")
    }
}
