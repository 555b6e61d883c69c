//! What binding decodes from a component's tables, checked, so that calls only index.
//!
//! What comes in: the tables, in which nothing but their bounds is known to be right, and the checked core rows. What
//! goes out: rows whose offsets lie in a block of the slot and whose code is of the type that it is entered with.

use std::sync::Arc;

use precast_abi::component::{
    CanonRow, ComponentExportRow, ComponentImportKind, ComponentImportRow, ComponentInstanceRow, Handle, InstanceState,
    StringEncoding,
};
use precast_abi::meta::{ExternKind, NONE};
use precast_abi::types::{FuncType as CoreType, ValType};

use super::types::Types;
use crate::artifact::ArtifactInner;
use crate::plan::{Blocks, Malformed, Plan};

/// The decoded rows of a component.
#[derive(Debug)]
pub(crate) struct ComponentPlan {
    pub(crate) types: Arc<Types>,
    pub(crate) imports: Box<[Import]>,
    /// Functions that the component imports.
    pub(crate) host_funcs: Box<[HostFunc]>,
    pub(crate) exports: Box<[Export]>,
    /// For each resource that a component here defines: its destructor, and where its instance has its state.
    pub(crate) resources: Box<[Option<Resource>]>,
}

/// A core import.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) interface: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) kind: ImportKind,
}

/// What a core import is.
#[derive(Clone, Debug)]
pub(crate) enum ImportKind {
    /// Lowered: row of the function type, and the caller's options.
    Func(u32, Canon),
    /// Drops the resource in this row.
    Drop(u32),
}

/// A function that the component imports.
#[derive(Debug)]
pub(crate) struct HostFunc {
    pub(crate) interface: Box<str>,
    pub(crate) name: Box<str>,
    /// Row of its type.
    pub(crate) func: u32,
}

/// An exported function.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) interface: Box<str>,
    pub(crate) name: Box<str>,
    /// Row of its type.
    pub(crate) func: u32,
    pub(crate) target: Target,
}

/// What an exported function is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A lifted core function.
    Lifted(Code, Canon),
    /// An import that is exported again: its row in the host functions.
    Import(u32),
}

/// A resource that is defined here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    pub(crate) destructor: Option<Code>,
}

/// Code that the host enters: text offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// The entry thunk of its type.
    pub(crate) entry: u32,
    pub(crate) text: u32,
}

/// Options of the Canonical ABI. Offsets are from the base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canon {
    /// Row of the component instance.
    pub(crate) instance: u32,
    pub(crate) place: Place,
    /// Start, and the word with the size.
    pub(crate) memory: Option<(isize, isize)>,
    pub(crate) realloc: Option<Code>,
    pub(crate) post_return: Option<Code>,
    pub(crate) encoding: StringEncoding,
}

/// Where a component instance has its state and handle table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) state: isize,
    pub(crate) handles: isize,
    /// The largest handle.
    pub(crate) capacity: u32,
}
