//! From core values and memory to [`Val`]s.
//!
//! What comes in: cells, or an offset that is aligned and inside the memory with all bytes of the type. What goes out: the
//! value, or the error of bits that are none.

use precast_abi::component::{MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, Primitive};

use super::{Val, pair_layout, payload_offset};
use crate::HostError;
use crate::component::abi;
use crate::component::context::LiftContext;
use crate::component::guest::ResourceUse;
use crate::component::resource::ResourceAny;
use crate::component::types::{FuncType, Kind, Members, Type};
use crate::component::value::{FlatReader, Lift};

/// A value that is being lifted or loaded: what differs between the two.
enum Source<'a, 'f> {
    Flat(&'a mut FlatReader<'f>),
    Memory(u32),
}

/// Lifts a value of `ty` from core values.
pub(crate) fn lift(ty: Type<'_>, cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Val, HostError> {
    get(ty, cx, Source::Flat(flat))
}

/// Lifts a value of `ty` from memory at `offset`.
pub(crate) fn load(ty: Type<'_>, cx: &mut LiftContext<'_>, offset: u32) -> Result<Val, HostError> {
    get(ty, cx, Source::Memory(offset))
}

fn get_value<T: Lift>(cx: &mut LiftContext<'_>, source: Source<'_, '_>) -> Result<T, HostError> {
    match source {
        Source::Flat(flat) => T::lift(cx, flat),
        Source::Memory(offset) => T::load(cx, offset),
    }
}

fn get(ty: Type<'_>, cx: &mut LiftContext<'_>, source: Source<'_, '_>) -> Result<Val, HostError> {
    Ok(match ty.kind() {
        Kind::Primitive(primitive) => match primitive {
            Primitive::Bool => Val::Bool(get_value(cx, source)?),
            Primitive::S8 => Val::S8(get_value(cx, source)?),
            Primitive::U8 => Val::U8(get_value(cx, source)?),
            Primitive::S16 => Val::S16(get_value(cx, source)?),
            Primitive::U16 => Val::U16(get_value(cx, source)?),
            Primitive::S32 => Val::S32(get_value(cx, source)?),
            Primitive::U32 => Val::U32(get_value(cx, source)?),
            Primitive::S64 => Val::S64(get_value(cx, source)?),
            Primitive::U64 => Val::U64(get_value(cx, source)?),
            Primitive::F32 => Val::F32(get_value(cx, source)?),
            Primitive::F64 => Val::F64(get_value(cx, source)?),
            Primitive::Char => Val::Char(get_value(cx, source)?),
            Primitive::String => Val::String(get_value(cx, source)?),
        },
        Kind::Record(members) => {
            // Each field has its name with it.
            cx.spend(2 * (members.len() * size_of::<(String, Val)>()) as u64)?;
            let values = get_fields(members, cx, source)?;
            Val::Record(members.iter().map(|(name, _)| name.to_owned()).zip(values).collect())
        }
        Kind::Tuple(members) => {
            cx.spend((members.len() * size_of::<Val>()) as u64)?;
            Val::Tuple(get_fields(members, cx, source)?)
        }
        Kind::Variant(members) => {
            let (case, payload) = get_case(ty, members.len(), |case| members.get(case)?.1, cx, source)?;
            Val::Variant(name(members, case), payload)
        }
        Kind::Enum(members) => Val::Enum(name(members, get_case(ty, members.len(), |_| None, cx, source)?.0)),
        Kind::Option(payload) => Val::Option(get_case(ty, 2, |case| (case == 1).then_some(payload), cx, source)?.1),
        Kind::Result(ok, err) => {
            let (case, payload) = get_case(ty, 2, |case| if case == 0 { ok } else { err }, cx, source)?;
            Val::Result(if case == 0 { Ok(payload) } else { Err(payload) })
        }
        Kind::Flags(members) => Val::Flags(get_flags(members, cx, source)),
        Kind::List(element) => {
            let (pointer, len) = get_value::<(u32, u32)>(cx, source)?;
            let layout = element.layout();
            cx.list(pointer, len, layout.size, layout.align, size_of::<Val>())?;
            Val::List(get_elements(element, len, cx, pointer)?)
        }
        Kind::FixedList(element, len) => {
            cx.spend(u64::from(len) * size_of::<Val>() as u64)?;
            Val::List(match source {
                Source::Flat(flat) => (0..len).map(|_| lift(element, cx, flat)).collect::<Result<_, _>>()?,
                Source::Memory(offset) => get_elements(element, len, cx, offset)?,
            })
        }
        Kind::Map(key, value) => {
            let (pointer, len) = get_value::<(u32, u32)>(cx, source)?;
            let (size, align, second) = pair_layout(key, value);
            cx.list(pointer, len, size, align, size_of::<(Val, Val)>())?;
            let mut pairs = Vec::new();
            for at in 0..len {
                let at = pointer + at * size;
                pairs.push((load(key, cx, at)?, load(value, cx, at + second)?));
            }
            Val::Map(pairs)
        }
        Kind::Own(_) | Kind::Borrow(_) => {
            let handle = get_value::<u32>(cx, source)?;
            let wanted = ResourceUse::of(ty).ok_or("no resource")?;
            let (of, representation) = cx.resource_like(handle, wanted)?;
            Val::Resource(ResourceAny::lifted(cx, of, representation))
        }
    })
}

