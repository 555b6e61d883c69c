//! Profiles: what the instances of a program did, for the compiler to lay the program's artifact out by.
//!
//! What comes in: a run that the loader recorded. What goes out: a text, for people and version control, that names
//! functions and pages by what they are and not by where they were. So it fits the same program compiled for any target
//! and in any way, and most of it a version of the program that has changed a little. `FORMAT.md` draws the text.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::meta::FunctionKind;

/// Bytes of a page as profiles count them, on any machine.
pub const PAGE: u64 = 4096;

/// The first line of a profile.
const FIRST_LINE: &str = "precast profile 1";

/// What instances of a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The program: [`crate::meta::Header::source`].
    pub source: [u8; 32],
    /// The functions that ran, in the order in which each ran for the first time.
    pub functions: Vec<FunctionName>,
    /// The pages that instances wrote.
    pub pages: Vec<PageRun>,
}

/// What tells a function from the others of its program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionName {
    /// What it is.
    pub kind: FunctionKind,
    /// Its name in the artifact.
    pub name: String,
    /// How many of the same kind and name come before it in the program's order.
    pub earlier: u32,
}

/// Consecutive pages of a part of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRun {
    /// Of what.
    pub part: Part,
    /// The first one. Pages of the stack and of blocks are counted from their ends down.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// A part of an instance that guests write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The guest stack.
    Stack,
    /// Tables, lengths, sizes and globals of a group.
    Block(u32),
    /// The memory in this row.
    Memory(u32),
}

impl Part {
    /// Where pages of a part that takes `start..end` are: the first `count` from `first` on, without those that the part
    /// does not have.
    pub fn place(self, start: u64, end: u64, first: u64, count: u64) -> core::ops::Range<u64> {
        let (near, far) = (first.saturating_mul(PAGE), first.saturating_add(count).saturating_mul(PAGE));
        match self {
            Part::Memory(_) => end.min(start.saturating_add(near))..end.min(start.saturating_add(far)),
            Part::Stack | Part::Block(_) => start.max(end.saturating_sub(far))..start.max(end.saturating_sub(near)),
        }
    }

    /// The number of the page at `offset` in a part that takes `start..end`.
    pub fn page(self, start: u64, end: u64, offset: u64) -> u64 {
        match self {
            Part::Memory(_) => offset.saturating_sub(start) / PAGE,
            Part::Stack | Part::Block(_) => (end.saturating_sub(offset).div_ceil(PAGE)).saturating_sub(1),
        }
    }
}

/// Tells apart functions of one kind and name, which are to come in the program's order.
#[derive(Debug, Default)]
pub struct Earlier<'a>(BTreeMap<(FunctionKind, &'a str), u32>);

impl<'a> Earlier<'a> {
    /// How many of the same kind and name came before.
    pub fn count(&mut self, kind: FunctionKind, name: &'a str) -> u32 {
        let next = self.0.entry((kind, name)).or_default();
        let earlier = *next;
        *next += 1;
        earlier
    }
}

/// Why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for ProfileError {}

/// The words for kinds of functions.
const KINDS: [(&str, FunctionKind); 7] = [
    ("wasm", FunctionKind::Wasm),
    ("stub", FunctionKind::ImportStub),
    ("host", FunctionKind::HostThunk),
    ("entry", FunctionKind::EntryThunk),
    ("init", FunctionKind::Init),
    ("helper", FunctionKind::Helper),
    ("glue", FunctionKind::Glue),
];

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        f.write_str("source ")?;
        self.source.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("\n\n# Functions in the order in which they first ran.\n")?;
        self.functions.iter().try_for_each(|function| writeln!(f, "{function}"))?;
        f.write_str("\n# Pages of 4096 bytes that most instances wrote: the first, and how many.\n")?;
        self.pages.iter().try_for_each(|run| writeln!(f, "{run}"))
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("?", |(word, _)| word);
        f.write_str(word)?;
        if self.earlier > 0 {
            write!(f, "+{}", self.earlier)?;
        }
        f.write_char(' ')?;
        let mut chars = self.name.chars().peekable();
        while let Some(char) = chars.next() {
            // Editors take away what is white at the end of a line.
            let is_lost = char.is_whitespace() && chars.peek().is_none();
            match char {
                _ if is_lost => write!(f, "{}", char.escape_unicode())?,
                '\\' => f.write_str("\\\\")?,
                _ if char.is_control() => write!(f, "{}", char.escape_unicode())?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for PageRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Stack => f.write_str("stack")?,
            Part::Block(group) => write!(f, "block {group}")?,
            Part::Memory(row) => write!(f, "memory {row}")?,
        }
        write!(f, " {} {}", self.first, self.count)
    }
}

