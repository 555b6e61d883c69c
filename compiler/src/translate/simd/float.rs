//! Float arithmetic on lanes.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, F64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};
use wasmparser::Operator;

use super::{binary, pop2_as, push_v128, unary, view};
use crate::translate::translator::FuncTranslator;

/// Translates `op` if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::F32x4Add => binary(t, F32X4, Opcode::Fadd),
        Operator::F32x4Sub => binary(t, F32X4, Opcode::Fsub),
        Operator::F32x4Mul => binary(t, F32X4, Opcode::Fmul),
        Operator::F32x4Div => binary(t, F32X4, Opcode::Fdiv),
        Operator::F32x4Min => binary(t, F32X4, Opcode::Fmin),
        Operator::F32x4Max => binary(t, F32X4, Opcode::Fmax),
        Operator::F32x4PMin => pseudo_min(t, F32X4),
        Operator::F32x4PMax => pseudo_max(t, F32X4),
        Operator::F32x4Abs => unary(t, F32X4, Opcode::Fabs),
        Operator::F32x4Neg => unary(t, F32X4, Opcode::Fneg),
        Operator::F32x4Sqrt => unary(t, F32X4, Opcode::Sqrt),
        Operator::F32x4Ceil => unary(t, F32X4, Opcode::Ceil),
        Operator::F32x4Floor => unary(t, F32X4, Opcode::Floor),
        Operator::F32x4Trunc => unary(t, F32X4, Opcode::Trunc),
        Operator::F32x4Nearest => unary(t, F32X4, Opcode::Nearest),

        Operator::F64x2Add => binary(t, F64X2, Opcode::Fadd),
        Operator::F64x2Sub => binary(t, F64X2, Opcode::Fsub),
        Operator::F64x2Mul => binary(t, F64X2, Opcode::Fmul),
        Operator::F64x2Div => binary(t, F64X2, Opcode::Fdiv),
        Operator::F64x2Min => binary(t, F64X2, Opcode::Fmin),
        Operator::F64x2Max => binary(t, F64X2, Opcode::Fmax),
        Operator::F64x2PMin => pseudo_min(t, F64X2),
        Operator::F64x2PMax => pseudo_max(t, F64X2),
        Operator::F64x2Abs => unary(t, F64X2, Opcode::Fabs),
        Operator::F64x2Neg => unary(t, F64X2, Opcode::Fneg),
        Operator::F64x2Sqrt => unary(t, F64X2, Opcode::Sqrt),
        Operator::F64x2Ceil => unary(t, F64X2, Opcode::Ceil),
        Operator::F64x2Floor => unary(t, F64X2, Opcode::Floor),
        Operator::F64x2Trunc => unary(t, F64X2, Opcode::Trunc),
        Operator::F64x2Nearest => unary(t, F64X2, Opcode::Nearest),
        _ => return false,
    }
    true
}

/// The right operand where it is less, else the left one.
fn pseudo_min(t: &mut FuncTranslator<'_>, lanes: Type) {
    let (left, right) = pop2_as(t, lanes);
    right_if_less(t, right, left, left, right);
}

/// The right operand where the left one is less, else the left one.
fn pseudo_max(t: &mut FuncTranslator<'_>, lanes: Type) {
    let (left, right) = pop2_as(t, lanes);
    right_if_less(t, left, right, left, right);
}

/// `right` where `smaller` is less than `larger`, else `left`: on x86-64 one instruction, if it is written like this.
fn right_if_less(t: &mut FuncTranslator<'_>, smaller: Value, larger: Value, left: Value, right: Value) {
    let lanes = t.type_of(left);
    let mask = t.ins().fcmp(FloatCC::LessThan, smaller, larger);
    let mask = view(t, mask, lanes);
    let value = t.ins().bitselect(mask, right, left);
    push_v128(t, value);
}
