//! The program as text: Cranelift's intermediate representation, or assembly.

use std::fmt::Write;

use cranelift_codegen::isa::TargetIsa;
use rayon::prelude::*;

use crate::Error;
use crate::lower::{CompiledFunction, all_or_first_error, translate_symbol};
use crate::program::Program;
use crate::translate::Scratch;

/// `--emit=clif`: what is handed to Cranelift.
pub(crate) fn clif(program: &Program<'_>, isa: &dyn TargetIsa) -> Result<Vec<u8>, Error> {
    let functions = program
        .symbols()
        .par_iter()
        .map_init(Scratch::default, |scratch, symbol| {
            let function = translate_symbol(program, isa, *symbol, scratch)?;
            Ok(format!("; {}\n{}\n", program.symbol_name(*symbol), function.display()))
        })
        .collect();
    Ok(all_or_first_error(functions)?.concat().into_bytes())
}

/// `--emit=asm`: what comes out of it.
pub(crate) fn asm(program: &Program<'_>, functions: &[CompiledFunction]) -> Result<Vec<u8>, Error> {
    let mut out = String::new();
    for function in functions {
        let asm = function.asm.as_deref().unwrap_or_default();
        writeln!(out, "; {}\n{asm}", program.symbol_name(function.symbol))
            .map_err(|error| Error::internal("asm", error))?;
    }
    Ok(out.into_bytes())
}
