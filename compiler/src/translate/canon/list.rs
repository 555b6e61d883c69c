//! Lists, and maps, which are lists of pairs.
//!
//! Elements of which every byte may be anything are copied at once; others are moved by a loop, whose body is the code
//! of one element.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_abi::trap::TrapCode;

use super::access::{Allocation, Bad, Place};
use super::glue::GlueHelper;
use super::transfer::{Source, Target, Transfer};
use crate::Error;
use crate::component::linkage::Type;

impl Transfer<'_, '_, '_> {
    /// Moves a list whose elements have these parts.
    pub(super) fn list(&mut self, element: &[Type], from: Source<'_>, to: Target<'_>) -> Result<(), Error> {
        let shape = self.component.shapes.record(element.iter().copied());
        let (pointer, len) = self.load_pair(from)?;
        let long_len = self.t.ins().uextend(I64, len);
        // Below 2^32 and 2^28, so that this cannot overflow.
        let bytes = match shape.size {
            1 => long_len,
            size => self.t.ins().imul_imm_u(long_len, size.cast_signed()),
        };
        let bad = Bad { align: shape.align, outside: TrapCode::ListOutOfBounds };
        let given = self.check_given(pointer, bytes, bad)?;
        self.t.check_byte_length(bytes);
        if shape.plain {
            self.t.charge_glue_bytes(bytes);
        } else {
            self.t.charge_glue(long_len);
        }
        let size = self.t.ins().ireduce(I32, bytes);
        let taken = self.allocate(Allocation { old: None, align: shape.align, size })?;
        if shape.plain {
            self.t.call_glue(GlueHelper::Copy, &[taken.address, given.address, bytes]);
        } else {
            self.elements(element, shape.size, bytes, given.address, taken.address)?;
        }
        self.store_pair((taken.pointer, len), to);
        Ok(())
    }

    /// Moves elements of `size` bytes, `bytes` in all, from one address to another.
    pub(super) fn elements(
        &mut self,
        element: &[Type],
        size: u64,
        bytes: Value,
        from: Value,
        to: Value,
    ) -> Result<(), Error> {
        if size == 0 {
            return Ok(());
        }
        let builder = &mut self.t.builder;
        let (head, body, end) = (builder.create_block(), builder.create_block(), builder.create_block());
        let (from_now, to_now) = (builder.append_block_param(head, I64), builder.append_block_param(head, I64));
        let from_end = self.t.ins().iadd(from, bytes);
        self.t.jump_to(head, &[from, to]);

        self.t.builder.switch_to_block(head);
        let is_done = self.t.ins().icmp(IntCC::Equal, from_now, from_end);
        self.t.ins().brif(is_done, end, &[], body, &[]);

        self.t.enter(body);
        let at = |address: Value| Place { address, offset: 0 };
        self.conditionally(|transfer| {
            transfer.fields(element.iter().copied(), Source::Memory(at(from_now)), Target::Memory(at(to_now)))
        })?;
        let from_next = self.t.ins().iadd_imm_s(from_now, size.cast_signed());
        let to_next = self.t.ins().iadd_imm_s(to_now, size.cast_signed());
        self.t.jump_to(head, &[from_next, to_next]);
        self.t.builder.seal_block(head);
        self.t.enter(end);
        Ok(())
    }
}
