//! The glue between component instances: adapters, `resource.new`, `resource.rep`, `resource.drop`, and code they share.
//!
//! What comes in: an adapter of [`ComponentProgram`], that is two functions of one component-level type with the
//! options of the Canonical ABI on either side. What goes out: a function with the caller's core type that moves
//! parameters to the callee, calls it, and moves the result back. A value is lifted and lowered in one go, so that
//! nothing is ever built between the two memories; whatever a guest says (pointers, lengths, discriminants, handles,
//! what its `realloc` returns) is checked on the way.
//!
//! | file | |
//! |---|---|
//! | [`adapter`] | the adapter as a whole |
//! | [`transfer`] | scalars, records, flags: one value from one side to the other |
//! | [`variant`], [`list`], [`string`] | the same for what their names say |
//! | [`handle`] | handles and lends; the functions on resources |
//! | [`access`] | checked ranges of a side's memory, `realloc`, state of component instances |
//! | [`glue`], [`copy`] | the code that all of them share |
//! | [`shape`] | sizes, alignments and core values of types |

mod access;
mod adapter;
mod copy;
mod glue;
mod handle;
mod list;
mod shape;
mod string;
#[cfg(test)]
mod tests;
mod transfer;
mod variant;

use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;

pub(crate) use self::glue::GlueHelper;
pub(crate) use self::shape::Shapes;
use super::{Entry, Scratch, build};
use crate::Error;
use crate::component::linkage::{ComponentInstance, Resource};
use crate::component::program::{AdapterId, ComponentProgram};
use crate::program::{DefinedFunc, FuncDef, Group, Program, Symbol};

/// Calls a function of one component instance from another.
pub(crate) fn adapter(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    func: DefinedFunc,
    adapter: AdapterId,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let component = component(program)?;
    let FuncDef { ty, group, .. } = program.funcs[func];
    let (symbol, entry) = (Symbol::Function(func), Entry::Function(ty));
    build(program, isa, symbol, entry, group, &mut scratch.builder, |t, arguments| {
        adapter::emit(t, component, &component.adapters[adapter], arguments)
    })
}

/// A function on the handles of a component instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResourceFunc {
    /// `resource.new`.
    New,
    /// `resource.rep`.
    Rep,
    /// `resource.drop`.
    Drop,
}

/// A function on the handles that `instance` has of `resource`.
pub(crate) fn resource(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    func: DefinedFunc,
    (function, resource, instance): (ResourceFunc, Resource, ComponentInstance),
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let component = component(program)?;
    let FuncDef { ty, group, .. } = program.funcs[func];
    let (symbol, entry) = (Symbol::Function(func), Entry::Function(ty));
    build(program, isa, symbol, entry, group, &mut scratch.builder, |t, arguments| {
        handle::emit(t, component, function, resource, instance, arguments)
    })
}

/// Code that glue shares.
pub(crate) fn glue(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    helper: GlueHelper,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let component = component(program)?;
    let symbol = Symbol::Glue(helper);
    build(program, isa, symbol, Entry::Glue(helper), Group::FIRST, &mut scratch.builder, |t, arguments| {
        glue::emit(t, component, helper, arguments)
    })
}

fn component<'p>(program: &'p Program<'_>) -> Result<&'p ComponentProgram, Error> {
    program.component.as_ref().ok_or_else(|| Error::internal("glue", "the program is no component"))
}
