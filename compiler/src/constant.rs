//! Evaluates constant expressions, as far as they can be at compile time.

use crate::program::{Const, ConstExpr, ConstOp};

/// The value of `expression`, or `None` if it needs a global that `global` does not know.
pub(crate) fn evaluate(expression: &ConstExpr, global: impl Fn(u32) -> Option<Const>) -> Option<Const> {
    let mut stack = Vec::with_capacity(expression.0.len());
    for op in &expression.0 {
        let value = match *op {
            ConstOp::I32(value) => Const::I32(value),
            ConstOp::I64(value) => Const::I64(value),
            ConstOp::F32(bits) => Const::F32(bits),
            ConstOp::F64(bits) => Const::F64(bits),
            ConstOp::V128(bits) => Const::V128(bits),
            ConstOp::Null => Const::Null,
            ConstOp::Func(func) => Const::Func(func),
            ConstOp::Global(index) => global(index)?,
            _ => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                binary(*op, left, right)?
            }
        };
        stack.push(value);
    }
    stack.pop()
}

fn binary(op: ConstOp, left: Const, right: Const) -> Option<Const> {
    Some(match (op, left, right) {
        (ConstOp::I32Add, Const::I32(left), Const::I32(right)) => Const::I32(left.wrapping_add(right)),
        (ConstOp::I32Sub, Const::I32(left), Const::I32(right)) => Const::I32(left.wrapping_sub(right)),
        (ConstOp::I32Mul, Const::I32(left), Const::I32(right)) => Const::I32(left.wrapping_mul(right)),
        (ConstOp::I64Add, Const::I64(left), Const::I64(right)) => Const::I64(left.wrapping_add(right)),
        (ConstOp::I64Sub, Const::I64(left), Const::I64(right)) => Const::I64(left.wrapping_sub(right)),
        (ConstOp::I64Mul, Const::I64(left), Const::I64(right)) => Const::I64(left.wrapping_mul(right)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluates_in_postfix_order() {
        use ConstOp::*;
        let run = |ops: &[ConstOp]| evaluate(&ConstExpr(ops.into()), |index| (index == 7).then_some(Const::I32(5)));
        assert_eq!(run(&[I32(10), I32(3), I32Sub, Global(7), I32Mul]), Some(Const::I32(35)));
        assert_eq!(run(&[I64(i64::MAX), I64(1), I64Add]), Some(Const::I64(i64::MIN)));
        assert_eq!(run(&[Global(8)]), None);
        assert_eq!(run(&[I32(1), I64(1), I32Add]), None);
    }
}
