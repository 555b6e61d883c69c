//! What the Canonical ABI makes of component-level types: size and alignment in memory, core values, and what moving a
//! value from one memory to another takes.
//!
//! A type refers to earlier ones only, so all shapes are made in one pass, and nothing here recurses; how deep and how
//! large a type is, written out, is part of its shape, so that it can be refused before its code is made.

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::component::{MAX_FLAT_PARAMS, Primitive};
use precast_abi::types::ValType;

use crate::Error;
use crate::component::flat::{self, Types};
use crate::component::linkage::{Resource, Type, TypeDef, TypeRow};
use crate::error::Place;

/// How deep types may be nested.
const DEPTH_LIMIT: u64 = 100;
/// How many types a function's may consist of, written out.
const NODE_LIMIT: u64 = 10_000;
/// How large a value may be in memory, in bytes.
const SIZE_LIMIT: u64 = precast_abi::component::MAX_BYTE_LENGTH as u64;
/// Up to this many elements of a fixed-length list are written out; more are a loop.
pub(super) const UNROLLED: u32 = 4;

/// What a type looks like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Size in bytes in memory.
    pub size: u64,
    /// Alignment in bytes in memory.
    pub align: u64,
    /// The core values, unless there are more than a call may have.
    pub flat: Option<Vec<ValType>>,
    /// Whether every byte is part of a value of which all bit patterns are allowed, so that bytes may be copied.
    pub plain: bool,
    /// Resources of which it has borrowed handles, sorted.
    pub borrows: Vec<Resource>,
    /// How deep it is nested.
    depth: u64,
    /// How many types it consists of, written out.
    nodes: u64,
}

impl Shape {
    /// Whether the value is passed as core values if a call may have `max` of them.
    pub(super) fn is_flat(&self, max: usize) -> bool {
        self.flat.as_ref().is_some_and(|flat| flat.len() <= max)
    }

    /// Number of core values; zero if there are too many for a call, so that it lies in memory wherever it is.
    pub(super) fn flat_len(&self) -> usize {
        self.flat.as_ref().map_or(0, Vec::len)
    }

    /// Refuses a type whose code would be too large.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let limited = [
            ("nesting of a component-level type", self.depth, DEPTH_LIMIT),
            ("number of types that a component-level function's type consists of", self.nodes, NODE_LIMIT),
            ("size in bytes of a component-level type", self.size, SIZE_LIMIT),
        ];
        match limited.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(Error::Limit { what, found, limit, place: Place::default() }),
            None => Ok(()),
        }
    }

    /// Fields one after the other.
    fn record<'s>(fields: impl Iterator<Item = &'s Shape>) -> Self {
        let mut record = Shape { align: 1, flat: Some(Vec::new()), plain: true, nodes: 1, ..Shape::default() };
        for field in fields {
            let offset = align_to(record.size, field.align);
            record.plain &= field.plain && offset == record.size;
            record.size = offset.saturating_add(field.size);
            record.align = record.align.max(field.align);
            record.flat = joined_flat(record.flat.take(), field.flat.as_deref());
            record.enclose(field, 1);
        }
        let size = align_to(record.size, record.align);
        record.plain &= size == record.size;
        record.size = size;
        record
    }

    /// Takes over what a type that this one has `times` over means for it.
    fn enclose(&mut self, other: &Shape, times: u64) {
        self.borrows.extend_from_slice(&other.borrows);
        self.borrows.sort_unstable();
        self.borrows.dedup();
        self.depth = self.depth.max(other.depth + 1);
        self.nodes = self.nodes.saturating_add(other.nodes.saturating_mul(times));
    }
}

/// The shapes of all types of a component.
#[derive(Debug)]
pub(crate) struct Shapes {
    primitives: Vec<Shape>,
    rows: PrimaryMap<TypeRow, Shape>,
}

impl Shapes {
    /// Of these types.
    pub(crate) fn new(types: &Types) -> Self {
        let primitives = Primitive::ALL.into_iter().map(primitive).collect();
        let mut shapes = Shapes { primitives, rows: PrimaryMap::with_capacity(types.len()) };
        for row in types.keys() {
            let shape = shapes.define(types, row);
            shapes.rows.push(shape);
        }
        shapes
    }

