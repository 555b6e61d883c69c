//! Operators on all 128 bits: constants, logic, selection.

use cranelift_codegen::ir::types::I8X16;
use cranelift_codegen::ir::{ConstantData, InstBuilder, Opcode};
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

/// With the lanes of the mask, since a mask that visibly comes from a comparison makes one blend on x86-64.
fn bitselect(t: &mut FuncTranslator<'_>) {
    let (if_one, if_zero, mask) = t.pop3();
    let lanes = Some(underlying(t, mask)).map(|mask| t.type_of(mask)).filter(|ty| ty.lane_type().is_int());
    let lanes = lanes.unwrap_or(I8X16);
    let (mask, if_one, if_zero) = (view(t, mask, lanes), view(t, if_one, lanes), view(t, if_zero, lanes));
    let value = t.ins().bitselect(mask, if_one, if_zero);
    push_v128(t, value);
}

fn any_true(t: &mut FuncTranslator<'_>) {
    let operand = t.pop();
    let value = t.ins().vany_true(operand);
    push_bool(t, value);
}
