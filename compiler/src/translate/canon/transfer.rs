//! Moves a value of a component-level type from one side of an adapter to the other.
//!
//! What comes in: a type, and where its value is, as core values or in the giver's memory. What goes out: code that
//! checks the value and makes it core values of the taker, or writes it to the taker's memory. Types are written out
//! by recursion, which [`Shape::check`](super::shape::Shape::check) has bounded.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type as ClifType, Value};
use precast_abi::component::Primitive;
use precast_abi::trap::TrapCode;
use precast_abi::types::ValType;

use super::super::signature::clif_type;
use super::super::translator::{FuncTranslator, Region, trap_code};
use super::access::{Allocation, Bad, Place, Range};
use super::glue::GlueHelper;
use super::handle::Lends;
use super::shape::{FlagWord, Shape, UNROLLED, align_to, flag_words};
use crate::Error;
use crate::component::linkage::{Type, TypeDef};
use crate::component::program::{ComponentProgram, Side};

/// Longer plain values than this are copied by shared code.
const LONGEST_INLINE_COPY: u64 = 64;

/// Where a value is.
#[derive(Clone, Copy)]
pub(super) enum Source<'v> {
    /// These core values.
    Flat(&'v [Value]),
    /// In the giver's memory.
    Memory(Place),
}

impl<'v> Source<'v> {
    /// A part of it: `len` core values from `first` on, or bytes from `offset` on.
    pub(super) fn part(self, first: usize, len: usize, offset: u64) -> Result<Source<'v>, Error> {
        Ok(match self {
            Source::Memory(place) => Source::Memory(place.at(offset)),
            Source::Flat(values) => {
                let part = values.get(first..first + len);
                Source::Flat(part.ok_or_else(|| Error::internal("glue", "a core value is missing"))?)
            }
        })
    }

    /// The only core value.
    fn value(values: &[Value]) -> Result<Value, Error> {
        values.first().copied().ok_or_else(|| Error::internal("glue", "a core value is missing"))
    }
}

/// Where a value goes.
pub(super) enum Target<'v> {
    /// To the end of these core values.
    Flat(&'v mut Vec<Value>),
    /// To the taker's memory.
    Memory(Place),
}

impl Target<'_> {
    /// A part of it: the next core values, or bytes from `offset` on.
    pub(super) fn part(&mut self, offset: u64) -> Target<'_> {
        match self {
            Target::Flat(values) => Target::Flat(values),
            Target::Memory(place) => Target::Memory(place.at(offset)),
        }
    }
}

/// Moves values from one side to the other.
pub(super) struct Transfer<'t, 'a, 'f> {
    /// Where instructions go.
    pub(super) t: &'t mut FuncTranslator<'f>,
    /// The component.
    pub(super) component: &'a ComponentProgram,
    /// Who gives the values.
    pub(super) from: &'a Side,
    /// Who takes them.
    pub(super) to: &'a Side,
    /// The giver's handles that are lent.
    pub(super) lends: &'t mut Lends,
    /// How many branches and loops the code is in.
    pub(super) conditional: u32,
}