impl Profile {
    /// Reads the text.
    ///
    /// # Errors
    /// If it is none, with the line.
    pub fn parse(text: &str) -> Result<Profile, ProfileError> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(ProfileError {
                line: 1,
                what: "not a profile of this version: it is to be `precast profile 1`",
            });
        }
        let mut profile = Profile::default();
        let mut has_source = false;
        for (line, text) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            let wrong = |what| ProfileError { line, what };
            if !has_source {
                let source = if word == "source" { digest(rest) } else { None };
                profile.source = source.ok_or(wrong("it is to be `source` and the program's digest"))?;
                has_source = true;
            } else if let Some(part) = part(word, rest) {
                profile.pages.push(part.ok_or(wrong("pages are to be a first one and how many"))?);
            } else {
                profile.functions.push(function(word, rest).map_err(wrong)?);
            }
        }
        if has_source { Ok(profile) } else { Err(ProfileError { line: 2, what: "the program's digest is missing" }) }
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// If a line begins as one that says pages: what it says.
fn part(word: &str, rest: &str) -> Option<Option<PageRun>> {
    let mut numbers = rest.split(' ');
    let mut number = || numbers.next()?.parse::<u64>().ok();
    let mut index = || u32::try_from(number()?).ok();
    let part = match word {
        "stack" => Some(Part::Stack),
        "block" => index().map(Part::Block),
        "memory" => index().map(Part::Memory),
        _ => return None,
    };
    let run = (|| Some(PageRun { part: part?, first: number()?, count: number()? }))();
    // No part has so many that its bytes could not be counted.
    let fits = |run: &PageRun| run.first.checked_add(run.count).is_some_and(|end| end <= u64::MAX / PAGE);
    Some(run.filter(fits).filter(|run| run.count > 0 && numbers.next().is_none()))
}

fn function(word: &str, name: &str) -> Result<FunctionName, &'static str> {
    let (word, earlier) = match word.split_once('+') {
        Some((word, earlier)) => (word, earlier.parse().map_err(|_| "no number after `+`")?),
        None => (word, 0),
    };
    let kind = KINDS.iter().find(|(known, _)| *known == word).ok_or("neither a function nor pages")?.1;
    Ok(FunctionName { kind, name: unescape(name).ok_or("the name has an unknown escape")?, earlier })
}

