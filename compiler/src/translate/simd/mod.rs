//! The operators of fixed-width SIMD.
//!
//! One file for each family, and in it a table with one line for each operator. To add one, add its line.
//!
//! A `v128` has no lanes of its own: on the operand stack, in locals and across blocks it is always an I8X16. Operators
//! see it as lanes of their type and hand their result back as I8X16; both are `bitcast`s, which cost no instruction.
//! Cranelift does not look through them when it matches patterns, though, so [`view`] takes back what [`push_v128`] did.
//!
//! Only instructions that lower without a library call from SSE4.2 on are used; `tests.rs` compiles each operator for
//! every level.

mod bitwise;
mod compare;
mod convert;
mod float;
mod integer;
mod lanes;
mod memory;
#[cfg(test)]
mod tests;

use cranelift_codegen::ir::types::{I8X16, I32};
use cranelift_codegen::ir::{Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value};
use wasmparser::Operator;

use super::translator::FuncTranslator;

/// Lane 0 comes first in memory, whatever the lanes.
const LITTLE_ENDIAN: MemFlagsData = MemFlagsData::new().with_endianness(Endianness::Little);

/// Translates `op` if it is one of fixed-width SIMD, and says whether it is. Those of relaxed SIMD are not.
pub(in crate::translate) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    memory::operator(t, op)
        || lanes::operator(t, op)
        || bitwise::operator(t, op)
        || integer::operator(t, op)
        || float::operator(t, op)
        || compare::operator(t, op)
        || convert::operator(t, op)
}

/// What a bitcast made `value` from; `value` itself if none did.
fn underlying(t: &FuncTranslator<'_>, value: Value) -> Value {
    let dfg = &t.builder.func.dfg;
    match dfg.value_def(value).inst().map(|inst| dfg.insts[inst]) {
        Some(InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, arg, .. })
            if dfg.value_type(arg).bits() == I8X16.bits() =>
        {
            arg
        }
        _ => value,
    }
}

/// The vector `value` as `lanes`.
fn view(t: &mut FuncTranslator<'_>, value: Value, lanes: Type) -> Value {
    let value = underlying(t, value);
    if t.type_of(value) == lanes {
        return value;
    }
    let dfg = &t.builder.func.dfg;
    match dfg.value_def(value).inst().map(|inst| dfg.insts[inst]) {
        // A constant of the right type, since patterns want to see constants too.
        Some(InstructionData::UnaryConst { opcode: Opcode::Vconst, constant_handle }) => {
            t.ins().vconst(lanes, constant_handle)
        }
        _ => t.ins().bitcast(lanes, LITTLE_ENDIAN, value),
    }
}

/// Pops a vector as `lanes`.
fn pop_as(t: &mut FuncTranslator<'_>, lanes: Type) -> Value {
    let value = t.pop();
    view(t, value, lanes)
}

/// Pops two vectors as `lanes`, in the order they were pushed.
fn pop2_as(t: &mut FuncTranslator<'_>, lanes: Type) -> (Value, Value) {
    let (first, second) = t.pop2();
    (view(t, first, lanes), view(t, second, lanes))
}

/// Pushes a vector of any lanes.
fn push_v128(t: &mut FuncTranslator<'_>, value: Value) {
    let value = view(t, value, I8X16);
    t.push(value);
}

/// Pushes a truth value of Cranelift's (an I8) as an `i32`.
fn push_bool(t: &mut FuncTranslator<'_>, value: Value) {
    let value = t.ins().uextend(I32, value);
    t.push(value);
}

/// An instruction with one operand, whose lanes say which instruction it is.
fn emit_unary(t: &mut FuncTranslator<'_>, opcode: Opcode, operand: Value) -> Value {
    let lanes = t.type_of(operand);
    let (inst, dfg) = t.ins().Unary(opcode, lanes, operand);
    dfg.first_result(inst)
}

/// Pops a vector as `lanes`, applies `opcode`, pushes the result.
fn unary(t: &mut FuncTranslator<'_>, lanes: Type, opcode: Opcode) {
    let operand = pop_as(t, lanes);
    let result = emit_unary(t, opcode, operand);
    push_v128(t, result);
}

/// Pops two vectors as `lanes`, applies `opcode`, pushes the result.
fn binary(t: &mut FuncTranslator<'_>, lanes: Type, opcode: Opcode) {
    let (left, right) = pop2_as(t, lanes);
    let (inst, dfg) = t.ins().Binary(opcode, lanes, left, right);
    let result = dfg.first_result(inst);
    push_v128(t, result);
}
