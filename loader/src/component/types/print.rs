//! Types in WIT syntax. A type may be small and its text endless, since rows can be referred to many times: what is
//! longer than [`LONGEST`] is cut.

use std::fmt::{Debug, Display, Error, Formatter, Result, Write};

use super::{FuncType, Kind, Members, ResourceType, Type};

/// In bytes.
const LONGEST: usize = 4096;

/// Text that fails when it gets too long.
struct Text {
    text: String,
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> Result {
        self.text.push_str(piece);
        if self.text.len() > LONGEST { Err(Error) } else { Ok(()) }
    }
}

fn limited(f: &mut Formatter<'_>, print: impl FnOnce(&mut Text) -> Result) -> Result {
    let mut text = Text { text: String::new() };
    let cut = print(&mut text).is_err();
    f.write_str(&text.text)?;
    f.write_str(if cut { "…" } else { "" })
}

fn ty(out: &mut Text, of: Type<'_>) -> Result {
    match of.kind() {
        Kind::Primitive(primitive) => out.write_str(primitive.name()),
        Kind::Record(members) => block(out, "record", members),
        Kind::Variant(members) => block(out, "variant", members),
        Kind::Flags(members) => block(out, "flags", members),
        Kind::Enum(members) => block(out, "enum", members),
        Kind::List(element) => of_types(out, "list", &[Some(element)]),
        Kind::FixedList(element, len) => {
            out.write_str("list<")?;
            ty(out, element)?;
            write!(out, ", {len}>")
        }
        Kind::Option(payload) => of_types(out, "option", &[Some(payload)]),
        Kind::Result(None, None) => out.write_str("result"),
        Kind::Result(ok, None) => of_types(out, "result", &[ok]),
        Kind::Result(ok, err) => of_types(out, "result", &[ok, err]),
        Kind::Own(resource) => write!(out, "{resource}"),
        Kind::Borrow(resource) => write!(out, "borrow<{resource}>"),
        Kind::Map(key, value) => of_types(out, "map", &[Some(key), Some(value)]),
        Kind::Tuple(members) => {
            out.write_str("tuple<")?;
            for (at, element) in members.types().enumerate() {
                out.write_str(comma(at))?;
                ty(out, element)?;
            }
            out.write_str(">")
        }
    }
}

fn of_types(out: &mut Text, name: &str, types: &[Option<Type<'_>>]) -> Result {
    write!(out, "{name}<")?;
    for (at, of) in types.iter().enumerate() {
        out.write_str(comma(at))?;
        match of {
            Some(of) => ty(out, *of)?,
            None => out.write_str("_")?,
        }
    }
    out.write_str(">")
}

/// Record fields as `name: type`, the cases of a variant as `name(type)`, others by name.
fn block(out: &mut Text, keyword: &str, members: Members<'_>) -> Result {
    write!(out, "{keyword} {{ ")?;
    for (at, (name, of)) in members.iter().enumerate() {
        write!(out, "{}{name}", comma(at))?;
        let Some(of) = of else { continue };
        let (before, after) = if keyword == "record" { (": ", "") } else { ("(", ")") };
        out.write_str(before)?;
        ty(out, of)?;
        out.write_str(after)?;
    }
    out.write_str(" }")
}

fn comma(at: usize) -> &'static str {
    if at == 0 { "" } else { ", " }
}

impl Display for Type<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        limited(f, |out| ty(out, *self))
    }
}

impl Display for ResourceType<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self.names().1 {
            "" => "resource",
            name => name,
        })
    }
}

impl Display for FuncType {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        limited(f, |out| {
            out.write_str("func(")?;
            for (at, (name, of)) in self.params().iter().enumerate() {
                write!(out, "{}{name}: ", comma(at))?;
                of.map_or(Ok(()), |of| ty(out, of))?;
            }
            out.write_str(")")?;
            let Some(result) = self.result() else { return Ok(()) };
            out.write_str(" -> ")?;
            ty(out, result)
        })
    }
}

impl Debug for Type<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Display::fmt(self, f)
    }
}

impl Debug for Kind<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Kind::Primitive(primitive) => primitive.name(),
            Kind::Record(_) => "record",
            Kind::Variant(_) => "variant",
            Kind::List(_) | Kind::FixedList(..) => "list",
            Kind::Tuple(_) => "tuple",
            Kind::Flags(_) => "flags",
            Kind::Enum(_) => "enum",
            Kind::Option(_) => "option",
            Kind::Result(..) => "result",
            Kind::Own(_) => "own",
            Kind::Borrow(_) => "borrow",
            Kind::Map(..) => "map",
        })
    }
}

impl Debug for Members<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_list().entries(self.iter().take(100)).finish()
    }
}

impl Debug for ResourceType<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Display::fmt(self, f)
    }
}

impl Debug for FuncType {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Display::fmt(self, f)
    }
}
