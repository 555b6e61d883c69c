//! `precast run`: what runs, what comes out of it, and with which status.

use std::fs;

use crate::common::{Folder, run};

/// Functions of every type of parameter and result.
const MATH: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "add64") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
    (func (export "half") (param f32) (result f32) (f32.mul (local.get 0) (f32.const 0.5)))
    (func (export "sqrt") (param f64) (result f64) (f64.sqrt (local.get 0)))
    (func (export "not") (param v128) (result v128) (v128.not (local.get 0)))
    (func (export "null") (param funcref externref) (result externref funcref) (local.get 1) (local.get 0))
    (func (export "two") (result i32 i64) (i32.const -1) (i64.const 2))
    (func (export "nothing"))
    (memory (export "memory") 1))"#;

/// A WASI command that prints its first arguments, as C strings, and exits with 3.
const ARGUMENTS: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $get (i32.const 1024) (i32.const 4096)))
        (i32.store (i32.const 16) (i32.const 4096))
        (i32.store (i32.const 20) (i32.load (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8)))
        (call $exit (i32.const 3))))"#;

/// Asks for the time, and traps if it is not told.
const CLOCK: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func $ask (export "_start")
        (if (call $time (i32.const 0) (i64.const 1) (i32.const 0)) (then unreachable))
        (if (call $time (i32.const 0) (i64.const 1) (i32.const 0)) (then unreachable))))"#;

#[test]
fn results_are_printed_one_per_line() {
    let folder = Folder::with("math.wat", MATH);
    let cases = [
        ("add 2 -3", "-1\n"),
        ("add 0xffffffff 1", "0\n"),
        ("add64 -9223372036854775808 -1", "9223372036854775807\n"),
        ("half 1", "0.5\n"),
        ("half -inf", "-inf\n"),
        ("sqrt 2", "1.4142135623730951\n"),
        ("half nan:0x500000", "nan:0x500000\n"),
        ("not 0x000102030405060708090a0b0c0d0e0f", "0xfffefdfcfbfaf9f8f7f6f5f4f3f2f1f0\n"),
        ("null null null", "null\nnull\n"),
        ("two", "-1\n2\n"),
        ("nothing", ""),
    ];
    for (call, printed) in cases {
        let (export, args) = call.split_once(' ').unwrap_or((call, ""));
        let outcome = folder.precast(&format!("run --invoke {export} math.wat {args}")).succeeds();
        assert_eq!(outcome.text(), printed, "{call}");
    }
}

#[test]
fn calls_that_do_not_fit_are_usage_errors() {
    let folder = Folder::with("math.wat", MATH);
    let fails = |args: &str, told: &[&str]| _ = folder.precast(&format!("run {args}")).fails(2, told);
    fails("--invoke sub math.wat", &["no function `sub`", "`add`", "`sqrt`", "`two`"]);
    fails("--invoke memory math.wat", &["no function `memory`"]);
    fails("--invoke add math.wat 1", &["`add` takes 2 arguments (i32, i32), 1 given"]);
    fails("--invoke add math.wat 1 2 3", &["3 given"]);
    fails("--invoke add math.wat 1 two", &["argument 2 of `add`: `two` is no i32"]);
    fails("--invoke add math.wat 4294967296 1", &["is no i32"]);
    fails("--invoke not math.wat 1", &["0x and 32 hexadecimal digits"]);
    fails("math.wat", &["no function `_start`", "--invoke"]);
    fails("--bogus math.wat", &["--bogus"]);
    fails("--no-cache --cache=x math.wat", &["cannot be used with"]);
    fails("--allow=disk:/ math.wat", &["--allow", "disk:/"]);
    fails("--max-memory lots math.wat", &["not a number of bytes"]);
    fails("--cpu pentium math.wat", &["unknown CPU `pentium`"]);
    fails("", &["<FILE>"]);
}

#[test]
fn files_are_told_by_their_content() {
    let folder = Folder::with("math.wat", MATH);
    folder.precast("compile math.wat -o artifact.txt").succeeds();
    folder.write("text.so", MATH);
    // (module (func (export "f") (result i32) (i32.const 42))), assembled by hand.
    folder.write(
        "binary.dat",
        b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x06\x01\x04\0\x41\x2a\x0b",
    );
    for file in ["artifact.txt", "text.so", "math.wat"] {
        assert_eq!(folder.precast(&format!("run --invoke add {file} 40 2")).succeeds().text(), "42\n");
    }
    assert_eq!(folder.precast("run --invoke f binary.dat").succeeds().text(), "42\n");
    let outcome = folder.precast_with("run --invoke add - 40 2", MATH.as_bytes());
    assert_eq!(outcome.succeeds().text(), "42\n");
    let outcome = folder.precast_with("run --invoke add - 40 2", &folder.read("artifact.txt"));
    assert_eq!(outcome.succeeds().text(), "42\n");
}

