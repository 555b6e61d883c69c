//! The initial state of an instance, as pages of its slot.
//!
//! What comes in: the program and the final text offsets, for function references. What goes out: [`MemoryImage`], the
//! pages that are not zero. Nothing in them depends on where the slot or the text will be.

mod snapshot;

pub(crate) use self::snapshot::start;

use std::collections::BTreeMap;

use precast_abi::component::ObtainedRow;
use precast_abi::funcref;
use precast_abi::slot::{COPIED_IMAGE, WASM_PAGE};
use precast_abi::snapshot::Snapshot;

use crate::component::linkage::CoreInstance;
use crate::error::{Error, Place};
use crate::module::{ElementItem, Module};
use crate::program::{Const, Env, Folded, GlobalPlace, Instance, MemoryPlace, Program, TablePlace};
use crate::text::Text;

/// Zero pages between two runs up to this number are stored in any case: each run costs a mapping in every slot.
const MAX_GAP_PAGES: u64 = 16;
/// The same for some gaps of an image beyond [`COPIED_IMAGE`]: the shortest, with no more pages than others.
const MAX_LARGE_GAP_PAGES: u64 = 256;

/// Bytes of image that any program may have.
const IMAGE_ROOM: u64 = 64 << 20;
/// Bytes of image for each byte that segments write: scattered bytes cost a page each, and the gaps between.
const IMAGE_PER_BYTE: u64 = 16;

/// Consecutive pages. Offset and length are multiples of the layout's page size.
pub(crate) struct Run {
    /// Offset in bytes from the slot's start.
    pub(crate) slot_offset: u64,
    /// Contents.
    pub(crate) bytes: Vec<u8>,
}

/// The initial state of an instance.
pub(crate) struct MemoryImage {
    /// Pages that are not zero, sorted.
    pub(crate) runs: Vec<Run>,
    /// Size of each memory in pages.
    pub(crate) memory_pages: Vec<u64>,
    /// Number of elements of each table.
    pub(crate) table_sizes: Vec<u64>,
    /// Data segments that code could copy from, but that were dropped since.
    pub(crate) dropped_data: Vec<bool>,
    /// For each element segment that code may copy from, its encoded references; empty for the others.
    pub(crate) element_refs: Vec<Vec<u64>>,
    /// Handles that the host gives when an instance is made.
    pub(crate) obtained: Vec<ObtainedRow>,
}

/// Lays out the initial state: the program's own, or the one of a snapshot that it was made to [`start`] from.
///
/// # Errors
/// [`Error::Limit`] if a few bytes of segments are scattered over very many pages.
pub(crate) fn image(program: &Program<'_>, text: &Text, snapshot: Option<&Snapshot>) -> Result<MemoryImage, Error> {
    if let Some(snapshot) = snapshot {
        return snapshot::image(program, text, snapshot);
    }
    let mut pages = Pages::new(program.layout.page_size, limit(program));
    for instance in program.instances.values() {
        let encoder = Encoder { env: &instance.env, text };
        write_state(program, instance, &encoder, &mut pages);
        write_segments(program, instance, &encoder, &mut pages);
    }
    let env = |instance: CoreInstance| &program.instances[instance].env;
    let rows = &program.rows;
    Ok(MemoryImage {
        runs: pages.into_runs()?,
        memory_pages: rows.memories.iter().map(|(of, index)| env(*of).memories[*index as usize].min).collect(),
        table_sizes: rows.tables.iter().map(|(of, index)| env(*of).tables[*index as usize].min).collect(),
        dropped_data: vec![false; rows.data.len()],
        element_refs: element_refs(program, text),
        obtained: Vec::new(),
    })
}

/// Globals, sizes and lengths of what an instance defines.
fn write_state(program: &Program<'_>, instance: &Instance<'_>, encoder: &Encoder<'_>, pages: &mut Pages) {
    let (base, module, env) = (program.groups[instance.group].base_offset, instance.module, &instance.env);
    let at = |offset: i32| base.wrapping_add_signed(offset.into());
    for (global, value) in env.globals[module.imported_globals..].iter().zip(&instance.folded.globals) {
        if let (GlobalPlace::Own { cell }, Some(value)) = (global.place, value) {
            pages.write(at(cell), &encoder.value(*value));
        }
    }
    for memory in &env.memories[module.imported_memories..] {
        if let MemoryPlace::Own { size_word, .. } = memory.place {
            pages.write(at(size_word), &(memory.min * WASM_PAGE).to_le_bytes());
        }
    }
    for table in &env.tables[module.imported_tables..] {
        if let TablePlace::Own { size_word, .. } = table.place {
            pages.write(at(size_word), &table.min.to_le_bytes());
        }
    }
    for (place, segment) in env.data.iter().zip(&module.data) {
        if let Some(len_word) = place.len_word {
            pages.write(at(len_word), &(segment.bytes.len() as u32).to_le_bytes());
        }
    }
    for (place, segment) in env.elements.iter().zip(&module.elements) {
        if let Some(len_word) = place.len_word {
            pages.write(at(len_word), &(segment.items.len() as u32).to_le_bytes());
        }
    }
}

