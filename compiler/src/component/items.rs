//! What the index spaces of component instances hold while definitions are executed.
//!
//! Items are small and refer to lists of the executor, not to each other: nothing here nests, so nothing recurses when
//! it is dropped.

use std::collections::{BTreeMap, HashMap};

use precast_abi::meta::ExternKind;
use wasmparser::component_types::ComponentInstanceTypeId;

use super::definition::{ComponentId, FileId, ModuleId};
use super::linkage::{ComponentFunc, ComponentInstance, CoreInstance, CoreItem, FuncTypeRow, Resource};
use super::types::Names;

/// A component-level item.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// A core module.
    Module(ModuleId),
    /// A component with what it captured.
    Component(ClosureId),
    /// A function.
    Func(FuncId),
    /// An instance.
    Instance(ExportsId),
    /// A type; which resource, if it is one.
    Type(Option<Resource>),
}

impl Item {
    /// The kind, for messages.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Item::Module(_) => "core module",
            Item::Component(_) => "component",
            Item::Func(_) => "function",
            Item::Instance(_) => "instance",
            Item::Type(_) => "type",
        }
    }
}

/// Index of a [`Closure`].
pub(super) type ClosureId = usize;
/// Index of a [`Func`].
pub(super) type FuncId = usize;
/// Index of [`Exports`].
pub(super) type ExportsId = usize;

/// A component with what it captured.
#[derive(Clone)]
pub(super) struct Closure {
    /// The component.
    pub component: ComponentId,
    /// What it captured: modules and components.
    pub captures: Vec<Item>,
}

/// A component-level function.
#[derive(Clone)]
pub(super) struct Func {
    /// The function.
    pub func: ComponentFunc,
    /// Its type.
    pub ty: FuncTypeRow,
}

/// The exports of a component instance.
pub(super) type Exports = BTreeMap<String, Item>;

/// A core instance.
pub(super) enum CoreExports<'a> {
    /// Of a module.
    Module(CoreInstance, ModuleId),
    /// Of items by name.
    Items(HashMap<&'a str, (ExternKind, CoreItem)>),
}

/// A component instance whose definitions are being executed.
pub(super) struct Frame<'a> {
    /// The component.
    pub component: ComponentId,
    /// Its file.
    pub file: FileId,
    /// Whether it came from another file than what instantiated it, so that no validator saw them fit.
    pub foreign: bool,
    /// The instance.
    pub instance: ComponentInstance,
    /// How many definitions were executed.
    pub next: usize,
    /// What it is instantiated with; the root has nothing.
    pub args: HashMap<&'a str, Item>,
    /// What it captured.
    pub captures: Vec<Item>,
    /// Its type as what instantiates it sees it, and where that does so; the root has none.
    pub ty: Option<(ComponentInstanceTypeId, usize)>,
    /// What it knows of types.
    pub names: Names,
    /// Index spaces.
    pub modules: Vec<ModuleId>,
    /// Components.
    pub components: Vec<ClosureId>,
    /// Functions.
    pub funcs: Vec<FuncId>,
    /// Instances.
    pub instances: Vec<ExportsId>,
    /// Core instances.
    pub core_instances: Vec<CoreExports<'a>>,
    /// Core items by [`ExternKind`].
    pub core_items: [Vec<CoreItem>; 4],
    /// Exports in order.
    pub exports: Vec<(&'a str, Item)>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(closure: Closure, file: FileId, instance: ComponentInstance) -> Self {
        Frame {
            component: closure.component,
            file,
            foreign: false,
            instance,
            next: 0,
            args: HashMap::new(),
            captures: closure.captures,
            ty: None,
            names: Names::default(),
            modules: Vec::new(),
            components: Vec::new(),
            funcs: Vec::new(),
            instances: Vec::new(),
            core_instances: Vec::new(),
            core_items: Default::default(),
            exports: Vec::new(),
        }
    }

    /// Appends an item to the index space of its kind. Types have none.
    pub(super) fn push(&mut self, item: Item) {
        match item {
            Item::Module(id) => self.modules.push(id),
            Item::Component(id) => self.components.push(id),
            Item::Func(id) => self.funcs.push(id),
            Item::Instance(id) => self.instances.push(id),
            Item::Type(_) => {}
        }
    }

    /// Appends a core item.
    pub(super) fn push_core(&mut self, kind: ExternKind, item: CoreItem) {
        self.core_items[kind as usize].push(item);
    }
}
