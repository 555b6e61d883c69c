//! `.precast.meta`: the tables that describe an artifact.
//!
//! [`MetaBuilder`] encodes them, [`Meta`] reads them in place. `FORMAT.md` draws the bytes: a [`Header`], a directory
//! of one [`Span`] for each table, the tables, and the blob that names and signatures point into.
//!
//! To add a table: write its row with [`record!`](crate::record!), add one line to `tables!` below, raise
//! [`crate::ABI_VERSION`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::bytes::{Field, Span, Table};
use crate::component::{
    CanonRow, ComponentExportRow, ComponentFuncRow, ComponentImportRow, ComponentInstanceRow, ComponentTypeRow,
    HostFuncRow, ObtainedRow, ResourceRow,
};
use crate::slot::SlotLayout;
use crate::{ABI_VERSION, MAGIC, record};

/// "None" where a row holds an index or a text offset.
pub const NONE: u32 = u32::MAX;

/// "No maximum" of a memory or table.
pub const NO_MAXIMUM: u64 = u64::MAX;

record! {
    /// The identity of an artifact and the places of its parts.
    pub struct Header {
        /// [`MAGIC`].
        pub magic: [u8; 8],
        /// [`ABI_VERSION`] of the compiler.
        pub abi_version: u32,
        /// ELF machine (`e_machine`) of the text.
        pub machine: u32,
        /// CPU features the text may use: bits of `precast_targets`, for this machine.
        pub features: u64,
        /// BLAKE3 of the whole file with these 32 bytes zero.
        pub digest: [u8; 32],
        /// Who compiled it and how, UTF-8.
        pub producer: Span,
        /// File offset and virtual address of `.text`.
        pub text_offset: u64,
        /// Length in bytes of the pages that `.text` occupies: a multiple of the target's largest page, never zero.
        pub text_len: u64,
        /// File offset and virtual address of `.precast.image`.
        pub image_offset: u64,
        /// Length of `.precast.image` in bytes.
        pub image_len: u64,
        /// Geometry of the slot.
        pub layout: SlotLayout,
        /// Text offset of the compiled initialiser, an entry thunk (see [`TypeRow::entry`]) that ignores its code and
        /// values; [`NONE`] if instantiating needs no code.
        pub init: u32,
        /// A component's interface as WIT text; empty if it is not known.
        pub wit: Span,
        /// Whether code counts what it executes, in [`crate::host::Context::FUEL`]: 0 or 1.
        pub metering: u32,
        /// BLAKE3 of what was compiled.
        pub source: [u8; 32],
    }
}

/// Offset of [`Header::digest`] in bytes from the start of `.precast.meta`.
pub const DIGEST_OFFSET: usize = 8 + 4 + 4 + 8;

record! {
    /// A function type. Row 0 stands for "no type"; a function reference holds the row's index.
    pub struct TypeRow {
        /// BLAKE3 of the canonical recursion group and the type's index in it: equal types of different artifacts have
        /// equal hashes.
        pub hash: [u8; 32],
        /// The signature: [`crate::types::FuncType::encode`].
        pub signature: Span,
        /// Text offset of the entry thunk `extern "C" fn(base, code, values)`, which loads the parameters from
        /// `values`, calls `code` and stores the results there; [`NONE`] if nothing outside can call the type.
        pub entry: u32,
    }
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum FunctionKind {
    /// A function defined by the module; `index` is in the module's function index space.
    Wasm = 0,
    /// Forwards to an imported function; `index` is the import's.
    ImportStub = 1,
    /// Calls a host function bound to an import; `index` is the import's.
    HostThunk = 2,
    /// Called by the host to enter; `index` is the type's.
    EntryThunk = 3,
    /// The initialiser.
    Init = 4,
    /// Code that functions of the module share; `index` tells helpers apart.
    Helper = 5,
    /// Code between instances: adapters and what belongs to resources; `index` tells them apart.
    Glue = 6,
}

impl FunctionKind {
    /// The kind stored as `raw`.
    pub fn from_raw(raw: u32) -> Option<Self> {
        [Self::Wasm, Self::ImportStub, Self::HostThunk, Self::EntryThunk, Self::Init, Self::Helper, Self::Glue]
            .into_iter()
            .find(|k| *k as u32 == raw)
    }
}

record! {
    /// A function in `.text`. Rows are sorted by `start` and do not overlap.
    pub struct FunctionRow {
        /// Text offset of its first byte.
        pub start: u32,
        /// Length in bytes, constants and jump tables included.
        pub len: u32,
        /// A [`FunctionKind`].
        pub kind: u32,
        /// See [`FunctionKind`].
        pub index: u32,
        /// Its name, UTF-8.
        pub name: Span,
        /// Its sites: [`crate::sites`].
        pub sites: Span,
    }
}

/// What is imported or exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExternKind {
    /// A function.
    Func = 0,
    /// A table.
    Table = 1,
    /// A memory.
    Memory = 2,
    /// A global.
    Global = 3,
}