/// Segments that are folded into tables and memories, be they the instance's own or an earlier one's.
fn write_segments(program: &Program<'_>, instance: &Instance<'_>, encoder: &Encoder<'_>, pages: &mut Pages) {
    let (base, module, env) = (program.groups[instance.group].base_offset, instance.module, &instance.env);
    let at = |offset: i64| base.wrapping_add_signed(offset);
    for &(segment, table, first) in &instance.folded.elements {
        let table = &env.tables[table as usize];
        let TablePlace::Own { elements, .. } = table.place else { continue };
        // Beyond the limit, instantiation fails and nobody sees the table.
        let items = module.elements[segment as usize].items.iter().zip(u64::from(first)..table.limit);
        for (item, index) in items {
            // Null too: it may take the place of what an earlier segment wrote.
            let reference = encoder.item(&instance.folded, *item);
            pages.write(at(elements.into()) + 8 * index, &reference.to_le_bytes());
        }
    }
    for &(segment, memory, first) in &instance.folded.data {
        if let MemoryPlace::Own { start, .. } = env.memories[memory as usize].place {
            pages.write(at(start) + first, module.data[segment as usize].bytes);
        }
    }
}

/// How large the image may be in bytes.
fn limit(program: &Program<'_>) -> u64 {
    let of_module = |module: &Module<'_>| {
        let data: u64 = module.data.iter().map(|segment| segment.bytes.len() as u64).sum();
        let elements: u64 = module.elements.iter().map(|segment| segment.items.len() as u64).sum();
        data + size_of::<u64>() as u64 * (elements + module.globals.len() as u64)
    };
    let bytes: u64 = program.instances.values().map(|instance| of_module(instance.module)).sum();
    IMAGE_ROOM + IMAGE_PER_BYTE * bytes
}

/// The references of the element segments that code may copy from, where they are known.
fn element_refs(program: &Program<'_>, text: &Text) -> Vec<Vec<u64>> {
    let references = |&(instance, segment): &(CoreInstance, u32)| {
        let Instance { module, env, folded, .. } = &program.instances[instance];
        let place = env.elements[segment as usize];
        if place.len_word.is_none() || place.cells.is_some() {
            return Vec::new();
        }
        let encoder = Encoder { env, text };
        module.elements[segment as usize].items.iter().map(|item| encoder.item(folded, *item)).collect()
    };
    program.rows.elements.iter().map(references).collect()
}

/// Encodes the values of an instance.
struct Encoder<'a> {
    env: &'a Env,
    text: &'a Text,
}

impl Encoder<'_> {
    /// The encoded value of an item of an element segment, which resolving found to be constant.
    fn item(&self, folded: &Folded, item: ElementItem) -> u64 {
        match folded.reference(item) {
            Some(Const::Func(func)) => self.func(func),
            _ => funcref::NULL,
        }
    }

    fn func(&self, func: u32) -> u64 {
        let (place, ty) = self.env.reference(func);
        let offset = self.text.offset(place.symbol()).expect("every function that is referred to is in the text");
        funcref::pack(ty.as_u32(), offset)
    }

    /// The bytes of a global with this value.
    fn value(&self, value: Const) -> Vec<u8> {
        match value {
            Const::I32(value) => value.to_le_bytes().into(),
            Const::I64(value) => value.to_le_bytes().into(),
            Const::F32(bits) => bits.to_le_bytes().into(),
            Const::F64(bits) => bits.to_le_bytes().into(),
            Const::V128(bits) => bits.to_le_bytes().into(),
            Const::Null => funcref::NULL.to_le_bytes().into(),
            Const::Func(func) => self.func(func).to_le_bytes().into(),
        }
    }
}

