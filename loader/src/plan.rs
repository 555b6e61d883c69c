//! What binding decodes from an artifact's meta tables, checked, so that instantiating and builtins only index.
//!
//! What comes in: the tables, in which nothing but their bounds is known to be right (see `Artifact::open_trusted`).
//! What goes out: rows whose offsets lie in the slot and whose indices lie in their tables. Segments, functions and
//! types are many and seldom asked for; they are decoded, and checked, at each use.

use std::ops::Range;

use precast_abi::host;
use precast_abi::meta::{
    ExternKind, GlobalRow, GroupRow, ImportRow, MemoryModel, MemoryRow, Meta, NO_MAXIMUM, NONE, TableRow,
};
use precast_abi::slot::{ALIGN, GUARDED_RESERVATION, SlotLayout};
use precast_abi::types::ValType;

/// A meta table holds what no compiler writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the artifact is damaged: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// A memory, table or global of an artifact, by where it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Row of its import.
    pub(crate) import: Option<u32>,
    pub(crate) model: MemoryModel,
    /// In pages.
    pub(crate) min: u64,
    /// In pages, or [`NO_MAXIMUM`].
    pub(crate) max: u64,
    pub(crate) page_size_log2: u32,
    /// From the base.
    pub(crate) size_word: isize,
    /// From the base.
    pub(crate) start: isize,
    /// Bytes it can grow to.
    pub(crate) capacity: u64,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Row of its import.
    pub(crate) import: Option<u32>,
    pub(crate) element: ValType,
    pub(crate) min: u64,
    /// Or [`NO_MAXIMUM`].
    pub(crate) max: u64,
    /// Elements there is room for.
    pub(crate) limit: u64,
    /// From the base.
    pub(crate) size_word: isize,
    /// From the base.
    pub(crate) elements: isize,
}

/// A global.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Global {
    /// Row of its import.
    pub(crate) import: Option<u32>,
    pub(crate) ty: ValType,
    pub(crate) mutable: bool,
    /// From the base.
    pub(crate) cell: isize,
}

/// An import.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Import {
    pub(crate) kind: ExternKind,
    /// Index in the index space of its kind.
    pub(crate) index: u32,
    /// Offset of its cell from the slot's start.
    pub(crate) cell: usize,
    /// Functions: row of the type.
    pub(crate) ty: u32,
    /// Functions: text offset of the host thunk.
    pub(crate) host_thunk: u32,
}

/// The decoded rows of an artifact.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) imports: Box<[Import]>,
    /// The rows of `imports` that are functions: the start of the function index space.
    pub(crate) func_imports: Box<[u32]>,
    pub(crate) memories: Box<[Memory]>,
    pub(crate) tables: Box<[Table]>,
    pub(crate) globals: Box<[Global]>,
    /// Index of the memory exported as "memory".
    pub(crate) exported_memory: Option<u32>,
    /// Bytes of host words, import cells included.
    pub(crate) words_len: usize,
    pub(crate) blocks: Blocks,
}

/// Where tables, sizes and globals are: one block for each group of core instances, below its base. As ranges of offsets
/// from the first group's base, which is the one that the loader has.
#[derive(Debug)]
pub(crate) struct Blocks(Box<[Range<i64>]>);

impl Blocks {
    /// Checks that the groups are in order and apart.
    pub(crate) fn new(meta: &Meta<'_>) -> Result<Blocks, Malformed> {
        let bad = Malformed("a group is out of range");
        let layout = &meta.header.layout;
        let base = i64::try_from(layout.base_offset).map_err(|_| bad)?;
        let mut ranges = Vec::with_capacity(meta.groups.len().max(1));
        let mut end = layout.stack_start;
        for (number, group) in groups(meta).enumerate() {
            let first = (group.block_start, group.base_offset) == (layout.block_start, layout.base_offset);
            let in_order = end <= group.block_start && group.block_start <= group.base_offset;
            let in_lines = group.block_start.is_multiple_of(ALIGN) && group.base_offset.is_multiple_of(ALIGN);
            if !in_order || !in_lines || group.base_offset > layout.slot_size || (number == 0 && !first) {
                return Err(bad);
            }
            let offset = |place: u64| i64::try_from(place).map(|place| place - base).map_err(|_| bad);
            let mut start = group.block_start;
            if number == 0 {
                // The host words are nobody's item.
                ranges.push(offset(start)?..offset(layout.host_start)?);
                start = layout.host_start.saturating_add(layout.host_size);
            }
            ranges.push(offset(start)?..offset(group.base_offset)?);
            end = group.base_offset;
        }
        Ok(Blocks(ranges.into()))
    }

