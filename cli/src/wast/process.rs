//! The process of one script: parses it, compiles its modules, replays it twice, and tells the runner on the way.
//!
//! The two replays go side by side, directive by directive. Each opens every artifact for itself and keeps it open, so
//! that the same artifact runs at two addresses at once; a directive passes if it passes in both.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use super::compile::{Built, Compiler};
use super::header::Header;
use super::replay::Replay;
use super::report::{Event, Place};
use super::script::{self, Script};
use super::spectest;
use super::stop::Outcome;
use crate::codegen::ScriptArgs;
use crate::error::Error;

/// Runs the script at `path`, writing artifacts to the folder `artifacts`, and tells everything on standard output.
///
/// # Errors
/// If it cannot go on at all; what the script does wrong is told, not returned.
pub(super) fn run(path: &Path, artifacts: &Path, codegen: ScriptArgs) -> Result<(), Error> {
    let text = std::fs::read(path).map_err(|error| Error::read(path, error))?;
    let outcome = match String::from_utf8(text) {
        Ok(text) => run_text(&text, artifacts, codegen)?,
        Err(_) => Err((Place::START, "not a script: malformed UTF-8".into())),
    };
    if let Err((place, message)) = outcome {
        tell(Event::Total(1))?;
        tell(Event::At(place))?;
        tell(Event::Fail(message))?;
    }
    tell(Event::End)
}

/// Runs a script; the inner error is for a text that is none.
fn run_text(text: &str, folder: &Path, codegen: ScriptArgs) -> Result<Result<(), (Place, String)>, Error> {
    let tokens = match script::lex(text) {
        Ok(tokens) => tokens,
        Err(error) => return Ok(Err(error)),
    };
    let script = match script::parse(text, &tokens) {
        Ok(script) => script,
        Err(error) => return Ok(Err(error)),
    };
    tell(Event::Total(script.directives.len()))?;

    let mut compiler = Compiler::new(folder, Header::parse(text), codegen);
    let host = spectest::compile(&mut compiler)?;
    let mut built = Built::default();
    for module in &script.modules {
        tell(Event::At(module.place))?;
        compiler.module(module, &mut built)?;
    }
    replay_twice(&script, &built, &host)?;
    Ok(Ok(()))
}

fn replay_twice(script: &Script<'_>, built: &Built, host: &[PathBuf]) -> Result<(), Error> {
    thread::scope(|scope| {
        let mut first = Replay::new(scope, built, host);
        let mut second = Replay::new(scope, built, host);
        for directive in &script.directives {
            tell(Event::At(directive.place))?;
            tell(combine(first.step(directive), second.step(directive)))?;
        }
        for message in [first.finish(), second.finish()].into_iter().flatten() {
            tell(Event::Fail(message))?;
        }
        // Everything either replay opened is still mapped: `first` and `second` live on.
        if let Err(message) = check_addresses(first.opened()) {
            tell(Event::At(Place::START))?;
            tell(Event::Fail(message))?;
        }
        drop((first, second));
        Ok(())
    })
}

/// The outcome of a directive, given that of each replay.
fn combine(first: Outcome, second: Outcome) -> Event {
    match (first, second) {
        (Outcome::Passed, Outcome::Passed) => Event::Pass,
        (Outcome::Skipped, Outcome::Skipped) => Event::Skip,
        (Outcome::Failed(first), Outcome::Failed(second)) if first == second => Event::Fail(first),
        (first, second) => Event::Fail(format!("at one address: {first}\nat another address: {second}")),
    }
}

/// Checks that the code of each file is mapped at two addresses, as the kernel sees it.
fn check_addresses(files: &[PathBuf]) -> Result<(), String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| format!("cannot read the maps: {error}"))?;
    let counts = executable_mappings(&maps);
    let single = files.iter().find(|file| counts.get(file.as_path()).is_none_or(|count| *count < 2));
    match single {
        Some(file) => Err(format!("`{}` was opened twice, but its code is not at two addresses", file.display())),
        None => Ok(()),
    }
}

/// How many executable mappings each file has, from the text of `/proc/self/maps`.
fn executable_mappings(maps: &str) -> HashMap<&Path, usize> {
    let mut counts = HashMap::new();
    for line in maps.lines() {
        // address permissions offset device inode path
        let mut fields = line.splitn(6, ' ');
        let (permissions, path) = (fields.nth(1).unwrap_or(""), fields.nth(3).unwrap_or("").trim_start());
        if permissions.contains('x') && path.starts_with('/') {
            *counts.entry(Path::new(path)).or_default() += 1;
        }
    }
    counts
}

fn tell(event: Event) -> Result<(), Error> {
    // Standard output is buffered by lines, so that a crash loses none.
    writeln!(io::stdout(), "{event}").map_err(Error::stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_must_pass_at_both_addresses() {
        let failed = |message: &str| Outcome::Failed(message.into());
        assert_eq!(combine(Outcome::Passed, Outcome::Passed), Event::Pass);
        assert_eq!(combine(Outcome::Skipped, Outcome::Skipped), Event::Skip);
        assert_eq!(combine(failed("x"), failed("x")), Event::Fail("x".into()));
        let Event::Fail(message) = combine(Outcome::Passed, failed("y")) else { panic!() };
        assert_eq!(message, "at one address: passed\nat another address: y");
        assert!(matches!(combine(failed("x"), failed("y")), Event::Fail(_)));
    }

    #[test]
    fn executable_mappings_are_counted_by_file() {
        let maps = "\
7f00-7f10 r--p 00000000 08:01 42                         /tmp/0.so
7f10-7f20 r-xp 00001000 08:01 42                         /tmp/0.so
7f30-7f40 r-xp 00001000 08:01 42                         /tmp/0.so
7f50-7f60 r-xp 00001000 08:01 43                         /tmp/a folder/1.so
7ffe-7fff r-xp 00000000 00:00 0                          [vdso]
7ff0-7ff1 rw-p 00000000 00:00 0
";
        let counts = executable_mappings(maps);
        assert_eq!(counts, HashMap::from([(Path::new("/tmp/0.so"), 2), (Path::new("/tmp/a folder/1.so"), 1)]));
        assert!(check_addresses(&[PathBuf::from("/nowhere/0.so")]).is_err());
        assert_eq!(check_addresses(&[]), Ok(()));
    }
}
