//! `precast compile`: what is written where, and what is refused how.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Folder, run};
use serde_json::Value;

const ADD: &str = r#"(module (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;

/// The last line of standard error, as JSON.
fn message(stderr: &str) -> Value {
    serde_json::from_str(stderr.lines().last().unwrap()).unwrap()
}

#[test]
fn the_output_lies_next_to_the_input() {
    let folder = Folder::with("add.wat", ADD);
    let outcome = folder.precast("compile add.wat").succeeds();
    assert!(outcome.stdout.is_empty());
    assert_eq!(folder.files(), ["add.so", "add.wat"]);
    assert!(folder.read("add.so").starts_with(b"\x7fELF"));
    let mode = fs::metadata(folder.path("add.so")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7133, 0, "{mode:o}");
    assert!(folder.cache_entries().is_empty());
}

#[test]
fn each_kind_of_output_has_its_extension() {
    let folder = Folder::with("add.wat", ADD);
    for (emit, file, start) in [
        ("obj", "add.o", &b"\x7fELF"[..]),
        ("clif", "add.clif", b""),
        ("asm", "add.s", b""),
        ("so", "add.so", b"\x7fELF"),
    ] {
        folder.precast(&format!("compile add.wat --emit {emit}")).succeeds();
        let bytes = folder.read(file);
        assert!(bytes.starts_with(start) && !bytes.is_empty(), "{emit}");
    }
    assert!(String::from_utf8(folder.read("add.clif")).unwrap().contains("iadd"));
}

#[test]
fn standard_streams_are_dashes() {
    let folder = Folder::with("add.wat", ADD);
    folder.precast("compile add.wat").succeeds();
    let outcome = folder.precast_with("compile - -o -", ADD.as_bytes()).succeeds();
    assert_eq!(outcome.stdout, folder.read("add.so"));
    folder.precast_with("compile -", ADD.as_bytes()).fails(2, &["name it with -o"]);
    folder.precast_with("compile - -o x.so", b"").fails(1, &["`standard input` is empty"]);
    assert_eq!(folder.files(), ["add.so", "add.wat"]);
}

#[test]
fn the_same_input_and_options_give_the_same_bytes() {
    let folder = Folder::with("add.wat", ADD);
    for (file, options) in [("1.so", "--threads 1"), ("2.so", "--threads 4"), ("3.so", ""), ("4.so", "--cpu x86-64-v2")]
    {
        folder.precast(&format!("compile add.wat -o {file} --target x86_64 {options}")).succeeds();
    }
    let first = folder.read("1.so");
    assert!(["2.so", "3.so", "4.so"].iter().all(|file| folder.read(file) == first));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = Folder::new();
    fs::create_dir(folder.path("dir.wasm")).unwrap();
    folder.write("empty.wasm", "");
    folder.write("noise.wasm", b"\xff\xfe\x00\x01");
    folder.write("elf.wasm", b"\x7fELF and so on");
    fs::File::create(folder.path("huge.wasm")).unwrap().set_len(1 << 40).unwrap();
    folder.precast("compile missing.wasm").fails(1, &["cannot read `missing.wasm`", "caused by: No such file"]);
    folder.precast("compile dir.wasm").fails(1, &["cannot read `dir.wasm`", "is a directory"]);
    folder.precast("compile empty.wasm").fails(1, &["`empty.wasm` is empty"]);
    folder.precast("compile noise.wasm").fails(1, &["`noise.wasm` is neither a WebAssembly module nor text"]);
    folder.precast("compile elf.wasm").fails(1, &["`elf.wasm` is an ELF file"]);
    folder.precast("compile huge.wasm").fails(1, &["`huge.wasm` is too large"]);
    assert_eq!(folder.files(), ["dir.wasm", "elf.wasm", "empty.wasm", "huge.wasm", "noise.wasm"]);
}

#[test]
fn bad_modules_are_refused_with_their_place() {
    let folder = Folder::with("garbage.wat", "(module (func i32.bogus))");
    folder.write("truncated.wasm", b"\0asm\x01\0\0\0\x01\x07\x01");
    folder.write("magic.wasm", b"\0asm");
    folder.write("type.wat", "(module (func (result i32) (i64.const 1)))");
    folder.precast("compile garbage.wat").fails(1, &["cannot compile `garbage.wat`", "i32.bogus", "1:15"]);
    folder.precast("compile truncated.wasm").fails(1, &["cannot compile `truncated.wasm`", "invalid", "offset 0x"]);
    folder.precast("compile magic.wasm").fails(1, &["cannot compile `magic.wasm`", "invalid"]);
    folder
        .precast("compile type.wat")
        .fails(1, &["cannot compile `type.wat`", "type mismatch", "function 0", "offset 0x"]);
    assert_eq!(folder.files(), ["garbage.wat", "magic.wasm", "truncated.wasm", "type.wat"]);
}

