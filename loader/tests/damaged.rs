//! Artifacts whose tables were damaged after they were written, opened without a digest: errors, or handles that tell
//! something wrong, but no panic and no crash. Nothing of them is run.

use std::os::unix::fs::FileExt;

use precast_abi::MAGIC;
use precast_abi::bytes::Field;
use precast_abi::meta::Header;
use precast_loader::{Artifact, Caller, Extern, Func, Instance, Linker, Profile, component};

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

const COMPONENT: &str = r#"(component
    (import "test:host/api@0.2.0" (instance $api
        (export "file" (type $file (sub resource)))
 (type $flags' (flags "a" "b"))
        (export "flags" (type $flags (eq $flags')))
        (export "open" (func (param "name" string) (param "flags" $flags) (result (result (own $file)))))
        (export "size" (func (param "file" (borrow $file)) (result (tuple u32 (option u64)))))))
    (alias export $api "file" (type $file))
    (core module $Libc (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
    (core instance $libc (instantiate $Libc))
    (core func $open (canon lower (func $api "open") (memory $libc "memory")))
    (core func $size (canon lower (func $api "size") (memory $libc "memory")))
    (core func $drop (canon resource.drop $file))
    (core module $M
        (import "api" "open" (func $open (param i32 i32 i32 i32)))
        (import "api" "size" (func $size (param i32 i32)))
        (import "api" "drop" (func $drop (param i32)))
        (func (export "run") (param i32 i32) (result i32)
            (call $open (local.get 0) (local.get 1) (i32.const 0) (i32.const 8))
            (call $size (i32.const 1) (i32.const 8)) (call $drop (i32.const 1)) (i32.const 8))
        (func (export "dtor") (param i32)))
    (core instance $m (instantiate $M (with "api" (instance
        (export "open" (func $open)) (export "size" (func $size)) (export "drop" (func $drop))))))
    (type $own (resource (rep i32) (dtor (func $m "dtor"))))
    (func (export "run") (param "x" (list (tuple u8 string))) (result (option (list u16)))
        (canon lift (core func $m "run") (memory $libc "memory") (realloc (func $libc "realloc")))))"#;

/// The same for a component.
fn explore_component(artifact: &Artifact) {
    artifact.wit();
    let types = artifact.component_imports().into_iter().chain(artifact.component_exports());
    types.for_each(|(_, _, ty)| drop(ty.to_string()));
    let mut linker = component::Linker::<()>::new();
    let api = "test:host/api@0.2.0";
    linker.resource::<u8>(api, "file", |_, _| Ok(()));
    linker.func(api, "size", |_, (_,): (component::Resource<u8>,)| Ok((1u32, Some(2u64))));
    linker.func_dynamic(api, "open", |_, _, _| Ok(None));
    let Ok(bound) = linker.trap_missing().bind(artifact) else { return };
    let Ok(instance) = bound.instantiate(()) else { return };
    for (interface, name, ty) in instance.exports() {
        let func = instance.func_dynamic(interface, name).map(|func| func.ty().to_string());
        assert!(func.is_err() || func == Ok(ty.to_string()));
        drop(instance.func::<(u32,), u32>(interface, name));
    }
}

#[test]
fn damaged_tables_neither_panic_nor_crash() {
    damage(MODULE, explore);
}

#[test]
fn damaged_tables_of_components_neither_panic_nor_crash() {
    damage(COMPONENT, explore_component);
}

fn damage(text: &str, explore: fn(&Artifact)) {
    let profile = format!("precast profile 1\nsource {:064}\nentry precast.entry.1\nstack 0 1\nmemory 0 0 1\n", 0);
    let profile = Some(Profile::parse(&profile).expect("a profile"));
    let options = precast_compiler::Options { profile, ..precast_compiler::Options::default() };
    let bytes = precast_compiler::compile(text.as_bytes(), &options).expect("compiles");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.so");
    let meta = bytes.windows(MAGIC.len()).position(|window| window == MAGIC).expect("has tables");
    let end = (meta + 4096).min(bytes.len());
    // Where the initialiser is, which instantiating would run: just before the span of the WIT text, metering and source.
    let init = meta + Header::SIZE - 48..meta + Header::SIZE - 44;
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
