//! Rust types as component-level types, and their way over the border as core values or bytes in the guest's memory.
//!
//! What comes in: Rust values (lowering), or cells and memory of a guest that may hold anything (lifting). What goes
//! out: the other, or an error that ends the call.
//!
//! A core value is a cell of 64 bits whatever its type: an i32 is zero-extended and a float its bits. So the cases of a
//! variant share cells without conversions.
//!
//! # Safety
//! The traits are `unsafe` to implement because callers believe the constants: an implementation for a type that
//! [`ComponentType::matches`] accepts has that type's size, alignment and number of core values, writes and reads just
//! them, and fills every byte that it does not pad.

use super::context::{LiftContext, LowerContext};
use super::types::{Members, Type};
use crate::HostError;

/// A Rust type that stands for component-level types.
///
/// # Safety
/// See the head of this module: the constants are those of every type that `matches` accepts.
pub unsafe trait ComponentType: Sized {
    /// Bytes in memory, a multiple of the alignment.
    const SIZE: u32;
    /// Alignment in memory.
    const ALIGN: u32;
    /// Number of core values.
    const FLAT: usize;

    /// Whether it stands for `ty`.
    fn matches(ty: &Type<'_>) -> bool;

    /// The type in WIT, as far as it is known, for messages.
    fn wit() -> String {
        let name = std::any::type_name::<Self>();
        let start = name.split('<').next().and_then(|path| path.rfind("::")).map_or(0, |at| at + 2);
        name[start..].to_owned()
    }

    /// Whether it stands for "no result".
    #[doc(hidden)]
    fn is_nothing() -> bool {
        false
    }
}

/// A value that the host can give to a guest.
///
/// # Safety
/// See the head of this module.
pub unsafe trait Lower: ComponentType {
    /// Pushes exactly [`ComponentType::FLAT`] cells.
    ///
    /// # Errors
    /// The guest has no room for it, or the value is none that this guest can have.
    fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError>;

    /// Writes [`ComponentType::SIZE`] bytes at `offset`, which is aligned and inside the memory with all of them.
    ///
    /// # Errors
    /// As [`Self::lower`].
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError>;

    /// Stores the elements of a list at `offset`, which is as above for all of them.
    #[doc(hidden)]
    fn store_list(list: &[Self], cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        let mut at = offset;
        for element in list {
            element.store(cx, at)?;
            at += Self::SIZE;
        }
        Ok(())
    }
}

/// A value that the host can take from a guest.
///
/// # Safety
/// See the head of this module.
pub unsafe trait Lift: ComponentType {
    /// Takes exactly [`ComponentType::FLAT`] cells.
    ///
    /// # Errors
    /// They are no value of the type.
    fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError>;

    /// Reads [`ComponentType::SIZE`] bytes at `offset`, which is aligned and inside the memory with all of them.
    ///
    /// # Errors
    /// They are no value of the type.
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError>;

    /// Loads the elements of a list at `offset`, which is as above for all of them.
    #[doc(hidden)]
    fn load_list(cx: &mut LiftContext<'_>, offset: u32, len: u32) -> Result<Vec<Self>, HostError> {
        let mut list = Vec::with_capacity(len as usize);
        for at in 0..len {
            list.push(Self::load(cx, offset + at * Self::SIZE)?);
        }
        Ok(list)
    }
}

/// Parameters that the host gives to a guest's function: a tuple of up to 16 values.
///
/// # Safety
/// See the head of this module.
pub unsafe trait LowerParams: Lower {
    /// Whether they stand for these parameters.
    #[doc(hidden)]
    fn matches_params(params: Members<'_>) -> bool;
    /// As [`Lower::lower`], telling the context which parameter it is at.
    #[doc(hidden)]
    fn lower_params(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError>;
    /// As [`Lower::store`], telling the context which parameter it is at.
    #[doc(hidden)]
    fn store_params(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError>;
    /// The types in WIT.
    #[doc(hidden)]
    fn wit_params() -> String;
}

/// Parameters that a function of the host takes from a guest: a tuple of up to 16 values.
///
/// # Safety
/// See the head of this module.
pub unsafe trait LiftParams: Lift {
    /// Whether they stand for these parameters.
    #[doc(hidden)]
    fn matches_params(params: Members<'_>) -> bool;
    /// As [`Lift::lift`], telling the context which parameter it is at.
    #[doc(hidden)]
    fn lift_params(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError>;
    /// As [`Lift::load`], telling the context which parameter it is at.
    #[doc(hidden)]
    fn load_params(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError>;
    /// The types in WIT.
    #[doc(hidden)]
    fn wit_params() -> String;
}

/// Whether `T` stands for a function's result.
pub(crate) fn matches_result<T: ComponentType>(result: Option<Type<'_>>) -> bool {
    match result {
        Some(ty) => T::matches(&ty),
        None => T::is_nothing(),
    }
}

/// Core values being written.
pub struct FlatWriter<'a> {
    cells: &'a mut [u64],
    len: usize,
}

impl<'a> FlatWriter<'a> {
    /// Room for as many core values as there are cells.
    pub(crate) fn new(cells: &'a mut [u64]) -> Self {
        FlatWriter { cells, len: 0 }
    }

    /// Adds a core value.
    ///
    /// # Panics
    /// If there is no room: more are pushed than the type has.
    #[inline]
    pub fn push(&mut self, value: u64) {
        self.cells[self.len] = value;
        self.len += 1;
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds zeros until there are `len`: the rest of a variant with a smaller payload than others.
    ///
    /// # Panics
    /// If there is no room.
    #[inline]
    pub fn pad_to(&mut self, len: usize) {
        while self.len < len {
            self.push(0);
        }
    }
}

/// Core values being read.
pub struct FlatReader<'a> {
    cells: &'a [u64],
    position: usize,
}

impl<'a> FlatReader<'a> {
    /// The core values in `cells`.
    pub(crate) fn new(cells: &'a [u64]) -> Self {
        FlatReader { cells, position: 0 }
    }

    /// The next one.
    ///
    /// # Panics
    /// If there is none: more are taken than the type has.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "no iterator: it has no end that callers look for")]
    pub fn next(&mut self) -> u64 {
        let value = self.cells[self.position];
        self.position += 1;
        value
    }

    /// How many were taken.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Passes over core values until `position` were taken.
    #[inline]
    pub fn skip_to(&mut self, position: usize) {
        debug_assert!(position >= self.position);
        self.position = position;
    }
}

impl std::fmt::Debug for FlatWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.cells[..self.len]).finish()
    }
}

impl std::fmt::Debug for FlatReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.cells.iter().skip(self.position)).finish()
    }
}
