//! A component as parsed: its definitions, in order, with the types that the validator gave them.
//!
//! Indices in definitions are those of the component's index spaces, which executing the definitions fills. Types have
//! no index space: what names a resource says its `ResourceId`, which is unique within a file.

use std::collections::HashMap;

use precast_abi::meta::ExternKind;
use wasmparser::component_types::{ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId, ResourceId};
use wasmparser::types::Types;

use crate::Error;
use crate::module::Module;

/// Index in [`Parsed::modules`].
pub(super) type ModuleId = usize;
/// Index in [`Parsed::components`].
pub(super) type ComponentId = usize;
/// Index in [`Parsed::files`].
pub(super) type FileId = usize;

/// All files that make up a component.
#[derive(Default)]
pub(super) struct Parsed<'a> {
    /// Core modules, whether anything instantiates them or not.
    pub modules: Vec<StaticModule<'a>>,
    /// Components, each after those in it.
    pub components: Vec<Component<'a>>,
    /// The types of each file.
    pub files: Vec<Types>,
    /// Why the files are refused although they may be valid.
    pub refused: Option<Error>,
}

/// What a file is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// A core module.
    Module(ModuleId),
    /// A component.
    Component(ComponentId),
}

/// A core module.
pub(super) struct StaticModule<'a> {
    /// The module.
    pub module: Module<'a>,
    /// Its exports by name.
    pub exports: HashMap<&'a str, (ExternKind, u32)>,
}

impl<'a> StaticModule<'a> {
    pub(super) fn new(module: Module<'a>) -> Self {
        let exports = module.exports.iter().map(|export| (export.name, (export.kind, export.index))).collect();
        StaticModule { module, exports }
    }
}

/// A component.
#[derive(Default)]
pub(super) struct Component<'a> {
    /// The file it is in.
    pub file: FileId,
    /// Modules and components of the components around it that it, or one in it, refers to.
    pub captures: Vec<Capture>,
    /// Its definitions, each with its offset in the file.
    pub definitions: Vec<(usize, Definition<'a>)>,
}

/// Where a component takes a capture from when it is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Capture {
    /// An item of the component around it.
    Local(ItemRef),
    /// A capture of the component around it.
    Outer(usize),
}

/// An item of a component, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ItemRef {
    /// A core module.
    Module(u32),
    /// A component.
    Component(u32),
    /// A function.
    Func(u32),
    /// An instance.
    Instance(u32),
    /// A type; which resource, if it is one.
    Type(Option<ResourceId>),
}

/// An item of a core instance, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CoreItemRef {
    /// Kind.
    pub kind: ExternKind,
    /// Index in the index space of that kind.
    pub index: u32,
}

/// A definition. All but [`Definition::Resource`] make one more item, of the kind that their name says.
#[derive(Debug)]
pub(super) enum Definition<'a> {
    /// An import.
    Import { name: &'a str, ty: ComponentEntityType },
    /// An export; the item is in the index space a second time then, with this type.
    Export { name: &'a str, item: ItemRef, ty: ComponentEntityType },
    /// A core module in the component.
    Module(ModuleId),
    /// A component in the component.
    Component(ComponentId),
    /// A resource type.
    Resource { id: ResourceId, destructor: Option<u32> },
    /// A core instance: module, and instances by name.
    CoreInstantiate { module: u32, args: Vec<(&'a str, u32)> },
    /// A core instance of items by name.
    CoreFromExports(Vec<(&'a str, CoreItemRef)>),
    /// An instance, of this type.
    Instantiate { component: u32, args: Vec<(&'a str, ItemRef)>, ty: ComponentInstanceTypeId },
    /// An instance of items by name.
    FromExports(Vec<(&'a str, ItemRef)>),
    /// An export of a core instance.
    AliasCoreExport { instance: u32, name: &'a str, kind: ExternKind },
    /// An export of an instance that is no type.
    AliasExport { instance: u32, name: &'a str },
    /// A module or component once more.
    AliasLocal(ItemRef),
    /// A capture, by index in [`Component::captures`].
    AliasCapture(usize),
    /// `canon lift`.
    Lift { core: u32, ty: ComponentFuncTypeId, options: Options },
    /// `canon lower`, of a function of this type.
    Lower { func: u32, ty: ComponentFuncTypeId, options: Options },
    /// `resource.new`.
    ResourceNew(ResourceId),
    /// `resource.rep`.
    ResourceRep(ResourceId),
    /// `resource.drop`.
    ResourceDrop(ResourceId),
    /// What is not compiled, by the name of its proposal.
    Unsupported(&'static str),
}

/// Options of `canon lift` and `canon lower`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// How strings lie in memory.
    pub encoding: precast_abi::component::StringEncoding,
    /// Index of a memory.
    pub memory: Option<u32>,
    /// Index of a core function.
    pub realloc: Option<u32>,
    /// Index of a core function.
    pub post_return: Option<u32>,
}
