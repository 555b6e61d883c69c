//! `ref.null`, `ref.is_null` and `ref.func`.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_abi::funcref::NULL;
use wasmparser::Operator;

use super::translator::FuncTranslator;
use crate::program::Symbol;

/// Bits that the payload of a function reference is shifted by.
pub(super) const PAYLOAD_SHIFT: i64 = 32;

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    let value = match op {
        Operator::RefNull { .. } => t.null(),
        Operator::RefFunc { function_index } => t.func_ref(*function_index),
        Operator::RefIsNull => {
            t.is_zero();
            return true;
        }
        _ => return false,
    };
    t.push(value);
    true
}

impl FuncTranslator<'_> {
    /// The null reference.
    pub(super) fn null(&mut self) -> Value {
        self.ins().iconst(I64, NULL.cast_signed())
    }

    /// A reference to a function of the module's index space.
    pub(super) fn func_ref(&mut self, func: u32) -> Value {
        let (place, ty) = self.env.reference(func);
        let symbol = self.function_ref(place.symbol(), ty);
        let code = self.ins().func_addr(I64, symbol);
        let text = self.text_start();
        let offset = self.ins().isub(code, text);
        let payload = self.ins().ishl_imm_u(offset, PAYLOAD_SHIFT);
        self.ins().bor_imm_u(payload, i64::from(ty.as_u32()))
    }

    /// The code that a reference to a function of this artifact refers to.
    pub(super) fn referenced_code(&mut self, reference: Value) -> Value {
        let text = self.text_start();
        let offset = self.ins().ushr_imm_u(reference, PAYLOAD_SHIFT);
        self.ins().iadd(text, offset)
    }

    fn text_start(&mut self) -> Value {
        // It is never called, so that any type will do.
        let symbol = self.function_ref(Symbol::TextStart, self.ty);
        self.ins().func_addr(I64, symbol)
    }
}
