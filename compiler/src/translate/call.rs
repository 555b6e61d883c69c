//! Calls: direct, of imports, through tables, and of builtins.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    Block, ExtFuncData, ExternalName, FuncRef, Inst, InstBuilder, InstructionData, SigRef, StackSlotData,
    StackSlotKind, Value,
};
use precast_abi::funcref::FOREIGN_TYPE;
use precast_abi::host::{FuncImport, HostWords};
use precast_abi::trap::TrapCode;
use precast_abi::types::{ValType, returns_in_registers};
use precast_builtins::Builtin;
use wasmparser::Operator;

use super::reference::PAYLOAD_SHIFT;
use super::signature::{self, clif_type, has_funcref};
use super::translator::{FuncTranslator, Region, trap_code};
use crate::program::{FuncPlace, Helper, ImportedFunc, Symbol, TablePlace, TypeId};

/// Alignment of cells on the stack, as a power of two: that of a vector.
const CELLS_ALIGN_LOG2: u8 = 4;

/// What is called.
#[derive(Clone, Copy)]
pub(super) enum Callee {
    /// A function or stub of this program.
    Direct(FuncRef),
    /// An address.
    Address(Value),
}

/// Whether a call returns to the function or ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Its results are the next operands.
    No,
    /// Its results are the function's.
    Yes,
}

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::Call { function_index } => t.call_function(*function_index, Tail::No),
        Operator::ReturnCall { function_index } => t.call_function(*function_index, Tail::Yes),
        Operator::CallIndirect { type_index, table_index } => t.call_table(*table_index, *type_index, Tail::No),
        Operator::ReturnCallIndirect { type_index, table_index } => t.call_table(*table_index, *type_index, Tail::Yes),
        _ => return false,
    }
    true
}

