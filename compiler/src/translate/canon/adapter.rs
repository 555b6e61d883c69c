//! An adapter as a whole: who may call, parameters, the call, the result, and what is to be done afterwards.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_abi::component::{InstanceState, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, Primitive};
use precast_abi::trap::TrapCode;

use super::super::translator::{FuncTranslator, trap_code};
use super::access::{Allocation, Bad, Range};
use super::handle::{Lends, lends_in_branches};
use super::shape::Shape;
use super::transfer::{Source, Target, Transfer};
use crate::Error;
use crate::component::linkage::Type;
use crate::component::program::{Adapter, ComponentProgram, Side};

/// Calls the callee of the adapter with the caller's arguments.
pub(super) fn emit(
    t: &mut FuncTranslator<'_>,
    component: &ComponentProgram,
    adapter: &Adapter,
    arguments: &[Value],
) -> Result<(), Error> {
    t.check_may_leave(component, adapter.caller.instance);
    if adapter.recursive {
        t.ins().trap(trap_code(TrapCode::CannotEnter));
        return Ok(());
    }
    let shapes = &component.shapes;
    let ty = &component.func_types[adapter.caller_ty];
    let params: Vec<Type> = ty.params.iter().map(|(_, ty)| *ty).collect();
    let shape = shapes.record(params.iter().copied());
    shape.check()?;
    if let Some(ty) = ty.result {
        shapes.of(ty).check()?;
    }
    let call = Call { component, adapter, params, shape, result: ty.result };
    call.emit(t, arguments)
}

/// A call through an adapter.
struct Call<'c> {
    component: &'c ComponentProgram,
    adapter: &'c Adapter,
    params: Vec<Type>,
    /// Of the parameters, as a record.
    shape: Shape,
    result: Option<Type>,
}

impl Call<'_> {
    fn emit(&self, t: &mut FuncTranslator<'_>, arguments: &[Value]) -> Result<(), Error> {
        let (component, adapter) = (self.component, self.adapter);
        let has_borrows = |ty: Type| !self.component.shapes.of(ty).borrows.is_empty();
        let in_branches = self.params.iter().any(|ty| lends_in_branches(component, *ty, &has_borrows));
        let mut lends = Lends::begin(t, component, in_branches);
        let callee_arguments = self.params(t, arguments, &mut lends)?;

        if self.is_over_after_call() && lends.is_empty() {
            return t.tail_call_core(adapter.callee_func, &adapter.callee_core, &callee_arguments);
        }
        let callee_results = t.call_core(adapter.callee_func, &adapter.callee_core, &callee_arguments)?;
        if self.callee_borrows() {
            let state = t.instance_state(component, adapter.callee.instance);
            let remaining = t.state_word(state, InstanceState::BORROWS);
            t.ins().trapnz(remaining, trap_code(TrapCode::BorrowsRemain));
        }
        let results = self.result(t, arguments, &callee_results)?;
        if let Some(post_return) = adapter.callee.post_return {
            let ty = precast_abi::types::FuncType { params: adapter.callee_core.results.clone(), results: Vec::new() };
            t.call_confined(component, adapter.callee.instance, post_return, &ty, &callee_results)?;
        }
        lends.end(t);
        t.ins().return_(&results);
        Ok(())
    }

    /// The callee's arguments.
    fn params(&self, t: &mut FuncTranslator<'_>, arguments: &[Value], lends: &mut Lends) -> Result<Vec<Value>, Error> {
        let (caller, callee) = (&self.adapter.caller, &self.adapter.callee);
        let mut transfer = self.transfer(t, caller, callee, lends);
        let params = self.params.iter().copied();
        let mut values = Vec::new();
        if self.shape.is_flat(MAX_FLAT_PARAMS) {
            transfer.fields(params, Source::Flat(arguments), Target::Flat(&mut values))?;
        } else {
            let from = in_memory(transfer.t, caller, &self.shape, arguments.first())?;
            let size = transfer.t.i32(self.shape.size as u32);
            let to = transfer.allocate(Allocation { old: None, align: self.shape.align, size })?;
            transfer.fields(params, Source::Memory(from.place()), Target::Memory(to.place()))?;
            values.push(to.pointer);
        }
        Ok(values)
    }

    /// The caller's results.
    fn result(
        &self,
        t: &mut FuncTranslator<'_>,
        arguments: &[Value],
        callee_results: &[Value],
    ) -> Result<Vec<Value>, Error> {
        let Some(ty) = self.result else { return Ok(Vec::new()) };
        let shape = self.component.shapes.of(ty);
        let (caller, callee) = (&self.adapter.caller, &self.adapter.callee);
        // No result has a borrowed handle in it.
        let mut lends = Lends::default();
        let mut transfer = self.transfer(t, callee, caller, &mut lends);
        let mut values = Vec::new();
        if shape.is_flat(MAX_FLAT_RESULTS) {
            transfer.value(ty, Source::Flat(callee_results), Target::Flat(&mut values))?;
        } else {
            let from = in_memory(transfer.t, callee, shape, callee_results.first())?;
            let to = in_memory(transfer.t, caller, shape, arguments.last())?;
            transfer.value(ty, Source::Memory(from.place()), Target::Memory(to.place()))?;
        }
        Ok(values)
    }

    fn transfer<'t, 'a, 'f>(
        &'a self,
        t: &'t mut FuncTranslator<'f>,
        from: &'a Side,
        to: &'a Side,
        lends: &'t mut Lends,
    ) -> Transfer<'t, 'a, 'f> {
        Transfer { t, component: self.component, from, to, lends, conditional: 0 }
    }

    /// Whether the callee's result is the caller's, and nothing has to be done for either.
    fn is_over_after_call(&self) -> bool {
        let same = match self.result {
            None => true,
            Some(Type::Primitive(primitive)) => matches!(
                primitive,
                Primitive::S32 | Primitive::U32 | Primitive::S64 | Primitive::U64 | Primitive::F32 | Primitive::F64
            ),
            Some(Type::Row(_)) => false,
        };
        same && self.adapter.callee.post_return.is_none() && !self.callee_borrows()
    }

    /// Whether the callee may be given handles that it has to drop.
    fn callee_borrows(&self) -> bool {
        let callee = Some(self.adapter.callee.instance);
        self.shape.borrows.iter().any(|resource| self.component.resources[*resource].definer != callee)
    }
}

/// Values of this shape in a side's memory, to which it has a pointer.
fn in_memory(t: &mut FuncTranslator<'_>, side: &Side, shape: &Shape, pointer: Option<&Value>) -> Result<Range, Error> {
    let pointer = *pointer.ok_or_else(|| Error::internal("glue", "a pointer to values in memory is missing"))?;
    let size = t.ins().iconst(I64, shape.size.cast_signed());
    t.check_range(side, pointer, size, Bad { align: shape.align, outside: TrapCode::ListOutOfBounds })
}
