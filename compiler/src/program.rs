//! What one artifact compiles: the output of resolving.
//!
//! A [`Program`] has dense index spaces of its own for functions, types and imports. An [`Env`] says what the index
//! spaces of one core instance's module mean in it, so that the translator never asks whether a thing is the module's
//! own, imported from the host, or (in a component) another module's. A core module is a program with one `Env`.

use cranelift_codegen::entity::{EntityRef, PrimaryMap, entity_impl};
use cranelift_codegen::ir::UserExternalName;
use precast_abi::meta::{ExternKind, MemoryModel};
use precast_abi::slot::SlotLayout;
use precast_abi::types::{FuncType, ValType};

use crate::error::Place;
use crate::module::{ElementItem, Module};

/// A function that is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DefinedFunc(u32);
entity_impl!(DefinedFunc, "function");

/// A function that the program imports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ImportedFunc(u32);
entity_impl!(ImportedFunc, "import");

/// A row of the artifact's type table. Row 0 is no type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TypeId(u32);
entity_impl!(TypeId, "type");

/// Something with an address in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Symbol {
    /// A function of the program.
    Function(DefinedFunc),
    /// Forwards to an imported function: what a reference to one refers to.
    ImportStub(ImportedFunc),
    /// Calls the host function bound to an import.
    HostThunk(ImportedFunc),
    /// What the host calls to call a function of a type.
    EntryThunk(TypeId),
    /// The initialiser.
    Init,
    /// Code that functions share.
    Helper(Helper),
    /// The start of the text.
    TextStart,
}

impl Symbol {
    /// The symbol as Cranelift's name for it.
    pub(crate) fn to_external_name(self) -> UserExternalName {
        let (namespace, index) = match self {
            Symbol::Function(func) => (0, func.as_u32()),
            Symbol::ImportStub(import) => (1, import.as_u32()),
            Symbol::HostThunk(import) => (2, import.as_u32()),
            Symbol::EntryThunk(ty) => (3, ty.as_u32()),
            Symbol::Init => (4, 0),
            Symbol::TextStart => (5, 0),
            Symbol::Helper(helper) => (6, helper as u32),
        };
        UserExternalName { namespace, index }
    }

    /// The inverse of [`Self::to_external_name`].
    ///
    /// # Panics
    /// If no symbol has that name.
    pub(crate) fn from_external_name(name: &UserExternalName) -> Self {
        match name.namespace {
            0 => Symbol::Function(DefinedFunc::from_u32(name.index)),
            1 => Symbol::ImportStub(ImportedFunc::from_u32(name.index)),
            2 => Symbol::HostThunk(ImportedFunc::from_u32(name.index)),
            3 => Symbol::EntryThunk(TypeId::from_u32(name.index)),
            4 => Symbol::Init,
            5 => Symbol::TextStart,
            6 => Symbol::Helper(Helper::ALL[name.index as usize]),
            other => unreachable!("external name in namespace {other}"),
        }
    }
}

/// Code that functions share, called with the `tail` convention as `(base, i32, i32, i32) -> i32`. Parameters and
/// result are those of the builtin of the same name, without the memories: it is always the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Helper {
    /// `memory.copy` of a few bytes; asks the builtin for more.
    MemoryCopy,
    /// `memory.fill` of a few bytes; asks the builtin for more.
    MemoryFill,
}

impl Helper {
    /// Every helper.
    pub(crate) const ALL: [Helper; 2] = [Helper::MemoryCopy, Helper::MemoryFill];
}

/// What a function index of a module refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FuncPlace {
    /// Code of this program.
    Defined(DefinedFunc),
    /// An import of the program.
    Imported(ImportedFunc),
}

impl FuncPlace {
    /// The code that a reference to the function refers to.
    pub(crate) fn symbol(self) -> Symbol {
        match self {
            FuncPlace::Defined(func) => Symbol::Function(func),
            FuncPlace::Imported(import) => Symbol::ImportStub(import),
        }
    }
}

/// Where a memory is. Offsets are from the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryPlace {
    /// In the slot.
    Own {
        /// Of its first byte.
        start: i64,
        /// Of the 64-bit word with its current size in bytes.
        size_word: i32,
    },
    /// In another instance; offset of the [`precast_abi::host::MemoryImport`] cell.
    Imported {
        /// Of the cell.
        cell: i32,
    },
}

/// A memory as the translator needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Where it is.
    pub place: MemoryPlace,
    /// How accesses are kept inside.
    pub model: MemoryModel,
    /// Minimum size in pages.
    pub min: u64,
    /// Maximum size in pages.
    pub max: Option<u64>,
    /// Row in the artifact's memory table.
    pub row: u32,
}

