//! What an instance leaves behind in its slot: nothing.

use crate::{Artifact, Caller, ExternRef, Instance, Linker, Val};

/// A module with every kind of state, and exports that change each.
const STATEFUL: &str = r#"(module
    (import "h" "call" (func $host (param externref)))
    (memory (export "m") 2 8)
    (table $t (export "t") 3 20 funcref) (table $x 4 externref)
    (global $i (export "i") (mut i32) (i32.const 7)) (global $v (mut v128) (v128.const i64x2 3 4))
    (global $f (mut funcref) (ref.func $nothing)) (global $e (mut externref) (ref.null extern))
    (data $d "passive") (elem $p func $nothing $run)
    (data (i32.const 4090) "active over a page's end") (data (i32.const 131071) "x")
    (elem (table $t) (i32.const 1) func $run)
    (func $nothing)
    (func $start (i32.store (i32.const 60000) (i32.const 5)))
    (start $start)
    (func (export "memory") (param i32)
        (memory.fill (i32.const 4000) (local.get 0) (i32.const 70000))
        (i32.store8 (i32.const 131071) (local.get 0))
        (memory.copy (i32.const 0) (i32.const 4000) (i32.const 100)))
    (func (export "grow") (param i32)
        (drop (memory.grow (i32.const 3)))
        (i32.store8 (i32.const 131072) (local.get 0)) (i32.store8 (i32.const 327679) (local.get 0)))
    (func (export "tables") (param externref)
        (table.set $t (i32.const 0) (ref.func $run))
        (drop (table.grow $t (ref.func $run) (i32.const 9)))
        (table.fill $x (i32.const 1) (local.get 0) (i32.const 3)))
    (func (export "globals") (param externref)
        (global.set $i (i32.const -1)) (global.set $v (v128.const i64x2 -1 -1))
        (global.set $f (ref.null func)) (global.set $e (local.get 0)))
    (func (export "segments")
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 7)) (data.drop $d)
        (table.init $t $p (i32.const 0) (i32.const 0) (i32.const 2)) (elem.drop $p))
    (func $run (export "stack") (param i32) (result i64)
        (if (result i64) (local.get 0)
            (then (i64.add (call $run (i32.sub (local.get 0) (i32.const 1))) (i64.const 0x1234567890)))
            (else (i64.const 1))))
    (func (export "trap") (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000)) (unreachable))
    (func (export "host") (param externref) (call $host (local.get 0))))"#;

fn artifact(wat: &str) -> Artifact {
    let bytes = precast_compiler::compile(wat.as_bytes(), &precast_compiler::Options::default()).expect("compiles");
    Artifact::open_bytes(&bytes).expect("opens")
}

fn call(instance: &mut Instance<ExternRef>, name: &str, params: &[Val]) {
    let func = instance.func_dynamic(name).unwrap();
    assert_eq!(func.call(instance, params).is_ok(), name != "trap", "{name}");
}

#[test]
fn a_dropped_instance_leaves_nothing() {
    let artifact = artifact(STATEFUL);
    let mut linker = Linker::<ExternRef>::new();
    linker.func("h", "call", |caller: &mut Caller<'_, ExternRef>, given: Option<ExternRef>| {
        assert_eq!(given.as_ref(), Some(caller.data()));
        let memory = caller.export("m").and_then(|item| item.memory()).unwrap();
        memory.write(caller, 100_000, b"written by the host").unwrap();
    });
    let bound = linker.bind(&artifact).unwrap();
    let inner = artifact.inner();
    let hash = || {
        let mut slot = inner.pool.take(inner).unwrap().0;
        let hash = slot.hash();
        inner.pool.give_back(slot, None);
        hash
    };
    let fresh = hash();
    let secret = ExternRef::new("secret");
    let one = [Val::I32(0x5a)];
    let reference = [Val::from(secret.clone())];
    let deep = [Val::I32(10_000)];
    let actions: [(&str, &[Val]); 8] = [
        ("memory", &one),
        ("grow", &one),
        ("tables", &reference),
        ("globals", &reference),
        ("segments", &[]),
        ("stack", &deep),
        ("trap", &[]),
        ("host", &reference),
    ];
    for round in 0..3 {
        drop(bound.instantiate(secret.clone()).unwrap());
        assert_eq!(hash(), fresh, "the start function, round {round}");
        for (name, params) in actions {
            let mut instance = bound.instantiate(secret.clone()).unwrap();
            call(&mut instance, name, params);
            drop(instance);
            assert_eq!(hash(), fresh, "{name}, round {round}");
        }
        let mut instance = bound.instantiate(secret.clone()).unwrap();
        actions.iter().for_each(|(name, params)| call(&mut instance, name, params));
        assert_eq!(instance.into_data(), secret);
        assert_eq!(hash(), fresh, "everything, round {round}");
    }
}

#[test]
fn a_store_gives_back_the_slots_of_all_its_instances() {
    let artifact =
        artifact(r#"(module (memory (export "m") 1) (func (export "f") (i32.store (i32.const 0) (i32.const 1))))"#);
    let bound = Linker::<()>::new().bind(&artifact).unwrap();
    let inner = artifact.inner();
    let mut starts = Vec::new();
    for round in 0..3 {
        let mut store = crate::Store::new(());
        let ids = [(); 3].map(|()| bound.instantiate_in(&mut store).unwrap());
        for id in ids {
            let f = store.export(id, "f").and_then(|item| item.func()).unwrap();
            f.call(&mut store, &[]).unwrap();
        }
        drop(store);
        let slots = [(); 3].map(|()| inner.pool.take(inner).unwrap().0);
        let mut found = slots.iter().map(|slot| slot.start().addr()).collect::<Vec<_>>();
        found.sort_unstable();
        if round > 0 {
            assert_eq!(found, starts, "the same three slots");
        }
        starts = found;
        for mut slot in slots {
            assert_eq!(slot.hash(), crate::slot::Slot::map(inner).unwrap().hash());
            inner.pool.give_back(slot, None);
        }
    }
}
