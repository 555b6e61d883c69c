//! [`Module`] in, [`Program`] out: what every index means, where everything is, and what of the initial state is known.

use std::collections::{BTreeSet, HashMap};

use cranelift_codegen::entity::{EntityRef, PrimaryMap};
use precast_abi::host;
use precast_abi::meta::{ExternKind, MemoryModel};
use precast_abi::types::{FuncType, ValType};

use crate::constant::evaluate;
use crate::layout::{self, Block, HostArea};
use crate::module::{ElementItem, ElementMode, Module};
use crate::program::{
    Const, ConstExpr, ConstOp, DefinedFunc, Env, Export, Folded, FuncDef, FuncImport, FuncPlace, Global, GlobalPlace,
    Helper, Import, ImportedFunc, InitStep, Memory, MemoryPlace, Program, SegmentPlace, Table, TablePlace, TypeId,
};
use crate::{Error, Options};

/// Resolves a core module as a program of its own.
///
/// # Errors
/// [`Error::Limit`] if the state of an instance is too large.
pub(crate) fn resolve<'a>(module: &'a Module<'a>, options: &Options<'_>) -> Result<Program<'a>, Error> {
    let (types, type_ids) = intern_types(module);
    let folding = fold(module);

    let mut host_area = HostArea::new();
    let imports = imports(module, &mut host_area);
    let mut block = Block::default();
    let env = Env {
        types: type_ids.clone(),
        funcs: Vec::new(),
        globals: globals(module, &mut block),
        memories: memories(module, &mut block),
        data: data_segments(module, &folding, &mut block),
        elements: element_segments(module, &folding, &mut block),
        tables: tables(module, &mut block),
    };
    let has_memory = module.memories.len() > module.imported_memories;
    let page_size = options.arch.max_page_size();
    let layout = layout::slot(page_size, &host_area, options.stack_size, &block, has_memory)?;

    let mut program = Program {
        module,
        env,
        types,
        entry_types: Vec::new(),
        funcs: PrimaryMap::new(),
        func_imports: PrimaryMap::new(),
        imports,
        exports: exports(module),
        layout,
        folded: folding.folded,
        init: folding.init,
        foreign_funcrefs: foreign_funcrefs(module),
        helpers: helpers(module),
    };
    place_imports(&mut program);
    place_funcs(&mut program, &type_ids);
    program.entry_types = entry_types(&program);
    Ok(program)
}

/// Dense ids of the types, equal ones once, and the id of each type index.
fn intern_types(module: &Module<'_>) -> (PrimaryMap<TypeId, FuncType>, Vec<TypeId>) {
    let mut types = PrimaryMap::from(vec![FuncType::default()]);
    let mut ids = HashMap::new();
    let type_ids =
        module.types.iter().map(|ty| *ids.entry(ty.clone()).or_insert_with(|| types.push(ty.clone()))).collect();
    (types, type_ids)
}

fn imports(module: &Module<'_>, area: &mut HostArea) -> Vec<Import> {
    let import = |import: &crate::module::Import<'_>| {
        let size = match import.kind {
            ExternKind::Func => host::FuncImport::SIZE,
            ExternKind::Table => host::TableImport::SIZE,
            ExternKind::Memory => host::MemoryImport::SIZE,
            ExternKind::Global => host::GlobalImport::SIZE,
        };
        Import {
            module: import.module.into(),
            name: import.name.into(),
            kind: import.kind,
            index: import.index,
            cell: area.cell(size),
        }
    };
    module.imports.iter().map(import).collect()
}

fn exports(module: &Module<'_>) -> Vec<Export> {
    let export = |export: &crate::module::Export<'_>| Export {
        name: export.name.into(),
        kind: export.kind,
        index: export.index,
    };
    let mut exports: Vec<Export> = module.exports.iter().map(export).collect();
    exports.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    exports
}

// The index spaces: imports get a cell of 0 here and the real one when the layout is known.

fn globals(module: &Module<'_>, block: &mut Block) -> Vec<Global> {
    let global = |(index, global): (usize, &crate::module::GlobalType)| {
        let place = if index < module.imported_globals {
            GlobalPlace::Imported { cell: 0 }
        } else {
            GlobalPlace::Own { cell: block.global(global.ty) }
        };
        Global { place, ty: global.ty, mutable: global.mutable, row: index as u32 }
    };
    module.globals.iter().enumerate().map(global).collect()
}

fn memories(module: &Module<'_>, block: &mut Block) -> Vec<Memory> {
    let memory = |(index, memory): (usize, &crate::module::MemoryType)| {
        let place = if index < module.imported_memories {
            MemoryPlace::Imported { cell: 0 }
        } else {
            MemoryPlace::Own { start: 0, size_word: block.word() }
        };
        Memory { place, model: MemoryModel::Guarded, min: memory.min, max: memory.max, row: index as u32 }
    };
    module.memories.iter().enumerate().map(memory).collect()
}