/// Where a table is. Offsets are from the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TablePlace {
    /// In the block.
    Own {
        /// Of the first element.
        elements: i32,
        /// Of the 64-bit word with the current number of elements.
        size_word: i32,
    },
    /// In another instance; offset of the [`precast_abi::host::TableImport`] cell.
    Imported {
        /// Of the cell.
        cell: i32,
    },
}

/// A table as the translator needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Where it is.
    pub place: TablePlace,
    /// Type of its elements.
    pub element: ValType,
    /// Minimum number of elements.
    pub min: u64,
    /// Maximum number of elements.
    pub max: Option<u64>,
    /// Number of elements there is room for; equal to `min` for a table that never grows, whose bounds are therefore
    /// constant.
    pub limit: u64,
    /// Row in the artifact's table table.
    pub row: u32,
}

impl Table {
    /// The number of elements, if it cannot change.
    pub(crate) fn constant_size(&self) -> Option<u64> {
        match self.place {
            TablePlace::Own { .. } if self.limit == self.min => Some(self.min),
            _ => None,
        }
    }
}

/// Where a global is. Offsets are from the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GlobalPlace {
    /// In the block.
    Own {
        /// Of its value.
        cell: i32,
    },
    /// In another instance; offset of the [`precast_abi::host::GlobalImport`] cell.
    Imported {
        /// Of the cell, which holds the address of the value.
        cell: i32,
    },
}

/// A global as the translator needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Global {
    /// Where it is.
    pub place: GlobalPlace,
    /// Type of its value.
    pub ty: ValType,
    /// Whether it may be set.
    pub mutable: bool,
    /// Row in the artifact's global table.
    pub row: u32,
}

/// A segment that code uses while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentPlace {
    /// Offset from the base of the 32-bit word with its current length (data: bytes; elements: references), zero once
    /// dropped; `None` if it is dropped from the start, so that its length is always zero.
    pub len_word: Option<i32>,
    /// Element segments whose references the initialiser computes: offset from the base of the first one.
    pub cells: Option<i32>,
    /// Row in the artifact's segment table.
    pub row: u32,
}

/// What the index spaces of one core instance's module mean in the program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    /// Types; [`TypeId`] 0 for what is not a function type.
    pub types: Vec<TypeId>,
    /// Functions, and the type of each.
    pub funcs: Vec<(FuncPlace, TypeId)>,
    /// Memories.
    pub memories: Vec<Memory>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Globals.
    pub globals: Vec<Global>,
    /// Data segments.
    pub data: Vec<SegmentPlace>,
    /// Element segments.
    pub elements: Vec<SegmentPlace>,
}

/// A function to compile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncDef {
    /// Its index in its module's index space.
    pub index: u32,
    /// Its type.
    pub ty: TypeId,
}

/// A function that the program imports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncImport {
    /// Row in the artifact's import table.
    pub row: u32,
    /// Its type.
    pub ty: TypeId,
    /// Offset of its [`precast_abi::host::FuncImport`] cell from the base.
    pub cell: i32,
}

/// An import of the program.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// First name.
    pub module: String,
    /// Second name.
    pub name: String,
    /// Kind.
    pub kind: ExternKind,
    /// Index in the index space of its kind.
    pub index: u32,
    /// Offset of its cell from the slot's start.
    pub cell: u32,
}

/// An export of the program.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: ExternKind,
    /// Index in the index space of its kind.
    pub index: u32,
}

/// One step of the initialiser, in the specification's order.
#[derive(Clone, Debug)]
pub(crate) enum InitStep {
    /// Evaluate a global's initial value, which needs an imported global.
    Global {
        /// Index in the module's index space.
        global: u32,
        /// Its value.
        value: ConstExpr,
    },
    /// Evaluate the references of an element segment, some of which need an imported global.
    ElementRefs {
        /// Index in the module's index space.
        segment: u32,
    },
    /// Copy an active element segment into its table, and drop it.
    Element {
        /// Index in the module's index space.
        segment: u32,
        /// The table and where in it.
        table: u32,
        /// Offset expression.
        offset: ConstExpr,
        /// Number of references.
        len: u32,
    },
    /// Copy an active data segment into its memory, and drop it.
    Data {
        /// Index in the module's index space.
        segment: u32,
        /// The memory.
        memory: u32,
        /// Offset expression.
        offset: ConstExpr,
        /// Number of bytes.
        len: u32,
    },
    /// Call the start function.
    Start(u32),
}

/// A constant expression as a sequence of operations in postfix order, as in the binary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConstExpr(pub Vec<ConstOp>);

/// An operation of a [`ConstExpr`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ConstOp {
    /// `i32.const`.
    I32(i32),
    /// `i64.const`.
    I64(i64),
    /// `f32.const`, as bits.
    F32(u32),
    /// `f64.const`, as bits.
    F64(u64),
    /// `v128.const`.
    V128(u128),
    /// `ref.null`.
    Null,
    /// `ref.func`.
    Func(u32),
    /// `global.get`.
    Global(u32),
    /// `i32.add`.
    I32Add,
    /// `i32.sub`.
    I32Sub,
    /// `i32.mul`.
    I32Mul,
    /// `i64.add`.
    I64Add,
    /// `i64.sub`.
    I64Sub,
    /// `i64.mul`.
    I64Mul,
}

