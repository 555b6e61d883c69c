//! Blocks, branches, `return`, `unreachable`, `drop`, `select` and locals.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_codegen::ir::{Block, BlockArg, BlockCall, InstBuilder, JumpTableData, Value};
use precast_abi::trap::TrapCode;
use precast_abi::types::ValType;
use wasmparser::{BlockType, BrTable, Operator};

use super::frame::{Frame, Kind};
use super::limits::LoopCost;
use super::signature::value_type;
use super::translator::{FuncTranslator, trap_code};

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::Nop => {}
        Operator::Unreachable => t.trap(TrapCode::Unreachable),
        Operator::Block { blockty } => t.begin_block(*blockty),
        Operator::Loop { blockty } => t.begin_loop(*blockty),
        Operator::If { blockty } => t.begin_if(*blockty),
        Operator::Else => t.begin_else(),
        Operator::End => t.end(),
        Operator::Br { relative_depth } => t.branch(*relative_depth),
        Operator::BrIf { relative_depth } => t.branch_if(*relative_depth),
        Operator::BrTable { targets } => t.branch_table(targets),
        Operator::Return => t.return_operands(),
        Operator::Drop => drop(t.pop()),
        Operator::Select | Operator::TypedSelect { .. } => t.select(),
        Operator::LocalGet { local_index } => t.local_get(*local_index),
        Operator::LocalSet { local_index } => t.local_set(*local_index),
        Operator::LocalTee { local_index } => t.local_tee(*local_index),
        _ => return false,
    }
    true
}

/// Keeps count of blocks in dead code, where nothing is translated; leaves it at the `else` or `end` of a block that
/// began before it.
pub(super) fn dead_operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) {
    match op {
        Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => t.control.dead_frames += 1,
        Operator::End if t.control.dead_frames > 0 => t.control.dead_frames -= 1,
        Operator::Else if t.control.dead_frames == 0 => t.begin_else(),
        Operator::End => t.end(),
        _ => {}
    }
}

impl<'a> FuncTranslator<'a> {
    /// Begins the function's own block.
    pub(super) fn begin_function(&mut self) {
        let results = &self.program.types[self.ty].results;
        let cost = LoopCost::default();
        self.control.frames.push(Frame { kind: Kind::Function, height: 0, params: &[], results, next: None, cost });
    }

    fn begin_block(&mut self, ty: BlockType) {
        self.begin(Kind::Block, ty);
    }

    /// The header is sealed at the loop's end, when all branches to it are known.
    fn begin_loop(&mut self, ty: BlockType) {
        let (params, _) = self.block_type(ty);
        let header = self.block_with_params(params);
        self.begin(Kind::Loop(header), ty);
        self.jump(header, params.len());
        self.builder.switch_to_block(header);
        let height = self.control.innermost().height;
        self.stack.truncate(height);
        self.stack.extend_from_slice(self.builder.block_params(header));
        self.arrive();
        self.spill_fuel();
    }

    /// Where the condition is false is sealed at the `else` or `end`: without an `else` the true part may join it.
    fn begin_if(&mut self, ty: BlockType) {
        let condition = self.pop();
        let (params, _) = self.block_type(ty);
        let operands = self.peek_many(params.len()).to_vec();
        self.cost.move_operands(operands.len());
        let (then, otherwise) = (self.builder.create_block(), self.builder.create_block());
        self.settle();
        self.ins().brif(condition, then, &[], otherwise, &[]);
        self.begin(Kind::If(Some((otherwise, operands))), ty);
        self.builder.switch_to_block(then);
        self.builder.seal_block(then);
    }

    /// Pushes a frame for a block whose parameters are the topmost operands.
    fn begin(&mut self, kind: Kind, ty: BlockType) {
        let (params, results) = self.block_type(ty);
        let height = self.stack.len() - params.len();
        let cost = self.cost.begin_loop();
        self.control.frames.push(Frame { kind, height, params, results, next: None, cost });
    }

    fn begin_else(&mut self) {
        if !self.control.dead {
            let next = self.branch_target(0);
            let count = self.control.innermost().results.len();
            self.jump(next, count);
        }
        let frame = self.control.innermost();
        if let Kind::If(otherwise) = &mut frame.kind
            && let Some((otherwise, operands)) = otherwise.take()
        {
            self.stack.truncate(frame.height);
            self.begin_otherwise(otherwise, operands);
        }
    }

    /// Continues where the condition is false, with the operands that the true part started with too.
    fn begin_otherwise(&mut self, otherwise: Block, operands: Vec<Value>) {
        self.builder.switch_to_block(otherwise);
        self.builder.seal_block(otherwise);
        self.stack.extend(operands);
        self.control.dead = false;
        self.arrive();
    }

