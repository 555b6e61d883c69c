//! The helpers: small copies and fills of the first memory, without leaving the guest's code.
//!
//! Compilers emit `memory.copy` and `memory.fill` for strings and small structures, whose length they do not know. For
//! a few bytes the builtin's way to the loader, onto the host's stack and back costs more than the work. What a few
//! bytes are is cut into tiers: a tier of length n..=2n takes pieces from both ends, which may overlap in the middle.
//! All pieces are loaded before any is stored, so that it does not matter whether source and destination overlap.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{Block, Function, InstBuilder, MemFlagsData, Type, Value};
use cranelift_codegen::isa::TargetIsa;

use super::translator::{FuncTranslator, Home};
use super::{Entry, Scratch, build_at};
use crate::Error;
use crate::program::{Group, Helper, Instance, Program, Symbol};
use crate::resolve::has_memory_at_base;

/// A range of lengths, and how to cover it.
struct Tier {
    /// Lengths from this up to twice this, as far as no other tier has them.
    from: i64,
    /// What is moved at once.
    piece: Type,
    /// Number of pieces from each end.
    pieces: i32,
}

/// Longer than this is the builtin's work.
const LONGEST: i64 = 128;

/// Tiers for more than 16 bytes, and for at most that.
const LONG: &[Tier] = &[
    Tier { from: 64, piece: I8X16, pieces: 4 },
    Tier { from: 32, piece: I8X16, pieces: 2 },
    Tier { from: 16, piece: I8X16, pieces: 1 },
];
const SHORT: &[Tier] = &[
    Tier { from: 8, piece: I64, pieces: 1 },
    Tier { from: 4, piece: I32, pieces: 1 },
    Tier { from: 2, piece: I16, pieces: 1 },
    Tier { from: 1, piece: I8, pieces: 1 },
];

/// The code of a helper.
pub(crate) fn helper(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    helper: Helper,
    group: Group,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let symbol = Symbol::Helper(helper, group);
    let of_group = |instance: &&Instance<'_>| instance.group == group && has_memory_at_base(&instance.env);
    let instance = program.instances.values().find(of_group);
    let env = instance.map_or(&program.no_env, |instance| &instance.env);
    let home = Home { env, group };
    build_at(program, isa, symbol, Entry::Helper, home, &mut scratch.builder, |t, arguments| {
        match (helper, arguments) {
            (Helper::MemoryCopy, &[to, from, len]) => t.copy_helper(to, from, len),
            (Helper::MemoryFill, &[to, value, len]) => t.fill_helper(to, value, len),
            (_, other) => return Err(Error::internal(format_args!("{helper:?}"), format_args!("arguments {other:?}"))),
        }
        Ok(())
    })
}

/// One end of a range of memory.
#[derive(Clone, Copy)]
struct Range {
    start: Value,
    end: Value,
    flags: MemFlagsData,
}

