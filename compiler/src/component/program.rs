//! The glue of a component as translator and linker need it: where the state of component instances is, what adapters
//! connect, and what the host calls and is called by.
//!
//! Offsets are in bytes from the program's base, which is that of the first group.

use cranelift_codegen::entity::{PrimaryMap, entity_impl};
use precast_abi::component::StringEncoding;
use precast_abi::types::FuncType;

use super::linkage::{
    ComponentFuncType, ComponentInstance, FuncTypeRow, HostFunc, HostFuncDef, Resource, ResourceDef, TypeDef, TypeRow,
};
use crate::program::{FuncPlace, Group, Memory, Symbol, TypeId};
use crate::translate::{GlueHelper, Shapes};

/// A function that calls one component instance from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AdapterId(u32);
entity_impl!(AdapterId, "adapter");

/// The glue of a component.
pub(crate) struct ComponentProgram {
    /// Component-level types.
    pub types: PrimaryMap<TypeRow, TypeDef>,
    /// What they look like in the Canonical ABI.
    pub shapes: Shapes,
    /// Component-level function types.
    pub func_types: PrimaryMap<FuncTypeRow, ComponentFuncType>,
    /// Component instances.
    pub instances: PrimaryMap<ComponentInstance, InstancePlace>,
    /// Resources.
    pub resources: PrimaryMap<Resource, ResourcePlace>,
    /// Adapters.
    pub adapters: PrimaryMap<AdapterId, Adapter>,
    /// Offset of the lend stack: a 64-bit number of entries, then [`LENDS`] entries of 64 bits.
    pub lends: i64,
    /// Options of what the host calls and is called by: rows of the artifact's table.
    pub canons: Vec<CanonPlace>,
    /// What each import of the program is.
    pub imports: Vec<GlueImport>,
    /// Functions that the root imports.
    pub host_funcs: PrimaryMap<HostFunc, HostFuncDef>,
    /// Functions that the root exports, sorted.
    pub exports: Vec<ExportPlace>,
}

/// Entries of the lend stack.
pub(crate) const LENDS: u64 = (64 << 10) - 1;

/// Where the state of a component instance is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InstancePlace {
    /// The instance it is nested in.
    pub parent: Option<ComponentInstance>,
    /// Offset of its [`precast_abi::component::InstanceState`].
    pub state: i64,
    /// Offset of entry 0 of its handle table.
    pub handles: i64,
    /// Entries of the handle table.
    pub handle_capacity: u32,
    /// Whether the instance may ever be forbidden to leave, so that leaving it has to be checked.
    pub leaves_checked: bool,
}

/// A resource.
#[derive(Clone, Debug)]
pub(crate) struct ResourcePlace {
    /// Where it comes from.
    pub def: ResourceDef,
    /// The component instance that defines it; `None` for one of the host.
    pub definer: Option<ComponentInstance>,
    /// What to call with the representation when its owner drops it, `(i32) -> ()`: the destructor, or the host's.
    pub destructor: Option<FuncPlace>,
    /// The destructor as the host calls it.
    pub destructor_for_host: Option<FuncPlace>,
}

/// Caller or callee of an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// The instance.
    pub instance: ComponentInstance,
    /// How strings lie in memory.
    pub encoding: StringEncoding,
    /// The memory and its group.
    pub memory: Option<(Group, Memory)>,
    /// Called as `(i32, i32, i32, i32) -> i32`.
    pub realloc: Option<FuncPlace>,
    /// Called with the core results.
    pub post_return: Option<FuncPlace>,
}

/// A function that calls one component instance from another.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    /// Who calls.
    pub caller: Side,
    /// Who is called.
    pub callee: Side,
    /// The type as the caller sees it.
    pub caller_ty: FuncTypeRow,
    /// What is called.
    pub callee_func: FuncPlace,
    /// Its core type.
    pub callee_core: FuncType,
    /// Whether one instance is the other or nested in it, so that calling always traps.
    pub recursive: bool,
}

/// Options of the Canonical ABI where the host is on the other side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CanonPlace {
    /// The instance.
    pub instance: ComponentInstance,
    /// Row of the memory.
    pub memory: Option<u32>,
    /// A function that takes the program's base, and its type.
    pub realloc: Option<(FuncPlace, TypeId)>,
    /// A function that takes the program's base, and its type.
    pub post_return: Option<(FuncPlace, TypeId)>,
    /// How strings lie in memory.
    pub encoding: StringEncoding,
}

/// What an import of the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GlueImport {
    /// A function of the host: its type, and the position of its options in [`ComponentProgram::canons`].
    Func(FuncTypeRow, u32),
    /// Called when the last handle of a resource of the host is dropped.
    Drop(Resource),
}

/// A function that the root exports.
#[derive(Clone, Debug)]
pub(crate) struct ExportPlace {
    /// The exported instance it is in, or empty.
    pub interface: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: FuncTypeRow,
    /// What it is.
    pub func: ExportedFunc,
}

/// What an exported function is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExportedFunc {
    /// A core function that takes the program's base, its type, and the position of its options in
    /// [`ComponentProgram::canons`].
    Lifted(FuncPlace, TypeId, u32),
    /// A function of the host.
    Host(HostFunc),
}

impl ComponentProgram {
    /// Code that the glue shares.
    pub(crate) fn glue_symbols(&self) -> impl Iterator<Item = Symbol> {
        GlueHelper::ALL.into_iter().map(Symbol::Glue)
    }
}
