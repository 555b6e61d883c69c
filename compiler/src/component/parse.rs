//! Bytes in, [`Component`] out: its definitions in order, validated, with the types that the validator gave them.
//!
//! Index spaces are not resolved here: a definition refers to others by index, as in the binary, since what an index
//! means depends on the instantiation.

use std::rc::Rc;

use precast_abi::types::{FuncType, ValType};
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId, ResourceId,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, Encoding,
    ExternalKind, Instance, Parser, Payload, PrimitiveValType, ValidPayload, Validator, WasmFeatures,
};

use crate::Error;
use crate::module::{Body, Module};
use crate::parse::val_type_of;
use precast_abi::component::StringEncoding;
use precast_abi::meta::ExternKind;

/// What components may use, valid or not compiled yet.
pub(super) fn features() -> WasmFeatures {
    let components = WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_FIXED_LENGTH_LISTS
        | WasmFeatures::CM_MAP
        | WasmFeatures::CM_IMPLEMENTS;
    WasmFeatures::WASM3 | components
}

/// A component's definitions.
pub(super) struct Component<'a> {
    pub(super) definitions: Vec<Definition<'a>>,
}

/// Kind and index of a thing in a component's index spaces.
pub(super) type Sort = (ComponentExternalKind, u32);

/// One definition. Each adds to an index space what its name says.
pub(super) enum Definition<'a> {
    /// A core module: its position in [`Parsed::modules`].
    CoreModule(usize),
    /// A component.
    Component(Rc<Component<'a>>),
    /// A core instance, of a module, with core instances as arguments.
    CoreInstantiate(u32, Vec<(&'a str, u32)>),
    /// A core instance, of things that are there.
    CoreExports(Vec<(&'a str, ExternKind, u32)>),
    /// A component instance, of a component, with arguments; and its type.
    Instantiate(u32, Vec<(&'a str, Sort)>, ComponentInstanceTypeId),
    /// A component instance, of things that are there; and its type.
    Exports(Vec<(&'a str, Sort)>, ComponentInstanceTypeId),
    /// What a component instance exports.
    AliasExport(ComponentExternalKind, u32, &'a str),
    /// What a core instance exports.
    AliasCoreExport(ExternKind, u32, &'a str),
    /// A core module, component or type of an enclosing component.
    AliasOuter(ComponentOuterAliasKind, u32, u32),
    /// A function.
    Lift { core: u32, core_type: FuncType, ty: ComponentFuncTypeId, options: Options },
    /// A core function.
    Lower { func: u32, core_type: FuncType, ty: ComponentFuncTypeId, options: Options },
    /// A core function on a resource, by the index of its type.
    Resource(ResourceFunc, u32),
    /// A type that is no resource.
    Type,
    /// A resource, with its destructor.
    DefineResource(ResourceId, Option<u32>),
    /// An import.
    Import(&'a str, ComponentEntityType),
    /// An export, which is a thing of its own; and its type.
    Export(&'a str, Sort, Option<ComponentEntityType>),
}

/// What is done with a resource.
#[derive(Clone, Copy)]
pub(super) enum ResourceFunc {
    New,
    Rep,
    Drop,
}

/// Options of the Canonical ABI, by index.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) encoding: StringEncoding,
    pub(super) memory: Option<u32>,
    pub(super) realloc: Option<u32>,
    pub(super) post_return: Option<(u32, FuncType)>,
}

/// A file: the component and the core modules in it, wherever they are nested.
pub(super) struct Parsed<'a> {
    pub(super) root: Rc<Component<'a>>,
    pub(super) modules: Vec<Module<'a>>,
    pub(super) types: Types,
}

enum Level<'a> {
    Component(Vec<Definition<'a>>),
    Module(Box<Module<'a>>),
}

/// Reads a component.
///
/// # Errors
/// [`Error::Invalid`] for what is wrong outside function bodies; [`Error::Unsupported`] for what is valid but not
/// compiled yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Error> {
    let mut reader = Reader { levels: Vec::new(), modules: Vec::new(), unsupported: None };
    let mut validator = Validator::new_with_features(features());
    let mut parser = Parser::new(0);
    parser.set_features(features());
    let mut end = None;
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(to_validate, body) => {
                if let Some(Level::Module(module)) = reader.levels.last_mut() {
                    module.bodies.push(Body { to_validate, body });
                }
            }
            ValidPayload::End(types) => end = Some(types),
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
        reader.payload(payload, &validator)?;
    }
    let (Some(types), Some(Level::Component(definitions))) = (end, reader.levels.pop()) else {
        return Err(Error::internal("parse", "a component that does not end"));
    };
    if let Some((what, offset)) = reader.unsupported {
        reader.modules.iter().try_for_each(crate::parse::validate_bodies)?;
        return Err(Error::unsupported(what, None, offset));
    }
    Ok(Parsed { root: Rc::new(Component { definitions }), modules: reader.modules, types })
}

fn invalid(error: wasmparser::Error) -> Error {
    Error::invalid(&error, None)
}

struct Reader<'a> {
    levels: Vec<Level<'a>>,
    modules: Vec<Module<'a>>,
    unsupported: Option<(&'static str, usize)>,
}

impl<'a> Reader<'a> {
    fn unsupported(&mut self, what: &'static str, offset: usize) {
        self.unsupported.get_or_insert((what, offset));
    }

    fn define(&mut self, definition: Definition<'a>) {
        if let Some(Level::Component(definitions)) = self.levels.last_mut() {
            definitions.push(definition);
        }
    }

    fn payload(&mut self, payload: Payload<'a>, validator: &Validator) -> Result<(), Error> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => self.levels.push(Level::Component(Vec::new())),
            Payload::Version { encoding: Encoding::Module, .. } => self.levels.push(Level::Module(Box::default())),
            Payload::End(_) => self.end(),
            payload => match self.levels.last_mut() {
                Some(Level::Module(module)) => module.read(payload).map_err(invalid)?,
                _ => {
                    if let Some(types) = validator.types(0) {
                        self.section(payload, types).map_err(invalid)?;
                    }
                }
            },
        }
        Ok(())
    }

    /// A nested module or component ends; the root's end is left to [`parse`].
    fn end(&mut self) {
        if self.levels.len() < 2 {
            return;
        }
        match self.levels.pop() {
            Some(Level::Module(mut module)) => {
                module.finish();
                self.modules.push(*module);
                self.define(Definition::CoreModule(self.modules.len() - 1));
            }
            Some(Level::Component(definitions)) => {
                self.define(Definition::Component(Rc::new(Component { definitions })));
            }
            None => {}
        }
    }

    fn section(&mut self, payload: Payload<'a>, types: TypesRef<'_>) -> wasmparser::Result<()> {
        // The validator has seen the whole section, so indices of what a section adds are counted from its end.
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.core_instance(instance?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                let first = types.component_instance_count() - section.count();
                for (index, instance) in (first..).zip(section) {
                    let ty = types.component_instance_at(index);
                    let definition = match instance? {
                        wasmparser::ComponentInstance::Instantiate { component_index, args } => {
                            let args = args.iter().map(|arg| (arg.name, (arg.kind, arg.index))).collect();
                            Definition::Instantiate(component_index, args, ty)
                        }
                        wasmparser::ComponentInstance::FromExports(exports) => {
                            let exports = exports.iter().map(|export| (export.name.name, (export.kind, export.index)));
                            Definition::Exports(exports.collect(), ty)
                        }
                    };
                    self.define(definition);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.into_iter_with_offsets() {
                    let (offset, alias) = alias?;
                    self.alias(alias, offset);
                }
            }
            Payload::ComponentTypeSection(section) => {
                let first = types.component_type_count() - section.count();
                for (index, ty) in (first..).zip(section.into_iter_with_offsets()) {
                    let (offset, ty) = ty?;
                    self.ty(&ty, types.component_any_type_at(index), types, offset);
                }
            }
            Payload::ComponentCanonicalSection(section) => self.canons(section, types)?,
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter_with_offsets() {
                    let (offset, import) = import?;
                    if let Some(item) = types.component_item_for_import(import.name.name) {
                        if matches!(item.ty, ComponentEntityType::Value(_)) {
                            self.unsupported("component model values", offset);
                        }
                        self.define(Definition::Import(import.name.name, item.ty));
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    let ty = types.component_item_for_export(export.name.name).map(|item| item.ty);
                    self.define(Definition::Export(export.name.name, (export.kind, export.index), ty));
                }
            }
            Payload::ComponentStartSection { range, .. } => self.unsupported("component model start functions", range.start),
            _ => {}
        }
        Ok(())
    }

    fn core_instance(&mut self, instance: Instance<'a>) {
        let definition = match instance {
            Instance::Instantiate { module_index, args } => {
                Definition::CoreInstantiate(module_index, args.iter().map(|arg| (arg.name, arg.index)).collect())
            }
            Instance::FromExports(exports) => {
                let exports = exports
                    .iter()
                    .filter_map(|export| Some((export.name, core_kind(export.kind)?, export.index)))
                    .collect();
                Definition::CoreExports(exports)
            }
        };
        self.define(definition);
    }

    fn alias(&mut self, alias: ComponentAlias<'a>, offset: usize) {
        let definition = match alias {
            ComponentAlias::InstanceExport { kind, instance_index, name } => {
                Definition::AliasExport(kind, instance_index, name)
            }
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => match core_kind(kind) {
                Some(kind) => Definition::AliasCoreExport(kind, instance_index, name),
                None => return self.unsupported(crate::parse::proposal::EXCEPTIONS, offset),
            },
            ComponentAlias::Outer { kind, count, index } => Definition::AliasOuter(kind, count, index),
        };
        self.define(definition);
    }

    fn ty(
        &mut self,
        ty: &wasmparser::ComponentType<'a>,
        id: ComponentAnyTypeId,
        types: TypesRef<'_>,
        offset: usize,
    ) {
        match (ty, id) {
            (wasmparser::ComponentType::Resource { dtor, .. }, ComponentAnyTypeId::Resource(id)) => {
                self.define(Definition::DefineResource(id.resource(), *dtor));
            }
            (wasmparser::ComponentType::Func(func), _) => {
                if func.async_ {
                    self.unsupported(ASYNC, offset);
                }
                self.define(Definition::Type);
            }
            (wasmparser::ComponentType::Defined(_), ComponentAnyTypeId::Defined(id)) => {
                use wasmparser::component_types::ComponentDefinedType;
                let is_async = match &types[id] {
                    ComponentDefinedType::Stream { .. } | ComponentDefinedType::Future { .. } => true,
                    ComponentDefinedType::Primitive(primitive) => *primitive == PrimitiveValType::ErrorContext,
                    _ => false,
                };
                if is_async {
                    self.unsupported(ASYNC, offset);
                }
                self.define(Definition::Type);
            }
            _ => self.define(Definition::Type),
        }
    }

    fn canons(
        &mut self,
        section: wasmparser::ComponentCanonicalSectionReader<'a>,
        types: TypesRef<'_>,
    ) -> wasmparser::Result<()> {
        let canons = section.into_iter_with_offsets().collect::<wasmparser::Result<Vec<_>>>()?;
        let is_core = |canon: &CanonicalFunction| !matches!(canon, CanonicalFunction::Lift { .. });
        let core_funcs = canons.iter().filter(|(_, canon)| is_core(canon)).count() as u32;
        let mut next_core = types.function_count() - core_funcs;
        for (offset, canon) in canons {
            let core = next_core;
            next_core += u32::from(is_core(&canon));
            let definition = match canon {
                CanonicalFunction::Lift { core_func_index, type_index, options } => {
                    let ComponentAnyTypeId::Func(ty) = types.component_any_type_at(type_index) else { continue };
                    let core_type = self.core_type(types, core_func_index, offset);
                    let options = self.options(types, &options, offset);
                    if types[ty].async_ {
                        self.unsupported(ASYNC, offset);
                    }
                    Definition::Lift { core: core_func_index, core_type, ty, options }
                }
                CanonicalFunction::Lower { func_index, options } => {
                    let ty = types.component_function_at(func_index);
                    let core_type = self.core_type(types, core, offset);
                    let options = self.options(types, &options, offset);
                    if types[ty].async_ {
                        self.unsupported(ASYNC, offset);
                    }
                    Definition::Lower { func: func_index, core_type, ty, options }
                }
                CanonicalFunction::ResourceNew { resource } => Definition::Resource(ResourceFunc::New, resource),
                CanonicalFunction::ResourceRep { resource } => Definition::Resource(ResourceFunc::Rep, resource),
                CanonicalFunction::ResourceDrop { resource } => Definition::Resource(ResourceFunc::Drop, resource),
                _ => {
                    self.unsupported(ASYNC, offset);
                    continue;
                }
            };
            self.define(definition);
        }
        Ok(())
    }

    fn core_type(&mut self, types: TypesRef<'_>, func: u32, offset: usize) -> FuncType {
        let ty = types[types.core_function_at(func)].unwrap_func();
        let mut convert = |tys: &[wasmparser::ValType]| -> Vec<ValType> {
            let converted = tys.iter().map(|ty| val_type_of(*ty));
            converted
                .map(|ty| {
                    ty.unwrap_or_else(|proposal| {
                        self.unsupported(proposal, offset);
                        ValType::ExternRef
                    })
                })
                .collect()
        };
        FuncType { params: convert(ty.params()), results: convert(ty.results()) }
    }

    fn options(&mut self, types: TypesRef<'_>, options: &[CanonicalOption], offset: usize) -> Options {
        let mut known = Options::default();
        for option in options {
            match *option {
                CanonicalOption::UTF8 => known.encoding = StringEncoding::Utf8,
                CanonicalOption::UTF16 => known.encoding = StringEncoding::Utf16,
                CanonicalOption::CompactUTF16 => known.encoding = StringEncoding::Latin1OrUtf16,
                CanonicalOption::Memory(memory) => known.memory = Some(memory),
                CanonicalOption::Realloc(func) => known.realloc = Some(func),
                CanonicalOption::PostReturn(func) => {
                    known.post_return = Some((func, self.core_type(types, func, offset)));
                }
                CanonicalOption::Async | CanonicalOption::Callback(_) => self.unsupported(ASYNC, offset),
                CanonicalOption::CoreType(_) | CanonicalOption::Gc => {
                    self.unsupported("component model GC options", offset);
                }
            }
        }
        known
    }
}

const ASYNC: &str = "component model async";

fn core_kind(kind: ExternalKind) -> Option<ExternKind> {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => Some(ExternKind::Func),
        ExternalKind::Table => Some(ExternKind::Table),
        ExternalKind::Memory => Some(ExternKind::Memory),
        ExternalKind::Global => Some(ExternKind::Global),
        ExternalKind::Tag => None,
    }
}
