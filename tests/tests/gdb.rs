//! gdb on a host that opened an artifact for debuggers: one backtrace leads from wherever it stops, through the guest's
//! functions by their names, to the host function that called them.
//!
//! gdb runs this test program again, as the host.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use precast_loader::{Artifact, CallError, Caller, FuncType, HostError, Linker, OpenOptions, Policy, ValType};
use precast_tests::{again, compile, role, say, tool};

const GUEST: &str = r#"(module
    (import "host" "stop" (func $stop (param i32) (result i32)))
    (import "host" "again" (func $again (param i32) (result i32)))
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (memory 1 2)
    (func $guest_c (param i32) (result i32) (i32.add (call $stop (local.get 0)) (i32.const 1)))
    (func $guest_b (param i32) (result i32) (i32.add (call $guest_c (local.get 0)) (i32.const 1)))
    (func $guest_a (export "a") (param i32) (result i32) (i32.add (call $guest_b (local.get 0)) (i32.const 1)))
    (func $guest_outer (export "outer") (param i32) (result i32) (i32.add (call $again (local.get 0)) (i32.const 1)))
    (func $guest_trap (param i32) (result i32) (i32.load offset=65536 (local.get 0)))
    (func $guest_bad (export "bad") (param i32) (result i32) (i32.add (call $guest_trap (local.get 0)) (i32.const 1)))
    (func $guest_tail (export "tail") (param i32) (result i32) (return_call $guest_a (local.get 0)))
    (func $guest_waits (param i32) (result i32) (call $wait (call $wait (local.get 0))))
    (func $guest_slow (export "slow") (param i32) (result i32)
        (i32.add (call $guest_c (call $guest_waits (local.get 0))) (i32.const 1)))
    (func $guest_slow_outer (export "slow outer") (param i32) (result i32)
        (i32.add (call $again (call $guest_waits (local.get 0))) (i32.const 1)))
    (func $guest_slow_bad (export "slow bad") (param i32) (result i32)
        (i32.add (call $guest_trap (call $guest_waits (local.get 0))) (i32.const 1)))
    (func $guest_grow (export "grow") (param i32) (result i32)
        (i32.add (memory.grow (local.get 0)) (i32.const 1))))"#;

/// Where gdb stops in the host.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn host_stop(value: i32) -> i32 {
    std::hint::black_box(value) + 1
}

/// Between two entries into the guest.
#[inline(never)]
#[unsafe(no_mangle)]
fn host_again(caller: &mut Caller<'_, ()>, value: i32) -> Result<i32, HostError> {
    let inner = caller.export("a").and_then(|item| item.func()).ok_or("no function")?;
    Ok(inner.typed::<i32, i32>(caller)?.call(caller, value)? + 1)
}

/// Lets a guest go on that waits, from another frame than the one that it was entered from.
#[inline(never)]
#[unsafe(no_mangle)]
fn host_resumes(mut future: Pin<&mut dyn Future<Output = Result<i32, CallError>>>) -> Result<i32, CallError> {
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}

