//! Strings, which the two sides may keep in different encodings.
//!
//! Where the Canonical ABI says how a string is allocated, guess by guess, that is what the taker's `realloc` sees. The
//! loader transcodes and validates; copying text that is all ASCII, as most is, does not leave compiled code.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_abi::component::StringEncoding::{self, Latin1OrUtf16, Utf8, Utf16};
use precast_abi::trap::TrapCode;
use precast_builtins::Builtin;

use super::super::translator::trap_code;
use super::access::{Allocation, Bad, Range, memory};
use super::glue::GlueHelper;
use super::transfer::{Source, Target, Transfer};
use crate::Error;

/// A string of the giver: where it is, and its length in code units, 32 bits.
#[derive(Clone, Copy)]
struct Text {
    range: Range,
    units: Value,
}

/// Pointer and length of a string of the taker, 32 bits each.
type Stored = [Value; 2];

impl Transfer<'_, '_, '_> {
    /// Moves a string.
    pub(super) fn string(&mut self, from: Source<'_>, to: Target<'_>) -> Result<(), Error> {
        let (pointer, len) = self.load_pair(from)?;
        let [pointer, len] = match self.from.encoding {
            Utf8 => self.store_utf8(pointer, len)?,
            Utf16 => self.store_utf16(pointer, len)?,
            Latin1OrUtf16 => {
                let tag = i64::from(StringEncoding::UTF16_TAG);
                let is_utf16 = self.t.ins().band_imm_u(len, tag);
                let units = self.t.ins().band_imm_u(len, i64::from(!StringEncoding::UTF16_TAG));
                self.choose(
                    is_utf16,
                    false,
                    |transfer| transfer.store_utf16(pointer, units),
                    |transfer| transfer.store_latin1(pointer, units),
                )?
            }
        };
        self.store_pair((pointer, len), to);
        Ok(())
    }

    fn store_utf8(&mut self, pointer: Value, len: Value) -> Result<Stored, Error> {
        let text = self.text(pointer, len, 1, 1)?;
        match self.to.encoding {
            Utf8 => {
                let to = self.fresh(1, len)?;
                let bytes = self.t.ins().uextend(I64, len);
                let high = self.copy_ascii(to, text, bytes)?;
                self.choose(
                    high,
                    true,
                    |transfer| {
                        let row = memory(transfer.from)?.1.row;
                        let row = transfer.t.i32(row);
                        let bad = transfer.t.call_builtin(Builtin::utf8_check, &[row, pointer, len])[0];
                        transfer.t.ins().trapnz(bad, trap_code(TrapCode::InvalidUtf8));
                        Ok([])
                    },
                    |_| Ok([]),
                )?;
                Ok([to.pointer, len])
            }
            Utf16 => {
                let worst = self.t.ins().ishl_imm_u(len, 1);
                let to = self.fresh(2, worst)?;
                self.utf8_to_utf16(text, to, worst)
            }
            Latin1OrUtf16 => {
                let to = self.fresh(2, len)?;
                let done = self.transcode(Builtin::utf8_to_latin1, to, text, Some(TrapCode::InvalidUtf8))?;
                self.latin1_or(to, text, done, |transfer, to, worst| {
                    let [pointer, units] = transfer.utf8_to_utf16(text, to, worst)?;
                    Ok([pointer, transfer.tagged(units)])
                })
            }
        }
    }

    fn store_utf16(&mut self, pointer: Value, units: Value) -> Result<Stored, Error> {
        let text = self.text(pointer, units, 2, 2)?;
        let bytes = self.t.ins().ishl_imm_u(units, 1);
        match self.to.encoding {
            Utf8 => {
                let to = self.fresh(1, units)?;
                let done = self.transcode(Builtin::utf16_to_ascii, to, text, None)?;
                let done = self.t.ins().ireduce(I32, done);
                let is_more = self.t.ins().icmp(IntCC::NotEqual, done, units);
                self.choose(
                    is_more,
                    true,
                    |transfer| transfer.all_to_utf8(Builtin::utf16_to_utf8, to, text, 3),
                    |_| Ok([to.pointer, units]),
                )
            }
            Utf16 => {
                let to = self.fresh(2, bytes)?;
                self.copy_utf16(to, text)?;
                Ok([to.pointer, units])
            }
            Latin1OrUtf16 if self.from.encoding == Latin1OrUtf16 => {
                // It is likely to need UTF-16 again.
                let to = self.fresh(2, bytes)?;
                let is_wide = self.copy_utf16(to, text)?;
                self.choose(
                    is_wide,
                    false,
                    |transfer| Ok([to.pointer, transfer.tagged(units)]),
                    |transfer| {
                        transfer.transcode(Builtin::utf16_to_latin1, to, text, Some(TrapCode::InvalidUtf16))?;
                        // As aligned as at first: these strings always are (component/strings.wast).
                        let to = transfer.resize(to, bytes, 2, units)?;
                        Ok([to.pointer, units])
                    },
                )
            }
            Latin1OrUtf16 => {
                let to = self.fresh(2, units)?;
                let done = self.transcode(Builtin::utf16_to_latin1, to, text, Some(TrapCode::InvalidUtf16))?;
                self.latin1_or(to, text, done, |transfer, to, _| {
                    transfer.copy_utf16(to, text)?;
                    Ok([to.pointer, transfer.tagged(units)])
                })
            }
        }
    }

    fn store_latin1(&mut self, pointer: Value, units: Value) -> Result<Stored, Error> {
        let text = self.text(pointer, units, 1, 2)?;
        let bytes = self.t.ins().uextend(I64, units);
        match self.to.encoding {
            Utf8 => {
                let to = self.fresh(1, units)?;
                let high = self.copy_ascii(to, text, bytes)?;
                self.choose(
                    high,
                    true,
                    |transfer| transfer.all_to_utf8(Builtin::latin1_to_utf8, to, text, 2),
                    |_| Ok([to.pointer, units]),
                )
            }
            Utf16 => {
                let size = self.t.ins().ishl_imm_u(units, 1);
                let to = self.fresh(2, size)?;
                self.transcode(Builtin::latin1_to_utf16, to, text, None)?;
                Ok([to.pointer, units])
            }
            Latin1OrUtf16 => {
                let to = self.fresh(2, units)?;
                self.t.call_glue(GlueHelper::Copy, &[to.address, text.range.address, bytes]);
                Ok([to.pointer, units])
            }
        }
    }

    /// A string of the giver, if it is inside its memory and not too long.
    fn text(&mut self, pointer: Value, units: Value, unit_bytes: i64, align: u64) -> Result<Text, Error> {
        let bytes = self.t.ins().uextend(I64, units);
        let bytes = if unit_bytes == 1 { bytes } else { self.t.ins().ishl_imm_u(bytes, 1) };
        let range = self.check_given(pointer, bytes, Bad { align, outside: TrapCode::StringOutOfBounds })?;
        self.t.check_byte_length(bytes);
        self.t.charge_glue_bytes(bytes);
        Ok(Text { range, units })
    }

    fn fresh(&mut self, align: u64, size: Value) -> Result<Range, Error> {
        self.allocate(Allocation { old: None, align, size })
    }

    fn resize(&mut self, old: Range, old_size: Value, align: u64, size: Value) -> Result<Range, Error> {
        self.allocate(Allocation { old: Some((old.pointer, old_size)), align, size })
    }

    /// Gives back what of `old_size` bytes the string does not need.
    fn shrink(&mut self, old: Range, old_size: Value, align: u64, size: Value) -> Result<Value, Error> {
        let is_less = self.t.ins().icmp(IntCC::UnsignedLessThan, size, old_size);
        let [pointer] = self.choose(
            is_less,
            false,
            |transfer| Ok([transfer.resize(old, old_size, align, size)?.pointer]),
            |_| Ok([old.pointer]),
        )?;
        Ok(pointer)
    }

    fn copy_ascii(&mut self, to: Range, text: Text, bytes: Value) -> Result<Value, Error> {
        self.t
            .call_glue(GlueHelper::CopyAscii, &[to.address, text.range.address, bytes])
            .ok_or_else(|| Error::internal("glue", "a copy of text says nothing"))
    }

    /// Has the loader write the text to `to`; a result of all ones means that it is `invalid`.
    fn transcode(
        &mut self,
        builtin: Builtin,
        to: Range,
        text: Text,
        invalid: Option<TrapCode>,
    ) -> Result<Value, Error> {
        let (to_row, from_row) = (memory(self.to)?.1.row, memory(self.from)?.1.row);
        let (to_row, from_row) = (self.t.i32(to_row), self.t.i32(from_row));
        let arguments = [to_row, from_row, to.pointer, text.range.pointer, text.units];
        let result = self.t.call_builtin(builtin, &arguments)[0];
        if let Some(code) = invalid {
            let is_bad = self.t.ins().icmp_imm_s(IntCC::Equal, result, -1);
            self.t.ins().trapnz(is_bad, trap_code(code));
        }
        Ok(result)
    }

    /// Copies UTF-16; whether Latin-1 could not hold it.
    fn copy_utf16(&mut self, to: Range, text: Text) -> Result<Value, Error> {
        self.transcode(Builtin::utf16_copy, to, text, Some(TrapCode::InvalidUtf16))
    }

    /// The whole text as UTF-16, for which there are `worst` bytes.
    fn utf8_to_utf16(&mut self, text: Text, to: Range, worst: Value) -> Result<Stored, Error> {
        let units = self.transcode(Builtin::utf8_to_utf16, to, text, Some(TrapCode::InvalidUtf8))?;
        let units = self.t.ins().ireduce(I32, units);
        let size = self.t.ins().ishl_imm_u(units, 1);
        Ok([self.shrink(to, worst, 2, size)?, units])
    }

    /// The whole text as UTF-8, after it turned out not to be ASCII; a code unit takes at most `most` bytes.
    fn all_to_utf8(&mut self, builtin: Builtin, to: Range, text: Text, most: i64) -> Result<Stored, Error> {
        let worst = self.t.ins().imul_imm_u(text.units, most);
        let to = self.resize(to, text.units, 1, worst)?;
        let size = self.transcode(builtin, to, text, Some(TrapCode::InvalidUtf16))?;
        let size = self.t.ins().ireduce(I32, size);
        Ok([self.shrink(to, worst, 1, size)?, size])
    }

    /// What follows an attempt at Latin-1: `done` is how many bytes that gave, and in bit 32 whether a character does
    /// not fit. Then the taker is asked for twice the room, and `otherwise` writes UTF-16.
    fn latin1_or(
        &mut self,
        to: Range,
        text: Text,
        done: Value,
        otherwise: impl FnOnce(&mut Self, Range, Value) -> Result<Stored, Error>,
    ) -> Result<Stored, Error> {
        let is_wide = self.t.ins().ushr_imm_u(done, 32);
        let size = self.t.ins().ireduce(I32, done);
        self.choose(
            is_wide,
            false,
            |transfer| {
                let worst = transfer.t.ins().ishl_imm_u(text.units, 1);
                let to = transfer.resize(to, text.units, 2, worst)?;
                otherwise(transfer, to, worst)
            },
            |transfer| Ok([transfer.shrink(to, text.units, 2, size)?, size]),
        )
    }

    /// A length that says UTF-16.
    fn tagged(&mut self, units: Value) -> Value {
        self.t.ins().bor_imm_u(units, i64::from(StringEncoding::UTF16_TAG))
    }
}
