//! Handle tables in the slot: the host's side of what compiled code does with the same words
//! ([`precast_abi::component::Handle`]), by the same rules.
//!
//! What comes in: the addresses of a component instance's state and table. What goes out: representations, or the
//! [`Fault`] that ends the call.
//!
//! # Safety
//! Whoever makes a table says that its words are there and that nobody else uses them while it is used. What they hold
//! is believed as far as compiled code does, but nothing outside the table is ever touched.

use precast_abi::component::{Handle, InstanceState};
use precast_abi::snapshot::HandleEntry;
use precast_abi::trap::TrapCode;

use super::fault::Fault;
use super::resource::Held;

/// The handle table of a component instance.
#[derive(Clone, Copy)]
pub(crate) struct HandleTable {
    /// [`InstanceState`].
    state: *mut u8,
    /// Entry 0.
    entries: *mut u8,
    /// Number of entries, of which the first is never used.
    capacity: u32,
}

/// A handle that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) representation: u32,
    /// Row of the resource.
    pub(crate) resource: u32,
    state: u32,
}

impl Entry {
    fn is_borrowed(self) -> bool {
        self.state & Handle::BORROWED != 0
    }
}

impl HandleTable {
    /// # Safety
    /// `state` has [`InstanceState::SIZE`] bytes and `entries` has `capacity` times [`Handle::SIZE`], aligned to
    /// words, as long as the table is used.
    pub(crate) unsafe fn new(state: *mut u8, entries: *mut u8, capacity: u32) -> Self {
        HandleTable { state, entries, capacity }
    }

    /// The word of the state at `offset`.
    fn state(&self, offset: i32) -> *mut u32 {
        self.state.wrapping_offset(offset as isize).cast()
    }

    fn read(&self, offset: i32) -> u32 {
        // SAFETY: offsets of `InstanceState` lie in the state.
        unsafe { self.state(offset).read() }
    }

    fn write(&self, offset: i32, value: u32) {
        // SAFETY: as above.
        unsafe { self.state(offset).write(value) };
    }

    /// The word of entry `handle`, which is below the capacity, at `offset`.
    fn word(&self, handle: u32, offset: i32) -> *mut u32 {
        debug_assert!(handle < self.capacity);
        self.entries.wrapping_add(handle as usize * Handle::SIZE as usize + offset as usize).cast()
    }

    fn set(&self, handle: u32, words: [u32; 3]) {
        let offsets = [Handle::REPRESENTATION, Handle::RESOURCE, Handle::STATE];
        for (offset, value) in offsets.into_iter().zip(words) {
            // SAFETY: the entry is in the table: see `word`.
            unsafe { self.word(handle, offset).write(value) };
        }
    }

    /// Whether imports may be called.
    pub(crate) fn may_leave(&self) -> bool {
        self.read(InstanceState::FLAGS) & InstanceState::MAY_NOT_LEAVE_BIT == 0
    }

    /// Says whether imports may be called.
    pub(crate) fn set_may_leave(&self, may: bool) {
        let flags = self.read(InstanceState::FLAGS) & !InstanceState::MAY_NOT_LEAVE_BIT;
        self.write(InstanceState::FLAGS, if may { flags } else { flags | InstanceState::MAY_NOT_LEAVE_BIT });
    }

    /// Whether handles that the call was given are still there.
    pub(crate) fn has_borrows(&self) -> bool {
        self.read(InstanceState::BORROWS) != 0
    }

    /// All entries that were ever used, and the first free handle; `None` while a call has borrowed or lent one.
    pub(crate) fn all(&self) -> Option<(Vec<HandleEntry>, u32)> {
        let entry = |handle| {
            let read = |offset| {
                // SAFETY: the entry is in the table: see `word`.
                unsafe { self.word(handle, offset).read() }
            };
            match (read(Handle::RESOURCE).checked_sub(1), read(Handle::STATE)) {
                (None, next) => Some(HandleEntry::Free(next)),
                (Some(resource), 0) => {
                    Some(HandleEntry::Owned { resource, representation: read(Handle::REPRESENTATION) })
                }
                _ => None,
            }
        };
        let used = self.read(InstanceState::HANDLES_USED).min(self.capacity.saturating_sub(1));
        let entries = (1..=used).map(entry).collect::<Option<_>>()?;
        Some((entries, self.read(InstanceState::FREE_HANDLE)))
    }

    /// From now on the resource of `handle`, which exists, is gone.
    pub(crate) fn forget(&self, handle: u32) {
        // SAFETY: the entry is in the table: see `word`.
        unsafe { self.word(handle, Handle::REPRESENTATION).write(Handle::GONE) };
    }

