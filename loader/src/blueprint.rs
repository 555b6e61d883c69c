//! Where everything is in the slots of an artifact.
//!
//! What comes in: layout, memories and image runs of the artifact's tables. What goes out: the same as ranges that do
//! not contradict each other or the mapping, so that mapping and resetting a slot need no checks; and what all slots
//! learn from each other. Made once for each artifact.

use std::ops::Range;
use std::sync::Arc;

use precast_abi::meta::{GroupRow, HotRow, MemoryModel, MemoryRow, NONE, RunRow};
use precast_abi::profile::PAGE;
use precast_abi::slot::{ALIGN, COPIED_IMAGE, GUARDED_RESERVATION, SlotLayout};

use crate::apart::Apart;
use crate::artifact::ArtifactInner;
use crate::mapping::Mapping;
use crate::plan;
use crate::recorder::Recorder;
use crate::slot::SlotError;
use crate::sys;
use crate::write_set::Learner;

/// The plan that all slots of an artifact follow. Ranges and offsets are in bytes from the slot's start.
#[derive(Debug)]
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct Blueprint {
    /// Bytes of the whole reservation.
    pub(crate) slot_size: usize,
    /// Where the base points.
    pub(crate) base: usize,
    /// The host words.
    pub(crate) host: Range<usize>,
    /// The guest stack, from just above its guard, which begins the slot, to where the first frame begins.
    pub(crate) stack: Range<usize>,
    /// The artifact's own memories, in the order of their rows.
    pub(crate) memories: Apart<OwnMemory>,
    /// What a fresh slot's guest can access: the first is stack, first block, and the memory that follows, if one does;
    /// the others are the blocks of further groups with the memories that follow, and further memories. Whole pages, sorted
    /// and apart.
    pub(crate) accessible: Vec<Range<usize>>,
    /// The pages below the base from the one where the host words begin, mostly one page with globals and the stack's first
    /// frames. Every instance writes them, so they are always writable, and restored whatever else is.
    pub(crate) pinned: Range<usize>,
    /// What is accessible besides, of which it is to be learnt whether guests write it.
    pub(crate) others: Vec<Range<usize>>,
    /// The image: sorted, apart, and inside `accessible`, beyond the stack.
    pub(crate) runs: Vec<Run>,
    /// Whether new slots have a copy of the image and do not map it.
    pub(crate) copies_image: bool,
    /// Whether everything beyond the stack's guard is accessible, so that slots beside each other can be one mapping.
    pub(crate) is_dense: bool,
    /// How the pinned pages are restored.
    pub(crate) pinned_pieces: Apart<Piece>,
    /// What is not zero of what new slots have a copy of.
    pub(crate) first_contents: Vec<Piece>,
    /// Bytes that slots have resident whatever their guests write, or fewer if some of them are zero.
    pub(crate) fixed: usize,
    /// What the runs are copied from.
    mapping: Arc<Mapping>,
    /// Pages that a profile says most instances write: new slots have them at once.
    pub(crate) hot: Vec<Range<usize>>,
    /// Which pages guests write.
    pub(crate) learner: Learner,
    /// Who is told what they wrote, if the artifact is recorded.
    pub(crate) recorder: Option<Arc<Recorder>>,
}

/// A stretch of accessible bytes, from and to a multiple of [`ALIGN`], and where its initial contents are in the file, if
/// they are not zero.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) slot: Range<usize>,
    pub(crate) file: Option<Range<u64>>,
}

/// Zero bytes in an image from which on they are rather zeroed than copied, which takes longer.
const ZEROS: usize = 512;

/// The low 12 bits of where the first frame of guest code begins. Stacks that C and Rust guests keep in their memory
/// mostly end at a page boundary: processors compare these bits of addresses to tell whether a load has to wait for a
/// store, so frames at equal distances from both would wait for each other (the kernel fannkuch took 6 % longer).
const STACK_COLOUR: u64 = 0x780;

/// Bytes of an image that is rather copied than mapped: mapping a run costs as much as writing to three pages.
const SMALL_IMAGE: usize = 16 << 10;

/// The same where nothing else needs a mapping, so that slots beside each other are one.
const DENSE_IMAGE: usize = COPIED_IMAGE as usize;

/// A memory that lives in the slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnMemory {
    /// Its index in the index space.
    pub(crate) index: usize,
    /// Its first byte.
    pub(crate) start: usize,
    /// Bytes accessible in a fresh slot, whole pages of the system.
    pub(crate) initial: usize,
    /// Bytes it may become accessible.
    pub(crate) limit: usize,
}

