//! WebAssembly's locals, and `i32`s that are known in 64 bits.
//!
//! An address needs an `i32` zero-extended. Extending at each use costs an instruction wherever the value comes in
//! through a block parameter, and a second register beside the `i32`. So `i32` locals that are used as addresses are kept
//! zero-extended: extending where a local is set is free after most 32-bit arithmetic, and taking the low half is always
//! free. What is known about both forms of a value is remembered, so that neither is made again. Instructions executed
//! by the kernels: fannkuch and json −6 %, qsort −2 %, sha256 +2 %; when all `i32` locals were kept so, qsort +1 %.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::entity::packed_option::PackedOption;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use cranelift_frontend::Variable;
use precast_abi::types::ValType;
use wasmparser::{Operator, OperatorsReader};

use super::signature::clif_type;
use super::translator::FuncTranslator;

/// The locals of a function.
#[derive(Default)]
pub(super) struct Locals {
    /// Which locals are used as addresses.
    are_addresses: Vec<bool>,
    /// The variable of each local, and whether it holds an `i32` zero-extended.
    variables: Vec<(Variable, bool)>,
    /// The zero-extended form of an `i32`.
    wide: Forms,
    /// The `i32` of a zero-extended form.
    narrow: Forms,
}

/// For some values, another form of the same value.
#[derive(Default)]
struct Forms(SecondaryMap<Value, Form>);

#[derive(Clone, Default)]
struct Form {
    value: PackedOption<Value>,
    /// The block in which it is defined before whatever comes; none if that is so wherever the first value is.
    only_in: PackedOption<Block>,
}

impl Forms {
    fn get(&self, value: Value, block: Option<Block>) -> Option<Value> {
        let form = &self.0[value];
        let only_in = form.only_in.expand();
        form.value.expand().filter(|_| only_in.is_none() || only_in == block)
    }

    fn set(&mut self, value: Value, form: Value, only_in: Option<Block>) {
        self.0[value] = Form { value: form.into(), only_in: only_in.into() };
    }
}

impl Locals {
    /// No locals yet; [`super::address_locals`] found which of them will be used as addresses.
    pub(super) fn new(are_addresses: Vec<bool>) -> Self {
        Locals { are_addresses, ..Locals::default() }
    }
}

impl FuncTranslator<'_> {
    /// Declares the next local.
    pub(super) fn declare_local(&mut self, ty: ValType, value: Value) {
        let ty = clif_type(ty);
        let is_address = self.locals.are_addresses.get(self.locals.variables.len());
        let is_wide = ty == I32 && is_address == Some(&true);
        let variable = self.builder.declare_var(if is_wide { I64 } else { ty });
        self.locals.variables.push((variable, is_wide));
        let value = if is_wide { self.widen(value) } else { value };
        self.builder.def_var(variable, value);
    }

    pub(super) fn local_get(&mut self, local: u32) {
        let (variable, is_wide) = self.local(local);
        let value = self.builder.use_var(variable);
        let value = if is_wide { self.narrow(value) } else { value };
        self.push(value);
    }

    pub(super) fn local_set(&mut self, local: u32) {
        let value = self.pop();
        self.set_local(local, value);
    }

    pub(super) fn local_tee(&mut self, local: u32) {
        let value = self.pop();
        self.set_local(local, value);
        self.push(value);
    }

    fn set_local(&mut self, local: u32, value: Value) {
        let (variable, is_wide) = self.local(local);
        let value = if is_wide { self.widen(value) } else { value };
        self.builder.def_var(variable, value);
    }

    fn local(&mut self, local: u32) -> (Variable, bool) {
        if let Some(block) = self.builder.current_block() {
            self.cost.mention_local(local as usize, block);
        }
        self.locals.variables[local as usize]
    }

    /// An `i32` zero-extended, to be remembered because it is now in a local.
    fn widen(&mut self, narrow: Value) -> Value {
        let block = self.builder.current_block();
        if let Some(wide) = self.locals.wide.get(narrow, block) {
            return wide;
        }
        let wide = self.ins().uextend(I64, narrow);
        self.locals.wide.set(narrow, wide, block);
        self.locals.narrow.set(wide, narrow, None);
        wide
    }

    /// The `i32` of a zero-extended form that is defined here.
    fn narrow(&mut self, wide: Value) -> Value {
        let block = self.builder.current_block();
        if let Some(narrow) = self.locals.narrow.get(wide, block) {
            if self.locals.wide.get(narrow, block).is_none() {
                self.locals.wide.set(narrow, wide, block);
            }
            return narrow;
        }
        let narrow = self.ins().ireduce(I32, wide);
        self.locals.wide.set(narrow, wide, None);
        self.locals.narrow.set(wide, narrow, block);
        narrow
    }

    /// Whether the operand that is made next goes straight to a local that is used as an address.
    pub(super) fn goes_to_address(&self, rest: &OperatorsReader<'_>) -> bool {
        match rest.clone().read() {
            Ok(Operator::LocalSet { local_index } | Operator::LocalTee { local_index }) => {
                self.locals.are_addresses.get(local_index as usize) == Some(&true)
            }
            _ => false,
        }
    }

    /// Makes an `i32` of the zero-extended one that was loaded: a load extends for nothing.
    pub(super) fn narrow_loaded(&mut self) {
        let wide = self.pop();
        let narrow = self.narrow(wide);
        self.push(narrow);
    }

    /// An `i32` zero-extended, for an address or as an operator.
    pub(super) fn extend(&mut self, value: Value) -> Value {
        let block = self.builder.current_block();
        match self.locals.wide.get(value, block) {
            Some(wide) => wide,
            None => self.ins().uextend(I64, value),
        }
    }

    /// `i64.extend_i32_u`.
    pub(super) fn extend_unsigned(&mut self) {
        let value = self.pop();
        let value = self.extend(value);
        self.push(value);
    }
}
