//! Integer arithmetic on lanes. The conversions between lane types are in `convert.rs`.

use cranelift_codegen::ir::types::{I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type};
use wasmparser::Operator;

use super::convert::{SIGNED, UNSIGNED, Widen};
use super::{binary, emit_unary, pop_as, pop2_as, push_bool, push_v128, unary};
use crate::translate::translator::FuncTranslator;

/// Translates `op` if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::I8x16Add => binary(t, I8X16, Opcode::Iadd),
        Operator::I8x16Sub => binary(t, I8X16, Opcode::Isub),
        Operator::I8x16AddSatS => binary(t, I8X16, Opcode::SaddSat),
        Operator::I8x16AddSatU => binary(t, I8X16, Opcode::UaddSat),
        Operator::I8x16SubSatS => binary(t, I8X16, Opcode::SsubSat),
        Operator::I8x16SubSatU => binary(t, I8X16, Opcode::UsubSat),
        Operator::I8x16MinS => binary(t, I8X16, Opcode::Smin),
        Operator::I8x16MinU => binary(t, I8X16, Opcode::Umin),
        Operator::I8x16MaxS => binary(t, I8X16, Opcode::Smax),
        Operator::I8x16MaxU => binary(t, I8X16, Opcode::Umax),
        Operator::I8x16AvgrU => binary(t, I8X16, Opcode::AvgRound),
        Operator::I8x16Abs => unary(t, I8X16, Opcode::Iabs),
        Operator::I8x16Neg => unary(t, I8X16, Opcode::Ineg),
        Operator::I8x16Popcnt => unary(t, I8X16, Opcode::Popcnt),
        Operator::I8x16Shl => shift(t, I8X16, Opcode::Ishl),
        Operator::I8x16ShrS => shift(t, I8X16, Opcode::Sshr),
        Operator::I8x16ShrU => shift(t, I8X16, Opcode::Ushr),
        Operator::I8x16AllTrue => all_true(t, I8X16),
        Operator::I8x16Bitmask => bitmask(t, I8X16),

        Operator::I16x8Add => binary(t, I16X8, Opcode::Iadd),
        Operator::I16x8Sub => binary(t, I16X8, Opcode::Isub),
        Operator::I16x8Mul => binary(t, I16X8, Opcode::Imul),
        Operator::I16x8AddSatS => binary(t, I16X8, Opcode::SaddSat),
        Operator::I16x8AddSatU => binary(t, I16X8, Opcode::UaddSat),
        Operator::I16x8SubSatS => binary(t, I16X8, Opcode::SsubSat),
        Operator::I16x8SubSatU => binary(t, I16X8, Opcode::UsubSat),
        Operator::I16x8MinS => binary(t, I16X8, Opcode::Smin),
        Operator::I16x8MinU => binary(t, I16X8, Opcode::Umin),
        Operator::I16x8MaxS => binary(t, I16X8, Opcode::Smax),
        Operator::I16x8MaxU => binary(t, I16X8, Opcode::Umax),
        Operator::I16x8AvgrU => binary(t, I16X8, Opcode::AvgRound),
        Operator::I16x8Q15MulrSatS => binary(t, I16X8, Opcode::SqmulRoundSat),
        Operator::I16x8Abs => unary(t, I16X8, Opcode::Iabs),
        Operator::I16x8Neg => unary(t, I16X8, Opcode::Ineg),
        Operator::I16x8Shl => shift(t, I16X8, Opcode::Ishl),
        Operator::I16x8ShrS => shift(t, I16X8, Opcode::Sshr),
        Operator::I16x8ShrU => shift(t, I16X8, Opcode::Ushr),
        Operator::I16x8AllTrue => all_true(t, I16X8),
        Operator::I16x8Bitmask => bitmask(t, I16X8),
        Operator::I16x8ExtAddPairwiseI8x16S => extadd_pairwise(t, I8X16, SIGNED),
        Operator::I16x8ExtAddPairwiseI8x16U => extadd_pairwise(t, I8X16, UNSIGNED),
        Operator::I16x8ExtMulLowI8x16S => extmul(t, I8X16, SIGNED.low),
        Operator::I16x8ExtMulLowI8x16U => extmul(t, I8X16, UNSIGNED.low),
        Operator::I16x8ExtMulHighI8x16S => extmul(t, I8X16, SIGNED.high),
        Operator::I16x8ExtMulHighI8x16U => extmul(t, I8X16, UNSIGNED.high),

        Operator::I32x4Add => binary(t, I32X4, Opcode::Iadd),
        Operator::I32x4Sub => binary(t, I32X4, Opcode::Isub),
        Operator::I32x4Mul => binary(t, I32X4, Opcode::Imul),
        Operator::I32x4MinS => binary(t, I32X4, Opcode::Smin),
        Operator::I32x4MinU => binary(t, I32X4, Opcode::Umin),
        Operator::I32x4MaxS => binary(t, I32X4, Opcode::Smax),
        Operator::I32x4MaxU => binary(t, I32X4, Opcode::Umax),
        Operator::I32x4Abs => unary(t, I32X4, Opcode::Iabs),
        Operator::I32x4Neg => unary(t, I32X4, Opcode::Ineg),
        Operator::I32x4Shl => shift(t, I32X4, Opcode::Ishl),
        Operator::I32x4ShrS => shift(t, I32X4, Opcode::Sshr),
        Operator::I32x4ShrU => shift(t, I32X4, Opcode::Ushr),
        Operator::I32x4AllTrue => all_true(t, I32X4),
        Operator::I32x4Bitmask => bitmask(t, I32X4),
        Operator::I32x4ExtAddPairwiseI16x8S => extadd_pairwise(t, I16X8, SIGNED),
        Operator::I32x4ExtAddPairwiseI16x8U => extadd_pairwise(t, I16X8, UNSIGNED),
        Operator::I32x4ExtMulLowI16x8S => extmul(t, I16X8, SIGNED.low),
        Operator::I32x4ExtMulLowI16x8U => extmul(t, I16X8, UNSIGNED.low),
        Operator::I32x4ExtMulHighI16x8S => extmul(t, I16X8, SIGNED.high),
        Operator::I32x4ExtMulHighI16x8U => extmul(t, I16X8, UNSIGNED.high),
        Operator::I32x4DotI16x8S => dot(t),

        Operator::I64x2Add => binary(t, I64X2, Opcode::Iadd),
        Operator::I64x2Sub => binary(t, I64X2, Opcode::Isub),
        Operator::I64x2Mul => binary(t, I64X2, Opcode::Imul),
        Operator::I64x2Abs => unary(t, I64X2, Opcode::Iabs),
        Operator::I64x2Neg => unary(t, I64X2, Opcode::Ineg),
        Operator::I64x2Shl => shift(t, I64X2, Opcode::Ishl),
        Operator::I64x2ShrS => shift(t, I64X2, Opcode::Sshr),
        Operator::I64x2ShrU => shift(t, I64X2, Opcode::Ushr),
        Operator::I64x2AllTrue => all_true(t, I64X2),
        Operator::I64x2Bitmask => bitmask(t, I64X2),
        Operator::I64x2ExtMulLowI32x4S => extmul(t, I32X4, SIGNED.low),
        Operator::I64x2ExtMulLowI32x4U => extmul(t, I32X4, UNSIGNED.low),
        Operator::I64x2ExtMulHighI32x4S => extmul(t, I32X4, SIGNED.high),
        Operator::I64x2ExtMulHighI32x4U => extmul(t, I32X4, UNSIGNED.high),
        _ => return false,
    }
    true
}