    /// Of a type.
    pub(crate) fn of(&self, ty: Type) -> &Shape {
        match ty {
            Type::Primitive(primitive) => &self.primitives[primitive as usize],
            Type::Row(row) => &self.rows[row],
        }
    }

    /// Of a record with these fields, or of the parameters of a function.
    pub(super) fn record(&self, fields: impl Iterator<Item = Type>) -> Shape {
        Shape::record(fields.map(|ty| self.of(ty)))
    }

    fn define(&self, types: &Types, row: TypeRow) -> Shape {
        let def = &types[row];
        let (size, align) = flat::def_size_align(def, &|row| (self.rows[row].size, self.rows[row].align as u32));
        let mut shape = Shape { size, align: align.into(), nodes: 1, ..Shape::default() };
        match def {
            TypeDef::Record(_) | TypeDef::Tuple(_) => {
                return Shape::record(flat::fields(def).into_iter().map(|ty| self.of(ty)));
            }
            TypeDef::List(element) => shape.enclose(self.of(*element), 1),
            TypeDef::Map(key, value) => {
                shape.enclose(self.of(*key), 1);
                shape.enclose(self.of(*value), 1);
            }
            TypeDef::FixedList(element, count) => {
                let element = self.of(*element);
                // Core values are moved one by one, however many elements there are.
                let is_loop = element.flat_len() * *count as usize > MAX_FLAT_PARAMS && *count > UNROLLED;
                shape.plain = element.plain;
                shape.enclose(element, if is_loop { 1 } else { (*count).into() });
            }
            TypeDef::Flags(names) => shape.plain = size * 8 == names.len() as u64,
            TypeDef::Borrow(resource) => shape.borrows.push(*resource),
            TypeDef::Own(_) => {}
            TypeDef::Variant(_) | TypeDef::Enum(_) | TypeDef::Option(_) | TypeDef::Result(..) => {
                flat::cases(def).iter().flatten().for_each(|ty| shape.enclose(self.of(*ty), 1));
            }
        }
        shape.flat = self.flat(def);
        shape
    }

    /// The core values of a type that is no record.
    fn flat(&self, def: &TypeDef) -> Option<Vec<ValType>> {
        let flat = match def {
            TypeDef::FixedList(element, count) => {
                let element = self.of(*element).flat.as_ref()?;
                element.repeat((*count as usize).min(MAX_FLAT_PARAMS + 1))
            }
            TypeDef::Flags(names) => vec![ValType::I32; names.len().div_ceil(32)],
            TypeDef::List(_) | TypeDef::Map(..) => vec![ValType::I32; 2],
            TypeDef::Own(_) | TypeDef::Borrow(_) => vec![ValType::I32],
            _ => {
                let mut joined = Vec::new();
                for payload in flat::cases(def).into_iter().flatten() {
                    flat::join(&mut joined, self.of(payload).flat.as_ref()?);
                }
                [vec![ValType::I32], joined].concat()
            }
        };
        (flat.len() <= MAX_FLAT_PARAMS).then_some(flat)
    }
}

fn primitive(primitive: Primitive) -> Shape {
    let ty = Type::Primitive(primitive);
    let (size, align) = flat::wide_size_align(ty, &|_| (0, 1));
    let is_checked = matches!(primitive, Primitive::Bool | Primitive::Char | Primitive::String);
    let flat = Some(flat::flatten(&Types::new(), ty));
    Shape { size, align: align.into(), flat, plain: !is_checked, nodes: 1, ..Shape::default() }
}

/// `offset` rounded up to a multiple of `align`, a power of two.
pub(super) fn align_to(offset: u64, align: u64) -> u64 {
    flat::align_to(offset, align as u32)
}

/// A word of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlagWord {
    /// Its size in memory.
    pub(super) bytes: u64,
    /// The bits that mean something.
    pub(super) mask: u32,
}

/// The words that this many flags are in.
pub(super) fn flag_words(count: u64) -> Vec<FlagWord> {
    let mask = |count: u64| u32::MAX.checked_shr(32 - count.min(32) as u32).unwrap_or(0);
    match count {
        0 => Vec::new(),
        1..=8 => vec![FlagWord { bytes: 1, mask: mask(count) }],
        9..=16 => vec![FlagWord { bytes: 2, mask: mask(count) }],
        _ => (0..count.div_ceil(32)).map(|word| FlagWord { bytes: 4, mask: mask(count - 32 * word) }).collect(),
    }
}

