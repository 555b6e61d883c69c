//! Other people's tools on our artifacts: readelf, nm, objdump, the dynamic linker and perf. For gdb see `gdb.rs`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use precast_tests::{again, precast_binary, role, say, tool, workspace_root};

const NESTED: &str = r#"(module
    (import "host" "stop" (func $stop (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "initial state")
    (func $innermost (param i32) (result i32) (i32.add (call $stop (local.get 0)) (i32.const 1)))
    (func $between (param i32) (result i32) (i32.add (call $innermost (local.get 0)) (i32.const 1)))
    (func $outermost (export "run") (param i32) (result i32) (i32.add (call $between (local.get 0)) (i32.const 1))))"#;

const NAMES: [&str; 3] = ["innermost", "between", "outermost"];

/// Compiles a real guest and a small one, both with names, for an architecture.
fn artifacts(folder: &Path, target: &str) -> [PathBuf; 2] {
    let nested = folder.join("nested.wat");
    std::fs::write(&nested, NESTED).unwrap();
    [workspace_root().join("tests/guests/wasm/rs-std-cli.p1.wasm"), nested].map(|module| {
        let output = folder.join(module.file_name().unwrap()).with_extension(format!("{target}.so"));
        let mut command = Command::new(precast_binary());
        command.args(["compile", "--target", target]).arg(&module).arg("-o").arg(&output);
        text(&mut command);
        output
    })
}

/// What a command that has to succeed, without a complaint, prints.
#[track_caller]
fn text(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the command can be run");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success() && stderr.is_empty(), "{command:?}: {status}\n{stderr}");
    String::from_utf8_lossy(&stdout).into_owned()
}

#[test]
fn readelf_has_no_complaint() {
    let Some(_) = tool("readelf") else { return };
    let folder = tempfile::tempdir().unwrap();
    let targets = [("x86_64", "X86-64"), ("aarch64", "AArch64")];
    for (target, machine) in targets {
        for artifact in artifacts(folder.path(), target) {
            let all = text(Command::new("readelf").args(["--all", "--wide"]).arg(&artifact));
            assert!(all.contains("DYN (Shared object file)") && all.contains(machine), "{all}");
            assert!(all.contains("There are no relocations in this file."), "{all}");
            for absent in ["NEEDED", "INIT", "TEXTREL", " RWE ", "Warning", "Error", "<corrupt>", "bad value"] {
                let line = all
                    .lines()
                    .find(|line| line.contains(absent) && !line.contains(" FUNC ") && !line.contains("_INIT"));
                assert_eq!(line, None, "{absent}");
            }
            let segments = || all.lines().filter(|line| line.starts_with("  LOAD ") || line.starts_with("  GNU_STACK"));
            assert!(segments().count() >= 3 && segments().any(|line| line.contains(" R E ")), "{all}");
            assert!(!segments().any(|line| line.contains(" WE ") || line.contains("RWE")), "{all}");
            let undefined =
                all.lines().filter(|line| line.contains(" UND ") && !line.contains("NOTYPE  LOCAL  DEFAULT  UND"));
            assert_eq!(undefined.count(), 0, "{all}");
            let frames = text(Command::new("readelf").args(["--debug-dump=frames", "--wide"]).arg(&artifact));
            assert!(frames.matches(" FDE ").count() >= 5, "{frames}");
        }
    }
}

#[test]
fn nm_lists_every_function_and_the_dynamic_symbols_only_exports() {
    let Some(_) = tool("nm") else { return };
    let folder = tempfile::tempdir().unwrap();
    let [std_cli, nested] = artifacts(folder.path(), "x86_64");
    for (artifact, names, exports) in [
        (
            &nested,
            &["t innermost", "t between", "t outermost", "t precast.host.host.stop"][..],
            &["precast.export.run"][..],
        ),
        (&std_cli, &["t _start", "t __main_void"], &["precast.export._start", "precast.export.__main_void"]),
    ] {
        let all = text(Command::new("nm").arg(artifact));
        for name in names {
            assert!(all.lines().any(|line| line.ends_with(&format!(" {name}"))), "{name}:\n{all}");
        }
        assert!(all.lines().all(|line| line.contains(" t ")), "all are local functions:\n{all}");
        let dynamic = text(Command::new("nm").args(["-D", "--defined-only"]).arg(artifact));
        let mut dynamic: Vec<_> = dynamic.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        let mut wanted = [exports, &["precast_descriptor"]].concat();
        dynamic.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(dynamic, wanted);
        assert_eq!(text(Command::new("nm").args(["-D", "--undefined-only"]).arg(artifact)), "");
    }
    // Hundreds of functions of the standard library.
    assert!(text(Command::new("nm").arg(&std_cli)).lines().count() > 300);
}

#[test]
fn objdump_shows_functions_by_name() {
    let Some(_) = tool("objdump") else { return };
    let folder = tempfile::tempdir().unwrap();
    let [std_cli, nested] = artifacts(folder.path(), "x86_64");
    let listing = text(Command::new("objdump").arg("-d").arg(nested));
    for name in NAMES {
        assert!(listing.contains(&format!("<{name}>:")), "{listing}");
    }
    assert!(listing.lines().any(|line| line.contains("call") && line.ends_with("<innermost>")), "{listing}");
    let listing = text(Command::new("objdump").arg("-d").arg(std_cli));
    assert!(listing.contains("<_start>:") && listing.matches(">:").count() > 300);
}

/// No linker, no assembler, no environment; and nothing else is left in the folder.
#[test]
fn compiling_needs_no_other_program() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("nested.wat");
    std::fs::write(&module, NESTED).unwrap();
    text(Command::new(precast_binary()).arg("compile").arg(&module).env_clear().env("PATH", ""));
    let mut names: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["nested.so", "nested.wat"]);
}

