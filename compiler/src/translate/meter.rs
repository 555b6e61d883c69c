//! Metering: counts what a module executes, and traps when its store has no fuel left.
//!
//! The units are those of WebAssembly, so that a run takes the same amount on every target and at every level of
//! optimisation: one for each function that is entered and each operator that is executed, but none for those that only
//! say where blocks begin and end ([`cost`]), and more for what moves many bytes or elements. DESIGN.md has the rules.
//!
//! What was used is in the loader's context, since all instances of a store share it, and in a variable while a function
//! runs. It is a number that overflows when the fuel is used up: adding to it is also the check, one instruction and a
//! branch, at the end of each straight line. The variable goes to the context before each call, so that whoever is called
//! sees what was used; at the beginning of each turn of a loop, so that a trap does not lose more than a turn; and where
//! the function returns.
//!
//! Rejected: counting what is left down, and looking at it in loops and before calls only. That is no faster, since sums of
//! several lines were folded into one, so that the earlier one stayed alive and each turn copied it (the kernel gemm took
//! 12 % longer); and what is used beyond the limit has to be caught where control goes back to the host.

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
    /// What was used up to the end of the last straight line, as the context has it.
    used: Variable,
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
            let used = self.builder.declare_var(I64);
            let value = self.load_used();
            self.builder.def_var(used, value);
            self.meter = Some(Meter { used, due: ENTRY, is_spilled: true });
        }
    }

    /// The operator will be executed.
    pub(super) fn charge(&mut self, op: &Operator<'_>) {
        if let Some(meter) = &mut self.meter {
            meter.due += cost(op);
        }
    }

    /// Charges what is due: before control may go elsewhere. Traps if it is more than there is.
    pub(super) fn settle(&mut self) {
        if let Some(meter) = self.meter.as_mut().filter(|meter| meter.due > 0) {
            let due = mem::take(&mut meter.due);
            let due = self.ins().iconst(I64, due);
            self.charge_units(due);
        }
    }

    /// Control comes from elsewhere, where the variable may not have been spilled.
    pub(super) fn arrive(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.is_spilled = false;
        }
    }

    /// Has the context know what was used.
    pub(super) fn spill_fuel(&mut self) {
        self.settle();
        if let Some(meter) = self.meter.as_mut().filter(|meter| !meter.is_spilled) {
            meter.is_spilled = true;
            let used = meter.used;
            let used = self.builder.use_var(used);
            self.store_used(used);
        }
    }

    /// Learns from the context what was used, after a call.
    pub(super) fn reload_fuel(&mut self) {
        if let Some(Meter { used, .. }) = self.meter {
            let value = self.load_used();
            self.builder.def_var(used, value);
            self.meter = Some(Meter { used, due: 0, is_spilled: true });
        }
    }

    /// Charges for moving so many bytes, an `i32`, before that is done.
    pub(super) fn charge_bytes(&mut self, bytes: Value) {
        if self.meter.is_some() {
            let bytes = self.extend(bytes);
            let units = self.ins().ushr_imm_u(bytes, BYTES_LOG2);
            self.settle();
            self.charge_units(units);
        }
    }

    /// Charges for moving so many elements of a table, an `i32`, before that is done.
    pub(super) fn charge_elements(&mut self, count: Value) {
        if self.meter.is_some() {
            let units = self.extend(count);
            self.settle();
            self.charge_units(units);
        }
    }

    /// Charges for the elements that a table has grown by, unless it did not: then `old` is −1.
    pub(super) fn charge_growth(&mut self, old: Value, delta: Value) {
        if self.meter.is_some() {
            let has_failed = self.ins().icmp_imm_s(IntCC::Equal, old, -1);
            let nothing = self.ins().iconst(I64, 0);
            let units = self.ins().select(has_failed, nothing, delta);
            self.settle();
            self.charge_units(units);
        }
    }

    fn charge_units(&mut self, units: Value) {
        let Some(meter) = &mut self.meter else { return };
        meter.is_spilled = false;
        let variable = meter.used;
        let before = self.builder.use_var(variable);
        let after = self.add_units(before, units);
        self.builder.def_var(variable, after);
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
            let before = self.load_used();
            let after = self.add_units(before, units);
            self.store_used(after);
        }
    }

    fn add_units(&mut self, used: Value, units: Value) -> Value {
        self.ins().uadd_overflow_trap(used, units, trap_code(TrapCode::OutOfFuel))
    }

    fn load_used(&mut self) -> Value {
        let (context, flags) = (self.context(), self.flags(Region::Context));
        self.ins().load(I64, flags, context, Context::FUEL)
    }

    fn store_used(&mut self, used: Value) {
        let (context, flags) = (self.context(), self.flags(Region::Context));
        self.ins().store(flags, used, context, Context::FUEL);
    }

    /// The address of the loader's context.
    fn context(&mut self) -> Value {
        let distance = self.program.host_words(self.group);
        if let Ok(offset) = i32::try_from(distance + i64::from(HostWords::CONTEXT)) {
            return self.host_word(offset);
        }
        let base = self.base;
        let words = self.ins().iadd_imm_s(base, distance);
        self.ins().load(I64, Self::constant_flags(), words, HostWords::CONTEXT)
    }
}