fn name(members: Members<'_>, at: usize) -> String {
    members.get(at).map_or_else(String::new, |(name, _)| name.to_owned())
}

fn get_fields(members: Members<'_>, cx: &mut LiftContext<'_>, source: Source<'_, '_>) -> Result<Vec<Val>, HostError> {
    match source {
        Source::Flat(flat) => members.types().map(|ty| lift(ty, cx, flat)).collect(),
        Source::Memory(offset) => {
            let mut at = offset;
            let mut next = |ty: Type<'_>| {
                let layout = ty.layout();
                let offset = abi::align_to(at, layout.align);
                at = offset + layout.size;
                load(ty, cx, offset)
            };
            members.types().map(&mut next).collect()
        }
    }
}

/// Number and payload of the case of a value of `ty`, whose payloads are of the types that `payload` gives.
fn get_case<'t>(
    ty: Type<'t>,
    cases: usize,
    payload: impl Fn(usize) -> Option<Type<'t>>,
    cx: &mut LiftContext<'_>,
    source: Source<'_, '_>,
) -> Result<(usize, Option<Box<Val>>), HostError> {
    match source {
        Source::Flat(flat) => {
            let end = flat.position() + ty.layout().flat as usize;
            let case = abi::discriminant(flat.next(), cases as u32)? as usize;
            let value = payload(case).map(|ty| lift(ty, cx, flat).map(Box::new)).transpose()?;
            flat.skip_to(end);
            Ok((case, value))
        }
        Source::Memory(offset) => {
            let raw = match abi::discriminant_size(cases) {
                1 => cx.u8(offset).into(),
                2 => cx.u16(offset).into(),
                _ => cx.u32(offset).into(),
            };
            let case = abi::discriminant(raw, cases as u32)? as usize;
            let at = offset + payload_offset(ty, cases);
            Ok((case, payload(case).map(|ty| load(ty, cx, at).map(Box::new)).transpose()?))
        }
    }
}

fn get_flags(members: Members<'_>, cx: &mut LiftContext<'_>, source: Source<'_, '_>) -> Vec<String> {
    let words = abi::flags_words(members.len());
    let words: Vec<u32> = match source {
        Source::Flat(flat) => (0..words).map(|_| flat.next() as u32).collect(),
        Source::Memory(offset) => match abi::flags_layout(members.len()).0 {
            1 => vec![cx.u8(offset).into()],
            2 => vec![cx.u16(offset).into()],
            _ => (0..words).map(|at| cx.u32(offset + 4 * at as u32)).collect(),
        },
    };
    let set = |at: &usize| words[at / 32] >> (at % 32) & 1 != 0;
    (0..members.len()).filter(set).map(|at| name(members, at)).collect()
}

fn get_elements(ty: Type<'_>, len: u32, cx: &mut LiftContext<'_>, offset: u32) -> Result<Vec<Val>, HostError> {
    let size = ty.layout().size;
    (0..len).map(|at| load(ty, cx, offset + at * size)).collect()
}
/// Lifts parameters from cells.
pub(crate) fn lift_params(ty: &FuncType, cx: &mut LiftContext<'_>, cells: &[u64]) -> Result<Vec<Val>, HostError> {
    let layout = ty.layout().0;
    if layout.flat as usize <= MAX_FLAT_PARAMS {
        return get_fields(ty.params(), cx, Source::Flat(&mut FlatReader::new(cells)));
    }
    let pointer = cells[0] as u32;
    cx.area(pointer, layout.size, layout.align)?;
    get_fields(ty.params(), cx, Source::Memory(pointer))
}
/// Lifts a result from the cell of a core function's result.
pub(crate) fn lift_result(ty: &FuncType, cx: &mut LiftContext<'_>, cells: &[u64]) -> Result<Option<Val>, HostError> {
    let Some(wanted) = ty.result() else { return Ok(None) };
    let layout = wanted.layout();
    if layout.flat as usize <= MAX_FLAT_RESULTS {
        return lift(wanted, cx, &mut FlatReader::new(cells)).map(Some);
    }
    let pointer = cells[0] as u32;
    cx.area(pointer, layout.size, layout.align)?;
    load(wanted, cx, pointer).map(Some)
}
