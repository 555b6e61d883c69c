//! [`Component`] in, [`Linkage`] out: the definitions are executed in order, as instantiating would, and what is left is
//! core instances, the functions between them, and what the root imports and exports.
//!
//! Types are the one thing that is not simply looked up. A component's function types mention resources by ids that the
//! validator made for that component alone; which resource of run time an id stands for is known once the things that
//! have it are: each import of an instance, each instance it makes, each resource it defines.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::meta::ExternKind;
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentInstanceTypeId, ResourceId};
use wasmparser::types::Types;
use wasmparser::{ComponentExternalKind, ComponentOuterAliasKind};

use super::convert::Interned;
use super::linkage::{
    Canon, CanonFunc, CanonOptions, ComponentExport, ComponentFunc, ComponentInstance, CoreInstance, CoreItem, HostFuncDef,
    Instantiation, Lifted, Linkage, Resource, ResourceDef,
};
use super::parse::{self, Component, Definition, Options, Parsed, ResourceFunc, Sort};
use crate::Error;
use crate::error::Place;
use crate::module::Module;

/// Component instances that a program may have.
const MAX_INSTANCES: usize = 10_000;

/// Executes the component in `bytes`. `links` are files for core modules and components that the root imports.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Unsupported`] as for modules; [`Error::Option`] if the root imports a core module or
/// component that is not linked, or what is linked does not fit.
pub(crate) fn link<'a>(bytes: &'a [u8], links: &'a [(String, Vec<u8>)]) -> Result<Linkage<'a>, Error> {
    let mut modules = Modules::default();
    let (root, types) = modules.add(bytes)?;
    let mut linked = HashMap::new();
    for (name, file) in links {
        linked.insert(name.as_str(), modules.link(name, file)?);
    }
    let mut executor = Executor {
        exports_of: modules.modules.iter().map(exports_of).collect(),
        modules: &modules.modules,
        linked,
        instances: PrimaryMap::new(),
        canon_funcs: PrimaryMap::new(),
        component_instances: PrimaryMap::new(),
        resources: PrimaryMap::new(),
        interned: Interned::default(),
        host_funcs: PrimaryMap::new(),
    };
    let root = Closure { component: root, types, outer: None };
    let exports = executor.instantiate(&root, None, None)?;
    let exports = executor.root_exports(&exports);
    let Executor { mut instances, canon_funcs, component_instances, resources, interned, host_funcs, .. } = executor;
    // Modules that are never instantiated have been parsed, so all that is left is to look at their bodies.
    let used: std::collections::BTreeSet<usize> = instances.values().map(|instance| instance.module).collect();
    let mut kept = Vec::with_capacity(used.len());
    for (number, module) in modules.modules.into_iter().enumerate() {
        if used.contains(&number) {
            kept.push(module);
        } else {
            crate::parse::validate_bodies(&module)?;
        }
    }
    for instance in instances.values_mut() {
        instance.module = used.range(..instance.module).count();
    }
    let Interned { types, func_types, .. } = interned;
    Ok(Linkage {
        modules: kept,
        instances,
        canon_funcs,
        component_instances,
        resources,
        types,
        func_types,
        host_funcs,
        exports,
    })
}

/// The core modules of all files.
#[derive(Default)]
struct Modules<'a> {
    modules: Vec<Module<'a>>,
}

impl<'a> Modules<'a> {
    /// Parses a component; its core modules follow those that are there.
    fn add(&mut self, bytes: &'a [u8]) -> Result<(Rc<Component<'a>>, Rc<FileTypes>), Error> {
        let Parsed { root, modules, types } = parse::parse(bytes)?;
        let first = self.modules.len();
        self.modules.extend(modules);
        Ok((root, Rc::new(FileTypes { types, first_module: first })))
    }

