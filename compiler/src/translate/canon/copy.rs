//! Copies between memories, in vectors, without leaving the guest's code.
//!
//! A length from n to 2n takes pieces from both ends, which may overlap in the middle; more than 64 bytes are a loop,
//! and the last 64 are taken from the end. Source and destination are in different memories and do not overlap.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};

use super::super::translator::{FuncTranslator, Region};

/// Bytes of a turn of the loop.
const TURN: i32 = 64;
/// Bytes of a vector.
const VECTOR: i32 = 16;

/// One range and where it ends.
#[derive(Clone, Copy)]
struct Ends {
    start: Value,
    end: Value,
}

impl Ends {
    /// What to add an offset to: from the end if it is negative.
    fn at(self, offset: i32) -> Value {
        if offset < 0 { self.end } else { self.start }
    }
}

impl FuncTranslator<'_> {
    /// Copies and returns; if `is_text`, returns whether any byte is above 127.
    pub(super) fn copy(&mut self, to: Value, from: Value, bytes: Value, is_text: bool) {
        let flags = self.heap_flags(Region::Memory);
        let from = Ends { start: from, end: self.ins().iadd(from, bytes) };
        let to = Ends { start: to, end: self.ins().iadd(to, bytes) };
        // By how many bytes: more than this, pieces of this type at these offsets.
        let tiers: [(i64, Type, &[i32]); 5] = [
            (32, I8X16, &[0, VECTOR, -2 * VECTOR, -VECTOR]),
            (15, I8X16, &[0, -VECTOR]),
            (7, I64, &[0, -8]),
            (3, I32, &[0, -4]),
            (1, I16, &[0, -2]),
        ];
        let long = self.builder.create_block();
        let short = self.builder.create_block();
        let is_long = self.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, bytes, i64::from(TURN));
        self.ins().brif(is_long, long, &[], short, &[]);

        self.enter(short);
        for (above, piece, offsets) in tiers {
            let (here, below) = (self.builder.create_block(), self.builder.create_block());
            let is_here = self.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, bytes, above);
            self.ins().brif(is_here, here, &[], below, &[]);
            self.enter(here);
            let seen = self.copy_pieces(flags, piece, from, to, offsets);
            self.return_whether_text(is_text, seen);
            self.enter(below);
        }
        let (one, none) = (self.builder.create_block(), self.builder.create_block());
        self.ins().brif(bytes, one, &[], none, &[]);
        self.enter(one);
        let seen = self.copy_pieces(flags, I8, from, to, &[0]);
        self.return_whether_text(is_text, seen);
        self.enter(none);
        let nothing = self.ins().iconst(I8, 0);
        self.return_whether_text(is_text, nothing);

        self.enter(long);
        self.copy_long(flags, from, to, is_text);
    }

    fn copy_long(&mut self, flags: MemFlagsData, from: Ends, to: Ends, is_text: bool) {
        let last = self.ins().iadd_imm_s(from.end, i64::from(-TURN));
        let (head, end) = (self.builder.create_block(), self.builder.create_block());
        let [from_now, to_now] = [I64; 2].map(|ty| self.builder.append_block_param(head, ty));
        // A vector more only where it is needed.
        let seen_now = is_text.then(|| self.builder.append_block_param(head, I8X16));
        let mut values = vec![from.start, to.start];
        if is_text {
            let zero = self.ins().iconst(I8, 0);
            values.push(self.ins().splat(I8X16, zero));
        }
        self.jump_to(head, &values);

        self.builder.switch_to_block(head);
        let (from_here, to_here) = (Ends { start: from_now, ..from }, Ends { start: to_now, ..to });
        let mut seen = self.copy_pieces(flags, I8X16, from_here, to_here, &[0, VECTOR, 2 * VECTOR, 3 * VECTOR]);
        if let Some(before) = seen_now {
            seen = self.ins().bor(seen, before);
        }
        let from_next = self.ins().iadd_imm_s(from_now, i64::from(TURN));
        let to_next = self.ins().iadd_imm_s(to_now, i64::from(TURN));
        let mut values = vec![from_next, to_next];
        values.extend(seen_now.map(|_| seen));
        let more = self.ins().icmp(IntCC::UnsignedLessThan, from_next, last);
        let values: Vec<_> = values.into_iter().map(Into::into).collect();
        self.ins().brif(more, head, &values, end, &[]);
        self.builder.seal_block(head);

        self.enter(end);
        let tail = self.copy_pieces(flags, I8X16, from, to, &[-4 * VECTOR, -3 * VECTOR, -2 * VECTOR, -VECTOR]);
        let seen = self.ins().bor(seen, tail);
        self.return_whether_text(is_text, seen);
    }

    /// Copies pieces; the result has every bit that is set in any of them.
    fn copy_pieces(&mut self, flags: MemFlagsData, piece: Type, from: Ends, to: Ends, offsets: &[i32]) -> Value {
        let load = |offset: &i32| self.ins().load(piece, flags, from.at(*offset), *offset);
        let pieces: Vec<Value> = offsets.iter().map(load).collect();
        let mut seen = pieces[0];
        for (offset, piece) in offsets.iter().zip(&pieces) {
            self.ins().store(flags, *piece, to.at(*offset), *offset);
        }
        for piece in &pieces[1..] {
            seen = self.ins().bor(seen, *piece);
        }
        seen
    }

    fn return_whether_text(&mut self, is_text: bool, seen: Value) {
        if !is_text {
            self.ins().return_(&[]);
            return;
        }
        let ty = self.type_of(seen);
        let result = if ty == I8X16 {
            self.ins().vhigh_bits(I32, seen)
        } else {
            let high_bits = 0x8080_8080_8080_8080_u64 >> (64 - ty.bits());
            let high = self.ins().band_imm_u(seen, high_bits.cast_signed());
            let above = self.ins().icmp_imm_u(IntCC::NotEqual, high, 0);
            self.ins().uextend(I32, above)
        };
        self.ins().return_(&[result]);
    }
}
