//! Artifacts: from a file to mapped code and tables.
//!
//! What comes in: a path or bytes, and how far to trust them. What goes out: [`Artifact`], whose text is executable and
//! whose tables are read in place. Once the content is trusted, opening costs the same for any size: headers are
//! checked ([`crate::elf`]), the file is mapped as one, and nothing in it runs.

use std::fs::{File, Metadata};
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use precast_abi::bytes::Span;
use precast_abi::component::ObtainedRow;
use precast_abi::meta::{
    ExportRow, ExternKind, FunctionKind, FunctionRow, ImportRow, MemoryRow, Meta, NONE, RunRow, TableRow, TypeRow,
};
use precast_abi::types::FuncType;
use precast_targets::Arch;

use crate::blueprint::Blueprint;
use crate::checkpoint::Checkpoint;
use crate::code::{self, Registration};
use crate::component;
use crate::elf::Headers;
use crate::mapping::{Code, Mapping};
use crate::open_error::{OpenError, OpenErrorKind};
use crate::plan::{Malformed, Plan};
use crate::pool::Pool;
use crate::prefetch::prefetch;
use crate::slot::{Slot, SlotError};
use crate::types::{ExportType, ExternType, GlobalType, ImportType, MemoryType, TableType};
use crate::{sys, verify};

/// How a file comes to be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The whole file is hashed and compared with the digest in it. That is remembered in the process for files that
    /// only this user and root can write. The mapping shows later changes of the file, so artifacts are to be replaced
    /// by renaming, never in place, as the compiler does.
    #[default]
    Verify,
    /// The file is copied into memory that nobody can change, and the copy hashed: for stores that others can write.
    Sealed,
}

/// How to open an artifact.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Map the code through the system's dynamic linker, so that debuggers find its symbols. Nothing of the file runs
    /// in this mode either.
    pub debugger: bool,
    /// Record what instances do: see [`Artifact::profile`]. Each has a slot of its own, each function's first call is a
    /// signal (SIGTRAP, which is passed on where it is not ours), and nothing else is slower.
    pub record_profile: bool,
}

/// An open artifact. A clone refers to the same mapping.
///
/// The memory of instances is kept out of forked children, so after `fork` only the process that opened an artifact may
/// instantiate it.
#[derive(Clone, Debug)]
pub struct Artifact {
    inner: Arc<ArtifactInner>,
}

impl Artifact {
    /// Opens the artifact at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is none, does not fit this machine, or is not as the compiler wrote it.
    pub fn open(path: impl AsRef<Path>, policy: Policy) -> Result<Artifact, OpenError> {
        Self::open_with(path, policy, &OpenOptions::default())
    }

