//! The functions we add around the module's: where the host enters, where the host is called, and what a reference to
//! an import refers to.

use cranelift_codegen::ir::{Function, InstBuilder};
use cranelift_codegen::isa::TargetIsa;
use precast_abi::types::returns_in_registers;

use super::call::{Callee, Tail};
use super::{Entry, Scratch, build, signature};
use crate::Error;
use crate::program::Group;
use crate::program::{ImportedFunc, Program, Symbol, TypeId};

/// Row of the table of builtins with the loader's switch to a host function.
const HOST_CALL_ROW: i32 = -1;

/// Forwards to an imported function.
pub(crate) fn import_stub(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    import: ImportedFunc,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let ty = program.func_imports[import].ty;
    build(
        program,
        isa,
        Symbol::ImportStub(import),
        Entry::Function(ty),
        Group::FIRST,
        &mut scratch.builder,
        |t, arguments| {
            let (code, base) = t.import(import);
            t.call_elsewhere(code, base, ty, arguments, Tail::Yes);
            Ok(())
        },
    )
}

/// Calls the host function bound to an import. It needs little of the guest's stack: the loader's switch touches none,
/// and the arguments are in one slot.
pub(crate) fn host_thunk(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    import: ImportedFunc,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let row = program.func_imports[import];
    let ty = &program.types[row.ty];
    build(
        program,
        isa,
        Symbol::HostThunk(import),
        Entry::Function(row.ty),
        Group::FIRST,
        &mut scratch.builder,
        |t, arguments| {
            let values = t.cells(ty.cells());
            t.store_cells(values, arguments);
            let (words, host_call) = t.builtin_row(HOST_CALL_ROW);
            let base = t.base;
            let cell = t.ins().iadd_imm_s(base, i64::from(row.cell));
            let signature = t.builder.import_signature(signature::border());
            t.ins().call_indirect(signature, host_call, &[words, cell, values]);
            let results = t.load_cells(values, &ty.results);
            t.emit_return(&results);
            Ok(())
        },
    )
}

/// What the host calls to call a function of the type: `(base, code, values)`.
pub(crate) fn entry_thunk(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    ty: TypeId,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    build(program, isa, Symbol::EntryThunk(ty), Entry::Border(ty), Group::FIRST, &mut scratch.builder, |t, border| {
        let (code, values) = (border[0], border[1]);
        let arguments = t.load_cells(values, &program.types[ty].params);
        let results = &program.types[ty].results;
        if returns_in_registers(results) {
            let results = t.call(Callee::Address(code), t.base, ty, &arguments, Tail::No);
            t.store_cells(values, &results);
        } else {
            t.emit_call(Callee::Address(code), t.base, Some(values), ty, &arguments, Tail::No);
        }
        t.ins().return_(&[]);
        Ok(())
    })
}
