//! Operators on all 128 bits: constants, logic, selection.

use cranelift_codegen::ir::types::I8X16;
use cranelift_codegen::ir::{ConstantData, InstBuilder, Opcode, Type, Value};
use wasmparser::Operator;

use super::{binary, push_bool, push_v128, unary, underlying, view};
use crate::translate::translator::FuncTranslator;

/// Translates `op` if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::V128Const { value } => constant(t, value.bytes()),
        Operator::V128Not => unary(t, I8X16, Opcode::Bnot),
        Operator::V128And => binary(t, I8X16, Opcode::Band),
        Operator::V128AndNot => and_not(t),
        Operator::V128Or => binary(t, I8X16, Opcode::Bor),
        Operator::V128Xor => binary(t, I8X16, Opcode::Bxor),
        Operator::V128Bitselect => bitselect(t),
        Operator::V128AnyTrue => any_true(t),
        _ => return false,
    }
    true
}

fn constant(t: &mut FuncTranslator<'_>, bytes: &[u8; 16]) {
    let constant = t.builder.func.dfg.constants.insert(ConstantData::from(bytes.as_slice()));
    let value = t.ins().vconst(I8X16, constant);
    t.push(value);
}

fn and_not(t: &mut FuncTranslator<'_>) {
    let (kept, removed) = t.pop2();
    let value = t.ins().band_not(kept, removed);
    t.push(value);
}

/// The lanes `value` was made with, if they are integers: Cranelift's patterns want to see a comparison as it is.
fn integer_lanes(t: &FuncTranslator<'_>, value: Value) -> Type {
    let lanes = t.type_of(underlying(t, value));
    if lanes.lane_type().is_int() { lanes } else { I8X16 }
}

fn bitselect(t: &mut FuncTranslator<'_>) {
    let (if_one, if_zero, mask) = t.pop3();
    let lanes = integer_lanes(t, mask);
    let (mask, if_one, if_zero) = (view(t, mask, lanes), view(t, if_one, lanes), view(t, if_zero, lanes));
    let value = t.ins().bitselect(mask, if_one, if_zero);
    push_v128(t, value);
}

fn any_true(t: &mut FuncTranslator<'_>) {
    let operand = t.pop();
    let lanes = integer_lanes(t, operand);
    let operand = view(t, operand, lanes);
    let value = t.ins().vany_true(operand);
    push_bool(t, value);
}