impl FuncTranslator<'_> {
    /// Pops the arguments of a function of the module's index space, calls it and pushes the results.
    pub(super) fn call_function(&mut self, func: u32, tail: Tail) {
        self.spill_fuel();
        let (place, ty) = self.env.funcs[func as usize];
        let arguments = self.pop_many(self.program.types[ty].params.len());
        let results = match place {
            FuncPlace::Imported(import) if !has_funcref(&self.program.types[ty]) => {
                let (code, base) = self.import(import);
                self.call(Callee::Address(code), base, ty, &arguments, tail)
            }
            FuncPlace::Imported(import) => {
                let callee = Callee::Direct(self.function_ref(Symbol::ImportStub(import), ty));
                self.call(callee, self.base, ty, &arguments, tail)
            }
            place => self.call_place(place, ty, &arguments, tail),
        };
        self.finish_call(&results, tail);
    }

    /// `call_indirect`: pops the index and the arguments, pushes the results.
    fn call_table(&mut self, table: u32, ty: u32, tail: Tail) {
        self.spill_fuel();
        let ty = self.env.types[ty as usize];
        let index = self.pop();
        let arguments = self.pop_many(self.program.types[ty].params.len());
        let results = match self.env.tables[table as usize].place {
            _ if let Some(place) = self.known_element(table, index, ty) => self.call_place(place, ty, &arguments, tail),
            TablePlace::Own { elements, .. } => {
                let address = self.own_element(table, index, TrapCode::UndefinedElement);
                let flags = self.flags(Region::Tables);
                let reference = self.ins().load(I64, flags, address, elements);
                self.call_reference(reference, ty, &arguments, tail)
            }
            TablePlace::Imported { .. } => {
                let (row, index, wanted) = (self.table_row(table), self.extend(index), self.i32(ty.as_u32()));
                let callee = self.call_builtin(Builtin::table_callee, &[row, index, wanted]);
                self.trap_without_callee(callee[0], callee[1]);
                self.call_elsewhere(callee[0], callee[1], ty, &arguments, tail)
            }
        };
        self.finish_call(&results, tail);
    }

    /// The function at `index` of a table, if both are constant and the function is of type `ty`.
    fn known_element(&self, table: u32, index: Value, ty: TypeId) -> Option<FuncPlace> {
        let elements = self.program.constant_tables.get(&self.env.tables[table as usize].row)?;
        let inst = self.builder.func.dfg.value_def(index).inst()?;
        let InstructionData::UnaryImm { imm, .. } = self.builder.func.dfg.insts[inst] else { return None };
        let (owner, func) = (*elements.get(usize::try_from(imm.bits()).ok()?)?)?;
        let (place, found) = self.program.instances[owner].env.funcs[func as usize];
        (found == ty).then_some(place)
    }

    /// Calls what a reference in the instance's own encoding refers to. All that is not an own function of exactly the
    /// type is told apart in a cold block.
    fn call_reference(&mut self, reference: Value, ty: TypeId, arguments: &[Value], tail: Tail) -> Vec<Value> {
        let found = self.ins().ireduce(I32, reference);
        let matches = self.ins().icmp_imm_u(IntCC::Equal, found, i64::from(ty.as_u32()));
        let (own, other) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(other);
        self.ins().brif(matches, own, &[], other, &[]);

        self.builder.switch_to_block(other);
        self.builder.seal_block(other);
        self.ins().trapz(found, trap_code(TrapCode::UninitializedElement));
        if !self.program.foreign_funcrefs {
            self.ins().trap(trap_code(TrapCode::IndirectCallTypeMismatch));
            self.builder.switch_to_block(own);
            self.builder.seal_block(own);
            let code = self.referenced_code(reference);
            return self.call(Callee::Address(code), self.base, ty, arguments, tail);
        }
        let foreign = self.ins().icmp_imm_u(IntCC::Equal, found, i64::from(FOREIGN_TYPE));
        self.ins().trapz(foreign, trap_code(TrapCode::IndirectCallTypeMismatch));
        let payload = self.ins().ushr_imm_u(reference, PAYLOAD_SHIFT);
        let (payload, wanted) = (self.ins().ireduce(I32, payload), self.i32(ty.as_u32()));
        let callee = self.call_builtin(Builtin::foreign_callee, &[payload, wanted]);
        self.ins().trapz(callee[0], trap_code(TrapCode::IndirectCallTypeMismatch));
        let results = self.call_elsewhere(callee[0], callee[1], ty, arguments, tail);
        let join = self.join(ty, &results, tail);

        self.builder.switch_to_block(own);
        self.builder.seal_block(own);
        let code = self.referenced_code(reference);
        let results = self.call(Callee::Address(code), self.base, ty, arguments, tail);
        self.joined(join, results)
    }

    /// Calls code that may be another instance's, with its base. References are translated there and back if it is; if
    /// there are any among the results, a tail call is then an ordinary one, for they have to be translated after it.
    pub(super) fn call_elsewhere(
        &mut self,
        code: Value,
        base: Value,
        ty: TypeId,
        arguments: &[Value],
        tail: Tail,
    ) -> Vec<Value> {
        if !has_funcref(&self.program.types[ty]) {
            return self.call(Callee::Address(code), base, ty, arguments, tail);
        }
        let own_base = self.base;
        let is_here = self.ins().icmp(IntCC::Equal, base, own_base);
        let (here, elsewhere) = (self.builder.create_block(), self.builder.create_block());
        self.ins().brif(is_here, here, &[], elsewhere, &[]);

        self.builder.switch_to_block(elsewhere);
        self.builder.seal_block(elsewhere);
        let (params, result_types) = (&self.program.types[ty].params, &self.program.types[ty].results);
        let arguments_there = self.translate_references(Builtin::funcref_to, base, params, arguments);
        let join = if tail == Tail::Yes && !result_types.contains(&ValType::FuncRef) {
            self.call(Callee::Address(code), base, ty, &arguments_there, Tail::Yes);
            None
        } else {
            let results = self.call(Callee::Address(code), base, ty, &arguments_there, Tail::No);
            let results = self.translate_references(Builtin::funcref_from, base, result_types, &results);
            if tail == Tail::Yes {
                self.emit_return(&results);
            }
            self.join(ty, &results, tail)
        };

        self.builder.switch_to_block(here);
        self.builder.seal_block(here);
        let results = self.call(Callee::Address(code), self.base, ty, arguments, tail);
        self.joined(join, results)
    }

    fn translate_references(
        &mut self,
        builtin: Builtin,
        base: Value,
        types: &[ValType],
        values: &[Value],
    ) -> Vec<Value> {
        let mut translated = values.to_vec();
        for (value, ty) in translated.iter_mut().zip(types) {
            if *ty == ValType::FuncRef {
                *value = self.call_builtin(builtin, &[base, *value])[0];
            }
        }
        translated
    }

    /// Traps with the number `code` of a trap if there is no callee.
    fn trap_without_callee(&mut self, callee: Value, code: Value) {
        let (none, some) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(none);
        self.ins().brif(callee, some, &[], none, &[]);
        self.builder.switch_to_block(none);
        self.builder.seal_block(none);
        for possible in [TrapCode::UndefinedElement, TrapCode::UninitializedElement] {
            let is_it = self.ins().icmp_imm_u(IntCC::Equal, code, possible as i64);
            self.ins().trapnz(is_it, trap_code(possible));
        }
        self.ins().trap(trap_code(TrapCode::IndirectCallTypeMismatch));
        self.builder.switch_to_block(some);
        self.builder.seal_block(some);
    }

    /// Ends a way to call with a jump to where all ways meet, unless it ended the function.
    fn join(&mut self, ty: TypeId, results: &[Value], tail: Tail) -> Option<Block> {
        if tail == Tail::Yes {
            return None;
        }
        let join = self.block_with_params(&self.program.types[ty].results);
        self.jump_with(join, results);
        Some(join)
    }

    /// Ends the last way to call and continues where all ways meet, with the results.
    fn joined(&mut self, join: Option<Block>, results: Vec<Value>) -> Vec<Value> {
        let Some(join) = join else { return results };
        self.jump_with(join, &results);
        self.builder.switch_to_block(join);
        self.builder.seal_block(join);
        self.builder.block_params(join).to_vec()
    }

    fn finish_call(&mut self, results: &[Value], tail: Tail) {
        match tail {
            Tail::No => {
                self.stack.extend_from_slice(results);
                self.reload_fuel();
            }
            Tail::Yes => self.set_dead(),
        }
    }

    /// Code and base of an import.
    pub(super) fn import(&mut self, import: ImportedFunc) -> (Value, Value) {
        let cell = self.program.func_imports[import].cell;
        (self.host_word(cell + FuncImport::CODE), self.host_word(cell + FuncImport::BASE))
    }

    /// Calls with the convention of compiled functions. A tail call ends the block and has no results.
    pub(super) fn call(
        &mut self,
        callee: Callee,
        base: Value,
        ty: TypeId,
        arguments: &[Value],
        tail: Tail,
    ) -> Vec<Value> {
        let results = &self.program.types[ty].results;
        let area = match self.return_area {
            _ if returns_in_registers(results) => None,
            Some(area) if tail == Tail::Yes => Some(area),
            _ => Some(self.cells(results.iter().map(|ty| ty.cells()).sum())),
        };
        let inst = self.emit_call(callee, base, area, ty, arguments, tail);
        match area {
            _ if tail == Tail::Yes => Vec::new(),
            None => self.builder.inst_results(inst).to_vec(),
            Some(area) => self.load_cells(area, results),
        }
    }

    /// Emits the instruction that calls. `area` is where wide results go.
    pub(super) fn emit_call(
        &mut self,
        callee: Callee,
        base: Value,
        area: Option<Value>,
        ty: TypeId,
        arguments: &[Value],
        tail: Tail,
    ) -> Inst {
        self.cost.move_operands(arguments.len() + self.program.types[ty].results.len());
        let mut values = Vec::with_capacity(arguments.len() + 2);
        values.push(base);
        values.extend(area);
        values.extend_from_slice(arguments);
        match (callee, tail) {
            (Callee::Direct(function), Tail::No) => self.ins().call(function, &values),
            (Callee::Direct(function), Tail::Yes) => self.ins().return_call(function, &values),
            (Callee::Address(address), tail) => {
                let signature = self.function_signature(ty);
                match tail {
                    Tail::No => self.ins().call_indirect(signature, address, &values),
                    Tail::Yes => self.ins().return_call_indirect(signature, address, &values),
                }
            }
        }
    }

    /// Calls a function of the loader.
    pub(super) fn call_builtin(&mut self, builtin: Builtin, arguments: &[Value]) -> Vec<Value> {
        let signature = match self.builtins.get(&builtin) {
            Some(signature) => *signature,
            None => {
                let signature = self.builder.import_signature(signature::builtin(builtin));
                *self.builtins.entry(builtin).or_insert(signature)
            }
        };
        let (words, code) = self.builtin_row(builtin as i32);
        let mut values = vec![words];
        values.extend_from_slice(arguments);
        let inst = self.ins().call_indirect(signature, code, &values);
        self.builder.inst_results(inst).to_vec()
    }

    /// The address of the host words, and a row of the table of builtins.
    pub(super) fn builtin_row(&mut self, row: i32) -> (Value, Value) {
        let (base, distance) = (self.base, self.program.host_words(self.group));
        let words = self.ins().iadd_imm_s(base, distance);
        let table = self.ins().load(I64, Self::constant_flags(), words, HostWords::BUILTINS);
        (words, self.ins().load(I64, Self::constant_flags(), table, row * 8))
    }

    /// Calls a helper.
    pub(super) fn call_helper(&mut self, helper: Helper, arguments: [Value; 3]) -> Value {
        let function = self.function_ref(Symbol::Helper(helper, self.group), self.ty);
        let [first, second, third] = arguments;
        let values = [self.base, first, second, third];
        let inst = self.ins().call(function, &values);
        self.builder.inst_results(inst)[0]
    }

    /// The function's name for a symbol of the program. Helpers have a signature of their own, whatever `ty`.
    pub(super) fn function_ref(&mut self, symbol: Symbol, ty: TypeId) -> FuncRef {
        if let Some(function) = self.functions.get(&symbol) {
            return *function;
        }
        let signature = match symbol {
            Symbol::Helper(..) => self.builder.import_signature(signature::helper()),
            _ => self.function_signature(ty),
        };
        let name = self.builder.func.declare_imported_user_function(symbol.to_external_name());
        let data = ExtFuncData { name: ExternalName::user(name), signature, colocated: true, patchable: false };
        let function = self.builder.import_function(data);
        self.functions.insert(symbol, function);
        function
    }

    fn function_signature(&mut self, ty: TypeId) -> SigRef {
        if let Some(signature) = self.signatures.get(&ty) {
            return *signature;
        }
        let signature = self.builder.import_signature(signature::function(&self.program.types[ty]));
        self.signatures.insert(ty, signature);
        signature
    }

    /// The address of a number of 8-byte cells on the stack, for one call: all calls of the function share them.
    pub(super) fn cells(&mut self, count: usize) -> Value {
        let slots = &mut self.builder.func.sized_stack_slots;
        let slot = *self
            .cells
            .get_or_insert_with(|| slots.push(StackSlotData::new(StackSlotKind::ExplicitSlot, 0, CELLS_ALIGN_LOG2)));
        // A function type has at most a thousand results, of at most two cells each.
        slots[slot].size = slots[slot].size.max(count as u32 * 8);
        self.ins().stack_addr(I64, slot, 0)
    }

    /// Stores values into cells.
    pub(super) fn store_cells(&mut self, cells: Value, values: &[Value]) {
        let flags = self.flags(Region::Cells);
        let mut offset = 0;
        for value in values {
            self.ins().store(flags, *value, cells, offset);
            offset += if self.type_of(*value).bits() == 128 { 16 } else { 8 };
        }
    }

    /// Loads values from cells.
    pub(super) fn load_cells(&mut self, cells: Value, types: &[ValType]) -> Vec<Value> {
        let flags = self.flags(Region::Cells);
        let mut offset = 0;
        let mut values = Vec::with_capacity(types.len());
        for ty in types {
            values.push(self.ins().load(clif_type(*ty), flags, cells, offset));
            offset += ty.cells() as i32 * 8;
        }
        values
    }
}