/// A program that knows nothing of precast opens an artifact as it opens any library.
#[test]
fn the_dynamic_linker_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    for artifact in artifacts(folder.path(), std::env::consts::ARCH) {
        let status = again("child_dlopen", artifact.to_str().unwrap()).status().unwrap();
        assert!(status.success(), "{}: {status}", artifact.display());
    }
}

/// The child of the test above.
#[test]
fn child_dlopen() {
    let Some(path) = role() else { return };
    let path = std::ffi::CString::new(path).unwrap();
    // SAFETY: the strings are C strings, opening the artifact runs nothing, and the symbols are bytes and code that
    // is only looked at.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!handle.is_null(), "{:?}", std::ffi::CStr::from_ptr(libc::dlerror()));
        let descriptor = libc::dlsym(handle, c"precast_descriptor".as_ptr());
        assert!(!descriptor.is_null());
        assert_eq!(descriptor.cast::<[u8; 8]>().read(), precast_abi::MAGIC);
        let export = [c"precast.export.run", c"precast.export._start"].map(|name| libc::dlsym(handle, name.as_ptr()));
        let export = export.into_iter().find(|export| !export.is_null()).expect("an export");
        let mut info: libc::Dl_info = std::mem::zeroed();
        assert_ne!(libc::dladdr(export, &raw mut info), 0);
        assert!(std::ffi::CStr::from_ptr(info.dli_sname).to_str().unwrap().starts_with("precast.export."));
        assert!(libc::dlsym(handle, c"innermost".as_ptr()).is_null(), "other functions are local");
        assert_eq!(libc::dlclose(handle), 0);
    }
}

const BUSY: &str = r#"(module
    (memory 1)
    (func $churn (param i32) (result i32) (local i32)
        (loop $next
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.mul (local.get 1) (local.get 0))))
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get 1) (local.get 0))))
        (i32.load (i32.const 8)))
    (func (export "run") (param i32 i32) (result i32)
        (loop $next
            (drop (call $churn (local.get 0)))
            (br_if $next (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
        (i32.load (i32.const 8))))"#;

#[test]
fn perf_attributes_samples_to_guest_functions() {
    let Some(_) = tool("perf") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (module, artifact, data) =
        (folder.path().join("busy.wat"), folder.path().join("busy.so"), folder.path().join("data"));
    std::fs::write(&module, BUSY).unwrap();
    text(Command::new(precast_binary()).arg("compile").arg(&module).arg("-o").arg(&artifact));
    let record = Command::new("perf")
        .args(["record", "-e", "cpu-clock", "-o"])
        .arg(&data)
        .arg("--")
        .arg(precast_binary())
        .args(["run", "--invoke", "run"])
        .arg(&artifact)
        .args(["1000000", "200"])
        .output()
        .unwrap();
    if !record.status.success() || !data.exists() {
        say(format_args!("left out: perf may not record here: {}", String::from_utf8_lossy(&record.stderr).trim()));
        return;
    }
    let script = Command::new("perf").args(["script", "-F", "ip,sym,dso", "-i"]).arg(&data).output().unwrap();
    let script = String::from_utf8_lossy(&script.stdout);
    let samples = script.lines().filter(|line| !line.trim().is_empty()).count();
    let ours = script.lines().filter(|line| line.contains(" churn ") && line.contains("busy.so")).count();
    assert!(ours > 20 && ours * 2 > samples, "{ours} of {samples} samples are the guest's\n{script}");
}
