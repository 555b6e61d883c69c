//! Translates functions of the program, and the functions we add around them, to CLIF.
//!
//! A function body is read once: each operator is validated, then translated. What comes out is not optimised; what
//! matters for speed is decided here nevertheless: where operands live, which accesses need a check, what may be
//! assumed of memory. Operators are translated by family, one file each: [`control`], [`numeric`], [`memory`],
//! [`bulk`], [`table`], [`global`], [`reference`], [`call`] and [`simd`].

mod address_locals;
mod body;
mod bulk;
mod call;
mod canon;
mod control;
mod frame;
mod global;
mod glue;
mod helper;
mod init;
mod limits;
mod locals;
mod memory;
mod meter;
mod numeric;
mod reference;
mod signature;
mod simd;
mod support;
mod table;
mod thunks;
mod translator;

use cranelift_codegen::ir::{Function, UserFuncName, Value};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use precast_abi::types::returns_in_registers;
use wasmparser::FuncValidatorAllocations;

use self::translator::{FuncTranslator, Home};
use crate::Error;
use crate::program::{Group, Program, Symbol, TypeId};

pub(crate) use self::body::function;
pub(crate) use self::canon::{GlueHelper, ResourceFunc, Shapes, adapter, glue, resource};
pub(crate) use self::glue::forward;
pub(crate) use self::helper::helper;
pub(crate) use self::init::init;
pub(crate) use self::thunks::{entry_thunk, host_thunk, import_stub};

/// Memory that is used again from function to function; each thread has its own.
#[derive(Default)]
pub(crate) struct Scratch {
    builder: FunctionBuilderContext,
    allocations: FuncValidatorAllocations,
}

/// How a function is called.
#[derive(Clone, Copy)]
enum Entry {
    /// By compiled code, as a function of the type.
    Function(TypeId),
    /// By the host, to call a function of the type.
    Border(TypeId),
    /// By compiled code, as a helper.
    Helper,
    /// By compiled code, as code that glue shares.
    Glue(GlueHelper),
}

/// Makes a function of `group` whose code is what `body` emits, given the parameters after base and return area, and
/// which has no index spaces.
fn build(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    symbol: Symbol,
    entry: Entry,
    group: Group,
    scratch: &mut FunctionBuilderContext,
    body: impl FnOnce(&mut FuncTranslator<'_>, &[Value]) -> Result<(), Error>,
) -> Result<Function, Error> {
    build_at(program, isa, symbol, entry, Home { env: &program.no_env, group }, scratch, body)
}

/// The same for a function with index spaces.
fn build_at<'p>(
    program: &'p Program<'p>,
    isa: &dyn TargetIsa,
    symbol: Symbol,
    entry: Entry,
    home: Home<'p>,
    scratch: &mut FunctionBuilderContext,
    body: impl FnOnce(&mut FuncTranslator<'_>, &[Value]) -> Result<(), Error>,
) -> Result<Function, Error> {
    let (ty, signature, wide) = match entry {
        Entry::Function(ty) => {
            let wide = !returns_in_registers(&program.types[ty].results);
            (ty, signature::function(&program.types[ty]), wide)
        }
        Entry::Border(ty) => (ty, signature::border(), false),
        Entry::Helper => (TypeId::from_u32(0), signature::helper(), false),
        Entry::Glue(helper) => (TypeId::from_u32(0), helper.signature(), false),
    };
    let mut function = Function::with_name_signature(UserFuncName::User(symbol.to_external_name()), signature);
    let mut builder = FunctionBuilder::new(&mut function, scratch);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    let params = builder.block_params(block).to_vec();
    let (return_area, arguments) = if wide { (Some(params[1]), &params[2..]) } else { (None, &params[1..]) };

    let mut translator = FuncTranslator::new(builder, program, home, ty, params[0], return_area);
    match body(&mut translator, arguments) {
        Ok(()) => {
            translator.builder.finalize(isa.frontend_config());
            Ok(function)
        }
        Err(error) => {
            drop(translator);
            // An unfinished function leaves its traces there.
            *scratch = FunctionBuilderContext::new();
            Err(error)
        }
    }
}
