//! [`Parsed`] in, [`Linkage`] out: executes definitions in their order, as instantiating the component would.
//!
//! The component instances whose definitions are being executed are a stack of [`Frame`]s; instantiating a component
//! puts one on top. Nothing recurses with the nesting of components. The validator has seen that indices are there and
//! types fit; where something is missing all the same, it is our defect and an error, not a panic.

use std::collections::HashMap;

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::meta::ExternKind;
use precast_abi::types::{FuncType, ValType};
use wasmparser::component_types::{ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId};
use wasmparser::types::TypesRef;

use super::definition::{Capture, ComponentId, CoreItemRef, Definition, ItemRef, ModuleId, Options, Parsed};
use super::items::{Closure, ClosureId, CoreExports, Exports, Frame, Func, Item};
use super::linkage::{
    Canon, CanonFunc, CanonOptions, ComponentExport, ComponentFunc, ComponentInstance, CoreInstance, CoreItem,
    HostFunc, HostFuncDef, Instantiation, Lifted, Resource, ResourceDef,
};
use super::types::{Converter, TypeRows};
use super::{flat, root};
use crate::Error;
use crate::error::Place;

/// How many core instances, component instances there may be.
const MAX_INSTANCES: usize = 10_000;
/// How much work executing may be: definitions, arguments, imports and exports.
const MAX_STEPS: u64 = 10_000_000;

/// What executing gives; see [`super::linkage::Linkage`].
pub(super) struct Executed {
    /// The modules that are instantiated.
    pub modules: Vec<ModuleId>,
    pub instances: PrimaryMap<CoreInstance, Instantiation>,
    pub canon_funcs: PrimaryMap<CanonFunc, Canon>,
    pub component_instances: PrimaryMap<ComponentInstance, Option<ComponentInstance>>,
    pub resources: PrimaryMap<Resource, ResourceDef>,
    pub types: TypeRows,
    pub host_funcs: PrimaryMap<HostFunc, HostFuncDef>,
    pub exports: Vec<ComponentExport>,
}

/// Executes the definitions of a component. `links` is what its root imports of modules and components.
///
/// # Errors
/// [`Error::Unsupported`], [`Error::Limit`], or [`Error::Link`] for an import of a module or component without a link.
pub(super) fn execute<'a>(
    parsed: &Parsed<'a>,
    component: ComponentId,
    links: HashMap<&'a str, Item>,
    closures: Vec<Closure>,
) -> Result<Executed, Error> {
    let mut executor = Executor {
        parsed,
        stack: Vec::new(),
        steps: 0,
        links,
        module_indices: HashMap::new(),
        closures,
        funcs: Vec::new(),
        exports: Vec::new(),
        out: Executed {
            modules: Vec::new(),
            instances: PrimaryMap::new(),
            canon_funcs: PrimaryMap::new(),
            component_instances: PrimaryMap::new(),
            resources: PrimaryMap::new(),
            types: TypeRows::default(),
            host_funcs: PrimaryMap::new(),
            exports: Vec::new(),
        },
    };
    executor.enter(Closure { component, captures: Vec::new() }, 0)?;
    loop {
        let frame = executor.frame()?;
        let number = frame.next;
        frame.next += 1;
        let component = &parsed.components[frame.component];
        if let Some((offset, definition)) = component.definitions.get(number) {
            executor.charge(1, *offset)?;
            executor.define(definition, *offset)?;
        } else if executor.leave()? {
            return Ok(executor.out);
        }
    }
}

/// The state of execution.
pub(super) struct Executor<'p, 'a> {
    pub(super) parsed: &'p Parsed<'a>,
    stack: Vec<Frame<'a>>,
    steps: u64,
    /// Modules and components for the root's imports, by name.
    pub(super) links: HashMap<&'a str, Item>,
    module_indices: HashMap<ModuleId, usize>,
    pub(super) closures: Vec<Closure>,
    pub(super) funcs: Vec<Func>,
    pub(super) exports: Vec<Exports>,
    pub(super) out: Executed,
}

