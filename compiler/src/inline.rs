//! Calls across core instances that are replaced by what they call: small functions of other instances, functions that
//! only lead to another group, and adapters that pass numbers.
//!
//! Within a module the producer's compiler has inlined what is worth it; between modules nobody could.

use std::borrow::Cow;

use cranelift_codegen::Context;
use cranelift_codegen::inline::{Inline, InlineCommand};
use cranelift_codegen::ir::{self, ExternalName, Function};
use cranelift_codegen::isa::TargetIsa;

use crate::Error;
use crate::component::linkage::{Type, TypeDef};
use crate::component::program::{Adapter, ComponentProgram};
use crate::lower::translate_symbol;
use crate::program::{DefinedFunc, FuncBody, Program, Symbol};
use crate::translate::Scratch;

/// Bytes of body up to which a function of another instance is inlined.
const SMALL_BODY: usize = 48;
/// Calls that are inlined into one function.
const MOST_CALLS: usize = 256;
/// Parameters and results of an adapter that is inlined.
const MOST_VALUES: usize = 8;

/// Inlines into `function`, that of `symbol`.
///
/// # Errors
/// Those of translating what is inlined.
pub(crate) fn inline(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    context: &mut Context,
    symbol: Symbol,
    function: Function,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let Some(component) = &program.component else { return Ok(function) };
    let mut inliner = Inliner { program, component, isa, symbol, scratch, left: MOST_CALLS, error: None };
    if !inliner.has_candidate(&function) {
        return Ok(function);
    }
    context.clear();
    context.func = function;
    let result = context.inline(&mut inliner);
    match (inliner.error, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(Error::internal(format_args!("inlining into {symbol:?}"), error)),
        (None, Ok(_)) => Ok(std::mem::replace(&mut context.func, Function::new())),
    }
}

struct Inliner<'a> {
    program: &'a Program<'a>,
    component: &'a ComponentProgram,
    isa: &'a dyn TargetIsa,
    /// What is inlined into.
    symbol: Symbol,
    scratch: &'a mut Scratch,
    left: usize,
    error: Option<Error>,
}

impl Inliner<'_> {
    fn has_candidate(&self, function: &Function) -> bool {
        let mut callees = function.dfg.ext_funcs.keys();
        callees.any(|callee| self.candidate(function, callee).is_some())
    }

    /// The function to inline, if it is one.
    fn candidate(&self, caller: &Function, callee: ir::FuncRef) -> Option<DefinedFunc> {
        let ExternalName::User(name) = caller.dfg.ext_funcs[callee].name else { return None };
        let Symbol::Function(func) = Symbol::from_external_name(&caller.params.user_named_funcs()[name]) else {
            return None;
        };
        self.is_worth_it(func).then_some(func)
    }

    fn is_worth_it(&self, func: DefinedFunc) -> bool {
        match self.program.funcs[func].body {
            FuncBody::Forward(_) => true,
            FuncBody::Adapter(adapter) => passes_numbers(self.component, &self.component.adapters[adapter]),
            FuncBody::Wasm(instance, index) => {
                let is_other = match self.symbol {
                    Symbol::Function(caller) => match self.program.funcs[caller].body {
                        FuncBody::Wasm(caller, _) => caller != instance,
                        _ => true,
                    },
                    _ => false,
                };
                let body = self.program.instances[instance].module.body(index);
                is_other && body.body.as_bytes().len() <= SMALL_BODY
            }
            FuncBody::ResourceNew(..) | FuncBody::ResourceRep(..) | FuncBody::ResourceDrop(..) => false,
        }
    }

    fn body(&mut self, func: DefinedFunc) -> Result<Function, Error> {
        translate_symbol(self.program, self.isa, Symbol::Function(func), self.scratch)
    }
}

/// Whether an adapter only checks and calls.
fn passes_numbers(component: &ComponentProgram, adapter: &Adapter) -> bool {
    let is_number = |ty: &Type| match ty {
        Type::Primitive(primitive) => *primitive != precast_abi::component::Primitive::String,
        Type::Row(row) => matches!(component.types[*row], TypeDef::Enum(_)),
    };
    let ty = &component.func_types[adapter.caller_ty];
    let values = ty.params.iter().map(|(_, ty)| ty).chain(&ty.result);
    !adapter.recursive && ty.params.len() < MOST_VALUES && values.into_iter().all(is_number)
}

impl Inline for Inliner<'_> {
    fn inline(
        &mut self,
        caller: &Function,
        _: ir::Inst,
        _: ir::Opcode,
        callee: ir::FuncRef,
        _: &[ir::Value],
    ) -> InlineCommand<'_> {
        let Some(func) = self.candidate(caller, callee).filter(|_| self.left > 0 && self.error.is_none()) else {
            return InlineCommand::KeepCall;
        };
        self.left -= 1;
        match self.body(func) {
            // What glue calls is looked at too; a function's own calls are its module's.
            Ok(body) => {
                let visit_callee = !matches!(self.program.funcs[func].body, FuncBody::Wasm(..));
                InlineCommand::Inline { callee: Cow::Owned(body), visit_callee }
            }
            Err(error) => {
                self.error = Some(error);
                InlineCommand::KeepCall
            }
        }
    }
}
