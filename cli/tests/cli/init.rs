//! `precast compile --init`: what an initialiser leaves behind, what it may reach, and what it is told of.

use crate::common::{Folder, run};

/// A counter that its initialiser sets, and what WASI gives it.
const WORLD: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "host" "missing" (func $missing))
    (memory (export "memory") 1)
    (data (i32.const 64) "file.txt") (data (i32.const 80) "said\n")
    (data (i32.const 96) "\50\00\00\00\05\00\00\00") (data (i32.const 104) "\80\00\00\00\08\00\00\00")
    (global $count (mut i32) (i32.const 0))
    (func (export "_initialize") (global.set $count (i32.add (global.get $count) (i32.const 1))))
    (func (export "wizer.initialize") (global.set $count (i32.add (global.get $count) (i32.const 10))))
    (func (export "count") (result i32) (global.get $count))
    (func (export "first") (result i64) (i64.load (i32.const 128)))
    (func (export "now") (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 200))))
    (func (export "world")
        (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 200)))
        (drop (call $random (i32.const 208) (i32.const 8)))
        (drop (call $sizes (i32.const 216) (i32.const 220)))
        (drop (call $environ (i32.const 1024) (i32.const 2048)))
        (call $open_file)
        (drop (call $read (i32.load (i32.const 16)) (i32.const 104) (i32.const 1) (i32.const 20)))
        (drop (call $close (i32.load (i32.const 16)))))
    (func $open_file (export "open")
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 8) (i32.const 0)
                (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))
            (then unreachable)))
    (func (export "say") (drop (call $write (i32.const 1) (i32.const 96) (i32.const 1) (i32.const 20))))
    (func (export "quit") (call $exit (i32.const 3)))
    (func (export "trap") unreachable)
    (func (export "ask") (call $missing))
    (func (export "one") (param i32)))"#;

