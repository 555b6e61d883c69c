//! The index spaces of core instances: places of globals, memories, tables and segments.

use std::collections::{BTreeSet, HashMap};

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::meta::{ExternKind, MemoryModel};
use precast_abi::slot::WASM_PAGE;
use precast_abi::types::{FuncType, ValType};

use super::fold::{Surroundings, Target};
use super::{Origin, Part, Parts, Source, origin};
use crate::component::linkage::{CoreInstance, CoreItem};
use crate::layout::{self, Block, GroupArea};
use crate::module::{ElementMode, Module};
use crate::options::{self, Options};
use crate::program::{
    Const, Env, FuncImport, Global, GlobalPlace, Group, Memory, MemoryPlace, Program, Rows, SegmentPlace, Table,
    TablePlace, TypeId,
};

/// Dense ids of the types, equal ones once.
pub(super) struct Types {
    pub(super) types: PrimaryMap<TypeId, FuncType>,
    pub(super) ids: HashMap<FuncType, TypeId>,
}

impl Default for Types {
    fn default() -> Self {
        Types { types: PrimaryMap::from(vec![FuncType::default()]), ids: HashMap::new() }
    }
}

impl Types {
    fn intern(&mut self, ty: &FuncType) -> TypeId {
        if let Some(id) = self.ids.get(ty) {
            return *id;
        }
        let id = self.types.push(ty.clone());
        self.ids.insert(ty.clone(), id);
        id
    }
}

/// Where what an instance imports comes from.
fn origin_in(parts: &Parts<'_>, instance: CoreInstance, kind: ExternKind, index: u32) -> Origin {
    origin(|instance, kind, index| parts[instance].source(kind, index), CoreItem::Export { instance, index }, kind)
}

/// What folding an instance is told, when the earlier ones are folded. `has_run` says whether one of them runs code.
pub(super) fn surroundings(instance: CoreInstance, parts: &Parts<'_>, has_run: bool) -> Surroundings {
    let module = parts[instance].module;
    let place = |kind: ExternKind, index: usize| match origin_in(parts, instance, kind, index as u32) {
        Origin::Own(owner, index) => Some((owner, index)),
        Origin::Canon(_) | Origin::Program(_) => None,
    };
    let global = |index: usize| {
        let (owner, index) = place(ExternKind::Global, index)?;
        let part = &parts[owner];
        let value = part.folding.folded.global(index).filter(|value| !matches!(value, Const::Func(_)))?;
        (!part.module.globals[index as usize].mutable).then_some(value)
    };
    let target = |kind: ExternKind, index: usize, size: &dyn Fn(&Module<'_>, u32) -> u64| match place(kind, index) {
        Some((owner, index)) => {
            Target { size: size(parts[owner].module, index), is_fresh: owner == instance || !has_run }
        }
        None => Target { size: size(module, index as u32), is_fresh: false },
    };
    let memory_size = |module: &Module<'_>, index: u32| module.memories[index as usize].min.saturating_mul(WASM_PAGE);
    let table_size = |module: &Module<'_>, index: u32| module.tables[index as usize].min;
    Surroundings {
        globals: (0..module.imported_globals).map(global).collect(),
        tables: (0..module.tables.len()).map(|index| target(ExternKind::Table, index, &table_size)).collect(),
        memories: (0..module.memories.len()).map(|index| target(ExternKind::Memory, index, &memory_size)).collect(),
    }
}

/// The index spaces of an instance, but for functions. `envs` are those of the earlier ones.
pub(super) fn env(
    instance: CoreInstance,
    parts: &Parts<'_>,
    envs: &PrimaryMap<CoreInstance, Env>,
    types: &mut Types,
    areas: &mut [GroupArea],
    rows: &mut Rows,
    options: &Options<'_>,
) -> Env {
    let part = &parts[instance];
    let area = &mut areas[part.group.as_u32() as usize];
    let provided = |kind: ExternKind, index: usize| match part.source(kind, index as u32) {
        Some(Source::Item(CoreItem::Export { instance, index })) => Provider::Instance(&envs[instance], index as usize),
        Some(_) => Provider::Program,
        None => Provider::Own,
    };
    let mut spaces = Spaces { instance, part, parts, area, rows, options };
    Env {
        types: part.module.types.iter().map(|ty| types.intern(ty)).collect(),
        funcs: Vec::new(),
        forwards: Default::default(),
        globals: spaces.globals(&provided),
        memories: spaces.memories(&provided),
        data: spaces.data_segments(),
        elements: spaces.element_segments(),
        tables: spaces.tables(&provided),
    }
}

