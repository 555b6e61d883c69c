//! What one artifact compiles: the output of resolving.
//!
//! A [`Program`] has dense index spaces of its own for functions, types and imports. An [`Env`] says what the index
//! spaces of one core instance's module mean in it, so that the translator never asks whether a thing is the module's
//! own, imported from the host, or (in a component) another module's. A core module is a program with one `Env`.
//!
//! Core instances that share state form a [`Group`] with a base of its own, which their functions take as their first
//! parameter. What is in the group is at a constant distance from it, and so are the bases of the other groups.

use std::collections::BTreeMap;

use cranelift_codegen::entity::{PrimaryMap, entity_impl};
use cranelift_codegen::ir::UserExternalName;
use precast_abi::meta::{ExternKind, MemoryModel};
use precast_abi::slot::SlotLayout;
use precast_abi::types::{FuncType, ValType};

use crate::component::linkage::CoreInstance;
use crate::component::linkage::{ComponentInstance, Resource};
use crate::component::program::{AdapterId, ComponentProgram};
use crate::error::Place;
use crate::module::{ElementItem, Module};
use crate::resolve::ConstantTables;
use crate::translate::GlueHelper;

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

/// Core instances that share a memory, a table or a global.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Group(u32);
entity_impl!(Group, "group");

impl Group {
    /// The group whose base the host calls with.
    pub(crate) const FIRST: Group = Group(0);
}

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
    /// Code that functions of a group share.
    Helper(Helper, Group),
    /// Code that the glue of a component shares.
    Glue(GlueHelper),
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
            Symbol::Helper(helper, group) => (6, group.as_u32() * Helper::ALL.len() as u32 + helper as u32),
            Symbol::Glue(helper) => (7, helper as u32),
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
            6 => {
                let (group, helper) = (name.index / Helper::ALL.len() as u32, name.index % Helper::ALL.len() as u32);
                Symbol::Helper(Helper::ALL[helper as usize], Group::from_u32(group))
            }
            7 => Symbol::Glue(GlueHelper::ALL[name.index as usize]),
            other => unreachable!("external name in namespace {other}"),
        }
    }
}

/// Code that functions of a group share, called with the `tail` convention as `(base, i32, i32, i32) -> i32`.
/// Parameters and result are those of the builtin of the same name, without the memories: it is always the group's
/// first one.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FuncPlace {
    /// Code of this program.
    Defined(DefinedFunc),
    /// An import of the program, which may be the host's or another instance's.
    Imported(ImportedFunc),
    /// An import of the program, which is the host's.
    Host(ImportedFunc),
    /// A function that nothing reaches, and that is not compiled.
    Unreached,
}

impl FuncPlace {
    /// The code to call, or that a reference to the function refers to.
    ///
    /// # Panics
    /// If nothing reaches the function: then nothing asks for its code.
    pub(crate) fn symbol(self) -> Symbol {
        match self {
            FuncPlace::Defined(func) => Symbol::Function(func),
            FuncPlace::Imported(import) => Symbol::ImportStub(import),
            FuncPlace::Host(import) => Symbol::HostThunk(import),
            FuncPlace::Unreached => unreachable!("the code of a function that nothing reaches"),
        }
    }
}

/// Where a memory is. Offsets are from the base of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryPlace {
    /// In the slot.
    Own {
        /// Of its first byte.
        start: i64,
        /// Of the 64-bit word with its current size in bytes.
        size_word: i32,
        /// Bytes of addresses.
        reservation: u64,
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
    /// Its value, if it is known and never changes.
    pub known: Option<Const>,
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
    /// Functions of other groups that references may refer to: what such a reference refers to instead, which takes
    /// this group's base.
    pub forwards: BTreeMap<u32, FuncPlace>,
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

impl Env {
    /// What a reference to a function of the module's index space refers to, and its type.
    pub(crate) fn reference(&self, func: u32) -> (FuncPlace, TypeId) {
        let (place, ty) = self.funcs[func as usize];
        (self.forwards.get(&func).copied().unwrap_or(place), ty)
    }
}

/// A function to compile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncDef {
    /// What it does.
    pub body: FuncBody,
    /// Its type.
    pub ty: TypeId,
    /// The group whose base it takes.
    pub group: Group,
}

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FuncBody {
    /// What a function of a module says: the instance and the index in the module's index space.
    Wasm(CoreInstance, u32),
    /// Calls a function of another group.
    Forward(FuncPlace),
    /// Calls a function of another component instance.
    Adapter(AdapterId),
    /// `resource.new`.
    ResourceNew(Resource, ComponentInstance),
    /// `resource.rep`.
    ResourceRep(Resource, ComponentInstance),
    /// `resource.drop`.
    ResourceDrop(Resource, ComponentInstance),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Values of the imported globals, as far as they are known.
    pub imported_globals: Vec<Option<Const>>,
    /// Value of each global the module defines; `None` where the initialiser computes it.
    pub globals: Vec<Option<Const>>,
    /// Element segments copied into a table: segment, table, first element.
    pub elements: Vec<(u32, u32, u32)>,
    /// Data segments copied into a memory: segment, memory, first byte.
    pub data: Vec<(u32, u32, u64)>,
}

impl Folded {
    /// The initial value of a global of the module's index space, if it is known.
    pub(crate) fn global(&self, global: u32) -> Option<Const> {
        let (imported, global) = (self.imported_globals.len(), global as usize);
        let values =
            if global < imported { &self.imported_globals[global..] } else { self.globals.get(global - imported..)? };
        values.first().copied().flatten()
    }

    /// The reference that an item of an element segment stands for, if it is known.
    pub(crate) fn reference(&self, item: ElementItem) -> Option<Const> {
        match item {
            ElementItem::Null => Some(Const::Null),
            ElementItem::Func(func) => Some(Const::Func(func)),
            ElementItem::Global(global) => self.global(global),
        }
    }
}

