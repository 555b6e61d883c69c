//! `precast inspect`, `bench` and the commands about precast itself: what they print.

use crate::common::Folder;
use serde_json::Value;

const MODULE: &str = r#"(module
    (import "env" "log" (func $log (param i32 i64)))
    (import "env" "base" (global i32))
    (memory (export "memory") 2 16)
    (table (export "table") 3 9 funcref)
    (global (export "count") (mut i64) (i64.const 5))
    (func $big (export "big") (param f64) (result f64)
        (f64.add (f64.mul (local.get 0) (local.get 0)) (f64.sqrt (local.get 0))))
    (func (export "many") (result i32 v128) (i32.const 1) (v128.const i64x2 1 2)))"#;

const FAST: &str = r#"(module (memory 1) (data (i32.const 8) "\01")
    (func (export "_start") (i32.store (i32.const 0) (i32.const 1)))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "trap") unreachable))"#;

#[test]
fn inspect_tells_what_an_artifact_is() {
    let folder = Folder::with("module.wat", MODULE);
    folder.precast("compile module.wat --target x86_64").succeeds();
    let outcome = folder.precast("inspect module.so").succeeds();
    for told in [
        "x86_64-unknown-linux-gnu",
        "x86-64-v2",
        "(matches)",
        "env.log",
        "(i32, i64)",
        "env.base",
        "2..16 pages",
        "3..9 funcref",
        "mut i64",
        "(f64) -> f64",
        "() -> (i32, v128)",
        "guarded",
        ".text",
        ".precast.meta",
        "big",
    ] {
        assert!(outcome.text().contains(told), "`{told}` is not in:\n{}", outcome.text());
    }
    assert!(outcome.text().lines().all(|line| line == line.trim_end()));
}

#[test]
fn inspect_prints_json_with_stable_keys() {
    let folder = Folder::with("module.wat", MODULE);
    folder.precast("compile module.wat --target x86_64").succeeds();
    let json: Value = serde_json::from_slice(&folder.precast("inspect --json module.so").succeeds().stdout).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = vec![
        "file",
        "bytes",
        "target",
        "cpu",
        "features",
        "producer",
        "digest",
        "digest_matches",
        "abi_version",
        "source",
        "profile",
        "init",
        "metered",
        "imports",
        "exports",
        "memories",
        "tables",
        "slot",
        "image",
        "parts",
        "functions",
    ];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    assert_eq!(json["bytes"], folder.read("module.so").len());
    assert_eq!(json["digest_matches"], true);
    assert_eq!(
        json["imports"][0],
        serde_json::json!({ "module": "env", "name": "log", "kind": "func", "type": "(i32, i64)" })
    );
    let exports: Vec<_> =
        json["exports"].as_array().unwrap().iter().map(|export| export["name"].as_str().unwrap()).collect();
    assert_eq!(exports, ["big", "count", "many", "memory", "table"]);
    assert_eq!((&json["memories"][0]["min"], &json["memories"][0]["max"]), (&2.into(), &16.into()));
    assert_eq!(json["functions"]["count"], 2);
}

#[test]
fn inspect_takes_modules_and_foreign_artifacts() {
    let folder = Folder::with("module.wat", MODULE);
    let json: Value = serde_json::from_slice(&folder.precast("inspect --json module.wat").succeeds().stdout).unwrap();
    assert_eq!(json["file"], "module.wat");
    assert_eq!(folder.cache_entries().len(), 1);

    folder.precast("compile module.wat --target aarch64 -o arm.so").succeeds();
    let outcome = folder.precast("inspect arm.so").succeeds();
    assert!(outcome.text().contains("aarch64-unknown-linux-gnu"), "{}", outcome.text());
}

#[test]
fn inspect_tells_damage() {
    let folder = Folder::with("module.wat", MODULE);
    folder.precast("compile module.wat").succeeds();
    let mut bytes = folder.read("module.so");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    folder.write("damaged.so", &bytes);
    let outcome = folder.precast("inspect damaged.so");
    assert!(outcome.status == 1 && outcome.text().contains("DOES NOT MATCH"), "{outcome:?}");

    folder.write("short.so", &bytes[..40]);
    folder.precast("inspect short.so").fails(1, &["cannot inspect `short.so`", "caused by:"]);
    folder.write("other.so", std::fs::read("/proc/self/exe").unwrap());
    folder.precast("inspect other.so").fails(1, &["cannot inspect `other.so`", "no meta tables"]);
    folder.write("empty", "");
    folder.precast("inspect empty").fails(1, &["`empty` is empty"]);
    folder.precast("inspect missing").fails(1, &["cannot read `missing`"]);
    folder.precast("inspect --bogus module.so").fails(2, &["--bogus"]);
}

