//! Comparisons: lanes of ones where they hold, of zeros elsewhere.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type};
use wasmparser::Operator;

use super::{pop2_as, push_v128};
use crate::translate::translator::FuncTranslator;

/// Translates `op` if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::I8x16Eq => integers(t, I8X16, IntCC::Equal),
        Operator::I8x16Ne => integers(t, I8X16, IntCC::NotEqual),
        Operator::I8x16LtS => integers(t, I8X16, IntCC::SignedLessThan),
        Operator::I8x16LtU => integers(t, I8X16, IntCC::UnsignedLessThan),
        Operator::I8x16GtS => integers(t, I8X16, IntCC::SignedGreaterThan),
        Operator::I8x16GtU => integers(t, I8X16, IntCC::UnsignedGreaterThan),
        Operator::I8x16LeS => integers(t, I8X16, IntCC::SignedLessThanOrEqual),
        Operator::I8x16LeU => integers(t, I8X16, IntCC::UnsignedLessThanOrEqual),
        Operator::I8x16GeS => integers(t, I8X16, IntCC::SignedGreaterThanOrEqual),
        Operator::I8x16GeU => integers(t, I8X16, IntCC::UnsignedGreaterThanOrEqual),

        Operator::I16x8Eq => integers(t, I16X8, IntCC::Equal),
        Operator::I16x8Ne => integers(t, I16X8, IntCC::NotEqual),
        Operator::I16x8LtS => integers(t, I16X8, IntCC::SignedLessThan),
        Operator::I16x8LtU => integers(t, I16X8, IntCC::UnsignedLessThan),
        Operator::I16x8GtS => integers(t, I16X8, IntCC::SignedGreaterThan),
        Operator::I16x8GtU => integers(t, I16X8, IntCC::UnsignedGreaterThan),
        Operator::I16x8LeS => integers(t, I16X8, IntCC::SignedLessThanOrEqual),
        Operator::I16x8LeU => integers(t, I16X8, IntCC::UnsignedLessThanOrEqual),
        Operator::I16x8GeS => integers(t, I16X8, IntCC::SignedGreaterThanOrEqual),
        Operator::I16x8GeU => integers(t, I16X8, IntCC::UnsignedGreaterThanOrEqual),

        Operator::I32x4Eq => integers(t, I32X4, IntCC::Equal),
        Operator::I32x4Ne => integers(t, I32X4, IntCC::NotEqual),
        Operator::I32x4LtS => integers(t, I32X4, IntCC::SignedLessThan),
        Operator::I32x4LtU => integers(t, I32X4, IntCC::UnsignedLessThan),
        Operator::I32x4GtS => integers(t, I32X4, IntCC::SignedGreaterThan),
        Operator::I32x4GtU => integers(t, I32X4, IntCC::UnsignedGreaterThan),
        Operator::I32x4LeS => integers(t, I32X4, IntCC::SignedLessThanOrEqual),
        Operator::I32x4LeU => integers(t, I32X4, IntCC::UnsignedLessThanOrEqual),
        Operator::I32x4GeS => integers(t, I32X4, IntCC::SignedGreaterThanOrEqual),
        Operator::I32x4GeU => integers(t, I32X4, IntCC::UnsignedGreaterThanOrEqual),

        Operator::I64x2Eq => integers(t, I64X2, IntCC::Equal),
        Operator::I64x2Ne => integers(t, I64X2, IntCC::NotEqual),
        Operator::I64x2LtS => integers(t, I64X2, IntCC::SignedLessThan),
        Operator::I64x2GtS => integers(t, I64X2, IntCC::SignedGreaterThan),
        Operator::I64x2LeS => integers(t, I64X2, IntCC::SignedLessThanOrEqual),
        Operator::I64x2GeS => integers(t, I64X2, IntCC::SignedGreaterThanOrEqual),

        Operator::F32x4Eq => floats(t, F32X4, FloatCC::Equal),
        Operator::F32x4Ne => floats(t, F32X4, FloatCC::NotEqual),
        Operator::F32x4Lt => floats(t, F32X4, FloatCC::LessThan),
        Operator::F32x4Gt => floats(t, F32X4, FloatCC::GreaterThan),
        Operator::F32x4Le => floats(t, F32X4, FloatCC::LessThanOrEqual),
        Operator::F32x4Ge => floats(t, F32X4, FloatCC::GreaterThanOrEqual),

        Operator::F64x2Eq => floats(t, F64X2, FloatCC::Equal),
        Operator::F64x2Ne => floats(t, F64X2, FloatCC::NotEqual),
        Operator::F64x2Lt => floats(t, F64X2, FloatCC::LessThan),
        Operator::F64x2Gt => floats(t, F64X2, FloatCC::GreaterThan),
        Operator::F64x2Le => floats(t, F64X2, FloatCC::LessThanOrEqual),
        Operator::F64x2Ge => floats(t, F64X2, FloatCC::GreaterThanOrEqual),
        _ => return false,
    }
    true
}

fn integers(t: &mut FuncTranslator<'_>, lanes: Type, condition: IntCC) {
    let (left, right) = pop2_as(t, lanes);
    let mask = t.ins().icmp(condition, left, right);
    push_v128(t, mask);
}

fn floats(t: &mut FuncTranslator<'_>, lanes: Type, condition: FloatCC) {
    let (left, right) = pop2_as(t, lanes);
    let mask = t.ins().fcmp(condition, left, right);
    push_v128(t, mask);
}
