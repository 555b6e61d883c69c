//! Values of scripts: arguments become what the loader takes, and what it returns is held against what is expected.
//!
//! Floats are compared by their bits. `nan:canonical` and `nan:arithmetic` stand for any NaN of their kind, of either
//! sign.

use std::fmt::Write;

use precast_loader::{ExternRef, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};

/// The value of an argument.
///
/// # Errors
/// For references that the loader has no value for.
pub(super) fn argument(argument: &WastArgCore<'_>) -> Result<Val, String> {
    Ok(match argument {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(heap) if is_func(heap) => Val::FuncRef(None),
        WastArgCore::RefNull(heap) if is_extern(heap) => Val::ExternRef(None),
        WastArgCore::RefExtern(value) => Val::ExternRef(Some(ExternRef::new(*value))),
        WastArgCore::RefNull(_) | WastArgCore::RefHost(_) => {
            return Err(format!("unsupported: an argument {argument:?}"));
        }
    })
}

/// Holds results against what is expected of them.
///
/// # Errors
/// What was expected and what came, if they differ.
pub(super) fn check(expected: &[WastRetCore<'_>], got: &[Val]) -> Result<(), String> {
    if expected.len() == got.len() && expected.iter().zip(got).all(|(expected, got)| matches(expected, got)) {
        return Ok(());
    }
    let expected = list(expected.iter().map(describe_expected));
    let got = list(got.iter().map(describe));
    Err(format!("expected {expected}, got {got}"))
}

fn matches(expected: &WastRetCore<'_>, got: &Val) -> bool {
    match (expected, got) {
        (WastRetCore::I32(expected), Val::I32(got)) => expected == got,
        (WastRetCore::I64(expected), Val::I64(got)) => expected == got,
        (WastRetCore::F32(expected), Val::F32(got)) => matches_f32(expected, *got),
        (WastRetCore::F64(expected), Val::F64(got)) => matches_f64(expected, *got),
        (WastRetCore::V128(expected), Val::V128(got)) => matches_v128(expected, got.to_le_bytes()),
        (WastRetCore::RefNull(None), Val::FuncRef(None) | Val::ExternRef(None)) => true,
        (WastRetCore::RefNull(Some(heap)), Val::FuncRef(None)) => is_func(heap),
        (WastRetCore::RefNull(Some(heap)), Val::ExternRef(None)) => is_extern(heap),
        (WastRetCore::RefExtern(None), Val::ExternRef(Some(_))) => true,
        (WastRetCore::RefExtern(Some(expected)), Val::ExternRef(Some(got))) => got.downcast_ref() == Some(expected),
        // An index says which function of the module it is, but a function that came out does not tell its index.
        (WastRetCore::RefFunc(_), Val::FuncRef(Some(_))) => true,
        (WastRetCore::Either(cases), got) => cases.iter().any(|case| matches(case, got)),
        // Values of the garbage collection proposal, which the loader does not have, and values of another type.
        _ => false,
    }
}

/// An exponent of ones and the highest bit of the mantissa.
const QUIET_F32: u32 = 0x7fc0_0000;
const QUIET_F64: u64 = 0x7ff8_0000_0000_0000;

fn matches_f32(expected: &NanPattern<F32>, got: u32) -> bool {
    match expected {
        NanPattern::CanonicalNan => got & !(1 << 31) == QUIET_F32,
        NanPattern::ArithmeticNan => got & QUIET_F32 == QUIET_F32,
        NanPattern::Value(expected) => expected.bits == got,
    }
}

fn matches_f64(expected: &NanPattern<F64>, got: u64) -> bool {
    match expected {
        NanPattern::CanonicalNan => got & !(1 << 63) == QUIET_F64,
        NanPattern::ArithmeticNan => got & QUIET_F64 == QUIET_F64,
        NanPattern::Value(expected) => expected.bits == got,
    }
}

fn matches_v128(expected: &V128Pattern, got: [u8; 16]) -> bool {
    match expected {
        V128Pattern::I8x16(expected) => lanes(got).map(i8::from_le_bytes).eq(*expected),
        V128Pattern::I16x8(expected) => lanes(got).map(i16::from_le_bytes).eq(*expected),
        V128Pattern::I32x4(expected) => lanes(got).map(i32::from_le_bytes).eq(*expected),
        V128Pattern::I64x2(expected) => lanes(got).map(i64::from_le_bytes).eq(*expected),
        V128Pattern::F32x4(expected) => {
            expected.iter().zip(lanes(got)).all(|(expected, got)| matches_f32(expected, u32::from_le_bytes(got)))
        }
        V128Pattern::F64x2(expected) => {
            expected.iter().zip(lanes(got)).all(|(expected, got)| matches_f64(expected, u64::from_le_bytes(got)))
        }
    }
}

/// The lanes of a vector, `N` bytes each, lane 0 first.
fn lanes<const N: usize>(vector: [u8; 16]) -> impl Iterator<Item = [u8; N]> {
    (0..16 / N).map(move |lane| std::array::from_fn(|byte| vector[lane * N + byte]))
}

fn is_func(heap: &HeapType<'_>) -> bool {
    // A concrete type may be of another hierarchy, but those have no values yet.
    matches!(
        heap,
        HeapType::Abstract { shared: false, ty: AbstractHeapType::Func | AbstractHeapType::NoFunc }
            | HeapType::Concrete(_)
    )
}

fn is_extern(heap: &HeapType<'_>) -> bool {
    matches!(heap, HeapType::Abstract { shared: false, ty: AbstractHeapType::Extern | AbstractHeapType::NoExtern })
}

fn list(values: impl Iterator<Item = String>) -> String {
    match values.collect::<Vec<_>>() {
        values if values.is_empty() => "nothing".into(),
        values => values.join(" "),
    }
}

/// A value in the text format, floats with their bits.
fn describe(value: &Val) -> String {
    match value {
        Val::I32(value) => format!("(i32.const {value})"),
        Val::I64(value) => format!("(i64.const {value})"),
        Val::F32(bits) => format!("(f32.const {})", describe_f32(*bits)),
        Val::F64(bits) => format!("(f64.const {})", describe_f64(*bits)),
        Val::V128(value) => {
            let lanes = lanes(value.to_le_bytes()).map(u32::from_le_bytes);
            lanes.fold("(v128.const i32x4".into(), |text, lane| format!("{text} {lane:#010x}")) + ")"
        }
        Val::FuncRef(None) => "(ref.null func)".into(),
        Val::FuncRef(Some(_)) => "(ref.func)".into(),
        Val::ExternRef(None) => "(ref.null extern)".into(),
        Val::ExternRef(Some(reference)) => match reference.downcast_ref::<u32>() {
            Some(value) => format!("(ref.extern {value})"),
            None => "(ref.extern)".into(),
        },
    }
}

fn describe_expected(expected: &WastRetCore<'_>) -> String {
    match expected {
        WastRetCore::I32(value) => format!("(i32.const {value})"),
        WastRetCore::I64(value) => format!("(i64.const {value})"),
        WastRetCore::F32(pattern) => {
            format!("(f32.const {})", describe_pattern(pattern, |value| describe_f32(value.bits)))
        }
        WastRetCore::F64(pattern) => {
            format!("(f64.const {})", describe_pattern(pattern, |value| describe_f64(value.bits)))
        }
        WastRetCore::V128(pattern) => format!("(v128.const {})", describe_v128(pattern)),
        WastRetCore::Either(cases) => format!("(either {})", list(cases.iter().map(describe_expected))),
        WastRetCore::RefExtern(Some(value)) => format!("(ref.extern {value})"),
        other => format!("({other:?})"),
    }
}

fn describe_f32(bits: u32) -> String {
    format!("{:?} = {bits:#010x}", f32::from_bits(bits))
}

fn describe_f64(bits: u64) -> String {
    format!("{:?} = {bits:#018x}", f64::from_bits(bits))
}

fn describe_pattern<T>(pattern: &NanPattern<T>, value: impl FnOnce(&T) -> String) -> String {
    match pattern {
        NanPattern::CanonicalNan => "nan:canonical".into(),
        NanPattern::ArithmeticNan => "nan:arithmetic".into(),
        NanPattern::Value(bits) => value(bits),
    }
}

fn describe_v128(pattern: &V128Pattern) -> String {
    fn lanes(shape: &str, lanes: impl Iterator<Item = String>) -> String {
        lanes.fold(shape.to_owned(), |text, lane| text + " " + &lane)
    }
    fn hex<const N: usize>(shape: &str, bytes: impl Iterator<Item = [u8; N]>) -> String {
        lanes(
            shape,
            bytes.map(|bytes| {
                bytes.iter().rev().fold("0x".into(), |mut text: String, byte| {
                    // Writing to a string does not fail.
                    let _ = write!(text, "{byte:02x}");
                    text
                })
            }),
        )
    }
    match pattern {
        V128Pattern::I8x16(values) => hex("i8x16", values.iter().map(|lane| lane.to_le_bytes())),
        V128Pattern::I16x8(values) => hex("i16x8", values.iter().map(|lane| lane.to_le_bytes())),
        V128Pattern::I32x4(values) => hex("i32x4", values.iter().map(|lane| lane.to_le_bytes())),
        V128Pattern::I64x2(values) => hex("i64x2", values.iter().map(|lane| lane.to_le_bytes())),
        V128Pattern::F32x4(values) => {
            lanes("f32x4", values.iter().map(|lane| describe_pattern(lane, |value| format!("{:#010x}", value.bits))))
        }
        V128Pattern::F64x2(values) => {
            lanes("f64x2", values.iter().map(|lane| describe_pattern(lane, |value| format!("{:#018x}", value.bits))))
        }
    }
}

#[cfg(test)]
mod tests {
    use wast::parser::{self, ParseBuffer};

    use super::*;

    /// Whether `(assert_return … EXPECTED)` accepts `got`.
    fn accepts(expected: &str, got: &Val) -> bool {
        let tokens = ParseBuffer::new(expected).unwrap();
        matches(&parser::parse::<WastRetCore<'_>>(&tokens).unwrap(), got)
    }

    #[test]
    fn integers_are_compared_with_their_type() {
        assert!(accepts("i32.const 0xffffffff", &Val::I32(-1)));
        assert!(!accepts("i32.const 1", &Val::I64(1)));
        assert!(accepts("i64.const -1", &Val::I64(-1)));
        assert!(!accepts("i64.const 1", &Val::I64(2)));
    }

    #[test]
    fn floats_are_compared_by_bits() {
        assert!(accepts("f32.const -0.0", &Val::F32(0x8000_0000)));
        assert!(!accepts("f32.const 0.0", &Val::F32(0x8000_0000)));
        assert!(accepts("f32.const nan:0x200000", &Val::F32(0x7fa0_0000)));
        assert!(!accepts("f32.const nan:0x200000", &Val::F32(0x7fe0_0000)));
        assert!(!accepts("f64.const 0.0", &Val::F32(0)));
        assert!(accepts("f64.const 0x1p-1074", &Val::F64(1)));
    }

    #[test]
    fn nan_patterns_ignore_the_sign() {
        for (bits, canonical, arithmetic) in [
            (0x7fc0_0000, true, true),
            (0xffc0_0000, true, true),
            (0x7fc0_0001, false, true),
            (0xffff_ffff, false, true),
            (0x7fa0_0000, false, false), // signalling
            (0x7f80_0000, false, false), // infinity
            (0x3fc0_0000, false, false), // 1.5
        ] {
            assert_eq!(accepts("f32.const nan:canonical", &Val::F32(bits)), canonical, "{bits:#x}");
            assert_eq!(accepts("f32.const nan:arithmetic", &Val::F32(bits)), arithmetic, "{bits:#x}");
        }
        for (bits, canonical, arithmetic) in [
            (0x7ff8_0000_0000_0000, true, true),
            (0xfff8_0000_0000_0000, true, true),
            (0x7ff8_0000_0000_0001, false, true),
            (0x7ff4_0000_0000_0000, false, false),
            (0x7ff0_0000_0000_0000, false, false),
        ] {
            assert_eq!(accepts("f64.const nan:canonical", &Val::F64(bits)), canonical, "{bits:#x}");
            assert_eq!(accepts("f64.const nan:arithmetic", &Val::F64(bits)), arithmetic, "{bits:#x}");
        }
    }

    #[test]
    fn vectors_are_compared_lane_by_lane() {
        let vector = Val::V128(0x0000_0004_0000_0003_0000_0002_ffff_ffff);
        assert!(accepts("v128.const i32x4 -1 2 3 4", &vector));
        assert!(!accepts("v128.const i32x4 4 3 2 -1", &vector));
        assert!(accepts("v128.const i8x16 -1 -1 -1 -1 2 0 0 0 3 0 0 0 4 0 0 0", &vector));
        assert!(accepts("v128.const i16x8 -1 -1 2 0 3 0 4 0", &vector));
        assert!(accepts("v128.const i64x2 0x2ffffffff 0x400000003", &vector));
        let floats = Val::V128(0x7fc0_0001_ffc0_0000_8000_0000_3f80_0000);
        assert!(accepts("v128.const f32x4 1 -0 nan:canonical nan:arithmetic", &floats));
        assert!(!accepts("v128.const f32x4 1 0 nan:canonical nan:arithmetic", &floats));
        assert!(!accepts("v128.const f32x4 1 -0 nan:canonical nan:canonical", &floats));
        assert!(accepts("v128.const f64x2 nan:canonical 1", &Val::V128(0x3ff0_0000_0000_0000_fff8_0000_0000_0000)));
        assert!(!accepts("v128.const f64x2 1 nan:canonical", &Val::V128(0x3ff0_0000_0000_0000_fff8_0000_0000_0000)));
    }

    #[test]
    fn null_references_match_their_hierarchy() {
        for (expected, func, extern_) in [
            ("ref.null func", true, false),
            ("ref.null nofunc", true, false),
            ("ref.null extern", false, true),
            ("ref.null noextern", false, true),
            ("ref.null any", false, false),
            ("ref.null", true, true),
            ("ref.func", false, false),
            ("ref.extern", false, false),
        ] {
            assert_eq!(accepts(expected, &Val::FuncRef(None)), func, "{expected}");
            assert_eq!(accepts(expected, &Val::ExternRef(None)), extern_, "{expected}");
        }
        assert!(!matches(&WastRetCore::RefNull(None), &Val::I32(0)));
    }

    #[test]
    fn host_references_are_compared_by_what_they_hold() {
        let seven = Val::ExternRef(Some(ExternRef::new(7u32)));
        assert!(accepts("ref.extern 7", &seven));
        assert!(accepts("ref.extern", &seven));
        assert!(!accepts("ref.extern 8", &seven));
        assert!(!accepts("ref.extern 7", &Val::ExternRef(Some(ExternRef::new(7u64)))));
        assert!(!accepts("ref.null extern", &seven));
    }

    #[test]
    fn one_case_of_either_is_enough() {
        assert!(accepts("either (i32.const 1) (i32.const 2)", &Val::I32(2)));
        assert!(!accepts("either (i32.const 1) (i32.const 2)", &Val::I32(3)));
        assert!(accepts("either (f32.const nan:canonical) (f32.const 1)", &Val::F32(0xffc0_0000)));
    }

    #[test]
    fn mismatches_tell_both_sides() {
        let expected = [WastRetCore::I32(1), WastRetCore::F32(NanPattern::CanonicalNan)];
        let message = check(&expected, &[Val::I32(1), Val::F32(0x3f80_0000)]).unwrap_err();
        assert_eq!(
            message,
            "expected (i32.const 1) (f32.const nan:canonical), got (i32.const 1) (f32.const 1.0 = 0x3f800000)"
        );
        assert_eq!(check(&[], &[Val::I64(-5)]).unwrap_err(), "expected nothing, got (i64.const -5)");
        assert_eq!(check(&[], &[]), Ok(()));
        assert!(check(&expected, &[Val::I32(1)]).is_err());
        let message = check(&[WastRetCore::V128(V128Pattern::I16x8([1, -1, 0, 0, 0, 0, 0, 2]))], &[Val::V128(1)]);
        let lanes = "0x0001 0xffff 0x0000 0x0000 0x0000 0x0000 0x0000 0x0002";
        let got = "0x00000001 0x00000000 0x00000000 0x00000000";
        assert_eq!(message, Err(format!("expected (v128.const i16x8 {lanes}), got (v128.const i32x4 {got})")));
    }

    #[test]
    fn arguments_become_values() {
        let parse = |text: &str| {
            let tokens = ParseBuffer::new(text).unwrap();
            argument(&parser::parse::<WastArgCore<'_>>(&tokens).unwrap())
        };
        assert_eq!(parse("i32.const -1"), Ok(Val::I32(-1)));
        assert_eq!(parse("f32.const nan"), Ok(Val::F32(QUIET_F32)));
        assert_eq!(parse("v128.const i64x2 1 2"), Ok(Val::V128(1 | 2 << 64)));
        assert_eq!(parse("ref.null func"), Ok(Val::FuncRef(None)));
        assert_eq!(parse("ref.null extern"), Ok(Val::ExternRef(None)));
        let Ok(Val::ExternRef(Some(reference))) = parse("ref.extern 3") else { panic!() };
        assert_eq!(reference.downcast_ref::<u32>(), Some(&3));
        assert!(parse("ref.host 3").is_err());
    }
}