    fn link(&mut self, name: &str, bytes: &'a [u8]) -> Result<LinkedItem<'a>, Error> {
        let in_file = |error: Error| match error {
            Error::Invalid { message, place } => Error::Option(format!("the link `{name}` is invalid: {message} ({place})")),
            other => other,
        };
        if super::is_component(bytes) {
            let (component, types) = self.add(bytes).map_err(in_file)?;
            return Ok(LinkedItem::Component(Closure { component, types, outer: None }));
        }
        let module = crate::parse::parse(bytes).map_err(in_file)?;
        self.modules.push(module);
        Ok(LinkedItem::Module(self.modules.len() - 1))
    }
}

/// The types of a file, and where its modules begin among all.
struct FileTypes {
    types: Types,
    first_module: usize,
}

#[derive(Clone)]
enum LinkedItem<'a> {
    Module(usize),
    Component(Closure<'a>),
}

/// A component with what encloses it.
#[derive(Clone)]
struct Closure<'a> {
    component: Rc<Component<'a>>,
    types: Rc<FileTypes>,
    outer: Option<Rc<Scope<'a>>>,
}

/// What nested components may refer to of an instance.
struct Scope<'a> {
    modules: RefCell<Vec<usize>>,
    components: RefCell<Vec<Closure<'a>>>,
    outer: Option<Rc<Scope<'a>>>,
}

impl<'a> Scope<'a> {
    /// The scope `count` levels out.
    fn at(self: &Rc<Self>, count: u32) -> Option<Rc<Scope<'a>>> {
        let mut scope = Rc::clone(self);
        for _ in 0..count {
            scope = scope.outer.clone()?;
        }
        Some(scope)
    }
}

/// A thing of a component at run time.
#[derive(Clone)]
enum Item<'a> {
    Module(usize),
    Func(ComponentFunc),
    Type(Option<Resource>),
    Instance(Rc<InstanceItem<'a>>),
    Component(Closure<'a>),
}

/// What a component instance exports, in order.
#[derive(Default)]
struct InstanceItem<'a> {
    exports: Vec<(String, Item<'a>)>,
    by_name: HashMap<String, usize>,
}

impl<'a> InstanceItem<'a> {
    fn insert(&mut self, name: &str, item: Item<'a>) {
        self.by_name.insert(name.into(), self.exports.len());
        self.exports.push((name.into(), item));
    }

    fn get(&self, name: &str) -> Option<&Item<'a>> {
        self.by_name.get(name).map(|at| &self.exports[*at].1)
    }
}

/// A core instance at run time.
#[derive(Clone)]
enum CoreInstanceItem<'a> {
    Instance(CoreInstance, usize),
    Exports(Rc<HashMap<&'a str, (ExternKind, CoreItem)>>),
}

/// An instance of a component while its definitions are executed: its index spaces.
struct Frame<'a> {
    instance: ComponentInstance,
    types: Rc<FileTypes>,
    scope: Rc<Scope<'a>>,
    core_funcs: Vec<CoreItem>,
    core_tables: Vec<CoreItem>,
    core_memories: Vec<CoreItem>,
    core_globals: Vec<CoreItem>,
    core_instances: Vec<CoreInstanceItem<'a>>,
    funcs: Vec<ComponentFunc>,
    instances: Vec<Rc<InstanceItem<'a>>>,
    component_types: Vec<Option<Resource>>,
    resources: HashMap<ResourceId, Resource>,
    exports: InstanceItem<'a>,
}

impl<'a> Frame<'a> {
    fn core_space(&mut self, kind: ExternKind) -> &mut Vec<CoreItem> {
        match kind {
            ExternKind::Func => &mut self.core_funcs,
            ExternKind::Table => &mut self.core_tables,
            ExternKind::Memory => &mut self.core_memories,
            ExternKind::Global => &mut self.core_globals,
        }
    }

    /// The next index of the item's kind is the item.
    fn define(&mut self, item: Item<'a>) {
        match item {
            Item::Module(module) => self.scope.modules.borrow_mut().push(module),
            Item::Func(func) => self.funcs.push(func),
            Item::Type(resource) => self.component_types.push(resource),
            Item::Instance(instance) => self.instances.push(instance),
            Item::Component(component) => self.scope.components.borrow_mut().push(component),
        }
    }

    fn item(&self, (kind, index): Sort) -> Result<Item<'a>, Error> {
        let at = index as usize;
        let item = match kind {
            ComponentExternalKind::Module => self.scope.modules.borrow().get(at).copied().map(Item::Module),
            ComponentExternalKind::Func => self.funcs.get(at).cloned().map(Item::Func),
            ComponentExternalKind::Type => self.component_types.get(at).copied().map(Item::Type),
            ComponentExternalKind::Instance => self.instances.get(at).cloned().map(Item::Instance),
            ComponentExternalKind::Component => self.scope.components.borrow().get(at).cloned().map(Item::Component),
            ComponentExternalKind::Value => None,
        };
        item.ok_or_else(|| lost("an index"))
    }
}