    /// Whether `len` bytes at `offset` from the base are aligned words of a block.
    pub(crate) fn contain(&self, offset: i64, len: u64) -> bool {
        self.contain_aligned(offset, len, 8)
    }

    /// The same for an alignment of `align` bytes.
    pub(crate) fn contain_aligned(&self, offset: i64, len: u64, align: i64) -> bool {
        // A table of no elements may begin where the block ends.
        let end = i64::try_from(len).ok().and_then(|len| offset.checked_add(len));
        offset % align == 0
            && end.is_some_and(|end| self.0.iter().any(|block| block.start <= offset && end <= block.end))
    }

    /// Whether all blocks lie outside `range`, in offsets from the base.
    fn outside(&self, range: &Range<i64>) -> bool {
        self.0.iter().all(|block| block.end <= range.start || range.end <= block.start)
    }
}

/// The groups: a single one if the artifact has no rows.
pub(crate) fn groups<'a>(meta: &'a Meta<'_>) -> impl Iterator<Item = GroupRow> + 'a {
    let layout = meta.header.layout;
    let only = GroupRow { block_start: layout.block_start, base_offset: layout.base_offset };
    let only = meta.groups.is_empty().then_some(only);
    meta.groups.iter().chain(only)
}

impl Plan {
    /// Decodes and checks.
    pub(crate) fn new(meta: &Meta<'_>) -> Result<Plan, Malformed> {
        let check = Check { layout: meta.header.layout, blocks: Blocks::new(meta)?, meta };
        if meta.header.init != NONE && u64::from(meta.header.init) >= meta.header.text_len {
            return Err(Malformed("the initialiser is out of range"));
        }
        let imports = meta.imports.iter().map(|row| check.import(row)).collect::<Result<Box<[_]>, _>>()?;
        let func_imports =
            (0u32..).zip(&imports).filter(|(_, import)| import.kind == ExternKind::Func).map(|(row, _)| row).collect();
        let words_len = imports.iter().map(|import| import.cell + cell_size(import.kind));
        Ok(Plan {
            words_len: words_len.max().unwrap_or_default().max(host::HostWords::SIZE as usize),
            func_imports,
            memories: meta.memories.iter().map(|row| check.memory(row)).collect::<Result<_, _>>()?,
            tables: meta.tables.iter().map(|row| check.table(row)).collect::<Result<_, _>>()?,
            globals: meta.globals.iter().map(|row| check.global(row)).collect::<Result<_, _>>()?,
            exported_memory: meta
                .export("memory")
                .filter(|row| row.kind == ExternKind::Memory as u32 && (row.index as usize) < meta.memories.len())
                .map(|row| row.index),
            imports,
            blocks: check.blocks,
        })
    }
}

/// Bytes of the cell of an import in the host words.
fn cell_size(kind: ExternKind) -> usize {
    let size = match kind {
        ExternKind::Func => host::FuncImport::SIZE,
        ExternKind::Table => host::TableImport::SIZE,
        ExternKind::Memory => host::MemoryImport::SIZE,
        ExternKind::Global => host::GlobalImport::SIZE,
    };
    size as usize
}

struct Check<'a> {
    layout: SlotLayout,
    blocks: Blocks,
    meta: &'a Meta<'a>,
}

