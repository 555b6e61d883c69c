//! Bytes in, [`Module`] out. Everything but function bodies is validated here; bodies are validated while they are
//! translated.
//!
//! All of WebAssembly 3.0 validates. What we do not compile yet is noted in [`Module::unsupported`], and the rest of the
//! module is still read, so that an invalid module is never reported as unsupported.

use std::borrow::Cow;

use precast_abi::meta::ExternKind;
use precast_abi::types::{FuncType, ValType};
use rayon::prelude::*;
use wasmparser::{
    CompositeInnerType, DataKind, ElementItems, ElementKind, ExternalKind, FuncValidatorAllocations, KnownCustom, Name,
    Operator, Parser, Payload, RefType, SubType, TableInit, TypeRef, ValidPayload, Validator, WasmFeatures,
};

use crate::Error;
use crate::component::{self, is_component};
use crate::lower::all_or_first_error;
use crate::module::{
    Body, DataSegment, ElementItem, ElementMode, ElementSegment, Export, GlobalType, Import, MemoryType, Module,
    TableType,
};
use crate::program::{ConstExpr, ConstOp};

/// Names of proposals, as error messages have them.
pub(crate) mod proposal {
    pub(crate) const ASYNC_ERROR_CONTEXTS: &str = "component model async (error contexts)";
    pub(crate) const ASYNC_FUNCTIONS: &str = "component model async (async functions)";
    pub(crate) const ASYNC_FUTURES: &str = "component model async (futures)";
    pub(crate) const ASYNC_OPTIONS: &str = "component model async (canonical option `async`)";
    pub(crate) const ASYNC_STREAMS: &str = "component model async (streams)";
    pub(crate) const ASYNC_TASKS: &str = "component model async (tasks)";
    pub(crate) const ASYNC_THREADS: &str = "component model async (threads)";
    pub(crate) const COMPONENT_GC: &str = "component model (canonical option `gc`)";
    pub(crate) const COMPONENTS: &str = "component model";
    pub(crate) const EXCEPTIONS: &str = "exception handling";
    pub(crate) const FUNCTION_REFERENCES: &str = "typed function references";
    pub(crate) const GC: &str = "garbage collection";
    pub(crate) const MEMORY64: &str = "memory64";
    pub(crate) const MULTI_MEMORY: &str = "multiple memories";
    pub(crate) const THREADS: &str = "threads";
    pub(crate) const VALUES: &str = "component model (values)";
}

/// The WebAssembly binary in `input`, which may be the text format.
///
/// # Errors
/// [`Error::Text`] if it is neither.
pub(crate) fn to_binary(input: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if input.starts_with(b"\0asm") {
        return Ok(Cow::Borrowed(input));
    }
    if input.is_empty() {
        return Err(Error::Text("the input is empty".into()));
    }
    if input.starts_with(&[0]) {
        return Err(Error::Text("neither a WebAssembly binary (no `\\0asm` at the start) nor text".into()));
    }
    wat::parse_bytes(input).map_err(|error| Error::Text(error.to_string()))
}

/// Reads a core module.
///
/// # Errors
/// [`Error::Invalid`] for what is wrong outside function bodies; [`Error::Unsupported`] for a valid component.
pub(crate) fn parse(bytes: &[u8]) -> Result<Module<'_>, Error> {
    let invalid = |error: wasmparser::Error| Error::invalid(&error, None);
    let features = WasmFeatures::WASM3;
    let mut validator = Validator::new_with_features(features);
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut module = Module::default();
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        if let ValidPayload::Func(to_validate, body) = validator.payload(&payload).map_err(invalid)? {
            module.bodies.push(Body { to_validate, body });
        }
        module.read(payload).map_err(invalid)?;
    }
    module.finish();
    Ok(module)
}

impl<'a> Module<'a> {
    fn unsupported(&mut self, proposal: &'static str, offset: usize) {
        self.unsupported.get_or_insert((proposal, offset));
    }

