//! The types of what an artifact imports and exports, as an embedder sees them.

use precast_abi::meta::{GlobalRow, MemoryRow, NO_MAXIMUM, TableRow};
use precast_abi::types::{FuncType, ValType};

/// An import of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportType<'a> {
    /// First name.
    pub module: &'a str,
    /// Second name.
    pub name: &'a str,
    /// What it has to be.
    pub ty: ExternType,
}

/// An export of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportType<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub ty: ExternType,
}

/// The type of something imported or exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
}

/// The type of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableType {
    /// Type of its elements.
    pub element: ValType,
    /// Minimum number of elements.
    pub min: u64,
    /// Maximum number of elements.
    pub max: Option<u64>,
}

/// The type of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryType {
    /// Minimum size in pages.
    pub min: u64,
    /// Maximum size in pages.
    pub max: Option<u64>,
    /// Bytes of a page, as a power of two: 16 unless the module chose another.
    pub page_size_log2: u32,
}

/// The type of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalType {
    /// Type of its value.
    pub ty: ValType,
    /// Whether code may set it.
    pub mutable: bool,
}

impl TableType {
    /// The type that `row` says, or `None` if it says none.
    pub(crate) fn from_row(row: &TableRow) -> Option<Self> {
        Some(TableType { element: val_type(row.element)?, min: row.min, max: maximum(row.max) })
    }
}

impl MemoryType {
    /// The type that `row` says.
    pub(crate) fn from_row(row: &MemoryRow) -> Self {
        MemoryType { min: row.min, max: maximum(row.max), page_size_log2: row.page_size_log2 }
    }
}

impl GlobalType {
    /// The type that `row` says, or `None` if it says none.
    pub(crate) fn from_row(row: &GlobalRow) -> Option<Self> {
        Some(GlobalType { ty: val_type(row.ty)?, mutable: row.mutable != 0 })
    }
}

fn val_type(raw: u32) -> Option<ValType> {
    ValType::from_raw(u8::try_from(raw).ok()?)
}

fn maximum(raw: u64) -> Option<u64> {
    (raw != NO_MAXIMUM).then_some(raw)
}
