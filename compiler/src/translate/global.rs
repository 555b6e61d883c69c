//! `global.get` and `global.set`.

use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{I8X16, I64};
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, Value};
use precast_abi::host::GlobalImport;
use precast_abi::types::ValType;
use precast_builtins::Builtin;
use wasmparser::Operator;

use super::signature::clif_type;
use super::translator::{FuncTranslator, Region};
use crate::program::{Const, Global, GlobalPlace};

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::GlobalGet { global_index } => t.global_get(*global_index),
        Operator::GlobalSet { global_index } => t.global_set(*global_index),
        _ => return false,
    }
    true
}

impl FuncTranslator<'_> {
    /// Pushes a global's value: as a constant if the compiler knows it and it cannot change.
    pub(super) fn global_get(&mut self, index: u32) {
        let global = self.env.globals[index as usize];
        let value = match global.known {
            Some(value) => self.constant(value),
            None if is_translated(&global) => {
                let row = self.i32(global.row);
                self.call_builtin(Builtin::global_get_funcref, &[row])[0]
            }
            None => {
                let (address, offset, flags) = self.global_place(&global);
                self.ins().load(clif_type(global.ty), flags, address, offset)
            }
        };
        self.push(value);
    }

    /// Pops a global's new value.
    pub(super) fn global_set(&mut self, index: u32) {
        let global = self.env.globals[index as usize];
        let value = self.pop();
        if is_translated(&global) {
            let row = self.i32(global.row);
            self.call_builtin(Builtin::global_set_funcref, &[row, value]);
        } else {
            let (address, offset, flags) = self.global_place(&global);
            self.ins().store(flags, value, address, offset);
        }
    }

    /// A constant as a value.
    pub(super) fn constant(&mut self, value: Const) -> Value {
        match value {
            Const::I32(value) => self.i32(value.cast_unsigned()),
            Const::I64(value) => self.ins().iconst(I64, value),
            Const::F32(bits) => self.ins().f32const(Ieee32::with_bits(bits)),
            Const::F64(bits) => self.ins().f64const(Ieee64::with_bits(bits)),
            Const::V128(bits) => {
                let data = ConstantData::from(bits.to_le_bytes().as_slice());
                let constant = self.builder.func.dfg.constants.insert(data);
                self.ins().vconst(I8X16, constant)
            }
            Const::Null => self.null(),
            Const::Func(func) => self.func_ref(func),
        }
    }

    /// What to add to reach the value, and how. What does not change may be loaded once and kept, except in the
    /// initialiser, which is where it changes.
    fn global_place(&mut self, global: &Global) -> (Value, i32, MemFlagsData) {
        let (address, offset, region) = match global.place {
            GlobalPlace::Own { cell } => (self.base, cell, Region::Globals),
            GlobalPlace::Imported { cell } => (self.host_word(cell + GlobalImport::CELL), 0, Region::ImportedGlobals),
        };
        let flags = self.flags(region);
        let constant = !global.mutable && !self.initialising;
        (address, offset, if constant { flags.with_readonly().with_can_move() } else { flags })
    }
}

/// Whether the global holds a reference in another instance's encoding.
fn is_translated(global: &Global) -> bool {
    matches!(global.place, GlobalPlace::Imported { .. }) && global.ty == ValType::FuncRef
}