#[test]
fn our_own_failures_have_status_125() {
    let folder = Folder::new();
    fs::create_dir(folder.path("dir")).unwrap();
    folder.write("empty", "");
    folder.write("text", "hello");
    folder.write("truncated.wasm", b"\0asm\x01\0\0\0\x01\x07\x01");
    folder.write("import.wat", r#"(module (import "env" "f" (func)) (func (export "_start")))"#);
    folder.write("elf", fs::read("/proc/self/exe").unwrap());
    let fails = |args: &str, told: &[&str]| _ = folder.precast(&format!("run {args}")).fails(125, told);
    fails("missing.so", &["cannot read `missing.so`", "caused by: No such file"]);
    fails("dir", &["cannot read `dir`", "is a directory"]);
    fails("empty", &["`empty` is empty"]);
    fails("text", &["cannot compile `text`"]);
    fails("truncated.wasm", &["cannot compile `truncated.wasm`", "invalid"]);
    fails("import.wat", &["cannot bind the imports", "env", "f"]);
    fails("elf", &["cannot open `elf`", "caused by:"]);
}

#[test]
fn damaged_artifacts_are_refused() {
    let folder = Folder::with("math.wat", MATH);
    folder.precast("compile math.wat").succeeds();
    let good = folder.read("math.so");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [&flipped[..], &good[..good.len() - 1], &good[..64], b"\x7fELF"] {
        folder.write("damaged.so", damaged);
        folder.precast("run --invoke nothing damaged.so").fails(125, &["cannot open `damaged.so`", "caused by:"]);
    }
}

#[test]
fn arguments_after_the_file_and_the_status_are_the_guests() {
    let folder = Folder::with("args.wat", ARGUMENTS);
    let outcome = folder.precast("run args.wat --help -A --invoke x -- -");
    assert_eq!((outcome.status, outcome.text()), (3, "args.wat\0--help\0-A\0--invoke\0x\0--\0-\0"), "{outcome:?}");
}

#[test]
fn a_trap_has_status_134_and_a_backtrace() {
    let folder = Folder::with(
        "trap.wat",
        r#"(module
            (func $_ZN5inner17h0123456789abcdefE (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
            (func $outer (export "div") (param i32) (result i32) (call 0 (local.get 0)))
            (func $forever (export "forever") (result i32) (i32.add (call $forever) (i32.const 1)))
            (func $start (export "_start") unreachable))"#,
    );
    let outcome = folder.precast("run --invoke div trap.wat 0");
    let outcome =
        outcome.fails(134, &["precast: trap: integer divide by zero", "offset 0x", "(function 0", "(function 1"]);
    let backtrace: Vec<_> = outcome.stderr.lines().skip(1).collect();
    assert!(backtrace[0].trim_start().starts_with("0: inner (function 0"), "{backtrace:?}");
    assert!(backtrace[1].trim_start().starts_with("1: outer (function 1"), "{backtrace:?}");
    assert_eq!(folder.precast("run --invoke div trap.wat 1").succeeds().text(), "1\n");
    folder.precast("run trap.wat").fails(134, &["precast: trap: unreachable", "start (function 3"]);
    folder.precast("run --invoke forever trap.wat").fails(134, &["precast: trap: call stack exhausted", "forever"]);
}

#[test]
fn a_trap_while_instantiating_is_one_too() {
    let folder = Folder::with("start.wat", r#"(module (func $f unreachable) (start $f) (func (export "_start")))"#);
    folder.precast("run start.wat").fails(134, &["precast: trap: unreachable", "0: f (function 0"]);
}

#[test]
fn denials_are_told_once_and_grants_help() {
    let folder = Folder::with("clock.wat", CLOCK);
    folder.precast("compile clock.wat").succeeds();
    let outcome = folder.precast("run clock.so").fails(134, &["--allow=clocks", "trap: unreachable"]);
    assert_eq!(outcome.stderr.matches("denied").count(), 1, "{outcome:?}");
    assert!(outcome.stderr.find("denied") < outcome.stderr.find("trap"), "{outcome:?}");
    folder.precast("run --allow=clocks clock.so").succeeds();
    folder.precast("run --allow=random,clocks clock.so").succeeds();
    folder.precast("run --allow=random --allow=clocks clock.so").succeeds();
    folder.precast("run -A clock.so").succeeds();
    folder.precast("run --allow=fs:missing clock.so").fails(125, &["cannot grant", "missing"]);
}

#[test]
fn reactors_are_initialised_before_a_call() {
    let folder = Folder::with(
        "reactor.wat",
        r#"(module
            (global $n (mut i32) (i32.const 0))
            (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 7))))
            (func (export "get") (result i32) (global.get $n)))"#,
    );
    assert_eq!(folder.precast("run --invoke get reactor.wat").succeeds().text(), "7\n");
    folder.precast("run --invoke _initialize reactor.wat").succeeds();
}

