//! The same input and options give the same bytes, on every run and with any number of threads.

use std::path::Path;
use std::process::Command;

use precast_tests::{precast_binary, say, shared, workspace_root};

fn compile(input: &Path, output: &Path, flags: &[&str]) -> Vec<u8> {
    let result = Command::new(precast_binary())
        .arg("compile")
        .arg(input)
        .arg("-o")
        .arg(output)
        .args(flags)
        .output()
        .expect("precast can be run");
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    std::fs::read(output).unwrap()
}

#[test]
fn threads_runs_and_names_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let mut guests = vec![workspace_root().join("tests/guests/wasm/cpp-stl.p1.wasm")];
    match shared("guests") {
        Some(shared) => guests.push(shared.join("wasm/c-zstd.p1.wasm")),
        None => say("left out: c-zstd.p1.wasm, which needs ../shared/guests"),
    }
    for guest in guests {
        for flags in [&[][..], &["--target", "aarch64-unknown-linux-gnu"], &["--opt-level", "none"], &["--emit", "obj"]]
        {
            let with = |threads: &str, name: &str| {
                compile(&guest, &folder.path().join(name), &[flags, &["--threads", threads]].concat())
            };
            let one = with("1", "a.so");
            assert!(one == with("2", "b.so"), "two threads: {flags:?}");
            assert!(one == with("7", "other-name.so"), "seven threads: {flags:?}");
        }
    }
}

#[test]
fn options_that_change_code_change_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let guest = workspace_root().join("tests/guests/wasm/kern-json.core.wasm");
    let output = folder.path().join("a.so");
    let plain = compile(&guest, &output, &[]);
    for flags in [
        &["--opt-level", "none"][..],
        &["--fuel"],
        &["--cpu", "x86-64-v3"],
        &["--canonicalize-nans"],
        &["--stack-size", "2M"],
    ] {
        assert!(plain != compile(&guest, &output, flags), "{flags:?}");
    }
}
