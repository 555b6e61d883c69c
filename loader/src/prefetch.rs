//! Having the system read what the first request needs, all at once: for files that nobody has read yet.
//!
//! What comes in: an artifact that is laid out by a profile and was opened without being hashed. What goes out: nothing;
//! the system reads the functions that ran, which lie together, and the image's pages that were written and those
//! around them, while the host goes on. Without that, each page that is not there yet is waited for when it is met.

use std::ops::Range;

use precast_abi::meta::Meta;

use crate::mapping::Code;
use crate::sys::memory;

/// Bytes between two parts that are rather read than left out: as many as a fault reads around what it is about.
const GAP: u64 = 128 << 10;

/// See the head of this file.
pub(crate) fn prefetch(code: &Code) {
    let mapping = code.mapping();
    for bytes in needed(code.meta()).into_iter().filter_map(|range| mapping.get(range)) {
        memory::will_need(bytes);
    }
}

/// What the profile says is needed, in bytes of the file. Rows may say anything.
fn needed(meta: &Meta<'_>) -> Vec<Range<u64>> {
    let Some(profile) = meta.profile.get(0) else { return Vec::new() };
    let text = meta.header.text_offset..meta.header.text_offset.saturating_add(profile.text_len.into());
    let mut ranges = vec![text];
    let mut runs = meta.runs.iter().peekable();
    for hot in meta.hot.iter() {
        // Both are sorted, and no part of the memory is in two runs.
        while runs.next_if(|run| run.slot_offset.saturating_add(run.len) <= hot.slot_offset).is_some() {}
        let Some(run) = runs.peek().filter(|run| run.slot_offset <= hot.slot_offset) else { continue };
        let start = run.file_offset.saturating_add(hot.slot_offset - run.slot_offset);
        let end = run.file_offset.saturating_add(run.len).min(start.saturating_add(hot.len));
        match ranges.last_mut() {
            Some(last) if start >= last.end && start - last.end <= GAP => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use precast_abi::meta::{HotRow, MetaBuilder, ProfileRow, RunRow};

    use super::*;
    use crate::testing::TestArtifact;

    #[test]
    fn what_was_written_is_read_and_a_little_around_it() {
        let mut meta = MetaBuilder::new(TestArtifact::new().meta.header);
        meta.header.text_offset = 0x1000;
        let hot = |slot_offset, len| HotRow { slot_offset, len };
        let run = |slot_offset, file_offset, len| RunRow { slot_offset, file_offset, len };
        meta.runs = vec![
            run(0x10_0000, 0x20_0000, 0x10_0000),
            run(0x40_0000, 0x30_0000, 0x1000),
            run(0x50_0000, 0x30_1000, 0x2000),
        ];
        meta.hot = vec![
            hot(0x1000, 0x1000),    // not of the image
            hot(0x10_2000, 0x1000), // of the first run
            hot(0x11_3000, 0x2000), // near
            hot(0x14_0000, 0x1000), // far
            hot(0x1f_f000, 0x3000), // its end, and beyond
            hot(0x50_0000, 0x1000), // of the third, which is near in the file
        ];
        let found = |meta: &MetaBuilder| needed(&Meta::parse(&meta.encode()).unwrap());
        assert_eq!(found(&meta), []);
        meta.profile.push(ProfileRow {
            digest: [0; 32],
            same_source: 1,
            functions: 1,
            functions_found: 1,
            pages: 9,
            pages_found: 9,
            text_len: 0x345,
        });
        let wanted = [0x1000..0x1345, 0x20_2000..0x21_5000, 0x24_0000..0x24_1000, 0x2f_f000..0x30_2000];
        assert_eq!(found(&meta), wanted);
        // Rows that make no sense are nothing that panics.
        meta.runs[1].file_offset = u64::MAX;
        meta.hot[5].len = u64::MAX;
        meta.hot.swap(1, 4);
        found(&meta);
    }
}
