//! Instances that import from other live instances of their store.

mod common;

use common::artifact;
use precast_loader::{
    BindError, CallError, Caller, Extern, ExternRef, ExternType, Func, InstanceId, InstantiateError, Linker, Store,
    TrapCode, TypedFunc, Val, WasmParams, WasmResults,
};

/// A store whose instances are linked by the name they were given.
struct World {
    store: Store<Vec<i32>>,
    linker: Linker<Vec<i32>>,
}

impl World {
    fn new() -> Self {
        let mut linker = Linker::new();
        linker.func("host", "log", |caller: &mut Caller<'_, Vec<i32>>, x: i32| caller.data_mut().push(x));
        World { store: Store::new(vec![]), linker }
    }

    fn try_add(&mut self, name: &str, wat: &str) -> Result<InstanceId, InstantiateError> {
        let instance = self.linker.bind(&artifact(wat)).expect("binds").instantiate_in(&mut self.store)?;
        self.linker.define_instance(name, &self.store, instance);
        Ok(instance)
    }

    fn add(&mut self, name: &str, wat: &str) -> InstanceId {
        self.try_add(name, wat).expect("instantiates")
    }

    fn typed<P: WasmParams, R: WasmResults>(&self, instance: InstanceId, name: &str) -> TypedFunc<P, R> {
        let func = self.store.export(instance, name).and_then(Extern::func).expect("exported");
        func.typed(&self.store).expect("has the type")
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, instance: InstanceId, name: &str, params: P) -> R {
        self.typed::<P, R>(instance, name).call(&mut self.store, params).expect("returns")
    }

    fn trap<P: WasmParams, R: WasmResults>(&mut self, instance: InstanceId, name: &str, params: P) -> TrapCode {
        let result = self.typed::<P, R>(instance, name).call(&mut self.store, params);
        let Err(CallError::Trap(trap)) = result else { panic!("no trap") };
        trap.code()
    }

    /// What the linker says of a module that cannot be linked.
    fn refusal(&mut self, wat: &str) -> String {
        match self.linker.bind(&artifact(wat)) {
            Err(error) => error.to_string(),
            Ok(bound) => bound.instantiate_in(&mut self.store).unwrap_err().to_string(),
        }
    }
}

#[test]
fn functions_run_in_their_own_instance() {
    let mut world = World::new();
    let counter = world.add(
        "counter",
        r#"(module (global $n (mut i32) (i32.const 0))
            (func (export "next") (result i32)
                (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#,
    );
    let wat = r#"(module (import "counter" "next" (func $next (result i32)))
        (global $n (mut i32) (i32.const 100))
        (func (export "run") (result i32) (i32.add (i32.mul (call $next) (i32.const 1000)) (global.get $n)))
        (export "again" (func $next)))"#;
    let (one, two) = (world.add("one", wat), world.add("two", wat));
    assert_eq!(world.call::<(), i32>(one, "run", ()), 1100);
    assert_eq!(world.call::<(), i32>(two, "run", ()), 2100);
    assert_eq!(world.call::<(), i32>(counter, "next", ()), 3);
    // What is exported again is the original.
    assert_eq!(world.call::<(), i32>(one, "again", ()), 4);
    assert_eq!(world.store.export(one, "again"), world.store.export(counter, "next"));
    let three = world.add(
        "three",
        r#"(module (import "two" "again" (func $f (result i32))) (func (export "run") (result i32) (call $f)))"#,
    );
    assert_eq!(world.call::<(), i32>(three, "run", ()), 5);
}

#[test]
fn host_functions_are_exported_again() {
    let mut world = World::new();
    let one = world.add("one", r#"(module (import "host" "log" (func $log (param i32))) (export "log" (func $log)))"#);
    let two = world.add(
        "two",
        r#"(module (import "one" "log" (func $log (param i32))) (func (export "run") (call $log (i32.const 5))))"#,
    );
    world.call::<i32, ()>(one, "log", 4);
    world.call::<(), ()>(two, "run", ());
    assert_eq!(world.store.data(), &[4, 5]);
}

#[test]
fn traps_cross_instances_with_all_their_frames() {
    let mut world = World::new();
    world.add("one", r#"(module (func $bad (export "bad") (unreachable)))"#);
    let two = world.add("two", r#"(module (import "one" "bad" (func $bad)) (func $run (export "run") (call $bad)))"#);
    let run = world.typed::<(), ()>(two, "run");
    let error = run.call(&mut world.store, ()).unwrap_err();
    let names = error.trap().unwrap().frames().iter().map(|frame| frame.function_name.clone()).collect::<Vec<_>>();
    assert_eq!(names, ["bad", "run"]);
}

#[test]
fn memories_are_shared_and_grow_for_all() {
    let mut world = World::new();
    let owner = world.add(
        "owner",
        r#"(module (memory (export "m") 1 5)
            (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "size") (result i32) (memory.size)))"#,
    );
    let user = world.add(
        "user",
        r#"(module (import "owner" "m" (memory 1 5)) (data (i32.const 10) "\2a") (data $d "hello")
            (func (export "set") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
            (func (export "size") (result i32) (memory.size))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "bulk")
                (memory.fill (i32.const 20) (i32.const 7) (i32.const 4))
                (memory.copy (i32.const 22) (i32.const 20) (i32.const 4))
                (memory.init $d (i32.const 30) (i32.const 1) (i32.const 3)))
            (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 1) (local.get 1)))
            (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
            (func (export "init") (param i32 i32 i32) (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
            (func (export "drop") (data.drop $d))
            (export "m" (memory 0)))"#,
    );
    assert_eq!(world.store.export(user, "m"), world.store.export(owner, "m"));
    assert_eq!(world.call::<i32, i32>(owner, "get", 10), 42);
    world.call::<(i32, i32), ()>(user, "set", (65535, 9));
    assert_eq!(world.call::<i32, i32>(owner, "get", 65535), 9);
    assert_eq!(world.trap::<(i32, i32), ()>(user, "set", (65536, 9)), TrapCode::MemoryOutOfBounds);
    assert_eq!(world.call::<i32, i32>(user, "grow", 2), 1);
    assert_eq!((world.call::<(), i32>(user, "size", ()), world.call::<(), i32>(owner, "size", ())), (3, 3));
    world.call::<(i32, i32), ()>(user, "set", (65536, 9));
    assert_eq!(world.call::<i32, i32>(owner, "get", 65536), 9);
    assert_eq!(world.call::<i32, i32>(user, "grow", 3), -1);
    world.call::<(), ()>(user, "bulk", ());
    let memory = world.store.export(owner, "m").and_then(Extern::memory).unwrap();
    assert_eq!(memory.read_vec(&world.store, 19, 8).unwrap(), [0, 7, 7, 7, 7, 7, 7, 0]);
    assert_eq!(memory.read_vec(&world.store, 29, 5).unwrap(), b"\0ell\0");
    let end = 3 * 65536;
    for (name, params) in [("copy", (end - 1, 0, 2)), ("copy", (0, end - 1, 2)), ("copy", (-1, 0, 1))] {
        assert_eq!(world.trap::<(i32, i32, i32), ()>(user, name, params), TrapCode::MemoryOutOfBounds);
    }
    for params in [(end - 1, 0, 2), (0, 4, 2), (0, -1, 1), (0, 0, -1)] {
        assert_eq!(world.trap::<(i32, i32, i32), ()>(user, "init", params), TrapCode::MemoryOutOfBounds);
    }
    assert_eq!(world.trap::<(i32, i32), ()>(user, "fill", (end - 1, 2)), TrapCode::MemoryOutOfBounds);
    assert_eq!(memory.read_u8(&world.store, end as u64 - 1).unwrap(), 0);
    world.call::<(), ()>(user, "drop", ());
    assert_eq!(world.trap::<(i32, i32, i32), ()>(user, "init", (0, 0, 1)), TrapCode::MemoryOutOfBounds);
    world.call::<(i32, i32, i32), ()>(user, "init", (0, 0, 0));
}

#[test]
fn globals_are_shared() {
    let mut world = World::new();
    let owner = world.add(
        "owner",
        r#"(module (global (export "n") (mut i64) (i64.const 5)) (global (export "c") i32 (i32.const 8))
            (global (export "v") (mut v128) (v128.const i64x2 1 2))
            (func $f (export "f") (result i32) (i32.const 42))
            (global $g (export "func") (mut funcref) (ref.func $f))
            (global (export "extern") (mut externref) (ref.null extern))
            (func (export "call") (result i32) (table.set (i32.const 0) (global.get $g))
                (call_indirect (result i32) (i32.const 0)))
            (table 1 funcref))"#,
    );
    let user = world.add(
        "user",
        r#"(module (import "owner" "n" (global $n (mut i64))) (import "owner" "c" (global $c i32))
            (import "owner" "func" (global $func (mut funcref)))
            (import "owner" "extern" (global $extern (mut externref)))
            (import "owner" "v" (global $v (mut v128)))
            (global $d (export "d") i32 (global.get $c))
            (memory (export "m") 1) (data (offset (global.get $c)) "x")
            (func $mine (result i32) (i32.const 43)) (elem declare func $mine)
            (table 1 funcref)
            (func (export "add") (global.set $n (i64.add (global.get $n) (i64.const 1))))
            (func (export "vector") (result v128)
                (global.set $v (i64x2.add (global.get $v) (global.get $v))) (global.get $v))
            (func (export "call") (result i32) (table.set (i32.const 0) (global.get $func))
                (call_indirect (result i32) (i32.const 0)))
            (func (export "give") (global.set $func (ref.func $mine)))
            (func (export "keep") (param externref) (global.set $extern (local.get 0))))"#,
    );
    world.call::<(), ()>(user, "add", ());
    let global =
        |world: &World, name| world.store.export(owner, name).and_then(Extern::global).unwrap().get(&world.store);
    assert_eq!(global(&world, "n"), Val::I64(6));
    assert_eq!(world.call::<(), u128>(user, "vector", ()), 4 << 64 | 2);
    assert_eq!(global(&world, "v"), Val::V128(4 << 64 | 2));
    let memory = world.store.export(user, "m").and_then(Extern::memory).unwrap();
    assert_eq!(memory.read_u8(&world.store, 8).unwrap(), b'x');
    // A function goes one way, and another the other way.
    assert_eq!(world.call::<(), i32>(user, "call", ()), 42);
    world.call::<(), ()>(user, "give", ());
    assert_eq!(world.call::<(), i32>(owner, "call", ()), 43);
    assert_eq!(world.call::<(), i32>(user, "call", ()), 43);
    let reference = ExternRef::new(1);
    world.call::<Option<ExternRef>, ()>(user, "keep", Some(reference.clone()));
    assert_eq!(global(&world, "extern"), Val::ExternRef(Some(reference)));
}

