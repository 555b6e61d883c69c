//! What all operators share: the builder, the operand stack, the base, and entities of the function that are made once.

use std::collections::HashMap;

use cranelift_codegen::ir::{
    self, AliasRegion, AliasRegionData, Endianness, FuncRef, InstBuilder, MemFlagsData, SigRef, StackSlot, Value,
};
use cranelift_frontend::FunctionBuilder;
use precast_abi::trap::TrapCode;

use super::frame::Control;
use super::limits::Cost;
use super::locals::Locals;
use super::meter::Meter;
use crate::program::{Env, Group, Program, Symbol, TypeId};

/// Kinds of memory that never overlap, so that the code generator may assume that a store to one leaves the others
/// alone. The number is the region's `user_id`.
///
/// An imported memory, table or global may be the same as another imported one, but is never the instance's own: it
/// existed before the instance did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub(super) enum Region {
    /// The instance's own memories.
    Memory = 1,
    /// All imported memories.
    ImportedMemories = 2,
    /// Own globals.
    Globals = 3,
    /// All imported globals.
    ImportedGlobals = 4,
    /// Elements of own tables.
    Tables = 5,
    /// Sizes of own memories and tables, and lengths of segments.
    Sizes = 6,
    /// Sizes of imported memories and tables.
    ImportedSizes = 7,
    /// Cells in which values cross a call: stack slots and return areas.
    Cells = 8,
    /// State of the glue of a component.
    Glue = 9,
    /// The loader's context.
    Context = 10,
}

impl Region {
    const COUNT: usize = 11;

    fn description(self) -> &'static str {
        match self {
            Region::Memory => "own memory",
            Region::ImportedMemories => "imported memories",
            Region::Globals => "own globals",
            Region::ImportedGlobals => "imported globals",
            Region::Tables => "own tables",
            Region::Sizes => "own sizes",
            Region::ImportedSizes => "imported sizes",
            Region::Cells => "cells of a call",
            Region::Glue => "state of glue",
            Region::Context => "context",
        }
    }
}

/// Whose a function is.
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    /// What its index spaces mean.
    pub(super) env: &'a Env,
    /// The group whose base it takes.
    pub(super) group: Group,
}

/// Translates one function, be it one of the module's or one that we add.
pub(super) struct FuncTranslator<'a> {
    /// Where instructions go.
    pub(super) builder: FunctionBuilder<'a>,
    /// What is compiled.
    pub(super) program: &'a Program<'a>,
    /// What the function's index spaces mean.
    pub(super) env: &'a Env,
    /// The group whose base it takes.
    pub(super) group: Group,
    /// The group's base.
    pub(super) base: Value,
    /// Where wide results go, if the function's are.
    pub(super) return_area: Option<Value>,
    /// Type of the function.
    pub(super) ty: TypeId,
    /// Blocks the operator is in.
    pub(super) control: Control<'a>,
    /// WebAssembly's locals.
    pub(super) locals: Locals,
    /// Whether the `i32.load` that comes next loads a local that is used as an address.
    pub(super) load_is_address: bool,
    /// WebAssembly's operand stack. Vectors are always I8X16, references I64.
    pub(super) stack: Vec<Value>,
    /// Functions and signatures the function mentions, each once.
    pub(super) functions: HashMap<Symbol, FuncRef>,
    pub(super) signatures: HashMap<TypeId, SigRef>,
    pub(super) builtins: HashMap<precast_builtins::Builtin, SigRef>,
    /// Where values cross calls that do not take or return them in registers.
    pub(super) cells: Option<StackSlot>,
    regions: [Option<AliasRegion>; Region::COUNT],
    /// Whether this is the initialiser, in which what is constant elsewhere has yet to be written.
    pub(super) initialising: bool,
    /// What counts the operators that are executed, in a function of a module that is metered.
    pub(super) meter: Option<Meter>,
    /// What the function costs to compile beyond its length.
    pub(super) cost: Cost,
}

