//! What `precast inspect` has to say, gathered from the meta tables. They may be damaged, so whatever a row points to
//! may be missing: it is shown as `?`.

use std::cmp::Reverse;

use precast_abi::meta::{
    ExternKind, FunctionKind, GlobalRow, MemoryModel, MemoryRow, Meta, NO_MAXIMUM, NONE, ProfileRow, TableRow,
};
use precast_abi::types::{FuncType, ValType};
use precast_targets::{Arch, Feature};

use super::component::Component;
use super::elf::{ArtifactBytes, Part};

/// Everything about an artifact.
pub(crate) struct Report {
    /// The file, as the user named it.
    pub(crate) file: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// The target triple, or the number of a machine that is not ours.
    pub(crate) target: String,
    /// The CPU level whose features these are, if there is one.
    pub(crate) cpu: Option<&'static str>,
    /// Names of the CPU features the code may use.
    pub(crate) features: Vec<String>,
    /// Who compiled it.
    pub(crate) producer: String,
    /// The digest that the file states, in hexadecimal.
    pub(crate) digest: String,
    /// Whether the file has that digest.
    pub(crate) digest_matches: bool,
    /// ABI version.
    pub(crate) abi_version: u32,
    /// Whether code counts fuel.
    pub(crate) metered: bool,
    /// BLAKE3 of what was compiled, in hexadecimal.
    pub(crate) source: String,
    /// What it is laid out by.
    pub(crate) profile: Option<Profile>,
    /// Whether instantiating runs code.
    pub(crate) init: bool,
    /// What only a component has.
    pub(crate) component: Option<Component>,
    /// Imports in the module's order.
    pub(crate) imports: Vec<Import>,
    /// Exports by name.
    pub(crate) exports: Vec<Export>,
    /// Memories in the order of the index space.
    pub(crate) memories: Vec<Memory>,
    /// Tables in the order of the index space.
    pub(crate) tables: Vec<Table>,
    /// Regions of the slot, in order.
    pub(crate) slot: Vec<Region>,
    /// Bytes of addresses of a slot.
    pub(crate) slot_size: u64,
    /// Bytes of the image that are in the file.
    pub(crate) image_bytes: u64,
    /// Runs of the image.
    pub(crate) image_runs: usize,
    /// Sections.
    pub(crate) parts: Vec<Part>,
    /// Number of functions of the module that are compiled.
    pub(crate) functions: usize,
    /// Number of thunks and stubs.
    pub(crate) thunks: usize,
    /// The biggest functions, biggest first.
    pub(crate) biggest: Vec<Function>,
}

/// The profile that an artifact is laid out by.
pub(crate) struct Profile {
    /// BLAKE3 of its text, in hexadecimal.
    pub(crate) digest: String,
    /// Whether it was recorded with the same program.
    pub(crate) same_source: bool,
    /// Functions that it names.
    pub(crate) functions: u32,
    /// Those that the program has.
    pub(crate) functions_found: u32,
    /// Pages that it names.
    pub(crate) pages: u32,
    /// Those that an instance has.
    pub(crate) pages_found: u32,
    /// Bytes of text up to the end of the last function that it names.
    pub(crate) text_bytes: u32,
}

/// An import.
pub(crate) struct Import {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) ty: String,
}

/// An export.
pub(crate) struct Export {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) ty: String,
}

/// A memory.
pub(crate) struct Memory {
    pub(crate) imported: bool,
    /// In pages.
    pub(crate) min: u64,
    /// In pages.
    pub(crate) max: Option<u64>,
    /// In bytes.
    pub(crate) page_size: u64,
    pub(crate) model: &'static str,
    /// Bytes of addresses, guard included.
    pub(crate) reservation: u64,
}

/// A table.
pub(crate) struct Table {
    pub(crate) imported: bool,
    pub(crate) element: &'static str,
    pub(crate) min: u64,
    pub(crate) max: Option<u64>,
    /// Elements there is room for.
    pub(crate) limit: u64,
}

/// A region of the slot.
pub(crate) struct Region {
    pub(crate) name: String,
    /// In bytes from the slot's start.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) bytes: u64,
}

