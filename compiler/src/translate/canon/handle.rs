//! Handles: giving them away, lending them, and the functions on resources.
//!
//! An owned handle is taken from the giver's table and put into the taker's, even if the taker defined the resource. A
//! borrowed one stays where it is, and cannot be given away or dropped before the call is over; the taker gets the
//! representation if it defined the resource, else a handle that it has to drop before it returns.
//!
//! What is lent is given back after the call. Where code runs exactly once, the entry is simply a value of it; what
//! branches and loops lend is noted on a stack in the block.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_abi::component::{Handle, InstanceState};
use precast_abi::trap::TrapCode;
use precast_abi::types::{FuncType, ValType};

use super::super::translator::{FuncTranslator, Region, trap_code};
use super::ResourceFunc;
use super::glue::GlueHelper;
use super::transfer::Transfer;
use crate::Error;
use crate::component::linkage::{ComponentInstance, Resource, Type, TypeDef};
use crate::component::program::ComponentProgram;

/// What a call lends.
#[derive(Debug, Default)]
pub(super) struct Lends {
    /// Entries, and by how much their count was raised: one, or zero for a borrowed handle.
    direct: Vec<(Value, Value)>,
    /// How high the stack was, if it is used.
    stack: Option<Value>,
}

impl Lends {
    /// What a call with these parameters lends: nothing yet.
    pub(super) fn begin(t: &mut FuncTranslator<'_>, component: &ComponentProgram, lends_in_branches: bool) -> Self {
        let stack = lends_in_branches.then(|| {
            let lends = t.in_program(component.lends);
            let flags = t.flags(Region::Glue);
            t.ins().load(I64, flags, lends, 0)
        });
        Lends { direct: Vec::new(), stack }
    }

    /// Whether nothing has to be given back.
    pub(super) fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.stack.is_none()
    }

    /// Gives everything back.
    pub(super) fn end(self, t: &mut FuncTranslator<'_>) {
        for (entry, raised) in self.direct {
            let state = t.state_word(entry, Handle::STATE);
            let state = t.ins().isub(state, raised);
            t.set_state_word(state, entry, Handle::STATE);
        }
        if let Some(top) = self.stack {
            t.call_glue(GlueHelper::EndLends, &[top]);
        }
    }
}

/// Whether a type has borrowed handles in a variant or a list.
pub(super) fn lends_in_branches(
    transfer_types: &ComponentProgram,
    ty: Type,
    has_borrows: &dyn Fn(Type) -> bool,
) -> bool {
    let Type::Row(row) = ty else { return false };
    let recurse = |ty: Type| has_borrows(ty) && lends_in_branches(transfer_types, ty, has_borrows);
    match &transfer_types.types[row] {
        TypeDef::Record(fields) => fields.iter().any(|(_, ty)| recurse(*ty)),
        TypeDef::Tuple(types) => types.iter().any(|ty| recurse(*ty)),
        TypeDef::Borrow(_) => false,
        _ => has_borrows(ty),
    }
}

/// Where a component instance's handles are, as arguments of [`GlueHelper`]s.
fn table(t: &mut FuncTranslator<'_>, component: &ComponentProgram, instance: ComponentInstance) -> [Value; 2] {
    let place = &component.instances[instance];
    [t.in_program(place.state), t.in_program(place.handles)]
}

/// What says that a handle is one of the resource.
fn tag(t: &mut FuncTranslator<'_>, resource: Resource) -> Value {
    t.i32(resource.as_u32() + 1)
}

/// Looks a handle up; the result is what `helper` says.
fn look_up(
    t: &mut FuncTranslator<'_>,
    component: &ComponentProgram,
    (helper, resource, instance): (GlueHelper, Resource, ComponentInstance),
    handle: Value,
) -> Result<Value, Error> {
    let [state, handles] = table(t, component, instance);
    let tag = tag(t, resource);
    t.call_glue(helper, &[state, handles, tag, handle]).ok_or_else(|| Error::internal("glue", "a handle has no entry"))
}

/// Puts a new handle into a table; `state` is its [`Handle::STATE`].
fn put(
    t: &mut FuncTranslator<'_>,
    component: &ComponentProgram,
    (resource, instance): (Resource, ComponentInstance),
    representation: Value,
    state: u32,
) -> Result<Value, Error> {
    let [instance_state, handles] = table(t, component, instance);
    let capacity = t.i32(component.instances[instance].handle_capacity);
    let (tag, state) = (tag(t, resource), t.i32(state));
    t.call_glue(GlueHelper::HandleNew, &[instance_state, handles, capacity, tag, representation, state])
        .ok_or_else(|| Error::internal("glue", "a new handle has no number"))
}

