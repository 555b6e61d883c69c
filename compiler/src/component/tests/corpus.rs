//! Components of others: guests, and conformance scripts.

use std::collections::HashMap;
use std::path::Path;

use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastDirective};

use super::super::{is_component, link};
use super::shared;
use crate::Error;

#[test]
fn guests() {
    let Some(folder) = shared("guests/wasm") else { return };
    let mut count = 0;
    for entry in folder.read_dir().expect("readable") {
        let path = entry.expect("readable").path();
        if !path.to_string_lossy().ends_with(".p2.wasm") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        let linkage = link(&bytes, &[]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!linkage.exports.is_empty() && !linkage.instances.is_empty(), "{}", path.display());
        eprintln!(
            "{}: {} modules, {} core instances, {} component instances, {} canonical functions, {} resources, {} types",
            path.file_name().unwrap_or_default().display(),
            linkage.modules.len(),
            linkage.instances.len(),
            linkage.component_instances.len(),
            linkage.canon_funcs.len(),
            linkage.resources.len(),
            linkage.types.len(),
        );
        count += 1;
    }
    assert!(count >= 7, "only {count} guests");
}

/// Scripts whose point is that a feature is off, which it is not here.
const FEATURE_OFF: [&str; 1] = ["component/wasmtime/component-model/implements-disabled.wast"];

#[test]
fn scripts() {
    let Some(folder) = shared("conformance") else { return };
    let list = std::fs::read_to_string(folder.join("scope/component-sync.txt")).expect("readable");
    let mut tally = Tally::default();
    for script in list.lines().filter(|line| !FEATURE_OFF.contains(line)) {
        run(&folder, script, &mut tally);
    }
    eprintln!("{tally:?}");
    assert!(tally.failures.is_empty(), "{} wrong:\n{}", tally.failures.len(), tally.failures.join("\n"));
    assert!(tally.linked > 100 && tally.invalid > 100);
}

#[derive(Debug, Default)]
struct Tally {
    linked: usize,
    refused: HashMap<String, usize>,
    invalid: usize,
    failures: Vec<String>,
}

fn run(folder: &Path, script: &str, tally: &mut Tally) {
    let text = std::fs::read_to_string(folder.join(script)).expect("readable");
    let buffer = ParseBuffer::new(&text).expect("lexes");
    let wast = parser::parse::<Wast<'_>>(&buffer).unwrap_or_else(|error| panic!("{script}: {error}"));
    for directive in wast.directives {
        let (line, _) = directive.span().linecol_in(&text);
        let at = format!("{script}:{}", line + 1);
        let (mut wat, should_be_valid) = match directive {
            WastDirective::Module(wat) | WastDirective::ModuleDefinition(wat) => (wat, true),
            WastDirective::AssertUnlinkable { module, .. } => (QuoteWat::Wat(module), true),
            // What another runtime does not implement is valid all the same.
            WastDirective::AssertInvalid { message, .. }
                if message.contains("not implemented") || message.contains("not supported") =>
            {
                continue;
            }
            WastDirective::AssertInvalid { module, .. } | WastDirective::AssertMalformed { module, .. } => {
                (module, false)
            }
            _ => continue,
        };
        // The text parser refuses some of what is malformed.
        let bytes = match wat.encode() {
            Ok(bytes) => bytes,
            Err(error) if should_be_valid => {
                tally.failures.push(format!("{at}: {error}"));
                continue;
            }
            Err(_) => continue,
        };
        if !is_component(&bytes) {
            continue;
        }
        match (link(&bytes, &[]), should_be_valid) {
            (Ok(_), true) => tally.linked += 1,
            (Err(Error::Invalid { .. }), false) => tally.invalid += 1,
            // Valid, but not for the runtime that the script was written for: it has the same limits.
            (Err(Error::Link(_)), false) => tally.invalid += 1,
            (Err(Error::Link(_)), true) => *tally.refused.entry("link".into()).or_default() += 1,
            (Err(Error::Unsupported { proposal: "multiple memories", .. }), true) => {
                *tally.refused.entry("multiple memories".into()).or_default() += 1;
            }
            (result, _) => tally.failures.push(format!("{at}: {:?}", result.err())),
        }
    }
}