    /// What is known when all has been read.
    pub(crate) fn finish(&mut self) {
        self.imported_funcs = self.funcs.len() - self.bodies.len();
        for export in self.exports.iter().filter(|export| export.kind == ExternKind::Func) {
            self.func_names.entry(export.index).or_insert(export.name);
        }
    }

    /// Reads a section that the validator has seen.
    pub(crate) fn read(&mut self, payload: Payload<'a>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section.into_iter_with_offsets() {
                    let (offset, group) = group?;
                    if group.types().len() != 1 {
                        self.unsupported(proposal::GC, offset);
                    }
                    for ty in group.into_types() {
                        self.sub_type(&ty, offset);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.import(&import, offset);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.funcs.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section.into_iter_with_offsets() {
                    let (offset, table) = table?;
                    if let TableInit::Expr(_) = table.init {
                        self.unsupported(proposal::FUNCTION_REFERENCES, offset);
                    }
                    self.table(table.ty, offset);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    self.memory(memory, offset);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    self.global(global.ty, offset);
                    let value = self.const_expr(&global.init_expr)?;
                    self.global_values.push(value);
                }
            }
            Payload::TagSection(section) => self.unsupported(proposal::EXCEPTIONS, section.range().start),
            Payload::ExportSection(section) => {
                for export in section.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    let kind = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => ExternKind::Func,
                        ExternalKind::Table => ExternKind::Table,
                        ExternalKind::Memory => ExternKind::Memory,
                        ExternalKind::Global => ExternKind::Global,
                        ExternalKind::Tag => {
                            self.unsupported(proposal::EXCEPTIONS, offset);
                            continue;
                        }
                    };
                    self.exports.push(Export { name: export.name, kind, index: export.index });
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                for element in section {
                    let segment = self.element_segment(element?)?;
                    self.elements.push(segment);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let active = match data.kind {
                        DataKind::Passive => None,
                        DataKind::Active { memory_index, offset_expr } => {
                            Some((memory_index, self.const_expr(&offset_expr)?))
                        }
                    };
                    self.data.push(DataSegment { bytes: data.data, active });
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.read_names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn sub_type(&mut self, ty: &SubType, offset: usize) {
        if !ty.is_final || ty.supertype_idx.is_some() {
            self.unsupported(proposal::GC, offset);
        }
        let func = match &ty.composite_type.inner {
            CompositeInnerType::Func(func) => {
                let mut types =
                    |types: &[wasmparser::ValType]| types.iter().map(|ty| self.val_type(*ty, offset)).collect();
                FuncType { params: types(func.params()), results: types(func.results()) }
            }
            _ => {
                self.unsupported(proposal::GC, offset);
                FuncType::default()
            }
        };
        self.types.push(func);
    }

    /// The type as we have it; a placeholder for one that is unsupported.
    fn val_type(&mut self, ty: wasmparser::ValType, offset: usize) -> ValType {
        match ty {
            wasmparser::ValType::I32 => ValType::I32,
            wasmparser::ValType::I64 => ValType::I64,
            wasmparser::ValType::F32 => ValType::F32,
            wasmparser::ValType::F64 => ValType::F64,
            wasmparser::ValType::V128 => ValType::V128,
            wasmparser::ValType::Ref(ty) => self.ref_type(ty, offset),
        }
    }

    fn ref_type(&mut self, ty: RefType, offset: usize) -> ValType {
        match val_type_of_ref(ty) {
            Ok(ty) => ty,
            Err(proposal) => {
                self.unsupported(proposal, offset);
                ValType::ExternRef
            }
        }
    }

    fn import(&mut self, import: &wasmparser::Import<'a>, offset: usize) {
        let (kind, index) = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.funcs.push(ty);
                (ExternKind::Func, self.funcs.len())
            }
            TypeRef::Table(ty) => {
                self.imported_tables += 1;
                self.table(ty, offset);
                (ExternKind::Table, self.tables.len())
            }
            TypeRef::Memory(ty) => {
                self.imported_memories += 1;
                self.memory(ty, offset);
                (ExternKind::Memory, self.memories.len())
            }
            TypeRef::Global(ty) => {
                self.imported_globals += 1;
                self.global(ty, offset);
                (ExternKind::Global, self.globals.len())
            }
            TypeRef::Tag(_) => return self.unsupported(proposal::EXCEPTIONS, offset),
        };
        self.rows_of_imports[kind as usize].push(self.imports.len() as u32);
        self.imports.push(Import { module: import.module, name: import.name, kind, index: index as u32 - 1 });
    }