fn tables(module: &Module<'_>, block: &mut Block) -> Vec<Table> {
    let contains_grow = module.bodies.iter().any(|body| may_contain_table_grow(body.body.as_bytes()));
    let exported = module.exports.iter().filter(|export| export.kind == ExternKind::Table);
    let exported: BTreeSet<u32> = exported.map(|export| export.index).collect();
    // All size words before the first table, which may be large.
    let size_words: Vec<i32> = module.tables.iter().skip(module.imported_tables).map(|_| block.word()).collect();
    let table = |(index, table): (usize, &crate::module::TableType)| {
        let row = index as u32;
        let (place, limit) = match index.checked_sub(module.imported_tables) {
            None => (TablePlace::Imported { cell: 0 }, table.min),
            Some(own) => {
                let may_grow = contains_grow || exported.contains(&row);
                let (elements, limit) = block.table(table.min, table.max, may_grow);
                (TablePlace::Own { elements, size_word: size_words[own] }, limit)
            }
        };
        Table { place, element: table.element, min: table.min, max: table.max, limit, row }
    };
    module.tables.iter().enumerate().map(table).collect()
}

/// Whether `table.grow` (0xfc 15) may occur in a body. Bytes of other instructions can look like it, which only costs
/// some addresses; reading every instruction would cost time in every compilation.
fn may_contain_table_grow(body: &[u8]) -> bool {
    body.windows(2).any(|pair| pair[0] == 0xfc && pair[1] & 0x7f == 15)
}

fn data_segments(module: &Module<'_>, folding: &Folding, block: &mut Block) -> Vec<SegmentPlace> {
    let segment = |(index, segment): (usize, &crate::module::DataSegment<'_>)| {
        let kept = segment.active.is_none() || folding.kept_data.binary_search(&(index as u32)).is_ok();
        SegmentPlace { len_word: kept.then(|| block.half_word()), cells: None, row: index as u32 }
    };
    module.data.iter().enumerate().map(segment).collect()
}

fn element_segments(module: &Module<'_>, folding: &Folding, block: &mut Block) -> Vec<SegmentPlace> {
    let segment = |(index, segment): (usize, &crate::module::ElementSegment)| {
        let row = index as u32;
        let kept = match segment.mode {
            ElementMode::Passive => true,
            ElementMode::Declared => false,
            ElementMode::Active { .. } => folding.kept_elements.binary_search(&row).is_ok(),
        };
        let computed = folding.is_computed(row);
        SegmentPlace {
            len_word: kept.then(|| block.half_word()),
            cells: computed.then(|| block.cells(segment.items.len())),
            row,
        }
    };
    module.elements.iter().enumerate().map(segment).collect()
}

/// Gives imports their cells' distance from the base.
fn place_imports(program: &mut Program<'_>) {
    let base = program.layout.base_offset as i32;
    for (row, import) in program.imports.iter().enumerate() {
        let cell = import.cell as i32 - base;
        let index = import.index as usize;
        match import.kind {
            ExternKind::Func => {
                let ty = program.env.types[program.module.funcs[index] as usize];
                program.func_imports.push(FuncImport { row: row as u32, ty, cell });
            }
            ExternKind::Table => program.env.tables[index].place = TablePlace::Imported { cell },
            ExternKind::Memory => program.env.memories[index].place = MemoryPlace::Imported { cell },
            ExternKind::Global => program.env.globals[index].place = GlobalPlace::Imported { cell },
        }
    }
}

fn place_funcs(program: &mut Program<'_>, type_ids: &[TypeId]) {
    let imported = program.module.imported_funcs;
    for (index, ty) in program.module.funcs.iter().enumerate() {
        let ty = type_ids[*ty as usize];
        let place = if index < imported {
            FuncPlace::Imported(ImportedFunc::new(index))
        } else {
            FuncPlace::Defined(program.funcs.push(FuncDef { index: index as u32, ty }))
        };
        program.env.funcs.push((place, ty));
    }
    debug_assert_eq!(program.funcs.next_key(), DefinedFunc::new(program.module.bodies.len()));
}

/// Types of the functions that something outside can get hold of: `ref.func` is valid only for functions that stand in
/// an export, a global or an element segment.
fn entry_types(program: &Program<'_>) -> Vec<TypeId> {
    let module = program.module;
    let exported = module.exports.iter().filter(|export| export.kind == ExternKind::Func).map(|export| export.index);
    let items = module.elements.iter().flat_map(|segment| &segment.items).filter_map(|item| match item {
        ElementItem::Func(func) => Some(*func),
        _ => None,
    });
    let values = module.global_values.iter().flat_map(|value| &value.0).filter_map(|op| match op {
        ConstOp::Func(func) => Some(*func),
        _ => None,
    });
    let functions = exported.chain(items).chain(values);
    let types: BTreeSet<TypeId> = functions.map(|func| program.env.funcs[func as usize].1).collect();
    types.into_iter().collect()
}

