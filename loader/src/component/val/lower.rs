//! From [`Val`]s to core values and memory.
//!
//! What comes in: a value and the type that it has to be of. What goes out: cells, or bytes at an offset that is aligned and
//! inside the memory; or an error that says what is wrong with the value.

use std::fmt::Display;

use precast_abi::component::{MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, Primitive};

use super::{Val, pair_layout, payload_offset};
use crate::HostError;
use crate::component::abi;
use crate::component::context::LowerContext;
use crate::component::guest::ResourceUse;
use crate::component::types::{FuncType, Kind, Members, Type};
use crate::component::value::{FlatWriter, Lower};

/// Calls `$method` of the Rust value in a primitive.
macro_rules! primitive {
    ($val:expr, $primitive:expr, $value:ident => $then:expr, $($name:ident)*) => {
        match ($val, $primitive) {
            $((Val::$name($value), Primitive::$name) => $then,)*
            (val, primitive) => Err(mismatch(val, primitive.name())),
        }
    };
}

#[cold]
fn mismatch(val: &Val, wanted: impl Display) -> HostError {
    format!("the value is {}, and {wanted} is wanted", val.kind()).into()
}

/// A value that is being lowered or stored: what differs between the two.
enum Place<'a, 'f> {
    Flat(&'a mut FlatWriter<'f>),
    Memory(u32),
}

/// Lowers `val` as `ty` to core values.
pub(crate) fn lower(
    val: &Val,
    ty: Type<'_>,
    cx: &mut LowerContext<'_>,
    flat: &mut FlatWriter<'_>,
) -> Result<(), HostError> {
    put(val, ty, cx, Place::Flat(flat))
}

/// Lowers `val` as `ty` to memory at `offset`.
pub(crate) fn store(val: &Val, ty: Type<'_>, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
    put(val, ty, cx, Place::Memory(offset))
}

fn put_value(value: &impl Lower, cx: &mut LowerContext<'_>, place: Place<'_, '_>) -> Result<(), HostError> {
    match place {
        Place::Flat(flat) => value.lower(cx, flat),
        Place::Memory(offset) => value.store(cx, offset),
    }
}

fn put(val: &Val, ty: Type<'_>, cx: &mut LowerContext<'_>, place: Place<'_, '_>) -> Result<(), HostError> {
    match (ty.kind(), val) {
        (Kind::Primitive(primitive), val) => {
            primitive!(val, primitive, value => put_value(value, cx, place),
                Bool S8 U8 S16 U16 S32 U32 S64 U64 F32 F64 Char String)
        }
        (Kind::Record(members), Val::Record(fields)) if fields.len() == members.len() => {
            for ((name, _), (wanted, _)) in fields.iter().zip(members.iter()) {
                if name != wanted {
                    return Err(format!("the field is called {name:?}, and {wanted:?} is wanted").into());
                }
            }
            put_fields(fields.iter().map(|(_, val)| val), members, cx, place)
        }
        (Kind::Tuple(members), Val::Tuple(elements)) if elements.len() == members.len() => {
            put_fields(elements.iter(), members, cx, place)
        }
        (Kind::Variant(members), Val::Variant(name, payload)) => {
            let case = members.position(name).ok_or_else(|| format!("there is no case called {name:?}"))?;
            put_case(ty, members.len(), case, members.get(case).and_then(|case| case.1), payload.as_deref(), cx, place)
        }
        (Kind::Enum(members), Val::Enum(name)) => {
            let case = members.position(name).ok_or_else(|| format!("there is no case called {name:?}"))?;
            put_case(ty, members.len(), case, None, None, cx, place)
        }
        (Kind::Option(payload), Val::Option(val)) => {
            let some = val.is_some();
            put_case(ty, 2, some.into(), some.then_some(payload), val.as_deref(), cx, place)
        }
        (Kind::Result(ok, err), Val::Result(val)) => match val {
            Ok(val) => put_case(ty, 2, 0, ok, val.as_deref(), cx, place),
            Err(val) => put_case(ty, 2, 1, err, val.as_deref(), cx, place),
        },
        (Kind::Flags(members), Val::Flags(names)) => put_flags(names, members, cx, place),
        (Kind::List(element), Val::List(list)) => {
            let layout = element.layout();
            let pointer = cx.alloc_list(list.len(), layout.size, layout.align)?;
            put_elements(list, element, cx, pointer)?;
            put_list(pointer, list.len(), cx, place)
        }
        (Kind::FixedList(element, len), Val::List(list)) if list.len() == len as usize => match place {
            Place::Memory(offset) => put_elements(list, element, cx, offset),
            Place::Flat(flat) => list.iter().try_for_each(|val| lower(val, element, cx, flat)),
        },
        (Kind::Map(key, value), Val::Map(pairs)) => {
            let (size, align, second) = pair_layout(key, value);
            let pointer = cx.alloc_list(pairs.len(), size, align)?;
            let mut at = pointer;
            for (one, other) in pairs {
                store(one, key, cx, at)?;
                store(other, value, cx, at + second)?;
                at += size;
            }
            put_list(pointer, pairs.len(), cx, place)
        }
        (Kind::Own(_) | Kind::Borrow(_), Val::Resource(resource)) => {
            let Some(wanted) = ResourceUse::of(ty) else { return Err(mismatch(val, ty)) };
            let handle = cx.resource_like(resource.given(), wanted)?;
            put_value(&handle, cx, place)
        }
        _ => Err(mismatch(val, ty)),
    }
}

