//! Values of components as text, to values. In goes the text of an argument and its type, out comes a [`Val`].
//!
//! The syntax is that of WAVE: `1`, `true`, `'c'`, `"text"`, `[1, 2]`, `(1, "a")`, `{field: 1}`, `{flag, other}`,
//! `case(1)`, `some(1)`, `none`, `ok`, `err("why")`; a bare value stands for `some` or `ok` of it, fields that are
//! options may be left out, and `%` before a name keeps it from being taken for a word of the syntax.

use std::str::FromStr;

use precast_loader::component::{Kind, Members, Primitive, Type, Val};

/// Values nested deeper are refused.
const MAX_DEPTH: usize = 100;

/// Parses an argument. A string may also stand there without quotes.
///
/// # Errors
/// What was expected, and where.
pub(crate) fn parse(ty: Type<'_>, text: &str) -> Result<Val, String> {
    if ty.is(Primitive::String) && !text.trim_start().starts_with('"') {
        return Ok(Val::String(text.to_owned()));
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let value = parser.value(ty)?;
    parser.skip_space();
    match parser.rest() {
        "" => Ok(value),
        _ => Err(parser.expected("nothing more")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn expected(&self, what: impl std::fmt::Display) -> String {
        match self.rest().chars().next() {
            Some(found) => {
                format!("expected {what} at `{found}`, character {}", self.text[..self.at].chars().count() + 1)
            }
            None => format!("expected {what} at the end"),
        }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes `token` if it comes next.
    fn takes(&mut self, token: char) -> bool {
        self.skip_space();
        let taken = self.rest().starts_with(token);
        self.at += if taken { token.len_utf8() } else { 0 };
        taken
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.takes(token) { Ok(()) } else { Err(self.expected(format_args!("`{token}`"))) }
    }

    /// Items with commas between them, up to `end`.
    fn items(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        while !self.takes(end) {
            item(self)?;
            if !self.takes(',') {
                return self.expect(end);
            }
        }
        Ok(())
    }

    fn value(&mut self, ty: Type<'_>) -> Result<Val, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("values are nested too deeply".into());
        }
        self.skip_space();
        let value = match ty.kind() {
            Kind::Primitive(primitive) => self.primitive(primitive),
            Kind::Record(members) => self.record(members).map(Val::Record),
            Kind::Variant(members) => self.variant(members),
            Kind::List(element) => self.list(element).map(Val::List),
            Kind::FixedList(element, len) => match self.list(element)? {
                list if list.len() == len as usize => Ok(Val::List(list)),
                list => Err(format!("expected {len} elements, found {}", list.len())),
            },
            Kind::Tuple(members) => self.tuple(members).map(Val::Tuple),
            Kind::Flags(members) => self.flags(members).map(Val::Flags),
            Kind::Enum(members) => {
                let name = self.name()?;
                self.known(members, &name).map(|()| Val::Enum(name))
            }
            Kind::Option(payload) => self.option(payload),
            Kind::Result(ok, err) => self.result(ok, err),
            Kind::Map(key, value) => self.map(key, value),
            Kind::Own(_) | Kind::Borrow(_) => Err("a resource cannot be given".into()),
        };
        self.depth -= 1;
        value
    }

    fn primitive(&mut self, primitive: Primitive) -> Result<Val, String> {
        Ok(match primitive {
            Primitive::Bool => Val::Bool(match self.word() {
                "true" => true,
                "false" => false,
                word => return Err(self.expected_before(word, "true or false")),
            }),
            Primitive::S8 => Val::S8(self.number(primitive)?),
            Primitive::U8 => Val::U8(self.number(primitive)?),
            Primitive::S16 => Val::S16(self.number(primitive)?),
            Primitive::U16 => Val::U16(self.number(primitive)?),
            Primitive::S32 => Val::S32(self.number(primitive)?),
            Primitive::U32 => Val::U32(self.number(primitive)?),
            Primitive::S64 => Val::S64(self.number(primitive)?),
            Primitive::U64 => Val::U64(self.number(primitive)?),
            Primitive::F32 => Val::F32(self.number(primitive)?),
            Primitive::F64 => Val::F64(self.number(primitive)?),
            Primitive::Char => Val::Char(self.char()?),
            Primitive::String => Val::String(self.string()?),
        })
    }

    /// Takes what a number or a word of the syntax can consist of.
    fn word(&mut self) -> &'t str {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let rest = self.rest();
        let len = rest.find(|c| !part(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// The error for a word that was taken and is not what it should be.
    fn expected_before(&mut self, word: &str, what: impl std::fmt::Display) -> String {
        self.at -= word.len();
        self.expected(what)
    }

    fn number<N: FromStr>(&mut self, primitive: Primitive) -> Result<N, String> {
        let word = self.word();
        word.parse().map_err(|_| self.expected_before(word, format_args!("a {}", primitive.name())))
    }

    fn char(&mut self) -> Result<char, String> {
        self.expect('\'')?;
        let value = self.character('\'')?.ok_or_else(|| self.expected("a character"))?;
        match self.rest().strip_prefix('\'') {
            Some(_) => self.at += 1,
            None => return Err(self.expected("`'`")),
        }
        Ok(value)
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut value = String::new();
        while let Some(c) = self.character('"')? {
            value.push(c);
        }
        self.at += 1;
        Ok(value)
    }

    /// The next character, with escapes undone; `None` before `end`.
    fn character(&mut self, end: char) -> Result<Option<char>, String> {
        let first = self.rest().chars().next().ok_or_else(|| self.expected(format_args!("`{end}`")))?;
        if first == end {
            return Ok(None);
        }
        self.at += first.len_utf8();
        if first != '\\' {
            return Ok(Some(first));
        }
        let escape = self.rest().chars().next().ok_or_else(|| self.expected("an escape"))?;
        let value = match escape {
            '\\' | '"' | '\'' => escape,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits = self.rest()[1..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(d, _)| d);
                let code = digits.filter(|digits| digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
                let value = code.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
                self.at += digits.map_or(0, |digits| digits.len() + 2);
                value.ok_or_else(|| self.expected("`u{` and the hexadecimal digits of a character"))?
            }
            _ => return Err(self.expected("an escape: one of \\ \" ' n r t u{…}")),
        };
        self.at += escape.len_utf8();
        Ok(Some(value))
    }

    /// Takes a name, with or without `%`.
    fn name(&mut self) -> Result<String, String> {
        self.skip_space();
        let start = self.at;
        self.takes('%');
        match self.word() {
            "" => {
                self.at = start;
                Err(self.expected("a name"))
            }
            name => Ok(name.to_owned()),
        }
    }

    fn known(&self, members: Members<'_>, name: &str) -> Result<(), String> {
        if members.position(name).is_some() {
            return Ok(());
        }
        let names: Vec<_> = members.iter().map(|(name, _)| name).collect();
        Err(format!("`{name}` is none of {}", names.join(", ")))
    }

    fn record(&mut self, members: Members<'_>) -> Result<Vec<(String, Val)>, String> {
        self.expect('{')?;
        let mut found: Vec<Option<Val>> = vec![None; members.len()];
        // A record of which everything is left out.
        if self.takes(':') {
            self.expect('}')?;
        } else {
            self.items('}', |parser| {
                let name = parser.name()?;
                parser.known(members, &name)?;
                parser.expect(':')?;
                if let Some((index, ty)) =
                    members.position(&name).and_then(|index| Some((index, members.get(index)?.1?)))
                {
                    if found[index].is_some() {
                        return Err(format!("the field `{name}` is given twice"));
                    }
                    found[index] = Some(parser.value(ty)?);
                }
                Ok(())
            })?;
        }
        let fields = members.iter().zip(found).map(|((name, ty), value)| match (value, ty.map(Type::kind)) {
            (Some(value), _) => Ok((name.to_owned(), value)),
            (None, Some(Kind::Option(_))) => Ok((name.to_owned(), Val::Option(None))),
            _ => Err(format!("the field `{name}` is missing")),
        });
        fields.collect()
    }

    fn tuple(&mut self, members: Members<'_>) -> Result<Vec<Val>, String> {
        self.expect('(')?;
        let mut types = members.types();
        let mut values = Vec::new();
        self.items(')', |parser| {
            let ty = types.next().ok_or_else(|| parser.expected("`)`"))?;
            values.push(parser.value(ty)?);
            Ok(())
        })?;
        match types.next() {
            None => Ok(values),
            Some(_) => Err(format!("expected {} values, found {}", members.len(), values.len())),
        }
    }

    fn list(&mut self, element: Type<'_>) -> Result<Vec<Val>, String> {
        self.expect('[')?;
        let mut values = Vec::new();
        self.items(']', |parser| {
            values.push(parser.value(element)?);
            Ok(())
        })?;
        Ok(values)
    }

    fn map(&mut self, key: Type<'_>, value: Type<'_>) -> Result<Val, String> {
        self.expect('{')?;
        let mut pairs = Vec::new();
        self.items('}', |parser| {
            let key = parser.value(key)?;
            parser.expect(':')?;
            pairs.push((key, parser.value(value)?));
            Ok(())
        })?;
        Ok(Val::Map(pairs))
    }

    fn flags(&mut self, members: Members<'_>) -> Result<Vec<String>, String> {
        self.expect('{')?;
        let mut names = Vec::new();
        self.items('}', |parser| {
            let name = parser.name()?;
            parser.known(members, &name)?;
            names.push(name);
            Ok(())
        })?;
        Ok(names)
    }

    /// A payload in parentheses if there is to be one.
    fn payload(&mut self, ty: Option<Type<'_>>) -> Result<Option<Box<Val>>, String> {
        let Some(ty) = ty else { return Ok(None) };
        self.expect('(')?;
        let value = self.value(ty)?;
        self.expect(')')?;
        Ok(Some(value.into()))
    }

    fn variant(&mut self, members: Members<'_>) -> Result<Val, String> {
        let name = self.name()?;
        self.known(members, &name)?;
        let ty = members.position(&name).and_then(|index| members.get(index)?.1);
        Ok(Val::Variant(name, self.payload(ty)?))
    }

    /// Takes `word` if it comes next, and whole.
    fn takes_word(&mut self, word: &str) -> bool {
        let start = self.at;
        let taken = self.word() == word;
        self.at = if taken { self.at } else { start };
        taken
    }

    fn option(&mut self, payload: Type<'_>) -> Result<Val, String> {
        if self.takes_word("none") {
            return Ok(Val::Option(None));
        }
        if self.takes_word("some") {
            return self.payload(Some(payload)).map(Val::Option);
        }
        self.value(payload).map(|value| Val::Option(Some(value.into())))
    }

    fn result(&mut self, ok: Option<Type<'_>>, err: Option<Type<'_>>) -> Result<Val, String> {
        if self.takes_word("err") {
            return self.payload(err).map(|value| Val::Result(Err(value)));
        }
        if self.takes_word("ok") {
            return self.payload(ok).map(|value| Val::Result(Ok(value)));
        }
        match ok {
            Some(ok) => self.value(ok).map(|value| Val::Result(Ok(Some(value.into())))),
            None => Err(self.expected("ok or err")),
        }
    }
}
