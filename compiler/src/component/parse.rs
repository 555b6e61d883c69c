//! The bytes of a component (or of a module it is linked with) in, [`Parsed`] out. Everything but function bodies is
//! validated here.
//!
//! The validator sees a section before we read it, and tells the types of what the section defines.

use std::collections::HashMap;

use precast_abi::component::StringEncoding;
use precast_abi::meta::ExternKind;
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::types::TypesRef;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType,
    Encoding, ExternalKind, Instance, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

use super::definition::{Capture, Component, CoreItemRef, Definition, ItemRef, Options, Parsed, Root, StaticModule};
use crate::Error;
use crate::error::Place;
use crate::module::{Body, Module};
use crate::parse::proposal;

/// What components are validated with. Async is refused where it is executed, so that other errors come first.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::COMPONENT_MODEL)
    .union(WasmFeatures::CM_FIXED_LENGTH_LISTS)
    .union(WasmFeatures::CM_MAP)
    .union(WasmFeatures::CM_IMPLEMENTS)
    .union(WasmFeatures::CM_ASYNC)
    .union(WasmFeatures::CM_ASYNC_STACKFUL)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
    .union(WasmFeatures::CM_ERROR_CONTEXT)
    .union(WasmFeatures::CM_THREADING);

/// How deep components may lie in each other.
const MAX_NESTING: usize = 100;

/// Reads a file into `parsed`.
///
/// # Errors
/// [`Error::Invalid`] for what is wrong outside function bodies.
pub(super) fn parse<'a>(bytes: &'a [u8], parsed: &mut Parsed<'a>) -> Result<Root, Error> {
    let invalid = |error: wasmparser::Error| Error::invalid(&error, None);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut reader = Reader { parsed, components: Vec::new(), module: None };
    let mut root = None;
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        let before = Counts::of(&validator);
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(to_validate, body) => {
                if let Some(module) = &mut reader.module {
                    module.bodies.push(Body { to_validate, body });
                }
            }
            ValidPayload::End(types) => {
                root = reader.end();
                if reader.is_done() {
                    reader.parsed.files.push(types);
                }
            }
            _ => reader.payload(payload, &validator, before).map_err(invalid)?,
        }
    }
    root.ok_or_else(|| Error::internal("reading a component", "it has no end"))
}

/// Sizes of index spaces of types and instances before a section.
#[derive(Default)]
struct Counts {
    types: u32,
    instances: u32,
}

impl Counts {
    fn of(validator: &Validator) -> Self {
        validator.types(0).map_or_else(Counts::default, |types| Counts {
            types: types.component_type_count(),
            instances: types.component_instance_count(),
        })
    }
}

/// Components that have begun and not ended, and the module that has.
struct Reader<'p, 'a> {
    parsed: &'p mut Parsed<'a>,
    components: Vec<Open<'a>>,
    module: Option<Module<'a>>,
}

/// A component that has begun.
#[derive(Default)]
struct Open<'a> {
    component: Component<'a>,
    captures: HashMap<Capture, usize>,
    offset: usize,
}

