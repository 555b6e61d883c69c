//! The initialiser: what instantiation does beyond mapping the image.

use cranelift_codegen::ir::{Function, InstBuilder};
use cranelift_codegen::isa::TargetIsa;

use super::call::Tail;
use super::translator::{FuncTranslator, Region};
use super::{Entry, Scratch, build};
use crate::Error;
use crate::component::linkage::CoreInstance;
use crate::error::Place;
use crate::module::ElementItem;
use crate::program::{Const, ConstExpr, ConstOp, Group, InitStep, Program, Symbol, TypeId};

/// Operations of constant expressions that the initialiser may have.
const OPERATIONS: u64 = 1 << 20;

/// The initialiser: runs [`Program::init`] in order.
pub(crate) fn init(program: &Program<'_>, isa: &dyn TargetIsa, scratch: &mut Scratch) -> Result<Function, Error> {
    let operations = program.init.iter().map(|(instance, step)| operations(program, *instance, step)).sum();
    if operations > OPERATIONS {
        let what = "the number of operations that initialise globals and element segments";
        return Err(Error::Limit { what, found: operations, limit: OPERATIONS, place: Place::default() });
    }
    build(program, isa, Symbol::Init, Entry::Border(TypeId::from_u32(0)), Group::FIRST, &mut scratch.builder, |t, _| {
        t.initialising = true;
        for (instance, step) in &program.init {
            t.move_to(*instance);
            t.init_step(*instance, step);
        }
        t.ins().return_(&[]);
        Ok(())
    })
}

fn operations(program: &Program<'_>, instance: CoreInstance, step: &InitStep) -> u64 {
    match step {
        InitStep::Global { value: expression, .. }
        | InitStep::Element { offset: expression, .. }
        | InitStep::Data { offset: expression, .. } => expression.0.len() as u64,
        InitStep::ElementRefs { segment } => {
            program.instances[instance].module.elements[*segment as usize].items.len() as u64
        }
        InitStep::Start(_) => 1,
    }
}

impl FuncTranslator<'_> {
    fn init_step(&mut self, instance: CoreInstance, step: &InitStep) {
        match step {
            InitStep::Global { global, value } => {
                self.evaluate(value);
                self.global_set(*global);
            }
            InitStep::ElementRefs { segment } => self.init_references(instance, *segment),
            InitStep::Element { segment, table, offset, len } => {
                self.evaluate(offset);
                self.push_whole_segment(*len);
                self.table_init(*table, *segment);
                self.drop_segment(self.env.elements[*segment as usize]);
            }
            InitStep::Data { segment, memory, offset, len } => {
                self.evaluate(offset);
                self.push_whole_segment(*len);
                self.memory_init(*memory, *segment);
                self.drop_segment(self.env.data[*segment as usize]);
            }
            InitStep::Start(func) => self.call_function(*func, Tail::No),
        }
    }

    fn push_whole_segment(&mut self, len: u32) {
        let (start, len) = (self.i32(0), self.i32(len));
        self.push(start);
        self.push(len);
    }

    fn init_references(&mut self, instance: CoreInstance, segment: u32) {
        let Some(cells) = self.env.elements[segment as usize].cells else { return };
        let items = &self.program.instances[instance].module.elements[segment as usize].items;
        for (offset, item) in (cells..).step_by(8).zip(items) {
            match *item {
                ElementItem::Null => self.push_constant(Const::Null),
                ElementItem::Func(func) => self.push_constant(Const::Func(func)),
                ElementItem::Global(global) => self.global_get(global),
            }
            let (reference, base, flags) = (self.pop(), self.base, self.flags(Region::Tables));
            self.ins().store(flags, reference, base, offset);
        }
    }

    fn push_constant(&mut self, value: Const) {
        let value = self.constant(value);
        self.push(value);
    }

    /// Pushes the value of a constant expression.
    fn evaluate(&mut self, expression: &ConstExpr) {
        for op in &expression.0 {
            let value = match *op {
                ConstOp::I32(value) => self.constant(Const::I32(value)),
                ConstOp::I64(value) => self.constant(Const::I64(value)),
                ConstOp::F32(bits) => self.constant(Const::F32(bits)),
                ConstOp::F64(bits) => self.constant(Const::F64(bits)),
                ConstOp::V128(bits) => self.constant(Const::V128(bits)),
                ConstOp::Null => self.constant(Const::Null),
                ConstOp::Func(func) => self.constant(Const::Func(func)),
                ConstOp::Global(global) => {
                    self.global_get(global);
                    continue;
                }
                ConstOp::I32Add | ConstOp::I64Add => {
                    let (x, y) = self.pop2();
                    self.ins().iadd(x, y)
                }
                ConstOp::I32Sub | ConstOp::I64Sub => {
                    let (x, y) = self.pop2();
                    self.ins().isub(x, y)
                }
                ConstOp::I32Mul | ConstOp::I64Mul => {
                    let (x, y) = self.pop2();
                    self.ins().imul(x, y)
                }
            };
            self.push(value);
        }
    }
}