/// Whether a function reference of another instance can come in.
fn foreign_funcrefs(module: &Module<'_>) -> bool {
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

/// The helpers that function bodies seem to use: those whose opcode's bytes occur in one. An opcode may be written in
/// more bytes than it needs; such code does without the helper.
fn helpers(module: &Module<'_>) -> Vec<Helper> {
    let occurs =
        |opcode: [u8; 2]| module.bodies.iter().any(|body| body.body.as_bytes().windows(2).any(|at| at == opcode));
    let used = |helper: &Helper| match helper {
        Helper::MemoryCopy => occurs([0xfc, 10]),
        Helper::MemoryFill => occurs([0xfc, 11]),
    };
    let all = if module.memories.is_empty() { [].as_slice() } else { &Helper::ALL };
    all.iter().copied().filter(used).collect()
}

/// What is known of the initial state, and what is left for the initialiser.
#[derive(Default)]
struct Folding {
    folded: Folded,
    init: Vec<InitStep>,
    /// Active segments that the initialiser copies, sorted.
    kept_elements: Vec<u32>,
    kept_data: Vec<u32>,
    /// Element segments whose references the initialiser computes, sorted.
    computed_elements: Vec<u32>,
}

/// Folds what the specification's instantiation would do first, up to the first step whose effect or success depends on
/// an import; that step and all after it are left to the initialiser, in order.
fn fold(module: &Module<'_>) -> Folding {
    let mut folding = Folding::default();
    fold_globals(module, &mut folding);
    compute_element_refs(module, &mut folding);
    let may_fold = fold_elements(module, &mut folding);
    fold_data(module, may_fold, &mut folding);
    folding.init.extend(module.start.map(InitStep::Start));
    folding
}

impl Folding {
    /// The constant an expression has, if that is known.
    fn evaluate(&self, module: &Module<'_>, expression: &ConstExpr) -> Option<Const> {
        evaluate(expression, |global| self.folded.global(module, global))
    }

    fn is_computed(&self, segment: u32) -> bool {
        self.computed_elements.binary_search(&segment).is_ok()
    }

    /// The offset of an active segment, if that is known.
    fn offset(&self, module: &Module<'_>, expression: &ConstExpr) -> Option<u64> {
        match self.evaluate(module, expression)? {
            Const::I32(offset) => Some(u64::from(offset as u32)),
            Const::I64(offset) => Some(offset as u64),
            _ => None,
        }
    }
}

fn fold_globals(module: &Module<'_>, folding: &mut Folding) {
    for (own, expression) in module.global_values.iter().enumerate() {
        let value = folding.evaluate(module, expression);
        if value.is_none() {
            let global = (module.imported_globals + own) as u32;
            folding.init.push(InitStep::Global { global, value: expression.clone() });
        }
        folding.folded.globals.push(value);
    }
}

fn compute_element_refs(module: &Module<'_>, folding: &mut Folding) {
    for (index, segment) in module.elements.iter().enumerate() {
        let is_known = |item: &ElementItem| folding.folded.reference(module, *item).is_some();
        if !matches!(segment.mode, ElementMode::Declared) && !segment.items.iter().all(is_known) {
            folding.computed_elements.push(index as u32);
            folding.init.push(InitStep::ElementRefs { segment: index as u32 });
        }
    }
}

/// Returns whether all active element segments could be folded.
fn fold_elements(module: &Module<'_>, folding: &mut Folding) -> bool {
    let mut may_fold = true;
    for (index, segment) in module.elements.iter().enumerate() {
        let ElementMode::Active { table, offset } = &segment.mode else { continue };
        let (index, len) = (index as u32, segment.items.len() as u32);
        let is_own = *table as usize >= module.imported_tables;
        let at = folding.offset(module, offset).filter(|at| at + u64::from(len) <= module.tables[*table as usize].min);
        may_fold &= is_own && at.is_some() && !folding.is_computed(index);
        match at {
            Some(at) if may_fold => folding.folded.elements.push((index, *table, at as u32)),
            _ => {
                folding.kept_elements.push(index);
                let offset = offset.clone();
                folding.init.push(InitStep::Element { segment: index, table: *table, offset, len });
            }
        }
    }
    may_fold
}

fn fold_data(module: &Module<'_>, mut may_fold: bool, folding: &mut Folding) {
    for (index, segment) in module.data.iter().enumerate() {
        let Some((memory, offset)) = &segment.active else { continue };
        let (index, len) = (index as u32, segment.bytes.len() as u64);
        let is_own = *memory as usize >= module.imported_memories;
        let end = module.memories[*memory as usize].min.saturating_mul(precast_abi::slot::WASM_PAGE);
        let at = folding.offset(module, offset).filter(|at| at.checked_add(len).is_some_and(|sum| sum <= end));
        may_fold &= is_own && at.is_some();
        match at {
            Some(at) if may_fold => folding.folded.data.push((index, *memory, at)),
            _ => {
                folding.kept_data.push(index);
                let offset = offset.clone();
                folding.init.push(InitStep::Data { segment: index, memory: *memory, offset, len: len as u32 });
            }
        }
    }
}