/// Who provides a thing of an index space.
enum Provider<'a> {
    /// The module defines it.
    Own,
    /// The program imports it.
    Program,
    /// An earlier instance.
    Instance(&'a Env, usize),
}

struct Spaces<'a> {
    instance: CoreInstance,
    part: &'a Part<'a>,
    parts: &'a Parts<'a>,
    area: &'a mut GroupArea,
    rows: &'a mut Rows,
    options: &'a Options<'a>,
}

// Imports of the program get a cell of 0 here and the real one when the layout is known.
impl<'a> Spaces<'a> {
    fn row(rows: &mut Vec<(CoreInstance, u32)>, instance: CoreInstance, index: usize) -> u32 {
        rows.push((instance, index as u32));
        rows.len() as u32 - 1
    }

    fn block(&mut self) -> &mut Block {
        &mut self.area.block
    }

    fn globals<'e>(&mut self, provided: &impl Fn(ExternKind, usize) -> Provider<'e>) -> Vec<Global> {
        let mut globals = Vec::with_capacity(self.part.module.globals.len());
        for (index, ty) in self.part.module.globals.iter().enumerate() {
            let place = match provided(ExternKind::Global, index) {
                Provider::Own => GlobalPlace::Own { cell: self.block().global(ty.ty) },
                Provider::Program => GlobalPlace::Imported { cell: 0 },
                Provider::Instance(env, index) => {
                    let mut global = env.globals[index];
                    // A function's index means something else here.
                    global.known = global.known.filter(|value| !matches!(value, Const::Func(_)));
                    globals.push(global);
                    continue;
                }
            };
            let known = self.part.folding.folded.global(index as u32).filter(|_| !ty.mutable);
            let row = Self::row(&mut self.rows.globals, self.instance, index);
            globals.push(Global { place, ty: ty.ty, mutable: ty.mutable, row, known });
        }
        globals
    }

    fn memories<'e>(&mut self, provided: &impl Fn(ExternKind, usize) -> Provider<'e>) -> Vec<Memory> {
        let mut memories = Vec::with_capacity(self.part.module.memories.len());
        for (index, ty) in self.part.module.memories.iter().enumerate() {
            let place = match provided(ExternKind::Memory, index) {
                Provider::Own => {
                    let size_word = self.block().word();
                    let (model, page_size) = (self.options.memory_model, self.options.arch.max_page_size());
                    let reservation = layout::reservation(model, page_size, ty.min, ty.max);
                    MemoryPlace::Own { start: self.area.memory(reservation), size_word, reservation }
                }
                Provider::Program => MemoryPlace::Imported { cell: 0 },
                Provider::Instance(env, index) => {
                    memories.push(env.memories[index]);
                    continue;
                }
            };
            let row = Self::row(&mut self.rows.memories, self.instance, index);
            let model = match self.options.memory_model {
                options::MemoryModel::Guarded => MemoryModel::Guarded,
                options::MemoryModel::Checked { .. } => MemoryModel::Checked,
            };
            memories.push(Memory { place, model, min: ty.min, max: ty.max, row });
        }
        memories
    }

    fn tables<'e>(&mut self, provided: &impl Fn(ExternKind, usize) -> Provider<'e>) -> Vec<Table> {
        let module = self.part.module;
        // In a component any instance may grow a table that another one made.
        let contains_grow = self.parts.values().any(|part| contains_table_grow(part.module));
        let exported = module.exports.iter().filter(|export| export.kind == ExternKind::Table);
        let exported: BTreeSet<u32> = exported.map(|export| export.index).collect();
        let is_closed =
            self.part.sources.iter().all(|source| matches!(source, Source::Item(_))) && self.parts.len() > 1;
        // All size words before the first table, which may be large.
        let own = module.tables.len() - module.imported_tables;
        let size_words: Vec<i32> = (0..own).map(|_| self.block().word()).collect();
        self.area.place_host_words();
        let mut tables = Vec::with_capacity(module.tables.len());
        for (index, ty) in module.tables.iter().enumerate() {
            let (place, limit) = match provided(ExternKind::Table, index) {
                Provider::Own => {
                    let may_grow = contains_grow || (!is_closed && exported.contains(&(index as u32)));
                    let (elements, limit) = self.block().table(ty.min, ty.max, may_grow);
                    (TablePlace::Own { elements, size_word: size_words[index - module.imported_tables] }, limit)
                }
                Provider::Program => (TablePlace::Imported { cell: 0 }, ty.min),
                Provider::Instance(env, index) => {
                    tables.push(env.tables[index]);
                    continue;
                }
            };
            let row = Self::row(&mut self.rows.tables, self.instance, index);
            tables.push(Table { place, element: ty.element, min: ty.min, max: ty.max, limit, row });
        }
        tables
    }

    fn data_segments(&mut self) -> Vec<SegmentPlace> {
        let mut segments = Vec::with_capacity(self.part.module.data.len());
        for (index, segment) in self.part.module.data.iter().enumerate() {
            let kept = segment.active.is_none() || self.part.folding.kept_data.binary_search(&(index as u32)).is_ok();
            let len_word = kept.then(|| self.block().half_word());
            let row = Self::row(&mut self.rows.data, self.instance, index);
            segments.push(SegmentPlace { len_word, cells: None, row });
        }
        segments
    }

    fn element_segments(&mut self) -> Vec<SegmentPlace> {
        let mut segments = Vec::with_capacity(self.part.module.elements.len());
        for (index, segment) in self.part.module.elements.iter().enumerate() {
            let kept = match segment.mode {
                ElementMode::Passive => true,
                ElementMode::Declared => false,
                ElementMode::Active { .. } => self.part.folding.kept_elements.binary_search(&(index as u32)).is_ok(),
            };
            let computed = self.part.folding.is_computed(index as u32);
            let len_word = kept.then(|| self.block().half_word());
            let cells = computed.then(|| self.block().cells(segment.items.len()));
            let row = Self::row(&mut self.rows.elements, self.instance, index);
            segments.push(SegmentPlace { len_word, cells, row });
        }
        segments
    }
}

