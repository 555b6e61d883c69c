//! A core module as parsed: its index spaces, with nothing decided yet.

use precast_abi::meta::ExternKind;
use precast_abi::types::{FuncType, ValType};
use wasmparser::{FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, ValidatorResources};

use crate::program::ConstExpr;

/// A memory's type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryType {
    /// Minimum size in pages.
    pub min: u64,
    /// Maximum size in pages.
    pub max: Option<u64>,
}

/// A table's type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableType {
    /// Type of its elements.
    pub element: ValType,
    /// Minimum number of elements.
    pub min: u64,
    /// Maximum number of elements.
    pub max: Option<u64>,
}

/// A global's type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GlobalType {
    /// Type of its value.
    pub ty: ValType,
    /// Whether it may be set.
    pub mutable: bool,
}

/// An import.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Import<'a> {
    /// First name.
    pub module: &'a str,
    /// Second name.
    pub name: &'a str,
    /// Kind.
    pub kind: ExternKind,
    /// Index in the index space of its kind.
    pub index: u32,
}

/// An export.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Export<'a> {
    /// Name.
    pub name: &'a str,
    /// Kind.
    pub kind: ExternKind,
    /// Index in the index space of its kind.
    pub index: u32,
}

/// A reference in an element segment. A segment may have millions, so they are small; expressions of reference type
/// that are compiled have no other forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementItem {
    /// `ref.null`.
    Null,
    /// `ref.func`, or an index of a function.
    Func(u32),
    /// `global.get`.
    Global(u32),
}

/// An element segment.
#[derive(Clone, Debug)]
pub(crate) struct ElementSegment {
    /// Its references.
    pub items: Vec<ElementItem>,
    /// What happens with it at instantiation.
    pub mode: ElementMode,
}

/// What happens with an element segment at instantiation.
#[derive(Clone, Debug)]
pub(crate) enum ElementMode {
    /// Nothing; code may copy from it.
    Passive,
    /// Nothing; it only declares functions for `ref.func`.
    Declared,
    /// It is copied into a table.
    Active {
        /// The table.
        table: u32,
        /// Where in it.
        offset: ConstExpr,
    },
}

/// A data segment.
#[derive(Clone, Debug)]
pub(crate) struct DataSegment<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The memory it is copied into at instantiation and where; `None` if passive.
    pub active: Option<(u32, ConstExpr)>,
}

/// A function body, to be validated while it is translated.
pub(crate) struct Body<'a> {
    /// The validator for it.
    pub to_validate: FuncToValidate<ValidatorResources>,
    /// The bytes.
    pub body: FunctionBody<'a>,
}

impl Body<'_> {
    /// A validator for the body. Needs allocations because a [`FuncToValidate`] is consumed by becoming one.
    pub(crate) fn validator(&self, allocations: FuncValidatorAllocations) -> FuncValidator<ValidatorResources> {
        let FuncToValidate { resources, index, ty, features } = &self.to_validate;
        FuncToValidate { resources: resources.clone(), index: *index, ty: *ty, features: *features }
            .into_validator(allocations)
    }
}

/// A core module. Vectors of functions, tables, memories and globals are index spaces: imports come first.
#[derive(Default)]
pub(crate) struct Module<'a> {
    /// The name section's name for the module.
    pub name: Option<&'a str>,
    /// Types; an empty function type where the type is not a function type.
    pub types: Vec<FuncType>,
    /// Type index of each function.
    pub funcs: Vec<u32>,
    /// Number of imported functions.
    pub imported_funcs: usize,
    /// Tables.
    pub tables: Vec<TableType>,
    /// Number of imported tables.
    pub imported_tables: usize,
    /// Memories.
    pub memories: Vec<MemoryType>,
    /// Number of imported memories.
    pub imported_memories: usize,
    /// Globals.
    pub globals: Vec<GlobalType>,
    /// Number of imported globals.
    pub imported_globals: usize,
    /// Initial values of the globals the module defines.
    pub global_values: Vec<ConstExpr>,
    /// Imports in order.
    pub imports: Vec<Import<'a>>,
    /// For each kind, the positions of its imports.
    pub rows_of_imports: [Vec<u32>; 4],
    /// Exports in order.
    pub exports: Vec<Export<'a>>,
    /// Start function.
    pub start: Option<u32>,
    /// Element segments.
    pub elements: Vec<ElementSegment>,
    /// Data segments.
    pub data: Vec<DataSegment<'a>>,
    /// Bodies of the functions the module defines.
    pub bodies: Vec<Body<'a>>,
    /// Names of functions by function index: the name section's, or for a function it does not name its first export's.
    pub func_names: std::collections::HashMap<u32, &'a str>,
    /// What the module needs that is not compiled yet: the proposal and the offset of its first use.
    pub unsupported: Option<(&'static str, usize)>,
}

impl<'a> Module<'a> {
    /// The imports of a kind: for each index, the import's position.
    pub(crate) fn import_rows(&self, kind: ExternKind) -> &[u32] {
        &self.rows_of_imports[kind as usize]
    }

    /// The body of a function that the module defines.
    ///
    /// # Panics
    /// If it is imported.
    pub(crate) fn body(&self, func: u32) -> &Body<'a> {
        &self.bodies[func as usize - self.imported_funcs]
    }

    /// What to call a function: its name from the name section, or from its first export, or its index.
    pub(crate) fn func_name(&self, func: u32) -> String {
        match self.func_names.get(&func) {
            Some(name) => (*name).to_string(),
            None => format!("wasm-function[{func}]"),
        }
    }
}
