//! Values to a guest and back, without a guest: for tests of implementations of [`Lower`] and [`Lift`].
//!
//! What comes in: a value without handles, as cells, bytes or itself. What goes out: its core values, its bytes in
//! memory, and what lifting makes of them. The memory is what a call of the host by the host would use.

use super::context::{LiftContext, LowerContext};
use super::guest::{Guest, Scratch, Signature};
use super::resource::Held;
use super::value::{FlatReader, FlatWriter, Lift, Lower};
use crate::HostError;

/// Runs `f` with a guest that has an empty memory.
fn with_guest<R>(f: impl FnOnce(&mut Guest, &Signature) -> R) -> R {
    let mut held = Held::default();
    // SAFETY: `held` is alive until the end of this function, and nothing else uses it.
    let mut scratch = unsafe { Scratch::new(&raw mut held) };
    f(&mut scratch.guest(), &Signature::default())
}

/// The core values of `value`, and the value that they are.
///
/// # Errors
/// As lowering and lifting have them.
#[doc(hidden)]
pub fn through_cells<T: Lower + Lift>(value: &T) -> Result<(Vec<u64>, T), HostError> {
    with_guest(|guest, signature| {
        let mut cells = vec![u64::MAX; T::FLAT];
        let mut flat = FlatWriter::new(&mut cells);
        value.lower(&mut LowerContext::new(guest, signature), &mut flat)?;
        assert_eq!(flat.len(), T::FLAT, "lowering pushes as many core values as the type has");
        let mut flat = FlatReader::new(&cells);
        let lifted = T::lift(&mut LiftContext::new(guest, signature), &mut flat)?;
        assert_eq!(flat.position(), T::FLAT, "lifting takes as many core values as the type has");
        Ok((cells, lifted))
    })
}

/// The bytes of `value` in memory, and the value that they are.
///
/// # Errors
/// As storing and loading have them.
#[doc(hidden)]
pub fn through_memory<T: Lower + Lift>(value: &T) -> Result<(Vec<u8>, T), HostError> {
    with_guest(|guest, signature| {
        let mut cx = LowerContext::new(guest, signature);
        // What is before the value is aligned for any, and not part of it.
        cx.realloc(8, 8)?;
        let offset = cx.realloc(T::SIZE, T::ALIGN)?;
        value.store(&mut cx, offset)?;
        let mut cx = LiftContext::new(guest, signature);
        let bytes = cx.bytes(offset, T::SIZE)?.to_vec();
        Ok((bytes, T::load(&mut cx, offset)?))
    })
}

/// What lifting makes of core values.
///
/// # Errors
/// As lifting has them.
#[doc(hidden)]
pub fn from_cells<T: Lift>(cells: &[u64]) -> Result<T, HostError> {
    assert_eq!(cells.len(), T::FLAT);
    with_guest(|guest, signature| T::lift(&mut LiftContext::new(guest, signature), &mut FlatReader::new(cells)))
}

/// What loading makes of bytes.
///
/// # Errors
/// As loading has them.
#[doc(hidden)]
pub fn from_memory<T: Lift>(bytes: &[u8]) -> Result<T, HostError> {
    assert_eq!(bytes.len(), T::SIZE as usize);
    with_guest(|guest, signature| {
        let mut cx = LowerContext::new(guest, signature);
        cx.realloc(8, 8)?;
        let offset = cx.realloc(T::SIZE, T::ALIGN)?;
        cx.write_bytes(offset, bytes);
        T::load(&mut LiftContext::new(guest, signature), offset)
    })
}
