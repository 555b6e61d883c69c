//! What the Canonical ABI makes of component-level types: size and alignment in memory, core values, and what moving a
//! value from one memory to another takes.
//!
//! A type refers to earlier ones only, so all shapes are made in one pass, and nothing here recurses; how deep and how
//! large a type is, written out, is part of its shape, so that it can be refused before its code is made.

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::component::{MAX_FLAT_PARAMS, Primitive};
use precast_abi::types::ValType;

use crate::Error;
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

    fn scalar(size: u64, flat: ValType, plain: bool) -> Self {
        Shape { size, align: size, flat: Some(vec![flat]), plain, nodes: 1, ..Shape::default() }
    }

    /// A pointer and a length to elements of this shape.
    fn list(element: &Shape) -> Self {
        let flat = Some(vec![ValType::I32, ValType::I32]);
        Shape { size: 8, align: 4, flat, plain: false, ..element.around(1) }
    }

    /// What a type around this one inherits, if its code has this one's `times` over.
    fn around(&self, times: u64) -> Self {
        Shape {
            borrows: self.borrows.clone(),
            depth: self.depth + 1,
            nodes: self.nodes.saturating_mul(times).saturating_add(1),
            ..Shape::default()
        }
    }

    fn enclose(&mut self, other: &Shape) {
        self.borrows.extend_from_slice(&other.borrows);
        self.borrows.sort_unstable();
        self.borrows.dedup();
        self.depth = self.depth.max(other.depth + 1);
        self.nodes = self.nodes.saturating_add(other.nodes);
    }

    /// Fields one after the other.
    pub(super) fn record<'s>(fields: impl Iterator<Item = &'s Shape>) -> Self {
        let mut record = Shape { align: 1, flat: Some(Vec::new()), plain: true, nodes: 1, ..Shape::default() };
        for field in fields {
            let offset = align_to(record.size, field.align);
            record.plain &= field.plain && offset == record.size;
            record.size = offset.saturating_add(field.size);
            record.align = record.align.max(field.align);
            record.flat = joined_flat(record.flat.take(), field.flat.as_deref());
            record.enclose(field);
        }
        let size = align_to(record.size, record.align);
        record.plain &= size == record.size;
        record.size = size;
        record
    }

    fn variant<'s>(cases: impl Iterator<Item = Option<&'s Shape>>) -> Self {
        let mut count = 0;
        let mut variant = Shape { align: 1, nodes: 1, ..Shape::default() };
        let mut flat = Some(Vec::new());
        for case in cases {
            count += 1;
            let Some(payload) = case else { continue };
            variant.size = variant.size.max(payload.size);
            variant.align = variant.align.max(payload.align);
            flat = either_flat(flat.take(), payload.flat.as_deref());
            variant.enclose(payload);
        }
        let discriminant = discriminant_size(count);
        let payload_offset = align_to(discriminant, variant.align);
        variant.align = variant.align.max(discriminant);
        variant.size = align_to(payload_offset.saturating_add(variant.size), variant.align);
        variant.flat = joined_flat(Some(vec![ValType::I32]), flat.as_deref());
        variant
    }

    fn fixed_list(element: &Shape, count: u32) -> Self {
        let flat = element.flat.as_ref().filter(|flat| flat.len() * count as usize <= MAX_FLAT_PARAMS);
        // Core values are moved one by one, however many elements there are.
        let times = if flat.is_some() || count <= UNROLLED { count } else { 1 };
        Shape {
            size: element.size.saturating_mul(count.into()),
            align: element.align,
            flat: flat.map(|flat| flat.repeat(count as usize)),
            plain: element.plain,
            ..element.around(times.into())
        }
    }

    fn flags(count: u64) -> Self {
        let words = flag_words(count);
        let size = words.iter().map(|word| word.bytes).sum();
        Shape {
            size,
            align: words.first().map_or(1, |word| word.bytes),
            flat: (words.len() <= MAX_FLAT_PARAMS).then(|| vec![ValType::I32; words.len()]),
            plain: size * 8 == count,
            nodes: words.len() as u64 + 1,
            ..Shape::default()
        }
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
    pub(crate) fn new(types: &PrimaryMap<TypeRow, TypeDef>) -> Self {
        let primitives = Primitive::ALL.into_iter().map(primitive).collect();
        let mut shapes = Shapes { primitives, rows: PrimaryMap::with_capacity(types.len()) };
        for def in types.values() {
            let shape = shapes.define(def);
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

    fn define(&self, def: &TypeDef) -> Shape {
        let of = |ty: &Type| self.of(*ty);
        match def {
            TypeDef::Record(fields) => Shape::record(fields.iter().map(|(_, ty)| of(ty))),
            TypeDef::Tuple(types) => Shape::record(types.iter().map(of)),
            TypeDef::Variant(cases) => Shape::variant(cases.iter().map(|(_, ty)| ty.as_ref().map(of))),
            TypeDef::Enum(names) => Shape::variant(names.iter().map(|_| None)),
            TypeDef::Option(ty) => Shape::variant([None, Some(of(ty))].into_iter()),
            TypeDef::Result(ok, err) => Shape::variant([ok, err].into_iter().map(|ty| ty.as_ref().map(of))),
            TypeDef::List(element) => Shape::list(of(element)),
            TypeDef::Map(key, value) => Shape::list(&Shape::record([of(key), of(value)].into_iter())),
            TypeDef::FixedList(element, count) => Shape::fixed_list(of(element), *count),
            TypeDef::Flags(names) => Shape::flags(names.len() as u64),
            TypeDef::Own(_) => Shape::scalar(4, ValType::I32, false),
            TypeDef::Borrow(resource) => Shape { borrows: vec![*resource], ..Shape::scalar(4, ValType::I32, false) },
        }
    }
}

fn primitive(primitive: Primitive) -> Shape {
    let (size, flat) = match primitive {
        Primitive::Bool | Primitive::S8 | Primitive::U8 => (1, ValType::I32),
        Primitive::S16 | Primitive::U16 => (2, ValType::I32),
        Primitive::S32 | Primitive::U32 | Primitive::Char => (4, ValType::I32),
        Primitive::S64 | Primitive::U64 => (8, ValType::I64),
        Primitive::F32 => (4, ValType::F32),
        Primitive::F64 => (8, ValType::F64),
        Primitive::String => {
            let byte = Shape { nodes: 0, ..Shape::scalar(1, ValType::I32, true) };
            return Shape { depth: 0, ..Shape::list(&byte) };
        }
    };
    Shape::scalar(size, flat, !matches!(primitive, Primitive::Bool | Primitive::Char))
}

/// `offset` rounded up to a multiple of `align`, a power of two.
pub(super) fn align_to(offset: u64, align: u64) -> u64 {
    offset.saturating_add(align - 1) & !(align - 1)
}

/// Size in bytes of the discriminant of a variant with this many cases.
pub(super) fn discriminant_size(cases: u64) -> u64 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
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

/// Core values that can hold either.
fn either_flat(first: Option<Vec<ValType>>, second: Option<&[ValType]>) -> Option<Vec<ValType>> {
    let (mut flat, second) = (first?, second?);
    for (index, ty) in second.iter().enumerate() {
        match flat.get_mut(index) {
            Some(known) => *known = join(*known, *ty),
            None => flat.push(*ty),
        }
    }
    Some(flat)
}

/// The core type that can hold values of both.
fn join(first: ValType, second: ValType) -> ValType {
    match (first, second) {
        _ if first == second => first,
        (ValType::I32, ValType::F32) | (ValType::F32, ValType::I32) => ValType::I32,
        _ => ValType::I64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ValType::{F32, F64, I32, I64};

    fn shapes(defs: Vec<TypeDef>) -> (Shapes, Vec<Shape>) {
        let types: PrimaryMap<TypeRow, TypeDef> = defs.into_iter().collect();
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
        assert_eq!(join(F32, F64), I64);
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