impl<'a> Transfer<'_, 'a, '_> {
    /// Moves a value.
    pub(super) fn value(&mut self, ty: Type, from: Source<'_>, mut to: Target<'_>) -> Result<(), Error> {
        let component = self.component;
        let shape = self.component.shapes.of(ty);
        if let (Source::Memory(from), Target::Memory(to), true) = (from, &to, shape.plain) {
            self.copy_plain(from, *to, shape);
            return Ok(());
        }
        let def = match ty {
            Type::Primitive(Primitive::String) => return self.string(from, to),
            Type::Primitive(primitive) => return self.scalar(primitive, from, to),
            Type::Row(row) => &component.types[row],
        };
        match def {
            TypeDef::Record(fields) => self.fields(fields.iter().map(|(_, ty)| *ty), from, to),
            TypeDef::Tuple(types) => self.fields(types.iter().copied(), from, to),
            TypeDef::Variant(cases) => self.variant(cases.iter().map(|(_, ty)| *ty).collect(), shape, from, to),
            TypeDef::Enum(names) => self.variant(vec![None; names.len()], shape, from, to),
            TypeDef::Option(ty) => self.variant(vec![None, Some(*ty)], shape, from, to),
            TypeDef::Result(ok, err) => self.variant(vec![*ok, *err], shape, from, to),
            TypeDef::Flags(names) => self.flags(names.len() as u64, from, to),
            TypeDef::List(element) => self.list(&[*element], from, to),
            TypeDef::Map(key, value) => self.list(&[*key, *value], from, to),
            TypeDef::FixedList(element, count) => self.fixed_list(*element, *count, from, to),
            TypeDef::Own(resource) => {
                let handle = self.load_scalar(Primitive::U32, from)?;
                let handle = self.own(*resource, handle)?;
                self.store_scalar(Primitive::U32, handle, &mut to);
                Ok(())
            }
            TypeDef::Borrow(resource) => {
                let handle = self.load_scalar(Primitive::U32, from)?;
                let handle = self.borrow(*resource, handle)?;
                self.store_scalar(Primitive::U32, handle, &mut to);
                Ok(())
            }
        }
    }

    /// Moves values that follow each other.
    pub(super) fn fields(
        &mut self,
        types: impl Iterator<Item = Type>,
        from: Source<'_>,
        mut to: Target<'_>,
    ) -> Result<(), Error> {
        let (mut first, mut offset) = (0, 0);
        for ty in types {
            let shape = self.component.shapes.of(ty);
            offset = align_to(offset, shape.align);
            self.value(ty, from.part(first, shape.flat_len(), offset)?, to.part(offset))?;
            first += shape.flat_len();
            offset += shape.size;
        }
        Ok(())
    }

    fn fixed_list(&mut self, element: Type, count: u32, from: Source<'_>, mut to: Target<'_>) -> Result<(), Error> {
        if let (Source::Memory(from), Target::Memory(to), true) = (from, &to, count > UNROLLED) {
            let shape = self.component.shapes.of(element);
            let from = self.t.ins().iadd_imm_s(from.address, i64::from(from.offset));
            let to = self.t.ins().iadd_imm_s(to.address, i64::from(to.offset));
            let bytes = self.t.ins().iconst(I64, shape.size.saturating_mul(count.into()).cast_signed());
            return self.elements(&[element], shape.size, bytes, from, to);
        }
        let shape = self.component.shapes.of(element);
        for index in 0..count as usize {
            let offset = shape.size * index as u64;
            self.value(element, from.part(index * shape.flat_len(), shape.flat_len(), offset)?, to.part(offset))?;
        }
        Ok(())
    }

