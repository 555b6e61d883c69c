//! Metering: counts what a module executes, and traps when its store has no fuel left.
//!
//! The units are those of WebAssembly, so that a run takes the same amount on every target and at every level of
//! optimisation: one for each function that is entered and each operator that is executed, but none for those that only
//! say where blocks begin and end ([`cost`]), and more for what moves many bytes or elements. DESIGN.md has the rules.
//!
//! What is left is in the loader's context, since all instances of a store share it, and in a variable while a function
//! runs. Straight-line code is charged at its end. The variable goes to the context, and is looked at, where that bounds
//! what can be executed beyond the limit: at the beginning of each turn of a loop, before each call, and at what moves
//! many bytes; then nobody that is called sees less than what was used, and a function without loops and calls is not
//! checked at all. What a trap loses is what was executed since.

use std::mem;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;
use precast_abi::host::{Context, HostWords};
use precast_abi::trap::TrapCode;
use wasmparser::Operator;

use super::translator::{FuncTranslator, Region, trap_code};

/// Bytes that one unit moves, as a power of two.
const BYTES_LOG2: i64 = 6;

/// What counts in a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// What was left when straight-line code was charged last.
    left: Variable,
    /// Units since then.
    due: i64,
    /// Whether the context has the variable's value.
    is_spilled: bool,
}

/// Units of entering a function, so that none is for nothing.
const ENTRY: i64 = 1;

/// Units of an operator, besides those for what it moves.
fn cost(op: &Operator<'_>) -> i64 {
    match op {
        Operator::Block { .. } | Operator::Loop { .. } | Operator::Else | Operator::End => 0,
        Operator::Nop | Operator::Drop | Operator::Return | Operator::Unreachable => 0,
        _ => 1,
    }
}

impl FuncTranslator<'_> {
    /// Counts from here on, at the beginning of a function of a module.
    pub(super) fn begin_metering(&mut self) {
        if self.program.metered {
            let left = self.builder.declare_var(I64);
            let value = self.load_fuel();
            self.builder.def_var(left, value);
            self.meter = Some(Meter { left, due: ENTRY, is_spilled: true });
        }
    }

    /// The operator will be executed.
    pub(super) fn charge(&mut self, op: &Operator<'_>) {
        if let Some(meter) = &mut self.meter {
            meter.due += cost(op);
        }
    }

    /// Charges what is due: before control may go elsewhere.
    pub(super) fn settle(&mut self) {
        let Some(meter) = self.meter.as_mut().filter(|meter| meter.due > 0) else { return };
        let (left, due) = (meter.left, mem::take(&mut meter.due));
        meter.is_spilled = false;
        let before = self.builder.use_var(left);
        let after = self.ins().iadd_imm_s(before, -due);
        self.builder.def_var(left, after);
    }

    /// Control comes from elsewhere, where the variable may not have been spilled.
    pub(super) fn arrive(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.is_spilled = false;
        }
    }

    /// Has the context know what is left.
    pub(super) fn spill_fuel(&mut self) {
        self.settle();
        let Some(meter) = self.meter.as_mut().filter(|meter| !meter.is_spilled) else { return };
        meter.is_spilled = true;
        let left = meter.left;
        let left = self.builder.use_var(left);
        self.store_fuel(left);
    }

    /// The same, and traps if more was used than there was.
    pub(super) fn check_fuel(&mut self) {
        self.spill_fuel();
        if let Some(Meter { left, .. }) = self.meter {
            let left = self.builder.use_var(left);
            self.trap_without_fuel(left);
        }
    }

    /// Learns from the context what is left, after a call.
    pub(super) fn reload_fuel(&mut self) {
        let Some(Meter { left, .. }) = self.meter else { return };
        let value = self.load_fuel();
        self.builder.def_var(left, value);
        self.meter = Some(Meter { left, due: 0, is_spilled: true });
    }

    /// Charges for moving so many bytes, an `i32`, before that is done.
    pub(super) fn charge_bytes(&mut self, bytes: Value) {
        if self.meter.is_some() {
            let bytes = self.extend(bytes);
            let units = self.ins().ushr_imm_u(bytes, BYTES_LOG2);
            self.charge_units(units);
        }
    }

    /// Charges for moving so many elements of a table, an `i32`, before that is done.
    pub(super) fn charge_elements(&mut self, count: Value) {
        if self.meter.is_some() {
            let units = self.extend(count);
            self.charge_units(units);
        }
    }

    /// Charges for the elements that a table has grown by, unless it did not: then `old` is −1.
    pub(super) fn charge_growth(&mut self, old: Value, delta: Value) {
        if self.meter.is_some() {
            let has_failed = self.ins().icmp_imm_s(IntCC::Equal, old, -1);
            let nothing = self.ins().iconst(I64, 0);
            let units = self.ins().select(has_failed, nothing, delta);
            self.charge_units(units);
        }
    }

    fn charge_units(&mut self, units: Value) {
        self.settle();
        let Some(meter) = &mut self.meter else { return };
        meter.is_spilled = false;
        let left = meter.left;
        let before = self.builder.use_var(left);
        let after = self.ins().isub(before, units);
        self.builder.def_var(left, after);
        self.check_fuel();
    }

    /// In glue: charges for moving so many bytes, an `i64`, before that is done.
    pub(super) fn charge_glue_bytes(&mut self, bytes: Value) {
        if self.program.metered {
            let units = self.ins().ushr_imm_u(bytes, BYTES_LOG2);
            self.charge_glue(units);
        }
    }

    /// In glue: charges so many units, an `i64`, for what follows.
    pub(super) fn charge_glue(&mut self, units: Value) {
        if self.program.metered {
            let before = self.load_fuel();
            let after = self.ins().isub(before, units);
            self.store_fuel(after);
            self.trap_without_fuel(after);
        }
    }

    /// Traps if more was used than there was: where control is about to go back to the host, who sees results only of
    /// what was paid for.
    pub(super) fn check_fuel_at_border(&mut self) {
        if self.program.metered {
            let left = self.load_fuel();
            self.trap_without_fuel(left);
        }
    }

    fn trap_without_fuel(&mut self, left: Value) {
        let is_out = self.ins().icmp_imm_s(IntCC::SignedLessThan, left, 0);
        self.ins().trapnz(is_out, trap_code(TrapCode::OutOfFuel));
    }

    fn load_fuel(&mut self) -> Value {
        let (context, flags) = (self.context(), self.flags(Region::Context));
        self.ins().load(I64, flags, context, Context::FUEL)
    }

    fn store_fuel(&mut self, left: Value) {
        let (context, flags) = (self.context(), self.flags(Region::Context));
        self.ins().store(flags, left, context, Context::FUEL);
    }

    /// The address of the loader's context.
    fn context(&mut self) -> Value {
        let distance = self.program.groups[self.group].base_offset.cast_signed();
        let offset = i64::from(HostWords::CONTEXT) - distance;
        if let Ok(offset) = i32::try_from(offset) {
            return self.host_word(offset);
        }
        let base = self.base;
        let words = self.ins().iadd_imm_s(base, -distance);
        self.ins().load(I64, Self::constant_flags(), words, HostWords::CONTEXT)
    }
}
