//! Handles of resources as the host has them.
//!
//! What comes in: representations of the host's own resources, and what guests give the host. What goes out:
//! [`Resource`], which is a representation with a type; [`ResourceAny`], a handle of any resource; and [`Held`], where a
//! store keeps the guests' resources that the host has.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use precast_abi::component::Handle;

use super::context::{LiftContext, LowerContext};
use super::guest::ResourceUse;
use super::obtain::Origins;
use super::types::{Kind, Type};
use super::value::{ComponentType, FlatReader, FlatWriter, Lift, Lower};
use crate::HostError;
use crate::store::StoreId;

/// A handle of a resource that the host defines: of `X`, which [`super::Linker::resource`] registered. Whoever gets an
/// owned one from a guest owns what is behind it.
pub struct Resource<X> {
    representation: u32,
    owned: bool,
    of: PhantomData<fn() -> X>,
}

impl<X> Resource<X> {
    /// An owned handle, to be given to a guest. The representation is what the host finds it by: mostly its place in a
    /// [`super::ResourceTable`]. The highest number stands for resources that are gone: giving it to a guest fails.
    pub fn new_own(representation: u32) -> Self {
        Resource { representation, owned: true, of: PhantomData }
    }

    /// A borrowed handle, to be lent to a guest for a call.
    pub fn new_borrow(representation: u32) -> Self {
        Resource { representation, owned: false, of: PhantomData }
    }

    /// The representation.
    pub fn rep(&self) -> u32 {
        self.representation
    }

    /// Whether the handle owns the resource.
    pub fn is_owned(&self) -> bool {
        self.owned
    }
}

impl<X> fmt::Debug for Resource<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.owned { "own" } else { "borrow" };
        write!(f, "{name}({})", self.representation)
    }
}

/// A handle of any resource that the host has: of one that it defines, or of a guest's. The latter belongs to the store.
/// An owned one is used up when it is given to a guest or dropped with [`ResourceAny::drop`]; a borrowed one lasts for
/// the call that lent it. Just forgetting an owned one leaks the guest's resource, until the store is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceAny {
    given: Given,
    owned: bool,
}

/// What the host gives to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// A resource of the host's.
    Host { of: TypeId, representation: u32, owned: bool },
    /// A resource of a guest's: where [`Held`] has it.
    Held { store: Option<StoreId>, place: u32, generation: u32 },
}

impl ResourceAny {
    /// Whether the handle owns the resource.
    pub fn is_owned(&self) -> bool {
        self.owned
    }

    /// The handle as that of a resource of the host's, if it is one of an `X`.
    pub fn resource<X: 'static>(&self) -> Option<Resource<X>> {
        match self.given {
            Given::Host { of, representation, owned } if of == TypeId::of::<X>() => {
                Some(Resource { representation, owned, of: PhantomData })
            }
            _ => None,
        }
    }

    /// Whether it is of a resource of the host's.
    pub(crate) fn is_host(&self) -> bool {
        matches!(self.given, Given::Host { .. })
    }

    pub(crate) fn given(&self) -> &Given {
        &self.given
    }

    /// What a guest gave: `representation` of the resource `of`.
    pub(crate) fn lifted(cx: &mut LiftContext<'_>, of: ResourceUse, representation: u32) -> ResourceAny {
        let owned = !of.borrow;
        if of.definer.is_none() {
            let of = of.host.unwrap_or(TypeId::of::<Unregistered>());
            return ResourceAny { given: Given::Host { of, representation, owned }, owned };
        }
        let given = cx.guest().with_held(|held| held.keep(of.row, representation, owned));
        if let Given::Held { place, .. } = given
            && !owned
        {
            cx.loans.push_held(place);
        }
        ResourceAny { given, owned }
    }
}

/// Stands for resources of the host's that it does not know.
struct Unregistered;

impl<X: 'static> From<Resource<X>> for ResourceAny {
    fn from(resource: Resource<X>) -> Self {
        ResourceAny { given: given(&resource), owned: resource.owned }
    }
}

fn given<X: 'static>(resource: &Resource<X>) -> Given {
    Given::Host { of: TypeId::of::<X>(), representation: resource.representation, owned: resource.owned }
}

/// The guests' resources that a store's host has, and what is known of its own that guests have.
#[derive(Debug, Default)]
pub(crate) struct Held {
    store: Option<StoreId>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Where guests have the host's resources from, if that is to be known.
    pub(crate) origins: Option<Origins>,
}

#[derive(Debug)]
struct Entry {
    /// How often the place was given up: handles of earlier uses are no good.
    generation: u32,
    used: bool,
    row: u32,
    representation: u32,
    owned: bool,
}

impl Held {
    /// Of the store `store`.
    pub(crate) fn new(store: StoreId) -> Self {
        Held { store: Some(store), ..Held::default() }
    }

