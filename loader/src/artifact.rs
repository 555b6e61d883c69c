//! Artifacts (bodies to follow).

use std::path::Path;
use std::sync::Arc;

use precast_abi::meta::{Meta, TypeRow};
use precast_abi::types::FuncType;

use crate::pool::Pool;
use crate::types::{ExportType, ImportType};

/// How far a file is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Hash it once and remember.
    #[default]
    Verify,
    /// Copy, then hash.
    Sealed,
}

/// Options.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Map through `dlopen`.
    pub debugger: bool,
}

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {}

/// An open artifact.
#[derive(Clone)]
pub struct Artifact {
    inner: Arc<ArtifactInner>,
}

/// What all clones share.
pub(crate) struct ArtifactInner {
    pub(crate) pool: Pool,
}

impl Artifact {
    /// Opens.
    pub fn open(path: impl AsRef<Path>, policy: Policy) -> Result<Artifact, OpenError> {
        Self::open_with(path, policy, &OpenOptions::default())
    }
    /// Opens.
    pub fn open_with(_path: impl AsRef<Path>, _policy: Policy, _options: &OpenOptions) -> Result<Artifact, OpenError> {
        unimplemented!()
    }
    /// Opens without checking the digest.
    ///
    /// # Safety
    /// The file is an artifact that the compiler wrote.
    pub unsafe fn open_trusted(_path: impl AsRef<Path>) -> Result<Artifact, OpenError> {
        unimplemented!()
    }
    /// Opens bytes.
    pub fn open_bytes(_bytes: &[u8]) -> Result<Artifact, OpenError> {
        unimplemented!()
    }
    /// Imports.
    pub fn imports(&self) -> impl Iterator<Item = ImportType<'_>> {
        std::iter::empty()
    }
    /// Exports.
    pub fn exports(&self) -> impl Iterator<Item = ExportType<'_>> {
        std::iter::empty()
    }
    /// Digest.
    pub fn digest(&self) -> [u8; 32] {
        unimplemented!()
    }
    /// Producer.
    pub fn producer(&self) -> &str {
        unimplemented!()
    }
    /// What all clones share.
    pub(crate) fn inner(&self) -> &Arc<ArtifactInner> {
        &self.inner
    }
}

impl ArtifactInner {
    /// A number no other artifact of this process has.
    pub(crate) fn id(&self) -> u64 {
        unimplemented!()
    }
    /// The meta tables. Rows are not checked: follow spans, indices and offsets with care.
    pub(crate) fn meta(&self) -> &Meta<'_> {
        unimplemented!()
    }
    /// Address of the code at `text_offset`, if that is inside the text.
    pub(crate) fn code(&self, _text_offset: u32) -> Option<*const u8> {
        unimplemented!()
    }
    /// The text offset of an address in the text.
    pub(crate) fn text_offset(&self, _code: *const u8) -> Option<u32> {
        unimplemented!()
    }
    /// Start of the text.
    pub(crate) fn text(&self) -> *const u8 {
        unimplemented!()
    }
    /// Row `index` of the types (never 0) and its signature.
    pub(crate) fn func_type(&self, _index: u32) -> Option<(TypeRow, FuncType)> {
        unimplemented!()
    }
}
