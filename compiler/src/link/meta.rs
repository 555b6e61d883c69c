//! `.precast.meta`: what the loader knows of the program. `FORMAT.md` of `precast-abi` draws the bytes.
//!
//! The rows come from the program alone, in the order of its index spaces. What depends on the place of things in the
//! file (header and run table) is set by `elf.rs`.

use cranelift_codegen::entity::EntityRef;
use precast_abi::bytes::Span;
use precast_abi::meta::{
    DataRow, ElementRow, ExportRow, ExternKind, FunctionRow, GlobalRow, Header, ImportRow, MemoryRow, MetaBuilder,
    NO_MAXIMUM, NONE, RunRow, TableRow, TypeRow,
};
use precast_abi::slot::WASM_PAGE;
use precast_abi::types::FuncType;
use precast_abi::{ABI_VERSION, MAGIC, sites};

use super::LinkInput;
use super::names::TextFunction;
use crate::error::{Error, Place};
use crate::options::{OptLevel, Options};
use crate::program::{FuncPlace, GlobalPlace, Memory, MemoryPlace, Program, Symbol, TablePlace};

/// Bytes of names, signatures and segments: spans in the tables reach 4 GiB, and the rows need some of that.
const BLOB_LIMIT: u64 = 2 << 30;

/// All tables. Runs say where they are in the image, and the header's offsets are zero: see `elf.rs`.
///
/// # Errors
/// [`Error::Limit`] if names and segments are larger than the format allows.
pub(super) fn meta(input: &LinkInput<'_>, functions: &[TextFunction]) -> Result<MetaBuilder, Error> {
    let mut tables = Tables { input, meta: MetaBuilder::new(header(input)), blob_len: 0 };
    tables.meta.header.producer = tables.text(&producer(input))?;
    tables.types()?;
    tables.functions(functions)?;
    tables.imports()?;
    tables.exports()?;
    tables.memories();
    tables.tables();
    tables.globals();
    tables.data()?;
    tables.elements()?;
    tables.runs();
    Ok(tables.meta)
}

fn header(input: &LinkInput<'_>) -> Header {
    Header {
        magic: MAGIC,
        abi_version: ABI_VERSION,
        machine: input.options.arch.elf_machine().into(),
        features: input.options.features,
        digest: [0; 32],
        producer: Span::default(),
        text_offset: 0,
        text_len: 0,
        image_offset: 0,
        image_len: 0,
        layout: input.program.layout,
        init: input.text.offset(Symbol::Init).unwrap_or(NONE),
        wit: Span::default(),
    }
}

/// Who compiled it and how.
fn producer(input: &LinkInput<'_>) -> String {
    let options = input.options;
    let opt_level = match options.opt_level {
        OptLevel::None => "none",
        OptLevel::Speed => "speed",
        OptLevel::SpeedAndSize => "speed-and-size",
    };
    let nans = if options.canonicalize_nans { "; nans=canonical" } else { "" };
    let layout = &input.program.layout;
    let stack = layout.block_start - layout.stack_start;
    format!("{}; opt={opt_level}; cpu={}{nans}; stack={stack}", crate::VERSION, cpu(options))
}

/// The level that has exactly these features, or their names.
fn cpu(options: &Options<'_>) -> String {
    let level = options.arch.levels().iter().find(|level| level.features == options.features);
    let features = options.arch.features().iter().filter(|feature| options.features >> feature.bit & 1 == 1);
    match level {
        Some(level) => level.name.to_string(),
        None => features.map(|feature| feature.name).collect::<Vec<_>>().join("+"),
    }
}

/// BLAKE3 of a type's canonical recursion group, in the binary format, and its index in the group (32 bits). Every
/// function type compiled so far is final, has no supertypes and is the only one of its group, which the binary format
/// abbreviates to `0x60 vec(params) vec(results)`.
fn type_hash(ty: &FuncType) -> [u8; 32] {
    let mut group = vec![0x60];
    for types in [&ty.params, &ty.results] {
        leb128(types.len(), &mut group);
        group.extend(types.iter().map(|ty| *ty as u8));
    }
    group.extend(0u32.to_le_bytes());
    *blake3::hash(&group).as_bytes()
}