impl ExternKind {
    /// The kind stored as `raw`.
    pub fn from_raw(raw: u32) -> Option<Self> {
        [Self::Func, Self::Table, Self::Memory, Self::Global].into_iter().find(|kind| *kind as u32 == raw)
    }

    /// The kind's name in the text format.
    pub fn name(self) -> &'static str {
        match self {
            ExternKind::Func => "func",
            ExternKind::Table => "table",
            ExternKind::Memory => "memory",
            ExternKind::Global => "global",
        }
    }
}

record! {
    /// An import, in the module's order.
    pub struct ImportRow {
        /// First name.
        pub module: Span,
        /// Second name.
        pub name: Span,
        /// An [`ExternKind`].
        pub kind: u32,
        /// Index in the index space of its kind. Tables, memories and globals have their type in their own row.
        pub index: u32,
        /// Offset in bytes of its cell from the slot's start: see [`crate::host`].
        pub cell: u32,
        /// Functions: row of the type; otherwise [`NONE`].
        pub ty: u32,
        /// Functions: text offset of the host thunk; otherwise [`NONE`].
        pub host_thunk: u32,
    }
}

record! {
    /// An export. Rows are sorted by the bytes of the name.
    pub struct ExportRow {
        /// Its name.
        pub name: Span,
        /// An [`ExternKind`].
        pub kind: u32,
        /// Index in the index space of its kind; imports come first in each.
        pub index: u32,
        /// Functions: row of the type; otherwise [`NONE`].
        pub ty: u32,
        /// Functions: text offset of the code (an import's stub, for one that is imported); otherwise [`NONE`].
        pub text_offset: u32,
    }
}

/// How accesses to a memory are kept inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MemoryModel {
    /// By reservation and guard: [`crate::slot::GUARDED_RESERVATION`].
    Guarded = 0,
    /// By comparing with the size word.
    Checked = 1,
}

impl MemoryModel {
    /// The model stored as `raw`.
    pub fn from_raw(raw: u32) -> Option<Self> {
        [Self::Guarded, Self::Checked].into_iter().find(|model| *model as u32 == raw)
    }
}

record! {
    /// A memory.
    pub struct MemoryRow {
        /// Row of its import, or [`NONE`].
        pub import: u32,
        /// A [`MemoryModel`].
        pub model: u32,
        /// Minimum size in pages.
        pub min: u64,
        /// Maximum size in pages, or [`NO_MAXIMUM`].
        pub max: u64,
        /// Bytes of a page, as a power of two.
        pub page_size_log2: u32,
        /// Own memories: offset from the base of the word with the current size in bytes.
        pub size_word: i64,
        /// Own memories: offset in bytes of the first byte from the slot's start.
        pub slot_offset: u64,
        /// Own memories: bytes of addresses, guard included.
        pub reservation: u64,
    }
}

record! {
    /// A table.
    pub struct TableRow {
        /// Row of its import, or [`NONE`].
        pub import: u32,
        /// [`crate::types::ValType`] of its elements.
        pub element: u32,
        /// Minimum number of elements.
        pub min: u64,
        /// Maximum number of elements, or [`NO_MAXIMUM`].
        pub max: u64,
        /// Own tables: number of elements there is room for. Growing beyond gives -1; a minimum beyond is an error at
        /// instantiation.
        pub limit: u64,
        /// Own tables: offset from the base of the word with the current number of elements.
        pub size_word: i64,
        /// Own tables: offset from the base of the first element, eight bytes each.
        pub elements: i64,
    }
}

record! {
    /// A global.
    pub struct GlobalRow {
        /// Row of its import, or [`NONE`].
        pub import: u32,
        /// [`crate::types::ValType`] of its value.
        pub ty: u32,
        /// 1 if mutable.
        pub mutable: u32,
        /// Own globals: offset of the value from the base.
        pub cell: i64,
    }
}

record! {
    /// A data segment that code may use while running.
    pub struct DataRow {
        /// Its bytes.
        pub contents: Span,
        /// Offset from the base of the 32-bit word with its current length, zero once dropped; 0 if the segment is
        /// dropped from the start.
        pub len_word: i64,
    }
}