#[test]
fn memory_is_limited() {
    let folder = Folder::with(
        "grow.wat",
        r#"(module (memory 1) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    );
    assert_eq!(folder.precast("run --invoke grow grow.wat 15").succeeds().text(), "1\n");
    assert_eq!(folder.precast("run --max-memory 1M --invoke grow grow.wat 15").succeeds().text(), "1\n");
    assert_eq!(folder.precast("run --max-memory 1M --invoke grow grow.wat 16").succeeds().text(), "-1\n");
    folder.precast("run --max-memory 64 --invoke grow grow.wat 0").fails(125, &["cannot instantiate", "memory 0"]);
}

#[test]
fn modules_are_compiled_once() {
    let folder = Folder::with("math.wat", MATH);
    folder.precast("run --invoke nothing --no-cache math.wat").succeeds();
    assert!(folder.cache_entries().is_empty());
    folder.precast("run --invoke nothing math.wat").succeeds();
    let entries = folder.cache_entries();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let (good, made) = (fs::read(entry).unwrap(), fs::metadata(entry).unwrap().modified().unwrap());
    folder.precast("run --invoke nothing math.wat").succeeds();
    folder.precast("compile math.wat --cache").succeeds();
    assert_eq!(fs::metadata(entry).unwrap().modified().unwrap(), made);

    fs::write(entry, &good[..good.len() / 2]).unwrap();
    assert_eq!(folder.precast("run --invoke add math.wat 1 1").succeeds().text(), "2\n");
    assert_eq!(fs::read(entry).unwrap(), good);

    folder.precast("run --invoke nothing --cpu x86-64-v3 --cache=other math.wat");
    assert!(folder.path("other").is_dir());
}

#[test]
fn without_a_usable_cache_there_is_a_warning() {
    let folder = Folder::with("math.wat", MATH);
    let outcome = folder.precast("run --cache=/proc/cache --invoke add math.wat 1 1");
    assert_eq!((outcome.status, outcome.text()), (0, "2\n"), "{outcome:?}");
    assert!(outcome.stderr.starts_with("precast: warning: not caching"), "{outcome:?}");
}

#[test]
fn many_processes_share_a_cache() {
    let folder = Folder::with("math.wat", MATH);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(folder.precast("run --invoke add math.wat 1 1").succeeds().text(), "2\n"));
        }
    });
    assert_eq!(folder.cache_entries().len(), 1);
}

#[test]
fn closed_standard_output_is_no_panic() {
    let folder = Folder::with("math.wat", MATH);
    let mut command = std::process::Command::new("sh");
    let script = format!("{} run --invoke two math.wat | true", env!("CARGO_BIN_EXE_precast"));
    command.args(["-c", &script]).current_dir(folder.path(".")).env("XDG_CACHE_HOME", folder.path("cache"));
    let outcome = run(&mut command, b"");
    assert_eq!((outcome.status, &outcome.stderr[..]), (0, ""));
}

#[test]
fn closed_standard_error_changes_no_status() {
    let folder = Folder::with("trap.wat", "(module (func (export \"_start\") unreachable))");
    let status = |file: &str| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        folder.command().args(["run", file]).stderr(writer).status().unwrap().code()
    };
    assert_eq!(status("trap.wat"), Some(134));
    assert_eq!(status("not-there.wat"), Some(125));
}
