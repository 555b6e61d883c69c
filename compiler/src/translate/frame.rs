//! The control stack: which blocks an operator is in, and whether it can be reached.
//!
//! A WebAssembly block becomes a Cranelift block for what follows it only when something branches there; otherwise its
//! end is nothing at all. Operands cross blocks as block parameters.

use cranelift_codegen::ir::{Block, Value};

use super::limits::LoopCost;
use super::signature::clif_type;
use super::translator::FuncTranslator;
use precast_abi::types::ValType;

/// What a block's `end` and branches to it do.
#[derive(Debug)]
pub(super) enum Kind {
    /// Branches go to the end.
    Block,
    /// Branches go to this header.
    Loop(Block),
    /// Branches go to the end. Up to an `else`: where that starts, and the operands it starts with.
    If(Option<(Block, Vec<Value>)>),
    /// Branches return from the function.
    Function,
}

/// A block that has not ended.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    /// Number of operands below the block's.
    pub(super) height: usize,
    /// Types of the operands that the end has, and branches to it carry.
    pub(super) results: &'a [ValType],
    /// Types of the operands that branches to a loop carry.
    pub(super) params: &'a [ValType],
    /// What follows the block, once something branches there.
    pub(super) next: Option<Block>,
    /// What branches to it cost, if it is a loop.
    pub(super) cost: LoopCost,
}

/// The control stack.
#[derive(Debug, Default)]
pub(super) struct Control<'a> {
    pub(super) frames: Vec<Frame<'a>>,
    /// Whether the current operator cannot be reached.
    pub(super) dead: bool,
    /// Number of blocks that began in dead code and have not ended: they have no frames.
    pub(super) dead_frames: usize,
}

impl<'a> Control<'a> {
    /// The frame a branch leads to.
    pub(super) fn frame(&mut self, depth: u32) -> &mut Frame<'a> {
        let index = self.frames.len() - 1 - depth as usize;
        &mut self.frames[index]
    }

    /// The innermost frame.
    pub(super) fn innermost(&mut self) -> &mut Frame<'a> {
        self.frame(0)
    }
}

impl FuncTranslator<'_> {
    /// Number of operands that a branch to the frame carries.
    pub(super) fn branch_arity(&mut self, depth: u32) -> usize {
        let frame = self.control.frame(depth);
        if matches!(frame.kind, Kind::Loop(_)) { frame.params.len() } else { frame.results.len() }
    }

    /// Where a branch to the frame goes; makes that block if it is the first.
    pub(super) fn branch_target(&mut self, depth: u32) -> Block {
        let frame = self.control.frame(depth);
        if let Kind::Loop(header) = frame.kind {
            return header;
        }
        if let Some(next) = frame.next {
            return next;
        }
        let results = frame.results;
        let next = self.block_with_params(results);
        self.control.frame(depth).next = Some(next);
        next
    }

    /// A new block with parameters of these types.
    pub(super) fn block_with_params(&mut self, types: &[ValType]) -> Block {
        let block = self.builder.create_block();
        for ty in types {
            self.builder.append_block_param(block, clif_type(*ty));
        }
        block
    }

    /// Copies of the topmost operands, in the order they were pushed.
    pub(super) fn peek_many(&self, count: usize) -> &[Value] {
        &self.stack[self.stack.len() - count..]
    }

    /// Notes that no operator is reached up to the end of the innermost block, and forgets its operands.
    pub(super) fn set_dead(&mut self) {
        let height = self.control.innermost().height;
        self.stack.truncate(height);
        self.control.dead = true;
    }

    /// Continues in `block`, to which nothing will branch any more, with its parameters as operands.
    pub(super) fn continue_in(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
        self.stack.extend_from_slice(self.builder.block_params(block));
        self.control.dead = false;
        self.arrive();
    }
}