record! {
    /// An element segment that code may use while running.
    pub struct ElementRow {
        /// Its references, eight bytes each, in the blob.
        pub contents: Span,
        /// Where the initialiser computes the references: offset from the base of the first one; 0 if they are in
        /// `contents`.
        pub cells: i64,
        /// Offset from the base of the 32-bit word with its current number of references, zero once dropped; 0 if the
        /// segment is dropped from the start.
        pub len_word: i64,
    }
}

record! {
    /// A run of pages of the image. Sorted, and all bounds are multiples of the layout's page size. What no run covers
    /// starts as zero.
    pub struct RunRow {
        /// Where the run goes: offset in bytes from the slot's start.
        pub slot_offset: u64,
        /// Where it comes from: offset in bytes in the file.
        pub file_offset: u64,
        /// Length in bytes.
        pub len: u64,
    }
}

record! {
    /// Core instances that share a memory, with a base of their own: what [`SlotLayout::block_start`] and
    /// [`SlotLayout::base_offset`] are to the first group, which is row 0. Their entry thunks are given the first
    /// group's base like all others.
    pub struct GroupRow {
        /// Start of its block in bytes from the slot's start. A multiple of [`crate::slot::ALIGN`].
        pub block_start: u64,
        /// Where its base points: the end of its block, and the start of its memory if it has one.
        pub base_offset: u64,
    }
}

record! {
    /// The profile that the artifact is laid out by: one row, or none.
    pub struct ProfileRow {
        /// BLAKE3 of its text as [`crate::profile::Profile`] prints it.
        pub digest: [u8; 32],
        /// 1 if it was recorded with the same program, as [`Header::source`] says.
        pub same_source: u32,
        /// Functions that it names.
        pub functions: u32,
        /// Those of them that the program has: they are the first in the text.
        pub functions_found: u32,
        /// Pages that it names.
        pub pages: u32,
        /// Those of them that a fresh instance has: see [`HotRow`].
        pub pages_found: u32,
        /// Bytes of text up to the end of the last function that it names.
        pub text_len: u32,
    }
}

record! {
    /// Pages that most instances write. Sorted and apart; bounds are multiples of [`crate::profile::PAGE`].
    pub struct HotRow {
        /// Offset in bytes from the slot's start.
        pub slot_offset: u64,
        /// Length in bytes.
        pub len: u64,
    }
}

record! {
    /// The number of the function in the same row of the functions: its place in the program's own order.
    pub struct NumberRow {
        /// Less than the number of functions; no two rows have the same.
        pub number: u32,
    }
}

/// Why bytes are not the meta of an artifact this loader can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaError {
    /// The bytes end before the header and directory do.
    Truncated,
    /// The magic number is another.
    Magic,
    /// The version is another: found.
    Version(u32),
    /// This table's place is outside the section, or its length is not a whole number of rows.
    Table(&'static str),
}