fn leb128(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The tables being filled.
struct Tables<'a> {
    input: &'a LinkInput<'a>,
    meta: MetaBuilder,
    /// At least the length of the blob.
    blob_len: u64,
}

impl Tables<'_> {
    fn types(&mut self) -> Result<(), Error> {
        for (id, ty) in &self.input.program.types {
            let row = if id.index() == 0 {
                TypeRow { hash: [0; 32], signature: Span::default(), entry: NONE }
            } else {
                let entry = self.input.text.offset(Symbol::EntryThunk(id)).unwrap_or(NONE);
                TypeRow { hash: type_hash(ty), signature: self.bytes(&ty.encode())?, entry }
            };
            self.meta.types.push(row);
        }
        Ok(())
    }

    fn functions(&mut self, functions: &[TextFunction]) -> Result<(), Error> {
        let mut encoded = Vec::new();
        for (function, compiled) in functions.iter().zip(self.input.functions) {
            encoded.clear();
            sites::encode(compiled.sites.iter().copied(), &mut encoded);
            self.claim(encoded.len())?;
            let row = FunctionRow {
                start: function.range.start,
                len: function.range.end - function.range.start,
                kind: function.kind as u32,
                index: function.index,
                name: self.text(&function.name)?,
                sites: self.meta.blob.append(&encoded),
            };
            self.meta.functions.push(row);
        }
        Ok(())
    }

    fn imports(&mut self) -> Result<(), Error> {
        let program = self.input.program;
        // Imported functions are in the order of the import table.
        let mut funcs = program.func_imports.iter();
        for import in &program.imports {
            let func = if import.kind == ExternKind::Func { funcs.next() } else { None };
            let (ty, host_thunk) = match func {
                Some((func, import)) => (import.ty.as_u32(), self.text_offset(Symbol::HostThunk(func))?),
                None => (NONE, NONE),
            };
            let row = ImportRow {
                module: self.text(&import.module)?,
                name: self.text(&import.name)?,
                kind: import.kind as u32,
                index: import.index,
                cell: import.cell,
                ty,
                host_thunk,
            };
            self.meta.imports.push(row);
        }
        Ok(())
    }

    fn exports(&mut self) -> Result<(), Error> {
        for export in &self.input.program.exports {
            let (ty, text_offset) = if export.kind == ExternKind::Func {
                let (place, ty): (FuncPlace, _) = self.input.program.env.funcs[export.index as usize];
                (ty.as_u32(), self.text_offset(place.symbol())?)
            } else {
                (NONE, NONE)
            };
            let name = self.text(&export.name)?;
            self.meta.exports.push(ExportRow { name, kind: export.kind as u32, index: export.index, ty, text_offset });
        }
        Ok(())
    }

    fn memories(&mut self) {
        let program = self.input.program;
        let imports = import_rows(program, ExternKind::Memory);
        for (index, memory) in program.env.memories.iter().enumerate() {
            let (size_word, slot_offset, reservation) = match memory.place {
                MemoryPlace::Own { start, size_word } => {
                    let slot_offset = program.layout.base_offset.wrapping_add_signed(start);
                    (size_word, slot_offset, reservation(program, start, slot_offset))
                }
                MemoryPlace::Imported { .. } => (0, 0, 0),
            };
            self.meta.memories.push(MemoryRow {
                import: import_row(&imports, index),
                model: memory.model as u32,
                min: memory.min,
                max: memory.max.unwrap_or(NO_MAXIMUM),
                page_size_log2: WASM_PAGE.ilog2(),
                size_word: size_word.into(),
                slot_offset,
                reservation,
            });
        }
    }

    fn tables(&mut self) {
        let program = self.input.program;
        let imports = import_rows(program, ExternKind::Table);
        for (index, table) in program.env.tables.iter().enumerate() {
            let (limit, size_word, elements) = match table.place {
                TablePlace::Own { elements, size_word } => (table.limit, size_word, elements),
                TablePlace::Imported { .. } => (0, 0, 0),
            };
            self.meta.tables.push(TableRow {
                import: import_row(&imports, index),
                element: table.element as u32,
                min: table.min,
                max: table.max.unwrap_or(NO_MAXIMUM),
                limit,
                size_word: size_word.into(),
                elements: elements.into(),
            });
        }
    }

    fn globals(&mut self) {
        let program = self.input.program;
        let imports = import_rows(program, ExternKind::Global);
        for (index, global) in program.env.globals.iter().enumerate() {
            let cell = match global.place {
                GlobalPlace::Own { cell } => cell,
                GlobalPlace::Imported { .. } => 0,
            };
            let (import, ty) = (import_row(&imports, index), global.ty as u32);
            self.meta.globals.push(GlobalRow { import, ty, mutable: global.mutable.into(), cell: cell.into() });
        }
    }

    fn data(&mut self) -> Result<(), Error> {
        let program = self.input.program;
        for (place, segment) in program.env.data.iter().zip(&program.module.data) {
            let row = match place.len_word {
                Some(len_word) => {
                    self.claim(segment.bytes.len())?;
                    DataRow { contents: self.meta.blob.append(segment.bytes), len_word: len_word.into() }
                }
                None => DataRow { contents: Span::default(), len_word: 0 },
            };
            self.meta.data.push(row);
        }
        Ok(())
    }

    fn elements(&mut self) -> Result<(), Error> {
        let references = &self.input.image.element_refs;
        for (place, references) in self.input.program.env.elements.iter().zip(references) {
            let row = match (place.len_word, place.cells) {
                (None, _) => ElementRow { contents: Span::default(), cells: 0, len_word: 0 },
                (Some(len_word), Some(cells)) => {
                    ElementRow { contents: Span::default(), cells: cells.into(), len_word: len_word.into() }
                }
                (Some(len_word), None) => {
                    let bytes: Vec<u8> = references.iter().flat_map(|reference| reference.to_le_bytes()).collect();
                    self.claim(bytes.len() + size_of::<u64>())?;
                    ElementRow { contents: self.meta.blob.append_aligned(&bytes), cells: 0, len_word: len_word.into() }
                }
            };
            self.meta.elements.push(row);
        }
        Ok(())
    }

    fn runs(&mut self) {
        let mut file_offset = 0;
        for run in &self.input.image.runs {
            let len = run.bytes.len() as u64;
            self.meta.runs.push(RunRow { slot_offset: run.slot_offset, file_offset, len });
            file_offset += len;
        }
    }

    fn text_offset(&self, symbol: Symbol) -> Result<u32, Error> {
        let offset = self.input.text.offset(symbol);
        offset.ok_or_else(|| Error::internal("link", format_args!("{symbol:?} was not compiled")))
    }

    fn text(&mut self, text: &str) -> Result<Span, Error> {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Span, Error> {
        self.claim(bytes.len())?;
        Ok(self.meta.blob.intern(bytes))
    }

    /// Counts bytes that go into the blob.
    fn claim(&mut self, len: usize) -> Result<(), Error> {
        self.blob_len += len as u64;
        if self.blob_len > BLOB_LIMIT {
            let (found, place) = (self.blob_len, Place::default());
            return Err(Error::Limit { what: "size of names and segments", found, limit: BLOB_LIMIT, place });
        }
        Ok(())
    }
}

/// The rows of all imports of a kind, by index.
fn import_rows(program: &Program<'_>, kind: ExternKind) -> Vec<u32> {
    (0..).zip(&program.imports).filter(|(_, import)| import.kind == kind).map(|(row, _)| row).collect()
}

/// The row of an import; imports come first in each index space.
fn import_row(rows: &[u32], index: usize) -> u32 {
    rows.get(index).copied().unwrap_or(NONE)
}

/// Bytes of addresses of a memory: up to the next one or the end of the slot, since nothing else comes after the base.
fn reservation(program: &Program<'_>, start: i64, slot_offset: u64) -> u64 {
    let own_start = |memory: &Memory| match memory.place {
        MemoryPlace::Own { start, .. } => Some(start),
        MemoryPlace::Imported { .. } => None,
    };
    let next = program.env.memories.iter().filter_map(own_start).filter(|other| *other > start).min();
    match next {
        Some(next) => (next - start) as u64,
        None => program.layout.slot_size - slot_offset,
    }
}
