//! What cannot be opened or bound, as a host and as a user of the command see it: typed errors that tell what was found
//! and what was wanted, and exit status 125.

use std::path::Path;
use std::process::Command;

use precast_abi::ABI_VERSION;
use precast_abi::meta::DIGEST_OFFSET;
use precast_compiler::{Emit, Options};
use precast_loader::{Artifact, Linker, OpenErrorKind, Policy};
use precast_targets::Arch;
use precast_tests::{compile, compile_with, precast_binary};

const MODULE: &str = r#"(module (memory 1) (data (i32.const 0) "data")
    (func (export "run") (result i32) (i32.load8_u (i32.const 0))))"#;

/// Where the header of the tables is, and its fields in it (`FORMAT.md`).
fn header(artifact: &[u8]) -> usize {
    let magic = precast_abi::MAGIC;
    artifact.windows(magic.len()).position(|window| window == magic).expect("an artifact")
}
const VERSION: usize = 8;
const FEATURES: usize = 16;

/// Writes `value` at `field` of the header and makes the digest right again.
fn patch(mut artifact: Vec<u8>, field: usize, value: &[u8]) -> Vec<u8> {
    let header = header(&artifact);
    artifact[header + field..][..value.len()].copy_from_slice(value);
    let digest = header + DIGEST_OFFSET..header + DIGEST_OFFSET + 32;
    artifact[digest.clone()].fill(0);
    let hash = blake3::hash(&artifact);
    artifact[digest].copy_from_slice(hash.as_bytes());
    artifact
}

/// What opening the file says, which is the same by each policy, and what the command prints when it is to run it.
fn refusal(file: &[u8]) -> (OpenErrorKind, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.so");
    std::fs::write(&path, file).unwrap();
    let [verified, sealed] = [Policy::Verify, Policy::Sealed].map(|policy| Artifact::open(&path, policy).unwrap_err());
    assert_eq!(verified.to_string(), sealed.to_string());
    assert!(verified.to_string().starts_with(path.to_str().unwrap()), "{verified}");
    let from_bytes = Artifact::open_bytes(file).unwrap_err();
    assert_eq!(from_bytes.kind.to_string(), verified.kind.to_string());
    let stderr = run(&path);
    assert!(stderr.contains(&verified.kind.to_string()), "{verified}\n{stderr}");
    (verified.kind, stderr)
}

/// What the command says about a file that it cannot run.
#[track_caller]
fn run(path: &Path) -> String {
    let output = Command::new(precast_binary()).args(["run", "--invoke", "run"]).arg(path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(output.stdout.is_empty() && stderr.starts_with("precast: error: "), "{stderr}");
    stderr
}

#[test]
fn what_is_in_order_runs() {
    let artifact = patch(compile(MODULE), 0, &precast_abi::MAGIC);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.so");
    std::fs::write(&path, &artifact).unwrap();
    let output = Command::new(precast_binary()).args(["run", "--invoke", "run"]).arg(&path).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"100\n"[..]), "{output:?}");
}

#[test]
fn another_architecture() {
    let other = Arch::ALL.into_iter().find(|arch| Arch::HOST != Some(*arch)).unwrap();
    let mut options = Options::default();
    options.set_target(Some(other.triple()), None).unwrap();
    let (kind, stderr) = refusal(&compile_with(MODULE, &options));
    assert!(matches!(kind, OpenErrorKind::Architecture { .. }), "{kind:?}");
    for triple in Arch::ALL.map(Arch::triple) {
        assert!(stderr.contains(triple), "{stderr}");
    }
}

#[test]
fn cpu_features_that_this_machine_lacks() {
    let artifact = compile(MODULE);
    let features = u64::from_le_bytes(artifact[header(&artifact) + FEATURES..][..8].try_into().unwrap());
    // One that no machine has, and those of the highest level, as far as this machine lacks them.
    let unknown = patch(artifact, FEATURES, &(features | 1 << 63).to_le_bytes());
    let (kind, stderr) = refusal(&unknown);
    assert!(matches!(&kind, OpenErrorKind::CpuFeatures { missing } if missing.len() == 1), "{kind:?}");
    assert!(stderr.contains("CPU features") && stderr.contains("63"), "{stderr}");

    let arch = Arch::HOST.unwrap();
    let level = arch.levels().last().unwrap();
    let artifact = compile_with(MODULE, &Options { features: level.features, ..Options::default() });
    let mut native = Options::default();
    native.set_target(None, Some("native")).unwrap();
    let missing: Vec<_> =
        arch.features().iter().filter(|feature| (level.features & !native.features) >> feature.bit & 1 != 0).collect();
    if missing.is_empty() {
        Artifact::open_bytes(&artifact).expect("this machine has all of the highest level");
    } else {
        let (kind, stderr) = refusal(&artifact);
        assert!(matches!(kind, OpenErrorKind::CpuFeatures { .. }), "{kind:?}");
        assert!(missing.iter().all(|feature| stderr.contains(feature.name)), "{stderr}");
    }
}

