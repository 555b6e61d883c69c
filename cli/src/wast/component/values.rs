//! Values of components in scripts: arguments become what the loader takes, and results are held against what is
//! expected. Floats are compared by their bits, but any NaN is as good as another: the Canonical ABI keeps none of their
//! bits.

use precast_loader::component::Val;
use wast::component::WastVal;

use crate::component::Shown;

/// The value of an argument.
pub(super) fn argument(argument: &WastVal<'_>) -> Val {
    let boxed = |value: &Option<Box<WastVal<'_>>>| value.as_deref().map(|value| Box::new(self::argument(value)));
    let all = |values: &[WastVal<'_>]| values.iter().map(self::argument).collect();
    match argument {
        WastVal::Bool(value) => Val::Bool(*value),
        WastVal::U8(value) => Val::U8(*value),
        WastVal::S8(value) => Val::S8(*value),
        WastVal::U16(value) => Val::U16(*value),
        WastVal::S16(value) => Val::S16(*value),
        WastVal::U32(value) => Val::U32(*value),
        WastVal::S32(value) => Val::S32(*value),
        WastVal::U64(value) => Val::U64(*value),
        WastVal::S64(value) => Val::S64(*value),
        WastVal::F32(value) => Val::F32(f32::from_bits(value.bits)),
        WastVal::F64(value) => Val::F64(f64::from_bits(value.bits)),
        WastVal::Char(value) => Val::Char(*value),
        WastVal::String(value) => Val::String((*value).into()),
        WastVal::List(values) => Val::List(all(values)),
        WastVal::Tuple(values) => Val::Tuple(all(values)),
        WastVal::Record(fields) => {
            Val::Record(fields.iter().map(|(name, value)| (name.to_string(), self::argument(value))).collect())
        }
        WastVal::Variant(case, payload) => Val::Variant((*case).into(), boxed(payload)),
        WastVal::Enum(case) => Val::Enum((*case).into()),
        WastVal::Option(payload) => Val::Option(boxed(payload)),
        WastVal::Result(Ok(payload)) => Val::Result(Ok(boxed(payload))),
        WastVal::Result(Err(payload)) => Val::Result(Err(boxed(payload))),
        WastVal::Flags(names) => Val::Flags(names.iter().map(|name| name.to_string()).collect()),
    }
}

/// Holds a result against what is expected.
///
/// # Errors
/// What was expected and what came, if they differ.
pub(super) fn check(expected: &[WastVal<'_>], got: Option<&Val>) -> Result<(), String> {
    let expected: Vec<_> = expected.iter().map(argument).collect();
    if expected.len() == usize::from(got.is_some())
        && expected.iter().zip(got).all(|(expected, got)| same(expected, got))
    {
        return Ok(());
    }
    let shown =
        |value: Option<&Val>| value.map_or("nothing".into(), |value| format!("{} ({})", Shown(value), kind(value)));
    Err(format!("expected {}, got {}", shown(expected.first()), shown(got)))
}

fn same(expected: &Val, got: &Val) -> bool {
    let all = |expected: &[Val], got: &[Val]| {
        expected.len() == got.len() && expected.iter().zip(got).all(|(expected, got)| same(expected, got))
    };
    let boxed = |expected: &Option<Box<Val>>, got: &Option<Box<Val>>| match (expected, got) {
        (Some(expected), Some(got)) => same(expected, got),
        (None, None) => true,
        _ => false,
    };
    match (expected, got) {
        (Val::F32(expected), Val::F32(got)) => expected.is_nan() && got.is_nan() || expected.to_bits() == got.to_bits(),
        (Val::F64(expected), Val::F64(got)) => expected.is_nan() && got.is_nan() || expected.to_bits() == got.to_bits(),
        (Val::List(expected), Val::List(got)) | (Val::Tuple(expected), Val::Tuple(got)) => all(expected, got),
        // Scripts have no notation for maps, only for lists of pairs.
        (Val::List(expected), Val::Map(got)) => {
            let pairs: Vec<_> = got.iter().map(|(key, value)| Val::Tuple(vec![key.clone(), value.clone()])).collect();
            all(expected, &pairs)
        }
        (Val::Record(expected), Val::Record(got)) => {
            let equal = |((name, expected), (other, got)): (&(String, Val), &(String, Val))| {
                name == other && same(expected, got)
            };
            expected.len() == got.len() && expected.iter().zip(got).all(equal)
        }
        (Val::Variant(expected, payload), Val::Variant(got, other)) => expected == got && boxed(payload, other),
        (Val::Option(expected), Val::Option(got)) => boxed(expected, got),
        (Val::Result(Ok(expected)), Val::Result(Ok(got))) | (Val::Result(Err(expected)), Val::Result(Err(got))) => {
            boxed(expected, got)
        }
        // A set: the order says nothing.
        (Val::Flags(expected), Val::Flags(got)) => {
            expected.len() == got.len() && expected.iter().all(|flag| got.contains(flag))
        }
        (expected, got) => expected == got,
    }
}

/// The kind of a value, since `1` is one of many types.
fn kind(value: &Val) -> &'static str {
    match value {
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
        Val::List(_) => "list",
        Val::Map(_) => "map",
        Val::Record(_) => "record",
        Val::Tuple(_) => "tuple",
        Val::Variant(..) => "variant",
        Val::Enum(_) => "enum",
        Val::Option(_) => "option",
        Val::Result(_) => "result",
        Val::Flags(_) => "flags",
        Val::Resource(_) => "resource",
    }
}

#[cfg(test)]
mod tests {
    use wast::parser::{self, ParseBuffer};

    use super::*;

    /// Whether `(assert_return … EXPECTED)` accepts the value that `got` is.
    fn accepts(expected: &str, got: &str) -> bool {
        let buffers = [expected, got].map(|text| ParseBuffer::new(text).unwrap());
        let [expected, got] = buffers.each_ref().map(|tokens| parser::parse::<WastVal<'_>>(tokens).unwrap());
        check(&[expected], Some(&argument(&got))).is_ok()
    }

    #[test]
    fn values_are_compared_with_their_types() {
        for same in [
            "u8.const 1",
            "char.const \"x\"",
            "f32.const -0.0",
            "f64.const nan",
            "str.const \"text\"",
            "list.const (u8.const 1) (u8.const 2)",
            "record.const (field \"a\" bool.const true)",
            "variant.const \"a\" (u8.const 1)",
            "option.none",
            "result.err (str.const \"no\")",
        ] {
            assert!(accepts(same, same), "{same}");
        }
        for (expected, got) in [
            ("u8.const 1", "s8.const 1"),
            ("f32.const 0.0", "f32.const -0.0"),
            ("list.const (u8.const 1)", "list.const"),
            ("tuple.const (u8.const 1)", "list.const (u8.const 1)"),
            ("record.const (field \"a\" u8.const 1)", "record.const (field \"b\" u8.const 1)"),
            ("variant.const \"a\"", "variant.const \"a\" (u8.const 1)"),
            ("option.some (u8.const 1)", "option.none"),
            ("result.ok", "result.err"),
            ("enum.const \"a\"", "enum.const \"b\""),
            ("flags.const \"a\"", "flags.const"),
        ] {
            assert!(!accepts(expected, got), "{expected} {got}");
        }
    }

    #[test]
    fn any_nan_and_any_order_of_flags_will_do() {
        assert!(accepts("f32.const nan", "f32.const -nan:0x1"));
        assert!(accepts("flags.const \"a\" \"b\"", "flags.const \"b\" \"a\""));
    }

    #[test]
    fn pairs_stand_for_maps() {
        let tokens = ParseBuffer::new("list.const (tuple.const (u8.const 1) (bool.const true))").unwrap();
        let expected = [parser::parse::<WastVal<'_>>(&tokens).unwrap()];
        assert_eq!(check(&expected, Some(&Val::Map(vec![(Val::U8(1), Val::Bool(true))]))), Ok(()));
        assert!(check(&expected, Some(&Val::Map(vec![]))).is_err());
    }

    #[test]
    fn mismatches_tell_both_sides() {
        let tokens = ParseBuffer::new("u8.const 1").unwrap();
        let expected = [parser::parse::<WastVal<'_>>(&tokens).unwrap()];
        assert_eq!(check(&expected, Some(&Val::S8(1))), Err("expected 1 (u8), got 1 (s8)".into()));
        assert_eq!(check(&expected, None), Err("expected 1 (u8), got nothing".into()));
        assert_eq!(check(&[], None), Ok(()));
    }
}
