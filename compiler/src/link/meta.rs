//! `.precast.meta`: what the loader knows of the program. `FORMAT.md` of `precast-abi` draws the bytes.
//!
//! The rows come from the program alone, in the order of its index spaces. What depends on the place of things in the
//! file (header and run table) is set by `elf.rs`.

use cranelift_codegen::entity::EntityRef;
use precast_abi::bytes::Span;
use precast_abi::meta::{
    DataRow, ElementRow, ExportRow, ExternKind, FunctionRow, GlobalRow, GroupRow, Header, ImportRow, MemoryRow,
    MetaBuilder, NO_MAXIMUM, NONE, RunRow, TableRow, TypeRow,
};
use precast_abi::slot::WASM_PAGE;
use precast_abi::types::FuncType;
use precast_abi::{ABI_VERSION, MAGIC, sites};

use super::LinkInput;
use super::names::TextFunction;
use crate::component::linkage::CoreInstance;
use crate::error::{Error, Place};
use crate::options::{OptLevel, Options};
use crate::profile::LaidOut;
use crate::program::{GlobalPlace, Group, Instance, MemoryPlace, Program, Symbol, TablePlace};

/// Bytes of names, signatures and segments: spans in the tables reach 4 GiB, and the rows need some of that.
const BLOB_LIMIT: u64 = 2 << 30;