    fn end(&mut self) {
        let Some(Frame { kind, height, results, mut next, cost, .. }) = self.control.frames.pop() else { return };
        let is_function = matches!(kind, Kind::Function);
        match kind {
            Kind::Block | Kind::If(None) => {}
            Kind::Loop(header) => {
                self.cost.end_loop(cost);
                self.builder.seal_block(header);
            }
            Kind::If(Some((otherwise, operands))) if operands.is_empty() && next.is_none() => next = Some(otherwise),
            Kind::If(Some((otherwise, operands))) => {
                let join = next.unwrap_or_else(|| self.block_with_params(results));
                next = Some(join);
                if !self.control.dead {
                    self.jump(join, results.len());
                }
                self.stack.truncate(height);
                self.begin_otherwise(otherwise, operands);
            }
            Kind::Function => {}
        }
        if let Some(next) = next {
            if !self.control.dead {
                self.jump(next, results.len());
            }
            self.stack.truncate(height);
            self.continue_in(next);
        }
        if is_function && !self.control.dead {
            let results = self.pop_many(results.len());
            self.emit_return(&results);
        }
    }

    fn branch(&mut self, depth: u32) {
        if matches!(self.control.frame(depth).kind, Kind::Function) {
            return self.return_operands();
        }
        self.control.frame(depth).cost.branches += 1;
        let (target, count) = (self.branch_target(depth), self.branch_arity(depth));
        self.jump(target, count);
        self.set_dead();
    }

    fn branch_if(&mut self, depth: u32) {
        let condition = self.pop();
        self.control.frame(depth).cost.branches += 1;
        let (target, count) = (self.branch_target(depth), self.branch_arity(depth));
        let operands = self.block_args(count);
        let otherwise = self.builder.create_block();
        self.settle();
        self.ins().brif(condition, target, &operands, otherwise, &[]);
        self.builder.switch_to_block(otherwise);
        self.builder.seal_block(otherwise);
    }

    /// With operands, each target gets a block of its own that passes them on, once however often the table names it.
    fn branch_table(&mut self, targets: &BrTable<'_>) {
        let index = self.pop();
        let count = self.branch_arity(targets.default());
        let mut forwards = BTreeMap::new();
        // The validator has read the targets before.
        let depths: Vec<u32> = targets.targets().map_while(Result::ok).chain([targets.default()]).collect();
        // Cranelift, too, passes locals on once for each target.
        for depth in depths.iter().collect::<BTreeSet<_>>() {
            self.control.frame(*depth).cost.branches += 1;
        }
        let mut calls = Vec::with_capacity(depths.len());
        for depth in depths {
            let block = match count {
                0 => self.branch_target(depth),
                _ => *forwards.entry(depth).or_insert_with(|| self.builder.create_block()),
            };
            calls.push(BlockCall::new(block, [], &mut self.builder.func.dfg.value_lists));
        }
        if let Some((default, calls)) = calls.split_last() {
            self.settle();
            let table = self.builder.create_jump_table(JumpTableData::new(*default, calls));
            self.ins().br_table(index, table);
        }
        for (depth, forward) in forwards {
            self.builder.switch_to_block(forward);
            self.builder.seal_block(forward);
            let target = self.branch_target(depth);
            self.jump(target, count);
        }
        self.set_dead();
    }

    /// Returns the topmost operands.
    fn return_operands(&mut self) {
        let count = self.program.types[self.ty].results.len();
        let results = self.pop_many(count);
        self.emit_return(&results);
        self.set_dead();
    }

    /// Returns `results` as the function's convention has it.
    pub(super) fn emit_return(&mut self, results: &[Value]) {
        self.spill_fuel();
        match self.return_area {
            Some(area) => {
                self.store_cells(area, results);
                self.ins().return_(&[]);
            }
            None => {
                self.ins().return_(results);
            }
        }
    }

    /// Ends in a trap.
    pub(super) fn trap(&mut self, code: TrapCode) {
        self.spill_fuel();
        self.ins().trap(trap_code(code));
        self.set_dead();
    }

    fn select(&mut self) {
        let (first, second, condition) = self.pop3();
        let value = self.ins().select(condition, first, second);
        self.push(value);
    }

    /// Jumps to `block` with the topmost `count` operands, which stay.
    fn jump(&mut self, block: Block, count: usize) {
        self.settle();
        let operands = self.block_args(count);
        self.ins().jump(block, &operands);
    }

    /// Jumps to `block` with `operands`.
    pub(super) fn jump_with(&mut self, block: Block, operands: &[Value]) {
        let operands: Vec<_> = operands.iter().map(|value| BlockArg::Value(*value)).collect();
        self.ins().jump(block, &operands);
    }

    fn block_args(&mut self, count: usize) -> Vec<BlockArg> {
        self.cost.move_operands(count);
        self.peek_many(count).iter().map(|value| BlockArg::Value(*value)).collect()
    }

    /// Parameter and result types of a block.
    fn block_type(&self, ty: BlockType) -> (&'a [ValType], &'a [ValType]) {
        match ty {
            BlockType::Empty => (&[], &[]),
            BlockType::Type(ty) => (&[], value_type(ty).map_or(&[], single)),
            BlockType::FuncType(index) => {
                let ty = &self.program.types[self.env.types[index as usize]];
                (&ty.params, &ty.results)
            }
        }
    }
}

/// The type as a slice that lives forever.
fn single(ty: ValType) -> &'static [ValType] {
    match ty {
        ValType::I32 => &[ValType::I32],
        ValType::I64 => &[ValType::I64],
        ValType::F32 => &[ValType::F32],
        ValType::F64 => &[ValType::F64],
        ValType::V128 => &[ValType::V128],
        ValType::FuncRef => &[ValType::FuncRef],
        ValType::ExternRef => &[ValType::ExternRef],
    }
}