/// A run of pages of the image.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Where it goes in the slot.
    pub(crate) slot: Range<usize>,
    /// Where it comes from in the file.
    pub(crate) file: Range<u64>,
}

impl Blueprint {
    /// The plan for the slots of `artifact`.
    pub(crate) fn new(artifact: &ArtifactInner) -> Result<Blueprint, SlotError> {
        let meta = artifact.meta();
        let layout = &meta.header.layout;
        let memories = own_memories((0..meta.memories.len()).filter_map(|index| artifact.memory(index)), layout)?;
        let accessible = accessible(&memories, plan::groups(meta), layout)?;
        let (mapping, image) = artifact.image();
        let runs = runs(artifact.runs(), layout, &image, &accessible)?;
        let is_guarded = |memory: MemoryRow| memory.import == NONE && memory.model == MemoryModel::Guarded as u32;
        let limit = if meta.memories.iter().any(is_guarded) { SMALL_IMAGE } else { DENSE_IMAGE };
        let recorder = artifact.code().recorder().cloned();
        // What is copied into a slot would be recorded as written by its instance.
        let copies_image = recorder.is_none() && runs.iter().map(|run| run.slot.len()).sum::<usize>() <= limit;
        let host = layout.host_start as usize..(layout.host_start + layout.host_size) as usize;
        let pinned = host.start & !(sys::memory::page_size() - 1)..layout.base_offset as usize;
        let beyond_guard = layout.stack_start as usize..layout.slot_size as usize;
        let is_dense = matches!(&accessible[..], [only] if *only == beyond_guard);
        // What is recorded is what instances do, and not what an earlier profile has done for them.
        let hot = hot(meta.hot.iter().filter(|_| recorder.is_none()), &accessible)?;
        let mut blueprint = Blueprint {
            slot_size: layout.slot_size as usize,
            base: layout.base_offset as usize,
            stack: layout.stack_start as usize..coloured(layout) as usize,
            memories: memories.into(),
            others: Vec::new(),
            accessible,
            runs,
            copies_image,
            is_dense,
            pinned_pieces: Apart::default(),
            first_contents: Vec::new(),
            fixed: 0,
            mapping: Arc::clone(mapping),
            hot,
            learner: Learner::default(),
            recorder,
            host,
            pinned,
        };
        blueprint.others = blueprint.accessible.iter().flat_map(|range| blueprint.beside_pinned(range)).collect();
        blueprint.hot = blueprint.hot.iter().flat_map(|range| blueprint.beside_pinned(range)).collect();
        blueprint.learner = Learner::knowing(&blueprint.hot, &blueprint.others);
        let Range { start, end } = blueprint.pinned;
        let mut pieces = blueprint.few_pieces(start..blueprint.host.start);
        pieces.extend(blueprint.few_pieces(blueprint.host.end..end));
        let copied = blueprint.runs.iter().filter(|_| copies_image).flat_map(|run| blueprint.beside_pinned(&run.slot));
        let copied: Vec<_> = copied.collect();
        blueprint.fixed = blueprint.pinned.len() + copied.iter().map(Range::len).sum::<usize>();
        let first = pieces.iter().cloned().chain(copied.into_iter().flat_map(|part| blueprint.few_pieces(part)));
        blueprint.first_contents = first.filter(|piece| piece.file.is_some()).collect();
        blueprint.pinned_pieces = pieces.into();
        Ok(blueprint)
    }

    /// The parts of a range that are not pinned.
    pub(crate) fn beside_pinned(&self, range: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (before, after) = (range.end.min(self.pinned.start), range.start.max(self.pinned.end));
        [range.start..before, after..range.end].into_iter().filter(|part| !part.is_empty())
    }

    /// What accessible bytes, from and to a multiple of [`ALIGN`], are at first.
    pub(crate) fn pieces(&self, range: Range<usize>) -> Vec<Piece> {
        self.pieces_by(range, |contents| std::iter::once(0..contents.len()).collect())
    }

    /// The same in as few bytes of the file as pays, for what is restored often.
    pub(crate) fn few_pieces(&self, range: Range<usize>) -> Vec<Piece> {
        self.pieces_by(range, not_zero)
    }

