//! `--fuel`: what guests use, and what becomes of those that use more than they have.

use serde_json::Value;

use crate::common::Folder;

/// Each turn of the loop uses nine units; two come before and after.
const GUEST: &str = r#"(module
    (func $sum (export "sum") (param i32) (result i32) (local $s i32)
        (loop $again
            (local.set $s (i32.add (local.get $s) (local.get 0)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $s))
    (func (export "_start") (drop (call $sum (i32.const 10)))))"#;

const COMPONENT: &str = r#"(component
    (core module $m (func (export "sum") (param i32) (result i32) (local $s i32)
        (loop $again
            (local.set $s (i32.add (local.get $s) (local.get 0)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $s)))
    (core instance $i (instantiate $m))
    (func (export "sum") (param "n" u32) (result u32) (canon lift (core func $i "sum"))))"#;

#[test]
fn a_guest_has_the_fuel_it_is_given() {
    let folder = Folder::with("guest.wat", GUEST);
    folder.write("component.wat", COMPONENT);
    folder.precast("compile guest.wat --fuel").succeeds();
    for file in ["guest.wat", "guest.so", "component.wat"] {
        let run = |flags: &str| folder.precast(&format!("run {flags} --invoke sum {file} 1000"));
        assert_eq!(run("--fuel 9002").succeeds().text(), "500500\n", "{file}");
        let outcome = run("--fuel 9002 --report-fuel");
        assert_eq!((outcome.text(), &outcome.stderr[..]), ("500500\n", "precast: fuel used: 9002\n"), "{file}");
        assert_eq!(run("--report-fuel").stderr, "precast: fuel used: 9002\n", "{file}");
        run("--fuel 9001").fails(134, &["precast: trap: out of fuel"]);
        run("--fuel 9001 --report-fuel").fails(134, &["precast: fuel used: 9001", "precast: trap: out of fuel"]);
        run("--fuel 8000").fails(134, &["out of fuel\n", "0: "]);
        run("--fuel lots").fails(2, &["--fuel"]);
    }
    // The command's call, its constant, and being entered.
    assert_eq!(folder.precast("run --report-fuel guest.so").stderr, "precast: fuel used: 95\n");
}

#[test]
fn artifacts_say_whether_they_count() {
    let folder = Folder::with("guest.wat", GUEST);
    folder.precast("compile guest.wat -o plain.so").succeeds();
    folder.precast("compile guest.wat -o metered.so --fuel").succeeds();
    for flag in ["--fuel 1", "--report-fuel"] {
        folder.precast(&format!("run {flag} plain.so")).fails(2, &["`plain.so` does not count fuel", "compile --fuel"]);
    }
    folder.precast("run metered.so").succeeds();
    for (file, metered, text) in [("plain.so", false, "is not counted"), ("metered.so", true, "is counted")] {
        let json: Value = serde_json::from_slice(&folder.precast(&format!("inspect --json {file}")).stdout).unwrap();
        assert_eq!(json["metered"], metered);
        assert_eq!(json["producer"].as_str().unwrap().contains("; fuel;"), metered);
        let shown = folder.precast(&format!("inspect {file}")).succeeds();
        assert!(shown.text().contains(text), "{}", shown.text());
    }
}

#[test]
fn the_cache_keeps_both() {
    let folder = Folder::with("guest.wat", GUEST);
    folder.precast("run guest.wat").succeeds();
    folder.precast("run --fuel 1000 guest.wat").succeeds();
    assert_eq!(folder.cache_entries().len(), 2);
    folder.precast("run guest.wat").succeeds();
    assert_eq!(folder.cache_entries().len(), 2);
}

#[test]
fn initialisers_run_without_a_limit_and_leave_none() {
    let folder = Folder::with(
        "guest.wat",
        r#"(module (global $g (mut i32) (i32.const 0))
            (func (export "init") (local $i i32)
                (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))
                (global.set $g (local.get $i)))
            (func (export "get") (result i32) (global.get $g)))"#,
    );
    folder.precast("compile guest.wat --fuel --init=init -o guest.so").succeeds();
    assert_eq!(folder.precast("run --fuel 2 --invoke get guest.so").succeeds().text(), "100000\n");
    folder.precast("run --fuel 1 --invoke get guest.so").fails(134, &["out of fuel"]);
}

#[test]
fn scripts_and_benches_run_metered() {
    let folder = Folder::with(
        "script.wast",
        r#"(module (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))
        (assert_return (invoke "f" (i32.const 1)) (i32.const 2))"#,
    );
    folder.write("guest.wat", GUEST);
    assert!(folder.precast("wast --fuel script.wast").succeeds().text().contains("0 failed"));
    folder.precast("bench --fuel --iterations 3 --invoke sum guest.wat 10").succeeds();
}