impl<'p, 'a> Executor<'p, 'a> {
    /// The instance whose definitions are being executed.
    pub(super) fn frame(&mut self) -> Result<&mut Frame<'a>, Error> {
        self.stack.last_mut().ok_or_else(|| Error::internal("executing a component", "no instance"))
    }

    /// The types of the file of the instance whose definitions are being executed.
    pub(super) fn types(&mut self) -> Result<TypesRef<'p>, Error> {
        let file = self.frame()?.file;
        let parsed = self.parsed;
        parsed.files.get(file).map(|types| types.as_ref()).ok_or_else(|| missing("file", file, 0))
    }

    /// Converts types for the instance whose definitions are being executed.
    pub(super) fn converter(&mut self, offset: usize) -> Result<Converter<'_>, Error> {
        let types = self.types()?;
        let names = match self.stack.last_mut() {
            Some(frame) => &mut frame.names,
            None => return Err(Error::internal("executing a component", "no instance")),
        };
        Ok(Converter { rows: &mut self.out.types, types, names, offset })
    }

    /// Counts work, so that a small file cannot ask for too much.
    pub(super) fn charge(&mut self, steps: usize, offset: usize) -> Result<(), Error> {
        self.steps += steps as u64;
        limit("the number of definitions to execute", self.steps, MAX_STEPS, offset)
    }

    /// Begins to execute a component's definitions.
    fn enter(&mut self, closure: Closure, offset: usize) -> Result<&mut Frame<'a>, Error> {
        let parent = self.stack.last();
        let file = self.parsed.components[closure.component].file;
        let foreign = parent.is_some_and(|parent| parent.file != file);
        let instance = self.out.component_instances.push(parent.map(|parent| parent.instance));
        let count = self.out.component_instances.len();
        limit("the number of component instances", count as u64, MAX_INSTANCES as u64, offset)?;
        self.stack.push(Frame { foreign, ..Frame::new(closure, file, instance) });
        self.frame()
    }

    /// Ends to execute a component's definitions; whether that was the root.
    fn leave(&mut self) -> Result<bool, Error> {
        let Some(frame) = self.stack.pop() else { return Ok(true) };
        let Some((ty, offset)) = frame.ty else {
            root::export(self, &frame)?;
            return Ok(true);
        };
        let exports = frame.exports.iter().map(|(name, item)| (name.to_string(), *item)).collect();
        let item = self.instance(exports);
        self.bind(&ComponentEntityType::Instance(ty), item, frame.foreign, offset)?;
        self.frame()?.push(item);
        Ok(false)
    }

    /// A new instance with exports.
    pub(super) fn instance(&mut self, exports: Exports) -> Item {
        self.exports.push(exports);
        Item::Instance(self.exports.len() - 1)
    }

    /// A new function.
    pub(super) fn func(&mut self, func: Func) -> Item {
        self.funcs.push(func);
        Item::Func(self.funcs.len() - 1)
    }

    fn define(&mut self, definition: &Definition<'a>, offset: usize) -> Result<(), Error> {
        match definition {
            Definition::Import { name, ty } => {
                let is_root = self.frame()?.ty.is_none();
                let item = if is_root { root::import(self, name, ty, offset)? } else { self.argument(name, offset)? };
                let foreign = self.frame()?.foreign;
                self.bind(ty, item, foreign, offset)?;
                self.frame()?.push(item);
            }
            Definition::Export { name, item, ty } => {
                let item = self.item(*item, offset)?;
                self.bind(ty, item, false, offset)?;
                let frame = self.frame()?;
                frame.push(item);
                frame.exports.push((name, item));
            }
            Definition::Module(id) => self.frame()?.modules.push(*id),
            Definition::Component(component) => self.closure(*component, offset)?,
            Definition::Resource { id, destructor } => {
                let destructor = destructor.map(|index| self.core_item(ExternKind::Func, index, offset)).transpose()?;
                let instance = self.frame()?.instance;
                let resource = self.out.resources.push(ResourceDef::Guest { instance, destructor, exported: None });
                self.frame()?.names.resources.insert(*id, resource);
            }
            Definition::CoreInstantiate { module, args } => self.core_instantiate(*module, args, offset)?,
            Definition::CoreFromExports(items) => {
                self.charge(items.len(), offset)?;
                let items = items.iter().map(|(name, CoreItemRef { kind, index })| {
                    Ok((*name, (*kind, self.core_item(*kind, *index, offset)?)))
                });
                let items = items.collect::<Result<_, Error>>()?;
                self.frame()?.core_instances.push(CoreExports::Items(items));
            }
            Definition::Instantiate { component, args, ty } => self.instantiate(*component, args, *ty, offset)?,
            Definition::FromExports(items) => {
                self.charge(items.len(), offset)?;
                let items = items.iter().map(|(name, item)| Ok((name.to_string(), self.item(*item, offset)?)));
                let exports = items.collect::<Result<_, Error>>()?;
                let item = self.instance(exports);
                self.frame()?.push(item);
            }
            Definition::AliasCoreExport { instance, name, kind } => {
                let item = self.core_export(*instance, name, *kind, offset)?;
                self.frame()?.push_core(*kind, item);
            }
            Definition::AliasExport { instance, name } => {
                let Item::Instance(exports) = self.item(ItemRef::Instance(*instance), offset)? else {
                    return Err(missing("instance", *instance, offset));
                };
                let item = self.exports[exports].get(*name).copied().ok_or_else(|| missing("export", name, offset))?;
                self.frame()?.push(item);
            }
            Definition::AliasLocal(item) => {
                let item = self.item(*item, offset)?;
                self.frame()?.push(item);
            }
            Definition::AliasCapture(index) => {
                let item = self.capture(Capture::Outer(*index), offset)?;
                self.frame()?.push(item);
            }
            Definition::Lift { core, ty, options } => self.lift(*core, *ty, options, offset)?,
            Definition::Lower { func, ty, options } => self.lower(*func, *ty, options, offset)?,
            Definition::ResourceNew(id) => {
                let (resource, instance) = (self.frame()?.names.resource(*id, offset)?, self.frame()?.instance);
                self.canon(Canon::ResourceNew(resource, instance))?;
            }
            Definition::ResourceRep(id) => {
                let (resource, instance) = (self.frame()?.names.resource(*id, offset)?, self.frame()?.instance);
                self.canon(Canon::ResourceRep(resource, instance))?;
            }
            Definition::ResourceDrop(id) => {
                let (resource, instance) = (self.frame()?.names.resource(*id, offset)?, self.frame()?.instance);
                self.canon(Canon::ResourceDrop(resource, instance))?;
            }
            Definition::Unsupported(proposal) => return Err(Error::unsupported(proposal, None, offset)),
        }
        Ok(())
    }

    fn argument(&mut self, name: &str, offset: usize) -> Result<Item, Error> {
        let frame = self.frame()?;
        match frame.args.get(name) {
            Some(item) => Ok(*item),
            None if frame.foreign => {
                Err(Error::Link(format!("a linked component imports `{name}`, which is not there")))
            }
            None => Err(missing("argument", name, offset)),
        }
    }

    fn item(&mut self, item: ItemRef, offset: usize) -> Result<Item, Error> {
        let frame = self.frame()?;
        let (found, index) = match item {
            ItemRef::Module(index) => (frame.modules.get(index as usize).map(|id| Item::Module(*id)), index),
            ItemRef::Component(index) => (frame.components.get(index as usize).map(|id| Item::Component(*id)), index),
            ItemRef::Func(index) => (frame.funcs.get(index as usize).map(|id| Item::Func(*id)), index),
            ItemRef::Instance(index) => (frame.instances.get(index as usize).map(|id| Item::Instance(*id)), index),
            ItemRef::Type(None) => return Ok(Item::Type(None)),
            ItemRef::Type(Some(id)) => return Ok(Item::Type(Some(frame.names.resource(id, offset)?))),
        };
        found.ok_or_else(|| missing("item", index, offset))
    }

    fn core_item(&mut self, kind: ExternKind, index: u32, offset: usize) -> Result<CoreItem, Error> {
        let items = &self.frame()?.core_items[kind as usize];
        items.get(index as usize).copied().ok_or_else(|| missing("core item", index, offset))
    }

    fn capture(&mut self, capture: Capture, offset: usize) -> Result<Item, Error> {
        match capture {
            Capture::Local(item) => self.item(item, offset),
            Capture::Outer(index) => {
                self.frame()?.captures.get(index).copied().ok_or_else(|| missing("capture", index, offset))
            }
        }
    }

    fn closure(&mut self, component: ComponentId, offset: usize) -> Result<(), Error> {
        let captures = &self.parsed.components[component].captures;
        self.charge(captures.len(), offset)?;
        let captures = captures.iter().map(|capture| self.capture(*capture, offset)).collect::<Result<_, Error>>()?;
        self.closures.push(Closure { component, captures });
        let id: ClosureId = self.closures.len() - 1;
        self.frame()?.components.push(id);
        Ok(())
    }

    fn instantiate(
        &mut self,
        component: u32,
        args: &[(&'a str, ItemRef)],
        ty: ComponentInstanceTypeId,
        offset: usize,
    ) -> Result<(), Error> {
        let Item::Component(closure) = self.item(ItemRef::Component(component), offset)? else {
            return Err(missing("component", component, offset));
        };
        let args = args.iter().map(|(name, item)| Ok((*name, self.item(*item, offset)?)));
        let args = args.collect::<Result<HashMap<_, _>, Error>>()?;
        let closure = self.closures[closure].clone();
        self.charge(args.len() + closure.captures.len(), offset)?;
        let frame = self.enter(closure, offset)?;
        frame.args = args;
        frame.ty = Some((ty, offset));
        Ok(())
    }

    fn core_instantiate(&mut self, module: u32, args: &[(&'a str, u32)], offset: usize) -> Result<(), Error> {
        let frame = self.frame()?;
        let id = *frame.modules.get(module as usize).ok_or_else(|| missing("module", module, offset))?;
        let parsed = self.parsed;
        let module = &parsed.modules[id].module;
        if let Some((proposal, offset)) = module.unsupported {
            return Err(Error::unsupported(proposal, None, offset));
        }
        self.charge(module.imports.len(), offset)?;
        let args: HashMap<&str, u32> = args.iter().copied().collect();
        let arguments = module.imports.iter().map(|import| {
            let instance = *args.get(import.module).ok_or_else(|| missing("argument", import.module, offset))?;
            self.core_export(instance, import.name, import.kind, offset)
        });
        let arguments = arguments.collect::<Result<_, Error>>()?;
        let modules = &mut self.out.modules;
        let module = *self.module_indices.entry(id).or_insert_with(|| {
            modules.push(id);
            modules.len() - 1
        });
        let instance = self.out.instances.push(Instantiation { module, arguments });
        limit("the number of core instances", self.out.instances.len() as u64, MAX_INSTANCES as u64, offset)?;
        self.frame()?.core_instances.push(CoreExports::Module(instance, id));
        Ok(())
    }

    /// An export of a core instance: what the module defines, or what it was instantiated with.
    fn core_export(&mut self, instance: u32, name: &str, kind: ExternKind, offset: usize) -> Result<CoreItem, Error> {
        let parsed = self.parsed;
        let absent = || missing("export", name, offset);
        let (instance, id) = match self.frame()?.core_instances.get(instance as usize) {
            Some(CoreExports::Module(instance, id)) => (*instance, *id),
            Some(CoreExports::Items(items)) => {
                return match items.get(name) {
                    Some((found, item)) if *found == kind => Ok(*item),
                    _ => Err(absent()),
                };
            }
            None => return Err(missing("core instance", instance, offset)),
        };
        let module = &parsed.modules[id];
        match module.exports.get(name) {
            Some((found, index)) if *found == kind => match module.module.import_rows(kind).get(*index as usize) {
                Some(import) => Ok(self.out.instances[instance].arguments[*import as usize]),
                None => Ok(CoreItem::Export { instance, index: *index }),
            },
            _ => Err(absent()),
        }
    }

    fn canon(&mut self, canon: Canon) -> Result<(), Error> {
        let func = self.out.canon_funcs.push(canon);
        self.frame()?.push_core(ExternKind::Func, CoreItem::Canon(func));
        Ok(())
    }

    fn lower(&mut self, func: u32, ty: ComponentFuncTypeId, options: &Options, offset: usize) -> Result<(), Error> {
        let Item::Func(id) = self.item(ItemRef::Func(func), offset)? else {
            return Err(missing("function", func, offset));
        };
        let ty = self.converter(offset)?.func(ty)?;
        let types = &self.out.types;
        let core_type = flat::lowered_type(&types.types, &types.func_types[ty]);
        let options = self.canon_options(options, &FuncType::default(), offset)?;
        self.canon(Canon::Lower { func: self.funcs[id].func.clone(), ty, options, core_type })
    }

    fn lift(&mut self, core: u32, ty: ComponentFuncTypeId, options: &Options, offset: usize) -> Result<(), Error> {
        let core = self.core_item(ExternKind::Func, core, offset)?;
        let ty = self.converter(offset)?.func(ty)?;
        let types = &self.out.types;
        let core_type = flat::lifted_type(&types.types, &types.func_types[ty]);
        let options = self.canon_options(options, &core_type, offset)?;
        let func = ComponentFunc::Lifted(Box::new(Lifted { core, core_type, ty, options }));
        let item = self.func(Func { func, ty });
        self.frame()?.push(item);
        Ok(())
    }

    fn canon_options(&mut self, options: &Options, lifted: &FuncType, offset: usize) -> Result<CanonOptions, Error> {
        let mut item = |kind, index: Option<u32>| index.map(|index| self.core_item(kind, index, offset)).transpose();
        let memory = item(ExternKind::Memory, options.memory)?;
        let realloc = item(ExternKind::Func, options.realloc)?;
        let post_return = item(ExternKind::Func, options.post_return)?;
        // It is called with what the lifted function returned.
        let params: Vec<ValType> = lifted.results.clone();
        Ok(CanonOptions {
            instance: self.frame()?.instance,
            encoding: options.encoding,
            memory,
            realloc,
            post_return: post_return.map(|item| (item, FuncType { params, results: Vec::new() })),
        })
    }
}

/// An error for more than there may be.
fn limit(what: &'static str, found: u64, limit: u64, offset: usize) -> Result<(), Error> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::Limit { what, found, limit, place: Place { function: None, offset: offset as u64 } })
}

/// An error for what the validator has seen to be there.
pub(super) fn missing(what: &str, which: impl std::fmt::Display, offset: usize) -> Error {
    Error::internal(format_args!("the definition at offset {offset:#x}"), format_args!("no {what} `{which}`"))
}
