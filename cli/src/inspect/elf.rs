//! An artifact as a file: where its parts are, and whether it is what was written. Reads bytes, maps and runs nothing,
//! and believes none of them.

use object::elf::{FileHeader64, PT_LOAD, ProgramHeader64};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSection};
use precast_abi::PT_PRECAST_META;
use precast_abi::meta::{DIGEST_OFFSET, Meta, MetaError};

use crate::error::Error;

/// A part of the file.
pub(crate) struct Part {
    /// The section's name.
    pub(crate) name: String,
    /// Its bytes in the file; zero for one without any.
    pub(crate) bytes: u64,
    /// Whether it is mapped when the artifact is opened.
    pub(crate) loaded: bool,
}

/// An artifact whose meta tables could be read.
pub(crate) struct ArtifactBytes<'a> {
    /// The tables.
    pub(crate) meta: Meta<'a>,
    /// Sections in the file's order.
    pub(crate) parts: Vec<Part>,
    /// BLAKE3 of the file as [`precast_abi::meta::Header::digest`] defines it.
    pub(crate) digest: [u8; 32],
}

impl<'a> ArtifactBytes<'a> {
    /// Finds the parts in `bytes`, the whole file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let no_artifact = |what: &str| Error::Failed(format!("not an artifact of precast: {what}"));
        let elf = ElfFile64::<LittleEndian>::parse(bytes)
            .map_err(|error| Error::context("not a little-endian 64-bit ELF file", error))?;
        let header = meta_header(&elf).ok_or_else(|| no_artifact("it has no meta tables"))?;
        let section =
            header.data(LittleEndian, bytes).map_err(|()| no_artifact("its meta tables lie outside the file"))?;
        let meta = Meta::parse(section).map_err(|error| Error::Failed(describe(error)))?;
        let digest = digest(bytes, header.p_offset.get(LittleEndian))
            .ok_or_else(|| no_artifact("its digest lies outside the file"))?;
        Ok(ArtifactBytes { meta, parts: parts(&elf), digest })
    }

    /// Whether the file is what was written.
    pub(crate) fn is_intact(&self) -> bool {
        self.digest == self.meta.header.digest
    }
}

/// Whether `bytes` are an artifact of our own ABI version, complete and unaltered.
pub(crate) fn is_intact_artifact(bytes: &[u8]) -> bool {
    ArtifactBytes::parse(bytes).is_ok_and(|artifact| artifact.is_intact())
}

fn meta_header<'data>(elf: &ElfFile64<'data, LittleEndian>) -> Option<&'data ProgramHeader64<LittleEndian>> {
    let headers: &'data [ProgramHeader64<LittleEndian>] = elf.elf_program_headers();
    headers.iter().find(|header| header.p_type(LittleEndian) == PT_PRECAST_META)
}

fn parts(elf: &ElfFile64<'_, LittleEndian>) -> Vec<Part> {
    let headers: &[<FileHeader64<LittleEndian> as object::read::elf::FileHeader>::ProgramHeader] =
        elf.elf_program_headers();
    let loads: Vec<_> = headers
        .iter()
        .filter(|header| header.p_type(LittleEndian) == PT_LOAD)
        .map(|header| header.file_range(LittleEndian))
        .collect();
    let part = |section: object::read::elf::ElfSection64<'_, '_, LittleEndian>| {
        let name = section.name().ok().filter(|name| !name.is_empty())?.to_owned();
        let (start, bytes) = section.file_range().unwrap_or_default();
        let loaded = loads.iter().any(|(load, len)| start >= *load && start - load < *len);
        Some(Part { name, bytes, loaded })
    };
    elf.sections().filter_map(part).collect()
}

/// The digest of a file whose meta tables start at `meta`: BLAKE3 with the digest itself as zeros.
fn digest(bytes: &[u8], meta: u64) -> Option<[u8; 32]> {
    let at = usize::try_from(meta).ok()?.checked_add(DIGEST_OFFSET)?;
    let (before, rest) = bytes.split_at_checked(at)?;
    let after = rest.get(32..)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&[0; 32]).update(after);
    Some(*hasher.finalize().as_bytes())
}

fn describe(error: MetaError) -> String {
    let ours = precast_abi::ABI_VERSION;
    match error {
        MetaError::Truncated => "the meta tables are truncated".into(),
        MetaError::Magic => "the meta tables do not begin with precast's magic number".into(),
        MetaError::Version(found) => format!("the artifact has ABI version {found}, this precast reads {ours}"),
        MetaError::Table(name) => format!("the table of {name} lies outside the meta tables"),
    }
}