    /// The entry of `handle`.
    pub(crate) fn get(&self, handle: u32) -> Result<Entry, Fault> {
        if handle == 0 || handle > self.read(InstanceState::HANDLES_USED) || handle >= self.capacity {
            return Err(Fault::of_handle(TrapCode::UnknownHandle, handle));
        }
        let read = |offset| {
            // SAFETY: the entry is in the table: see `word`.
            unsafe { self.word(handle, offset).read() }
        };
        match read(Handle::RESOURCE).checked_sub(1) {
            None => Err(Fault::of_handle(TrapCode::UnknownHandle, handle)),
            Some(resource) => {
                Ok(Entry { representation: read(Handle::REPRESENTATION), resource, state: read(Handle::STATE) })
            }
        }
    }

    /// Adds an owned handle.
    pub(crate) fn add_owned(&self, resource: u32, representation: u32) -> Result<u32, Fault> {
        self.add([representation, resource + 1, 0])
    }

    /// Adds a borrowed handle, to be dropped before the call under way ends.
    pub(crate) fn add_borrowed(&self, resource: u32, representation: u32) -> Result<u32, Fault> {
        let handle = self.add([representation, resource + 1, Handle::BORROWED])?;
        self.write(InstanceState::BORROWS, self.read(InstanceState::BORROWS) + 1);
        Ok(handle)
    }

    /// Makes `handle`, which is below the capacity and of no use yet, the next one that is added.
    pub(crate) fn add_next_at(&self, handle: u32) {
        self.set(handle, [0, 0, self.read(InstanceState::FREE_HANDLE)]);
        self.write(InstanceState::FREE_HANDLE, handle);
    }

    fn add(&self, words: [u32; 3]) -> Result<u32, Fault> {
        let free = self.read(InstanceState::FREE_HANDLE);
        let handle = if free != 0 && free < self.capacity {
            // SAFETY: the entry is in the table: see `word`.
            let next = unsafe { self.word(free, Handle::STATE).read() };
            self.write(InstanceState::FREE_HANDLE, next);
            free
        } else {
            let used = self.read(InstanceState::HANDLES_USED);
            if used + 1 >= self.capacity {
                return Err(Fault::new(TrapCode::HandleTableFull));
            }
            self.write(InstanceState::HANDLES_USED, used + 1);
            used + 1
        };
        self.set(handle, words);
        Ok(handle)
    }

    /// Removes an owned handle, whose entry is `entry`: it is given away.
    pub(crate) fn take(&self, handle: u32, entry: Entry) -> Result<(), Fault> {
        if entry.is_borrowed() {
            return Err(Fault::of_handle(TrapCode::NotOwned, handle));
        }
        if entry.state != 0 {
            return Err(Fault::new(TrapCode::ResourceLent));
        }
        self.set(handle, [0, 0, self.read(InstanceState::FREE_HANDLE)]);
        self.write(InstanceState::FREE_HANDLE, handle);
        Ok(())
    }

    /// Lends a handle, whose entry is `entry`. Whether it has to be given back: the owner of a borrowed one is elsewhere.
    pub(crate) fn lend(&self, handle: u32, entry: Entry) -> bool {
        if entry.is_borrowed() {
            return false;
        }
        // SAFETY: the entry is in the table: see `word`.
        unsafe { self.word(handle, Handle::STATE).write(entry.state + 1) };
        true
    }

    /// Ends a loan of `handle`.
    pub(crate) fn give_back(&self, handle: u32) {
        if let Ok(entry) = self.get(handle)
            && !entry.is_borrowed()
        {
            // SAFETY: the entry is in the table: see `word`.
            unsafe { self.word(handle, Handle::STATE).write(entry.state.saturating_sub(1)) };
        }
    }
}

/// Handles that a call has lent.
#[derive(Default)]
pub(crate) struct Loans {
    few: [u32; 6],
    len: usize,
    more: Vec<u32>,
    /// What the host holds for the call only: places in [`Held`].
    held: Vec<u32>,
}

impl Loans {
    pub(crate) fn push(&mut self, handle: u32) {
        match self.few.get_mut(self.len) {
            Some(room) => *room = handle,
            None => self.more.push(handle),
        }
        self.len += 1;
    }

    pub(crate) fn push_held(&mut self, place: u32) {
        self.held.push(place);
    }

    /// Ends all of them.
    pub(crate) fn give_back(&self, table: HandleTable, held: &mut Held) {
        self.few.iter().take(self.len).chain(&self.more).for_each(|handle| table.give_back(*handle));
        self.held.iter().for_each(|place| held.forget(*place));
    }
}
