//! Values as text, both ways: arguments of `--invoke`, and results.

use std::fmt::Display;
use std::str::FromStr;

use precast_loader::{Val, ValType};

/// Parses a value of type `ty`: integers in decimal or as `0x…`, signed or unsigned; floats in decimal, `inf`, `nan` or
/// `nan:0x…` with its payload; vectors as `0x` and 32 hexadecimal digits; references only as `null`.
pub(crate) fn parse(ty: ValType, text: &str) -> Result<Val, String> {
    let value = match ty {
        ValType::I32 => integer(text, 32).map(|bits| Val::I32(bits as i32)),
        ValType::I64 => integer(text, 64).map(|bits| Val::I64(bits as i64)),
        ValType::F32 => {
            let nan = |sign: bool, payload: u64| u32::from(sign) << 31 | 0xff << 23 | payload as u32;
            float(text, 23, nan, f32::to_bits).map(Val::F32)
        }
        ValType::F64 => {
            let nan = |sign: bool, payload: u64| u64::from(sign) << 63 | 0x7ff << 52 | payload;
            float(text, 52, nan, f64::to_bits).map(Val::F64)
        }
        ValType::V128 => vector(text).map(Val::V128),
        ValType::FuncRef => (text == "null").then_some(Val::FuncRef(None)),
        ValType::ExternRef => (text == "null").then_some(Val::ExternRef(None)),
    };
    value.ok_or_else(|| format!("`{text}` is no {}: {}", ty.name(), expected(ty)))
}

/// A value as [`parse`] reads it, but for references that are not null.
pub(crate) fn show(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => {
            let value = f32::from_bits(*bits);
            show_float(value, value.is_nan(), value.is_sign_negative(), (bits & 0x7f_ffff).into(), 1 << 22)
        }
        Val::F64(bits) => {
            let value = f64::from_bits(*bits);
            show_float(value, value.is_nan(), value.is_sign_negative(), bits & 0xf_ffff_ffff_ffff, 1 << 51)
        }
        Val::V128(value) => format!("{value:#034x}"),
        Val::FuncRef(None) | Val::ExternRef(None) => "null".into(),
        Val::FuncRef(Some(_)) => "funcref".into(),
        Val::ExternRef(Some(_)) => "externref".into(),
    }
}

fn expected(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "expected -2147483648 to 4294967295, in decimal or as 0x…",
        ValType::I64 => "expected a 64-bit integer, in decimal or as 0x…",
        ValType::F32 | ValType::F64 => "expected a number, inf, nan or nan:0x…",
        ValType::V128 => "expected 0x and 32 hexadecimal digits",
        ValType::FuncRef | ValType::ExternRef => "only null can be given",
    }
}

/// The two's complement of an integer that fits in `bits`, as signed or as unsigned.
fn integer(text: &str, bits: u32) -> Option<u64> {
    let (negative, digits) = sign(text);
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => unsigned(digits, 16)?,
        None => unsigned(digits, 10)?,
    };
    let limit = if negative { 1 << (bits - 1) } else { u128::MAX >> (128 - bits) };
    let value = (magnitude <= limit).then_some(magnitude as u64)?;
    Some(if negative { value.wrapping_neg() } else { value })
}

fn vector(text: &str) -> Option<u128> {
    let digits = text.strip_prefix("0x")?;
    if digits.len() == 32 { unsigned(digits, 16) } else { None }
}

/// Digits only: `from_str_radix` would take a second sign.
fn unsigned(digits: &str, radix: u32) -> Option<u128> {
    if digits.starts_with(['+', '-']) { None } else { u128::from_str_radix(digits, radix).ok() }
}

/// The bits of a float with `mantissa` bits of mantissa; `nan` makes those of a NaN with a sign and a payload.
fn float<F: FromStr, B>(
    text: &str,
    mantissa: u32,
    nan: impl Fn(bool, u64) -> B,
    to_bits: impl Fn(F) -> B,
) -> Option<B> {
    let (negative, digits) = sign(text);
    if digits.eq_ignore_ascii_case("nan") {
        return Some(nan(negative, 1 << (mantissa - 1)));
    }
    if let Some(payload) = digits.strip_prefix("nan:0x") {
        let payload = unsigned(payload, 16)?;
        return (payload != 0 && payload < 1 << mantissa).then(|| nan(negative, payload as u64));
    }
    text.parse().ok().map(to_bits)
}

fn show_float(value: impl Display, is_nan: bool, negative: bool, payload: u64, canonical: u64) -> String {
    let sign = if negative { "-" } else { "" };
    match is_nan {
        false => value.to_string(),
        true if payload == canonical => format!("{sign}nan"),
        true => format!("{sign}nan:{payload:#x}"),
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip() {
        let cases = [
            (ValType::I32, "-2147483648", "-2147483648"),
            (ValType::I32, "4294967295", "-1"),
            (ValType::I32, "0xffffffff", "-1"),
            (ValType::I32, "-0x1", "-1"),
            (ValType::I32, "+7", "7"),
            (ValType::I64, "18446744073709551615", "-1"),
            (ValType::I64, "-9223372036854775808", "-9223372036854775808"),
            (ValType::I64, "0x7fffffffffffffff", "9223372036854775807"),
            (ValType::F32, "0.1", "0.1"),
            (ValType::F32, "-0", "-0"),
            (ValType::F32, "-inf", "-inf"),
            (ValType::F32, "nan", "nan"),
            (ValType::F32, "-nan:0x1", "-nan:0x1"),
            (ValType::F64, "1e-300", &1e-300f64.to_string()),
            (ValType::F64, "inf", "inf"),
            (ValType::F64, "NaN", "nan"),
            (ValType::F64, "nan:0x8000000000000", "nan"),
            (ValType::F64, "nan:0x4000000000000", "nan:0x4000000000000"),
            (ValType::V128, "0x000102030405060708090a0b0c0d0e0f", "0x000102030405060708090a0b0c0d0e0f"),
            (ValType::FuncRef, "null", "null"),
            (ValType::ExternRef, "null", "null"),
        ];
        for (ty, text, shown) in cases {
            let value = parse(ty, text).unwrap();
            assert_eq!(show(&value), shown, "{text}");
            assert_eq!(parse(ty, &show(&value)), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let cases = [
            (
                ValType::I32,
                &["", "-", "x", "1.0", "4294967296", "-2147483649", "0x", "0x100000000", "--1", "+-1", "1_0"][..],
            ),
            (ValType::I64, &["18446744073709551616", "-9223372036854775809", "0x10000000000000000"]),
            (ValType::F32, &["", "one", "nan:0x0", "nan:0x800000", "nan:0x+1", "0x1"]),
            (ValType::F64, &["nan:0x10000000000000", "nan:", "1,5"]),
            (ValType::V128, &["0x0", "0", "0x+00102030405060708090a0b0c0d0e0f", "0xg00102030405060708090a0b0c0d0e0f"]),
            (ValType::FuncRef, &["0", "func"]),
            (ValType::ExternRef, &["NULL"]),
        ];
        for (ty, texts) in cases {
            for text in texts {
                assert!(parse(ty, text).is_err(), "{} {text}", ty.name());
            }
        }
    }
}
