//! What the Canonical ABI makes of component-level types as far as executing definitions needs it: core function types,
//! and how large values are. (component-model, `CanonicalABI.md`: "Alignment", "Element size", "Flattening".)
//!
//! Types nest at most 100 deep: the validator sees to that.

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::component::{MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, Primitive};
use precast_abi::types::{FuncType, ValType};

use super::linkage::{ComponentFuncType, Type, TypeDef, TypeRow};

/// The types that a [`Type`] may refer to.
type Types = PrimaryMap<TypeRow, TypeDef>;

/// Longest list that [`flatten`] gives. One that is as long stands for all that are too long to be passed flat.
const MAX_FLAT: usize = MAX_FLAT_PARAMS + 1;

/// The core values that a value is passed as; only the first [`MAX_FLAT`], which are then too many.
fn flatten(types: &Types, ty: Type) -> Vec<ValType> {
    let mut flat = Vec::new();
    push_flat(types, ty, &mut flat);
    flat
}

/// What [`flatten`] gives for values one after the other.
fn flatten_all(types: &Types, values: impl IntoIterator<Item = Type>) -> Vec<ValType> {
    let mut flat = Vec::new();
    push_flat_all(types, values, &mut flat);
    flat
}

/// The core type of a function that is lifted: parameters or results that are too many are passed as a pointer.
pub(super) fn lifted_type(types: &Types, ty: &ComponentFuncType) -> FuncType {
    let mut results = flatten_all(types, ty.result);
    if results.len() > MAX_FLAT_RESULTS {
        results = vec![ValType::I32];
    }
    FuncType { params: flat_params(types, ty), results }
}

/// The core type of a lowered function: parameters that are too many are passed as a pointer, and for results that are
/// too many there is one more parameter, where to put them.
pub(super) fn lowered_type(types: &Types, ty: &ComponentFuncType) -> FuncType {
    let mut params = flat_params(types, ty);
    let mut results = flatten_all(types, ty.result);
    if results.len() > MAX_FLAT_RESULTS {
        params.push(ValType::I32);
        results.clear();
    }
    FuncType { params, results }
}

fn flat_params(types: &Types, ty: &ComponentFuncType) -> Vec<ValType> {
    let params = flatten_all(types, ty.params.iter().map(|(_, ty)| *ty));
    if params.len() > MAX_FLAT_PARAMS { vec![ValType::I32] } else { params }
}

fn push_flat_all(types: &Types, values: impl IntoIterator<Item = Type>, flat: &mut Vec<ValType>) {
    for value in values {
        if flat.len() == MAX_FLAT {
            return;
        }
        push_flat(types, value, flat);
    }
}

fn push_flat(types: &Types, ty: Type, flat: &mut Vec<ValType>) {
    let row = match ty {
        Type::Primitive(Primitive::String) => {
            flat.extend([ValType::I32; 2]);
            return flat.truncate(MAX_FLAT);
        }
        Type::Primitive(primitive) => return flat.push(flat_primitive(primitive)),
        Type::Row(row) => row,
    };
    match &types[row] {
        TypeDef::Record(fields) => push_flat_all(types, fields.iter().map(|(_, ty)| *ty), flat),
        TypeDef::Tuple(elements) => push_flat_all(types, elements.iter().copied(), flat),
        // An element without core values would make no progress; there are no such types.
        TypeDef::FixedList(element, length) => {
            push_flat_all(types, std::iter::repeat_n(*element, *length as usize), flat);
        }
        TypeDef::List(_) | TypeDef::Map(..) => flat.extend([ValType::I32; 2]),
        TypeDef::Flags(names) => flat.extend(std::iter::repeat_n(ValType::I32, names.len().div_ceil(32))),
        TypeDef::Own(_) | TypeDef::Borrow(_) => flat.push(ValType::I32),
        variant => {
            flat.push(ValType::I32);
            let mut joined = Vec::new();
            for payload in cases(variant).into_iter().flatten() {
                join(&mut joined, &flatten(types, payload));
            }
            flat.extend(joined);
        }
    }
    flat.truncate(MAX_FLAT);
}

fn flat_primitive(primitive: Primitive) -> ValType {
    match primitive {
        Primitive::S64 | Primitive::U64 => ValType::I64,
        Primitive::F32 => ValType::F32,
        Primitive::F64 => ValType::F64,
        _ => ValType::I32,
    }
}

/// Makes `joined` hold either itself or `flat`.
fn join(joined: &mut Vec<ValType>, flat: &[ValType]) {
    for (into, ty) in joined.iter_mut().zip(flat) {
        *into = match (*into, *ty) {
            (a, b) if a == b => a,
            (ValType::I32, ValType::F32) | (ValType::F32, ValType::I32) => ValType::I32,
            _ => ValType::I64,
        };
    }
    if flat.len() > joined.len() {
        joined.extend_from_slice(&flat[joined.len()..]);
    }
}

/// The payloads of the cases of a variant, enum, option or result; empty for all else.
fn cases(def: &TypeDef) -> Vec<Option<Type>> {
    match def {
        TypeDef::Variant(cases) => cases.iter().map(|(_, payload)| *payload).collect(),
        TypeDef::Enum(names) => vec![None; names.len()],
        TypeDef::Option(payload) => vec![None, Some(*payload)],
        TypeDef::Result(ok, err) => vec![*ok, *err],
        _ => Vec::new(),
    }
}

/// The fields of a record or tuple; empty for all else.
fn fields(def: &TypeDef) -> Vec<Type> {
    match def {
        TypeDef::Record(fields) => fields.iter().map(|(_, ty)| *ty).collect(),
        TypeDef::Tuple(elements) => elements.clone(),
        _ => Vec::new(),
    }
}

