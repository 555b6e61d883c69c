//! Values whose types are known at run time only.
//!
//! What comes in: a [`Val`], or cells and memory of a guest, and the type. What goes out: the other. A value that is
//! none of its type is an error that says where.

mod lift;
mod lower;

use std::fmt::{Display, Formatter};

use precast_abi::component::MAX_FLAT_PARAMS;

use super::abi;
use super::resource::ResourceAny;
use super::types::{FuncType, Kind, Type};
#[cfg(test)]
pub(crate) use lift::{lift, load};
pub(crate) use lift::{lift_params, lift_result};
#[cfg(test)]
pub(crate) use lower::{lower, store};
pub(crate) use lower::{lower_params, lower_result};

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

/// Size and alignment of a map's entry, and where the value is in it.
fn pair_layout(key: Type<'_>, value: Type<'_>) -> (u32, u32, u32) {
    let fields = [key, value].map(|ty| (ty.layout().size, ty.layout().align));
    let (size, align) = abi::record_size(&fields);
    (size, align, abi::record_offset(&fields, 1))
}