const TABLES: &str = r#"(module
    (import "owner" "t" (table $t 2 10 funcref))
    (type $int (func (result i32)))
    (table $own 4 funcref)
    (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
    (func $long (result i64) (i64.const 3))
    (elem (table $t) (i32.const 1) func $one)
    (elem $e func $one $two $long)
    (func (export "call") (param i32) (result i32) (call_indirect $t (type $int) (local.get 0)))
    (func (export "call_own") (param i32) (result i32) (call_indirect $own (type $int) (local.get 0)))
    (func (export "set") (param i32 funcref) (table.set $t (local.get 0) (local.get 1)))
    (func (export "get") (param i32) (result funcref) (table.get $t (local.get 0)))
    (func (export "size") (result i32) (table.size $t))
    (func (export "grow") (param i32) (result i32) (table.grow $t (ref.func $two) (local.get 0)))
    (func (export "fill") (param i32 i32) (table.fill $t (local.get 0) (ref.func $two) (local.get 1)))
    (func (export "init") (param i32 i32 i32) (table.init $t $e (local.get 0) (local.get 1) (local.get 2)))
    (func (export "in") (param i32 i32 i32) (table.copy $own $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "out") (param i32 i32 i32) (table.copy $t $own (local.get 0) (local.get 1) (local.get 2)))
    (func (export "within") (param i32 i32 i32) (table.copy $t $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "drop") (elem.drop $e)))"#;