    fn table(&mut self, ty: wasmparser::TableType, offset: usize) {
        if ty.table64 {
            self.unsupported(proposal::MEMORY64, offset);
        }
        let element = self.ref_type(ty.element_type, offset);
        self.tables.push(TableType { element, min: ty.initial, max: ty.maximum });
    }

    fn memory(&mut self, ty: wasmparser::MemoryType, offset: usize) {
        if ty.memory64 {
            self.unsupported(proposal::MEMORY64, offset);
        }
        if ty.shared {
            self.unsupported(proposal::THREADS, offset);
        }
        self.memories.push(MemoryType { min: ty.initial, max: ty.maximum });
        if self.memories.len() > 1 {
            self.unsupported(proposal::MULTI_MEMORY, offset);
        }
    }

    fn global(&mut self, ty: wasmparser::GlobalType, offset: usize) {
        let value = self.val_type(ty.content_type, offset);
        self.globals.push(GlobalType { ty: value, mutable: ty.mutable });
    }

    fn element_segment(&mut self, element: wasmparser::Element<'a>) -> wasmparser::Result<ElementSegment> {
        let mut items = Vec::new();
        match element.items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    items.push(ElementItem::Func(function?));
                }
            }
            ElementItems::Expressions(ty, expressions) => {
                self.ref_type(ty, expressions.range().start);
                for expression in expressions {
                    items.push(self.element_item(&expression?)?);
                }
            }
        }
        let mode = match element.kind {
            ElementKind::Passive => ElementMode::Passive,
            ElementKind::Declared => ElementMode::Declared,
            ElementKind::Active { table_index, offset_expr } => {
                ElementMode::Active { table: table_index.unwrap_or(0), offset: self.const_expr(&offset_expr)? }
            }
        };
        Ok(ElementSegment { items, mode })
    }

    fn element_item(&mut self, expression: &wasmparser::ConstExpr<'a>) -> wasmparser::Result<ElementItem> {
        let offset = expression.get_binary_reader().original_position();
        Ok(match self.const_expr(expression)?.0.as_slice() {
            [ConstOp::Null] => ElementItem::Null,
            [ConstOp::Func(func)] => ElementItem::Func(*func),
            [ConstOp::Global(global)] => ElementItem::Global(*global),
            _ => {
                self.unsupported(proposal::GC, offset);
                ElementItem::Null
            }
        })
    }

    fn const_expr(&mut self, expression: &wasmparser::ConstExpr<'a>) -> wasmparser::Result<ConstExpr> {
        let mut ops = Vec::new();
        let mut reader = expression.get_operators_reader();
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset()?;
            ops.push(match operator {
                Operator::I32Const { value } => ConstOp::I32(value),
                Operator::I64Const { value } => ConstOp::I64(value),
                Operator::F32Const { value } => ConstOp::F32(value.bits()),
                Operator::F64Const { value } => ConstOp::F64(value.bits()),
                Operator::V128Const { value } => ConstOp::V128(value.i128() as u128),
                Operator::RefNull { hty } => {
                    if let Some(ty) = RefType::new(true, hty) {
                        self.ref_type(ty, offset);
                    }
                    ConstOp::Null
                }
                Operator::RefFunc { function_index } => ConstOp::Func(function_index),
                Operator::GlobalGet { global_index } => ConstOp::Global(global_index),
                Operator::I32Add => ConstOp::I32Add,
                Operator::I32Sub => ConstOp::I32Sub,
                Operator::I32Mul => ConstOp::I32Mul,
                Operator::I64Add => ConstOp::I64Add,
                Operator::I64Sub => ConstOp::I64Sub,
                Operator::I64Mul => ConstOp::I64Mul,
                Operator::End => continue,
                _ => {
                    self.unsupported(proposal::GC, offset);
                    ConstOp::Null
                }
            });
        }
        Ok(ConstExpr(ops))
    }

    /// Names are a help for people: what is wrong with them is not an error.
    fn read_names(&mut self, names: wasmparser::NameSectionReader<'a>) {
        for name in names.into_iter().map_while(Result::ok) {
            match name {
                Name::Module { name, .. } => self.name = Some(name),
                Name::Function(map) => {
                    self.func_names
                        .extend(map.into_iter().map_while(Result::ok).map(|naming| (naming.index, naming.name)));
                }
                _ => {}
            }
        }
    }
}