fn put_fields<'v>(
    fields: impl Iterator<Item = &'v Val>,
    members: Members<'_>,
    cx: &mut LowerContext<'_>,
    place: Place<'_, '_>,
) -> Result<(), HostError> {
    match place {
        Place::Flat(flat) => fields.zip(members.types()).try_for_each(|(val, ty)| lower(val, ty, cx, flat)),
        Place::Memory(offset) => {
            let mut at = offset;
            for (val, ty) in fields.zip(members.types()) {
                let layout = ty.layout();
                at = abi::align_to(at, layout.align);
                store(val, ty, cx, at)?;
                at += layout.size;
            }
            Ok(())
        }
    }
}

/// Case number `case` of the `cases` of `ty`, with a payload if `payload` is its type.
fn put_case(
    ty: Type<'_>,
    cases: usize,
    case: usize,
    payload: Option<Type<'_>>,
    val: Option<&Val>,
    cx: &mut LowerContext<'_>,
    place: Place<'_, '_>,
) -> Result<(), HostError> {
    let payload = match (payload, val) {
        (Some(payload), Some(val)) => Some((payload, val)),
        (None, None) => None,
        (Some(payload), None) => return Err(format!("the case has no payload, and {payload} is wanted").into()),
        (None, Some(val)) => return Err(format!("the payload is {}, and none is wanted", val.kind()).into()),
    };
    match place {
        Place::Flat(flat) => {
            let end = flat.len() + ty.layout().flat as usize;
            flat.push(case as u64);
            if let Some((payload, val)) = payload {
                lower(val, payload, cx, flat)?;
            }
            flat.pad_to(end);
            Ok(())
        }
        Place::Memory(offset) => {
            match abi::discriminant_size(cases) {
                1 => cx.write_u8(offset, case as u8),
                2 => cx.write_u16(offset, case as u16),
                _ => cx.write_u32(offset, case as u32),
            }
            let at = offset + payload_offset(ty, cases);
            payload.map_or(Ok(()), |(payload, val)| store(val, payload, cx, at))
        }
    }
}
fn put_flags(
    names: &[String],
    members: Members<'_>,
    cx: &mut LowerContext<'_>,
    place: Place<'_, '_>,
) -> Result<(), HostError> {
    let mut words = vec![0u32; abi::flags_words(members.len())];
    for name in names {
        let flag = members.position(name).ok_or_else(|| format!("there is no flag called {name:?}"))?;
        words[flag / 32] |= 1 << (flag % 32);
    }
    match place {
        Place::Flat(flat) => words.iter().for_each(|word| flat.push((*word).into())),
        Place::Memory(offset) => match abi::flags_layout(members.len()).0 {
            1 => cx.write_u8(offset, words[0] as u8),
            2 => cx.write_u16(offset, words[0] as u16),
            _ => (0..).zip(&words).for_each(|(at, word)| cx.write_u32(offset + 4 * at, *word)),
        },
    }
    Ok(())
}

fn put_elements(list: &[Val], ty: Type<'_>, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
    let size = ty.layout().size;
    let mut at = offset;
    for val in list {
        store(val, ty, cx, at)?;
        at += size;
    }
    Ok(())
}

fn put_list(pointer: u32, len: usize, cx: &mut LowerContext<'_>, place: Place<'_, '_>) -> Result<(), HostError> {
    put_value(&(pointer, len as u32), cx, place)
}
/// Lowers parameters to cells.
pub(crate) fn lower_params(
    ty: &FuncType,
    params: &[Val],
    cx: &mut LowerContext<'_>,
    cells: &mut [u64],
) -> Result<(), HostError> {
    if params.len() != ty.params().len() {
        return Err(format!("{} parameters are given, and {} wanted", params.len(), ty.params().len()).into());
    }
    let layout = ty.layout().0;
    if layout.flat as usize <= MAX_FLAT_PARAMS {
        return put_fields(params.iter(), ty.params(), cx, Place::Flat(&mut FlatWriter::new(cells)));
    }
    let pointer = cx.realloc(layout.size, layout.align)?;
    cells[0] = pointer.into();
    put_fields(params.iter(), ty.params(), cx, Place::Memory(pointer))
}

/// Lowers a result to memory where `pointer` says, or to a cell.
pub(crate) fn lower_result(
    ty: &FuncType,
    result: Option<&Val>,
    cx: &mut LowerContext<'_>,
    pointer: impl FnOnce() -> u32,
) -> Result<Option<u64>, HostError> {
    let (wanted, result) = match (ty.result(), result) {
        (None, None) => return Ok(None),
        (Some(wanted), Some(result)) => (wanted, result),
        (Some(wanted), None) => return Err(format!("the host function gave no result, and {wanted} is wanted").into()),
        (None, Some(result)) => {
            return Err(format!("the host function gave {}, and no result is wanted", result.kind()).into());
        }
    };
    let layout = wanted.layout();
    if layout.flat as usize <= MAX_FLAT_RESULTS {
        let mut flat = [0];
        lower(result, wanted, cx, &mut FlatWriter::new(&mut flat))?;
        return Ok(Some(flat[0]));
    }
    let pointer = pointer();
    cx.area(pointer, layout.size, layout.align)?;
    store(result, wanted, cx, pointer)?;
    Ok(None)
}
