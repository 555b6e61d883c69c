//! `--record-profile` and `compile --profile`: from a run to an artifact that is laid out by it, and what does not fit.

use serde_json::Value;

use crate::common::Folder;

/// A command and a few functions; `_start` calls them in another order.
const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 20)
    (func $unused (export "unused") (unreachable))
    (func $last (param i32) (i32.store (i32.const 500000) (local.get 0)) (call $exit (local.get 0)))
    (func $first (param i32) (i32.store (i32.const 700000) (local.get 0)))
    (func $start (export "_start") (call $first (i32.const 1)) (call $last (i32.const 3)))
    (func $trap (export "trap") (call $first (i32.const 1)) (unreachable)))"#;

/// The lines that name something.
fn named(profile: &[u8]) -> Vec<String> {
    let lines = std::str::from_utf8(profile).unwrap().lines();
    let lines = lines.filter(|line| ["wasm ", "host ", "memory "].iter().any(|word| line.starts_with(word)));
    lines.map(str::to_owned).collect()
}

fn json(folder: &Folder, args: &str) -> Value {
    serde_json::from_slice(&folder.precast(args).succeeds().stdout).unwrap()
}

#[test]
fn a_run_is_recorded_and_an_artifact_laid_out_by_it() {
    let folder = Folder::with("command.wat", COMMAND);
    let outcome = folder.precast("run --record-profile first.profile command.wat");
    assert_eq!(outcome.status, 3, "{outcome:?}");
    assert!(outcome.stderr.contains("precast: recorded ") && outcome.stderr.contains("`first.profile`"), "{outcome:?}");
    // The host's `proc_exit` is called by registers, without a thunk that would be recorded.
    let names = ["wasm start", "wasm first", "wasm last", "memory 0 122 1", "memory 0 170 1"];
    assert_eq!(named(&folder.read("first.profile")), names);

    folder.precast("compile command.wat --profile first.profile").succeeds();
    let profile = json(&folder, "inspect --json command.so")["profile"].take();
    assert_eq!((&profile["same_source"], &profile["functions_found"]), (&true.into(), &profile["functions"]));
    assert_eq!(profile["pages"], profile["pages_found"]);
    let text = folder.precast("inspect command.so").succeeds();
    let functions = &profile["functions"];
    assert!(text.text().contains(&format!("({functions} of {functions} functions")), "{}", text.text());
    assert_eq!(folder.precast("run command.so").status, 3);
    let laid_out = folder.read("command.so");
    folder.precast("compile command.wat --profile first.profile --threads 1").succeeds();
    assert!(folder.read("command.so") == laid_out, "the same profile gives the same bytes");
    folder.precast("compile command.wat").succeeds();
    assert!(folder.read("command.so") != laid_out);
    assert_eq!(json(&folder, "inspect --json command.so")["profile"], Value::Null);

    // What is laid out by a profile can be recorded, and comes to the same one.
    folder.precast("compile command.wat --profile first.profile").succeeds();
    assert_eq!(folder.precast("run --record-profile second.profile command.so").status, 3);
    assert!(folder.read("second.profile") == folder.read("first.profile"));
}

#[test]
fn what_ends_in_a_trap_is_recorded_too() {
    let folder = Folder::with("command.wat", COMMAND);
    let outcome = folder.precast("run --record-profile a.profile --invoke trap command.wat");
    assert_eq!(outcome.status, 134, "{outcome:?}");
    assert_eq!(named(&folder.read("a.profile")), ["wasm trap", "wasm first", "memory 0 170 1"]);
}

#[test]
fn the_cache_knows_profiles_apart() {
    let folder = Folder::with("command.wat", COMMAND);
    folder.precast("run --record-profile a.profile command.wat");
    folder.precast("run --record-profile b.profile --invoke trap command.wat");
    let entries = folder.cache_entries().len();
    for (added, profile) in [(1, "a"), (2, "b"), (2, "a")] {
        folder.precast(&format!("compile --cache command.wat --profile {profile}.profile")).succeeds();
        assert_eq!(folder.cache_entries().len(), entries + added);
    }
}

#[test]
fn a_profile_goes_with_an_initialiser() {
    let module =
        COMMAND.replace("(memory", r#"(func (export "set-up") (i32.store (i32.const 8) (i32.const 9))) (memory"#);
    let folder = Folder::with("command.wat", module);
    assert_eq!(folder.precast("run --record-profile a.profile command.wat").status, 3);
    folder.precast("compile command.wat --init=set-up --profile a.profile").succeeds();
    let report = json(&folder, "inspect --json command.so");
    assert_eq!(report["profile"]["same_source"], true);
    assert_eq!(folder.precast("run command.so").status, 3);
}

#[test]
fn profiles_that_do_not_fit_are_told() {
    let folder = Folder::with("command.wat", COMMAND);
    folder.precast("run --record-profile a.profile command.wat");

    // Another version of the program: one function has another name, another is new.
    folder.write("newer.wat", COMMAND.replace("$first", "$renamed").replace("(memory", "(func $new) (memory"));
    let outcome = folder.precast("compile newer.wat --profile a.profile");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let warning =
        "precast: warning: the profile was recorded with a program of another version: of its 4 functions 3 were";
    assert!(outcome.stderr.starts_with(warning), "{outcome:?}");
    let outcome = folder.precast("compile newer.wat --profile a.profile --message-format json");
    let message: Value = serde_json::from_str(outcome.stderr.lines().next().unwrap()).unwrap();
    assert_eq!((outcome.status, &message["kind"]), (0, &"warning".into()));
    let profile = json(&folder, "inspect --json newer.so")["profile"].take();
    assert_eq!((&profile["same_source"], &profile["functions_found"]), (&false.into(), &3.into()));

    folder.write("other.wat", "(module (func $f (export \"f\")))");
    folder.precast("compile other.wat --profile a.profile").fails(1, &["the profile is of another program"]);
    folder.precast("compile command.wat --profile missing").fails(1, &["cannot read `missing`"]);
    folder.precast("compile command.wat --profile other.wat").fails(1, &["`other.wat` is no profile", "line 1: "]);
    let damaged = String::from_utf8(folder.read("a.profile")).unwrap().replace("wasm last", "wasps last");
    let line = 1 + damaged.lines().position(|line| line == "wasps last").unwrap();
    folder.write("damaged.profile", damaged);
    folder
        .precast("compile command.wat --profile damaged.profile")
        .fails(1, &[&format!("line {line}: neither a function")]);
    folder.write("binary", b"\xff\xfe");
    folder.precast("compile command.wat --profile binary").fails(1, &["cannot read `binary`"]);
    folder.precast("compile command.wat --emit asm --profile a.profile").fails(2, &["--profile goes with --emit so"]);
    let missing = "cannot write `no/such/file`";
    folder.precast("run --record-profile no/such/file command.wat").fails(125, &[missing]);
    folder.precast("run --record-profile cache command.wat").fails(125, &["cannot write `cache`"]);
}
