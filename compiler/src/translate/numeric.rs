//! Constants, integer and float arithmetic, comparisons and conversions.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

use super::translator::FuncTranslator;

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    constant(t, op) || integer(t, op) || float(t, op) || comparison(t, op) || conversion(t, op)
}

fn constant(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    let value = match op {
        Operator::I32Const { value } => t.i32(value.cast_unsigned()),
        Operator::I64Const { value } => t.ins().iconst(I64, *value),
        Operator::F32Const { value } => t.ins().f32const(Ieee32::with_bits(value.bits())),
        Operator::F64Const { value } => t.ins().f64const(Ieee64::with_bits(value.bits())),
        _ => return false,
    };
    t.push(value);
    true
}

/// Shift and rotation amounts are taken modulo the width, in WebAssembly as in Cranelift; division traps with the same
/// codes, and `MIN % -1` is 0 in both.
fn integer(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::I32Clz | Operator::I64Clz => t.unary(|ins, x| ins.clz(x)),
        Operator::I32Ctz | Operator::I64Ctz => t.unary(|ins, x| ins.ctz(x)),
        Operator::I32Popcnt | Operator::I64Popcnt => t.unary(|ins, x| ins.popcnt(x)),
        Operator::I32Add | Operator::I64Add => t.binary(|ins, x, y| ins.iadd(x, y)),
        Operator::I32Sub | Operator::I64Sub => t.binary(|ins, x, y| ins.isub(x, y)),
        Operator::I32Mul | Operator::I64Mul => t.binary(|ins, x, y| ins.imul(x, y)),
        Operator::I32DivS | Operator::I64DivS => t.binary(|ins, x, y| ins.sdiv(x, y)),
        Operator::I32DivU | Operator::I64DivU => t.binary(|ins, x, y| ins.udiv(x, y)),
        Operator::I32RemS | Operator::I64RemS => t.binary(|ins, x, y| ins.srem(x, y)),
        Operator::I32RemU | Operator::I64RemU => t.binary(|ins, x, y| ins.urem(x, y)),
        Operator::I32And | Operator::I64And => t.binary(|ins, x, y| ins.band(x, y)),
        Operator::I32Or | Operator::I64Or => t.binary(|ins, x, y| ins.bor(x, y)),
        Operator::I32Xor | Operator::I64Xor => t.binary(|ins, x, y| ins.bxor(x, y)),
        Operator::I32Shl | Operator::I64Shl => t.binary(|ins, x, y| ins.ishl(x, y)),
        Operator::I32ShrS | Operator::I64ShrS => t.binary(|ins, x, y| ins.sshr(x, y)),
        Operator::I32ShrU | Operator::I64ShrU => t.binary(|ins, x, y| ins.ushr(x, y)),
        Operator::I32Rotl | Operator::I64Rotl => t.binary(|ins, x, y| ins.rotl(x, y)),
        Operator::I32Rotr | Operator::I64Rotr => t.binary(|ins, x, y| ins.rotr(x, y)),
        _ => return false,
    }
    true
}

fn float(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::F32Abs | Operator::F64Abs => t.unary(|ins, x| ins.fabs(x)),
        Operator::F32Neg | Operator::F64Neg => t.unary(|ins, x| ins.fneg(x)),
        Operator::F32Ceil | Operator::F64Ceil => t.unary(|ins, x| ins.ceil(x)),
        Operator::F32Floor | Operator::F64Floor => t.unary(|ins, x| ins.floor(x)),
        Operator::F32Trunc | Operator::F64Trunc => t.unary(|ins, x| ins.trunc(x)),
        Operator::F32Nearest | Operator::F64Nearest => t.unary(|ins, x| ins.nearest(x)),
        Operator::F32Sqrt | Operator::F64Sqrt => t.unary(|ins, x| ins.sqrt(x)),
        Operator::F32Add | Operator::F64Add => t.binary(|ins, x, y| ins.fadd(x, y)),
        Operator::F32Sub | Operator::F64Sub => t.binary(|ins, x, y| ins.fsub(x, y)),
        Operator::F32Mul | Operator::F64Mul => t.binary(|ins, x, y| ins.fmul(x, y)),
        Operator::F32Div | Operator::F64Div => t.binary(|ins, x, y| ins.fdiv(x, y)),
        Operator::F32Min | Operator::F64Min => t.binary(|ins, x, y| ins.fmin(x, y)),
        Operator::F32Max | Operator::F64Max => t.binary(|ins, x, y| ins.fmax(x, y)),
        Operator::F32Copysign | Operator::F64Copysign => t.binary(|ins, x, y| ins.fcopysign(x, y)),
        _ => return false,
    }
    true
}