/// A core instance.
pub(crate) struct Instance<'a> {
    /// Its module.
    pub module: &'a Module<'a>,
    /// What the module's index spaces mean.
    pub env: Env,
    /// Its group.
    pub group: Group,
    /// What is folded into the image.
    pub folded: Folded,
}

/// Where a group is in the slot: offsets in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupPlace {
    /// Start of its block.
    pub block_start: u64,
    /// Where its base points: the end of its block.
    pub base_offset: u64,
}

/// What one artifact compiles.
pub(crate) struct Program<'a> {
    /// The core instances, in the order of instantiation.
    pub instances: PrimaryMap<CoreInstance, Instance<'a>>,
    /// The groups.
    pub groups: PrimaryMap<Group, GroupPlace>,
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
    /// Rows of the artifact's tables of memories, tables, globals and segments: the instance, and the index in its
    /// module's index space.
    pub rows: Rows,
    /// The slot.
    pub layout: SlotLayout,
    /// What cannot be folded into the image.
    pub init: Vec<(CoreInstance, InitStep)>,
    /// Whether code counts what it executes: see `translate/meter.rs`.
    pub metered: bool,
    /// Whether a function reference of another instance can come in, so that indirect calls must tell it apart.
    pub foreign_funcrefs: bool,
    /// The helpers in the text.
    pub helpers: Vec<(Helper, Group)>,
    /// The glue, if this is a component.
    pub component: Option<ComponentProgram>,
    /// Tables that never change.
    pub constant_tables: ConstantTables,
    /// What the index spaces of glue mean: nothing.
    pub no_env: Env,
}

/// See [`Program::rows`].
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Memories.
    pub memories: Vec<(CoreInstance, u32)>,
    /// Tables.
    pub tables: Vec<(CoreInstance, u32)>,
    /// Globals.
    pub globals: Vec<(CoreInstance, u32)>,
    /// Data segments.
    pub data: Vec<(CoreInstance, u32)>,
    /// Element segments.
    pub elements: Vec<(CoreInstance, u32)>,
}

impl Program<'_> {
    /// Everything that goes into the text, in order.
    pub(crate) fn symbols(&self) -> Vec<Symbol> {
        let functions = self.funcs.keys().map(Symbol::Function);
        // What a component imports is the host's, and called as such.
        let imports = if self.component.is_some() { None } else { Some(self.func_imports.keys()) };
        let stubs = imports.into_iter().flatten().map(Symbol::ImportStub);
        let hosts = self.func_imports.keys().map(Symbol::HostThunk);
        let entries = self.entry_types.iter().copied().map(Symbol::EntryThunk);
        let init = (!self.init.is_empty()).then_some(Symbol::Init);
        let helpers = self.helpers.iter().map(|(helper, group)| Symbol::Helper(*helper, *group));
        let glue = self.component.iter().flat_map(|component| component.glue_symbols());
        functions.chain(stubs).chain(hosts).chain(entries).chain(init).chain(helpers).chain(glue).collect()
    }

    /// Distance in bytes from the base of one group to that of another.
    pub(crate) fn distance(&self, from: Group, to: Group) -> i64 {
        self.groups[to].base_offset.cast_signed() - self.groups[from].base_offset.cast_signed()
    }

    /// Distance in bytes from the base of a group to the host words.
    pub(crate) fn host_words(&self, group: Group) -> i64 {
        self.layout.host_start.cast_signed() - self.groups[group].base_offset.cast_signed()
    }

    /// The group whose base the code of a function takes; that of an import is not known.
    pub(crate) fn group_of(&self, place: FuncPlace) -> Group {
        if let FuncPlace::Defined(func) = place { self.funcs[func].group } else { Group::FIRST }
    }

    /// Where the input has the code of a symbol, as far as it has.
    pub(crate) fn place(&self, symbol: Symbol) -> Place {
        match symbol {
            Symbol::Function(func) => match self.funcs[func].body {
                FuncBody::Wasm(instance, index) => {
                    let offset = self.instances[instance].module.body(index).body.range().start as u64;
                    Place { function: Some(index), offset }
                }
                _ => Place::default(),
            },
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
            Symbol::Function(func) => self.func_name(func),
            Symbol::ImportStub(index) => import("import", index),
            Symbol::HostThunk(index) => import("host", index),
            Symbol::EntryThunk(ty) => format!("precast.entry.{}", ty.as_u32()),
            Symbol::Init => "precast.init".into(),
            Symbol::Helper(Helper::MemoryCopy, _) => "precast.memory_copy".into(),
            Symbol::Helper(Helper::MemoryFill, _) => "precast.memory_fill".into(),
            Symbol::Glue(helper) => format!("precast.glue.{}", helper.name()),
            Symbol::TextStart => "precast.text".into(),
        }
    }

    fn func_name(&self, func: DefinedFunc) -> String {
        match self.funcs[func].body {
            FuncBody::Wasm(instance, index) => self.instances[instance].module.func_name(index),
            FuncBody::Forward(FuncPlace::Defined(to)) => format!("precast.forward.{}", self.func_name(to)),
            FuncBody::Forward(to) => format!("precast.forward.{}", self.symbol_name(to.symbol())),
            FuncBody::Adapter(adapter) => format!("precast.adapter.{}", adapter.as_u32()),
            FuncBody::ResourceNew(resource, _) => format!("precast.resource_new.{}", resource.as_u32()),
            FuncBody::ResourceRep(resource, _) => format!("precast.resource_rep.{}", resource.as_u32()),
            FuncBody::ResourceDrop(resource, _) => format!("precast.resource_drop.{}", resource.as_u32()),
        }
    }
}
