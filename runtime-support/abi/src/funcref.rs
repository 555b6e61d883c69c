//! The eight bytes of a function reference.
//!
//! `{u32 type, u32 payload}`, the type in the low half. All zero is null. A type in `1..FOREIGN_TYPE` is a row of the
//! owning artifact's type table and the payload an offset into its text. [`FOREIGN_TYPE`] says that the payload is an
//! index into the foreign table of the store the instance lives in. There are no addresses, so an image needs no
//! relocations.

/// The null reference of every reference type.
pub const NULL: u64 = 0;

/// The type id that marks a function of another artifact, or of another instance.
pub const FOREIGN_TYPE: u32 = u32::MAX;

/// Packs a reference.
pub const fn pack(ty: u32, payload: u32) -> u64 {
    ty as u64 | (payload as u64) << 32
}

/// The type half.
pub const fn ty(reference: u64) -> u32 {
    reference as u32
}

/// The payload half: a text offset, or a foreign index.
pub const fn payload(reference: u64) -> u32 {
    (reference >> 32) as u32
}
