//! What a function costs beyond its length: a few bytes of WebAssembly can stand for much more, and a hostile module
//! must not exhaust the compiler's memory.

use cranelift_codegen::entity::EntityRef;
use cranelift_codegen::ir::Block;

use crate::Error;
use crate::error::Place;

/// Operands that calls take and give and that branches carry, locals that branches to loops carry included: a two-byte
/// call or branch may move thousands.
const MOVED_OPERANDS: u64 = 1 << 22;

/// Entries of the tables in which the SSA construction looks up what a local is in a block. It has one for each local,
/// as long as the number of the highest block that mentions the local: four bytes, and as much again where the local is
/// live. The same interpreter has 459,222; code that was not optimised may have a hundred times that.
const LOCALS_IN_BLOCKS: u64 = 1 << 26;

/// What branches to a loop cost: each carries the locals that change in the loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoopCost {
    /// Number of branches so far.
    pub(super) branches: u64,
    /// How often locals had been mentioned when the loop began.
    mentions: u64,
}

/// What a function has cost so far.
#[derive(Debug, Default)]
pub(super) struct Cost {
    moved_operands: u64,
    locals_in_blocks: u64,
    /// How often locals were mentioned.
    mentions: u64,
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
        self.mentions += 1;
        let entries = block.index() as u32 + 1;
        if self.counted.len() <= local {
            self.counted.resize(local + 1, 0);
        }
        if let Some(more) = entries.checked_sub(self.counted[local]) {
            self.locals_in_blocks += u64::from(more);
            self.counted[local] = entries;
        }
    }

    /// A loop begins.
    pub(super) fn begin_loop(&self) -> LoopCost {
        LoopCost { branches: 0, mentions: self.mentions }
    }

    /// All branches to the loop are known.
    pub(super) fn end_loop(&mut self, cost: LoopCost) {
        let locals = (self.mentions - cost.mentions).min(self.counted.len() as u64);
        self.moved_operands += cost.branches * locals;
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
    fn branches_to_a_loop_carry_its_locals() {
        let mut cost = Cost::default();
        (0..1000).for_each(|local| cost.mention_local(local, Block::new(0)));
        let inner = cost.begin_loop();
        for _ in 0..2 {
            (0..10).for_each(|local| cost.mention_local(local, Block::new(0)));
        }
        cost.end_loop(LoopCost { branches: 7, ..inner });
        assert_eq!(cost.moved_operands, 7 * 20);
        cost.end_loop(LoopCost { branches: MOVED_OPERANDS / 1000 + 1, ..LoopCost::default() });
        assert_eq!(refused(&cost), Some(7 * 20 + (MOVED_OPERANDS / 1000 + 1) * 1000));
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