impl Check<'_> {
    fn import(&self, row: ImportRow) -> Result<Import, Malformed> {
        let bad = Malformed("an import is out of range");
        let kind = ExternKind::from_raw(row.kind).ok_or(bad)?;
        let end = u64::from(row.cell) + cell_size(kind) as u64;
        let placed =
            row.cell.is_multiple_of(8) && row.cell >= host::HostWords::SIZE as u32 && end <= self.layout.host_size;
        let known = match kind {
            ExternKind::Func => {
                (row.ty as usize) < self.meta.types.len() && u64::from(row.host_thunk) < self.meta.header.text_len
            }
            ExternKind::Table => (row.index as usize) < self.meta.tables.len(),
            ExternKind::Memory => (row.index as usize) < self.meta.memories.len(),
            ExternKind::Global => (row.index as usize) < self.meta.globals.len(),
        };
        if !placed || !known {
            return Err(bad);
        }
        Ok(Import { kind, index: row.index, cell: row.cell as usize, ty: row.ty, host_thunk: row.host_thunk })
    }

    /// The row of the import that `raw` is, which must be of the right kind.
    fn import_row(&self, raw: u32, kind: ExternKind) -> Result<Option<u32>, Malformed> {
        if raw == NONE {
            return Ok(None);
        }
        match self.meta.imports.get(raw as usize) {
            Some(row) if row.kind == kind as u32 => Ok(Some(raw)),
            _ => Err(Malformed("the import of an imported memory, table or global is not one")),
        }
    }

    fn memory(&self, row: MemoryRow) -> Result<Memory, Malformed> {
        let bad = Malformed("a memory is out of range");
        let import = self.import_row(row.import, ExternKind::Memory)?;
        let model = MemoryModel::from_raw(row.model).ok_or(bad)?;
        let SlotLayout { base_offset, slot_size, .. } = self.layout;
        let end = row.slot_offset.checked_add(row.reservation).ok_or(bad)?;
        let capacity = match model {
            MemoryModel::Guarded => 4 << 30,
            MemoryModel::Checked => row.reservation,
        };
        let guarded = model == MemoryModel::Guarded;
        let fits = row.slot_offset >= base_offset
            && row.slot_offset.is_multiple_of(8)
            && end <= slot_size
            && (!guarded || row.reservation >= GUARDED_RESERVATION)
            && self
                .blocks
                .outside(&(row.slot_offset.wrapping_sub(base_offset) as i64..end.wrapping_sub(base_offset) as i64))
            && self.in_block(row.size_word, 8);
        if row.page_size_log2 >= 32 || (import.is_none() && !fits) {
            return Err(bad);
        }
        Ok(Memory {
            import,
            model,
            min: row.min,
            max: row.max,
            page_size_log2: row.page_size_log2,
            size_word: row.size_word as isize,
            start: row.slot_offset.wrapping_sub(base_offset) as isize,
            capacity,
        })
    }

    fn table(&self, row: TableRow) -> Result<Table, Malformed> {
        let bad = Malformed("a table is out of range");
        let import = self.import_row(row.import, ExternKind::Table)?;
        let element = self.val_type(row.element).filter(|ty| ty.is_ref()).ok_or(bad)?;
        let size = row.limit.checked_mul(8).ok_or(bad)?;
        if import.is_none() && !(self.in_block(row.size_word, 8) && self.in_block(row.elements, size)) {
            return Err(bad);
        }
        Ok(Table {
            import,
            element,
            min: row.min,
            max: row.max,
            limit: row.limit,
            size_word: row.size_word as isize,
            elements: row.elements as isize,
        })
    }

    fn global(&self, row: GlobalRow) -> Result<Global, Malformed> {
        let bad = Malformed("a global is out of range");
        let import = self.import_row(row.import, ExternKind::Global)?;
        let ty = self.val_type(row.ty).ok_or(bad)?;
        if import.is_none() && !self.in_block(row.cell, 8 * ty.cells() as u64) {
            return Err(bad);
        }
        Ok(Global { import, ty, mutable: row.mutable != 0, cell: row.cell as isize })
    }

    fn val_type(&self, raw: u32) -> Option<ValType> {
        ValType::from_raw(u8::try_from(raw).ok()?)
    }

    fn in_block(&self, offset: i64, len: u64) -> bool {
        self.blocks.contain(offset, len)
    }
}

