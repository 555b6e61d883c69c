//! Truncated and bit-flipped files, from seeds: errors, never a panic, a hang or a signal.
//!
//! Everything runs in this process: a crash of precast fails the test run.

use precast_compiler::{Emit, Options, compile};
use precast_loader::{Artifact, Policy};
use precast_tests::hostile::{HEADERS, MODULE, TABLES, compiles, damage_tables, opens};
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

#[test]
fn damaged_modules_are_refused_or_compile() {
    let modules =
        [wat_to_wasm(MODULE), std::fs::read(workspace_root().join("tests/guests/wasm/kern-json.core.wasm")).unwrap()];
    let mut random = Random(1);
    let (mut refused, mut compiled) = (0, 0);
    for round in 0..3000 {
        let damaged = damage(&modules[round % modules.len()], &mut random);
        *(if compiles(&damaged) { &mut compiled } else { &mut refused }) += 1;
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.so");
    let mut random = Random(3);
    let (mut refused, mut opened) = (0, 0);
    for _ in 0..3000 {
        let (start, len) = *random.pick(&[(0, HEADERS), (HEADERS, TABLES), (HEADERS, TABLES)]);
        let count = 1 + random.below(5);
        let flips: Vec<_> = (0..count).map(|_| (start + random.below(len), random.below(8) as u8)).collect();
        *(if opens(&path, &damage_tables(&artifact, flips)) { &mut opened } else { &mut refused }) += 1;
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

    // 2,000 locals that change in a loop, to which 5,000 branches lead back.
    let mut body = vec![1, 0xd0, 0x0f, 0x7f, 0x03, 0x40];
    for local in 0..2000 {
        let [low, high] = [local as u8 | 0x80, (local >> 7) as u8];
        body.extend([0x20, 0x00, 0x20, low, high, 0x6a, 0x21, low, high]);
    }
    body.extend([0x20, 0x00, 0x0d, 0x00].repeat(5000));
    body.extend([0x0b, 0x0b]);
    let error = compile(&module_with_body(&body), &Options::default()).expect_err("a limit");
    assert!(matches!(error, precast_compiler::Error::Limit { .. }), "{error}");

    // A local beyond all others, as an address: not a table of four billion locals.
    let body = [0, 0x20, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x28, 0, 0, 0x1a, 0x0b];
    let error = compile(&module_with_body(&body), &Options::default()).expect_err("no such local");
    assert!(matches!(error, precast_compiler::Error::Invalid { .. }), "{error}");
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