/// Size and alignment of a type, given those of rows. Saturates.
fn size_align(ty: Type, of_row: &dyn Fn(TypeRow) -> (u64, u32)) -> (u64, u32) {
    match ty {
        Type::Row(row) => of_row(row),
        Type::Primitive(primitive) => match primitive {
            Primitive::Bool | Primitive::S8 | Primitive::U8 => (1, 1),
            Primitive::S16 | Primitive::U16 => (2, 2),
            Primitive::S32 | Primitive::U32 | Primitive::F32 | Primitive::Char => (4, 4),
            Primitive::S64 | Primitive::U64 | Primitive::F64 => (8, 8),
            Primitive::String => (8, 4),
        },
    }
}

/// Size and alignment of what a row defines, given those of the rows it refers to. Saturates.
pub(super) fn def_size_align(def: &TypeDef, of_row: &dyn Fn(TypeRow) -> (u64, u32)) -> (u64, u32) {
    let of = |ty: Type| size_align(ty, of_row);
    match def {
        TypeDef::Record(_) | TypeDef::Tuple(_) => {
            let (mut size, mut align) = (0u64, 1);
            for (field_size, field_align) in fields(def).into_iter().map(of) {
                size = align_to(size, field_align).saturating_add(field_size);
                align = align.max(field_align);
            }
            (align_to(size, align), align)
        }
        TypeDef::List(_) | TypeDef::Map(..) => (8, 4),
        TypeDef::FixedList(element, length) => {
            let (size, align) = of(*element);
            (size.saturating_mul(u64::from(*length)), align)
        }
        TypeDef::Flags(names) => match names.len() {
            0..=8 => (1, 1),
            9..=16 => (2, 2),
            count => (4 * count.div_ceil(32) as u64, 4),
        },
        TypeDef::Own(_) | TypeDef::Borrow(_) => (4, 4),
        TypeDef::Variant(_) | TypeDef::Enum(_) | TypeDef::Option(_) | TypeDef::Result(..) => {
            let cases = cases(def);
            let (payload_size, payload_align) = payload(&cases, of_row);
            let discriminant = discriminant_size(cases.len());
            let align = payload_align.max(discriminant);
            let size = align_to(u64::from(discriminant), payload_align).saturating_add(payload_size);
            (align_to(size, align), align)
        }
    }
}

/// Largest size and alignment of payloads.
fn payload(cases: &[Option<Type>], of_row: &dyn Fn(TypeRow) -> (u64, u32)) -> (u64, u32) {
    cases
        .iter()
        .flatten()
        .map(|ty| size_align(*ty, of_row))
        .fold((0, 1), |(size, align), (case_size, case_align)| (size.max(case_size), align.max(case_align)))
}

/// Size in bytes of the number of a case of a variant with so many.
fn discriminant_size(cases: usize) -> u32 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The least multiple of `align`, a power of two, that is at least `offset`. Saturates.
fn align_to(offset: u64, align: u32) -> u64 {
    let mask = u64::from(align) - 1;
    offset.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::entity::SecondaryMap;

    #[test]
    fn shapes() {
        use Primitive::{Char, F32, F64, S64, String, U8};
        use ValType::{I32, I64};
        let primitive = Type::Primitive;
        let mut types = Types::new();
        let mut sizes = SecondaryMap::new();
        let mut check = |def: TypeDef, flat: &[ValType], size_and_align: (u64, u32)| {
            let size = def_size_align(&def, &|row| sizes[row]);
            let row = types.push(def);
            sizes[row] = size;
            assert_eq!(flatten(&types, Type::Row(row)), flat);
            assert_eq!(size, size_and_align);
            Type::Row(row)
        };
        let fields = [("a", U8), ("b", S64), ("c", String), ("d", U8)];
        let fields = fields.map(|(name, ty)| (name.to_string(), primitive(ty))).into();
        check(TypeDef::Record(fields), &[I32, I64, I32, I32, I32], (32, 8));
        let cases = [("none", None), ("float", Some(F32)), ("char", Some(Char))];
        let cases = cases.map(|(name, ty)| (name.to_string(), ty.map(primitive))).into();
        // Either of f32 and i32 is i32; either of i32 and f64 is i64.
        let variant = check(TypeDef::Variant(cases), &[I32, I32], (8, 4));
        let wide = check(TypeDef::Result(Some(variant), Some(primitive(F64))), &[I32, I64, I32], (16, 8));
        // Cut off, and beyond 32 bits.
        let list = TypeDef::FixedList(wide, 1 << 29);
        let flat = [[I32, I64, I32]; 6].as_flattened()[..MAX_FLAT].to_vec();
        check(list, &flat, (1 << 33, 8));
        let names = |count: usize| (0..count).map(|n| format!("n{n}")).collect();
        check(TypeDef::Flags(names(9)), &[I32], (2, 2));
        check(TypeDef::Flags(names(33)), &[I32, I32], (8, 4));
        check(TypeDef::Enum(names(257)), &[I32], (2, 2));

        let func = |params: usize, result: Option<Type>| ComponentFuncType {
            params: (0..params).map(|n| (n.to_string(), primitive(F32))).collect(),
            result,
        };
        let ty = func(16, Some(variant));
        assert_eq!(lowered_type(&types, &ty).params.len(), 17);
        assert_eq!(lowered_type(&types, &ty).results, []);
        assert_eq!(lifted_type(&types, &ty).results, [I32]);
        let ty = func(17, None);
        assert_eq!(lifted_type(&types, &ty), FuncType { params: vec![I32], results: vec![] });
    }
}