#[test]
fn tables_are_shared_and_translate() {
    let mut world = World::new();
    let owner = world.add(
        "owner",
        r#"(module (table $t (export "t") 2 10 funcref)
            (func $zero (export "zero") (result i32) (i32.const 0)) (elem (i32.const 0) $zero)
            (func (export "call") (param i32) (result i32) (call_indirect $t (result i32) (local.get 0))))"#,
    );
    let user = world.add("user", TABLES);
    type Triple = (i32, i32, i32);
    for instance in [owner, user] {
        assert_eq!(world.call::<i32, i32>(instance, "call", 0), 0);
        assert_eq!(world.call::<i32, i32>(instance, "call", 1), 1);
        assert_eq!(world.trap::<i32, i32>(instance, "call", 2), TrapCode::UndefinedElement);
    }
    assert_eq!(world.call::<i32, i32>(user, "grow", 4), 2);
    assert_eq!(world.call::<(), i32>(user, "size", ()), 6);
    assert_eq!(world.call::<i32, i32>(user, "grow", 5), -1);
    assert_eq!(world.call::<i32, i32>(owner, "call", 5), 2);
    world.call::<Triple, ()>(user, "init", (2, 0, 3));
    assert_eq!(world.call::<i32, i32>(owner, "call", 2), 1);
    assert_eq!(world.trap::<i32, i32>(owner, "call", 4), TrapCode::IndirectCallTypeMismatch);
    assert_eq!(world.trap::<i32, i32>(user, "call", 4), TrapCode::IndirectCallTypeMismatch);
    world.call::<Triple, ()>(user, "in", (0, 0, 4));
    for (at, result) in (0..4).zip([0, 1, 1, 2]) {
        assert_eq!(world.call::<i32, i32>(user, "call_own", at), result);
    }
    world.call::<Triple, ()>(user, "out", (2, 0, 4));
    for (at, result) in (0..6).zip([0, 1, 0, 1, 1, 2]) {
        assert_eq!(world.call::<i32, i32>(owner, "call", at), result);
    }
    world.call::<Triple, ()>(user, "within", (1, 0, 3));
    for (at, result) in (0..6).zip([0, 0, 1, 0, 1, 2]) {
        assert_eq!(world.call::<i32, i32>(user, "call", at), result);
    }
    world.call::<(i32, i32), ()>(user, "fill", (0, 1));
    assert_eq!(world.call::<i32, i32>(owner, "call", 0), 2);
    world.call::<(i32, Option<Func>), ()>(user, "set", (0, None));
    assert_eq!(world.trap::<i32, i32>(owner, "call", 0), TrapCode::UninitializedElement);
    assert_eq!(world.trap::<i32, i32>(user, "call", 0), TrapCode::UninitializedElement);
    for (name, params) in
        [("init", (4, 0, 3)), ("init", (0, 1, 3)), ("in", (1, 0, 4)), ("out", (3, 0, 4)), ("within", (0, -1, 1))]
    {
        assert_eq!(world.trap::<Triple, ()>(user, name, params), TrapCode::TableOutOfBounds, "{name}");
    }
    assert_eq!(world.trap::<(i32, i32), ()>(user, "fill", (6, 1)), TrapCode::TableOutOfBounds);
    assert_eq!(world.trap::<(i32, Option<Func>), ()>(user, "set", (6, None)), TrapCode::TableOutOfBounds);
    assert_eq!(world.trap::<i32, Option<Func>>(user, "get", -1), TrapCode::TableOutOfBounds);
    world.call::<(), ()>(user, "drop", ());
    assert_eq!(world.trap::<Triple, ()>(user, "init", (0, 0, 1)), TrapCode::TableOutOfBounds);

    // The same function is the same for the host, whichever way it came.
    let zero = world.store.export(owner, "zero").and_then(Extern::func).unwrap();
    world.call::<(i32, Option<Func>), ()>(user, "set", (3, Some(zero)));
    assert_eq!(world.call::<i32, Option<Func>>(user, "get", 3), Some(zero));
    let table = world.store.export(owner, "t").and_then(Extern::table).unwrap();
    assert_eq!(table.get(&world.store, 3), Some(Val::FuncRef(Some(zero))));
    let Some(Val::FuncRef(Some(one))) = table.get(&world.store, 4) else { panic!("no function") };
    assert_eq!(one.call(&mut world.store, &[]).unwrap(), [Val::I32(1)]);
}

