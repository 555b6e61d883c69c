//! gdb walks from a host function through the guest to the host that called it, by name.

use std::process::Command;

use precast_loader::{Artifact, Caller, Linker, OpenOptions, Policy};

const ROLE: &str = "PRECAST_TEST_UNDER_GDB";

/// Where gdb stops.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn precast_test_stop_here(value: i32) -> i32 {
    std::hint::black_box(value) + 1
}

#[inline(never)]
#[unsafe(no_mangle)]
fn precast_test_host_caller() {
    let wat = r#"(module
        (import "env" "stop" (func $stop (param i32) (result i32)))
        (func $inner (param i32) (result i32) (i32.add (call $stop (local.get 0)) (i32.const 1)))
        (func $middle (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
        (func (export "outer") (param i32) (result i32) (i32.add (call $middle (local.get 0)) (i32.const 1))))"#;
    let bytes = precast_compiler::compile(wat.as_bytes(), &precast_compiler::Options::default()).expect("compiles");
    let path = std::env::temp_dir().join(format!("precast-gdb-{}.so", std::process::id()));
    std::fs::write(&path, bytes).expect("writes");
    let artifact =
        Artifact::open_with(&path, Policy::Verify, &OpenOptions { debugger: true, ..OpenOptions::default() })
            .expect("opens");
    let mut linker = Linker::new();
    linker.func("env", "stop", |_: &mut Caller<'_, ()>, value: i32| precast_test_stop_here(value));
    let mut instance = linker.bind(&artifact).expect("binds").instantiate(()).expect("instantiates");
    let outer = instance.func::<i32, i32>("outer").expect("exported");
    assert_eq!(outer.call(&mut instance, 1).expect("returns"), 5);
    std::fs::remove_file(path).expect("removes");
}

#[test]
fn one_backtrace_has_three_guest_frames_and_the_hosts_caller() {
    if std::env::var_os(ROLE).is_some() {
        return precast_test_host_caller();
    }
    let program = std::env::current_exe().expect("a path");
    let output = Command::new("gdb")
        .args(["-batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", "set breakpoint pending on"])
        .args(["-ex", "break precast_test_stop_here", "-ex", "run", "-ex", "backtrace", "-ex", "continue", "--args"])
        .arg(program)
        .args(["--exact", "one_backtrace_has_three_guest_frames_and_the_hosts_caller", "--test-threads=1"])
        .env(ROLE, "1")
        .output()
        .expect("gdb is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let frame = |name: &str| {
        let is_frame = |line: &&str| line.starts_with('#') && line.contains(&format!(" {name} ("));
        let line = text.lines().find(is_frame).unwrap_or_else(|| panic!("no frame of {name} in:\n{text}"));
        line[1..].split(' ').next().and_then(|number| number.parse::<u32>().ok()).expect("a frame number")
    };
    let names = ["precast_test_stop_here", "inner", "middle", "outer", "precast_test_host_caller"];
    assert!(names.map(frame).is_sorted(), "{text}");
    assert!(text.contains("exited normally"), "the guest goes on:\n{text}");
}