/// The one list of tables: `field: Row = "name"`.
macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident : $row:ty = $name:literal;)*) => {
        const TABLES: usize = [$($name),*].len() + 1;

        /// Everything `.precast.meta` says, to be encoded.
        pub struct MetaBuilder {
            /// The header.
            pub header: Header,
            $($(#[$doc])* pub $field: Vec<$row>,)*
            /// Names, signatures, segments.
            pub blob: Blob,
        }

        impl MetaBuilder {
            /// No rows yet.
            pub fn new(header: Header) -> Self {
                MetaBuilder { header, $($field: Vec::new(),)* blob: Blob::default() }
            }

            /// The bytes of the section.
            pub fn encode(&self) -> Vec<u8> {
                let mut directory = Vec::with_capacity(TABLES);
                let mut body = Vec::new();
                let mut place = |body: &mut Vec<u8>, start: usize| {
                    directory.push(Span { offset: (HEAD_SIZE + start) as u32, len: (body.len() - start) as u32 });
                    body.resize(body.len().next_multiple_of(8), 0);
                };
                $(
                    let start = body.len();
                    self.$field.iter().for_each(|row| row.encode(&mut body));
                    place(&mut body, start);
                )*
                let start = body.len();
                body.extend_from_slice(&self.blob.bytes);
                place(&mut body, start);

                let mut out = Vec::with_capacity(HEAD_SIZE + body.len());
                self.header.encode(&mut out);
                directory.into_iter().for_each(|span| span.encode(&mut out));
                out.resize(HEAD_SIZE, 0);
                out.append(&mut body);
                out
            }
        }

        /// `.precast.meta`, read in place.
        #[derive(Clone, Copy, Debug)]
        pub struct Meta<'a> {
            /// The header.
            pub header: Header,
            $($(#[$doc])* pub $field: Table<'a, $row>,)*
            blob: &'a [u8],
        }

        impl<'a> Meta<'a> {
            /// Checks magic, version and the bounds of each table, whose number is fixed: the cost does not depend on
            /// the size of the artifact. Nothing is said about what the rows hold, so whoever follows an index or an
            /// offset checks it.
            pub fn parse(meta: &'a [u8]) -> Result<Self, MetaError> {
                Self::parse_with(meta, meta)
            }

            /// The same without touching `meta`: `head` is what it begins with, [`HEAD_SIZE`] bytes or more.
            pub fn parse_with(head: &[u8], meta: &'a [u8]) -> Result<Self, MetaError> {
                let (magic, rest) = head.split_first_chunk::<8>().ok_or(MetaError::Truncated)?;
                if *magic != MAGIC {
                    return Err(MetaError::Magic);
                }
                let version = rest.first_chunk::<4>().map(|le| u32::from_le_bytes(*le)).ok_or(MetaError::Truncated)?;
                if version != ABI_VERSION {
                    return Err(MetaError::Version(version));
                }
                if head.len() < HEAD_SIZE || meta.len() < HEAD_SIZE {
                    return Err(MetaError::Truncated);
                }
                let mut directory = Table::<Span>::new(&head[Header::SIZE..Header::SIZE + TABLES * Span::SIZE]).iter();
                let mut next = |name, row_size: usize| {
                    directory
                        .next()
                        .and_then(|span| slice(meta, span))
                        .filter(|bytes| bytes.len() % row_size == 0)
                        .ok_or(MetaError::Table(name))
                };
                Ok(Meta {
                    header: Header::decode(head),
                    $($field: Table::new(next($name, <$row>::SIZE)?),)*
                    blob: next("blob", 1)?,
                })
            }
        }
    };
}

tables! {
    /// Function types; row 0 is none.
    types: TypeRow = "types";
    /// Functions by text offset.
    functions: FunctionRow = "functions";
    /// Imports in order: the capability list.
    imports: ImportRow = "imports";
    /// Exports by name.
    exports: ExportRow = "exports";
    /// Memories in the order of the index space.
    memories: MemoryRow = "memories";
    /// Tables in the order of the index space.
    tables: TableRow = "tables";
    /// Globals in the order of the index space.
    globals: GlobalRow = "globals";
    /// Data segments in the order of the index space.
    data: DataRow = "data segments";
    /// Element segments in the order of the index space.
    elements: ElementRow = "element segments";
    /// Runs of the image.
    runs: RunRow = "image runs";
    /// Groups of core instances, by block.
    groups: GroupRow = "groups";
    /// Component-level types.
    component_types: ComponentTypeRow = "component types";
    /// Component-level function types.
    component_funcs: ComponentFuncRow = "component function types";
    /// Resources.
    resources: ResourceRow = "resources";
    /// Component instances; none in the artifact of a core module.
    component_instances: ComponentInstanceRow = "component instances";
    /// Options of the Canonical ABI.
    canons: CanonRow = "canonical options";
    /// What each core import is, in a component.
    component_imports: ComponentImportRow = "component imports";
    /// Functions that a component imports, by name.
    host_funcs: HostFuncRow = "host functions";
    /// Functions that a component exports, by name.
    component_exports: ComponentExportRow = "component exports";
    /// Handles that a component starts with, and that its host gives.
    obtained: ObtainedRow = "obtained handles";
    /// The profile that the artifact is laid out by, if there is one.
    profile: ProfileRow = "profile";
    /// Pages that most instances write, by place; of the profile.
    hot: HotRow = "hot pages";
    /// Numbers of functions; no rows if the text is in the program's own order.
    numbers: NumberRow = "function numbers";
}

/// Bytes of header and directory, which the section begins with.
pub const HEAD_SIZE: usize = (Header::SIZE + TABLES * Span::SIZE).next_multiple_of(8);

impl<'a> Meta<'a> {
    /// The bytes at `span` in the blob.
    pub fn bytes(&self, span: Span) -> Option<&'a [u8]> {
        slice(self.blob, span)
    }

    /// The UTF-8 at `span` in the blob.
    pub fn str(&self, span: Span) -> Option<&'a str> {
        core::str::from_utf8(self.bytes(span)?).ok()
    }

    /// The export called `name`, by binary search.
    pub fn export(&self, name: &str) -> Option<ExportRow> {
        let at = self.exports.partition_point(|row| self.bytes(row.name).unwrap_or_default() < name.as_bytes());
        self.exports.get(at).filter(|row| self.bytes(row.name) == Some(name.as_bytes()))
    }

    /// The function whose text contains `text_offset`, by binary search. Allocates nothing.
    pub fn function_at(&self, text_offset: u32) -> Option<FunctionRow> {
        let after = self.functions.partition_point(|row| row.start <= text_offset);
        let row = self.functions.get(after.checked_sub(1)?)?;
        (text_offset - row.start < row.len).then_some(row)
    }

    /// The number of the function in `row`: its place in the program's own order, which is the same for every target and
    /// with any profile.
    pub fn function_number(&self, row: u32) -> u32 {
        self.numbers.get(row as usize).map_or(row, |found| found.number)
    }
}

