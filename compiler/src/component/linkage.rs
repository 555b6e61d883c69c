//! What executing a component's definitions gives: core instances, what each is instantiated with, and the functions,
//! resources and types between them. The input of laying out the [`crate::program::Program`].
//!
//! Everything here is of run time: if a component is instantiated twice, its core instances, component instances and
//! resources stand here twice. Nothing refers to an index space of a component any more.

use cranelift_codegen::entity::{PrimaryMap, entity_impl};
use precast_abi::component::{Primitive, StringEncoding};
use precast_abi::types::FuncType;

use crate::module::Module;

/// A core instance; in the order of instantiation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CoreInstance(u32);
entity_impl!(CoreInstance, "core instance");

/// A component instance; the root is the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ComponentInstance(u32);
entity_impl!(ComponentInstance, "component instance");

/// A resource at run time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource(u32);
entity_impl!(Resource, "resource");

/// A core function that a canonical definition makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CanonFunc(u32);
entity_impl!(CanonFunc, "canonical function");

/// A function of the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostFunc(u32);
entity_impl!(HostFunc, "host function");

/// A component-level type that is no primitive; refers to earlier ones only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TypeRow(u32);
entity_impl!(TypeRow, "type");

/// A component-level function type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FuncTypeRow(u32);
entity_impl!(FuncTypeRow, "function type");

/// A component-level type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    /// A primitive.
    Primitive(Primitive),
    /// Another.
    Row(TypeRow),
}

/// A component-level type that is no primitive, with resources of run time in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TypeDef {
    /// Names and types of fields.
    Record(Vec<(String, Type)>),
    /// Names and payloads of cases.
    Variant(Vec<(String, Option<Type>)>),
    /// The element.
    List(Type),
    /// The element and how many there are.
    FixedList(Type, u32),
    /// Types.
    Tuple(Vec<Type>),
    /// Names.
    Flags(Vec<String>),
    /// Names.
    Enum(Vec<String>),
    /// The payload.
    Option(Type),
    /// The payloads of `ok` and `err`.
    Result(Option<Type>, Option<Type>),
    /// An owned handle.
    Own(Resource),
    /// A borrowed handle.
    Borrow(Resource),
    /// Key and value.
    Map(Type, Type),
}

/// A component-level function type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ComponentFuncType {
    /// Names and types of the parameters.
    pub params: Vec<(String, Type)>,
    /// Type of the result.
    pub result: Option<Type>,
}

/// A module, by its place in [`Linkage::modules`].
pub(crate) type ModuleIndex = usize;

/// Everything that executing the definitions gave.
pub(crate) struct Linkage<'a> {
    /// The core modules that are instantiated, each once.
    pub modules: Vec<Module<'a>>,
    /// The core instances.
    pub instances: PrimaryMap<CoreInstance, Instantiation>,
    /// The core functions that canonical definitions make.
    pub canon_funcs: PrimaryMap<CanonFunc, Canon>,
    /// Component instances, with the one that each is nested in. A component whose definitions are only aliased has an
    /// instance too.
    pub component_instances: PrimaryMap<ComponentInstance, Option<ComponentInstance>>,
    /// Resources.
    pub resources: PrimaryMap<Resource, ResourceDef>,
    /// Types; equal ones once.
    pub types: PrimaryMap<TypeRow, TypeDef>,
    /// Function types; equal ones once.
    pub func_types: PrimaryMap<FuncTypeRow, ComponentFuncType>,
    /// Functions that the root imports.
    pub host_funcs: PrimaryMap<HostFunc, HostFuncDef>,
    /// Functions that the root exports, sorted by the bytes of interface, then name.
    pub exports: Vec<ComponentExport>,
}

/// How a core instance is made.
pub(crate) struct Instantiation {
    /// What is instantiated.
    pub module: ModuleIndex,
    /// What each import is, in the order of [`Module::imports`]. Kinds and types match: the validator has seen them.
    pub arguments: Vec<CoreItem>,
}

/// A core function, table, memory or global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CoreItem {
    /// Of an earlier core instance: index in its module's index space of the kind. That may in turn be an import.
    Export {
        /// The instance.
        instance: CoreInstance,
        /// The index.
        index: u32,
    },
    /// A function that a canonical definition made.
    Canon(CanonFunc),
}

/// What a canonical definition makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Canon {
    /// `canon lower`.
    Lower {
        /// What is lowered.
        func: ComponentFunc,
        /// Its type as the caller sees it.
        ty: FuncTypeRow,
        /// Options of the caller.
        options: CanonOptions,
        /// The core type: the flattened one.
        core_type: FuncType,
    },
    /// `resource.new`, by the instance that defines the resource.
    ResourceNew(Resource, ComponentInstance),
    /// `resource.rep`, by the instance that defines the resource.
    ResourceRep(Resource, ComponentInstance),
    /// `resource.drop`, by any instance.
    ResourceDrop(Resource, ComponentInstance),
}

/// A component-level function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ComponentFunc {
    /// A lifted core function.
    Lifted(Box<Lifted>),
    /// A function that the root imports.
    Host(HostFunc),
}

/// `canon lift`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lifted {
    /// The core function.
    pub core: CoreItem,
    /// Its core type: the flattened one.
    pub core_type: FuncType,
    /// Its type as the callee sees it.
    pub ty: FuncTypeRow,
    /// Options of the callee.
    pub options: CanonOptions,
}

/// Options of `canon lift` and `canon lower`, and the component instance with the definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CanonOptions {
    /// The instance.
    pub instance: ComponentInstance,
    /// How strings lie in memory.
    pub encoding: StringEncoding,
    /// A memory.
    pub memory: Option<CoreItem>,
    /// A function.
    pub realloc: Option<CoreItem>,
    /// A function, with its core type.
    pub post_return: Option<(CoreItem, FuncType)>,
}

/// A resource.
#[derive(Clone, Debug)]
pub(crate) enum ResourceDef {
    /// Defined by a component instance.
    Guest {
        /// Which.
        instance: ComponentInstance,
        /// The destructor, a core function `(i32) -> ()`.
        destructor: Option<CoreItem>,
        /// Interface (or empty) and name that the root exports it under first, if it does.
        exported: Option<(String, String)>,
    },
    /// Imported by the root.
    Host {
        /// The interface, or empty.
        interface: String,
        /// Its name.
        name: String,
    },
}

/// A function that the root imports.
#[derive(Clone, Debug)]
pub(crate) struct HostFuncDef {
    /// The interface, or empty.
    pub interface: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: FuncTypeRow,
}

/// A function that the root exports.
#[derive(Clone, Debug)]
pub(crate) struct ComponentExport {
    /// The exported instance it is in (`a/b` of one in another); empty for the root's own.
    pub interface: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub func: ComponentFunc,
    /// Its type.
    pub ty: FuncTypeRow,
}
