//! Calling conventions of compiled functions, thunks and builtins, as Cranelift signatures.

use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64};
use cranelift_codegen::ir::{AbiParam, Signature, Type};
use cranelift_codegen::isa::CallConv;
use precast_abi::types::{FuncType, ValType, returns_in_registers};
use precast_builtins::Builtin;

pub(super) use crate::parse::val_type_of as value_type;

/// Cranelift's type for a value type. Vectors always have this one, whatever their lanes; references are integers.
pub(super) fn clif_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => I32,
        ValType::I64 | ValType::FuncRef | ValType::ExternRef => I64,
        ValType::F32 => F32,
        ValType::F64 => F64,
        ValType::V128 => I8X16,
    }
}

/// The convention of compiled functions: `(base, [return area,] params…) -> results…`.
pub(super) fn function(ty: &FuncType) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::new(I64));
    let values = |types: &[ValType]| types.iter().map(|ty| AbiParam::new(clif_type(*ty))).collect::<Vec<_>>();
    if returns_in_registers(&ty.results) {
        signature.returns = values(&ty.results);
    } else {
        signature.params.push(AbiParam::new(I64));
    }
    signature.params.extend(values(&ty.params));
    signature
}

/// The convention by which the host enters, `(base, code, values)`, which is also that of a host call,
/// `(words, cell, values)`.
pub(super) fn border() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(I64); 3];
    signature
}

/// The convention of a [`crate::program::Helper`].
pub(super) fn helper() -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params = [I64, I32, I32, I32].map(AbiParam::new).into();
    signature.returns = vec![AbiParam::new(I32)];
    signature
}

/// The convention of a builtin: `(words, params…) -> result`.
pub(super) fn builtin(builtin: Builtin) -> Signature {
    let integer = |size: usize| AbiParam::new(if size == 4 { I32 } else { I64 });
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.push(AbiParam::new(I64));
    signature.params.extend(builtin.params().iter().map(|size| integer(*size)));
    signature.returns = match builtin.result() {
        16 => vec![AbiParam::new(I64); 2],
        size => vec![integer(size)],
    };
    signature
}

/// Whether values of the type mean something else in another instance, so that calls into one translate them.
pub(super) fn has_funcref(ty: &FuncType) -> bool {
    ty.params.iter().chain(&ty.results).any(|ty| *ty == ValType::FuncRef)
}
