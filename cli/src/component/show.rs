//! Values of components as text, in the syntax that [`super::parse()`] reads.

use std::fmt::{self, Display, Formatter, Write};

use precast_loader::component::Val;

/// Shows a value.
pub(crate) struct Shown<'a>(pub(crate) &'a Val);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Val::Bool(value) => value.fmt(f),
            Val::S8(value) => value.fmt(f),
            Val::U8(value) => value.fmt(f),
            Val::S16(value) => value.fmt(f),
            Val::U16(value) => value.fmt(f),
            Val::S32(value) => value.fmt(f),
            Val::U32(value) => value.fmt(f),
            Val::S64(value) => value.fmt(f),
            Val::U64(value) => value.fmt(f),
            Val::F32(value) if value.is_nan() => f.write_str("nan"),
            Val::F64(value) if value.is_nan() => f.write_str("nan"),
            Val::F32(value) => value.fmt(f),
            Val::F64(value) => value.fmt(f),
            Val::Char(value) => quoted(f, '\'', std::iter::once(*value)),
            Val::String(value) => quoted(f, '"', value.chars()),
            Val::List(values) => list(f, '[', values, |f, value| Shown(value).fmt(f), ']'),
            Val::Tuple(values) => list(f, '(', values, |f, value| Shown(value).fmt(f), ')'),
            Val::Map(pairs) => {
                list(f, '{', pairs, |f, (key, value)| write!(f, "{}: {}", Shown(key), Shown(value)), '}')
            }
            Val::Record(fields) => {
                list(f, '{', fields, |f, (field, value)| write!(f, "{}: {}", name(field), Shown(value)), '}')
            }
            Val::Flags(names) => list(f, '{', names, |f, flag| f.write_str(&name(flag)), '}'),
            Val::Enum(case) => f.write_str(&name(case)),
            Val::Variant(case, payload) => with_payload(f, &name(case), payload.as_deref()),
            Val::Option(None) => f.write_str("none"),
            Val::Option(payload) => with_payload(f, "some", payload.as_deref()),
            Val::Result(Ok(payload)) => with_payload(f, "ok", payload.as_deref()),
            Val::Result(Err(payload)) => with_payload(f, "err", payload.as_deref()),
            // Nothing that could be read again.
            Val::Resource(resource) => {
                f.write_str(if resource.is_owned() { "<resource>" } else { "<borrowed resource>" })
            }
        }
    }
}

fn list<T>(
    f: &mut Formatter<'_>,
    start: char,
    items: &[T],
    show: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
    end: char,
) -> fmt::Result {
    f.write_char(start)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        show(f, item)?;
    }
    f.write_char(end)
}

fn with_payload(f: &mut Formatter<'_>, case: &str, payload: Option<&Val>) -> fmt::Result {
    match payload {
        Some(payload) => write!(f, "{case}({})", Shown(payload)),
        None => f.write_str(case),
    }
}

/// A name, kept apart from words of the syntax.
fn name(name: &str) -> String {
    let percent =
        if matches!(name, "true" | "false" | "some" | "none" | "ok" | "err" | "inf" | "nan") { "%" } else { "" };
    format!("{percent}{name}")
}

fn quoted(f: &mut Formatter<'_>, quote: char, chars: impl Iterator<Item = char>) -> fmt::Result {
    f.write_char(quote)?;
    for c in chars {
        match c {
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_are_written() {
        let text = |text: &str| Val::String(text.into());
        let record = Val::Record(vec![("a".into(), Val::U8(1)), ("some".into(), Val::Option(None))]);
        for (value, shown) in [
            (text("a\"b\\\n\u{1b}ß'"), r#""a\"b\\\n\u{1b}ß'""#),
            (Val::Char('\''), r"'\''"),
            (Val::List(vec![Val::S8(-1), Val::S8(2)]), "[-1, 2]"),
            (Val::Tuple(vec![text("x"), Val::F64(0.5), Val::F32(f32::NAN)]), r#"("x", 0.5, nan)"#),
            (record, "{a: 1, %some: none}"),
            (Val::Flags(vec!["r".into(), "w".into()]), "{r, w}"),
            (Val::Variant("v".into(), Some(Val::Bool(true).into())), "v(true)"),
            (Val::Result(Ok(None)), "ok"),
            (Val::Result(Err(Some(text("no").into()))), r#"err("no")"#),
            (Val::Map(vec![(Val::U8(1), text("one"))]), r#"{1: "one"}"#),
        ] {
            assert_eq!(Shown(&value).to_string(), shown);
        }
    }
}