#[test]
fn an_initialiser_runs_once_and_before_that_a_reactors() {
    let folder = Folder::with("world.wat", WORLD);
    folder.precast("compile world.wat --init").succeeds();
    assert_eq!(folder.precast("bench --json --iterations 3 --invoke count world.so").status, 0);
    let exports = folder.precast("inspect world.so").succeeds();
    assert!(!exports.text().contains("initialize"), "{}", exports.text());
    let twice = folder.read("world.so");
    folder.precast("compile world.wat --init=wizer.initialize --threads 1").succeeds();
    assert!(folder.read("world.so") == twice, "the same input gives the same bytes");

    // What the module imports besides WASI is not called by its initialiser, and nothing else binds it.
    folder.write("plain.wat", WORLD.replace(r#"(import "host" "missing" (func $missing))"#, "(func $missing)"));
    for (init, count) in [("", "1\n"), ("--init", "11\n"), ("--init=count", "1\n")] {
        folder.precast(&format!("compile plain.wat {init}")).succeeds();
        let outcome = folder.precast("run --invoke _initialize plain.so");
        assert_eq!(outcome.status, if init.is_empty() { 0 } else { 2 }, "{outcome:?}");
        if init != "--init=count" {
            assert_eq!(folder.precast("run --invoke count plain.so").succeeds().text(), count);
        }
    }
}

#[test]
fn what_is_not_granted_is_denied_by_name_and_what_is_read_is_told() {
    let folder =
        Folder::with("world.wat", WORLD.replace(r#"(import "host" "missing" (func $missing))"#, "(func $missing)"));
    let denied = folder.precast("compile world.wat --init=now");
    assert_eq!(denied.status, 0);
    assert_eq!(denied.stderr, "precast: denied: the guest asked for the wall clock; grant it with --allow=clocks\n");

    folder.write("file.txt", "12345678 and more");
    let read = folder.precast("compile world.wat --init=world --allow=clocks,random,env:NAME=value,fs:.");
    assert_eq!(read.status, 0, "{read:?}");
    let told: Vec<_> = read.stderr.lines().collect();
    let things = ["the monotonic clock", "random numbers", "the environment", "\"file.txt\""];
    assert_eq!(told, things.map(|thing| format!("precast: the initialiser read {thing}")));
    let first = i64::from_le_bytes(*b"12345678").to_string();
    assert_eq!(folder.precast("run --invoke first world.so").succeeds().text().trim_end(), first);

    let json = folder.precast("compile world.wat --init=now --allow=clocks --message-format json");
    assert!(json.stderr.lines().next().unwrap().contains(r#""kind":"read""#), "{json:?}");
}

#[test]
fn what_an_initialiser_prints_does_not_get_into_the_output() {
    let folder = Folder::with("world.wat", WORLD);
    let outcome = folder.precast("compile world.wat --init=say -o -");
    assert_eq!((outcome.status, &outcome.stderr[..]), (0, "said\n"));
    assert!(outcome.stdout.starts_with(b"\x7fELF"));
}

#[test]
fn an_initialiser_that_fails_leaves_no_output() {
    let folder = Folder::with("world.wat", WORLD);
    folder.write("file.txt", "");
    for (init, status, told) in [
        ("--init=quit", 1, "the initialiser exited with status 3"),
        ("--init=trap", 1, "the initialiser trapped: "),
        ("--init=ask", 1, r#"the import "host" "missing" was called"#),
        ("--init=open --allow=fs:.", 1, "the initialiser left descriptor 4 open"),
        ("--init=one", 2, "`one` takes 1 arguments"),
        ("--init=nothing", 2, "no function `nothing` is exported"),
        ("--init --allow=everything", 2, "--allow: "),
        ("--init --emit asm", 2, "--emit so or obj"),
        ("--init --cache", 2, "without --cache"),
        ("--allow=clocks", 2, "--init"),
    ] {
        folder.precast(&format!("compile world.wat {init}")).fails(status, &[told]);
    }
    folder.write("memory.wat", r#"(module (import "a" "m" (memory 1)) (func (export "wizer.initialize")))"#);
    folder.precast("compile memory.wat --init").fails(1, &["cannot bind the imports"]);
    assert_eq!(folder.files(), ["file.txt", "memory.wat", "world.wat"]);
}

#[test]
fn a_component_is_initialised_as_a_whole() {
    let folder = Folder::with(
        "counter.wat",
        r#"(component
            (component $inner
                (core module $m
                    (global $n (mut i32) (i32.const 1))
                    (func $start (global.set $n (i32.const 100)))
                    (start $start)
                    (func (export "next") (result i32)
                        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))
                (core instance $i (instantiate $m))
                (func (export "next") (result u32) (canon lift (core func $i "next"))))
            (instance $inner (instantiate $inner))
            (component $outer
                (import "next" (func $next (result u32)))
                (core func $next' (canon lower (func $next)))
                (core module $m
                    (import "" "next" (func $next (result i32)))
                    (func (export "warm-up") (result i32) (drop (call $next)) (drop (call $next)) (i32.const 0))
                    (func (export "fail") (result i32) (i32.const 1))
                    (func (export "get") (result i32) (call $next)))
                (core instance $i (instantiate $m (with "" (instance (export "next" (func $next'))))))
                (func (export "wizer-initialize") (result (result)) (canon lift (core func $i "warm-up")))
                (func (export "fail") (result (result)) (canon lift (core func $i "fail")))
                (func (export "get") (result u32) (canon lift (core func $i "get"))))
            (instance $outer (instantiate $outer (with "next" (func $inner "next"))))
            (export "test:counter/all@1.0.0" (instance $outer)))"#,
    );
    folder.precast("compile counter.wat --init=test:counter/all#wizer-initialize").succeeds();
    let named = folder.read("counter.so");
    folder.precast("compile counter.wat --init").succeeds();
    assert!(folder.read("counter.so") == named);
    assert_eq!(folder.precast("run --invoke get counter.so").succeeds().text(), "103\n");
    folder.precast("compile counter.wat --init --target aarch64 -o arm.so").succeeds();
    assert!(folder.precast("inspect arm.so").succeeds().text().contains("aarch64"));
    folder.precast("compile counter.wat --init=fail -o no.so").fails(1, &["the initialiser failed"]);
    folder.precast("compile counter.wat --init=none -o no.so").fails(2, &["no function `none` is exported"]);
}

#[test]
fn a_snapshot_starts_from_a_call_with_arguments() {
    let module = r#"(module
        (global $n (mut i32) (i32.const 1)) (global $started (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $started (i32.add (global.get $started) (i32.const 1000))))
        (func (export "add") (param i32 i32)
            (global.set $n (i32.add (global.get $n) (i32.mul (local.get 0) (local.get 1)))))
        (func (export "get") (result i32) (i32.add (global.get $started) (global.get $n))))"#;
    let folder = Folder::with("sum.wat", module);
    folder.precast("snapshot --invoke add -o sum.so sum.wat 6 -7").succeeds();
    assert_eq!(folder.precast("run --invoke get sum.so").succeeds().text(), "959\n");
    folder.precast("run --invoke add sum.so 1 1").succeeds();
    folder.precast("run --invoke _initialize sum.so").fails(2, &["no function `_initialize` is exported"]);
    let printed = folder.precast("snapshot --invoke add --target aarch64 -o - sum.wat 6 -7").succeeds();
    assert!(printed.stdout.starts_with(b"\x7fELF") && printed.stdout != folder.read("sum.so"));
    folder.precast("snapshot --invoke add -o no.so sum.wat 6").fails(2, &["`add` takes 2 arguments"]);
    folder.precast("snapshot --invoke add sum.wat 6 7").fails(2, &["--output"]);
    folder.precast("snapshot --invoke add -o no.so sum.so 6 7").fails(1, &["`sum.so` is an ELF file"]);
    assert_eq!(folder.files(), ["sum.so", "sum.wat"]);
}

/// A component whose `init` prints, and keeps the stream that it did it with for `say`.
const SAYS: &str = r#"(component
    (import "wasi:io/error@0.2.3" (instance $errors (export "error" (type (sub resource)))))
    (alias export $errors "error" (type $error))
    (import "wasi:io/streams@0.2.3" (instance $streams
        (alias outer 1 $error (type $e))
        (export "error" (type $error (eq $e)))
        (export "output-stream" (type $stream (sub resource)))
        (type $why (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $stream-error (eq $why)))
        (export "[method]output-stream.blocking-write-and-flush"
            (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
    (alias export $streams "output-stream" (type $stream))
    (import "wasi:cli/stdout@0.2.3" (instance $stdout
        (alias outer 1 $stream (type $s))
        (export "output-stream" (type $stream (eq $s)))
        (export "get-stdout" (func (result (own $stream))))))
    (core module $memory (memory (export "memory") 1) (data (i32.const 8) "warm\nhello\n"))
    (core instance $memory (instantiate $memory))
    (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
        (memory $memory "memory")))
    (core func $get (canon lower (func $stdout "get-stdout")))
    (core module $m
        (import "" "write" (func $write (param i32 i32 i32 i32)))
        (import "" "get" (func $get (result i32)))
        (global $out (mut i32) (i32.const 0))
        (func $print (param i32 i32) (call $write (global.get $out) (local.get 0) (local.get 1) (i32.const 64)))
        (func (export "init") (global.set $out (call $get)) (call $print (i32.const 8) (i32.const 5)))
        (func (export "say") (call $print (i32.const 13) (i32.const 6)))
        (func (export "spin") (loop $again (br $again))))
    (core instance $i (instantiate $m (with "" (instance
        (export "write" (func $write)) (export "get" (func $get))))))
    (func (export "init") (canon lift (core func $i "init")))
    (func (export "say") (canon lift (core func $i "say")))
    (func (export "spin") (canon lift (core func $i "spin"))))"#;

#[test]
fn a_stream_that_is_kept_is_the_new_process_own() {
    let folder = Folder::with("says.wat", SAYS);
    for make in ["compile --init=init", "snapshot --invoke init -o says.so"] {
        let made = folder.precast(&format!("{make} says.wat"));
        assert_eq!((made.status, &made.stderr[..]), (0, "warm\n"), "{make}");
        for _ in 0..2 {
            assert_eq!(folder.precast("run --invoke say says.so").succeeds().text(), "hello\n");
        }
    }
    let shown = folder.precast("inspect says.so").succeeds();
    assert!(shown.text().contains("wasi:cli/stdout@0.2.3#get-stdout"), "{}", shown.text());
    folder.precast("compile --init=init --target aarch64 says.wat -o arm.so");
    assert!(folder.precast("inspect arm.so").succeeds().text().contains("aarch64"));
}

#[test]
fn an_initialiser_that_does_not_end_is_stopped() {
    let folder = Folder::with("says.wat", SAYS);
    folder.write("spins.wat", r#"(module (func (export "spin") (loop $again (br $again))))"#);
    let told = "the initialiser has not ended within 200ms (--init-timeout allows another time)";
    for command in [
        "compile --init-timeout 200ms --init=spin spins.wat",
        "snapshot --init-timeout 200ms --invoke spin -o no.so spins.wat",
        "compile --init-timeout 200ms --init=spin says.wat",
        "snapshot --init-timeout 200ms --invoke spin -o no.so says.wat",
    ] {
        folder.precast(command).fails(1, &[told]);
    }
    folder.precast("compile spins.wat --init-timeout 1s").fails(2, &["--init"]);
    folder.precast("compile spins.wat --init=spin --init-timeout soon").fails(2, &["not a time"]);
    assert_eq!(folder.files(), ["says.wat", "spins.wat"]);
}

/// A component that exports the handler of requests, which does this.
fn handler(body: &str) -> String {
    r#"(component
        (import "wasi:http/types@0.2.12" (instance $types
            (export "incoming-request" (type (sub resource)))
            (export "response-outparam" (type (sub resource)))))
        (alias export $types "incoming-request" (type $request))
        (alias export $types "response-outparam" (type $out))
        (core module $m (func (export "handle") (param i32 i32) BODY))
        (core instance $i (instantiate $m))
        (func $handle (param "request" (own $request)) (param "response-out" (own $out))
            (canon lift (core func $i "handle")))
        (instance $handler (export "handle" (func $handle)))
        (export "wasi:http/incoming-handler@0.2.12" (instance $handler)))"#
        .replace("BODY", body)
}

#[test]
fn requests_are_for_components_that_answer_them() {
    let folder = Folder::with("module.wat", "(module)");
    folder.write("says.wat", SAYS);
    folder.write("silent.wat", handler(""));
    folder.write("spins.wat", handler("(loop $again (br $again))"));
    let none = "--request is for components that export `wasi:http/incoming-handler`";
    let shape = "a request is a method, a path that begins with /, and perhaps a body";
    for (request, file, status, told) in [
        ("GET /", "module.wat", 2, none),
        ("GET /", "says.wat", 2, none),
        ("GET /", "silent.wat", 1, "the guest returned without a response"),
        ("GET /", "spins.wat", 1, "the initialiser has not ended within 200ms"),
        ("GET", "silent.wat", 2, shape),
        ("G(T /", "silent.wat", 2, "`G(T` is no method"),
    ] {
        let args = ["snapshot", "--init-timeout=200ms", "-o", "no.so", "--request", request, file];
        run(folder.command().args(args), b"").fails(status, &[told]);
    }
    let args = ["snapshot", "-o", "no.so", "--request", "GET /", "silent.wat", "1"];
    run(folder.command().args(args), b"").fails(2, &["they go with --invoke"]);
    folder.precast("snapshot -o no.so silent.wat").fails(2, &["--invoke"]);
    assert_eq!(folder.files(), ["module.wat", "says.wat", "silent.wat", "spins.wat"]);
}