/// A constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Const {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A `v128`.
    V128(u128),
    /// A null reference.
    Null,
    /// A reference to a function of the module's index space.
    Func(u32),
}

/// What the image holds besides zeros.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// Value of each global the module defines; `None` where the initialiser computes it.
    pub globals: Vec<Option<Const>>,
    /// Element segments copied into a table: segment, table, first element.
    pub elements: Vec<(u32, u32, u32)>,
    /// Data segments copied into a memory: segment, memory, first byte.
    pub data: Vec<(u32, u32, u64)>,
}

impl Folded {
    /// The initial value of a global of the module's index space, if it is known.
    pub(crate) fn global(&self, module: &Module<'_>, global: u32) -> Option<Const> {
        let own = (global as usize).checked_sub(module.imported_globals)?;
        self.globals.get(own).copied().flatten()
    }

    /// The reference that an item of an element segment stands for, if it is known.
    pub(crate) fn reference(&self, module: &Module<'_>, item: ElementItem) -> Option<Const> {
        match item {
            ElementItem::Null => Some(Const::Null),
            ElementItem::Func(func) => Some(Const::Func(func)),
            ElementItem::Global(global) => self.global(module, global),
        }
    }
}

/// What one artifact compiles.
pub(crate) struct Program<'a> {
    /// The module.
    pub module: &'a Module<'a>,
    /// What its index spaces mean.
    pub env: Env,
    /// Function types; the first is no type.
    pub types: PrimaryMap<TypeId, FuncType>,
    /// Types that need an entry thunk: those of functions that anything outside can call.
    pub entry_types: Vec<TypeId>,
    /// Functions to compile.
    pub funcs: PrimaryMap<DefinedFunc, FuncDef>,
    /// Imported functions.
    pub func_imports: PrimaryMap<ImportedFunc, FuncImport>,
    /// All imports, in order.
    pub imports: Vec<Import>,
    /// All exports, sorted by name.
    pub exports: Vec<Export>,
    /// The slot.
    pub layout: SlotLayout,
    /// What is folded into the image.
    pub folded: Folded,
    /// What cannot be folded into the image.
    pub init: Vec<InitStep>,
    /// Whether a function reference of another instance can come in, so that indirect calls must tell it apart.
    pub foreign_funcrefs: bool,
    /// The helpers in the text.
    pub helpers: Vec<Helper>,
}

impl Program<'_> {
    /// Everything that goes into the text, in order.
    pub(crate) fn symbols(&self) -> Vec<Symbol> {
        let functions = self.funcs.keys().map(Symbol::Function);
        let stubs = self.func_imports.keys().map(Symbol::ImportStub);
        let hosts = self.func_imports.keys().map(Symbol::HostThunk);
        let entries = self.entry_types.iter().copied().map(Symbol::EntryThunk);
        let init = (!self.init.is_empty()).then_some(Symbol::Init);
        let helpers = self.helpers.iter().copied().map(Symbol::Helper);
        functions.chain(stubs).chain(hosts).chain(entries).chain(init).chain(helpers).collect()
    }

    /// Where the input has the code of a symbol, as far as it has.
    pub(crate) fn place(&self, symbol: Symbol) -> Place {
        match symbol {
            Symbol::Function(func) => {
                let offset = self.module.bodies[func.index()].body.range().start as u64;
                Place { function: Some(self.funcs[func].index), offset }
            }
            Symbol::ImportStub(import) | Symbol::HostThunk(import) => {
                Place { function: Some(import.as_u32()), offset: 0 }
            }
            _ => Place::default(),
        }
    }

    /// What tools call a symbol.
    pub(crate) fn symbol_name(&self, symbol: Symbol) -> String {
        let import = |kind: &str, import: ImportedFunc| {
            let import = &self.imports[self.func_imports[import].row as usize];
            format!("precast.{kind}.{}.{}", import.module, import.name)
        };
        match symbol {
            Symbol::Function(func) => self.module.func_name(self.funcs[func].index),
            Symbol::ImportStub(index) => import("import", index),
            Symbol::HostThunk(index) => import("host", index),
            Symbol::EntryThunk(ty) => format!("precast.entry.{}", ty.as_u32()),
            Symbol::Init => "precast.init".into(),
            Symbol::Helper(Helper::MemoryCopy) => "precast.memory_copy".into(),
            Symbol::Helper(Helper::MemoryFill) => "precast.memory_fill".into(),
            Symbol::TextStart => "precast.text".into(),
        }
    }
}