    /// Opens the artifact at `path` with `options`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: impl AsRef<Path>, policy: Policy, options: &OpenOptions) -> Result<Artifact, OpenError> {
        let path = path.as_ref();
        let open = || {
            let mut file = sys::file::open(path).map_err(OpenErrorKind::io("open the file"))?;
            if policy == Policy::Sealed {
                // As many bytes as it has now: a device, or a file that grows, may never end.
                let len = regular(&file)?.len();
                file = sys::file::sealed_copy(&mut file.take(len)).map_err(OpenErrorKind::io("copy the file"))?;
            }
            let parts = Parts::map(file)?;
            parts.verify()?;
            Artifact::assemble(parts, options)
        };
        open().map_err(|kind| OpenError { path: path.into(), kind })
    }

    /// Opens the artifact at `path` without hashing it.
    ///
    /// # Errors
    /// As [`Self::open`], but for the digest.
    ///
    /// # Safety
    /// The file is as the compiler wrote it, and stays so. Otherwise its code may do anything.
    pub unsafe fn open_trusted(path: impl AsRef<Path>) -> Result<Artifact, OpenError> {
        let path = path.as_ref();
        let open = || {
            let file = sys::file::open(path).map_err(OpenErrorKind::io("open the file"))?;
            let artifact = Artifact::assemble(Parts::map(file)?, &OpenOptions::default())?;
            // What is hashed has been read.
            prefetch(artifact.inner.code());
            Ok(artifact)
        };
        open().map_err(|kind| OpenError { path: path.into(), kind })
    }

    /// Opens the artifact whose content is `bytes`: copied into memory that nobody can change, and hashed.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_bytes(bytes: &[u8]) -> Result<Artifact, OpenError> {
        Self::open_bytes_with(bytes, &OpenOptions::default())
    }

    /// Opens the artifact whose content is `bytes` with `options`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_bytes_with(mut bytes: &[u8], options: &OpenOptions) -> Result<Artifact, OpenError> {
        let mut open = || {
            let file = sys::file::sealed_copy(&mut bytes).map_err(OpenErrorKind::io("copy the bytes"))?;
            let parts = Parts::map(file)?;
            parts.verify()?;
            Artifact::assemble(parts, options)
        };
        open().map_err(|kind| OpenError { path: "<bytes>".into(), kind })
    }

    fn assemble(parts: Parts, options: &OpenOptions) -> Result<Artifact, OpenErrorKind> {
        let Parts { file, mapping, headers, .. } = parts;
        let code = Arc::new(code::register(Arc::new(Code::new(&file, mapping, &headers, options)?)));
        let inner = ArtifactInner { code, pool: Pool::default(), file, checkpoint: None, blueprint: OnceLock::new() };
        Ok(Artifact { inner: Arc::new(inner) })
    }

    /// What the artifact imports, in the module's order: the list of its capabilities.
    pub fn imports(&self) -> impl Iterator<Item = ImportType<'_>> {
        self.inner.meta().imports.iter().filter_map(|row| self.inner.import_type(&row))
    }

    /// What the artifact exports, by name.
    pub fn exports(&self) -> impl Iterator<Item = ExportType<'_>> {
        self.inner.meta().exports.iter().filter_map(|row| self.inner.export_type(&row))
    }

    /// Whether it is a component's, and not a core module's.
    pub fn is_component(&self) -> bool {
        !self.inner.meta().component_instances.is_empty()
    }

    /// The functions that a component imports: interface (empty: of the component itself), name and type. Nothing if the
    /// artifact is a module's, or its tables are damaged.
    pub fn component_imports(&self) -> Vec<(String, String, component::FuncType)> {
        self.component_funcs(self.inner.meta().host_funcs.iter().map(|row| (row.interface, row.name, row.func)))
    }

    /// The functions that a component exports, likewise.
    pub fn component_exports(&self) -> Vec<(String, String, component::FuncType)> {
        self.component_funcs(self.inner.meta().component_exports.iter().map(|row| (row.interface, row.name, row.func)))
    }

    fn component_funcs(
        &self,
        rows: impl Iterator<Item = (Span, Span, u32)>,
    ) -> Vec<(String, String, component::FuncType)> {
        let meta = self.inner.meta();
        let Ok(types) = component::FuncType::all(meta) else { return Vec::new() };
        let text = |span| meta.str(span).map(str::to_owned);
        let func = |(interface, name, func)| Some((text(interface)?, text(name)?, types.get(func as usize)?.clone()));
        rows.filter_map(func).collect()
    }

    /// The interface of a component as WIT text; empty if the compiler did not know it.
    pub fn wit(&self) -> &str {
        self.inner.meta().str(self.inner.meta().header.wit).unwrap_or_default()
    }

    /// BLAKE3 of the file with the bytes of the digest itself zero.
    pub fn digest(&self) -> [u8; 32] {
        self.inner.meta().header.digest
    }

    /// Who compiled the artifact and how.
    pub fn producer(&self) -> &str {
        self.inner.meta().str(self.inner.meta().header.producer).unwrap_or_default()
    }

    /// Whether the code counts what it executes, so that its fuel can be limited: see [`crate::Store::set_fuel`].
    pub fn is_metered(&self) -> bool {
        self.inner.is_metered()
    }

    /// The names of the CPU features that the code may use.
    pub fn features(&self) -> impl Iterator<Item = &'static str> + use<> {
        let features = self.inner.meta().header.features;
        let known = Arch::HOST.map_or(&[][..], Arch::features);
        known.iter().filter(move |feature| features >> feature.bit & 1 != 0).map(|feature| feature.name)
    }

    /// The functions that the module defines, in the order of the text.
    pub fn functions(&self) -> impl Iterator<Item = FunctionInfo<'_>> {
        let meta = self.inner.meta();
        let own = |row: &FunctionRow| FunctionKind::from_raw(row.kind) == Some(FunctionKind::Wasm);
        meta.functions.iter().filter(own).map(|row| FunctionInfo {
            index: row.index,
            name: meta.str(row.name).unwrap_or_default(),
            text_offset: row.start,
            len: row.len,
        })
    }

    /// Bytes of the whole file, of its code, of its tables, and of the initial state of an instance.
    pub fn sizes(&self) -> Sizes {
        let header = &self.inner.meta().header;
        let (_, image) = self.inner.image();
        Sizes {
            file: self.inner.code().mapping().bytes().len() as u64,
            text: header.text_len,
            meta: self.inner.code().meta_len(),
            image: image.end - image.start,
            slot: header.layout.slot_size,
        }
    }

    /// Has the artifact's idle slots, those of instances that were dropped, keep at most so many bytes resident; slots
    /// beyond that are unmapped. The limit is 256 MiB if nobody sets one. Each artifact that was opened has its own, and one
    /// made by a checkpoint starts with that of its origin.
    ///
    /// A slot keeps the pages that its guests write. What that is, is known without asking the system: page tables are not
    /// counted, and now and then a page is counted twice.
    pub fn limit_idle_memory(&self, bytes: u64) {
        self.inner.pool.set_limit(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Bytes that the idle slots keep resident, counted as for [`Self::limit_idle_memory`].
    pub fn idle_memory(&self) -> u64 {
        self.inner.pool.resident() as u64
    }

    /// A hash of all that a guest can access in a fresh slot, and the same for each idle slot of the pool: equal, as
    /// long as nothing an instance wrote is left for the next.
    ///
    /// # Errors
    /// If a slot cannot be mapped.
    #[doc(hidden)]
    pub fn slot_hashes(&self) -> Result<([u8; 32], Vec<[u8; 32]>), SlotError> {
        Ok((Slot::map(&self.inner)?.hash(), self.idle_hashes()))
    }

    /// The second of [`Self::slot_hashes`].
    #[doc(hidden)]
    pub fn idle_hashes(&self) -> Vec<[u8; 32]> {
        self.inner.pool.hashes()
    }

    /// Whether there are other clones.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    /// What all clones share.
    pub(crate) fn inner(&self) -> &Arc<ArtifactInner> {
        &self.inner
    }
}

/// A file that has been mapped, and whose headers are those of an artifact for this machine.
struct Parts {
    file: File,
    metadata: Metadata,
    mapping: Mapping,
    headers: Headers,
}

impl Parts {
    fn map(file: File) -> Result<Parts, OpenErrorKind> {
        let metadata = regular(&file)?;
        let headers = Headers::read(&file, metadata.len())?;
        let mapping = Mapping::new(&file, metadata.len()).map_err(OpenErrorKind::io("map the file"))?;
        Ok(Parts { file, metadata, mapping, headers })
    }

    fn verify(&self) -> Result<(), OpenErrorKind> {
        verify::check(&self.file, &self.metadata, &self.headers)
    }
}

/// The attributes of a regular file.
fn regular(file: &File) -> Result<Metadata, OpenErrorKind> {
    let metadata = file.metadata().map_err(OpenErrorKind::io("read the file's attributes"))?;
    if metadata.is_file() {
        Ok(metadata)
    } else {
        Err(OpenErrorKind::Forbidden("no content of its own: it is not a regular file"))
    }
}

/// A function of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo<'a> {
    /// Its index in the module.
    pub index: u32,
    /// Its name, empty if it has none.
    pub name: &'a str,
    /// Where its code begins, in bytes from the start of the text.
    pub text_offset: u32,
    /// Bytes of its code.
    pub len: u32,
}