fn comparison(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::I32Eqz | Operator::I64Eqz => t.is_zero(),
        Operator::I32Eq | Operator::I64Eq => t.compare_integers(IntCC::Equal),
        Operator::I32Ne | Operator::I64Ne => t.compare_integers(IntCC::NotEqual),
        Operator::I32LtS | Operator::I64LtS => t.compare_integers(IntCC::SignedLessThan),
        Operator::I32LtU | Operator::I64LtU => t.compare_integers(IntCC::UnsignedLessThan),
        Operator::I32GtS | Operator::I64GtS => t.compare_integers(IntCC::SignedGreaterThan),
        Operator::I32GtU | Operator::I64GtU => t.compare_integers(IntCC::UnsignedGreaterThan),
        Operator::I32LeS | Operator::I64LeS => t.compare_integers(IntCC::SignedLessThanOrEqual),
        Operator::I32LeU | Operator::I64LeU => t.compare_integers(IntCC::UnsignedLessThanOrEqual),
        Operator::I32GeS | Operator::I64GeS => t.compare_integers(IntCC::SignedGreaterThanOrEqual),
        Operator::I32GeU | Operator::I64GeU => t.compare_integers(IntCC::UnsignedGreaterThanOrEqual),
        Operator::F32Eq | Operator::F64Eq => t.compare_floats(FloatCC::Equal),
        Operator::F32Ne | Operator::F64Ne => t.compare_floats(FloatCC::NotEqual),
        Operator::F32Lt | Operator::F64Lt => t.compare_floats(FloatCC::LessThan),
        Operator::F32Gt | Operator::F64Gt => t.compare_floats(FloatCC::GreaterThan),
        Operator::F32Le | Operator::F64Le => t.compare_floats(FloatCC::LessThanOrEqual),
        Operator::F32Ge | Operator::F64Ge => t.compare_floats(FloatCC::GreaterThanOrEqual),
        _ => return false,
    }
    true
}