#[test]
fn json_messages_have_their_keys() {
    let folder = Folder::with("type.wat", "(module (func (result i32) (i64.const 1)))");
    folder.write("gc.wat", "(module (type (struct (field i32))) (func (drop (struct.new_default 0))))");
    folder.write("text.wat", "(module");
    folder.write("add.wat", ADD);
    let message = |args: &str, status| {
        let outcome = folder.precast(&format!("compile --message-format json {args}"));
        assert_eq!(outcome.status, status, "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        message(&outcome.stderr)
    };

    let invalid = message("type.wat", 1);
    assert_eq!(
        (&invalid["kind"], &invalid["file"], &invalid["function"]),
        (&"invalid".into(), &"type.wat".into(), &0.into())
    );
    assert!(invalid["offset"].is_u64() && invalid["message"].as_str().unwrap().contains("type mismatch"), "{invalid}");

    let unsupported = message("gc.wat", 1);
    assert_eq!(unsupported["kind"], "unsupported", "{unsupported}");
    assert!(unsupported["proposal"].is_string() && unsupported["offset"].is_u64(), "{unsupported}");

    assert_eq!(message("text.wat", 1)["kind"], "text");
    assert_eq!(message("missing.wat", 1)["kind"], "error");
    assert_eq!(message("add.wat --cpu pentium", 2)["kind"], "usage");

    let done = message("add.wat", 0);
    assert_eq!((&done["kind"], &done["output"]), (&"artifact".into(), &"add.so".into()), "{done}");
    assert_eq!(done["bytes"], folder.read("add.so").len());
    assert_eq!(done["cached"], false);
}

#[test]
fn options_that_make_no_sense_are_usage_errors() {
    let folder = Folder::with("add.wat", ADD);
    folder.precast("compile add.wat --bogus").fails(2, &["--bogus"]);
    folder.precast("compile").fails(2, &["<FILE>"]);
    folder.precast("compile add.wat --opt-level 3").fails(2, &["none", "speed-and-size"]);
    folder.precast("compile add.wat --target riscv64").fails(2, &["unknown target `riscv64`", "aarch64"]);
    folder.precast("compile add.wat --cpu pentium").fails(2, &["unknown CPU `pentium`", "x86-64-v3"]);
    folder.precast("compile add.wat --stack-size 1").fails(2, &["16K to 256M"]);
    folder.precast("compile add.wat --stack-size big").fails(2, &["not a number of bytes"]);
    folder.precast("compile add.wat --threads 0").fails(2, &["--threads"]);
    folder.precast("compile add.wat -o add.wat").fails(2, &["is input and output"]);
    folder.precast("compile add.wat --emit clif --cache").fails(2, &["--cache goes with --emit so only"]);
    folder.write("module.so", ADD);
    folder.precast("compile module.so").fails(2, &["would overwrite itself"]);
    assert_eq!(folder.files(), ["add.wat", "module.so"]);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = Folder::with("add.wat", ADD);
    fs::create_dir(folder.path("dir")).unwrap();
    // Nobody can make a file there, root included, as which tests may run.
    folder.precast("compile add.wat -o /proc/add.so").fails(1, &["cannot write `/proc/add.so`", "caused by:"]);
    folder.precast("compile add.wat -o missing/add.so").fails(1, &["cannot write `missing/add.so`", "caused by:"]);
    folder.precast("compile add.wat -o dir").fails(1, &["cannot write `dir`", "is a directory"]);
    folder.precast("compile add.wat -o /dev/full").fails(1, &["cannot write `/dev/full`", "No space left"]);
    assert_eq!(folder.files(), ["add.wat", "dir"]);
}

#[test]
fn a_failed_compilation_leaves_the_old_output() {
    let folder = Folder::with("a.wat", "(module");
    folder.write("a.so", "precious");
    folder.precast("compile a.wat").fails(1, &["cannot compile"]);
    assert_eq!(folder.read("a.so"), b"precious");
    assert_eq!(folder.files(), ["a.so", "a.wat"]);
}

#[test]
fn the_cache_is_filled_and_used() {
    let folder = Folder::with("add.wat", ADD);
    let compile = |options: &str| {
        let outcome = folder.precast(&format!("compile add.wat --message-format json {options}"));
        assert_eq!(outcome.status, 0, "{outcome:?}");
        message(&outcome.stderr)["cached"].as_bool().unwrap()
    };
    assert!(!compile("--cache -o 1.so"));
    assert_eq!(folder.cache_entries().len(), 1);
    assert!(compile("--cache -o 2.so"));
    assert_eq!(folder.read("1.so"), folder.read("2.so"));
    assert!(!compile("--cache --opt-level none"));
    assert!(!compile("--cache --canonicalize-nans"));
    assert_eq!(folder.cache_entries().len(), 3);
    assert!(!compile("--cache=elsewhere"));
    assert!(folder.path("elsewhere").is_dir());
    assert!(compile("--cache=elsewhere"));
}

#[test]
fn a_damaged_cache_entry_is_a_miss_and_replaced() {
    let folder = Folder::with("add.wat", ADD);
    folder.precast("compile add.wat --cache").succeeds();
    let entry = folder.cache_entries().pop().unwrap();
    let good = fs::read(&entry).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [&flipped[..], &good[..good.len() - 1], b"", b"not ELF at all"] {
        fs::write(&entry, damaged).unwrap();
        folder.precast("compile add.wat --cache").succeeds();
        assert_eq!(fs::read(&entry).unwrap(), good);
        assert_eq!(folder.read("add.so"), good);
    }
}

#[test]
fn a_cache_that_cannot_be_used_is_a_warning() {
    let folder = Folder::with("add.wat", ADD);
    let outcome = folder.precast("compile add.wat --cache=/proc/cache");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("precast: warning: not caching"), "{outcome:?}");
    assert!(folder.read("add.so").starts_with(b"\x7fELF"));

    fs::create_dir(folder.path("everybodys")).unwrap();
    fs::set_permissions(folder.path("everybodys"), PermissionsExt::from_mode(0o1777)).unwrap();
    let outcome = folder.precast("compile add.wat --cache=everybodys");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("every user may write to it"), "{outcome:?}");

    let mut command = folder.command();
    command.args(["compile", "add.wat", "--cache"]).env_remove("XDG_CACHE_HOME").env_remove("HOME");
    let outcome = run(&mut command, b"");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("neither XDG_CACHE_HOME nor HOME"), "{outcome:?}");
}