#[test]
fn another_abi_version_is_told() {
    let folder = Folder::with("module.wat", MODULE);
    folder.precast("compile module.wat").succeeds();
    let mut bytes = folder.read("module.so");
    let version = bytes.windows(8).position(|window| window == b"PRECAST\0").unwrap() + 8;
    bytes[version] = 99;
    folder.write("other.so", &bytes);
    folder.precast("inspect other.so").fails(1, &["cannot inspect `other.so`", "ABI version 99"]);
    folder.precast("run other.so").fails(125, &["cannot open `other.so`", "99"]);
}

#[test]
fn inspect_never_panics_on_damaged_artifacts() {
    let folder = Folder::with("module.wat", MODULE);
    folder.precast("compile module.wat").succeeds();
    let good = folder.read("module.so");
    for case in 0..60 {
        let mut bytes = good.clone();
        let at = case * 7919 % bytes.len();
        bytes[at] ^= 0xff;
        folder.write("damaged.so", &bytes);
        let outcome = folder.precast("inspect damaged.so");
        assert!(outcome.status == 1 && !outcome.stderr.contains("panicked"), "at {at}: {outcome:?}");
    }
}

#[test]
fn bench_prints_its_quantities() {
    let folder = Folder::with("fast.wat", FAST);
    for args in ["fast.wat", "--invoke add fast.wat 1 -2", "fast.wat --invoke add 1 2", "--invoke add 1 2 fast.wat"] {
        let outcome = folder.precast(&format!("bench --iterations 20 --json {args}")).succeeds();
        let json: Value = serde_json::from_slice(&outcome.stdout).unwrap();
        for quantity in ["open_ns", "first_cycle_ns", "cycle_ns", "call_ns"] {
            let (median, high) = (json[quantity]["p50"].as_u64().unwrap(), json[quantity]["p99"].as_u64().unwrap());
            assert!(0 < median && median <= high, "{quantity} of {json}");
        }
    }
    let outcome = folder.precast("bench --iterations 3 fast.wat").succeeds();
    assert!(["open", "first cycle", "cycle", "call"].iter().all(|name| outcome.text().contains(name)), "{outcome:?}");
}

#[test]
fn bench_tells_what_it_cannot_do() {
    let folder = Folder::with("fast.wat", FAST);
    folder.precast("bench --invoke sub fast.wat").fails(2, &["no function `sub`", "`add`"]);
    folder.precast("bench --invoke add fast.wat 1").fails(2, &["`add` takes 2 arguments"]);
    folder.precast("bench fast.wat 1").fails(2, &["--invoke"]);
    folder.precast("bench --invoke trap fast.wat").fails(1, &["the guest trapped: unreachable"]);
    folder.precast("bench missing.so").fails(1, &["cannot read `missing.so`"]);
    folder.write("library.wat", r#"(module (import "env" "f" (func)) (memory (export "memory") 1))"#);
    let outcome = folder.precast("bench --iterations 3 library.wat");
    assert!(outcome.status == 0 && outcome.stderr.contains("cycles are without a call"), "{outcome:?}");
}

#[test]
fn the_command_tells_about_itself() {
    let folder = Folder::new();
    let version = folder.precast("--version").succeeds();
    assert!(version.text().starts_with("precast ") && version.text().contains("ABI"), "{version:?}");
    assert!(version.text().contains("cranelift"), "{version:?}");
    for command in ["compile", "run", "inspect", "bench", "completions"] {
        let (short, long) = (folder.precast(&format!("{command} -h")), folder.precast(&format!("{command} --help")));
        assert!(short.text().len() < long.text().len(), "{command}");
        assert!(long.text().contains("Examples:"), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.precast(&format!("completions {shell}")).succeeds().text().contains("precast"));
    }
    folder.precast("completions csh").fails(2, &["bash"]);
    folder.precast("").fails(2, &["Usage"]);
    folder.precast("frobnicate").fails(2, &["frobnicate"]);
}
