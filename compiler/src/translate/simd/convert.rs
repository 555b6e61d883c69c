//! Conversions between lane types.

use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};
use wasmparser::Operator;

use super::{binary, emit_unary, pop_as, push_v128, unary};
use crate::translate::translator::FuncTranslator;

/// The instructions that widen half of the lanes.
#[derive(Clone, Copy)]
pub(super) struct Widen {
    /// Widens the lanes with the lower indices.
    pub(super) low: Opcode,
    /// Widens the lanes with the higher indices.
    pub(super) high: Opcode,
}

/// Repeats the sign bit.
pub(super) const SIGNED: Widen = Widen { low: Opcode::SwidenLow, high: Opcode::SwidenHigh };
/// Fills with zeros.
pub(super) const UNSIGNED: Widen = Widen { low: Opcode::UwidenLow, high: Opcode::UwidenHigh };

/// Translates `op` if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::I8x16NarrowI16x8S => binary(t, I16X8, Opcode::Snarrow),
        Operator::I8x16NarrowI16x8U => binary(t, I16X8, Opcode::Unarrow),
        Operator::I16x8NarrowI32x4S => binary(t, I32X4, Opcode::Snarrow),
        Operator::I16x8NarrowI32x4U => binary(t, I32X4, Opcode::Unarrow),

        Operator::I16x8ExtendLowI8x16S => unary(t, I8X16, SIGNED.low),
        Operator::I16x8ExtendLowI8x16U => unary(t, I8X16, UNSIGNED.low),
        Operator::I16x8ExtendHighI8x16S => unary(t, I8X16, SIGNED.high),
        Operator::I16x8ExtendHighI8x16U => unary(t, I8X16, UNSIGNED.high),
        Operator::I32x4ExtendLowI16x8S => unary(t, I16X8, SIGNED.low),
        Operator::I32x4ExtendLowI16x8U => unary(t, I16X8, UNSIGNED.low),
        Operator::I32x4ExtendHighI16x8S => unary(t, I16X8, SIGNED.high),
        Operator::I32x4ExtendHighI16x8U => unary(t, I16X8, UNSIGNED.high),
        Operator::I64x2ExtendLowI32x4S => unary(t, I32X4, SIGNED.low),
        Operator::I64x2ExtendLowI32x4U => unary(t, I32X4, UNSIGNED.low),
        Operator::I64x2ExtendHighI32x4S => unary(t, I32X4, SIGNED.high),
        Operator::I64x2ExtendHighI32x4U => unary(t, I32X4, UNSIGNED.high),

        Operator::I32x4TruncSatF32x4S => convert(t, F32X4, Opcode::FcvtToSintSat, I32X4),
        Operator::I32x4TruncSatF32x4U => convert(t, F32X4, Opcode::FcvtToUintSat, I32X4),
        Operator::F32x4ConvertI32x4S => convert(t, I32X4, Opcode::FcvtFromSint, F32X4),
        Operator::F32x4ConvertI32x4U => convert(t, I32X4, Opcode::FcvtFromUint, F32X4),
        Operator::I32x4TruncSatF64x2SZero => truncate_doubles(t, Opcode::FcvtToSintSat, Opcode::Snarrow),
        Operator::I32x4TruncSatF64x2UZero => truncate_doubles(t, Opcode::FcvtToUintSat, Opcode::Uunarrow),
        Operator::F64x2ConvertLowI32x4S => convert_low(t, SIGNED, Opcode::FcvtFromSint),
        Operator::F64x2ConvertLowI32x4U => convert_low(t, UNSIGNED, Opcode::FcvtFromUint),
        Operator::F32x4DemoteF64x2Zero => unary(t, F64X2, Opcode::Fvdemote),
        Operator::F64x2PromoteLowF32x4 => unary(t, F32X4, Opcode::FvpromoteLow),
        _ => return false,
    }
    true
}

/// An instruction whose result's lanes say which instruction it is.
fn emit_convert(t: &mut FuncTranslator<'_>, opcode: Opcode, to: Type, operand: Value) -> Value {
    let (inst, dfg) = t.ins().Unary(opcode, to, operand);
    dfg.first_result(inst)
}

fn convert(t: &mut FuncTranslator<'_>, from: Type, opcode: Opcode, to: Type) {
    let operand = pop_as(t, from);
    let value = emit_convert(t, opcode, to, operand);
    push_v128(t, value);
}

// The two below are written as the x86-64 back end matches them: it has no such conversions of 64-bit integers alone.

fn truncate_doubles(t: &mut FuncTranslator<'_>, truncate: Opcode, narrow: Opcode) {
    let operand = pop_as(t, F64X2);
    let low = emit_convert(t, truncate, I64X2, operand);
    let zero = t.builder.func.dfg.constants.insert([0; 16].as_slice().into());
    let high = t.ins().vconst(I64X2, zero);
    let (inst, dfg) = t.ins().Binary(narrow, I64X2, low, high);
    let value = dfg.first_result(inst);
    push_v128(t, value);
}

fn convert_low(t: &mut FuncTranslator<'_>, widen: Widen, opcode: Opcode) {
    let operand = pop_as(t, I32X4);
    let wide = emit_unary(t, widen.low, operand);
    let value = emit_convert(t, opcode, F64X2, wide);
    push_v128(t, value);
}