/// Pages of the slot that have been written.
struct Pages {
    page_size: u64,
    /// What they may need in bytes, with the gaps between them.
    limit: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Pages {
    fn new(page_size: u64, limit: u64) -> Self {
        Pages { page_size, limit, pages: BTreeMap::new() }
    }

    /// Beyond the limit, pages are counted and nothing is written: [`Self::into_runs`] fails.
    fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let start = (offset % self.page_size) as usize;
            let len = bytes.len().min(self.page_size as usize - start);
            let (now, rest) = bytes.split_at(len);
            let number = offset / self.page_size;
            // A page that stays zero is left out, unless something else was written to it.
            if now.iter().any(|byte| *byte != 0) || self.pages.contains_key(&number) {
                let is_too_large = self.pages.len() as u64 * self.page_size > self.limit;
                let new = || vec![0; if is_too_large { 0 } else { self.page_size as usize }].into_boxed_slice();
                let page = self.pages.entry(number).or_insert_with(new);
                if let Some(place) = page.get_mut(start..start + len) {
                    place.copy_from_slice(now);
                }
            }
            (offset, bytes) = (offset + len as u64, rest);
        }
    }

    fn into_runs(self) -> Result<Vec<Run>, Error> {
        let found = self.len();
        if found > self.limit {
            let (what, limit) = ("size of the initial state in bytes", self.limit);
            return Err(Error::Limit { what, found, limit, place: Place::default() });
        }
        let gap = self.stored_gap() * self.page_size;
        let mut runs: Vec<Run> = Vec::new();
        for (number, page) in self.pages {
            let slot_offset = number * self.page_size;
            match runs.last_mut() {
                Some(run) if slot_offset - (run.slot_offset + run.bytes.len() as u64) <= gap => {
                    run.bytes.resize((slot_offset - run.slot_offset) as usize, 0);
                    run.bytes.extend_from_slice(&page);
                }
                _ => runs.push(Run { slot_offset, bytes: page.into() }),
            }
        }
        Ok(runs)
    }

    /// Pages of each gap.
    fn gaps(&self) -> impl Iterator<Item = u64> {
        let next = self.pages.keys().map(|number| number + 1);
        self.pages.keys().skip(1).zip(next).map(|(number, next)| number - next).filter(|gap| *gap > 0)
    }

    /// Length in bytes of all runs, with the gaps that are stored in any case.
    fn len(&self) -> u64 {
        let gaps = self.gaps().filter(|gap| *gap <= MAX_GAP_PAGES).sum::<u64>();
        (self.pages.len() as u64 + gaps) * self.page_size
    }

    /// Zero pages between two runs up to which they are stored.
    fn stored_gap(&self) -> u64 {
        let mut room = self.pages.len() as u64;
        if room * self.page_size <= COPIED_IMAGE {
            return MAX_GAP_PAGES;
        }
        let is_long = |gap: &u64| (MAX_GAP_PAGES + 1..=MAX_LARGE_GAP_PAGES).contains(gap);
        let mut gaps: Vec<u64> = self.gaps().filter(is_long).collect();
        gaps.sort_unstable();
        let stored = gaps.chunk_by(|one, other| one == other).take_while(|equal| {
            let left = room.checked_sub(equal.iter().sum());
            room = left.unwrap_or(0);
            left.is_some()
        });
        stored.last().map_or(MAX_GAP_PAGES, |equal| equal[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_pages_meet_the_limit() {
        let written = |limit| {
            let mut pages = Pages::new(4096, limit);
            (0..3).for_each(|index| pages.write(index * (MAX_GAP_PAGES + 1) * 4096, &[1]));
            pages.write(1 << 30, &[1]);
            pages.into_runs().map(|runs| runs.iter().map(|run| run.bytes.len() as u64).sum::<u64>())
        };
        let needed = (4 + 2 * MAX_GAP_PAGES) * 4096;
        assert_eq!(written(needed), Ok(needed));
        for limit in [0, 4096, needed - 1] {
            assert!(matches!(written(limit), Err(Error::Limit { found, .. }) if found == needed));
        }
    }

    #[test]
    fn a_large_image_has_as_many_zero_pages_as_others_in_its_shortest_gaps() {
        let shape = |pages: u64, starts: &[u64]| {
            let mut image = Pages::new(4096, 1 << 20);
            starts.iter().for_each(|start| (*start..start + pages).for_each(|page| image.write(page * 4096, &[1])));
            let runs = image.into_runs().unwrap();
            runs.iter().map(|run| (run.slot_offset / 4096, run.bytes.len() / 4096)).collect::<Vec<_>>()
        };
        // Gaps of 20, 30 and 40 pages.
        assert_eq!(shape(10, &[0, 30, 70, 120]), [(0, 40), (70, 10), (120, 10)]);
        assert_eq!(shape(30, &[0, 50, 110, 180]), [(0, 210)]);
        // All of the same length are stored, or none.
        assert_eq!(shape(10, &[0, 30, 60]), [(0, 10), (30, 10), (60, 10)]);
        // A small one is not any larger for it.
        assert_eq!(shape(5, &[0, 25, 50]), [(0, 5), (25, 5), (50, 5)]);
    }

    #[test]
    fn zero_pages_are_left_out_and_short_gaps_are_not() {
        let mut pages = Pages::new(4096, 1 << 20);
        pages.write(4090, &[1; 10]);
        pages.write(20 * 4096, &[0; 8192]);
        pages.write(10 * 4096, &[2]);
        pages.write(100 * 4096 + 5, &[3]);
        pages.write(4090, &[0]);
        let runs = pages.into_runs().unwrap();
        let shape: Vec<_> = runs.iter().map(|run| (run.slot_offset, run.bytes.len())).collect();
        assert_eq!(shape, [(0, 11 * 4096), (100 * 4096, 4096)]);
        assert_eq!(runs[0].bytes[4089..4101], [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }
}