impl<'a> FuncTranslator<'a> {
    /// A translator for `builder`'s function, in whose current block `base` is defined.
    pub(super) fn new(
        builder: FunctionBuilder<'a>,
        program: &'a Program<'a>,
        home: Home<'a>,
        ty: TypeId,
        base: Value,
        return_area: Option<Value>,
    ) -> Self {
        FuncTranslator {
            builder,
            program,
            env: home.env,
            group: home.group,
            base,
            return_area,
            ty,
            control: Control::default(),
            locals: Locals::default(),
            load_is_address: false,
            stack: Vec::new(),
            functions: HashMap::new(),
            signatures: HashMap::new(),
            builtins: HashMap::new(),
            cells: None,
            regions: [None; Region::COUNT],
            initialising: false,
            meter: None,
            cost: Cost::default(),
        }
    }

    /// Pushes an operand.
    pub(super) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// Pops an operand.
    ///
    /// # Panics
    /// If there is none: the validator has seen the operator before.
    pub(super) fn pop(&mut self) -> Value {
        self.stack.pop().expect("a validated operator has its operands")
    }

    /// Pops two operands, in the order they were pushed.
    pub(super) fn pop2(&mut self) -> (Value, Value) {
        let second = self.pop();
        (self.pop(), second)
    }

    /// Pops three operands, in the order they were pushed.
    pub(super) fn pop3(&mut self) -> (Value, Value, Value) {
        let third = self.pop();
        let (first, second) = self.pop2();
        (first, second, third)
    }

    /// Pops `count` operands, in the order they were pushed.
    pub(super) fn pop_many(&mut self, count: usize) -> Vec<Value> {
        self.stack.split_off(self.stack.len() - count)
    }

    /// The instruction builder.
    pub(super) fn ins(&mut self) -> cranelift_frontend::FuncInstBuilder<'_, 'a> {
        self.builder.ins()
    }

    /// The type of a value.
    pub(super) fn type_of(&self, value: Value) -> ir::Type {
        self.builder.func.dfg.value_type(value)
    }

    /// Flags for what guest code may read and write at will, and which faults when it is out of bounds.
    pub(super) fn heap_flags(&mut self, region: Region) -> MemFlagsData {
        let region = self.region(region);
        MemFlagsData::new().with_endianness(Endianness::Little).with_alias_region(Some(region))
    }

    /// Flags for a place that is always there, and changes.
    pub(super) fn flags(&mut self, region: Region) -> MemFlagsData {
        self.heap_flags(region).with_notrap()
    }

    /// Flags for a place that is always there and does not change while compiled code runs: the host words.
    pub(super) fn constant_flags() -> MemFlagsData {
        MemFlagsData::trusted().with_endianness(Endianness::Little).with_readonly().with_can_move()
    }

    fn region(&mut self, region: Region) -> AliasRegion {
        *self.regions[region as usize].get_or_insert_with(|| {
            let data = AliasRegionData { user_id: region as u32, description: region.description().into() };
            self.builder.func.dfg.alias_regions.insert(data)
        })
    }

    /// Loads a 64-bit host word at `offset` from the base.
    pub(super) fn host_word(&mut self, offset: i32) -> Value {
        let base = self.base;
        self.ins().load(ir::types::I64, Self::constant_flags(), base, offset)
    }
}

/// Cranelift's form of a trap code. Stack overflow has none, since no instruction traps with it.
pub(super) fn trap_code(code: TrapCode) -> ir::TrapCode {
    match code {
        TrapCode::StackOverflow => ir::TrapCode::STACK_OVERFLOW,
        TrapCode::IntegerOverflow => ir::TrapCode::INTEGER_OVERFLOW,
        TrapCode::MemoryOutOfBounds => ir::TrapCode::HEAP_OUT_OF_BOUNDS,
        TrapCode::IntegerDivisionByZero => ir::TrapCode::INTEGER_DIVISION_BY_ZERO,
        TrapCode::BadConversionToInteger => ir::TrapCode::BAD_CONVERSION_TO_INTEGER,
        other => ir::TrapCode::unwrap_user(other as u8),
    }
}
