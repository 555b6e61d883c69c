//! What a function costs beyond its length: a few bytes of WebAssembly can stand for much more, and a hostile module
//! must not exhaust the compiler's memory.

use cranelift_codegen::entity::EntityRef;
use cranelift_codegen::ir::Block;

use crate::Error;
use crate::error::Place;

/// Operands that calls take and give and that branches carry: a two-byte call may move two thousand. Of the guests we
/// know, a JavaScript engine's interpreter moves most: 3,438.
const MOVED_OPERANDS: u64 = 1 << 22;

/// Entries of the tables in which the SSA construction looks up what a local is in a block. It has one for each local,
/// as long as the number of the highest block that mentions the local: four bytes, and as much again where the local is
/// live. The same interpreter has 459,222; code that was not optimised may have a hundred times that.
const LOCALS_IN_BLOCKS: u64 = 1 << 26;

/// What a function has cost so far.
#[derive(Debug, Default)]
pub(super) struct Cost {
    moved_operands: u64,
    locals_in_blocks: u64,
    /// For each local, the number of entries counted for it.
    counted: Vec<u32>,
}

impl Cost {
    /// `count` operands cross a call or branch.
    pub(super) fn move_operands(&mut self, count: usize) {
        self.moved_operands += count as u64;
    }

    /// The local is read or written in `block`.
    pub(super) fn mention_local(&mut self, local: usize, block: Block) {
        let entries = block.index() as u32 + 1;
        if self.counted.len() <= local {
            self.counted.resize(local + 1, 0);
        }
        if let Some(more) = entries.checked_sub(self.counted[local]) {
            self.locals_in_blocks += u64::from(more);
            self.counted[local] = entries;
        }
    }

    /// Whether the function may still be compiled.
    ///
    /// # Errors
    /// [`Error::Limit`] if not.
    pub(super) fn check(&self, place: impl FnOnce() -> Place) -> Result<(), Error> {
        let limited = [
            ("the number of operands moved by calls and branches", self.moved_operands, MOVED_OPERANDS),
            ("the number of locals times blocks", self.locals_in_blocks, LOCALS_IN_BLOCKS),
        ];
        match limited.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(Error::Limit { what, found, limit, place: place() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(cost: &Cost) -> Option<u64> {
        match cost.check(Place::default) {
            Err(Error::Limit { found, .. }) => Some(found),
            _ => None,
        }
    }

    #[test]
    fn operands_are_counted_wherever_they_move() {
        let mut cost = Cost::default();
        for _ in 0..MOVED_OPERANDS / 1000 {
            cost.move_operands(1000);
        }
        assert_eq!(refused(&cost), None);
        cost.move_operands(1000);
        assert_eq!(refused(&cost), Some((MOVED_OPERANDS / 1000 + 1) * 1000));
    }

    #[test]
    fn a_local_counts_up_to_the_highest_block_that_mentions_it() {
        let mut cost = Cost::default();
        for block in [9, 3, 9, 11] {
            cost.mention_local(2, Block::new(block));
        }
        cost.mention_local(0, Block::new(0));
        assert_eq!(cost.locals_in_blocks, 12 + 1);
        let blocks = Block::new(1 << 16);
        for local in 0..(LOCALS_IN_BLOCKS >> 16) as usize {
            assert_eq!(refused(&cost), None);
            cost.mention_local(local, blocks);
        }
        assert!(refused(&cost).is_some());
    }
}