#[test]
fn references_pass_between_instances_in_parameters() {
    let mut world = World::new();
    let apply = world.add(
        "apply",
        r#"(module (type $f (func (param i32) (result i32))) (table 1 funcref)
            (func $twice (type $f) (i32.mul (local.get 0) (i32.const 2))) (elem declare func $twice)
            (func (export "apply") (param funcref i32) (result i32 funcref)
                (table.set (i32.const 0) (local.get 0))
                (call_indirect (type $f) (local.get 1) (i32.const 0)) (ref.func $twice)))"#,
    );
    let user = world.add(
        "user",
        r#"(module (type $f (func (param i32) (result i32)))
            (import "apply" "apply" (func $apply (param funcref i32) (result i32 funcref)))
            (table $functions 1 funcref) (table $applies 1 funcref)
            (func $inc (export "inc") (type $f) (i32.add (local.get 0) (i32.const 1)))
            (elem declare func $inc $apply)
            (func $finish (param i32 funcref) (result i32)
                (table.set $functions (i32.const 0) (local.get 1))
                (call_indirect $functions (type $f) (local.get 0) (i32.const 0)))
            (func (export "run") (param i32) (result i32)
                (call $apply (ref.func $inc) (local.get 0)) (call $finish))
            (func (export "indirect") (param i32) (result i32)
                (table.set $applies (i32.const 0) (ref.func $apply))
                (call_indirect $applies (param funcref i32) (result i32 funcref)
                    (ref.func $inc) (local.get 0) (i32.const 0))
                (call $finish)))"#,
    );
    assert_eq!(world.call::<i32, i32>(user, "run", 10), 22);
    assert_eq!(world.call::<i32, i32>(user, "indirect", 10), 22);
    let inc = world.store.export(user, "inc").and_then(Extern::func).unwrap();
    let (result, twice) = world.call::<(Option<Func>, i32), (i32, Option<Func>)>(apply, "apply", (Some(inc), 5));
    assert_eq!(result, 6);
    assert_eq!(twice.unwrap().call(&mut world.store, &[Val::I32(6)]).unwrap(), [Val::I32(12)]);
}