    /// The same, with the stretches of a run's contents that `copied` gives.
    fn pieces_by(&self, range: Range<usize>, copied: impl Fn(&[u8]) -> Vec<Range<usize>>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        for run in self.runs_in(range.clone()) {
            let (from, to) = (run.slot.start.max(at), run.slot.end.min(range.end));
            let file = |offset: usize| run.file.start + (offset - run.slot.start) as u64;
            for stretch in copied(self.contents(file(from)..file(to))) {
                let slot = from + stretch.start..from + stretch.end;
                pieces.push(Piece { slot: at..slot.start, file: None });
                pieces.push(Piece { file: Some(file(slot.start)..file(slot.end)), slot: slot.clone() });
                at = slot.end;
            }
        }
        pieces.push(Piece { slot: at..range.end, file: None });
        pieces.retain(|piece| !piece.slot.is_empty());
        pieces
    }

    /// Bytes of the image.
    #[inline]
    pub(crate) fn contents(&self, file: Range<u64>) -> &[u8] {
        self.mapping.get(file).unwrap_or_default()
    }

    /// The runs that touch `range`, in order.
    pub(crate) fn runs_in(&self, range: Range<usize>) -> impl Iterator<Item = &Run> {
        let first = self.runs.partition_point(|run| run.slot.end <= range.start);
        self.runs[first..].iter().take_while(move |run| run.slot.start < range.end)
    }
}

/// Where `bytes`, a multiple of [`ALIGN`], are other than zero, for stretches of at least [`ZEROS`].
fn not_zero(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (number, line) in
        bytes.chunks(ALIGN as usize).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0))
    {
        let start = number * ALIGN as usize;
        let end = start + line.len();
        match stretches.last_mut() {
            Some(last) if start - last.end < ZEROS => last.end = end,
            _ => stretches.push(start..end),
        }
    }
    stretches
}

/// Where the first frame of guest code begins: as high as there is room for.
fn coloured(layout: &SlotLayout) -> u64 {
    let top = layout.block_start - STACK_COLOUR;
    (top & !0xfff | STACK_COLOUR).max(layout.stack_start)
}

fn own_memories(rows: impl Iterator<Item = MemoryRow>, layout: &SlotLayout) -> Result<Vec<OwnMemory>, SlotError> {
    let page = sys::memory::page_size();
    let mut memories = Vec::new();
    for (index, row) in rows.enumerate().filter(|(_, row)| row.import == NONE) {
        let malformed = |what| Err(SlotError::Malformed(what));
        let reserved_to = row.slot_offset.checked_add(row.reservation);
        if reserved_to.is_none_or(|end| end > layout.slot_size) {
            return malformed("a memory reaches beyond the slot");
        }
        if !row.slot_offset.is_multiple_of(layout.page_size) || !row.reservation.is_multiple_of(layout.page_size) {
            return malformed("a memory is not laid out in pages");
        }
        let Some(model) = MemoryModel::from_raw(row.model) else {
            return malformed("a memory has an unknown model");
        };
        if model == MemoryModel::Guarded && row.reservation < GUARDED_RESERVATION {
            return malformed("the reservation of a guarded memory is too small");
        }
        let wanted = u32::checked_shl(1, row.page_size_log2)
            .and_then(|page| row.min.checked_mul(page.into()))
            .unwrap_or(u64::MAX);
        if wanted > row.reservation {
            return Err(SlotError::MemoryTooLarge { memory: index, wanted, reservation: row.reservation });
        }
        memories.push(OwnMemory {
            index,
            start: row.slot_offset as usize,
            initial: match model {
                MemoryModel::Guarded => (wanted as usize).next_multiple_of(page),
                // Nothing depends on faults, and so growing is only a greater size.
                MemoryModel::Checked => row.reservation as usize,
            },
            limit: row.reservation as usize,
        });
    }
    Ok(memories)
}

/// A block, or a memory: where it starts, to where it is accessible, and to where nothing else may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    start: usize,
    initial: usize,
    reserved: usize,
}