/// Adds to the number of borrowed handles that the instance has.
fn count_borrows(t: &mut FuncTranslator<'_>, component: &ComponentProgram, instance: ComponentInstance, by: i64) {
    let state = t.instance_state(component, instance);
    let count = t.state_word(state, InstanceState::BORROWS);
    let count = t.ins().iadd_imm_s(count, by);
    t.set_state_word(count, state, InstanceState::BORROWS);
}

impl Transfer<'_, '_, '_> {
    /// Gives an owned handle away.
    pub(super) fn own(&mut self, resource: Resource, handle: Value) -> Result<Value, Error> {
        let (component, from, to) = (self.component, self.from.instance, self.to.instance);
        let representation = look_up(self.t, component, (GlueHelper::HandleTake, resource, from), handle)?;
        put(self.t, component, (resource, to), representation, 0)
    }

    /// Lends a handle.
    pub(super) fn borrow(&mut self, resource: Resource, handle: Value) -> Result<Value, Error> {
        let (component, from, to) = (self.component, self.from.instance, self.to.instance);
        let entry = look_up(self.t, component, (GlueHelper::HandleGet, resource, from), handle)?;
        if self.conditional > 0 {
            self.t.call_glue(GlueHelper::Lend, &[entry]);
        } else {
            let state = self.t.state_word(entry, Handle::STATE);
            let raised = is_owned(self.t, state);
            let state = self.t.ins().iadd(state, raised);
            self.t.set_state_word(state, entry, Handle::STATE);
            self.lends.direct.push((entry, raised));
        }
        let representation = self.t.state_word(entry, Handle::REPRESENTATION);
        if component.resources[resource].definer == Some(to) {
            return Ok(representation);
        }
        count_borrows(self.t, component, to, 1);
        put(self.t, component, (resource, to), representation, Handle::BORROWED)
    }
}

/// One if a handle with this [`Handle::STATE`] is an owned one, else zero.
pub(super) fn is_owned(t: &mut FuncTranslator<'_>, state: Value) -> Value {
    let borrowed = t.ins().ushr_imm_u(state, i64::from(Handle::BORROWED.trailing_zeros()));
    t.ins().bxor_imm_u(borrowed, 1)
}

/// Whether a call from one instance to the other might come back: one is the other, or nested in it.
fn might_recurse(component: &ComponentProgram, one: ComponentInstance, other: ComponentInstance) -> bool {
    let is_in = |inner: ComponentInstance, outer: ComponentInstance| {
        std::iter::successors(Some(inner), |at| component.instances[*at].parent).any(|at| at == outer)
    };
    is_in(one, other) || is_in(other, one)
}

/// A function on resources: its parameter and result are one `i32` each, or none.
pub(super) fn emit(
    t: &mut FuncTranslator<'_>,
    component: &ComponentProgram,
    function: ResourceFunc,
    resource: Resource,
    instance: ComponentInstance,
    arguments: &[Value],
) -> Result<(), Error> {
    let &[argument] = arguments else {
        return Err(Error::internal("glue", "a function on resources takes one value"));
    };
    match function {
        ResourceFunc::New => {
            t.check_may_leave(component, instance);
            let handle = put(t, component, (resource, instance), argument, 0)?;
            t.ins().return_(&[handle]);
        }
        ResourceFunc::Rep => {
            let entry = look_up(t, component, (GlueHelper::HandleGet, resource, instance), argument)?;
            let representation = t.state_word(entry, Handle::REPRESENTATION);
            t.ins().return_(&[representation]);
        }
        ResourceFunc::Drop => {
            t.check_may_leave(component, instance);
            let dropped = look_up(t, component, (GlueHelper::HandleDrop, resource, instance), argument)?;
            drop_representation(t, component, resource, instance, dropped)?;
        }
    }
    Ok(())
}

/// What follows when a handle was dropped.
fn drop_representation(
    t: &mut FuncTranslator<'_>,
    component: &ComponentProgram,
    resource: Resource,
    instance: ComponentInstance,
    dropped: Value,
) -> Result<(), Error> {
    let representation = t.ins().ireduce(I32, dropped);
    let owned = t.ins().ushr_imm_u(dropped, 32);
    let (last, borrowed) = (t.builder.create_block(), t.builder.create_block());
    t.ins().brif(owned, last, &[], borrowed, &[]);

    t.enter(borrowed);
    count_borrows(t, component, instance, -1);
    t.ins().return_(&[]);

    t.enter(last);
    let place = &component.resources[resource];
    let elsewhere =
        place.definer.is_some_and(|definer| definer != instance && might_recurse(component, instance, definer));
    match place.destructor {
        _ if elsewhere => {
            t.ins().trap(trap_code(TrapCode::CannotEnter));
        }
        Some(destructor) => {
            let ty = FuncType { params: vec![ValType::I32], results: Vec::new() };
            t.tail_call_core(destructor, &ty, &[representation])?;
        }
        None => {
            t.ins().return_(&[]);
        }
    }
    Ok(())
}
