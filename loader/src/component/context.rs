//! What lifting and lowering know of the guest's side: memory, `realloc`, the handle table.
//!
//! What comes in: a [`Guest`], and which resources the types at hand mention. What goes out: bytes, offsets, handles.
//! Offsets are the guest's: every access is checked against the memory's size of now, lists and strings with the
//! errors that the specification wants.

use precast_abi::component::{Handle, MAX_BYTE_LENGTH, StringEncoding};
use precast_abi::trap::TrapCode;

use super::fault::Fault;
use super::guest::{Guest, ResourceUse, Signature};
use super::handles::Loans;
use super::resource::Given;
use crate::HostError;

/// Bytes that the host may need for what it lifts in one call. The strings of a list can all be the same one in the guest's
/// memory, and are not in the host's.
const LIFT_LIMIT: u64 = 1 << 29;

/// A value is being taken from a guest.
pub struct LiftContext<'a> {
    guest: &'a Guest,
    signature: &'a Signature,
    /// Resources of the parameter or result at hand.
    uses: &'a [ResourceUse],
    pub(crate) loans: Loans,
    /// What is left of [`LIFT_LIMIT`].
    left: u64,
}

/// A value is being given to a guest.
pub struct LowerContext<'a> {
    guest: &'a mut Guest,
    signature: &'a Signature,
    uses: &'a [ResourceUse],
}

macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => { $(
        $(#[$doc])*
        ///
        /// # Panics
        /// If it is not inside the memory: loading is given offsets that are.
        #[inline]
        pub fn $name(&self, offset: u32) -> $ty {
            <$ty>::from_le_bytes(self.guest.memory.read(offset))
        }
    )* };
}

macro_rules! writes {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => { $(
        $(#[$doc])*
        ///
        /// # Panics
        /// If it is not inside the memory: storing is given offsets that are.
        #[inline]
        pub fn $name(&mut self, offset: u32, value: $ty) {
            self.guest.memory.write(offset, &value.to_le_bytes());
        }
    )* };
}

impl<'a> LiftContext<'a> {
    pub(crate) fn new(guest: &'a Guest, signature: &'a Signature) -> Self {
        LiftContext { guest, signature, uses: &signature.result, loans: Loans::default(), left: LIFT_LIMIT }
    }

    /// What follows belongs to parameter `index`.
    #[inline]
    pub(crate) fn at_param(&mut self, index: usize) {
        self.uses = self.signature.params.get(index).map_or(&[], |uses| uses);
    }

    reads! {
        /// The byte at `offset`.
        u8: u8;
        /// The 16-bit number at `offset`.
        u16: u16;
        /// The 32-bit number at `offset`.
        u32: u32;
        /// The 64-bit number at `offset`.
        u64: u64;
    }

    /// How strings lie in memory.
    pub fn encoding(&self) -> StringEncoding {
        self.guest.encoding
    }

    /// The `len` bytes at `pointer`.
    ///
    /// # Errors
    /// They are not inside the memory.
    pub fn bytes(&self, pointer: u32, len: u32) -> Result<&[u8], HostError> {
        self.guest.memory.slice(pointer, len.into()).ok_or_else(|| Fault::new(TrapCode::ListOutOfBounds).into())
    }

    /// Checks that `pointer` is aligned and `size` bytes are inside the memory: of parameters or results.
    pub(crate) fn area(&self, pointer: u32, size: u32, align: u32) -> Result<(), HostError> {
        check_area(self.guest, pointer, size.into(), align, TrapCode::ListOutOfBounds)
    }

    /// Checks that a list of `len` elements at `pointer` is, which takes the host `host_size` bytes each.
    pub(crate) fn list(
        &mut self,
        pointer: u32,
        len: u32,
        size: u32,
        align: u32,
        host_size: usize,
    ) -> Result<(), HostError> {
        check_list(self.guest, pointer, len, size, align)?;
        self.spend(u64::from(len) * host_size as u64)
    }

    /// Counts what the host needs for a value.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), HostError> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| Fault::new(TrapCode::TooLong))?;
        Ok(())
    }

    /// The bytes of a string: `units` of `align` bytes each.
    pub(crate) fn string_bytes(&mut self, pointer: u32, units: u32, size: u32, align: u32) -> Result<&[u8], HostError> {
        let len = u64::from(units) * u64::from(size);
        if len > MAX_BYTE_LENGTH.into() {
            return Err(Fault::new(TrapCode::TooLong).into());
        }
        check_area(self.guest, pointer, len, align, TrapCode::StringOutOfBounds)?;
        self.spend(len)?;
        self.guest.memory.slice(pointer, len).ok_or_else(|| Fault::new(TrapCode::StringOutOfBounds).into())
    }

    /// Takes or borrows the resource behind `handle`, which has to be one of those at hand that `accepts` accepts.
    pub(crate) fn resource(
        &mut self,
        handle: u32,
        accepts: impl Fn(&ResourceUse) -> bool,
    ) -> Result<(ResourceUse, u32), HostError> {
        self.resource_of(handle, self.uses, accepts)
    }

    /// The same for the one type `wanted`.
    pub(crate) fn resource_like(&mut self, handle: u32, wanted: ResourceUse) -> Result<(ResourceUse, u32), HostError> {
        self.resource_of(handle, &[wanted], |_| true)
    }

    fn resource_of(
        &mut self,
        handle: u32,
        uses: &[ResourceUse],
        accepts: impl Fn(&ResourceUse) -> bool,
    ) -> Result<(ResourceUse, u32), HostError> {
        let entry = self.guest.handles.get(handle)?;
        let wanted = uses.iter().find(|wanted| wanted.row == entry.resource && accepts(wanted));
        let wanted = *wanted.ok_or_else(|| Fault::of_handle(TrapCode::WrongHandleType, handle))?;
        if entry.representation == Handle::GONE && wanted.definer.is_none() {
            return Err(format!("handle {handle} is of a resource that was gone when the instance was made").into());
        }
        if !wanted.borrow {
            self.guest.handles.take(handle, entry)?;
        } else if self.guest.handles.lend(handle, entry) {
            self.loans.push(handle);
        }
        Ok((wanted, entry.representation))
    }

    /// Where the host keeps what it is given.
    pub(crate) fn guest(&self) -> &Guest {
        self.guest
    }
}

