//! What the functions in the text are called: in backtraces, and in the symbol table for other people's tools.

use std::ops::Range;

use precast_abi::meta::FunctionKind;

use super::LinkInput;
use crate::program::{FuncBody, Program, Symbol};

/// A function in the text.
pub(super) struct TextFunction {
    /// Its name: any UTF-8, not necessarily unique.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: FunctionKind,
    /// See [`FunctionKind`].
    pub(super) index: u32,
    /// Where in the text it is.
    pub(super) range: Range<u32>,
}

/// All functions, in the order of the text.
pub(super) fn functions(input: &LinkInput<'_>) -> Vec<TextFunction> {
    let program = input.program;
    let describe = |(position, symbol)| {
        let (kind, index) = kind(program, symbol)?;
        let name = program.symbol_name(symbol);
        Some(TextFunction { name, kind, index, range: input.text.range(position) })
    };
    input.functions.iter().map(|function| function.symbol).enumerate().filter_map(describe).collect()
}

/// How the function table describes a symbol; the start of the text is a place and no function.
pub(crate) fn kind(program: &Program<'_>, symbol: Symbol) -> Option<(FunctionKind, u32)> {
    Some(match symbol {
        Symbol::Function(func) => match program.funcs[func].body {
            FuncBody::Wasm(_, index) => (FunctionKind::Wasm, index),
            _ => (FunctionKind::Glue, func.as_u32()),
        },
        Symbol::ImportStub(func) => (FunctionKind::ImportStub, program.func_imports[func].row),
        Symbol::HostThunk(func) => (FunctionKind::HostThunk, program.func_imports[func].row),
        Symbol::EntryThunk(ty) => (FunctionKind::EntryThunk, ty.as_u32()),
        Symbol::Init => (FunctionKind::Init, 0),
        Symbol::Helper(helper, _) => (FunctionKind::Helper, helper as u32),
        Symbol::Glue(helper) => (FunctionKind::Glue, helper as u32),
        Symbol::TextStart => return None,
    })
}
