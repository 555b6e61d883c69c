//! Operators that move lanes: splat, extract, replace, shuffle, swizzle.

use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{ConstantData, InstBuilder, Opcode, Type, Value};
use wasmparser::Operator;

use super::{binary, pop_as, push_v128};
use crate::translate::translator::FuncTranslator;

/// Translates `op` if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match *op {
        Operator::I8x16Splat => splat(t, I8X16),
        Operator::I16x8Splat => splat(t, I16X8),
        Operator::I32x4Splat => splat(t, I32X4),
        Operator::I64x2Splat => splat(t, I64X2),
        Operator::F32x4Splat => splat(t, F32X4),
        Operator::F64x2Splat => splat(t, F64X2),

        Operator::I8x16ExtractLaneS { lane } => extract_narrow(t, I8X16, lane, Opcode::Sextend),
        Operator::I8x16ExtractLaneU { lane } => extract_narrow(t, I8X16, lane, Opcode::Uextend),
        Operator::I16x8ExtractLaneS { lane } => extract_narrow(t, I16X8, lane, Opcode::Sextend),
        Operator::I16x8ExtractLaneU { lane } => extract_narrow(t, I16X8, lane, Opcode::Uextend),
        Operator::I32x4ExtractLane { lane } => extract(t, I32X4, lane),
        Operator::I64x2ExtractLane { lane } => extract(t, I64X2, lane),
        Operator::F32x4ExtractLane { lane } => extract(t, F32X4, lane),
        Operator::F64x2ExtractLane { lane } => extract(t, F64X2, lane),

        Operator::I8x16ReplaceLane { lane } => replace(t, I8X16, lane),
        Operator::I16x8ReplaceLane { lane } => replace(t, I16X8, lane),
        Operator::I32x4ReplaceLane { lane } => replace(t, I32X4, lane),
        Operator::I64x2ReplaceLane { lane } => replace(t, I64X2, lane),
        Operator::F32x4ReplaceLane { lane } => replace(t, F32X4, lane),
        Operator::F64x2ReplaceLane { lane } => replace(t, F64X2, lane),

        Operator::I8x16Shuffle { lanes } => shuffle(t, lanes),
        Operator::I8x16Swizzle => binary(t, I8X16, Opcode::Swizzle),
        _ => return false,
    }
    true
}

/// Pops the scalar for one of `lanes`: an `i32` is cut to lanes that are narrower.
fn pop_lane(t: &mut FuncTranslator<'_>, lanes: Type) -> Value {
    let (value, lane) = (t.pop(), lanes.lane_type());
    if t.type_of(value) == lane { value } else { t.ins().ireduce(lane, value) }
}

fn splat(t: &mut FuncTranslator<'_>, lanes: Type) {
    let lane = pop_lane(t, lanes);
    let value = t.ins().splat(lanes, lane);
    push_v128(t, value);
}

fn extract(t: &mut FuncTranslator<'_>, lanes: Type, index: u8) {
    let vector = pop_as(t, lanes);
    let value = t.ins().extractlane(vector, index);
    t.push(value);
}

fn extract_narrow(t: &mut FuncTranslator<'_>, lanes: Type, index: u8, extend: Opcode) {
    let vector = pop_as(t, lanes);
    let lane = t.ins().extractlane(vector, index);
    let (inst, dfg) = t.ins().Unary(extend, I32, lane);
    let value = dfg.first_result(inst);
    t.push(value);
}

fn replace(t: &mut FuncTranslator<'_>, lanes: Type, index: u8) {
    let lane = pop_lane(t, lanes);
    let vector = pop_as(t, lanes);
    let value = t.ins().insertlane(vector, lane, index);
    push_v128(t, value);
}

fn shuffle(t: &mut FuncTranslator<'_>, lanes: [u8; 16]) {
    let (low, high) = t.pop2();
    let mask = t.builder.func.dfg.immediates.push(ConstantData::from(lanes.as_slice()));
    let value = t.ins().shuffle(low, high, mask);
    t.push(value);
}
