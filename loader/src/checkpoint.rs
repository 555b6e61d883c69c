//! Checkpoints: the state of an instance between two calls becomes what the instances of an artifact start from, in
//! memory.
//!
//! What comes in: an instance. What goes out: an [`Artifact`] with the same code, and other pages: those that are not
//! zero now, copied into a file in memory, from which slots are mapped and restored like from any artifact's image. The
//! pages are taken as they are, since all offsets stay: what they refer to is the same text and the same slot layout.
//!
//! # Safety
//! As for snapshots: the instance is borrowed and no call is under way, so nobody changes its slot while it is read.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use precast_abi::component::ObtainedRow;
use precast_abi::meta::{MemoryRow, RunRow, TableRow};
use precast_abi::snapshot::HandleState;

use crate::artifact::Artifact;
use crate::instance::Instance;
use crate::mapping::Mapping;
use crate::record::InstanceRecord;
use crate::snapshot::{Reader, SnapshotError, is_not_zero};
use crate::state::{ItemId, MemoryState, TableState};
use crate::store::InstanceId;
use crate::store::Store;
use crate::{component, plan, sys};

/// Zero pages between two runs up to this number are stored, as the compiler does: each run is a mapping in every slot.
const MAX_GAP_PAGES: u64 = 16;

/// Why no artifact can be made of an instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It has something of somebody else's, or is not between two calls.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// There is no room for its pages.
    #[error("cannot keep the pages of the instance")]
    Pages(#[from] io::Error),
}

/// What instances start from, where it is not what the artifact's tables say.
pub(crate) struct Checkpoint {
    /// The pages, one run after the other.
    pub(crate) file: File,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) runs: Vec<RunRow>,
    /// Size of each memory in pages.
    memories: Vec<u64>,
    /// Number of elements of each table.
    tables: Vec<u64>,
    /// Handles that the host gives.
    pub(crate) obtained: Vec<ObtainedRow>,
}

impl Checkpoint {
    /// A row of the memories as it is here.
    pub(crate) fn memory(&self, index: usize, row: MemoryRow) -> MemoryRow {
        MemoryRow { min: self.memories.get(index).copied().unwrap_or(row.min), ..row }
    }

    /// A row of the tables as it is here.
    pub(crate) fn table(&self, index: usize, row: TableRow) -> TableRow {
        TableRow { min: self.tables.get(index).copied().unwrap_or(row.min), ..row }
    }
}

impl<T> Store<T> {
    /// An artifact whose instances start from the state of this one, of a core module. See [`Instance::checkpoint`].
    ///
    /// # Errors
    /// As [`Instance::checkpoint`].
    ///
    /// # Panics
    /// If the instance is another store's.
    pub fn checkpoint(&self, instance: InstanceId) -> Result<Artifact, CheckpointError> {
        let record = self.record(instance).ok_or(SnapshotError::Busy)?;
        // SAFETY: the record lives as long as the store, which is borrowed.
        unsafe {
            Reader::new(record)?.check()?;
            take(record, Vec::new())
        }
    }
}

impl<T> Instance<T> {
    /// An artifact whose instances start from the state of this one, instead of being initialised. It shares the code of
    /// the one that the instance was made of; a linker binds it like any other. Nothing of the host's is part of the
    /// state: neither the data of the store nor what host functions know of the instance.
    ///
    /// # Errors
    /// The instance has something of somebody else's, or is not between two calls; or there is no room for its pages.
    pub fn checkpoint(&self) -> Result<Artifact, CheckpointError> {
        Store::checkpoint(self, self.id())
    }
}

impl<T> component::Instance<T> {
    /// An artifact whose instances start from the state of this one. See [`Instance::checkpoint`](crate::Instance).
    ///
    /// # Errors
    /// As for instances of core modules.
    pub fn checkpoint(&self) -> Result<Artifact, CheckpointError> {
        // SAFETY: the instance's only record is alive and borrowed.
        unsafe {
            let reader = Reader::new(self.record())?;
            reader.check()?;
            let handles = reader.handles(&self.linked().plan.places)?;
            take(self.record(), HandleState::obtained(&handles))
        }
    }
}