impl<'a> LowerContext<'a> {
    pub(crate) fn new(guest: &'a mut Guest, signature: &'a Signature) -> Self {
        LowerContext { guest, signature, uses: &signature.result }
    }

    /// What follows belongs to parameter `index`.
    #[inline]
    pub(crate) fn at_param(&mut self, index: usize) {
        self.uses = self.signature.params.get(index).map_or(&[], |uses| uses);
    }

    writes! {
        /// Writes a byte.
        write_u8: u8;
        /// Writes a 16-bit number.
        write_u16: u16;
        /// Writes a 32-bit number.
        write_u32: u32;
        /// Writes a 64-bit number.
        write_u64: u64;
    }

    /// How strings lie in memory.
    pub fn encoding(&self) -> StringEncoding {
        self.guest.encoding
    }

    /// Copies bytes to `offset`.
    ///
    /// # Panics
    /// If they are not inside the memory.
    pub fn write_bytes(&mut self, offset: u32, bytes: &[u8]) {
        self.guest.memory.write(offset, bytes);
    }

    /// Asks the guest for `size` bytes, a multiple of `align`: calls its `realloc`.
    ///
    /// # Errors
    /// It has none, it traps, or what it gives is not aligned or not inside its memory.
    pub fn realloc(&mut self, size: u32, align: u32) -> Result<u32, HostError> {
        let pointer = self.guest.realloc(size, align)?;
        check_area(self.guest, pointer, size.into(), align, TrapCode::ReallocOutOfBounds)?;
        Ok(pointer)
    }

    /// Room for a list.
    pub(crate) fn alloc_list(&mut self, len: usize, size: u32, align: u32) -> Result<u32, HostError> {
        let bytes = (len as u64).checked_mul(size.into()).filter(|bytes| *bytes <= MAX_BYTE_LENGTH.into());
        let bytes = bytes.ok_or_else(|| Fault::new(TrapCode::TooLong))?;
        self.realloc(bytes as u32, align)
    }

    /// Checks that `pointer`, which the guest supplied for results, is aligned and has room for `size` bytes.
    pub(crate) fn area(&self, pointer: u32, size: u32, align: u32) -> Result<(), HostError> {
        check_area(self.guest, pointer, size.into(), align, TrapCode::ListOutOfBounds)
    }

    /// A handle of `given`, which has to be one of the resources at hand.
    pub(crate) fn resource(&mut self, given: &Given) -> Result<u32, HostError> {
        self.resource_of(given, self.uses)
    }

    /// The same for the one type `wanted`.
    pub(crate) fn resource_like(&mut self, given: &Given, wanted: ResourceUse) -> Result<u32, HostError> {
        self.resource_of(given, &[wanted])
    }

    fn resource_of(&mut self, given: &Given, uses: &[ResourceUse]) -> Result<u32, HostError> {
        let (wanted, representation) = self.guest.with_held(|held| held.give(given, uses, self.signature.origin))?;
        if !wanted.borrow {
            return Ok(self.guest.handles.add_owned(wanted.row, representation)?);
        }
        // Who defines a resource is given the representation itself.
        if wanted.definer.is_some() && wanted.definer == self.guest.instance {
            return Ok(representation);
        }
        Ok(self.guest.handles.add_borrowed(wanted.row, representation)?)
    }
}

fn check_list(guest: &Guest, pointer: u32, len: u32, size: u32, align: u32) -> Result<(), HostError> {
    let bytes = u64::from(len) * u64::from(size);
    if bytes > MAX_BYTE_LENGTH.into() {
        return Err(Fault::new(TrapCode::TooLong).into());
    }
    check_area(guest, pointer, bytes, align, TrapCode::ListOutOfBounds)
}

/// Checks that `pointer` is aligned and `size` bytes are inside the memory.
#[inline]
fn check_area(guest: &Guest, pointer: u32, size: u64, align: u32, outside: TrapCode) -> Result<(), HostError> {
    if !pointer.is_multiple_of(align) {
        return Err(Fault::new(TrapCode::UnalignedPointer).into());
    }
    if u64::from(pointer) + size > guest.memory.size() {
        return Err(Fault::new(outside).into());
    }
    Ok(())
}

impl std::fmt::Debug for LiftContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiftContext").field("encoding", &self.guest.encoding).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LowerContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LowerContext").field("encoding", &self.guest.encoding).finish_non_exhaustive()
    }
}
