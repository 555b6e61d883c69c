//! Tests that are files: drop a `.wat` into `filetests/` and run `PRECAST_BLESS=1 cargo test -p precast-compiler`.
//!
//! A file starts with directives, each on a line of its own, and ends with what the compiler says about it:
//!
//! ```text
//! ;;! emit clif|asm|names|error     what to show: code, the names of everything in the text, or the error
//! ;;! only NAME                     show this function alone (may be repeated)
//! ;;! target aarch64                compile for this target
//! ;;! cpu x86-64-v3                 compile for this CPU
//! ;;! fuel                          count what is executed
//! (module …)
//! ;;; output
//! ;; …
//! ```

use std::path::Path;

use precast_compiler::{Emit, Options, compile};

const OUTPUT: &str = ";;; output\n";

#[test]
fn files_give_the_output_they_end_with() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let bless = std::env::var_os("PRECAST_BLESS").is_some();
    let mut failures = Vec::new();
    let mut count = 0;
    let entries = std::fs::read_dir(&folder).expect("the folder of file tests");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("file tests are UTF-8");
        let (source, expected) = text.split_once(OUTPUT).unwrap_or((&text, ""));
        let actual = as_comment(&output(source));
        count += 1;
        if actual == expected {
            continue;
        }
        if bless {
            let source = source.trim_end();
            std::fs::write(&path, format!("{source}\n{OUTPUT}{actual}")).expect("the test can be written");
        } else {
            failures.push(format!("{}:\n--- expected\n{expected}\n--- actual\n{actual}", path.display()));
        }
    }
    assert!(count >= 10, "only {count} file tests found in {}", folder.display());
    assert!(failures.is_empty(), "{}\n(PRECAST_BLESS=1 accepts these)", failures.join("\n"));
}

fn as_comment(output: &str) -> String {
    output.trim_end().lines().map(|line| format!(";; {line}").trim_end().to_string() + "\n").collect()
}

/// What the compiler says about a file.
fn output(source: &str) -> String {
    let (mut emit, mut target, mut cpu, mut fuel, mut only) = ("clif", "x86_64", None, false, Vec::new());
    for directive in source.lines().filter_map(|line| line.strip_prefix(";;! ")) {
        match directive.split_once(' ') {
            None if directive == "fuel" => fuel = true,
            Some(("emit", value)) => emit = value,
            Some(("target", value)) => target = value,
            Some(("cpu", value)) => cpu = Some(value),
            Some(("only", value)) => only.push(value),
            _ => panic!("unknown directive `{directive}`"),
        }
    }
    let mut options = Options { verify: true, fuel, ..Options::default() };
    options.set_target(Some(target), cpu).expect("a known target");
    options.emit = if emit == "asm" { Emit::Asm } else { Emit::Clif };
    let text = match compile(source.as_bytes(), &options) {
        Ok(bytes) => String::from_utf8(bytes).expect("text"),
        Err(error) if emit == "error" => return error.to_string(),
        Err(error) => panic!("{error}\n{source}"),
    };
    assert!(emit != "error", "compiled without an error:\n{source}");
    // Each function begins with a line `; NAME`.
    let functions = text.split("\n; ").map(|function| function.trim_start_matches("; "));
    let name = |function: &str| function.lines().next().unwrap_or_default().to_string();
    match emit {
        "names" => functions.map(|function| name(function) + "\n").collect(),
        _ => functions
            .filter(|function| only.is_empty() || only.contains(&name(function).as_str()))
            .map(|function| format!("{}\n\n", function.trim_end()))
            .collect(),
    }
}