    fn keep(&mut self, row: u32, representation: u32, owned: bool) -> Given {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, used: false, row: 0, representation: 0, owned: false });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[place as usize];
        *entry = Entry { generation: entry.generation, used: true, row, representation, owned };
        Given::Held { store: self.store, place, generation: entry.generation }
    }

    #[cfg(test)]
    pub(crate) fn keep_for_test(&mut self, row: u32, representation: u32) -> Given {
        self.keep(row, representation, true)
    }

    /// Gives up a place.
    pub(crate) fn forget(&mut self, place: u32) {
        if let Some(entry) = self.entries.get_mut(place as usize).filter(|entry| entry.used) {
            entry.used = false;
            entry.generation = entry.generation.wrapping_add(1);
            self.free.push(place);
        }
    }

    /// Whether the host has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    fn find(&self, given: &Given) -> Result<(u32, &Entry), HostError> {
        let Given::Held { store, place, generation } = *given else {
            return Err("a resource of the host's is no resource of a guest's".into());
        };
        if store != self.store {
            return Err("the resource belongs to another store".into());
        }
        let entry = self.entries.get(place as usize).filter(|entry| entry.used && entry.generation == generation);
        Ok((place, entry.ok_or("the resource was given away or dropped, or the call that lent it is over")?))
    }

    /// Gives `given` away or lends it, as one of `uses` wants: which, and its representation. `origin`: see
    /// [`super::guest::Signature::origin`].
    pub(crate) fn give(
        &mut self,
        given: &Given,
        uses: &[ResourceUse],
        origin: Option<u32>,
    ) -> Result<(ResourceUse, u32), HostError> {
        let other = || HostError::from("the handle is of another resource than the type at hand wants");
        let not_owned = || HostError::from("a borrowed handle is given where an owned one is wanted");
        if let Given::Host { of, representation, owned } = *given {
            let wanted = uses.iter().find(|wanted| wanted.definer.is_none() && wanted.host == Some(of));
            let wanted = *wanted.ok_or_else(other)?;
            if representation == Handle::GONE {
                return Err("the host's resources cannot be represented by the highest number".into());
            }
            return match (wanted.borrow, owned) {
                (true, _) => Ok((wanted, representation)),
                (false, true) => {
                    if let Some(origins) = &mut self.origins {
                        origins.note(wanted.row, representation, origin);
                    }
                    Ok((wanted, representation))
                }
                (false, false) => Err(not_owned()),
            };
        }
        let (place, entry) = self.find(given)?;
        let wanted = *uses.iter().find(|wanted| wanted.row == entry.row).ok_or_else(other)?;
        let representation = entry.representation;
        match (wanted.borrow, entry.owned) {
            (true, _) => {}
            (false, true) => self.forget(place),
            (false, false) => return Err(not_owned()),
        }
        Ok((wanted, representation))
    }

    /// Takes an owned resource, to drop it: its row and representation. `None` for a borrowed one, which is given up.
    pub(crate) fn take(&mut self, given: &Given) -> Result<Option<(u32, u32)>, HostError> {
        let (place, entry) = self.find(given)?;
        let taken = entry.owned.then_some((entry.row, entry.representation));
        self.forget(place);
        Ok(taken)
    }
}

// SAFETY: a handle is a 32-bit number, in core values and in memory.
unsafe impl<X: 'static> ComponentType for Resource<X> {
    const SIZE: u32 = 4;
    const ALIGN: u32 = 4;
    const FLAT: usize = 1;
    fn matches(ty: &Type<'_>) -> bool {
        match ty.kind() {
            Kind::Own(resource) | Kind::Borrow(resource) => resource.host() == Some(TypeId::of::<X>()),
            _ => false,
        }
    }
}

// SAFETY: one cell, or four bytes.
unsafe impl<X: 'static> Lower for Resource<X> {
    fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
        flat.push(cx.resource(&given(self))?.into());
        Ok(())
    }
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        let handle = cx.resource(&given(self))?;
        cx.write_u32(offset, handle);
        Ok(())
    }
}

impl<X: 'static> Resource<X> {
    fn lifted(cx: &mut LiftContext<'_>, handle: u32) -> Result<Self, HostError> {
        let (of, representation) = cx.resource(handle, |of| of.host == Some(TypeId::of::<X>()))?;
        Ok(Resource { representation, owned: !of.borrow, of: PhantomData })
    }
}

// SAFETY: as above.
unsafe impl<X: 'static> Lift for Resource<X> {
    fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        Self::lifted(cx, flat.next() as u32)
    }
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        Self::lifted(cx, cx.u32(offset))
    }
}

// SAFETY: a handle is a 32-bit number, in core values and in memory.
unsafe impl ComponentType for ResourceAny {
    const SIZE: u32 = 4;
    const ALIGN: u32 = 4;
    const FLAT: usize = 1;
    fn matches(ty: &Type<'_>) -> bool {
        matches!(ty.kind(), Kind::Own(_) | Kind::Borrow(_))
    }
}

// SAFETY: one cell, or four bytes.
unsafe impl Lower for ResourceAny {
    fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
        flat.push(cx.resource(&self.given)?.into());
        Ok(())
    }
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        let handle = cx.resource(&self.given)?;
        cx.write_u32(offset, handle);
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl Lift for ResourceAny {
    fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        let (of, representation) = cx.resource(flat.next() as u32, |_| true)?;
        Ok(Self::lifted(cx, of, representation))
    }
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        let (of, representation) = cx.resource(cx.u32(offset), |_| true)?;
        Ok(Self::lifted(cx, of, representation))
    }
}