/// Is ready when it is polled the second time.
async fn later() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// What is at the end of the backtrace.
#[inline(never)]
#[unsafe(no_mangle)]
fn host_caller(export: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.so");
    std::fs::write(&path, compile(GUEST)).unwrap();
    let artifact =
        Artifact::open_with(&path, Policy::Verify, &OpenOptions { debugger: true, ..OpenOptions::default() }).unwrap();
    let mut linker = Linker::new();
    linker.func("host", "stop", |_: &mut Caller<'_, ()>, value: i32| host_stop(value));
    linker.func("host", "again", host_again);
    let ty = FuncType { params: vec![ValType::I32], results: vec![ValType::I32] };
    linker.func_async("host", "wait", ty, |_, params| {
        let results = params.to_vec();
        Box::pin(async {
            later().await;
            Ok(results)
        })
    });
    let mut instance = linker.bind(&artifact).unwrap().instantiate(()).unwrap();
    let func = instance.func::<i32, i32>(export).unwrap();
    let result = if export.starts_with("slow") {
        let mut call = pin!(func.call_async(&mut instance, 1));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        host_resumes(call)
    } else {
        func.call(&mut instance, 1)
    };
    assert_eq!(result.is_err(), export.ends_with("bad"), "{result:?}");
    println!("the host has returned");
}

#[test]
fn child_host() {
    if let Some(export) = role() {
        host_caller(&export);
    }
}

/// Artifacts mapped for debuggers share what the dynamic linker shares, and do not notice.
#[test]
fn artifacts_for_debuggers_live_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let module = |number| {
        compile(&format!(
            r#"(module (memory 1) (data (i32.const 0) "\{number:02x}")
                (func (export "number") (result i32) (i32.load8_u (i32.const 0)))
                (func (export "trap") (result i32) (i32.load (i32.const {number}000000))))"#
        ))
    };
    let paths = [1, 2].map(|number| {
        let path = folder.path().join(format!("{number}.so"));
        std::fs::write(&path, module(number)).unwrap();
        path
    });
    let options = OpenOptions { debugger: true, ..OpenOptions::default() };
    let open = |path: usize| Artifact::open_with(&paths[path], Policy::Verify, &options).unwrap();
    let mut artifacts = vec![(0, open(0)), (1, open(1)), (0, open(0)), (1, open(1)), (0, open(0))];
    while !artifacts.is_empty() {
        for (path, artifact) in &artifacts {
            let mut instance = Linker::new().bind(artifact).unwrap().instantiate(()).unwrap();
            let number = instance.func::<(), i32>("number").unwrap().call(&mut instance, ()).unwrap();
            assert_eq!(number, *path + 1);
            let error = instance.func::<(), i32>("trap").unwrap().call(&mut instance, ()).unwrap_err();
            assert_eq!(error.trap().unwrap().frames()[0].function_name, "trap");
        }
        artifacts.swap_remove(artifacts.len() / 2);
    }
    // The same file again, and sealed, where there is no name to open it by but its descriptor.
    let again = Artifact::open_with(&paths[0], Policy::Sealed, &options).unwrap();
    let mut instance = Linker::new().bind(&again).unwrap().instantiate(()).unwrap();
    assert_eq!(instance.func::<(), i32>("number").unwrap().call(&mut instance, ()).unwrap(), 1);
}

/// Runs the host to `stop` (`at` a place, `then` another, or `by` a signal) in a call of `export`, and gives the functions
/// of the backtrace there, innermost first. The host has to finish afterwards.
fn backtrace(export: &str, stop: &str) -> Option<Vec<String>> {
    let mut gdb = tool("gdb")?;
    let host = again("child_host", export);
    gdb.args(["-batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", "set breakpoint pending on"]);
    let mut go = "run";
    for breakpoint in stop.strip_prefix("at ").into_iter().flat_map(|stop| stop.split(" then ")) {
        gdb.args(["-ex", &format!("break {breakpoint}"), "-ex", go]);
        go = "continue";
    }
    if go == "run" {
        gdb.args(["-ex", go]);
    }
    gdb.args(["-ex", "backtrace", "-ex", "delete", "-ex", "continue", "--args"]);
    gdb.arg(host.get_program()).args(host.get_args());
    for (name, value) in host.get_envs() {
        gdb.env(name, value.unwrap_or_default());
    }
    let output = gdb.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if stderr.contains("ptrace: Operation not permitted") {
        say("left out: gdb may not trace processes here");
        return None;
    }
    let all = format!("{stdout}\n{stderr}");
    for complaint in ["corrupt stack", "Backtrace stopped", "previous frame", "?? ()", "Cannot access memory"] {
        assert!(!all.contains(complaint), "{complaint}:\n{all}");
    }
    assert!(stdout.contains("the host has returned") && stdout.contains("exited normally"), "{all}");
    Some(stdout.lines().filter_map(frame).collect())
}

/// The function of a line `#1  0x1234 in name (…)` or `#0  name (…)`.
fn frame(line: &str) -> Option<String> {
    let rest = line.strip_prefix('#')?.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let rest = if rest.starts_with("0x") { rest.split_once(" in ")?.1 } else { rest };
    Some(rest.split(" (").next()?.into())
}