    /// Numbers, `bool` and `char`.
    fn scalar(&mut self, primitive: Primitive, from: Source<'_>, mut to: Target<'_>) -> Result<(), Error> {
        let value = self.load_scalar(primitive, from)?;
        let t = &mut *self.t;
        // Loads and stores make numbers of their width.
        let is_wide = matches!((from, &to), (Source::Flat(_), Target::Flat(_)));
        let value = match primitive {
            Primitive::Bool => {
                let is_set = t.ins().icmp_imm_u(IntCC::NotEqual, value, 0);
                t.ins().uextend(I32, is_set)
            }
            Primitive::Char => {
                // Surrogates and what is beyond become the largest numbers.
                let number = t.ins().bxor_imm_u(value, 0xd800);
                let number = t.ins().iadd_imm_s(number, -0x800);
                let is_bad = t.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, number, 0x11_0000 - 0x800);
                t.ins().trapnz(is_bad, trap_code(TrapCode::InvalidChar));
                value
            }
            Primitive::U8 if is_wide => t.ins().band_imm_u(value, 0xff),
            Primitive::U16 if is_wide => t.ins().band_imm_u(value, 0xffff),
            Primitive::S8 if is_wide => self.sign_extend(value, I8),
            Primitive::S16 if is_wide => self.sign_extend(value, I16),
            _ => value,
        };
        self.store_scalar(primitive, value, &mut to);
        Ok(())
    }

    fn sign_extend(&mut self, value: Value, ty: ClifType) -> Value {
        let narrow = self.t.ins().ireduce(ty, value);
        self.t.ins().sextend(I32, narrow)
    }

    fn flags(&mut self, count: u64, from: Source<'_>, mut to: Target<'_>) -> Result<(), Error> {
        for (index, FlagWord { bytes, mask }) in flag_words(count).into_iter().enumerate() {
            let as_number = match bytes {
                1 => Primitive::U8,
                2 => Primitive::U16,
                _ => Primitive::U32,
            };
            let offset = 4 * index as u64;
            let mut value = self.load_scalar(as_number, from.part(index, 1, offset)?)?;
            if mask != u32::MAX {
                value = self.t.ins().band_imm_u(value, i64::from(mask));
            }
            self.store_scalar(as_number, value, &mut to.part(offset));
        }
        Ok(())
    }

    /// The core value of a number. In memory it has the type's width, as a core value perhaps more.
    pub(super) fn load_scalar(&mut self, primitive: Primitive, from: Source<'_>) -> Result<Value, Error> {
        let place = match from {
            Source::Flat(values) => return Source::value(values),
            Source::Memory(place) => place,
        };
        let flags = self.memory_flags();
        let (address, offset) = (place.address, place.offset);
        let ins = self.t.ins();
        Ok(match primitive {
            Primitive::Bool | Primitive::U8 => ins.uload8(I32, flags, address, offset),
            Primitive::S8 => ins.sload8(I32, flags, address, offset),
            Primitive::U16 => ins.uload16(I32, flags, address, offset),
            Primitive::S16 => ins.sload16(I32, flags, address, offset),
            Primitive::S32 | Primitive::U32 | Primitive::Char => ins.load(I32, flags, address, offset),
            Primitive::S64 | Primitive::U64 => ins.load(I64, flags, address, offset),
            Primitive::F32 => ins.load(F32, flags, address, offset),
            Primitive::F64 => ins.load(F64, flags, address, offset),
            Primitive::String => return Err(Error::internal("glue", "a string is no scalar")),
        })
    }

    /// Gives the core value of a number.
    pub(super) fn store_scalar(&mut self, primitive: Primitive, value: Value, to: &mut Target<'_>) {
        let place = match to {
            Target::Flat(values) => return values.push(value),
            Target::Memory(place) => *place,
        };
        let flags = self.memory_flags();
        let (address, offset) = (place.address, place.offset);
        let ins = self.t.ins();
        match primitive {
            Primitive::Bool | Primitive::U8 | Primitive::S8 => ins.istore8(flags, value, address, offset),
            Primitive::U16 | Primitive::S16 => ins.istore16(flags, value, address, offset),
            _ => ins.store(flags, value, address, offset),
        };
    }

    /// A pointer and a length.
    pub(super) fn load_pair(&mut self, from: Source<'_>) -> Result<(Value, Value), Error> {
        let first = self.load_scalar(Primitive::U32, from.part(0, 1, 0)?)?;
        Ok((first, self.load_scalar(Primitive::U32, from.part(1, 1, 4)?)?))
    }

    /// Gives a pointer and a length.
    pub(super) fn store_pair(&mut self, (first, second): (Value, Value), mut to: Target<'_>) {
        self.store_scalar(Primitive::U32, first, &mut to.part(0));
        self.store_scalar(Primitive::U32, second, &mut to.part(4));
    }

    /// Copies a value of which every byte is as good as any other.
    fn copy_plain(&mut self, from: Place, to: Place, shape: &Shape) {
        if shape.size > LONGEST_INLINE_COPY {
            let from = self.t.ins().iadd_imm_s(from.address, i64::from(from.offset));
            let to = self.t.ins().iadd_imm_s(to.address, i64::from(to.offset));
            let bytes = self.t.ins().iconst(I64, shape.size.cast_signed());
            self.t.call_glue(GlueHelper::Copy, &[to, from, bytes]);
            return;
        }
        let flags = self.memory_flags();
        let mut done = 0;
        while done < shape.size {
            let (ty, bytes) = match shape.size - done {
                16.. => (I8X16, 16),
                8.. => (I64, 8),
                4.. => (I32, 4),
                2.. => (I16, 2),
                _ => (I8, 1),
            };
            let (from, to) = (from.at(done), to.at(done));
            let piece = self.t.ins().load(ty, flags, from.address, from.offset);
            self.t.ins().store(flags, piece, to.address, to.offset);
            done += bytes;
        }
    }

    /// The same bits as another core type: for cases of a variant, which share core values.
    pub(super) fn coerce(&mut self, value: Value, want: ValType) -> Value {
        let have = self.t.type_of(value);
        let want = clif_type(want);
        let bits = MemFlagsData::new();
        match (have, want) {
            (F32, I32) | (I32, F32) | (F64, I64) | (I64, F64) => self.t.ins().bitcast(want, bits, value),
            (I64, I32) => self.t.ins().ireduce(I32, value),
            (I32, I64) => self.t.ins().uextend(I64, value),
            (I64, F32) => {
                let low = self.t.ins().ireduce(I32, value);
                self.t.ins().bitcast(F32, bits, low)
            }
            (F32, I64) => {
                let low = self.t.ins().bitcast(I32, bits, value);
                self.t.ins().uextend(I64, low)
            }
            _ => value,
        }
    }

    /// Flags for accesses to either memory, whose bounds have been checked.
    pub(super) fn memory_flags(&mut self) -> MemFlagsData {
        self.t.heap_flags(Region::Memory)
    }

    /// Makes sure that a list or string, or values in memory, are in the giver's memory.
    pub(super) fn check_given(&mut self, pointer: Value, bytes: Value, bad: Bad) -> Result<Range, Error> {
        self.t.check_range(self.from, pointer, bytes, bad)
    }

    /// Allocates in the taker's memory.
    pub(super) fn allocate(&mut self, allocation: Allocation) -> Result<Range, Error> {
        self.t.allocate(self.component, self.to, allocation)
    }

    /// Emits code that may not run, or run several times.
    pub(super) fn conditionally<R>(&mut self, emit: impl FnOnce(&mut Self) -> R) -> R {
        self.conditional += 1;
        let result = emit(self);
        self.conditional -= 1;
        result
    }

    /// Two ways to `N` values: `then` if `condition` is not zero, which it seldom is if `seldom`.
    pub(super) fn choose<const N: usize>(
        &mut self,
        condition: Value,
        seldom: bool,
        then: impl FnOnce(&mut Self) -> Result<[Value; N], Error>,
        otherwise: impl FnOnce(&mut Self) -> Result<[Value; N], Error>,
    ) -> Result<[Value; N], Error> {
        let builder = &mut self.t.builder;
        let (yes, no, join) = (builder.create_block(), builder.create_block(), builder.create_block());
        if seldom {
            builder.set_cold_block(yes);
        }
        self.t.ins().brif(condition, yes, &[], no, &[]);
        self.t.enter(yes);
        let values = self.conditionally(then)?;
        let joined = values.map(|value| {
            let ty = self.t.type_of(value);
            self.t.builder.append_block_param(join, ty)
        });
        self.t.jump_to(join, &values);
        self.t.enter(no);
        let values = self.conditionally(otherwise)?;
        self.t.jump_to(join, &values);
        self.t.enter(join);
        Ok(joined)
    }
}