fn lost(what: &str) -> Error {
    Error::internal("components", format_args!("{what} leads nowhere"))
}

type ExportsOfModule<'a> = HashMap<(&'a str, u32), u32>;

fn exports_of<'a>(module: &Module<'a>) -> ExportsOfModule<'a> {
    module.exports.iter().map(|export| ((export.name, export.kind as u32), export.index)).collect()
}

struct Executor<'a, 'm> {
    modules: &'m [Module<'a>],
    /// For each module, the index of an export by name and kind.
    exports_of: Vec<ExportsOfModule<'a>>,
    linked: HashMap<&'a str, LinkedItem<'a>>,
    instances: PrimaryMap<CoreInstance, Instantiation>,
    canon_funcs: PrimaryMap<CanonFunc, Canon>,
    component_instances: PrimaryMap<ComponentInstance, Option<ComponentInstance>>,
    resources: PrimaryMap<Resource, ResourceDef>,
    interned: Interned,
    host_funcs: PrimaryMap<super::linkage::HostFunc, HostFuncDef>,
}

impl<'a> Executor<'a, '_> {
    /// Executes the definitions of a component, with arguments for its imports; the root has none.
    fn instantiate(
        &mut self,
        closure: &Closure<'a>,
        arguments: Option<&HashMap<&str, Item<'a>>>,
        parent: Option<ComponentInstance>,
    ) -> Result<InstanceItem<'a>, Error> {
        if self.component_instances.len() >= MAX_INSTANCES {
            let (what, limit) = ("number of component instances", MAX_INSTANCES as u64);
            return Err(Error::Limit { what, found: limit + 1, limit, place: Place::default() });
        }
        let scope = Scope { modules: RefCell::default(), components: RefCell::default(), outer: closure.outer.clone() };
        let mut frame = Frame {
            instance: self.component_instances.push(parent),
            types: Rc::clone(&closure.types),
            scope: Rc::new(scope),
            core_funcs: Vec::new(),
            core_tables: Vec::new(),
            core_memories: Vec::new(),
            core_globals: Vec::new(),
            core_instances: Vec::new(),
            funcs: Vec::new(),
            instances: Vec::new(),
            component_types: Vec::new(),
            resources: HashMap::new(),
            exports: InstanceItem::default(),
        };
        self.interned.forget_ids();
        for definition in &closure.component.definitions {
            self.execute(&mut frame, definition, arguments)?;
        }
        self.interned.forget_ids();
        Ok(frame.exports)
    }

    fn execute(
        &mut self,
        frame: &mut Frame<'a>,
        definition: &Definition<'a>,
        arguments: Option<&HashMap<&str, Item<'a>>>,
    ) -> Result<(), Error> {
        match definition {
            Definition::CoreModule(module) => frame.define(Item::Module(frame.types.first_module + module)),
            Definition::Component(component) => {
                let (component, types) = (Rc::clone(component), Rc::clone(&frame.types));
                frame.define(Item::Component(Closure { component, types, outer: Some(Rc::clone(&frame.scope)) }));
            }
            Definition::CoreInstantiate(module, arguments) => self.core_instantiate(frame, *module, arguments)?,
            Definition::CoreExports(exports) => {
                let mut items = HashMap::new();
                for (name, kind, index) in exports {
                    let item = frame.core_space(*kind).get(*index as usize).copied().ok_or_else(|| lost("an index"))?;
                    items.insert(*name, (*kind, item));
                }
                frame.core_instances.push(CoreInstanceItem::Exports(Rc::new(items)));
            }
            Definition::Instantiate(component, arguments, ty) => {
                let Item::Component(closure) = frame.item((ComponentExternalKind::Component, *component))? else {
                    return Err(lost("a component"));
                };
                let mut items = HashMap::new();
                for (name, sort) in arguments {
                    items.insert(*name, frame.item(*sort)?);
                }
                let exports = self.instantiate(&closure, Some(&items), Some(frame.instance))?;
                self.define_instance(frame, exports, *ty);
            }
            Definition::Exports(exports, ty) => {
                let mut instance = InstanceItem::default();
                for (name, sort) in exports {
                    instance.insert(name, frame.item(*sort)?);
                }
                self.define_instance(frame, instance, *ty);
            }
            Definition::AliasExport(_, instance, name) => {
                let instance = frame.instances.get(*instance as usize).ok_or_else(|| lost("an instance"))?;
                let item = instance.get(name).cloned().ok_or_else(|| lost("an export"))?;
                frame.define(item);
            }
            Definition::AliasCoreExport(kind, instance, name) => {
                let instance = frame.core_instances.get(*instance as usize).ok_or_else(|| lost("an instance"))?;
                let item = self.core_export(instance, name, *kind).ok_or_else(|| lost("an export"))?;
                frame.core_space(*kind).push(item);
            }
            Definition::AliasOuter(kind, count, index) => {
                let scope = frame.scope.at(*count).ok_or_else(|| lost("an enclosing component"))?;
                let at = *index as usize;
                let item = match kind {
                    ComponentOuterAliasKind::CoreModule => scope.modules.borrow().get(at).copied().map(Item::Module),
                    ComponentOuterAliasKind::Component => {
                        scope.components.borrow().get(at).cloned().map(Item::Component)
                    }
                    // A type of the same component may be a resource; those of others may not.
                    ComponentOuterAliasKind::Type if *count == 0 => {
                        frame.component_types.get(at).copied().map(Item::Type)
                    }
                    ComponentOuterAliasKind::Type => Some(Item::Type(None)),
                    ComponentOuterAliasKind::CoreType => return Ok(()),
                };
                frame.define(item.ok_or_else(|| lost("an enclosing component's definition"))?);
            }
            Definition::Lift { core, core_type, ty, options } => {
                let lifted = Lifted {
                    core: *frame.core_funcs.get(*core as usize).ok_or_else(|| lost("a core function"))?,
                    core_type: core_type.clone(),
                    ty: self.interned.func(&frame.types.types, &frame.resources, *ty)?,
                    options: self.options(frame, options)?,
                };
                frame.define(Item::Func(ComponentFunc::Lifted(Box::new(lifted))));
            }
            Definition::Lower { func, core_type, ty, options } => {
                let canon = Canon::Lower {
                    func: frame.funcs.get(*func as usize).cloned().ok_or_else(|| lost("a function"))?,
                    ty: self.interned.func(&frame.types.types, &frame.resources, *ty)?,
                    options: self.options(frame, options)?,
                    core_type: core_type.clone(),
                };
                self.define_canon(frame, canon);
            }
            Definition::Resource(func, ty) => {
                let resource = frame.component_types.get(*ty as usize).copied().flatten();
                let resource = resource.ok_or_else(|| lost("a resource"))?;
                let canon = match func {
                    ResourceFunc::New => Canon::ResourceNew(resource, frame.instance),
                    ResourceFunc::Rep => Canon::ResourceRep(resource, frame.instance),
                    ResourceFunc::Drop => Canon::ResourceDrop(resource, frame.instance),
                };
                self.define_canon(frame, canon);
            }
            Definition::Type => frame.define(Item::Type(None)),
            Definition::DefineResource(id, destructor) => {
                let destructor = match destructor {
                    Some(func) => Some(*frame.core_funcs.get(*func as usize).ok_or_else(|| lost("a destructor"))?),
                    None => None,
                };
                let instance = frame.instance;
                let resource = self.resources.push(ResourceDef::Guest { instance, destructor, exported: None });
                frame.resources.insert(*id, resource);
                frame.define(Item::Type(Some(resource)));
            }
            Definition::Import(name, ty) => {
                let item = match arguments {
                    Some(arguments) => {
                        let item = arguments.get(name).cloned();
                        item.ok_or_else(|| Error::Option(format!("a linked component has no argument for `{name}`")))?
                    }
                    None => self.root_import(frame, name, ty)?,
                };
                bind(&frame.types.types, &mut frame.resources, ty, &item);
                frame.define(item);
            }
            Definition::Export(name, sort, ty) => {
                let item = frame.item(*sort)?;
                if let Some(ty) = ty {
                    bind(&frame.types.types, &mut frame.resources, ty, &item);
                }
                frame.exports.insert(name, item.clone());
                frame.define(item);
            }
        }
        Ok(())
    }

    fn define_instance(&mut self, frame: &mut Frame<'a>, instance: InstanceItem<'a>, ty: ComponentInstanceTypeId) {
        let item = Item::Instance(Rc::new(instance));
        bind(&frame.types.types, &mut frame.resources, &ComponentEntityType::Instance(ty), &item);
        self.interned.forget_ids();
        frame.define(item);
    }

    fn define_canon(&mut self, frame: &mut Frame<'a>, canon: Canon) {
        let func = self.canon_funcs.push(canon);
        frame.core_funcs.push(CoreItem::Canon(func));
    }

    fn options(&self, frame: &Frame<'a>, options: &Options) -> Result<CanonOptions, Error> {
        let func = |index: u32| frame.core_funcs.get(index as usize).copied().ok_or_else(|| lost("a core function"));
        Ok(CanonOptions {
            instance: frame.instance,
            encoding: options.encoding,
            memory: match options.memory {
                Some(memory) => Some(*frame.core_memories.get(memory as usize).ok_or_else(|| lost("a memory"))?),
                None => None,
            },
            realloc: options.realloc.map(func).transpose()?,
            post_return: match &options.post_return {
                Some((index, ty)) => Some((func(*index)?, ty.clone())),
                None => None,
            },
        })
    }

    fn core_export(&self, instance: &CoreInstanceItem<'a>, name: &str, kind: ExternKind) -> Option<CoreItem> {
        match instance {
            CoreInstanceItem::Instance(instance, module) => {
                let index = *self.exports_of[*module].get(&(name, kind as u32))?;
                Some(CoreItem::Export { instance: *instance, index })
            }
            CoreInstanceItem::Exports(items) => {
                items.get(name).filter(|(found, _)| *found == kind).map(|(_, item)| *item)
            }
        }
    }

    fn core_instantiate(
        &mut self,
        frame: &mut Frame<'a>,
        module: u32,
        arguments: &[(&'a str, u32)],
    ) -> Result<(), Error> {
        if self.instances.len() >= MAX_INSTANCES {
            let (what, limit) = ("number of core instances", MAX_INSTANCES as u64);
            return Err(Error::Limit { what, found: limit + 1, limit, place: Place::default() });
        }
        let Item::Module(module) = frame.item((ComponentExternalKind::Module, module))? else {
            return Err(lost("a module"));
        };
        let arguments: HashMap<&str, u32> = arguments.iter().copied().collect();
        let mut items = Vec::new();
        for import in &self.modules[module].imports {
            let item = arguments
                .get(import.module)
                .and_then(|instance| frame.core_instances.get(*instance as usize))
                .and_then(|instance| self.core_export(instance, import.name, import.kind));
            items.push(item.ok_or_else(|| {
                Error::Option(format!(
                    "a linked module imports {} {:?} {:?}, which it is not given",
                    import.kind.name(),
                    import.module,
                    import.name
                ))
            })?);
        }
        let owner = frame.instance;
        let instance = self.instances.push(Instantiation { module, arguments: items, owner });
        frame.core_instances.push(CoreInstanceItem::Instance(instance, module));
        Ok(())
    }

    /// What the root imports is the host's, or linked.
    fn root_import(&mut self, frame: &mut Frame<'a>, name: &str, ty: &ComponentEntityType) -> Result<Item<'a>, Error> {
        match ty {
            ComponentEntityType::Func(_) | ComponentEntityType::Type { .. } => self.host_item(frame, "", name, ty),
            ComponentEntityType::Instance(_) => self.host_item(frame, name, "", ty),
            ComponentEntityType::Module(_) | ComponentEntityType::Component(_) => {
                self.linked.get(name).map(LinkedItem::item).ok_or_else(|| refuse(name, ty))
            }
            ComponentEntityType::Value(_) => Err(Error::unsupported("component model values", None, 0)),
        }
    }

    /// What the host gives for the thing `name` of an interface.
    fn host_item(
        &mut self,
        frame: &mut Frame<'a>,
        interface: &str,
        name: &str,
        ty: &ComponentEntityType,
    ) -> Result<Item<'a>, Error> {
        let types = Rc::clone(&frame.types);
        Ok(match ty {
            ComponentEntityType::Func(ty) => {
                let ty = self.interned.func(&types.types, &frame.resources, *ty)?;
                let def = HostFuncDef { interface: interface.into(), name: name.into(), ty };
                Item::Func(ComponentFunc::Host(self.host_funcs.push(def)))
            }
            ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => {
                let id = id.resource();
                let resource = *frame.resources.entry(id).or_insert_with(|| {
                    self.resources.push(ResourceDef::Host { interface: interface.into(), name: name.into() })
                });
                Item::Type(Some(resource))
            }
            ComponentEntityType::Type { .. } => Item::Type(None),
            ComponentEntityType::Instance(ty) => {
                let interface = if name.is_empty() { interface.to_owned() } else { format!("{interface}/{name}") };
                let mut instance = InstanceItem::default();
                for (name, item) in &types.types[*ty].exports {
                    // The root of the interface has its own name; what is in it has a name each.
                    let given = match item.ty {
                        ComponentEntityType::Module(_) | ComponentEntityType::Component(_) => {
                            let path = format!("{interface}/{name}");
                            let linked = self.linked.get(path.as_str()).map(LinkedItem::item);
                            linked.ok_or_else(|| refuse(&path, &item.ty))?
                        }
                        _ => self.host_item(frame, &interface, name, &item.ty)?,
                    };
                    bind(&types.types, &mut frame.resources, &item.ty, &given);
                    instance.insert(name, given);
                }
                Item::Instance(Rc::new(instance))
            }
            ComponentEntityType::Module(_) | ComponentEntityType::Component(_) => return Err(refuse(name, ty)),
            ComponentEntityType::Value(_) => return Err(Error::unsupported("component model values", None, 0)),
        })
    }

    /// The functions that the root exports.
    fn root_exports(&mut self, root: &InstanceItem<'a>) -> Vec<ComponentExport> {
        let mut exports = Vec::new();
        self.collect(root, "", &mut exports);
        exports.sort_by(|left: &ComponentExport, right| {
            (left.interface.as_bytes(), left.name.as_bytes()).cmp(&(right.interface.as_bytes(), right.name.as_bytes()))
        });
        exports
    }

    fn collect(&mut self, instance: &InstanceItem<'a>, interface: &str, exports: &mut Vec<ComponentExport>) {
        for (name, item) in &instance.exports {
            match item {
                Item::Func(func) => {
                    let ty = match func {
                        ComponentFunc::Lifted(lifted) => lifted.ty,
                        ComponentFunc::Host(host) => self.host_funcs[*host].ty,
                    };
                    let (interface, name) = (interface.into(), name.clone());
                    exports.push(ComponentExport { interface, name, func: func.clone(), ty });
                }
                Item::Type(Some(resource)) => {
                    if let ResourceDef::Guest { exported, .. } = &mut self.resources[*resource] {
                        exported.get_or_insert_with(|| (interface.into(), name.clone()));
                    }
                }
                Item::Instance(inner) => {
                    let path = if interface.is_empty() { name.clone() } else { format!("{interface}/{name}") };
                    self.collect(inner, &path, exports);
                }
                Item::Type(None) | Item::Module(_) | Item::Component(_) => {}
            }
        }
    }
}

impl<'a> LinkedItem<'a> {
    fn item(&self) -> Item<'a> {
        match self {
            LinkedItem::Module(module) => Item::Module(*module),
            LinkedItem::Component(closure) => Item::Component(closure.clone()),
        }
    }
}

fn refuse(name: &str, ty: &ComponentEntityType) -> Error {
    let what = if matches!(ty, ComponentEntityType::Module(_)) { "core module" } else { "component" };
    Error::Option(format!("the component imports the {what} `{name}`: name a file for it (--link {name}=FILE)"))
}

/// Notes which resources of run time a type's ids stand for, now that there is something of the type.
fn bind(
    types: &Types,
    resources: &mut HashMap<ResourceId, Resource>,
    ty: &ComponentEntityType,
    item: &Item<'_>,
) {
    match (ty, item) {
        (ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. }, Item::Type(Some(resource))) => {
            resources.insert(id.resource(), *resource);
        }
        (ComponentEntityType::Instance(ty), Item::Instance(instance)) => {
            for (name, export) in &types[*ty].exports {
                if let Some(item) = instance.get(name) {
                    bind(types, resources, &export.ty, item);
                }
            }
        }
        _ => {}
    }
}