fn slice(bytes: &[u8], span: Span) -> Option<&[u8]> {
    let start = span.offset as usize;
    bytes.get(start..start.checked_add(span.len as usize)?)
}

/// Bytes that rows point to. Equal entries are stored once.
#[derive(Default)]
pub struct Blob {
    bytes: Vec<u8>,
    interned: BTreeMap<Vec<u8>, Span>,
}

impl Blob {
    /// Stores `bytes` and tells where. For names and signatures, which repeat.
    ///
    /// # Panics
    /// If the blob grows beyond 4 GiB; the compiler refuses such modules before.
    pub fn intern(&mut self, bytes: &[u8]) -> Span {
        if let Some(span) = self.interned.get(bytes) {
            return *span;
        }
        let span = self.append(bytes);
        self.interned.insert(bytes.into(), span);
        span
    }

    /// Like [`Self::intern`], for what is large or does not repeat; aligned to eight bytes.
    pub fn append_aligned(&mut self, bytes: &[u8]) -> Span {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.append(bytes)
    }

    /// Like [`Self::intern`], for what does not repeat.
    pub fn append(&mut self, bytes: &[u8]) -> Span {
        let offset = u32::try_from(self.bytes.len()).expect("blob beyond 4 GiB");
        let len = u32::try_from(bytes.len()).expect("blob entry beyond 4 GiB");
        self.bytes.extend_from_slice(bytes);
        Span { offset, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            magic: MAGIC,
            abi_version: ABI_VERSION,
            machine: 62,
            features: 3,
            digest: [9; 32],
            producer: Span::default(),
            text_offset: 4096,
            text_len: 100,
            image_offset: 8192,
            image_len: 0,
            layout: SlotLayout {
                page_size: 4096,
                stack_start: 1,
                block_start: 2,
                host_start: 3,
                host_size: 4,
                base_offset: 5,
                slot_size: 6,
            },
            init: NONE,
            wit: Span::default(),
            metering: 1,
            source: [7; 32],
        }
    }

    fn sample() -> Vec<u8> {
        let mut builder = MetaBuilder::new(header());
        for name in ["a", "b", "c"] {
            let name = builder.blob.intern(name.as_bytes());
            builder.exports.push(ExportRow { name, kind: 0, index: name.offset, ty: 1, text_offset: 0 });
        }
        for start in [0, 32, 64] {
            let name = builder.blob.intern(b"a");
            let function = FunctionRow { start, len: 20, kind: 0, index: start / 32, name, sites: Span::default() };
            builder.functions.push(function);
        }
        builder.encode()
    }

    #[test]
    fn meta_round_trips() {
        let bytes = sample();
        let meta = Meta::parse(&bytes).unwrap();
        assert_eq!(meta.header, header());
        assert_eq!(bytes[DIGEST_OFFSET..DIGEST_OFFSET + 32], [9; 32]);
        assert_eq!(meta.export("b").unwrap().index, 1);
        assert_eq!(meta.export("bb"), None);
        assert_eq!(meta.function_at(51).unwrap().index, 1);
        assert_eq!(meta.function_at(52), None);
        assert_eq!(meta.function_at(u32::MAX), None);
        assert_eq!(meta.str(meta.functions.get(2).unwrap().name), Some("a"));
        assert!(meta.imports.is_empty());
        assert_eq!(meta.function_number(2), 2);
    }

    #[test]
    fn damaged_meta_is_an_error_or_parses_without_a_panic() {
        let bytes = sample();
        for len in 0..bytes.len() - 8 {
            assert!(Meta::parse(&bytes[..len]).is_err(), "{len}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(meta) = Meta::parse(&damaged) {
                    assert!(
                        meta.exports
                            .iter()
                            .all(|row| meta.str(row.name).is_none_or(|name| name.len() <= damaged.len()))
                    );
                    meta.function_at(40);
                    meta.export("c");
                }
            }
        }
    }
}