impl<'a> Reader<'_, 'a> {
    fn is_done(&self) -> bool {
        self.module.is_none() && self.components.is_empty()
    }

    /// Takes in the end of a module or component.
    fn end(&mut self) -> Option<Root> {
        if let Some(mut module) = self.module.take() {
            module.finish();
            self.parsed.modules.push(StaticModule::new(module));
            let id = self.parsed.modules.len() - 1;
            if let Some(open) = self.components.last_mut() {
                open.component.definitions.push((open.offset, Definition::Module(id)));
            }
            return Some(Root::Module(id));
        }
        let ended = self.components.pop()?;
        self.parsed.components.push(ended.component);
        let id = self.parsed.components.len() - 1;
        if let Some(open) = self.components.last_mut() {
            open.component.definitions.push((ended.offset, Definition::Component(id)));
        }
        Some(Root::Component(id))
    }

    fn define(&mut self, offset: usize, definition: Definition<'a>) {
        if let Some(open) = self.components.last_mut() {
            open.component.definitions.push((offset, definition));
        }
    }

    fn payload(&mut self, payload: Payload<'a>, validator: &Validator, before: Counts) -> wasmparser::Result<()> {
        if let Payload::Version { encoding, range, .. } = &payload {
            match encoding {
                Encoding::Module => self.module = Some(Module::default()),
                Encoding::Component => self.open(range.start),
            }
            return Ok(());
        }
        if let Some(module) = &mut self.module {
            return module.read(payload);
        }
        let Some(types) = validator.types(0) else { return Ok(()) };
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter_with_offsets() {
                    let (offset, import) = import?;
                    let name = import.name.name;
                    if let Some(item) = types.component_item_for_import(name) {
                        self.define(offset, Definition::Import { name, ty: item.ty });
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    let name = export.name.name;
                    let item = item_ref(types, export.kind, export.index);
                    let definition = match (item, types.component_item_for_export(name)) {
                        (Some(item), Some(exported)) => Definition::Export { name, item, ty: exported.ty },
                        _ => Definition::Unsupported(proposal::VALUES),
                    };
                    self.define(offset, definition);
                }
            }
            Payload::ComponentTypeSection(section) => {
                for (index, ty) in (before.types..).zip(section.into_iter_with_offsets()) {
                    let (offset, ty) = ty?;
                    if let (ComponentType::Resource { dtor: destructor, .. }, Some(id)) = (ty, resource(types, index)) {
                        self.define(offset, Definition::Resource { id, destructor });
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.into_iter_with_offsets() {
                    let (offset, instance) = instance?;
                    let definition = match instance {
                        Instance::Instantiate { module_index: module, args } => Definition::CoreInstantiate {
                            module,
                            args: args.iter().map(|arg| (arg.name, arg.index)).collect(),
                        },
                        Instance::FromExports(exports) => core_from_exports(&exports),
                    };
                    self.define(offset, definition);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for (index, instance) in (before.instances..).zip(section.into_iter_with_offsets()) {
                    let (offset, instance) = instance?;
                    self.define(offset, component_instance(types, index, instance));
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.into_iter_with_offsets() {
                    let (offset, alias) = alias?;
                    self.alias(offset, alias);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.into_iter_with_offsets() {
                    let (offset, function) = function?;
                    self.define(offset, canonical(types, function));
                }
            }
            Payload::ComponentStartSection { range, .. } => {
                self.define(range.start, Definition::Unsupported(proposal::VALUES));
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, offset: usize) {
        if self.components.len() >= MAX_NESTING {
            self.parsed.refused.get_or_insert(Error::Limit {
                what: "the depth of components in components",
                found: self.components.len() as u64 + 1,
                limit: MAX_NESTING as u64,
                place: Place { function: None, offset: offset as u64 },
            });
        }
        let component = Component { file: self.parsed.files.len(), ..Component::default() };
        self.components.push(Open { component, offset, ..Open::default() });
    }

    fn alias(&mut self, offset: usize, alias: ComponentAlias<'a>) {
        let definition = match alias {
            // What names a type says its id.
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
            | ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::Type | ComponentOuterAliasKind::CoreType, ..
            } => {
                return;
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Value, .. } => {
                Definition::Unsupported(proposal::VALUES)
            }
            ComponentAlias::InstanceExport { instance_index: instance, name, .. } => {
                Definition::AliasExport { instance, name }
            }
            ComponentAlias::CoreInstanceExport { kind, instance_index: instance, name } => match extern_kind(kind) {
                Some(kind) => Definition::AliasCoreExport { instance, name, kind },
                None => Definition::Unsupported(proposal::EXCEPTIONS),
            },
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
                self.outer(count, ItemRef::Module(index))
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                self.outer(count, ItemRef::Component(index))
            }
        };
        self.define(offset, definition);
    }

    /// An alias of an item of the component `count` levels out: each component between that and this one captures it.
    fn outer(&mut self, count: u32, item: ItemRef) -> Definition<'a> {
        let between = self.components.len().saturating_sub(count as usize);
        if self.parsed.refused.is_some() || count == 0 {
            return Definition::AliasLocal(item);
        }
        let mut capture = Capture::Local(item);
        let mut index = 0;
        for open in &mut self.components[between..] {
            index = *open.captures.entry(capture).or_insert_with(|| {
                open.component.captures.push(capture);
                open.component.captures.len() - 1
            });
            capture = Capture::Outer(index);
        }
        Definition::AliasCapture(index)
    }
}

fn extern_kind(kind: ExternalKind) -> Option<ExternKind> {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => Some(ExternKind::Func),
        ExternalKind::Table => Some(ExternKind::Table),
        ExternalKind::Memory => Some(ExternKind::Memory),
        ExternalKind::Global => Some(ExternKind::Global),
        ExternalKind::Tag => None,
    }
}

/// The resource that a type is.
fn resource(types: TypesRef<'_>, index: u32) -> Option<ResourceId> {
    match types.component_any_type_at(index) {
        ComponentAnyTypeId::Resource(id) => Some(id.resource()),
        _ => None,
    }
}

/// The resource that a type of an instance is.
pub(super) fn resource_of(ty: &ComponentEntityType) -> Option<ResourceId> {
    match ty {
        ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => Some(id.resource()),
        _ => None,
    }
}

/// The item, unless it is a value.
fn item_ref(types: TypesRef<'_>, kind: ComponentExternalKind, index: u32) -> Option<ItemRef> {
    Some(match kind {
        ComponentExternalKind::Module => ItemRef::Module(index),
        ComponentExternalKind::Func => ItemRef::Func(index),
        ComponentExternalKind::Type => ItemRef::Type(resource(types, index)),
        ComponentExternalKind::Instance => ItemRef::Instance(index),
        ComponentExternalKind::Component => ItemRef::Component(index),
        ComponentExternalKind::Value => return None,
    })
}

fn core_from_exports<'a>(exports: &[wasmparser::Export<'a>]) -> Definition<'a> {
    let items = exports
        .iter()
        .map(|export| extern_kind(export.kind).map(|kind| (export.name, CoreItemRef { kind, index: export.index })));
    match items.collect() {
        Some(items) => Definition::CoreFromExports(items),
        None => Definition::Unsupported(proposal::EXCEPTIONS),
    }
}