/// A function of the text.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) index: u32,
    /// In bytes.
    pub(crate) bytes: u32,
}

impl Report {
    /// Gathers the report on `file`, whose size is `bytes`, with the `biggest` biggest functions.
    pub(crate) fn new(file: String, bytes: u64, artifact: ArtifactBytes<'_>, biggest: usize) -> Self {
        let ArtifactBytes { meta, .. } = artifact;
        let header = &meta.header;
        let arch = Arch::from_elf_machine(header.machine);
        let wasm = |kind: u32| FunctionKind::from_raw(kind) == Some(FunctionKind::Wasm);
        let functions = meta.functions.iter().filter(|row| wasm(row.kind)).count();
        Report {
            file,
            bytes,
            target: arch.map_or_else(|| format!("ELF machine {}", header.machine), |arch| arch.triple().into()),
            cpu: arch
                .and_then(|arch| arch.levels().iter().find(|level| level.features == header.features))
                .map(|l| l.name),
            features: feature_names(arch.map_or(&[], Arch::features), header.features),
            producer: text(meta.str(header.producer)),
            digest: hexadecimal(&header.digest),
            digest_matches: artifact.is_intact(),
            abi_version: header.abi_version,
            metered: header.metering != 0,
            source: hexadecimal(&header.source),
            profile: meta.profile.get(0).map(profile),
            init: header.init != NONE,
            component: Component::new(&meta),
            imports: imports(&meta),
            exports: exports(&meta),
            memories: meta.memories.iter().map(memory).collect(),
            tables: meta.tables.iter().map(table).collect(),
            slot: regions(&meta),
            slot_size: header.layout.slot_size,
            image_bytes: meta.runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.len)),
            image_runs: meta.runs.len(),
            parts: artifact.parts,
            functions,
            thunks: meta.functions.len() - functions,
            biggest: biggest_functions(&meta, biggest),
        }
    }
}

fn hexadecimal(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn profile(row: ProfileRow) -> Profile {
    Profile {
        digest: hexadecimal(&row.digest),
        same_source: row.same_source == 1,
        functions: row.functions,
        functions_found: row.functions_found,
        pages: row.pages,
        pages_found: row.pages_found,
        text_bytes: row.text_len,
    }
}

pub(super) fn text(found: Option<&str>) -> String {
    found.unwrap_or("?").to_owned()
}

fn feature_names(known: &[Feature], features: u64) -> Vec<String> {
    let name = |bit: u32| match known.iter().find(|feature| feature.bit == bit) {
        Some(feature) => feature.name.to_owned(),
        None => format!("bit {bit}"),
    };
    (0..64).filter(|bit| features >> bit & 1 == 1).map(name).collect()
}

fn imports(meta: &Meta<'_>) -> Vec<Import> {
    let import = |row: precast_abi::meta::ImportRow| Import {
        module: text(meta.str(row.module)),
        name: text(meta.str(row.name)),
        kind: kind_name(row.kind),
        ty: extern_type(meta, row.kind, row.index, row.ty),
    };
    meta.imports.iter().map(import).collect()
}

fn exports(meta: &Meta<'_>) -> Vec<Export> {
    let export = |row: precast_abi::meta::ExportRow| Export {
        name: text(meta.str(row.name)),
        kind: kind_name(row.kind),
        ty: extern_type(meta, row.kind, row.index, row.ty),
    };
    meta.exports.iter().map(export).collect()
}

fn kind_name(kind: u32) -> String {
    ExternKind::from_raw(kind).map_or("?", ExternKind::name).to_owned()
}

/// The type of an import or export, for people.
fn extern_type(meta: &Meta<'_>, kind: u32, index: u32, ty: u32) -> String {
    let index = index as usize;
    let found = match ExternKind::from_raw(kind) {
        Some(ExternKind::Func) => func_type(meta, ty).map(|ty| func_type_name(&ty)),
        Some(ExternKind::Table) => {
            meta.tables.get(index).map(table).map(|table| format!("{} {}", limits(table.min, table.max), table.element))
        }
        Some(ExternKind::Memory) => {
            meta.memories.get(index).map(memory).map(|memory| format!("{} pages", limits(memory.min, memory.max)))
        }
        Some(ExternKind::Global) => meta.globals.get(index).map(global_type),
        None => None,
    };
    found.unwrap_or_else(|| "?".into())
}

fn func_type(meta: &Meta<'_>, row: u32) -> Option<FuncType> {
    FuncType::decode(meta.bytes(meta.types.get(row as usize)?.signature)?)
}

/// `(i32, i64) -> f64`.
fn func_type_name(ty: &FuncType) -> String {
    let names = |types: &[ValType]| types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
    let params = names(&ty.params);
    match &ty.results[..] {
        [] => format!("({params})"),
        [result] => format!("({params}) -> {}", result.name()),
        results => format!("({params}) -> ({})", names(results)),
    }
}

/// `2..16`, or `2..` without a maximum.
pub(crate) fn limits(min: u64, max: Option<u64>) -> String {
    max.map_or_else(|| format!("{min}.."), |max| format!("{min}..{max}"))
}

fn global_type(row: GlobalRow) -> String {
    format!("{}{}", if row.mutable == 0 { "" } else { "mut " }, val_type_name(row.ty))
}

fn val_type_name(raw: u32) -> &'static str {
    u8::try_from(raw).ok().and_then(ValType::from_raw).map_or("?", ValType::name)
}

