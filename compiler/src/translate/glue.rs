//! Calls and addresses across groups: what the glue between instances is made of.

use cranelift_codegen::ir::{Function, InstBuilder, Value};
use cranelift_codegen::isa::TargetIsa;

use super::call::{Callee, Tail};
use super::translator::FuncTranslator;
use super::{Entry, Scratch, build};
use crate::Error;
use crate::component::linkage::CoreInstance;
use crate::program::{DefinedFunc, FuncDef, FuncPlace, Group, Program, Symbol, TypeId};

/// Calls a function of another group.
pub(crate) fn forward(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    func: DefinedFunc,
    to: FuncPlace,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    let FuncDef { ty, group, .. } = program.funcs[func];
    let (symbol, entry) = (Symbol::Function(func), Entry::Function(ty));
    build(program, isa, symbol, entry, group, &mut scratch.builder, |t, arguments| {
        t.call_place(to, ty, arguments, Tail::Yes);
        Ok(())
    })
}

impl FuncTranslator<'_> {
    /// The base of a group.
    pub(super) fn group_base(&mut self, group: Group) -> Value {
        let base = self.base;
        match self.program.distance(self.group, group) {
            0 => base,
            distance => self.ins().iadd_imm_s(base, distance),
        }
    }

    /// The program's base, which is that of the first group.
    pub(super) fn program_base(&mut self) -> Value {
        self.group_base(Group::FIRST)
    }

    /// Calls a function of the program, in whatever group, by its place.
    pub(super) fn call_place(&mut self, place: FuncPlace, ty: TypeId, arguments: &[Value], tail: Tail) -> Vec<Value> {
        let callee = Callee::Direct(self.function_ref(place.symbol(), ty));
        let base = self.group_base(self.program.group_of(place));
        self.call(callee, base, ty, arguments, tail)
    }

    /// Translates for an instance from here on.
    pub(super) fn move_to(&mut self, instance: CoreInstance) {
        let instance = &self.program.instances[instance];
        if instance.group != self.group {
            self.base = self.group_base(instance.group);
            self.group = instance.group;
        }
        self.env = &instance.env;
    }
}