/// Shifts all lanes by one scalar. Cranelift takes it modulo the lanes' width, as WebAssembly does.
fn shift(t: &mut FuncTranslator<'_>, lanes: Type, opcode: Opcode) {
    let amount = t.pop();
    let operand = pop_as(t, lanes);
    let (inst, dfg) = t.ins().Binary(opcode, lanes, operand, amount);
    let value = dfg.first_result(inst);
    push_v128(t, value);
}

fn all_true(t: &mut FuncTranslator<'_>, lanes: Type) {
    let operand = pop_as(t, lanes);
    let value = t.ins().vall_true(operand);
    push_bool(t, value);
}

fn bitmask(t: &mut FuncTranslator<'_>, lanes: Type) {
    let operand = pop_as(t, lanes);
    let value = t.ins().vhigh_bits(I32, operand);
    t.push(value);
}

// The three below are written as Cranelift's back ends match them: each becomes one or two instructions.

fn extadd_pairwise(t: &mut FuncTranslator<'_>, narrow: Type, widen: Widen) {
    let operand = pop_as(t, narrow);
    let (low, high) = (emit_unary(t, widen.low, operand), emit_unary(t, widen.high, operand));
    let value = t.ins().iadd_pairwise(low, high);
    push_v128(t, value);
}

fn extmul(t: &mut FuncTranslator<'_>, narrow: Type, widen: Opcode) {
    let (left, right) = pop2_as(t, narrow);
    let (left, right) = (emit_unary(t, widen, left), emit_unary(t, widen, right));
    let value = t.ins().imul(left, right);
    push_v128(t, value);
}

fn dot(t: &mut FuncTranslator<'_>) {
    let (left, right) = pop2_as(t, I16X8);
    let [low, high] = [SIGNED.low, SIGNED.high].map(|widen| {
        let (left, right) = (emit_unary(t, widen, left), emit_unary(t, widen, right));
        t.ins().imul(left, right)
    });
    let value = t.ins().iadd_pairwise(low, high);
    push_v128(t, value);
}