fn maximum(max: u64) -> Option<u64> {
    (max != NO_MAXIMUM).then_some(max)
}

fn memory(row: MemoryRow) -> Memory {
    Memory {
        imported: row.import != NONE,
        min: row.min,
        max: maximum(row.max),
        page_size: 1u64.checked_shl(row.page_size_log2).unwrap_or_default(),
        model: match MemoryModel::from_raw(row.model) {
            Some(MemoryModel::Guarded) => "guarded",
            Some(MemoryModel::Checked) => "checked",
            None => "?",
        },
        reservation: row.reservation,
    }
}

fn table(row: TableRow) -> Table {
    let element = val_type_name(row.element);
    Table { imported: row.import != NONE, element, min: row.min, max: maximum(row.max), limit: row.limit }
}

/// The regions of the slot: see [`precast_abi::slot`].
fn regions(meta: &Meta<'_>) -> Vec<Region> {
    let layout = &meta.header.layout;
    let host_end = layout.host_start.saturating_add(layout.host_size);
    let region = |name: &str, start: u64, end: u64| Region {
        name: name.into(),
        offset: start,
        bytes: end.saturating_sub(start),
    };
    let mut regions = vec![
        region("stack guard", 0, layout.stack_start),
        region("stack", layout.stack_start, layout.block_start),
        region("tables", layout.block_start, layout.host_start),
        region("host words", layout.host_start, host_end),
        region("sizes, globals", host_end, layout.base_offset),
    ];
    for (index, row) in meta.memories.iter().enumerate().filter(|(_, row)| row.import == NONE) {
        regions.push(Region { name: format!("memory {index}"), offset: row.slot_offset, bytes: row.reservation });
    }
    regions
}

fn biggest_functions(meta: &Meta<'_>, count: usize) -> Vec<Function> {
    let mut rows: Vec<_> = meta.functions.iter().collect();
    rows.sort_by_key(|row| (Reverse(row.len), row.start));
    let function = |row: precast_abi::meta::FunctionRow| Function {
        name: format!("{:#}", rustc_demangle::demangle(&text(meta.str(row.name)))),
        kind: match FunctionKind::from_raw(row.kind) {
            Some(FunctionKind::Wasm) => "function",
            Some(FunctionKind::ImportStub) => "import stub",
            Some(FunctionKind::HostThunk) => "host thunk",
            Some(FunctionKind::EntryThunk) => "entry thunk",
            Some(FunctionKind::Init) => "initialiser",
            Some(FunctionKind::Helper) => "helper",
            Some(FunctionKind::Glue) => "glue",
            None => "?",
        },
        index: row.index,
        bytes: row.len,
    };
    rows.into_iter().take(count).map(function).collect()
}
