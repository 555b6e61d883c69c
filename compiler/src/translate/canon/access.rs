//! Places that glue reads and writes: checked ranges of a side's memory, what its `realloc` returns, and the state of
//! component instances in the block.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{BlockArg, ExtFuncData, ExternalName, FuncRef, InstBuilder, Value};
use precast_abi::component::{InstanceState, MAX_BYTE_LENGTH};
use precast_abi::host::HostWords;
use precast_abi::trap::TrapCode;
use precast_abi::types::{FuncType, ValType};

use super::super::signature;
use super::super::translator::{FuncTranslator, Region, trap_code};
use super::glue::GlueHelper;
use crate::Error;
use crate::component::linkage::ComponentInstance;
use crate::component::program::{ComponentProgram, Side};
use crate::program::{FuncPlace, Group, Memory, MemoryPlace, Symbol};

/// A place in memory whose bytes are known to be inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// A native address.
    pub(super) address: Value,
    /// Added to the address.
    pub(super) offset: i32,
}

impl Place {
    /// The place `offset` bytes further on.
    pub(super) fn at(self, offset: u64) -> Self {
        // No type is larger than `MAX_BYTE_LENGTH`.
        Place { offset: self.offset + offset as i32, ..self }
    }
}

/// Bytes of a guest's memory: its pointer to them, and where they really are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// The 32-bit pointer.
    pub(super) pointer: Value,
    /// The native address.
    pub(super) address: Value,
}

impl Range {
    pub(super) fn place(self) -> Place {
        Place { address: self.address, offset: 0 }
    }
}

/// How a pointer is found to be bad.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bad {
    /// A multiple of this.
    pub(super) align: u64,
    /// What it traps with if it is not inside.
    pub(super) outside: TrapCode,
}

/// What `realloc` allocates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allocation {
    /// What is there: pointer and size, 32 bits each.
    pub(super) old: Option<(Value, Value)>,
    /// Alignment in bytes.
    pub(super) align: u64,
    /// Size in bytes, 32 bits.
    pub(super) size: Value,
}