/// A value type as we have it, or the proposal that has it.
pub(crate) fn val_type_of(ty: wasmparser::ValType) -> Result<ValType, &'static str> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => return val_type_of_ref(ty),
    })
}

/// A reference type as we have it, or the proposal that has it.
pub(crate) fn val_type_of_ref(ty: RefType) -> Result<ValType, &'static str> {
    match ty {
        RefType::FUNCREF => Ok(ValType::FuncRef),
        RefType::EXTERNREF => Ok(ValType::ExternRef),
        _ if ty.is_func_ref() || ty.is_extern_ref() || ty.type_index().is_some() => Err(proposal::FUNCTION_REFERENCES),
        _ if ty.as_non_null() == RefType::EXN => Err(proposal::EXCEPTIONS),
        _ => Err(proposal::GC),
    }
}

/// Refuses what [`Module::unsupported`] notes, once it is known that the module is valid.
///
/// # Errors
/// [`Error::Invalid`] for a wrong function body, else [`Error::Unsupported`].
pub(crate) fn check_supported(module: &Module<'_>) -> Result<(), Error> {
    let Some((proposal, offset)) = module.unsupported else { return Ok(()) };
    validate_bodies(module)?;
    Err(Error::unsupported(proposal, None, offset))
}

/// Validates all function bodies, for when they are not going to be translated.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn validate_bodies(module: &Module<'_>) -> Result<(), Error> {
    let bodies = module.bodies.par_iter().map_init(FuncValidatorAllocations::default, |allocations, body| {
        let mut validator = body.validator(std::mem::take(allocations));
        let result = validator.validate(&body.body);
        *allocations = validator.into_allocations();
        result.map_err(|error| Error::invalid(&error, Some(body.to_validate.index)))
    });
    all_or_first_error(bodies.collect())?;
    Ok(())
}

/// What is invalid in WebAssembly 3.0 may be valid in a proposal beyond it, which is then what the error should name.
pub(crate) fn name_missing_proposal(bytes: &[u8], error: Error) -> Error {
    if !matches!(error, Error::Invalid { .. }) {
        return error;
    }
    let features = if is_component(bytes) { component::FEATURES } else { WasmFeatures::WASM3 };
    let Err(invalid) = Validator::new_with_features(features).validate_all(bytes) else { return error };
    let Some(missing) = invalid.missing_wasm_feature() else { return error };
    let is_valid_beyond = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).is_ok();
    let known = [
        (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
        (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic"),
        (WasmFeatures::STACK_SWITCHING, "stack switching"),
        (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads"),
        (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exception handling"),
        (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors"),
        (WasmFeatures::MEMORY_CONTROL, "memory control"),
        (WasmFeatures::CM_VALUES, proposal::VALUES),
        (WasmFeatures::CM_GC, proposal::COMPONENT_GC),
        (WasmFeatures::CM64, "component model (64-bit memories)"),
    ];
    match known.into_iter().find(|(feature, _)| missing.intersects(*feature)) {
        Some((_, proposal)) if is_valid_beyond => Error::unsupported(proposal, None, invalid.offset()),
        _ => error,
    }
}