/// Sizes in bytes of an artifact's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The file.
    pub file: u64,
    /// Its code.
    pub text: u64,
    /// Its tables.
    pub meta: u64,
    /// The initial state of an instance, without pages of zeros.
    pub image: u64,
    /// Addresses that an instance reserves.
    pub slot: u64,
}

/// What all clones of an artifact share.
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct ArtifactInner {
    /// The code and tables, which traps find by their addresses. Shared with artifacts made of instances of this one.
    code: Arc<Registration>,
    /// The idle slots.
    pub(crate) pool: Pool,
    /// For the image's pages in slots.
    file: File,
    /// What instances start from, if not from what the tables say.
    checkpoint: Option<Checkpoint>,
    blueprint: OnceLock<Arc<Blueprint>>,
}

impl std::fmt::Debug for ArtifactInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifact").field("text", &self.code().text()).finish_non_exhaustive()
    }
}

impl ArtifactInner {
    /// The tables. What rows hold is not checked: whoever follows a span, an index or an offset checks it.
    pub(crate) fn meta(&self) -> &Meta<'_> {
        self.code().meta()
    }

    /// The code and the tables that explain it.
    pub(crate) fn code(&self) -> &Arc<Code> {
        self.code.code()
    }

    /// Start of the text.
    pub(crate) fn text(&self) -> *const u8 {
        self.code().text()
    }

    /// Row `index` of the types and its signature; row 0, which is none, has none.
    pub(crate) fn func_type(&self, index: u32) -> Option<(TypeRow, FuncType)> {
        let row = self.meta().types.get(index as usize).filter(|_| index != 0)?;
        Some((row, FuncType::decode(self.meta().bytes(row.signature)?)?))
    }

    /// The import that `row` says, or `None` if it says none.
    pub(crate) fn import_type(&self, row: &ImportRow) -> Option<ImportType<'_>> {
        let meta = self.meta();
        Some(ImportType {
            module: meta.str(row.module)?,
            name: meta.str(row.name)?,
            ty: self.extern_type(row.kind, row.index, row.ty)?,
        })
    }

    /// The export that `row` says, or `None` if it says none.
    pub(crate) fn export_type(&self, row: &ExportRow) -> Option<ExportType<'_>> {
        Some(ExportType { name: self.meta().str(row.name)?, ty: self.extern_type(row.kind, row.index, row.ty)? })
    }

    /// The type of item `index` of a kind; `ty` is the type's row for functions.
    pub(crate) fn extern_type(&self, kind: u32, index: u32, ty: u32) -> Option<ExternType> {
        let (meta, index) = (self.meta(), index as usize);
        Some(match ExternKind::from_raw(kind)? {
            ExternKind::Func => ExternType::Func(self.func_type(ty)?.1),
            ExternKind::Table => ExternType::Table(TableType::from_row(&self.table(index)?)?),
            ExternKind::Memory => ExternType::Memory(MemoryType::from_row(&self.memory(index)?)),
            ExternKind::Global => ExternType::Global(GlobalType::from_row(&meta.globals.get(index)?)?),
        })
    }

    /// The same code, whose instances start from `checkpoint`.
    pub(crate) fn starting_from(&self, checkpoint: Checkpoint) -> Result<Artifact, std::io::Error> {
        let (code, file) = (Arc::clone(&self.code), checkpoint.file.try_clone()?);
        let checkpoint = Some(checkpoint);
        let inner = ArtifactInner { code, pool: Pool::like(&self.pool), file, checkpoint, blueprint: OnceLock::new() };
        Ok(Artifact { inner: Arc::new(inner) })
    }

    /// The file, for mapping pages of the image.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The mapping of the file, and which part of it is the image.
    pub(crate) fn image(&self) -> (&Arc<Mapping>, Range<u64>) {
        let header = &self.meta().header;
        match &self.checkpoint {
            None => (self.code().mapping(), header.image_offset..header.image_offset + header.image_len),
            Some(checkpoint) => (&checkpoint.mapping, 0..checkpoint.mapping.bytes().len() as u64),
        }
    }

    /// The runs of the image.
    pub(crate) fn runs(&self) -> impl Iterator<Item = RunRow> {
        let (runs, others) = match &self.checkpoint {
            None => (Some(self.meta().runs.iter()), &[][..]),
            Some(checkpoint) => (None, &checkpoint.runs[..]),
        };
        runs.into_iter().flatten().chain(others.iter().copied())
    }

    /// Row `index` of the memories, whose minimum is the size that they start with.
    pub(crate) fn memory(&self, index: usize) -> Option<MemoryRow> {
        let row = self.meta().memories.get(index)?;
        Some(self.checkpoint.as_ref().map_or(row, |checkpoint| checkpoint.memory(index, row)))
    }

    /// Row `index` of the tables, likewise.
    pub(crate) fn table(&self, index: usize) -> Option<TableRow> {
        let row = self.meta().tables.get(index)?;
        Some(self.checkpoint.as_ref().map_or(row, |checkpoint| checkpoint.table(index, row)))
    }

    /// Text offset of what initialises an instance, if anything is left to.
    pub(crate) fn init(&self) -> Option<u32> {
        Some(self.meta().header.init).filter(|init| *init != NONE && self.checkpoint.is_none())
    }

    /// Whether code counts what it executes.
    pub(crate) fn is_metered(&self) -> bool {
        self.meta().header.metering != 0
    }

    /// The core rows, decoded and checked.
    pub(crate) fn plan(&self) -> Result<Plan, Malformed> {
        let mut plan = Plan::new(self.meta())?;
        for (index, memory) in plan.memories.iter_mut().enumerate() {
            memory.min = self.memory(index).map_or(memory.min, |row| row.min);
        }
        for (index, table) in plan.tables.iter_mut().enumerate() {
            table.min = self.table(index).map_or(table.min, |row| row.min);
        }
        Ok(plan)
    }

    /// The handles that a component starts with, and that its host gives.
    pub(crate) fn obtained(&self) -> Vec<ObtainedRow> {
        match &self.checkpoint {
            None => self.meta().obtained.iter().collect(),
            Some(checkpoint) => checkpoint.obtained.clone(),
        }
    }

    /// Where everything is in a slot; made when the first slot is.
    pub(crate) fn blueprint(&self) -> Result<&Arc<Blueprint>, SlotError> {
        if let Some(blueprint) = self.blueprint.get() {
            return Ok(blueprint);
        }
        let blueprint = Arc::new(Blueprint::new(self)?);
        Ok(self.blueprint.get_or_init(|| blueprint))
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
