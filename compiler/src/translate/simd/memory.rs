//! Loads and stores of vectors and of their lanes.

use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::{MemArg, Operator};

use super::{pop_as, push_v128};
use crate::translate::memory::HeapAccess;
use crate::translate::translator::FuncTranslator;

/// Translates `op` if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::V128Load { memarg } => {
            load(t, memarg, 16, |ins, at| ins.load(I8X16, at.flags, at.address, at.offset))
        }
        Operator::V128Store { memarg } => store(t, memarg),

        Operator::V128Load8x8S { memarg } => {
            load(t, memarg, 8, |ins, at| ins.sload8x8(at.flags, at.address, at.offset))
        }
        Operator::V128Load8x8U { memarg } => {
            load(t, memarg, 8, |ins, at| ins.uload8x8(at.flags, at.address, at.offset))
        }
        Operator::V128Load16x4S { memarg } => {
            load(t, memarg, 8, |ins, at| ins.sload16x4(at.flags, at.address, at.offset))
        }
        Operator::V128Load16x4U { memarg } => {
            load(t, memarg, 8, |ins, at| ins.uload16x4(at.flags, at.address, at.offset))
        }
        Operator::V128Load32x2S { memarg } => {
            load(t, memarg, 8, |ins, at| ins.sload32x2(at.flags, at.address, at.offset))
        }
        Operator::V128Load32x2U { memarg } => {
            load(t, memarg, 8, |ins, at| ins.uload32x2(at.flags, at.address, at.offset))
        }

        Operator::V128Load8Splat { memarg } => load_splat(t, memarg, I8X16),
        Operator::V128Load16Splat { memarg } => load_splat(t, memarg, I16X8),
        Operator::V128Load32Splat { memarg } => load_splat(t, memarg, I32X4),
        Operator::V128Load64Splat { memarg } => load_splat(t, memarg, I64X2),

        // As floats, which are in the right kind of register already.
        Operator::V128Load32Zero { memarg } => load_zero(t, memarg, F32X4),
        Operator::V128Load64Zero { memarg } => load_zero(t, memarg, F64X2),

        Operator::V128Load8Lane { memarg, lane } => load_lane(t, memarg, I8X16, *lane),
        Operator::V128Load16Lane { memarg, lane } => load_lane(t, memarg, I16X8, *lane),
        Operator::V128Load32Lane { memarg, lane } => load_lane(t, memarg, I32X4, *lane),
        Operator::V128Load64Lane { memarg, lane } => load_lane(t, memarg, I64X2, *lane),

        Operator::V128Store8Lane { memarg, lane } => store_lane(t, memarg, I8X16, *lane),
        Operator::V128Store16Lane { memarg, lane } => store_lane(t, memarg, I16X8, *lane),
        Operator::V128Store32Lane { memarg, lane } => store_lane(t, memarg, I32X4, *lane),
        Operator::V128Store64Lane { memarg, lane } => store_lane(t, memarg, I64X2, *lane),
        _ => return false,
    }
    true
}

/// Pops an index and loads one of `lanes` from there.
fn lane_at(t: &mut FuncTranslator<'_>, memarg: &MemArg, lanes: Type) -> Value {
    let lane = lanes.lane_type();
    let at = t.heap_access(memarg, lane.bytes() as u8);
    t.ins().load(lane, at.flags, at.address, at.offset)
}

/// Loads a vector with an instruction that reads `size` bytes.
fn load(
    t: &mut FuncTranslator<'_>,
    memarg: &MemArg,
    size: u8,
    instruction: impl FnOnce(FuncInstBuilder<'_, '_>, HeapAccess) -> Value,
) {
    let at = t.heap_access(memarg, size);
    let value = instruction(t.ins(), at);
    push_v128(t, value);
}

fn load_splat(t: &mut FuncTranslator<'_>, memarg: &MemArg, lanes: Type) {
    let lane = lane_at(t, memarg, lanes);
    let value = t.ins().splat(lanes, lane);
    push_v128(t, value);
}

fn load_zero(t: &mut FuncTranslator<'_>, memarg: &MemArg, lanes: Type) {
    let lane = lane_at(t, memarg, lanes);
    let value = t.ins().scalar_to_vector(lanes, lane);
    push_v128(t, value);
}

fn load_lane(t: &mut FuncTranslator<'_>, memarg: &MemArg, lanes: Type, index: u8) {
    let vector = pop_as(t, lanes);
    let lane = lane_at(t, memarg, lanes);
    let value = t.ins().insertlane(vector, lane, index);
    push_v128(t, value);
}

fn store(t: &mut FuncTranslator<'_>, memarg: &MemArg) {
    let value = t.pop();
    let at = t.heap_access(memarg, 16);
    t.ins().store(at.flags, value, at.address, at.offset);
}

fn store_lane(t: &mut FuncTranslator<'_>, memarg: &MemArg, lanes: Type, index: u8) {
    let vector = pop_as(t, lanes);
    let at = t.heap_access(memarg, lanes.lane_type().bytes() as u8);
    let lane = t.ins().extractlane(vector, index);
    t.ins().store(at.flags, lane, at.address, at.offset);
}
