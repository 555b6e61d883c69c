//! What was recorded of an artifact, as a [`Profile`]: functions and pages by names that outlive the artifact.

use std::ops::Range;

use precast_abi::meta::{FunctionKind, Meta, NONE};
use precast_abi::profile::{Earlier, FunctionName, PAGE, PageRun, Part, Profile};

use crate::artifact::{Artifact, ArtifactInner};
use crate::plan;
use crate::recorder::{Recorder, Written};
use crate::sys::memory;

impl Artifact {
    /// Whether it was opened with [`crate::OpenOptions::record_profile`].
    pub fn is_recorded(&self) -> bool {
        self.inner().code().recorder().is_some()
    }

    /// What its instances did until now, if it is recorded ([`Self::is_recorded`]): the functions that
    /// ran, in the order in which each did for the first time, and the pages that at least half of the instances wrote
    /// which have ended. For `precast_compiler::Options::profile`.
    pub fn profile(&self) -> Option<Profile> {
        let inner = self.inner();
        let recorder = inner.code().recorder()?;
        Some(Profile {
            source: inner.meta().header.source,
            functions: functions(inner.meta(), recorder),
            pages: pages(&parts(inner), &recorder.written()),
        })
    }
}

fn functions(meta: &Meta<'_>, recorder: &Recorder) -> Vec<FunctionName> {
    // Names are told apart by the program's own order, and not by the text's.
    let mut rows: Vec<u32> = (0..meta.functions.len() as u32).collect();
    rows.sort_by_key(|row| meta.function_number(*row));
    let mut names = vec![None; rows.len()];
    let mut earlier = Earlier::default();
    for row in rows {
        let Some(function) = meta.functions.get(row as usize) else { continue };
        let Some(kind) = FunctionKind::from_raw(function.kind) else { continue };
        let name = meta.str(function.name).unwrap_or_default();
        names[row as usize] = Some(FunctionName { kind, name: name.into(), earlier: earlier.count(kind, name) });
    }
    recorder.order().filter_map(|row| names.get_mut(row as usize)?.take()).collect()
}

/// The parts of a slot that guests write.
fn parts(artifact: &ArtifactInner) -> Vec<(Part, Range<u64>)> {
    let meta = artifact.meta();
    let layout = &meta.header.layout;
    // The page that stack and block share is the block's.
    let stack = (Part::Stack, layout.stack_start..layout.block_start & !(PAGE - 1));
    let blocks = (0..)
        .zip(plan::groups(meta))
        .map(|(group, row)| (Part::Block(group), row.block_start & !(PAGE - 1)..row.base_offset));
    let rows = (0..meta.memories.len() as u32).filter_map(|row| Some((row, artifact.memory(row as usize)?)));
    let memories = rows
        .filter(|(_, memory)| memory.import == NONE)
        .map(|(row, memory)| (Part::Memory(row), memory.slot_offset..memory.slot_offset + memory.reservation));
    std::iter::once(stack).chain(blocks).chain(memories).collect()
}

/// The pages that at least half of the instances wrote.
fn pages(parts: &[(Part, Range<u64>)], written: &Written) -> Vec<PageRun> {
    let usual = written.pages.iter().filter(|(_, times)| 2 * u64::from(**times) >= u64::from(written.instances));
    let small = usual.flat_map(|(page, _)| (*page as u64..(page + memory::page_size()) as u64).step_by(PAGE as usize));
    let mut pages: Vec<_> = small
        .filter_map(|offset| {
            let (part, range) = parts.iter().find(|(_, range)| range.contains(&offset))?;
            Some((*part, part.page(range.start, range.end, offset)))
        })
        .collect();
    pages.sort_unstable();
    let mut runs: Vec<PageRun> = Vec::new();
    for (part, page) in pages {
        match runs.last_mut() {
            Some(run) if run.part == part && run.first + run.count == page => run.count += 1,
            _ => runs.push(PageRun { part, first: page, count: 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_half_of_the_instances_wrote_are_in_runs() {
        let parts = [
            (Part::Stack, 0..10 * PAGE),
            (Part::Block(0), 10 * PAGE..12 * PAGE),
            (Part::Memory(1), 12 * PAGE..99 * PAGE),
        ];
        let times = [(8, 3), (9, 4), (11, 2), (12, 2), (13, 4), (14, 1), (15, 2), (200, 4)];
        let page = memory::page_size().max(PAGE as usize);
        if page != PAGE as usize {
            return;
        }
        let pages_written = times.map(|(number, times)| (number * page, times)).into();
        let runs = pages(&parts, &Written { instances: 4, pages: pages_written });
        let shown: Vec<_> = runs.iter().map(PageRun::to_string).collect();
        assert_eq!(shown, ["stack 0 2", "block 0 0 1", "memory 1 0 2", "memory 1 3 1"]);
    }
}
