//! Laying out by a profile: what instances need first lies together.
//!
//! What comes in: the program's functions, compiled and in its own order, and a [`Profile`] that a run of the program was
//! recorded in. What goes out: the same functions in the order of the text, and what the artifact says of it
//! ([`LaidOut`]). A profile is a hint: what it names and the program does not have is passed over and counted.

use std::collections::HashMap;
use std::ops::Range;

use precast_abi::meta::{FunctionKind, HotRow, MemoryModel, NumberRow, ProfileRow};
use precast_abi::profile::{Earlier, FunctionName, PAGE, PageRun, Part, Profile};
use precast_abi::slot::WASM_PAGE;

use crate::error::Error;
use crate::image::MemoryImage;
use crate::link;
use crate::lower::CompiledFunction;
use crate::program::{Group, MemoryPlace, Program};
use crate::text::Text;

/// The order of the text.
pub(crate) struct Order<'a> {
    profile: &'a Profile,
    /// The numbers of the functions, which are their places in the program's own order.
    numbers: Vec<u32>,
    /// How many the profile decided on: the first.
    found: usize,
}

/// What an artifact says of the profile.
pub(crate) struct LaidOut {
    pub(crate) profile: ProfileRow,
    pub(crate) hot: Vec<HotRow>,
    pub(crate) numbers: Vec<NumberRow>,
}

/// Puts the functions that the profile names first, in its order. The others stay in theirs.
///
/// # Errors
/// [`Error::Profile`] if it names functions of WebAssembly and the program has none of them.
pub(crate) fn arrange<'a>(
    program: &Program<'_>,
    functions: Vec<CompiledFunction>,
    profile: &'a Profile,
) -> Result<(Vec<CompiledFunction>, Order<'a>), Error> {
    let names: Vec<_> = functions.iter().map(|function| name(program, function)).collect();
    let mut earlier = Earlier::default();
    let named = names.iter().zip(0..).map(|((kind, name), number)| {
        (FunctionName { kind: *kind, name: name.clone(), earlier: earlier.count(*kind, name) }, number)
    });
    let known: HashMap<FunctionName, usize> = named.collect();

    let mut ranks = vec![usize::MAX; functions.len()];
    let mut found = 0;
    for number in profile.functions.iter().filter_map(|function| known.get(function)) {
        if ranks[*number] == usize::MAX {
            ranks[*number] = found;
            found += 1;
        }
    }
    check_kinship(profile, &known)?;

    let mut numbers: Vec<u32> = (0..functions.len() as u32).collect();
    numbers.sort_by_key(|number| ranks[*number as usize]);
    let mut compiled: Vec<_> = functions.into_iter().map(Some).collect();
    let functions = numbers.iter().filter_map(|number| compiled[*number as usize].take()).collect();
    Ok((functions, Order { profile, numbers, found }))
}

fn name(program: &Program<'_>, function: &CompiledFunction) -> (FunctionKind, String) {
    let kind = link::kind(program, function.symbol).map_or(FunctionKind::Glue, |(kind, _)| kind);
    (kind, program.symbol_name(function.symbol))
}

fn check_kinship(profile: &Profile, known: &HashMap<FunctionName, usize>) -> Result<(), Error> {
    let mut own = profile.functions.iter().filter(|function| function.kind == FunctionKind::Wasm).peekable();
    if own.peek().is_none() || own.any(|function| known.contains_key(function)) {
        return Ok(());
    }
    Err(Error::Profile("the profile is of another program: this one has none of its functions".into()))
}

impl Order<'_> {
    /// What the artifact of the program that `source` stands for says of it.
    pub(crate) fn laid_out(self, program: &Program<'_>, source: [u8; 32], text: &Text, image: &MemoryImage) -> LaidOut {
        let placed: Vec<_> = self.profile.pages.iter().map(|run| place(program, image, run)).collect();
        let pages =
            |lens: &mut dyn Iterator<Item = u64>| u32::try_from(lens.fold(0, u64::saturating_add)).unwrap_or(u32::MAX);
        let profile = ProfileRow {
            digest: *blake3::hash(self.profile.to_string().as_bytes()).as_bytes(),
            same_source: (self.profile.source == source).into(),
            functions: u32::try_from(self.profile.functions.len()).unwrap_or(u32::MAX),
            functions_found: self.found as u32,
            pages: pages(&mut self.profile.pages.iter().map(|run| run.count)),
            pages_found: pages(&mut placed.iter().map(|range| (range.end - range.start) / PAGE)),
            text_len: self.found.checked_sub(1).map_or(0, |last| text.range(last).end),
        };
        let numbers = self.numbers.into_iter().map(|number| NumberRow { number }).collect();
        LaidOut { profile, hot: joined(placed), numbers }
    }
}

/// Where pages are in the slot, as far as a fresh instance has them; empty if it has none.
fn place(program: &Program<'_>, image: &MemoryImage, run: &PageRun) -> Range<u64> {
    let bounds = match run.part {
        // The page that stack and block share is the block's.
        Part::Stack => Some(program.layout.stack_start..program.layout.block_start & !(PAGE - 1)),
        Part::Block(group) => {
            let group = program.groups.get(Group::from_u32(group));
            group.map(|group| group.block_start & !(PAGE - 1)..group.base_offset)
        }
        Part::Memory(row) => memory(program, image, row as usize),
    };
    bounds.map_or(0..0, |bounds| run.part.place(bounds.start, bounds.end, run.first, run.count))
}

/// The memory of a row, as far as guests can access it from the start.
fn memory(program: &Program<'_>, image: &MemoryImage, row: usize) -> Option<Range<u64>> {
    let (instance, index) = *program.rows.memories.get(row)?;
    let instance = &program.instances[instance];
    let memory = &instance.env.memories[index as usize];
    let MemoryPlace::Own { start, reservation, .. } = memory.place else { return None };
    let start = program.groups[instance.group].base_offset.wrapping_add_signed(start);
    let len = match memory.model {
        MemoryModel::Guarded => image.memory_pages[row].saturating_mul(WASM_PAGE).min(reservation),
        MemoryModel::Checked => reservation,
    };
    Some(start..start + len)
}

/// The same pages, sorted and apart.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<HotRow> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut rows: Vec<HotRow> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match rows.last_mut() {
            Some(last) if range.start <= last.slot_offset + last.len => {
                last.len = last.len.max(range.end - last.slot_offset);
            }
            _ => rows.push(HotRow { slot_offset: range.start, len: range.end - range.start }),
        }
    }
    rows
}