/// The artifact of `record` with the pages of its slot, and the handles that the host gives again: what the pages say of
/// these is overwritten before an instance runs.
///
/// # Safety
/// The record is alive and borrowed, no call is under way, and a [`Reader`] has found that all it owns is its own.
unsafe fn take(record: *mut InstanceRecord, obtained: Vec<ObtainedRow>) -> Result<Artifact, CheckpointError> {
    // SAFETY: as the caller says; what is borrowed of the record does not change.
    let (artifact, store, instance, start) =
        unsafe { ((*record).artifact(), (*record).store, (*record).index, (*record).slot.start()) };
    let meta = artifact.meta();
    let id = |index: usize| ItemId { instance, index: index as u32 };
    // SAFETY: the store is alive, longer than what is made here.
    let memories: Vec<MemoryState> =
        (0..meta.memories.len()).filter_map(|index| unsafe { MemoryState::new(store, id(index)) }).collect();
    // SAFETY: as above.
    let tables = (0..meta.tables.len()).filter_map(|index| unsafe { TableState::new(store, id(index)) });
    let tables = tables.map(|table| table.size()).collect();

    let mut pages = Pages { page_size: meta.header.layout.page_size, bytes: Vec::new(), runs: Vec::new() };
    let layout = &meta.header.layout;
    let base = layout.base_offset;
    // SAFETY: blocks, and memories up to their size, are readable, and nobody writes to them.
    let at = |range: Range<u64>| unsafe {
        std::slice::from_raw_parts(start.add(range.start as usize), (range.end - range.start) as usize)
    };
    let blocks = plan::groups(meta).map(|group| {
        let first = group.block_start & !(layout.page_size - 1);
        // Neither the stack in the first page nor the host words are state.
        let mut contents = vec![0; (group.block_start - first) as usize];
        contents.extend_from_slice(at(group.block_start..group.base_offset));
        if group.base_offset == base {
            let host = (layout.host_start - first) as usize;
            contents[host..host + layout.host_size as usize].fill(0);
        }
        (first, Cow::Owned(contents))
    });
    let contents = memories.iter().map(|memory| {
        let start = base.wrapping_add_signed(memory.row.start as i64);
        (start, Cow::Borrowed(at(start..start + memory.size())))
    });
    let mut parts: Vec<(u64, Cow<'_, [u8]>)> = blocks.chain(contents).collect();
    parts.sort_unstable_by_key(|(start, _)| *start);
    for (start, contents) in &parts {
        pages.add(*start, contents);
    }
    let Pages { page_size, mut bytes, runs } = pages;
    // A file of nothing cannot be mapped.
    bytes.resize(bytes.len().max(page_size as usize), 0);
    let file = sys::file::sealed_copy(&mut &bytes[..])?;
    let mapping = Arc::new(Mapping::new(&file, bytes.len() as u64)?);
    let memories = memories.iter().map(MemoryState::pages).collect();
    Ok(artifact.starting_from(Checkpoint { file, mapping, runs, memories, tables, obtained })?)
}

/// The pages that are not zero, being collected.
struct Pages {
    page_size: u64,
    bytes: Vec<u8>,
    runs: Vec<RunRow>,
}

impl Pages {
    /// Adds what is at `start` in the slot, beyond all that was added before.
    fn add(&mut self, start: u64, contents: &[u8]) {
        for (at, page) in (start..).step_by(self.page_size as usize).zip(contents.chunks(self.page_size as usize)) {
            if !is_not_zero(page) {
                continue;
            }
            match self.runs.last_mut() {
                Some(run) if at - (run.slot_offset + run.len) <= MAX_GAP_PAGES * self.page_size => {
                    let gap = at - (run.slot_offset + run.len);
                    run.len += gap + self.page_size;
                    self.bytes.resize(self.bytes.len() + gap as usize, 0);
                }
                _ => {
                    let file_offset = self.bytes.len() as u64;
                    self.runs.push(RunRow { slot_offset: at, file_offset, len: self.page_size });
                }
            }
            self.bytes.extend_from_slice(page);
        }
    }
}
