//! Fuel: what metered code may use before it traps.
//!
//! Compiled code counts in a word of the context, the complement of what is left, and traps when that overflows
//! ([`precast_abi::host::Context::FUEL`]). All instances of a store count in the same word, so that calls between them
//! need not carry it; so all of them are metered, or none is.
//!
//! # Safety
//! The word is read and written through the store's address. Compiled code has the count in a register at times, but
//! never while the host runs, except when it is paused or has been stopped by a signal: the borrow of the store that its
//! call has keeps others away in the one case, and it will not go on in the other.

use crate::artifact::ArtifactInner;
use crate::component;
use crate::host::Caller;
use crate::instance::Limits;
use crate::store::{Store, StoreInner, sealed::Sealed};

/// What a store has that is given no fuel: no guest lives to use that much.
const UNLIMITED: u64 = u64::MAX;

/// The word when there is nothing left.
pub(crate) const USED_UP: u64 = !0;

/// An artifact's code is metered or not, and it should be otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeteringError {
    /// It counts no fuel.
    #[error("the artifact is not metered, so its fuel cannot be limited: compile it with --fuel")]
    NotMetered,
    /// Some instances of a store would count, and others would not.
    #[error("the instances of a store are metered, all or none: compile all artifacts with --fuel, or none")]
    Mixed,
    /// A store without instances has no fuel: what it starts with is its first instance's [`Limits::fuel`].
    #[error("the store has no instance yet")]
    Empty,
}

/// The word of a store that starts with so much fuel, or no limit.
pub(crate) fn word(fuel: Option<u64>) -> u64 {
    !fuel.unwrap_or(UNLIMITED)
}

/// Checks that an instance of `artifact` may be made in `store`, and with that much fuel if it is the first.
///
/// # Safety
/// `store` is alive.
#[inline]
pub(crate) unsafe fn check_metering(
    store: *mut StoreInner,
    artifact: &ArtifactInner,
    limits: Limits,
) -> Result<(), MeteringError> {
    // SAFETY: the store is alive, and so is the record of its first instance if it has one; no reference remains.
    unsafe {
        let is_metered = artifact.is_metered();
        if limits.fuel.is_some() && !is_metered {
            return Err(MeteringError::NotMetered);
        }
        if StoreInner::len(store) > 0 && (*StoreInner::first(store)).artifact().is_metered() != is_metered {
            return Err(MeteringError::Mixed);
        }
    }
    Ok(())
}

/// What is left in the store's word; none if nothing counts in it.
fn get(store: &impl Sealed) -> Option<u64> {
    let store = store.inner().as_ptr();
    // SAFETY: the store is alive, and its first instance too if there is one.
    unsafe {
        let is_metered = StoreInner::len(store) > 0 && (*StoreInner::first(store)).artifact().is_metered();
        is_metered.then(|| !(*store).context.fuel)
    }
}

fn set(store: &mut impl Sealed, fuel: u64) -> Result<(), MeteringError> {
    let store = store.inner().as_ptr();
    // SAFETY: the store is alive and borrowed exclusively, and its first instance is alive if there is one.
    unsafe {
        if StoreInner::len(store) == 0 {
            return Err(MeteringError::Empty);
        }
        if !(*StoreInner::first(store)).artifact().is_metered() {
            return Err(MeteringError::NotMetered);
        }
        (*store).context.fuel = word(Some(fuel));
    }
    Ok(())
}

impl<T> Store<T> {
    /// What is left of the fuel that the store's instances have together, in units of WebAssembly operators; the rules
    /// are in the compiler's DESIGN.md. `None` if they are not metered, or there is none yet. Without a limit, the store
    /// has started with `u64::MAX`. After a trap for want of fuel it is 0; after another, what the guest used since it
    /// last called something, or began another turn of a loop, is not taken off.
    pub fn fuel(&self) -> Option<u64> {
        get(self)
    }

    /// Sets what is left of the fuel. The guest that uses more traps with
    /// [`TrapCode::OutOfFuel`](precast_abi::trap::TrapCode), always at the same place; whatever it did until then remains. With
    /// more fuel it can be called again.
    ///
    /// # Errors
    /// The store's instances are not metered (`precast compile --fuel`), or there is none yet.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<(), MeteringError> {
        set(self, fuel)
    }
}

impl<T> Caller<'_, T> {
    /// What is left of the fuel: see [`Store::fuel`]. All that the guest has executed until this call is taken off.
    pub fn fuel(&self) -> Option<u64> {
        get(self)
    }

    /// Sets what is left of the fuel when the guest goes on: see [`Store::set_fuel`]. So a host function can charge for
    /// what it does.
    ///
    /// # Errors
    /// As [`Store::set_fuel`].
    pub fn set_fuel(&mut self, fuel: u64) -> Result<(), MeteringError> {
        set(self, fuel)
    }
}

impl<T> component::Instance<T> {
    /// What is left of the instance's fuel: see [`Store::fuel`].
    pub fn fuel(&self) -> Option<u64> {
        get(self.store())
    }

    /// Sets what is left of the instance's fuel: see [`Store::set_fuel`]. A trap for want of fuel ends the instance, as
    /// every trap ends those of components.
    ///
    /// # Errors
    /// The component is not metered (`precast compile --fuel`).
    pub fn set_fuel(&mut self, fuel: u64) -> Result<(), MeteringError> {
        set(self.store_mut(), fuel)
    }
}
