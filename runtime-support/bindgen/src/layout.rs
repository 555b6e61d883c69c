//! Sizes, alignments and numbers of core values, as the Canonical ABI has them: numbers in the generated code.

use wit_parser::{FlagsRepr, Resolve, SizeAlign, Type, TypeDefKind};

/// Layouts of all types of a resolved WIT.
pub(crate) struct Layouts(SizeAlign);

/// Layout of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: u32,
    pub(crate) align: u32,
    /// Core values.
    pub(crate) flat: usize,
}

impl Layouts {
    pub(crate) fn new(resolve: &Resolve) -> Self {
        let mut layouts = SizeAlign::default();
        layouts.fill(resolve);
        Layouts(layouts)
    }

    pub(crate) fn of(&self, resolve: &Resolve, ty: &Type) -> Layout {
        Layout {
            size: self.0.size(ty).size_wasm32() as u32,
            align: self.0.align(ty).align_wasm32() as u32,
            flat: flat(resolve, ty),
        }
    }

    /// Where the fields of a record lie.
    pub(crate) fn field_offsets<'a>(&self, fields: impl IntoIterator<Item = &'a Type>) -> Vec<u32> {
        self.0.field_offsets(fields).iter().map(|(offset, _)| offset.size_wasm32() as u32).collect()
    }

    /// Where a variant's payload lies.
    pub(crate) fn payload_offset<'a>(
        &self,
        tag: wit_parser::Int,
        cases: impl IntoIterator<Item = Option<&'a Type>>,
    ) -> u32 {
        self.0.payload_offset(tag, cases).size_wasm32() as u32
    }
}

fn flat(resolve: &Resolve, ty: &Type) -> usize {
    let Type::Id(id) = ty else {
        return if matches!(ty, Type::String) { 2 } else { 1 };
    };
    let of = |ty: &Type| flat(resolve, ty);
    let optional = |ty: &Option<Type>| ty.as_ref().map_or(0, of);
    match &resolve.types[*id].kind {
        TypeDefKind::Record(record) => record.fields.iter().map(|field| of(&field.ty)).sum(),
        TypeDefKind::Tuple(tuple) => tuple.types.iter().map(of).sum(),
        TypeDefKind::Flags(flags) => match flags.repr() {
            FlagsRepr::U32(words) => words.max(1),
            _ => 1,
        },
        TypeDefKind::Variant(variant) => 1 + variant.cases.iter().map(|case| optional(&case.ty)).max().unwrap_or(0),
        TypeDefKind::Option(ty) => 1 + of(ty),
        TypeDefKind::Result(result) => 1 + optional(&result.ok).max(optional(&result.err)),
        TypeDefKind::List(_) | TypeDefKind::Map(..) => 2,
        TypeDefKind::FixedLengthList(ty, len) => of(ty) * *len as usize,
        TypeDefKind::Type(ty) => of(ty),
        TypeDefKind::Enum(_)
        | TypeDefKind::Handle(_)
        | TypeDefKind::Resource
        | TypeDefKind::Future(_)
        | TypeDefKind::Stream(_)
        | TypeDefKind::Unknown => 1,
    }
}