#[test]
fn another_version_of_the_abi() {
    for version in [0, ABI_VERSION + 1, u32::MAX] {
        let artifact = patch(compile(MODULE), VERSION, &version.to_le_bytes());
        let (kind, stderr) = refusal(&artifact);
        assert!(
            matches!(kind, OpenErrorKind::AbiVersion { found, wanted } if (found, wanted) == (version, ABI_VERSION)),
            "{kind:?}"
        );
        assert!(stderr.contains(&version.to_string()) && stderr.contains(&ABI_VERSION.to_string()), "{stderr}");
    }
}

#[test]
fn truncated_files() {
    let artifact = compile(MODULE);
    for len in [4, 63, 64, 500, artifact.len() / 2, artifact.len() - 1] {
        let (kind, stderr) = refusal(&artifact[..len]);
        assert!(
            matches!(kind, OpenErrorKind::Truncated { found, wanted } if found == len as u64 && wanted > found),
            "{len}: {kind:?}"
        );
        assert!(stderr.contains("truncated") && stderr.contains(&len.to_string()), "{stderr}");
    }
}

#[test]
fn altered_files() {
    let artifact = compile(MODULE);
    let end = artifact.len();
    // Code, initial state, symbols, section headers, and something at the end.
    for at in [0x1000, 0x2000, 0x3001, end - 100, end - 1] {
        let mut altered = artifact.clone();
        altered[at] ^= 1;
        let (kind, stderr) = refusal(&altered);
        let OpenErrorKind::Digest { found, wanted } = kind else { panic!("{at:#x}: {kind:?}") };
        assert_ne!(found, wanted);
        assert!(stderr.contains("altered") && stderr.contains(&found.to_string()), "{stderr}");
        assert!(stderr.contains(&wanted.to_string()), "{stderr}");
    }
    let mut longer = artifact;
    longer.push(0);
    assert!(matches!(refusal(&longer).0, OpenErrorKind::Digest { .. }));
}

#[test]
fn other_files() {
    let (kind, _) = refusal(&std::fs::read("/proc/self/exe").unwrap());
    assert!(matches!(kind, OpenErrorKind::Forbidden(_) | OpenErrorKind::NotPrecast), "{kind:?}");
    let object = compile_with(MODULE, &Options { emit: Emit::Obj, ..Options::default() });
    let (kind, _) = refusal(&object);
    assert!(matches!(kind, OpenErrorKind::ElfKind { found: 1, wanted: 3, .. }), "{kind:?}");
    for (file, found) in [(&b""[..], &b""[..]), (b"hi", b"hi"), (b"#!/bin/sh\n", b"#!/b")] {
        let error = Artifact::open_bytes(file).unwrap_err();
        assert!(matches!(&error.kind, OpenErrorKind::NotElf { found: bytes } if bytes == found), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.so");
    let error = Artifact::open(&missing, Policy::Verify).unwrap_err();
    assert!(matches!(error.kind, OpenErrorKind::Io { .. }) && error.to_string().contains("missing.so"), "{error}");
    assert!(run(&missing).contains("No such file"));
    assert!(run(folder.path()).contains("directory"));
    let error = Artifact::open(folder.path(), Policy::Verify).unwrap_err();
    assert!(matches!(error.kind, OpenErrorKind::Forbidden(_)), "{error}");
}

/// The version, the machine and the headers count also for those who trust a file.
#[test]
fn trust_does_not_make_it_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.so");
    let artifact = compile(MODULE);
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        // SAFETY: nothing of the artifact is run.
        unsafe { Artifact::open_trusted(&path) }
    };
    open(&artifact).unwrap();
    let other = patch(artifact.clone(), VERSION, &9999u32.to_le_bytes());
    assert!(matches!(open(&other).unwrap_err().kind, OpenErrorKind::AbiVersion { found: 9999, .. }));
    let other = patch(artifact.clone(), FEATURES, &u64::MAX.to_le_bytes());
    assert!(matches!(open(&other).unwrap_err().kind, OpenErrorKind::CpuFeatures { .. }));
    assert!(matches!(open(&artifact[..5000]).unwrap_err().kind, OpenErrorKind::Truncated { .. }));
}

#[test]
fn imports_that_nobody_provides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.so");
    let modules = [
        (r#"(import "env" "missing" (func (param i32) (result i64)))"#, "func (i32) -> (i64)"),
        (r#"(import "env" "missing" (memory 1))"#, "memory"),
        (r#"(import "env" "missing" (table 3 funcref))"#, "table"),
        (r#"(import "env" "missing" (global (mut i32)))"#, "global"),
        (r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i64)))"#, "func (i64)"),
    ];
    for (import, wanted) in modules {
        let artifact = compile(&format!("(module {import} (func (export \"run\")))"));
        let error = Linker::<()>::new().bind(&Artifact::open_bytes(&artifact).unwrap()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        std::fs::write(&path, artifact).unwrap();
        let stderr = run(&path);
        let name = import.split('"').nth(3).unwrap();
        assert!(stderr.contains(name) && stderr.contains(wanted), "{stderr}");
    }
}