fn accessible(
    memories: &[OwnMemory],
    groups: impl Iterator<Item = GroupRow>,
    layout: &SlotLayout,
) -> Result<Vec<Range<usize>>, SlotError> {
    let mut parts = Vec::with_capacity(1 + memories.len());
    for (number, group) in groups.enumerate() {
        let (start, end) = (group.block_start, group.base_offset);
        let in_pages = start.is_multiple_of(ALIGN) && end.is_multiple_of(layout.page_size);
        let first = (start, end) == (layout.block_start, layout.base_offset);
        if !in_pages || start > end || end > layout.slot_size || (number == 0 && !first) {
            return Err(SlotError::Malformed("the block of a group is not laid out in the slot's pages"));
        }
        // The stack is in one piece with the first block.
        let start = if number == 0 { layout.stack_start } else { start & !(layout.page_size - 1) } as usize;
        parts.push(Part { start, initial: end as usize, reserved: end as usize });
    }
    parts.extend(memories.iter().map(|memory| Part {
        start: memory.start,
        initial: memory.start + memory.initial,
        reserved: memory.start + memory.limit,
    }));
    parts.sort_unstable();
    let apart = parts.windows(2).all(|pair| pair[0].reserved <= pair[1].start);
    if !apart || parts.first().is_none_or(|first| first.start != layout.stack_start as usize) {
        return Err(SlotError::Malformed("blocks and memories overlap"));
    }
    let mut ranges: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    for part in parts.iter().filter(|part| part.initial > part.start) {
        match ranges.last_mut() {
            Some(last) if last.end == part.start => last.end = part.initial,
            _ => ranges.push(part.start..part.initial),
        }
    }
    Ok(ranges)
}

/// Pages of the system that hold what most instances write.
fn hot(rows: impl Iterator<Item = HotRow>, accessible: &[Range<usize>]) -> Result<Vec<Range<usize>>, SlotError> {
    let page = sys::memory::page_size();
    rows.map(|row| {
        let (start, end) = (row.slot_offset, row.slot_offset.saturating_add(row.len));
        let in_pages = start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE);
        let inside = |range: &Range<usize>| range.start as u64 <= start && start < end && end <= range.end as u64;
        if !in_pages || !accessible.iter().any(inside) {
            return Err(SlotError::Malformed("pages that are written are not pages of the initial memory"));
        }
        Ok(start as usize / page * page..(end as usize).next_multiple_of(page))
    })
    .collect()
}

fn runs(
    rows: impl Iterator<Item = RunRow>,
    layout: &SlotLayout,
    image: &Range<u64>,
    accessible: &[Range<usize>],
) -> Result<Vec<Run>, SlotError> {
    let page = layout.page_size;
    let mut end = layout.block_start & !(page - 1);
    rows.map(|row| {
        let slot = row.slot_offset..row.slot_offset.saturating_add(row.len);
        let file = row.file_offset..row.file_offset.saturating_add(row.len);
        if [row.slot_offset, row.file_offset, row.len].iter().any(|bound| !bound.is_multiple_of(page)) || row.len == 0 {
            return Err(SlotError::Malformed("a run of the image is not whole pages"));
        }
        if slot.start < end || slot.end > layout.slot_size {
            return Err(SlotError::Malformed("runs of the image overlap, are not in order, or leave the slot"));
        }
        if file.start < image.start || file.end > image.end {
            return Err(SlotError::Malformed("a run is not in the image"));
        }
        end = slot.end;
        let slot = slot.start as usize..slot.end as usize;
        if !accessible.iter().any(|range| range.start <= slot.start && slot.end <= range.end) {
            return Err(SlotError::Malformed("a run of the image is outside the initial memory"));
        }
        Ok(Run { slot, file })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_stretches_of_zeros_are_not_copied() {
        const LINE: usize = ALIGN as usize;
        let mut bytes = vec![0; 64 * LINE];
        assert_eq!(not_zero(&bytes), []);
        bytes[3 * LINE + 5] = 1;
        bytes[9 * LINE] = 1;
        let near = 3 * LINE..10 * LINE;
        assert_eq!(not_zero(&bytes), std::slice::from_ref(&near), "a short one is");
        bytes[10 * LINE + ZEROS] = 1;
        bytes[63 * LINE + 63] = 1;
        let far = [near, 10 * LINE + ZEROS..11 * LINE + ZEROS, 63 * LINE..64 * LINE];
        assert_eq!(not_zero(&bytes), far);
    }

    #[test]
    fn the_first_frame_begins_as_high_as_its_colour_allows() {
        let begins = |block_start: u64| {
            let (stack_start, base_offset) = (0x1_0000, 0x20_0000);
            let (page_size, host_start, host_size, slot_size) = (0x1000, block_start, 64, 0x40_0000);
            let layout =
                SlotLayout { page_size, stack_start, block_start, host_start, host_size, base_offset, slot_size };
            coloured(&layout)
        };
        for block_start in (0x1_1000..0x1_4000).step_by(64) {
            let begins = begins(block_start);
            assert!(begins <= block_start && block_start - begins < 0x1000 && begins >= 0x1_0000, "{block_start:#x}");
            assert_eq!(begins & 0xfff, STACK_COLOUR);
        }
    }
}
