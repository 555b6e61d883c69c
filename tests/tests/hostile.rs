//! Truncated and bit-flipped files, from seeds: errors, never a panic, a hang or a signal.
//!
//! Everything runs in this process: a crash of precast fails the test run.

use precast_compiler::{Emit, Options, compile};
use precast_loader::{Artifact, Linker, Policy};
use precast_tests::{Random, workspace_root};

/// A damaged copy: cut short, or with one to eight bits flipped.
fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    if random.below(4) == 0 {
        damaged.truncate(random.below(bytes.len()));
    }
    for _ in 0..random.below(8) + usize::from(damaged.len() == bytes.len()) {
        if !damaged.is_empty() {
            let at = random.below(damaged.len());
            damaged[at] ^= 1 << random.below(8);
        }
    }
    damaged
}

const MODULE: &str = r#"(module
    (import "env" "f" (func $f (param i32 funcref) (result i64)))
    (import "env" "g" (global $g i32))
    (memory (export "memory") 2 9) (table (export "table") 4 8 funcref)
    (global (export "counter") (mut i64) (i64.const 5)) (global v128 (v128.const i64x2 1 2))
    (elem (i32.const 1) $f $run) (elem funcref (ref.func $run) (ref.null func))
    (data (i32.const 100) "data") (data (global.get $g) "more") (data "passive")
    (func $run (export "run") (param i32) (result i32) (local f64)
        (memory.init 2 (i32.const 0) (i32.const 0) (i32.const 3))
        (block (result i32) (br_if 0 (i32.const 1) (local.get 0)) (drop) (i32.load offset=8 (local.get 0))
            (call_indirect (param i32) (result i32) (i32.const 2)))
        (i32.trunc_f64_s (f64.sqrt (local.get 1))) i32.add))"#;

#[test]
fn damaged_modules_are_refused_or_compile() {
    let modules = [
        wat_to_wasm(MODULE),
        std::fs::read(workspace_root().join("tests/guests/wasm/kern-json.core.wasm")).unwrap(),
    ];
    let options = Options { verify: true, ..Options::default() };
    let mut random = Random(1);
    let (mut refused, mut compiled) = (0, 0);
    for round in 0..3000 {
        let damaged = damage(&modules[round % modules.len()], &mut random);
        match compile(&damaged, &options) {
            Ok(_) => compiled += 1,
            Err(precast_compiler::Error::Internal { context, message }) => {
                panic!("round {round}: {context}: {message}");
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 1000 && compiled > 10, "{refused} refused, {compiled} compiled");
}

/// The binary of a module in the text format.
fn wat_to_wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is well-formed")
}

#[test]
fn damaged_artifacts_are_refused() {
    let artifact = compile(MODULE.as_bytes(), &Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.so");
    let mut random = Random(2);
    for round in 0..2000 {
        let damaged = damage(&artifact, &mut random);
        if damaged == artifact {
            continue;
        }
        // Renamed into place, as artifacts are: each file is another inode.
        let temporary = folder.path().join("temporary");
        std::fs::write(&temporary, &damaged).unwrap();
        std::fs::rename(&temporary, &path).unwrap();
        for policy in [Policy::Verify, Policy::Sealed] {
            let error = Artifact::open(&path, policy).map(|_| ()).expect_err("a damaged artifact");
            assert!(!error.to_string().is_empty(), "round {round}");
        }
    }
}

/// Without the digest, damaged headers and tables still give errors, or an artifact that can be described and bound;
/// nothing of it is run.
#[test]
fn damaged_headers_and_tables_are_survived_without_the_digest() {
    let artifact = compile(MODULE.as_bytes(), &Options::default()).unwrap();
    let tables = artifact.windows(8).position(|window| window == b"PRECAST\0").expect("the meta tables");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.so");
    let mut random = Random(3);
    let (mut refused, mut opened) = (0, 0);
    for _ in 0..3000 {
        let mut damaged = artifact.clone();
        // The ELF headers, or the meta tables: up to the name index at their end.
        let (start, len) = if random.below(3) == 0 { (0, 0x400) } else { (tables, 0x1000.min(artifact.len() - tables)) };
        for _ in 0..=random.below(4) {
            damaged[start + random.below(len)] ^= 1 << random.below(8);
        }
        std::fs::write(&path, &damaged).unwrap();
        // SAFETY: nothing of the artifact is run: it is opened, described and bound.
        match unsafe { Artifact::open_trusted(&path) } {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Ok(artifact) => {
                opened += 1;
                artifact.imports().for_each(drop);
                artifact.exports().for_each(drop);
                drop(Linker::<()>::new().trap_missing_functions().bind(&artifact));
            }
        }
    }
    assert!(refused > 300 && opened > 300, "{refused} refused, {opened} opened");
}

/// Modules made to exhaust a compiler.
#[test]
fn hostile_modules_meet_limits() {
    let nest = |depth: usize| format!("(module (func {} {}))", "(block ".repeat(depth), ")".repeat(depth));
    // The text parser has its own limit of nesting; what counts is that nothing overflows a stack.
    drop(compile(nest(100_000).as_bytes(), &Options::default()));

    let mut body = vec![0u8];
    body.extend([0x02, 0x40].repeat(50_000));
    body.extend([0x0b].repeat(50_001));
    compile(&module_with_body(&body), &Options::default()).expect("deep nesting is legal");

    // 50,000 locals, all live across 20,000 loops.
    let mut body = vec![1, 0xd0, 0x86, 0x03, 0x7f];
    body.extend([0x03, 0x40, 0x20, 0x00, 0x0d, 0x00, 0x0b].repeat(20_000));
    body.push(0x0b);
    match compile(&module_with_body(&body), &Options { emit: Emit::So, ..Options::default() }) {
        Ok(_) | Err(precast_compiler::Error::Limit { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

/// A module with one function `() -> ()` with this body (locals, then code).
fn module_with_body(body: &[u8]) -> Vec<u8> {
    let leb = |mut value: usize| {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    };
    let mut code = vec![1];
    code.extend(leb(body.len()));
    code.extend(body);
    let mut module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a".to_vec();
    module.extend(leb(code.len()));
    module.extend(code);
    module
}
