//! A file in memory: its code, executable, and the tables that explain it, read in place.
//!
//! What comes in: a file whose headers were checked. What goes out: addresses and tables, at the same cost for any
//! size.
//!
//! # Safety
//! Tables are read through references into the mapping. They stay valid as long as [`Code`] owns it, and what they read
//! stays the same unless somebody changes the file in place: see [`crate::Policy`].

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};
use precast_abi::ABI_VERSION;
use precast_abi::meta::{FunctionRow, Meta, MetaError};

use crate::artifact::OpenOptions;
use crate::elf::Headers;
use crate::open_error::OpenErrorKind;
use crate::recorder::Recorder;
use crate::sys;
use crate::sys::dynamic::Library;

/// The code of an artifact with the tables that explain it: what the signal handler needs.
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct Code {
    text: *const u8,
    text_len: usize,
    meta_len: u64,
    /// Borrows from `mapping`, and never leaves without a lifetime that ends before this structure's.
    meta: Meta<'static>,
    mapping: Arc<Mapping>,
    /// In debugger mode: who mapped the text.
    #[expect(dead_code, reason = "held for its destructor")]
    library: Option<Library>,
    /// If what runs is recorded: who has the text.
    recorder: Option<Arc<Recorder>>,
}

// SAFETY: the text is mapped read-only for as long as the structure lives; everything else is Send and Sync.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Code {
    /// The code of the file that `mapping` is of and that has these headers.
    pub(crate) fn new(
        file: &File,
        mapping: Mapping,
        headers: &Headers,
        options: &OpenOptions,
    ) -> Result<Code, OpenErrorKind> {
        let header = &headers.header;
        let meta_bytes = mapping.get(headers.meta.clone()).unwrap_or_default();
        // SAFETY: the bytes are those of the mapping, which is kept beside the tables and never moves.
        let meta_bytes: &'static [u8] = unsafe { &*std::ptr::from_ref(meta_bytes) };
        let meta = Meta::parse_with(&headers.head, meta_bytes).map_err(|error| match error {
            MetaError::Version(found) => OpenErrorKind::AbiVersion { found, wanted: ABI_VERSION },
            MetaError::Table(table) => OpenErrorKind::Table(table),
            MetaError::Truncated | MetaError::Magic => OpenErrorKind::Table("contents"),
        })?;
        let text_len = header.text_len as usize;
        let mut recorder = None;
        let (text, library) = if options.record_profile {
            if options.debugger {
                return Err(OpenErrorKind::Options("the code cannot be a debugger's and be recorded"));
            }
            let code = mapping.get(header.text_offset..header.text_offset + header.text_len).unwrap_or_default();
            let new = Recorder::new(code, &meta).map_err(OpenErrorKind::io("record what runs"))?;
            (recorder.insert(Arc::new(new)).text(), None)
        } else if options.debugger {
            // SAFETY: the headers were checked: no initialisers, no needed libraries, no relocations.
            let library = unsafe { Library::open(file) }.map_err(OpenErrorKind::Dlopen)?;
            let text = library.load_address() + header.text_offset as usize;
            (std::ptr::with_exposed_provenance(text), Some(library))
        } else {
            let text = mapping.make_executable(header.text_offset as usize, text_len);
            (text.map_err(OpenErrorKind::io("make the code executable"))?, None)
        };
        let meta_len = meta_bytes.len() as u64;
        Ok(Code { text, text_len, meta_len, meta, mapping: Arc::new(mapping), library, recorder })
    }

    /// The tables.
    pub(crate) fn meta(&self) -> &Meta<'_> {
        &self.meta
    }

    /// Bytes of the tables.
    pub(crate) fn meta_len(&self) -> u64 {
        self.meta_len
    }

    /// The file.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Start of the text.
    pub(crate) fn text(&self) -> *const u8 {
        self.text
    }

    /// The addresses of the text.
    pub(crate) fn addresses(&self) -> Range<usize> {
        self.text.addr()..self.text.addr() + self.text_len
    }

    /// The text offset of an address, if that is inside the text.
    pub(crate) fn text_offset(&self, address: usize) -> Option<u32> {
        let offset = address.checked_sub(self.text.addr()).filter(|offset| *offset < self.text_len)?;
        u32::try_from(offset).ok()
    }

    /// The text as it is in the file. Allocates nothing.
    pub(crate) fn text_bytes(&self) -> &[u8] {
        let start = self.meta.header.text_offset;
        self.mapping.get(start..start + self.text_len as u64).unwrap_or_default()
    }

    /// Who records what runs, if somebody does.
    pub(crate) fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }

    /// The first byte of the instruction at `pc`.
    pub(crate) fn byte_at(&self, pc: usize) -> Option<u8> {
        self.text_bytes().get(self.text_offset(pc)? as usize).copied()
    }

    /// The function that the address `pc` lies in, and where in it. Allocates nothing.
    pub(crate) fn function_at(&self, pc: usize) -> Option<(FunctionRow, u32)> {
        let offset = self.text_offset(pc)?;
        let function = self.meta.function_at(offset)?;
        Some((function, offset - function.start))
    }
}

/// A file in memory: read-only, but for its text, which is executable.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// Maps the first `len` bytes of `file`.
    pub(crate) fn new(file: &File, len: u64) -> io::Result<Mapping> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // SAFETY: the file does not change while it is mapped: its policy (see `Policy`) sees to that, or the caller
        // of `open_trusted` has promised it.
        let map = unsafe { MmapOptions::new().len(len).map_copy_read_only(file)? };
        Ok(Mapping { map })
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The bytes at `range` in the file, if it has them.
    pub(crate) fn get(&self, range: Range<u64>) -> Option<&[u8]> {
        self.map.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    /// Makes the pages of a range executable and tells where it begins.
    fn make_executable(&self, offset: usize, len: usize) -> io::Result<*const u8> {
        let start = self.map.as_ptr().wrapping_add(offset);
        if len > 0 {
            // SAFETY: the range is inside the mapping, which is ours, and stays readable.
            unsafe { sys::memory::make_executable(start.cast_mut(), len)? };
        }
        Ok(start)
    }
}
