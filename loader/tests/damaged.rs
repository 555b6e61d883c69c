//! Artifacts whose tables were damaged after they were written, opened without a digest: errors, or handles that tell
//! something wrong, but no panic and no crash. Nothing of them is run.

use std::os::unix::fs::FileExt;

use precast_abi::MAGIC;
use precast_abi::bytes::Field;
use precast_abi::meta::Header;
use precast_loader::{Artifact, Caller, Extern, Func, Instance, Linker};

const MODULE: &str = r#"(module
    (import "host" "f" (func $f (param i32) (result i64)))
    (import "host" "g" (func $g (param funcref)))
    (memory (export "memory") 1 3) (table (export "t") 3 5 funcref)
    (global (export "n") (mut i32) (i32.const 5)) (global (export "v") v128 (v128.const i64x2 1 2))
    (elem (i32.const 0) $f $run) (data $d "segment") (elem $e func $run)
    (func $run (export "run") (param i32) (result i64)
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 7))
        (table.init $e (i32.const 0) (i32.const 0) (i32.const 1))
        (call $g (ref.func $run)) (call $f (local.get 0)))
    (export "f" (func $f)))"#;

/// Looks at everything that can be looked at without running code.
fn explore(artifact: &Artifact) {
    artifact.imports().for_each(drop);
    artifact.exports().for_each(drop);
    let mut linker = Linker::<()>::new();
    linker.func("host", "f", |_: &mut Caller<'_, ()>, x: i32| i64::from(x));
    linker.func("host", "g", |_: &mut Caller<'_, ()>, _: Option<Func>| ());
    let Ok(bound) = linker.trap_missing_functions().bind(artifact) else { return };
    let Ok(instance) = bound.instantiate(()) else { return };
    look(&instance);
}

fn look(instance: &Instance<()>) {
    for (name, item) in instance.exports(instance.id()) {
        instance.export(name);
        item.ty(instance);
        match item {
            Extern::Func(func) => drop(func.typed::<i32, i64>(instance)),
            Extern::Table(table) => (0..6).for_each(|at| drop(table.get(instance, at))),
            Extern::Global(global) => drop(global.get(instance)),
            Extern::Memory(memory) => drop(memory.size_bytes(instance)),
        }
    }
}

#[test]
fn damaged_tables_neither_panic_nor_crash() {
    let bytes = precast_compiler::compile(MODULE.as_bytes(), &precast_compiler::Options::default()).expect("compiles");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.so");
    let meta = bytes.windows(MAGIC.len()).position(|window| window == MAGIC).expect("has tables");
    let end = (meta + 4096).min(bytes.len());
    // Where the initialiser is, which instantiating would run.
    let init = meta + Header::SIZE - 4..meta + Header::SIZE;
    std::fs::write(&path, &bytes).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let mut opened = 0;
    for at in (meta..end).filter(|at| !init.contains(at)) {
        for flip in [0xff, 1 << (at % 8)] {
            file.write_all_at(&[bytes[at] ^ flip], at as u64).unwrap();
            // SAFETY: nothing of the file is run, since it has no initialiser.
            if let Ok(artifact) = unsafe { Artifact::open_trusted(&path) } {
                opened += 1;
                explore(&artifact);
            }
        }
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    assert!(opened > 1000, "{opened}");
}
