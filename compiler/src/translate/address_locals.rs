//! Which locals of a function are used as addresses: a quick look at the body before it is translated.
//!
//! The answer only decides how locals are kept (see [`super::locals`]), so it may be incomplete, and what is wrong with
//! the body is left to the validator. It follows operands from where a local is read to a load or store in straight-line
//! code, and forgets all operands at anything whose arity depends on more than the operator.

use wasmparser::{
    BlockType, ContType, FrameKind, FuncType, FunctionBody, ModuleArity, Operator, OperatorsReader, RefType, SubType,
};

/// For each local, whether a load or store uses it as its address. Locals beyond the end are not.
pub(super) fn find(body: &FunctionBody<'_>) -> Vec<bool> {
    let mut found = Vec::new();
    // Errors end the search; the validator will say what they are.
    let _ = search(body, &mut found);
    found
}

/// Locals a function can have: wasmparser's limit. The body is not validated yet, and an index may be anything.
const MAX_LOCALS: usize = 50_000;

fn search(body: &FunctionBody<'_>, found: &mut Vec<bool>) -> wasmparser::Result<()> {
    let mut operators: OperatorsReader<'_> = body.get_operators_reader()?;
    // For each operand, the local that it is.
    let mut operands: Vec<Option<u32>> = Vec::new();
    while !operators.eof() {
        let op = operators.read()?;
        match op {
            Operator::LocalGet { local_index } => operands.push(Some(local_index)),
            Operator::LocalTee { local_index } => {
                operands.pop();
                operands.push(Some(local_index));
            }
            _ => {
                let Some((pops, pushes)) = op.operator_arity(&Unknown) else {
                    operands.clear();
                    continue;
                };
                let first = operands.len().checked_sub(pops as usize);
                if let Some(first) = first.filter(|_| is_access(&op))
                    && let Some(local) = operands[first]
                {
                    let local = local as usize;
                    if local < MAX_LOCALS {
                        found.resize(found.len().max(local + 1), false);
                        found[local] = true;
                    }
                }
                operands.truncate(first.unwrap_or(0));
                operands.resize(operands.len() + pushes as usize, None);
            }
        }
    }
    Ok(())
}

/// Whether the operator is a load or a store; its address is its first operand.
fn is_access(op: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(
        op,
        I32Load { .. }
            | I64Load { .. }
            | F32Load { .. }
            | F64Load { .. }
            | I32Load8S { .. }
            | I32Load8U { .. }
            | I32Load16S { .. }
            | I32Load16U { .. }
            | I64Load8S { .. }
            | I64Load8U { .. }
            | I64Load16S { .. }
            | I64Load16U { .. }
            | I64Load32S { .. }
            | I64Load32U { .. }
            | I32Store { .. }
            | I64Store { .. }
            | F32Store { .. }
            | F64Store { .. }
            | I32Store8 { .. }
            | I32Store16 { .. }
            | I64Store8 { .. }
            | I64Store16 { .. }
            | I64Store32 { .. }
            | V128Load { .. }
            | V128Store { .. }
    )
}

/// Knows nothing of the module, so that only operators with a fixed arity have one.
struct Unknown;

impl ModuleArity for Unknown {
    fn sub_type_at(&self, _: u32) -> Option<&SubType> {
        None
    }
    fn tag_type_arity(&self, _: u32) -> Option<(u32, u32)> {
        None
    }
    fn type_index_of_function(&self, _: u32) -> Option<u32> {
        None
    }
    fn func_type_of_cont_type(&self, _: &ContType) -> Option<&FuncType> {
        None
    }
    fn sub_type_of_ref_type(&self, _: &RefType) -> Option<&SubType> {
        None
    }
    fn control_stack_height(&self) -> u32 {
        0
    }
    fn label_block(&self, _: u32) -> Option<(BlockType, FrameKind)> {
        None
    }
}