fn contains_table_grow(module: &Module<'_>) -> bool {
    module.bodies.iter().any(|body| may_contain_table_grow(body.body.as_bytes()))
}

/// Whether `table.grow` (0xfc 15) may occur in a body. Bytes of other instructions can look like it, which only costs
/// some addresses; reading every instruction would cost time in every compilation.
fn may_contain_table_grow(body: &[u8]) -> bool {
    body.windows(2).any(|pair| pair[0] == 0xfc && pair[1] & 0x7f == 15)
}

/// Whether the first memory of the index space is at the base.
pub(crate) fn has_memory_at_base(env: &Env) -> bool {
    env.memories.first().is_some_and(|memory| match memory.place {
        MemoryPlace::Own { start, .. } => start == 0,
        MemoryPlace::Imported { .. } => true,
    })
}

/// Gives the imports of a program that is a module their cells' distance from the base.
pub(super) fn place_imports(program: &mut Program<'_>) {
    let words = program.host_words(Group::FIRST) as i32;
    let instance = &mut program.instances[super::first_instance()];
    for (row, import) in program.imports.iter().enumerate() {
        let cell = words + import.cell as i32;
        let index = import.index as usize;
        match import.kind {
            ExternKind::Func => {
                let ty = instance.env.types[instance.module.funcs[index] as usize];
                program.func_imports.push(FuncImport { row: row as u32, ty, cell });
            }
            ExternKind::Table => instance.env.tables[index].place = TablePlace::Imported { cell },
            ExternKind::Memory => instance.env.memories[index].place = MemoryPlace::Imported { cell },
            ExternKind::Global => instance.env.globals[index].place = GlobalPlace::Imported { cell },
        }
    }
}

/// Whether a function reference of another instance can come in.
pub(super) fn foreign_funcrefs(module: &Module<'_>) -> bool {
    let crosses = |kind: ExternKind, index: u32| {
        let index = index as usize;
        match kind {
            ExternKind::Func => {
                let ty = &module.types[module.funcs[index] as usize];
                ty.params.iter().chain(&ty.results).any(|ty| *ty == ValType::FuncRef)
            }
            ExternKind::Table => module.tables[index].element == ValType::FuncRef,
            ExternKind::Global => module.globals[index].ty == ValType::FuncRef,
            ExternKind::Memory => false,
        }
    };
    module.imports.iter().any(|import| crosses(import.kind, import.index))
        || module.exports.iter().any(|export| crosses(export.kind, export.index))
}
