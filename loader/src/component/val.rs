//! Values whose types are known at run time only.
//!
//! What comes in: a [`Val`], or cells and memory of a guest, and the type. What goes out: the other. A value that is
//! none of its type is an error that says where.

use std::fmt::{Display, Formatter};

use precast_abi::component::{MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, Primitive};

use super::abi;
use super::context::{LiftContext, LowerContext};
use super::guest::ResourceUse;
use super::resource::ResourceAny;
use super::types::{FuncType, Kind, Members, Type};
use super::value::{FlatReader, FlatWriter, Lift, Lower};
use crate::HostError;

/// A value of any component-level type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are WIT's")]
pub enum Val {
    Bool(bool),
    S8(i8),
    U8(u8),
    S16(i16),
    U16(u16),
    S32(i32),
    U32(u32),
    S64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Char(char),
    String(String),
    /// Of any length or a fixed one.
    List(Vec<Val>),
    Map(Vec<(Val, Val)>),
    /// Names and values of the fields, in the type's order.
    Record(Vec<(String, Val)>),
    Tuple(Vec<Val>),
    /// Name and payload of the case.
    Variant(String, Option<Box<Val>>),
    Enum(String),
    Option(Option<Box<Val>>),
    Result(Result<Option<Box<Val>>, Option<Box<Val>>>),
    /// Names of the flags that are set.
    Flags(Vec<String>),
    Resource(ResourceAny),
}

impl Val {
    fn kind(&self) -> &'static str {
        match self {
            Val::Bool(_) => "bool",
            Val::S8(_) => "s8",
            Val::U8(_) => "u8",
            Val::S16(_) => "s16",
            Val::U16(_) => "u16",
            Val::S32(_) => "s32",
            Val::U32(_) => "u32",
            Val::S64(_) => "s64",
            Val::U64(_) => "u64",
            Val::F32(_) => "f32",
            Val::F64(_) => "f64",
            Val::Char(_) => "char",
            Val::String(_) => "string",
            Val::List(_) => "a list",
            Val::Map(_) => "a map",
            Val::Record(_) => "a record",
            Val::Tuple(_) => "a tuple",
            Val::Variant(..) => "a variant",
            Val::Enum(_) => "an enum",
            Val::Option(_) => "an option",
            Val::Result(_) => "a result",
            Val::Flags(_) => "flags",
            Val::Resource(_) => "a resource",
        }
    }
}

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

/// Where the payload of a variant with `cases` cases is.
fn payload_offset(ty: Type<'_>, cases: usize) -> u32 {
    let align = |ty: Type<'_>| ty.layout().align;
    let align = match ty.kind() {
        Kind::Variant(members) => members.types().map(align).max(),
        Kind::Option(payload) => Some(align(payload)),
        Kind::Result(ok, err) => ok.into_iter().chain(err).map(align).max(),
        _ => None,
    };
    abi::align_to(abi::discriminant_size(cases), align.unwrap_or(1))
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

/// Size and alignment of a map's entry, and where the value is in it.
fn pair_layout(key: Type<'_>, value: Type<'_>) -> (u32, u32, u32) {
    let fields = [key, value].map(|ty| (ty.layout().size, ty.layout().align));
    let (size, align) = abi::record_size(&fields);
    (size, align, abi::record_offset(&fields, 1))
}

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

impl Display for Val {
    /// In the syntax of WAVE, as far as it goes: handles and maps have none there.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let list = |f: &mut Formatter<'_>, open: &str, values: &[Val], close: &str| {
            f.write_str(open)?;
            for (at, value) in values.iter().enumerate() {
                write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
            }
            f.write_str(close)
        };
        match self {
            Val::Bool(value) => write!(f, "{value}"),
            Val::S8(value) => write!(f, "{value}"),
            Val::U8(value) => write!(f, "{value}"),
            Val::S16(value) => write!(f, "{value}"),
            Val::U16(value) => write!(f, "{value}"),
            Val::S32(value) => write!(f, "{value}"),
            Val::U32(value) => write!(f, "{value}"),
            Val::S64(value) => write!(f, "{value}"),
            Val::U64(value) => write!(f, "{value}"),
            Val::F32(value) => write!(f, "{value}"),
            Val::F64(value) => write!(f, "{value}"),
            Val::Char(value) => write!(f, "{value:?}"),
            Val::String(value) => write!(f, "{value:?}"),
            Val::List(values) => list(f, "[", values, "]"),
            Val::Tuple(values) => list(f, "(", values, ")"),
            Val::Map(pairs) => {
                f.write_str("[")?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}({key}, {value})", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Val::Record(fields) => {
                f.write_str("{")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Val::Variant(name, None) | Val::Enum(name) => f.write_str(name),
            Val::Variant(name, Some(payload)) => write!(f, "{name}({payload})"),
            Val::Option(None) => f.write_str("none"),
            Val::Option(Some(payload)) => write!(f, "some({payload})"),
            Val::Result(Ok(None)) => f.write_str("ok"),
            Val::Result(Ok(Some(payload))) => write!(f, "ok({payload})"),
            Val::Result(Err(None)) => f.write_str("err"),
            Val::Result(Err(Some(payload))) => write!(f, "err({payload})"),
            Val::Flags(names) => write!(f, "{{{}}}", names.join(", ")),
            Val::Resource(resource) => write!(f, "{resource:?}"),
        }
    }
}

/// Number of core values of a function's parameters.
pub(crate) fn param_cells(ty: &FuncType) -> usize {
    let layout = ty.layout().0;
    if layout.flat as usize > MAX_FLAT_PARAMS { 1 } else { layout.flat as usize }
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