/// All tables. Runs say where they are in the image, and the header's offsets are zero: see `elf.rs`.
///
/// # Errors
/// [`Error::Limit`] if names and segments are larger than the format allows.
pub(super) fn meta(input: &LinkInput<'_>, functions: &[TextFunction]) -> Result<MetaBuilder, Error> {
    let mut tables = Tables { input, meta: MetaBuilder::new(header(input)), blob_len: 0 };
    tables.meta.header.producer = tables.text(&producer(input))?;
    tables.meta.header.wit = tables.text(input.options.wit.as_deref().unwrap_or_default())?;
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
    tables.groups();
    tables.component()?;
    tables.profile();
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
        metering: input.program.metered.into(),
        source: input.source,
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
    let fuel = if options.fuel { "; fuel" } else { "" };
    let stack = options.stack_size;
    format!("{}; opt={opt_level}; cpu={}{nans}{fuel}; stack={stack}", crate::VERSION, cpu(options))
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
pub(super) struct Tables<'a> {
    pub(super) input: &'a LinkInput<'a>,
    pub(super) meta: MetaBuilder,
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
        let program = self.input.program;
        for export in &program.exports {
            let (ty, text_offset) = if export.kind == ExternKind::Func {
                let (place, ty) = program.instances[CoreInstance::new(0)].env.funcs[export.index as usize];
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
        for (row, &(instance, index)) in program.rows.memories.iter().enumerate() {
            let Instance { env, group, .. } = &program.instances[instance];
            let memory = env.memories[index as usize];
            let (size_word, slot_offset, reservation) = match memory.place {
                MemoryPlace::Own { start, size_word, reservation } => {
                    let slot_offset = program.groups[*group].base_offset.wrapping_add_signed(start);
                    (from_base(program, *group, size_word), slot_offset, reservation)
                }
                MemoryPlace::Imported { .. } => (0, 0, 0),
            };
            self.meta.memories.push(MemoryRow {
                import: import_row(&imports, row),
                model: memory.model as u32,
                min: self.input.image.memory_pages[row],
                max: memory.max.unwrap_or(NO_MAXIMUM),
                page_size_log2: WASM_PAGE.ilog2(),
                size_word,
                slot_offset,
                reservation,
            });
        }
    }

    fn tables(&mut self) {
        let program = self.input.program;
        let imports = import_rows(program, ExternKind::Table);
        for (row, &(instance, index)) in program.rows.tables.iter().enumerate() {
            let Instance { env, group, .. } = &program.instances[instance];
            let table = env.tables[index as usize];
            let (limit, size_word, elements) = match table.place {
                TablePlace::Own { elements, size_word } => {
                    let at = |offset| from_base(program, *group, offset);
                    (table.limit, at(size_word), at(elements))
                }
                TablePlace::Imported { .. } => (0, 0, 0),
            };
            self.meta.tables.push(TableRow {
                import: import_row(&imports, row),
                element: table.element as u32,
                min: self.input.image.table_sizes[row],
                max: table.max.unwrap_or(NO_MAXIMUM),
                limit,
                size_word,
                elements,
            });
        }
    }

    fn globals(&mut self) {
        let program = self.input.program;
        let imports = import_rows(program, ExternKind::Global);
        for (row, &(instance, index)) in program.rows.globals.iter().enumerate() {
            let Instance { env, group, .. } = &program.instances[instance];
            let global = env.globals[index as usize];
            let cell = match global.place {
                GlobalPlace::Own { cell } => from_base(program, *group, cell),
                GlobalPlace::Imported { .. } => 0,
            };
            let (import, ty) = (import_row(&imports, row), global.ty as u32);
            self.meta.globals.push(GlobalRow { import, ty, mutable: global.mutable.into(), cell });
        }
    }

    fn data(&mut self) -> Result<(), Error> {
        let program = self.input.program;
        for (&(instance, index), is_dropped) in program.rows.data.iter().zip(&self.input.image.dropped_data) {
            let Instance { module, env, group, .. } = &program.instances[instance];
            let bytes = if *is_dropped { &[] } else { module.data[index as usize].bytes };
            let row = match env.data[index as usize].len_word {
                Some(len_word) => {
                    self.claim(bytes.len())?;
                    let contents = self.meta.blob.append(bytes);
                    DataRow { contents, len_word: from_base(program, *group, len_word) }
                }
                None => DataRow { contents: Span::default(), len_word: 0 },
            };
            self.meta.data.push(row);
        }
        Ok(())
    }

    fn elements(&mut self) -> Result<(), Error> {
        let program = self.input.program;
        for (&(instance, index), references) in program.rows.elements.iter().zip(&self.input.image.element_refs) {
            let Instance { env, group, .. } = &program.instances[instance];
            let place = env.elements[index as usize];
            let at = |offset| from_base(program, *group, offset);
            let row = match (place.len_word, place.cells) {
                (None, _) => ElementRow { contents: Span::default(), cells: 0, len_word: 0 },
                (Some(len_word), Some(cells)) => {
                    ElementRow { contents: Span::default(), cells: at(cells), len_word: at(len_word) }
                }
                (Some(len_word), None) => {
                    let bytes: Vec<u8> = references.iter().flat_map(|reference| reference.to_le_bytes()).collect();
                    self.claim(bytes.len() + size_of::<u64>())?;
                    ElementRow { contents: self.meta.blob.append_aligned(&bytes), cells: 0, len_word: at(len_word) }
                }
            };
            self.meta.elements.push(row);
        }
        Ok(())
    }

    /// Groups are said only if there are several: the layout has the first.
    fn groups(&mut self) {
        let groups = &self.input.program.groups;
        if groups.len() > 1 {
            let rows = groups
                .values()
                .map(|group| GroupRow { block_start: group.block_start, base_offset: group.base_offset });
            self.meta.groups.extend(rows);
        }
    }

    fn profile(&mut self) {
        if let Some(LaidOut { profile, hot, numbers }) = self.input.profile {
            self.meta.profile.push(*profile);
            self.meta.hot.extend(hot);
            self.meta.numbers.extend(numbers);
        }
    }

    fn runs(&mut self) {
        let mut file_offset = 0;
        for run in &self.input.image.runs {
            let len = run.bytes.len() as u64;
            self.meta.runs.push(RunRow { slot_offset: run.slot_offset, file_offset, len });
            file_offset += len;
        }
    }

    pub(super) fn text_offset(&self, symbol: Symbol) -> Result<u32, Error> {
        let offset = self.input.text.offset(symbol);
        offset.ok_or_else(|| Error::internal("link", format_args!("{symbol:?} was not compiled")))
    }

    pub(super) fn text(&mut self, text: &str) -> Result<Span, Error> {
        self.bytes(text.as_bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<Span, Error> {
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

/// An offset from a group's base as one from the program's.
fn from_base(program: &Program<'_>, group: Group, offset: i32) -> i64 {
    program.distance(Group::FIRST, group) + i64::from(offset)
}