fn unescape(name: &str) -> Option<String> {
    let Some((plain, rest)) = name.split_once('\\') else { return Some(name.to_string()) };
    let mut whole = plain.to_string();
    let mut rest = rest;
    loop {
        rest = if let Some(rest) = rest.strip_prefix('\\') {
            whole.push('\\');
            rest
        } else {
            let (code, rest) = rest.strip_prefix("u{")?.split_once('}')?;
            whole.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            rest
        };
        let Some((plain, next)) = rest.split_once('\\') else { break };
        whole.push_str(plain);
        rest = next;
    }
    whole.push_str(rest);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(kind: FunctionKind, name: &str, earlier: u32) -> FunctionName {
        FunctionName { kind, name: name.into(), earlier }
    }

    fn sample() -> Profile {
        let mut functions: Vec<_> = KINDS.iter().map(|(_, kind)| function(*kind, "a name", 0)).collect();
        for name in ["", " ", "two  spaces ", "line\nbreak\r", "back\\slash\\", "\\n", "größe\u{a0}", "# none", "+1"]
        {
            functions.push(function(FunctionKind::Wasm, name, 3));
        }
        let pages = [(Part::Stack, 0, 2), (Part::Block(3), 7, 1), (Part::Memory(1), 16, 1000)];
        let pages = pages.map(|(part, first, count)| PageRun { part, first, count });
        Profile { source: core::array::from_fn(|at| at as u8 * 7), functions, pages: pages.into() }
    }

    #[test]
    fn profiles_round_trip_as_text() {
        let text = sample().to_string();
        assert_eq!(Profile::parse(&text), Ok(sample()));
        assert!(text.lines().all(|line| line.trim_end() == line || line.ends_with("+3 ")), "{text}");
        // Comments, empty lines and the order of functions and pages do not matter.
        let (head, rest) = text.split_once("\n\n").unwrap();
        let (functions, pages) = rest.split_once("\n\n").unwrap();
        let other = alloc::format!("{head}\n#\n{pages}\n\n{functions}");
        assert_eq!(Profile::parse(&other), Ok(sample()));
        assert_eq!(Profile::parse(&Profile::default().to_string()), Ok(Profile::default()));
    }

    #[test]
    fn what_is_no_profile_is_told_with_its_line() {
        let head = "precast profile 1\nsource 0000000000000000000000000000000000000000000000000000000000000000\n";
        let line = |text: &str| Profile::parse(text).map_err(|error| error.line);
        assert_eq!(line(head), Ok(Profile::default()));
        for text in ["", "\n", "precast profile 2\n", "\0asm", "wasm f"] {
            assert_eq!(line(text), Err(1), "{text:?}");
        }
        for text in ["precast profile 1", "precast profile 1\nsource 00", "precast profile 1\nwasm f\n"] {
            assert_eq!(line(text), Err(2), "{text:?}");
        }
        for wrong in [
            "wasms f",
            "wasm+ f",
            "wasm+x f",
            "wasm+5000000000 f",
            "wasm a\\b",
            "wasm a\\u{110000}",
            "wasm a\\u{61",
            "stack",
            "stack 0",
            "stack 0 0",
            "stack 0 1 2",
            "stack -1 2",
            "block 0 1",
            "block 5000000000 0 1",
            "memory 0 18446744073709551615 1",
            "memory 0 4503599627370495 1",
            "\u{1}",
        ] {
            assert_eq!(line(&alloc::format!("{head}wasm f\n{wrong}\n")), Err(4), "{wrong:?}");
        }
    }

    #[test]
    fn damaged_profiles_are_errors_or_parse_without_a_panic() {
        let text = sample().to_string();
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            _ = Profile::parse(&text[..at]);
            for junk in ["\\", "u{", "}", "+", " ", "\n", "9", "ü", "-"] {
                _ = Profile::parse(&alloc::format!("{}{junk}{}", &text[..at], &text[at..]));
            }
        }
    }

    #[test]
    fn pages_are_counted_from_where_parts_stay_the_same() {
        let (start, end) = (10 * PAGE, 20 * PAGE);
        for part in [Part::Memory(0), Part::Stack, Part::Block(0)] {
            for at in 10..20 {
                let page = part.page(start, end, at * PAGE);
                assert_eq!(part.place(start, end, page, 1), at * PAGE..(at + 1) * PAGE, "{part:?}");
            }
        }
        assert_eq!(Part::Memory(0).page(start, end, 12 * PAGE), 2);
        assert_eq!(Part::Stack.page(start, end, 19 * PAGE), 0);
        assert_eq!(Part::Memory(0).place(start, end, 8, 5), 18 * PAGE..20 * PAGE);
        assert_eq!(Part::Stack.place(start, end, 8, 5), 10 * PAGE..12 * PAGE);
        for part in [Part::Memory(0), Part::Stack] {
            assert!(part.place(start, end, 10, 1).is_empty() && part.place(start, end, u64::MAX, u64::MAX).is_empty());
        }
    }

    #[test]
    fn equal_names_are_told_apart() {
        let mut earlier = Earlier::default();
        let counts = [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("b", 1)];
        counts.iter().for_each(|(name, count)| assert_eq!(earlier.count(FunctionKind::Wasm, name), *count));
        assert_eq!(earlier.count(FunctionKind::Glue, "a"), 0);
    }
}
