//! Translates a function of the module: each operator is validated and then translated, in one pass over the body.

use std::mem;

use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{Function, SourceLoc, Value};
use cranelift_codegen::isa::TargetIsa;
use precast_abi::types::ValType;
use wasmparser::{FuncValidator, Operator, OperatorsReader, ValidatorResources};

use super::locals::Locals;
use super::signature::{clif_type, value_type};
use super::translator::{FuncTranslator, Home};
use super::{Entry, Scratch, build_at};
use super::{address_locals, bulk, call, control, global, memory, numeric, reference, simd, support, table};
use crate::Error;
use crate::component::linkage::CoreInstance;
use crate::error::Place;
use crate::module::Body;
use crate::program::{Const, DefinedFunc, FuncDef, Program, Symbol};

/// Validates and translates a function of the program: that of a core instance's module with this index.
///
/// # Errors
/// [`Error::Invalid`] if it is not valid, whatever else is wrong with it; otherwise [`Error::Unsupported`] or
/// [`Error::Limit`] for the first operator we do not compile.
pub(crate) fn function(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    func: DefinedFunc,
    (instance, index): (CoreInstance, u32),
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let FuncDef { ty, group, .. } = program.funcs[func];
    let body = program.instances[instance].module.body(index);
    let home = Home { env: &program.instances[instance].env, group };
    let mut validator = body.validator(mem::take(&mut scratch.allocations));
    let symbol = Symbol::Function(func);
    let result = build_at(program, isa, symbol, Entry::Function(ty), home, &mut scratch.builder, |t, arguments| {
        translate(t, &mut validator, body, arguments, index)
    });
    scratch.allocations = validator.into_allocations();
    result
}

fn translate(
    t: &mut FuncTranslator<'_>,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &Body<'_>,
    arguments: &[Value],
    index: u32,
) -> Result<(), Error> {
    let invalid = |error: wasmparser::Error| Error::invalid(&error, Some(index));
    // Why the function is not compiled although it is valid, if it is: from there on it is only validated.
    let mut refusal = None;

    t.begin_function();
    t.locals = Locals::new(address_locals::find(&body.body));
    t.declare_parameters(arguments);
    let mut locals = body.body.get_locals_reader().map_err(invalid)?;
    for _ in 0..locals.get_count() {
        let offset = locals.original_position();
        let (count, ty) = locals.read().map_err(invalid)?;
        validator.define_locals(offset, count, ty).map_err(invalid)?;
        match value_type(ty) {
            Ok(ty) => t.declare_locals(count, ty),
            Err(proposal) => refusal = refusal.or(Some(Error::unsupported(proposal, Some(index), offset))),
        }
    }

    t.begin_metering();
    let mut operators = OperatorsReader::new(locals.get_binary_reader());
    while !operators.eof() {
        let (op, offset) = operators.read_with_offset().map_err(invalid)?;
        validator.op(offset, &op).map_err(invalid)?;
        if refusal.is_none() {
            if matches!(op, Operator::I32Load { .. }) {
                t.load_is_address = t.goes_to_address(&operators);
            }
            refusal = t.operator(&op, offset, index).err();
        }
    }
    operators.finish().map_err(invalid)?;
    refusal.map_or(Ok(()), Err)
}

impl FuncTranslator<'_> {
    fn declare_parameters(&mut self, arguments: &[Value]) {
        for (argument, ty) in arguments.iter().zip(&self.program.types[self.ty].params) {
            self.declare_local(*ty, *argument);
        }
    }

    /// Declares locals that start as zero.
    fn declare_locals(&mut self, count: u32, ty: ValType) {
        let zero = match clif_type(ty) {
            I32 => Const::I32(0),
            I64 => Const::I64(0),
            F32 => Const::F32(0),
            F64 => Const::F64(0),
            _ => Const::V128(0),
        };
        let zero = self.constant(zero);
        for _ in 0..count {
            self.declare_local(ty, zero);
        }
    }

    /// Translates an operator that the validator has accepted.
    fn operator(&mut self, op: &Operator<'_>, offset: usize, index: u32) -> Result<(), Error> {
        if let Some(proposal) = support::missing(op) {
            return Err(Error::unsupported(proposal, Some(index), offset));
        }
        if self.control.dead {
            control::dead_operator(self, op);
            return Ok(());
        }
        // A module has less than 4 GiB.
        self.builder.set_srcloc(SourceLoc::new(offset as u32));
        self.charge(op);
        let known = control::operator(self, op)
            || numeric::operator(self, op)
            || memory::operator(self, op)
            || global::operator(self, op)
            || call::operator(self, op)
            || simd::operator(self, op)
            || bulk::operator(self, op)
            || table::operator(self, op)
            || reference::operator(self, op);
        if !known {
            return Err(Error::internal(
                format_args!("function {index} at offset {offset:#x}"),
                format_args!("{op:?}"),
            ));
        }
        self.cost.check(|| Place { function: Some(index), offset: offset as u64 })
    }
}