/// Asserts that `frames` has `wanted` in this order, each guest function directly above its caller.
#[track_caller]
fn assert_frames(frames: &[String], wanted: &[&str]) {
    let places: Vec<_> = wanted.iter().map(|name| frames.iter().position(|frame| frame == name)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{wanted:?} are at {places:?} in {frames:#?}");
    for (names, places) in wanted.windows(2).zip(places.windows(2)) {
        if names.iter().all(|name| name.starts_with("guest_")) {
            assert_eq!(places[0].map(|place| place + 1), places[1], "{names:?} in {frames:#?}");
        }
    }
}

#[test]
fn stopped_in_a_host_function() {
    let Some(frames) = backtrace("a", "at host_stop") else { return };
    assert_frames(&frames, &["host_stop", "guest_c", "guest_b", "guest_a", "host_caller", "child_host"]);
}

#[test]
fn stopped_in_a_guest_function() {
    let Some(frames) = backtrace("a", "at guest_c") else { return };
    assert_eq!(frames[0], "guest_c");
    assert_frames(&frames, &["guest_c", "guest_b", "guest_a", "host_caller", "child_host"]);
}

#[test]
fn stopped_before_a_guest_function_has_a_frame() {
    let Some(frames) = backtrace("a", "at guest_b then *guest_c") else { return };
    assert_eq!(frames[0], "guest_c");
    assert_frames(&frames, &["guest_c", "guest_b", "guest_a", "host_caller", "child_host"]);
}

#[test]
fn stopped_in_a_guest_that_the_guest_called_through_the_host() {
    let Some(frames) = backtrace("outer", "at host_stop") else { return };
    let wanted =
        ["host_stop", "guest_c", "guest_b", "guest_a", "host_again", "guest_outer", "host_caller", "child_host"];
    assert_frames(&frames, &wanted);
}

#[test]
fn stopped_after_a_tail_call() {
    let Some(frames) = backtrace("tail", "at host_stop") else { return };
    assert_frames(&frames, &["host_stop", "guest_c", "guest_b", "guest_a", "host_caller", "child_host"]);
    assert!(!frames.iter().any(|frame| frame == "guest_tail"), "{frames:?}");
}

#[test]
fn stopped_by_the_signal_of_a_trap() {
    let Some(frames) = backtrace("bad", "by SIGSEGV") else { return };
    assert_eq!(frames[0], "guest_trap");
    assert_frames(&frames, &["guest_trap", "guest_bad", "host_caller", "child_host"]);
}

#[test]
fn stopped_in_a_builtin() {
    let Some(frames) = backtrace("grow", "at guest_grow then mprotect") else { return };
    assert!(frames[0].ends_with("mprotect"), "{frames:?}");
    assert_frames(&frames, &["guest_grow", "host_caller", "child_host"]);
}

#[test]
fn stopped_in_a_guest_that_had_waited() {
    let Some(frames) = backtrace("slow", "at host_stop") else { return };
    assert_frames(&frames, &["host_stop", "guest_c", "guest_slow", "host_resumes", "host_caller", "child_host"]);
    let Some(frames) = backtrace("slow", "at guest_c") else { return };
    assert_frames(&frames, &["guest_c", "guest_slow", "host_resumes", "host_caller", "child_host"]);
    let Some(frames) = backtrace("slow bad", "by SIGSEGV") else { return };
    assert_frames(&frames, &["guest_trap", "guest_slow_bad", "host_resumes", "host_caller", "child_host"]);
}

#[test]
fn stopped_in_a_nested_call_of_a_guest_that_had_waited() {
    let Some(frames) = backtrace("slow outer", "at host_stop") else { return };
    let wanted = [
        "host_stop",
        "guest_c",
        "guest_b",
        "guest_a",
        "host_again",
        "guest_slow_outer",
        "host_resumes",
        "host_caller",
        "child_host",
    ];
    assert_frames(&frames, &wanted);
}

#[test]
fn frames_are_read_from_gdbs_lines() {
    assert_eq!(frame("#0  host_stop (value=1) at x.rs:1").as_deref(), Some("host_stop"));
    assert_eq!(frame("#12 0x00007f in guest_c () from /proc/1/fd/3").as_deref(), Some("guest_c"));
    assert_eq!(frame("Breakpoint 1, host_stop ()"), None);
}