impl FuncTranslator<'_> {
    fn copy_helper(&mut self, to: Value, from: Value, len: Value) {
        let (to_start, from_start) = (self.extend(to), self.extend(from));
        let above = self.ins().icmp(IntCC::UnsignedGreaterThan, to_start, from_start);
        let last = self.ins().select(above, to_start, from_start);
        let (few, many) = self.begin_helper(last, len);
        self.builder.switch_to_block(many);
        let status = self.copy_by_builtin(0, 0, to, from, len);
        self.ins().return_(&[status]);

        self.builder.switch_to_block(few);
        let (to, from) = (self.range(to_start, len), self.range(from_start, len));
        self.tiers(len, |t, tier| {
            let offsets = offsets(tier);
            let load = |offset: i32| t.ins().load(tier.piece, from.flags, from.at(offset), offset);
            let pieces: Vec<_> = offsets.iter().copied().map(load).collect();
            for (offset, piece) in offsets.into_iter().zip(pieces) {
                t.ins().store(to.flags, piece, to.at(offset), offset);
            }
        });
    }

    fn fill_helper(&mut self, to: Value, value: Value, len: Value) {
        let start = self.extend(to);
        let (few, many) = self.begin_helper(start, len);
        self.builder.switch_to_block(many);
        let status = self.fill_by_builtin(0, to, value, len);
        self.ins().return_(&[status]);

        self.builder.switch_to_block(few);
        let to = self.range(start, len);
        let byte = self.ins().ireduce(I8, value);
        self.tiers(len, |t, tier| {
            let piece = if tier.piece == I8X16 { t.ins().splat(I8X16, byte) } else { t.repeat(byte, tier.piece) };
            for offset in offsets(tier) {
                t.ins().store(to.flags, piece, to.at(offset), offset);
            }
        });
    }

    /// Branches to the first of the blocks if `len` bytes from the index `last` on are few and in bounds.
    fn begin_helper(&mut self, last: Value, len: Value) -> (Block, Block) {
        let memory = self.env.memories[0];
        let long_len = self.extend(len);
        // Neither is above 2^32, so that this cannot overflow.
        let end = self.ins().iadd(last, long_len);
        let bytes = self.memory_bytes(&memory);
        let is_inside = self.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, bytes);
        let is_short = self.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, len, LONGEST);
        let is_few = self.ins().band(is_inside, is_short);
        let (few, many) = (self.builder.create_block(), self.builder.create_block());
        self.ins().brif(is_few, few, &[], many, &[]);
        self.builder.seal_block(few);
        self.builder.seal_block(many);
        (few, many)
    }

    fn range(&mut self, index: Value, len: Value) -> Range {
        let (start, region) = self.memory_start(&self.env.memories[0]);
        let start = self.ins().iadd(start, index);
        let len = self.extend(len);
        Range { start, end: self.ins().iadd(start, len), flags: self.heap_flags(region) }
    }

    /// Emits each tier's code with `emit`, and the tests that lead there. All return 0.
    fn tiers(&mut self, len: Value, mut emit: impl FnMut(&mut Self, &Tier)) {
        let (long, short) = (self.builder.create_block(), self.builder.create_block());
        let is_long = self.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, len, LONG[LONG.len() - 1].from);
        self.ins().brif(is_long, long, &[], short, &[]);
        for (block, tiers) in [(long, LONG), (short, SHORT)] {
            self.builder.switch_to_block(block);
            self.builder.seal_block(block);
            for tier in tiers {
                let (here, below) = (self.builder.create_block(), self.builder.create_block());
                let is_here = self.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, len, tier.from);
                self.ins().brif(is_here, here, &[], below, &[]);
                self.builder.switch_to_block(here);
                self.builder.seal_block(here);
                emit(self, tier);
                self.return_success();
                self.builder.switch_to_block(below);
                self.builder.seal_block(below);
            }
            self.return_success();
        }
    }

    fn return_success(&mut self) {
        let success = self.i32(0);
        self.ins().return_(&[success]);
    }

    /// An integer that consists of `byte` over and over.
    fn repeat(&mut self, byte: Value, ty: Type) -> Value {
        if ty == I8 {
            return byte;
        }
        let byte = self.ins().uextend(ty, byte);
        let ones = 0x0101_0101_0101_0101_u64 >> (64 - ty.bits());
        self.ins().imul_imm_u(byte, ones.cast_signed())
    }
}

impl Range {
    /// What to add an offset to: from the end if it is negative.
    fn at(self, offset: i32) -> Value {
        if offset < 0 { self.end } else { self.start }
    }
}

/// Where a tier's pieces are: from the start, and (negative) from the end.
fn offsets(tier: &Tier) -> Vec<i32> {
    let size = tier.piece.bytes() as i32;
    (0..tier.pieces).map(|index| index * size).chain((1..=tier.pieces).map(|index| index * -size)).collect()
}