fn component_instance<'a>(
    types: TypesRef<'_>,
    index: u32,
    instance: wasmparser::ComponentInstance<'a>,
) -> Definition<'a> {
    let definition = match instance {
        wasmparser::ComponentInstance::Instantiate { component_index: component, args } => {
            let args = args.iter().map(|arg| Some((arg.name, item_ref(types, arg.kind, arg.index)?)));
            let ty = types.component_instance_at(index);
            args.collect::<Option<_>>().map(|args| Definition::Instantiate { component, args, ty })
        }
        wasmparser::ComponentInstance::FromExports(exports) => {
            let items = exports.iter().map(|item| Some((item.name.name, item_ref(types, item.kind, item.index)?)));
            items.collect::<Option<_>>().map(Definition::FromExports)
        }
    };
    definition.unwrap_or(Definition::Unsupported(proposal::VALUES))
}

fn canonical<'a>(types: TypesRef<'_>, function: CanonicalFunction) -> Definition<'a> {
    let options = |options: &[CanonicalOption]| canonical_options(options);
    match function {
        CanonicalFunction::Lift { core_func_index: core, type_index, options: list } => {
            match (options(&list), types.component_any_type_at(type_index)) {
                (Ok(options), ComponentAnyTypeId::Func(ty)) => Definition::Lift { core, ty, options },
                (Err(proposal), _) => Definition::Unsupported(proposal),
                // The validator refuses it.
                (_, _) => Definition::Unsupported(proposal::COMPONENTS),
            }
        }
        CanonicalFunction::Lower { func_index: func, options: list } => match options(&list) {
            Ok(options) => Definition::Lower { func, ty: types.component_function_at(func), options },
            Err(proposal) => Definition::Unsupported(proposal),
        },
        CanonicalFunction::ResourceNew { resource: index } => canonical_resource(types, index, Definition::ResourceNew),
        CanonicalFunction::ResourceRep { resource: index } => canonical_resource(types, index, Definition::ResourceRep),
        CanonicalFunction::ResourceDrop { resource: index } => {
            canonical_resource(types, index, Definition::ResourceDrop)
        }
        other => Definition::Unsupported(unsupported_canonical(&other)),
    }
}

fn canonical_resource<'a>(types: TypesRef<'_>, index: u32, make: fn(ResourceId) -> Definition<'a>) -> Definition<'a> {
    resource(types, index).map_or(Definition::Unsupported(proposal::COMPONENTS), make)
}

fn canonical_options(list: &[CanonicalOption]) -> Result<Options, &'static str> {
    let mut options = Options::default();
    for option in list {
        match *option {
            CanonicalOption::UTF8 => options.encoding = StringEncoding::Utf8,
            CanonicalOption::UTF16 => options.encoding = StringEncoding::Utf16,
            CanonicalOption::CompactUTF16 => options.encoding = StringEncoding::Latin1OrUtf16,
            CanonicalOption::Memory(index) => options.memory = Some(index),
            CanonicalOption::Realloc(index) => options.realloc = Some(index),
            CanonicalOption::PostReturn(index) => options.post_return = Some(index),
            CanonicalOption::Async | CanonicalOption::Callback(_) => return Err(proposal::ASYNC_OPTIONS),
            CanonicalOption::CoreType(_) | CanonicalOption::Gc => return Err(proposal::COMPONENT_GC),
        }
    }
    Ok(options)
}

/// The name of what a canonical function belongs to.
fn unsupported_canonical(function: &CanonicalFunction) -> &'static str {
    use CanonicalFunction as F;
    match function {
        F::StreamNew { .. }
        | F::StreamRead { .. }
        | F::StreamWrite { .. }
        | F::StreamCancelRead { .. }
        | F::StreamCancelWrite { .. }
        | F::StreamDropReadable { .. }
        | F::StreamDropWritable { .. } => proposal::ASYNC_STREAMS,
        F::FutureNew { .. }
        | F::FutureRead { .. }
        | F::FutureWrite { .. }
        | F::FutureCancelRead { .. }
        | F::FutureCancelWrite { .. }
        | F::FutureDropReadable { .. }
        | F::FutureDropWritable { .. } => proposal::ASYNC_FUTURES,
        F::ErrorContextNew { .. } | F::ErrorContextDebugMessage { .. } | F::ErrorContextDrop => {
            proposal::ASYNC_ERROR_CONTEXTS
        }
        F::ThreadSpawnRef { .. }
        | F::ThreadSpawnIndirect { .. }
        | F::ThreadAvailableParallelism
        | F::ThreadIndex
        | F::ThreadNewIndirect { .. }
        | F::ThreadResumeLater
        | F::ThreadSuspend { .. }
        | F::ThreadSuspendThenResume { .. }
        | F::ThreadYieldThenResume { .. }
        | F::ThreadSuspendThenPromote { .. }
        | F::ThreadYieldThenPromote { .. } => proposal::ASYNC_THREADS,
        _ => proposal::ASYNC_TASKS,
    }
}