impl FuncTranslator<'_> {
    /// The address at an offset from the program's base.
    pub(super) fn in_program(&mut self, offset: i64) -> Value {
        let distance = self.program.distance(self.group, Group::FIRST) + offset;
        let base = self.base;
        if distance == 0 { base } else { self.ins().iadd_imm_s(base, distance) }
    }

    /// Reads a 32-bit word of glue's state.
    pub(super) fn state_word(&mut self, address: Value, offset: i32) -> Value {
        let flags = self.flags(Region::Glue);
        self.ins().load(I32, flags, address, offset)
    }

    /// Writes a 32-bit word of glue's state.
    pub(super) fn set_state_word(&mut self, value: Value, address: Value, offset: i32) {
        let flags = self.flags(Region::Glue);
        self.ins().store(flags, value, address, offset);
    }

    /// Traps if `bad` is not zero, with a number for the message.
    pub(super) fn trap_with_detail(&mut self, bad: Value, code: TrapCode, detail: Value) {
        let (cold, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(cold);
        self.ins().brif(bad, cold, &[], next, &[]);
        self.enter(cold);
        self.set_detail(detail);
        self.ins().trap(trap_code(code));
        self.enter(next);
    }

    /// Notes a number for the message of the trap that follows.
    pub(super) fn set_detail(&mut self, detail: Value) {
        let words = self.in_program(self.program.host_words(Group::FIRST));
        let flags = self.flags(Region::Glue);
        self.ins().store(flags, detail, words, HostWords::DETAIL);
    }

    /// Continues in a block that nothing more will branch to.
    pub(super) fn enter(&mut self, block: cranelift_codegen::ir::Block) {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
    }

    /// Jumps to a block with these values.
    pub(super) fn jump_to(&mut self, block: cranelift_codegen::ir::Block, values: &[Value]) {
        let values: Vec<BlockArg> = values.iter().map(|value| BlockArg::Value(*value)).collect();
        self.ins().jump(block, &values);
    }

    /// Calls a core function of the program, in whatever group.
    pub(super) fn call_core(
        &mut self,
        place: FuncPlace,
        ty: &FuncType,
        arguments: &[Value],
    ) -> Result<Vec<Value>, Error> {
        let (function, values) = self.prepare_call(place, ty, arguments)?;
        let inst = self.ins().call(function, &values);
        Ok(self.builder.inst_results(inst).to_vec())
    }

    /// The same as a tail call, which ends the block.
    pub(super) fn tail_call_core(&mut self, place: FuncPlace, ty: &FuncType, arguments: &[Value]) -> Result<(), Error> {
        let (function, values) = self.prepare_call(place, ty, arguments)?;
        self.ins().return_call(function, &values);
        Ok(())
    }

    fn prepare_call(
        &mut self,
        place: FuncPlace,
        ty: &FuncType,
        arguments: &[Value],
    ) -> Result<(FuncRef, Vec<Value>), Error> {
        if place == FuncPlace::Unreached {
            return Err(Error::internal("glue", "it calls a function that is not compiled"));
        }
        let function = self.named_function(place.symbol(), || signature::function(ty));
        let base = self.group_base(self.program.group_of(place));
        let values = [&[base], arguments].concat();
        Ok((function, values))
    }

    /// Calls code that glue shares; the program's base is added to the arguments.
    pub(super) fn call_glue(&mut self, helper: GlueHelper, arguments: &[Value]) -> Option<Value> {
        let function = self.named_function(Symbol::Glue(helper), || helper.signature());
        let values = [&[self.program_base()], arguments].concat();
        let inst = self.ins().call(function, &values);
        self.builder.inst_results(inst).first().copied()
    }

    fn named_function(
        &mut self,
        symbol: Symbol,
        signature: impl FnOnce() -> cranelift_codegen::ir::Signature,
    ) -> FuncRef {
        if let Some(function) = self.functions.get(&symbol) {
            return *function;
        }
        let signature = self.builder.import_signature(signature());
        let name = self.builder.func.declare_imported_user_function(symbol.to_external_name());
        let data = ExtFuncData { name: ExternalName::user(name), signature, colocated: true, patchable: false };
        let function = self.builder.import_function(data);
        self.functions.insert(symbol, function);
        function
    }

    /// The address of the state of a component instance.
    pub(super) fn instance_state(&mut self, component: &ComponentProgram, instance: ComponentInstance) -> Value {
        self.in_program(component.instances[instance].state)
    }

    /// Traps if the instance may not call anything now.
    pub(super) fn check_may_leave(&mut self, component: &ComponentProgram, instance: ComponentInstance) {
        if component.instances[instance].leaves_checked {
            let state = self.instance_state(component, instance);
            let flags = self.state_word(state, InstanceState::FLAGS);
            let forbidden = self.ins().band_imm_u(flags, i64::from(InstanceState::MAY_NOT_LEAVE_BIT));
            self.ins().trapnz(forbidden, trap_code(TrapCode::CannotLeave));
        }
    }

    /// Calls a function of the instance that may not call anything.
    pub(super) fn call_confined(
        &mut self,
        component: &ComponentProgram,
        instance: ComponentInstance,
        place: FuncPlace,
        ty: &FuncType,
        arguments: &[Value],
    ) -> Result<Vec<Value>, Error> {
        // It never is called while it is forbidden already, so that the flag need not be kept.
        self.set_may_not_leave(component, instance, InstanceState::MAY_NOT_LEAVE_BIT);
        let results = self.call_core(place, ty, arguments)?;
        self.set_may_not_leave(component, instance, 0);
        Ok(results)
    }

    fn set_may_not_leave(&mut self, component: &ComponentProgram, instance: ComponentInstance, flags: u32) {
        if component.instances[instance].leaves_checked {
            let (state, flags) = (self.instance_state(component, instance), self.i32(flags));
            self.set_state_word(flags, state, InstanceState::FLAGS);
        }
    }

    /// Makes sure that `size` bytes (64 bits) from `pointer` (32 bits) on are in the side's memory.
    pub(super) fn check_range(&mut self, side: &Side, pointer: Value, size: Value, bad: Bad) -> Result<Range, Error> {
        let (start, size_word) = self.memory_of(side)?;
        if bad.align > 1 {
            let low_bits = self.ins().band_imm_u(pointer, (bad.align - 1).cast_signed());
            self.ins().trapnz(low_bits, trap_code(TrapCode::UnalignedPointer));
        }
        let index = self.ins().uextend(I64, pointer);
        // Callers pass sizes of at most 2^64 - 2^33, so that this cannot overflow.
        let end = self.ins().iadd(index, size);
        let flags = self.flags(Region::Sizes);
        let bytes = self.ins().load(I64, flags, size_word.address, size_word.offset);
        let outside = self.ins().icmp(IntCC::UnsignedGreaterThan, end, bytes);
        self.ins().trapnz(outside, trap_code(bad.outside));
        Ok(Range { pointer, address: self.ins().iadd(start, index) })
    }

    /// Traps if a string or list has more bytes (64 bits) than the Canonical ABI allows.
    pub(super) fn check_byte_length(&mut self, bytes: Value) {
        let too_long = self.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, bytes, i64::from(MAX_BYTE_LENGTH));
        self.ins().trapnz(too_long, trap_code(TrapCode::TooLong));
    }

    /// Allocates by the side's `realloc`, and checks what it returns.
    pub(super) fn allocate(
        &mut self,
        component: &ComponentProgram,
        side: &Side,
        allocation: Allocation,
    ) -> Result<Range, Error> {
        let realloc = side.realloc.ok_or_else(|| Error::internal("glue", "a value in memory without a realloc"))?;
        let zero = self.i32(0);
        let (old, old_size) = allocation.old.unwrap_or((zero, zero));
        let align = self.i32(allocation.align as u32);
        let arguments = [old, old_size, align, allocation.size];
        let results = self.call_confined(component, side.instance, realloc, &realloc_type(), &arguments)?;
        let pointer = *results.first().ok_or_else(|| Error::internal("glue", "realloc has no result"))?;
        let size = self.ins().uextend(I64, allocation.size);
        let bad = Bad { align: allocation.align, outside: TrapCode::ReallocOutOfBounds };
        self.check_range(side, pointer, size, bad)
    }

    /// The address of a side's memory, and where its size is.
    fn memory_of(&mut self, side: &Side) -> Result<(Value, Place), Error> {
        let (group, memory) = memory(side)?;
        let MemoryPlace::Own { start, size_word, .. } = memory.place else {
            return Err(Error::internal("glue", "a memory of a component is imported"));
        };
        let base = self.group_base(group);
        let start = if start == 0 { base } else { self.ins().iadd_imm_s(base, start) };
        Ok((start, Place { address: base, offset: size_word }))
    }
}

/// A side's memory.
pub(super) fn memory(side: &Side) -> Result<(Group, Memory), Error> {
    side.memory.ok_or_else(|| Error::internal("glue", "a value in memory without a memory"))
}

fn realloc_type() -> FuncType {
    FuncType { params: vec![ValType::I32; 4], results: vec![ValType::I32] }
}