/// Whether a memory or table that has `actual` elements and may have `actual_max` can be what an import asks for
/// (specification: import subtyping of limits). The maxima may be [`NO_MAXIMUM`].
pub(crate) fn limits_match(actual: u64, actual_max: u64, min: u64, max: u64) -> bool {
    actual >= min && (max == NO_MAXIMUM || actual_max <= max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use precast_abi::meta::{Header, MetaBuilder};
    use precast_abi::{ABI_VERSION, MAGIC, bytes::Span};

    fn builder() -> MetaBuilder {
        MetaBuilder::new(Header {
            magic: MAGIC,
            abi_version: ABI_VERSION,
            machine: 62,
            features: 0,
            digest: [0; 32],
            producer: Span::default(),
            text_offset: 4096,
            text_len: 64,
            image_offset: 8192,
            image_len: 0,
            layout: SlotLayout {
                page_size: 4096,
                stack_start: 65536,
                block_start: (1 << 20) - 1024,
                host_start: (1 << 20) - 1024,
                host_size: 1024,
                base_offset: (1 << 20) + 4096,
                slot_size: (1 << 20) + 4096 + GUARDED_RESERVATION,
            },
            init: NONE,
            wit: Span::default(),
            metering: 0,
            source: [0; 32],
        })
    }

    fn plan(edit: impl FnOnce(&mut MetaBuilder)) -> Result<Plan, Malformed> {
        let mut builder = builder();
        edit(&mut builder);
        Plan::new(&Meta::parse(&builder.encode()).unwrap())
    }

    fn memory() -> MemoryRow {
        MemoryRow {
            import: NONE,
            model: MemoryModel::Guarded as u32,
            min: 1,
            max: NO_MAXIMUM,
            page_size_log2: 16,
            size_word: -8,
            slot_offset: (1 << 20) + 4096,
            reservation: GUARDED_RESERVATION,
        }
    }

    #[test]
    fn sound_rows_are_decoded() {
        let plan = plan(|meta| {
            meta.memories.push(memory());
            meta.globals.push(GlobalRow { import: NONE, ty: ValType::V128 as u32, mutable: 1, cell: -32 });
            let element = ValType::FuncRef as u32;
            let table = TableRow { import: NONE, element, min: 2, max: 9, limit: 4, size_word: -40, elements: -4096 };
            meta.tables.push(table);
        });
        let plan = plan.unwrap();
        assert_eq!((plan.memories[0].start, plan.memories[0].capacity), (0, 4 << 30));
        assert_eq!(plan.globals[0].cell, -32);
        assert_eq!(plan.tables[0].limit, 4);
        assert_eq!(plan.words_len, 64);
    }

    #[test]
    fn damaged_rows_are_refused() {
        let edits: [fn(&mut MemoryRow); 7] = [
            |row| row.slot_offset -= 4096,
            |row| row.slot_offset = u64::MAX,
            |row| row.reservation += 4096,
            |row| row.reservation = 4096,
            |row| row.size_word = 0,
            |row| row.size_word = -4104,
            |row| row.import = 7,
        ];
        for edit in edits {
            let mut row = memory();
            edit(&mut row);
            assert!(plan(|meta| meta.memories.push(row)).is_err(), "{row:?}");
        }
        for (limit, elements) in [(5, -32), (u64::MAX, -32), (1, 8), (1, -12), (1 << 61, -32), (1, i64::MIN)] {
            let element = ValType::FuncRef as u32;
            let row = TableRow { import: NONE, element, min: 0, max: 9, limit, size_word: -8, elements };
            assert!(plan(|meta| meta.tables.push(row)).is_err(), "{row:?}");
        }
        for (ty, cell) in [(ValType::V128, -8), (ValType::I32, 0), (ValType::I64, -4)] {
            let row = GlobalRow { import: NONE, ty: ty as u32, mutable: 0, cell };
            assert!(plan(|meta| meta.globals.push(row)).is_err(), "{row:?}");
        }
        for (kind, cell) in [(0, 64), (1, 64), (3, 64), (9, 64), (0, 60), (0, 4096)] {
            let name = Span::default();
            let row = ImportRow { module: name, name, kind, index: 0, cell, ty: 1, host_thunk: 0 };
            assert!(plan(|meta| meta.imports.push(row)).is_err(), "{row:?}");
        }
    }

    #[test]
    fn import_limits() {
        assert!(limits_match(2, 4, 1, 4));
        assert!(limits_match(2, NO_MAXIMUM, 1, NO_MAXIMUM));
        assert!(!limits_match(2, NO_MAXIMUM, 1, 9));
        assert!(!limits_match(2, 4, 3, 4));
        assert!(!limits_match(2, 5, 1, 4));
    }
}