/// Truncation traps with bad conversion for a NaN and with integer overflow for what does not fit, as Cranelift's does.
fn conversion(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::I32WrapI64 => t.unary(|ins, x| ins.ireduce(I32, x)),
        Operator::I64ExtendI32S => t.unary(|ins, x| ins.sextend(I64, x)),
        Operator::I64ExtendI32U => t.extend_unsigned(),
        Operator::I32Extend8S => t.sign_extend(I8, I32),
        Operator::I32Extend16S => t.sign_extend(I16, I32),
        Operator::I64Extend8S => t.sign_extend(I8, I64),
        Operator::I64Extend16S => t.sign_extend(I16, I64),
        Operator::I64Extend32S => t.sign_extend(I32, I64),
        Operator::I32TruncF32S | Operator::I32TruncF64S => t.unary(|ins, x| ins.fcvt_to_sint(I32, x)),
        Operator::I32TruncF32U | Operator::I32TruncF64U => t.unary(|ins, x| ins.fcvt_to_uint(I32, x)),
        Operator::I64TruncF32S | Operator::I64TruncF64S => t.unary(|ins, x| ins.fcvt_to_sint(I64, x)),
        Operator::I64TruncF32U | Operator::I64TruncF64U => t.unary(|ins, x| ins.fcvt_to_uint(I64, x)),
        Operator::I32TruncSatF32S | Operator::I32TruncSatF64S => t.unary(|ins, x| ins.fcvt_to_sint_sat(I32, x)),
        Operator::I32TruncSatF32U | Operator::I32TruncSatF64U => t.unary(|ins, x| ins.fcvt_to_uint_sat(I32, x)),
        Operator::I64TruncSatF32S | Operator::I64TruncSatF64S => t.unary(|ins, x| ins.fcvt_to_sint_sat(I64, x)),
        Operator::I64TruncSatF32U | Operator::I64TruncSatF64U => t.unary(|ins, x| ins.fcvt_to_uint_sat(I64, x)),
        Operator::F32ConvertI32S | Operator::F32ConvertI64S => t.unary(|ins, x| ins.fcvt_from_sint(F32, x)),
        Operator::F32ConvertI32U | Operator::F32ConvertI64U => t.unary(|ins, x| ins.fcvt_from_uint(F32, x)),
        Operator::F64ConvertI32S | Operator::F64ConvertI64S => t.unary(|ins, x| ins.fcvt_from_sint(F64, x)),
        Operator::F64ConvertI32U | Operator::F64ConvertI64U => t.unary(|ins, x| ins.fcvt_from_uint(F64, x)),
        Operator::F32DemoteF64 => t.unary(|ins, x| ins.fdemote(F32, x)),
        Operator::F64PromoteF32 => t.unary(|ins, x| ins.fpromote(F64, x)),
        Operator::I32ReinterpretF32 => t.unary(|ins, x| ins.bitcast(I32, MemFlagsData::new(), x)),
        Operator::I64ReinterpretF64 => t.unary(|ins, x| ins.bitcast(I64, MemFlagsData::new(), x)),
        Operator::F32ReinterpretI32 => t.unary(|ins, x| ins.bitcast(F32, MemFlagsData::new(), x)),
        Operator::F64ReinterpretI64 => t.unary(|ins, x| ins.bitcast(F64, MemFlagsData::new(), x)),
        _ => return false,
    }
    true
}

impl<'a> FuncTranslator<'a> {
    /// A constant of type `i32`.
    pub(super) fn i32(&mut self, value: u32) -> Value {
        self.ins().iconst(I32, i64::from(value))
    }

    fn unary(&mut self, make: impl FnOnce(FuncInstBuilder<'_, 'a>, Value) -> Value) {
        let x = self.pop();
        let value = make(self.ins(), x);
        self.push(value);
    }

    fn binary(&mut self, make: impl FnOnce(FuncInstBuilder<'_, 'a>, Value, Value) -> Value) {
        let (x, y) = self.pop2();
        let value = make(self.ins(), x, y);
        self.push(value);
    }

    fn sign_extend(&mut self, from: Type, to: Type) {
        let x = self.pop();
        let narrow = self.ins().ireduce(from, x);
        let value = self.ins().sextend(to, narrow);
        self.push(value);
    }

    /// Pops an integer or reference and pushes whether it is zero.
    pub(super) fn is_zero(&mut self) {
        let x = self.pop();
        let value = self.ins().icmp_imm_u(IntCC::Equal, x, 0);
        self.push_bool(value);
    }

    fn compare_integers(&mut self, condition: IntCC) {
        let (x, y) = self.pop2();
        let value = self.ins().icmp(condition, x, y);
        self.push_bool(value);
    }

    fn compare_floats(&mut self, condition: FloatCC) {
        let (x, y) = self.pop2();
        let value = self.ins().fcmp(condition, x, y);
        self.push_bool(value);
    }

    fn push_bool(&mut self, value: Value) {
        let value = self.ins().uextend(I32, value);
        self.push(value);
    }
}