#[test]
fn what_a_failed_instantiation_did_remains() {
    let mut world = World::new();
    let owner = world.add(
        "owner",
        r#"(module (table (export "t") 4 funcref) (memory (export "m") 1)
            (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))"#,
    );
    let error = world.try_add(
        "bad",
        r#"(module (import "owner" "t" (table 4 funcref)) (import "owner" "m" (memory 1))
            (global $n (mut i32) (i32.const 7))
            (func $f (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
            (elem (i32.const 2) $f) (data (i32.const 0) "abc") (data (i32.const 65535) "de"))"#,
    );
    let Err(InstantiateError::Start(CallError::Trap(trap))) = error else { panic!("{error:?}") };
    assert_eq!(trap.code(), TrapCode::MemoryOutOfBounds);
    // Its function lives on, and so does its state.
    assert_eq!(world.call::<i32, i32>(owner, "call", 2), 8);
    assert_eq!(world.call::<i32, i32>(owner, "call", 2), 9);
    let memory = world.store.export(owner, "m").and_then(Extern::memory).unwrap();
    assert_eq!(memory.read_vec(&world.store, 0, 3).unwrap(), b"abc");
    assert_eq!(memory.read_u8(&world.store, 65535).unwrap(), 0);
}

#[test]
fn what_does_not_match_is_refused() {
    let mut world = World::new();
    world.add(
        "a",
        r#"(module (func (export "f") (param i32)) (table (export "t") 2 5 funcref)
            (table (export "unbounded") 2 funcref)
            (memory (export "m") 1 4) (global (export "g") i32 (i32.const 1))
            (global (export "mut") (mut i32) (i32.const 1))
            (table (export "e") 2 5 externref))"#,
    );
    for (name, ty) in [
        ("f", "func (param i32)"),
        ("t", "table 2 5 funcref"),
        ("t", "table 0 6 funcref"),
        ("t", "table 1 funcref"),
        ("unbounded", "table 2 funcref"),
        ("m", "memory 1 4"),
        ("m", "memory 0"),
        ("g", "global i32"),
        ("mut", "global (mut i32)"),
    ] {
        let wat = format!(r#"(module (import "a" "{name}" ({ty})))"#);
        world.add("user", &wat);
    }
    for (name, ty) in [
        ("f", "func"),
        ("f", "func (param i64)"),
        ("f", "func (param i32) (result i32)"),
        ("f", "memory 1"),
        ("t", "table 3 funcref"),
        ("t", "table 2 4 funcref"),
        ("t", "table 2 5 externref"),
        ("unbounded", "table 2 9 funcref"),
        ("e", "table 2 5 funcref"),
        ("t", "func"),
        ("m", "memory 2"),
        ("m", "memory 1 3"),
        ("m", "table 1 funcref"),
        ("m", "global i32"),
        ("g", "global i64"),
        ("g", "global (mut i32)"),
        ("mut", "global i32"),
        ("g", "func"),
        ("nothing", "func"),
    ] {
        let wat = format!(r#"(module (import "a" "{name}" ({ty})))"#);
        let error = world.refusal(&wat);
        assert!(error.contains(&format!(r#""a" "{name}""#)), "{wat}: {error}");
    }
    let error = world.refusal(r#"(module (import "a" "m" (memory 2)))"#);
    assert_eq!(error, r#"incompatible import type: "a" "m" is memory 1..4, and memory 2.. is wanted"#);
    // The size that counts is the current one.
    let memory = world.linker.bind(&artifact(r#"(module (import "a" "m" (memory $m 1)) (export "m" (memory $m)))"#));
    let id = memory.unwrap().instantiate_in(&mut world.store).unwrap();
    let memory = world.store.export(id, "m").and_then(Extern::memory).unwrap();
    memory.grow(&mut world.store, 1).unwrap();
    world.add("user", r#"(module (import "a" "m" (memory 2)))"#);
    let ExternType::Memory(ty) = Extern::Memory(memory).ty(&world.store) else { panic!("no memory") };
    assert_eq!((ty.min, ty.max), (2, Some(4)));
}

#[test]
fn things_of_another_store_are_refused() {
    let mut one = World::new();
    one.add("a", r#"(module (func (export "f")) (memory (export "m") 1))"#);
    for kind in [r#""f" (func)"#, r#""m" (memory 1)"#] {
        let bound = one.linker.bind(&artifact(&format!(r#"(module (import "a" {kind}))"#))).unwrap();
        let error = bound.instantiate(vec![]).unwrap_err();
        assert!(matches!(error, InstantiateError::Store { .. }), "{error}");
    }
    let two = World::new();
    let missing = two.linker.bind(&artifact(r#"(module (import "a" "f" (func)))"#)).unwrap_err();
    assert!(matches!(missing, BindError::Missing { .. }));
}