/// Core values one after the other.
fn joined_flat(first: Option<Vec<ValType>>, second: Option<&[ValType]>) -> Option<Vec<ValType>> {
    let mut flat = first?;
    flat.extend_from_slice(second?);
    (flat.len() <= MAX_FLAT_PARAMS).then_some(flat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ValType::{F64, I32, I64};

    fn shapes(defs: Vec<TypeDef>) -> (Shapes, Vec<Shape>) {
        let types: Types = defs.into_iter().collect();
        let shapes = Shapes::new(&types);
        let rows = types.keys().map(|row| shapes.of(Type::Row(row)).clone()).collect();
        (shapes, rows)
    }

    fn ty(primitive: Primitive) -> Type {
        Type::Primitive(primitive)
    }

    #[test]
    fn records_have_padding() {
        let fields = |types: &[Primitive]| TypeDef::Tuple(types.iter().copied().map(ty).collect());
        let (_, rows) = shapes(vec![
            fields(&[Primitive::U8, Primitive::U32]),
            fields(&[Primitive::U32, Primitive::U16, Primitive::U16]),
            fields(&[Primitive::U64, Primitive::Bool]),
        ]);
        let found: Vec<_> = rows.iter().map(|shape| (shape.size, shape.align, shape.plain)).collect();
        assert_eq!(found, [(8, 4, false), (8, 4, true), (16, 8, false)]);
    }

    #[test]
    fn cases_share_core_values() {
        let case = |types: Option<Primitive>| (String::new(), types.map(ty));
        let variant = |types: [Option<Primitive>; 3]| TypeDef::Variant(types.map(case).into());
        let (_, rows) = shapes(vec![
            variant([None, Some(Primitive::F32), Some(Primitive::U8)]),
            variant([Some(Primitive::F64), None, Some(Primitive::F64)]),
            variant([Some(Primitive::F64), Some(Primitive::F32), None]),
            variant([Some(Primitive::String), Some(Primitive::U64), None]),
        ]);
        let found: Vec<_> = rows.iter().map(|shape| (shape.size, shape.align, shape.flat.clone().unwrap())).collect();
        assert_eq!(
            found,
            [(8, 4, vec![I32, I32]), (16, 8, vec![I32, F64]), (16, 8, vec![I32, I64]), (16, 8, vec![I32, I64, I32]),]
        );
    }

    #[test]
    fn flags_and_large_enums() {
        let names = |count: usize| vec![String::new(); count];
        let (_, rows) = shapes(vec![
            TypeDef::Flags(names(8)),
            TypeDef::Flags(names(9)),
            TypeDef::Flags(names(33)),
            TypeDef::Enum(names(256)),
            TypeDef::Enum(names(257)),
        ]);
        let found: Vec<_> = rows.iter().map(|shape| (shape.size, shape.align, shape.flat_len(), shape.plain)).collect();
        assert_eq!(found, [(1, 1, 1, true), (2, 2, 1, false), (8, 4, 2, false), (1, 1, 1, false), (2, 2, 1, false)]);
        assert_eq!(flag_words(33)[1], FlagWord { bytes: 4, mask: 1 });
        assert_eq!(flag_words(32)[0].mask, u32::MAX);
    }

    #[test]
    fn types_that_explode_are_refused() {
        let mut defs = vec![TypeDef::Tuple(vec![ty(Primitive::Bool), ty(Primitive::String)])];
        for row in 0..40 {
            let row = Type::Row(TypeRow::from_u32(row));
            defs.push(TypeDef::Tuple(vec![row, row]));
        }
        let (_, rows) = shapes(defs);
        assert!(rows[0].check().is_ok());
        assert!(matches!(rows[39].check(), Err(Error::Limit { .. })));
        let lists = (0..200).map(|row: u32| match row.checked_sub(1) {
            Some(before) => TypeDef::List(Type::Row(TypeRow::from_u32(before))),
            None => TypeDef::List(ty(Primitive::U8)),
        });
        let (_, rows) = shapes(lists.collect());
        assert!(rows[50].check().is_ok());
        assert!(matches!(rows[150].check(), Err(Error::Limit { .. })));
        let (_, rows) = shapes(vec![TypeDef::FixedList(ty(Primitive::U64), u32::MAX)]);
        assert!(matches!(rows[0].check(), Err(Error::Limit { .. })));
    }
}
