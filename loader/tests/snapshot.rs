//! Instances that start from a snapshot: they do what an instance does that was just initialised, on any target; and what
//! cannot be part of one is refused.

mod common;

use common::{artifact, component};
use precast_abi::meta::{FunctionKind, Meta};
use precast_abi::snapshot::Snapshot;
use precast_abi::{MAGIC, funcref};
use precast_compiler::{Error, Options, compile, compile_snapshot};
use precast_loader::component::{self as components, ResourceAny};
use precast_loader::{
    Artifact, Caller, CheckpointError, Extern, ExternRef, Instance, InstantiateError, Limits, Linker, SnapshotError,
    Store, Val,
};
use precast_targets::Arch;

/// Calls the export `name`, which takes nothing; what it returns, or how it traps.
fn call<T>(instance: &mut Instance<T>, name: &str) -> String {
    let func = instance.func_dynamic(name).expect("exported");
    match func.call(instance, &[]) {
        Ok(values) => format!("{values:?}"),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// An instance whose `init` was called, and what it left behind.
fn initialised(wat: &str, linker: &Linker<()>) -> (Instance<()>, Snapshot) {
    let mut instance = linker.bind(&artifact(wat)).expect("binds").instantiate(()).expect("instantiates");
    assert_eq!(call(&mut instance, "init"), "[]");
    let snapshot = instance.snapshot().expect("nothing of it is somebody else's");
    (instance, snapshot)
}

/// Checks that instances started from what `init` leaves behind are as one in which it was called: what they return of
/// `observed`, called in order, and that one after the other is the same.
fn starts_initialised(wat: &str, linker: &Linker<()>, observed: &[&str]) -> Artifact {
    let (mut called, snapshot) = initialised(wat, linker);
    let expected: Vec<_> = observed.iter().map(|name| call(&mut called, name)).collect();
    let compile =
        |snapshot| compile_snapshot(wat.as_bytes(), &Options::default(), snapshot, &["init"]).expect("compiles");
    let bytes = compile(&snapshot);
    assert!(bytes == compile(&initialised(wat, linker).1), "the same state gives the same bytes");

    let artifact = Artifact::open_bytes(&bytes).expect("opens");
    let bound = linker.bind(&artifact).expect("binds");
    let (fresh, _) = artifact.slot_hashes().expect("maps");
    for _ in 0..20 {
        let mut instance = bound.instantiate(()).expect("instantiates");
        assert!(instance.export("init").is_none(), "it is spent");
        assert_eq!(instance.snapshot().as_ref(), Ok(&snapshot));
        for (name, expected) in observed.iter().zip(&expected) {
            assert_eq!(call(&mut instance, name), *expected, "{name}");
        }
        drop(instance);
        assert_eq!(artifact.idle_hashes(), [fresh]);
    }
    artifact
}

#[test]
fn memories_keep_what_was_written_and_their_size() {
    let artifact = starts_initialised(
        r#"(module
            (memory (export "memory") 1 6)
            (data (i32.const 8) "initial")
            (data $late "late")
            (func $start (i32.store (i32.const 0) (i32.const 41)))
            (start $start)
            (func (export "init")
                (drop (memory.grow (i32.const 3)))
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                (i64.store (i32.const 8) (i64.const 0))
                (memory.fill (i32.const 200000) (i32.const 7) (i32.const 5000)))
            (func (export "size") (result i32) (memory.size))
            (func (export "sum") (result i32)
                (i32.add (i32.load (i32.const 0)) (i32.add (i32.load (i32.const 8)) (i32.load (i32.const 204996)))))
            (func (export "end") (result i32) (i32.load (i32.const 262140)))
            (func (export "beyond") (result i32) (i32.load (i32.const 262144)))
            (func (export "grow") (result i32) (memory.grow (i32.const 2)))
            (func (export "grown") (result i32) (i32.load (i32.const 262144)))
            (func (export "too much") (result i32) (memory.grow (i32.const 1))))"#,
        &Linker::new(),
        &["size", "sum", "end", "beyond", "grow", "grown", "too much"],
    );
    let memory = artifact.exports().find(|export| export.name == "memory").expect("exported");
    assert!(format!("{:?}", memory.ty).contains("min: 4"), "{:?}: its size is what it starts with", memory.ty);
}

#[test]
fn grown_tables_keep_their_elements() {
    starts_initialised(
        r#"(module
            (type $get (func (result i32)))
            (table $t (export "table") 2 20 funcref)
            (table $externs 1 9 externref)
            (elem (i32.const 0) $one)
            (elem declare func $two $three)
            (func $one (type $get) (i32.const 1))
            (func $two (type $get) (i32.const 2))
            (func $three (type $get) (i32.const 3))
            (func (export "init")
                (drop (table.grow $t (ref.func $two) (i32.const 10)))
                (drop (table.grow $externs (ref.null extern) (i32.const 4)))
                (table.set $t (i32.const 0) (ref.null func))
                (table.set $t (i32.const 1) (ref.func $three)))
            (func (export "sizes") (result i32 i32) (table.size $t) (table.size $externs))
            (func (export "0") (result i32) (call_indirect $t (type $get) (i32.const 0)))
            (func (export "1") (result i32) (call_indirect $t (type $get) (i32.const 1)))
            (func (export "11") (result i32) (call_indirect $t (type $get) (i32.const 11)))
            (func (export "12") (result i32) (call_indirect $t (type $get) (i32.const 12)))
            (func (export "grow") (result i32) (table.grow $t (ref.func $one) (i32.const 8)))
            (func (export "19") (result i32) (call_indirect $t (type $get) (i32.const 19)))
            (func (export "too much") (result i32) (table.grow $t (ref.null func) (i32.const 1))))"#,
        &Linker::new(),
        &["sizes", "0", "1", "11", "12", "grow", "19", "too much"],
    );
}

#[test]
fn globals_keep_values_and_references() {
    starts_initialised(
        r#"(module
            (type $get (func (result i32)))
            (global $i (mut i32) (i32.const -1)) (global $l (mut i64) (i64.const 1))
            (global $f (mut f32) (f32.const 0)) (global $d (mut f64) (f64.const 0))
            (global $v (mut v128) (v128.const i64x2 0 0))
            (global $r (mut funcref) (ref.null func)) (global $s (mut funcref) (ref.func $one))
            (table $t 1 funcref)
            (elem declare func $two)
            (func $one (type $get) (i32.const 1))
            (func $two (type $get) (i32.const 2))
            (func (export "init")
                (global.set $i (i32.const -7)) (global.set $l (i64.const 0x123456789abcdef0))
                (global.set $f (f32.const nan:0x200000)) (global.set $d (f64.const -0.5))
                (global.set $v (v128.const i64x2 0x1111111111111111 -2))
                (global.set $r (ref.func $two)) (global.set $s (ref.null func)))
            (func (export "numbers") (result i32 i64 f32 f64) (global.get $i) (global.get $l) (global.get $f) (global.get $d))
            (func (export "vector") (result v128) (global.get $v))
            (func (export "null") (result i32) (ref.is_null (global.get $s)))
            (func (export "called") (result i32)
                (table.set $t (i32.const 0) (global.get $r))
                (call_indirect $t (type $get) (i32.const 0))))"#,
        &Linker::new(),
        &["numbers", "vector", "null", "called"],
    );
}

#[test]
fn dropped_segments_stay_dropped() {
    let wat = r#"(module
            (memory 1) (table $t 8 funcref)
            (data $gone "a segment that is nowhere any more") (data $kept "kept")
            (elem $away func $f $f) (elem $there func $f)
            (func $f)
            (func (export "init")
                (memory.init $gone (i32.const 0) (i32.const 0) (i32.const 4)) (data.drop $gone) (elem.drop $away))
            (func (export "gone") (memory.init $gone (i32.const 0) (i32.const 0) (i32.const 1)))
            (func (export "none") (memory.init $gone (i32.const 0) (i32.const 0) (i32.const 0)))
            (func (export "kept") (result i32)
                (memory.init $kept (i32.const 4) (i32.const 0) (i32.const 4))
                (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 4))))
            (func (export "away") (table.init $t $away (i32.const 0) (i32.const 0) (i32.const 1)))
            (func (export "there") (table.init $t $there (i32.const 0) (i32.const 0) (i32.const 1))))"#;
    starts_initialised(wat, &Linker::new(), &["gone", "none", "kept", "away", "there"]);
    let (_, snapshot) = initialised(wat, &Linker::new());
    let bytes = compile_snapshot(wat.as_bytes(), &Options::default(), &snapshot, &[]).expect("compiles");
    let contains = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(contains(b"kept") && !contains(b"nowhere any more"), "what was dropped takes no room");
}

#[test]
fn references_to_imports_call_the_host() {
    let mut linker = Linker::new();
    linker.func("host", "seven", |_: &mut Caller<'_, ()>| 7i32).func("host", "eight", |_: &mut Caller<'_, ()>| 8i32);
    starts_initialised(
        r#"(module
            (type $get (func (result i32)))
            (import "host" "seven" (func $seven (type $get)))
            (import "host" "eight" (func $eight (type $get)))
            (table $t 2 funcref)
            (elem declare func $seven $eight)
            (func (export "init")
                (table.set $t (i32.const 0) (ref.func $eight)) (table.set $t (i32.const 1) (ref.func $seven)))
            (func (export "both") (result i32 i32)
                (call_indirect $t (type $get) (i32.const 0)) (call_indirect $t (type $get) (i32.const 1))))"#,
        &linker,
        &["both"],
    );
}

/// A component that makes resources in one of its instances and keeps handles of them in another.
const RESOURCES: &str = r#"(component
    (component $maker
        (core module $m
            (global $dropped (mut i32) (i32.const 0))
            (func (export "drop") (param i32) (global.set $dropped (i32.add (global.get $dropped) (local.get 0))))
            (func (export "dropped") (result i32) (global.get $dropped))
            (func (export "rep") (param i32) (result i32) (local.get 0)))
        (core instance $i (instantiate $m))
        (type $r (resource (rep i32) (dtor (func $i "drop"))))
        (core func $new (canon resource.new $r))
        (export $r' "r" (type $r))
        (func (export "make") (param "rep" u32) (result (own $r')) (canon lift (core func $new)))
        (func (export "rep") (param "r" (borrow $r')) (result u32) (canon lift (core func $i "rep")))
        (func (export "dropped") (result u32) (canon lift (core func $i "dropped"))))
    (instance $maker (instantiate $maker))
    (component $user
        (import "maker" (instance $maker
            (export "r" (type $r (sub resource)))
            (export "make" (func (param "rep" u32) (result (own $r))))
            (export "rep" (func (param "r" (borrow $r)) (result u32)))))
        (alias export $maker "r" (type $r))
        (core func $make (canon lower (func $maker "make")))
        (core func $rep (canon lower (func $maker "rep")))
        (core func $drop (canon resource.drop $r))
        (core module $m
            (import "" "make" (func $make (param i32) (result i32)))
            (import "" "rep" (func $rep (param i32) (result i32)))
            (import "" "drop" (func $drop (param i32)))
            (global $kept (mut i32) (i32.const 0))
            (func (export "init")
                (drop (call $make (i32.const 5)))
                (global.set $kept (call $make (i32.const 70)))
                (call $drop (i32.const 1))
                (drop (call $make (i32.const 6))) (drop (call $make (i32.const 600)))
                (call $drop (i32.const 1)))
            (func (export "look") (result i32) (call $rep (global.get $kept)))
            (func (export "make") (result i32) (call $make (i32.const 8)))
            (func (export "end") (call $drop (global.get $kept))))
        (core instance $i (instantiate $m (with "" (instance
            (export "make" (func $make)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
        (func (export "init") (canon lift (core func $i "init")))
        (func (export "look") (result u32) (canon lift (core func $i "look")))
        (func (export "make") (result u32) (canon lift (core func $i "make")))
        (func (export "end") (canon lift (core func $i "end"))))
    (instance $user (instantiate $user (with "maker" (instance $maker))))
    (export "init" (func $user "init")) (export "look" (func $user "look"))
    (export "make" (func $user "make")) (export "end" (func $user "end"))
    (export "dropped" (func $maker "dropped")))"#;

#[test]
fn live_resources_of_a_component_stay_alive() {
    let linker = components::Linker::new();
    let observe = |instance: &mut components::Instance<()>| {
        ["look", "dropped", "make", "make", "end", "dropped", "look"].map(|name| {
            let result = instance.func_dynamic("", name).expect("exported").call(instance, &[]);
            result.map_or_else(
                |error| error.to_string().lines().next().map(str::to_owned),
                |value| Some(format!("{value:?}")),
            )
        })
    };
    let mut called = linker.bind(&artifact(RESOURCES)).expect("binds").instantiate(()).expect("instantiates");
    let init = called.func::<(), ()>("", "init").expect("exported");
    init.call(&mut called, ()).expect("returns");
    let snapshot = called.snapshot().expect("nothing of it is somebody else's");
    let expected = observe(&mut called);
    assert_eq!(expected[..2], [Some("Some(U32(70))".to_owned()), Some("Some(U32(11))".to_owned())]);

    let bytes = compile_snapshot(RESOURCES.as_bytes(), &Options::default(), &snapshot, &[]).expect("compiles");
    let started = linker.bind(&Artifact::open_bytes(&bytes).expect("opens")).expect("binds");
    for _ in 0..3 {
        assert_eq!(observe(&mut started.instantiate(()).expect("instantiates")), expected);
    }
}

#[test]
fn what_is_somebody_elses_is_refused_by_name() {
    let wat = r#"(module
        (table $t 3 externref) (global $g (mut externref) (ref.null extern))
        (func (export "table") (param externref) (table.set $t (i32.const 2) (local.get 0)))
        (func (export "global") (param externref) (global.set $g (local.get 0)))
        (func (export "trap") unreachable))"#;
    let bound = Linker::new().bind(&artifact(wat)).expect("binds");
    let refusal = |name: &str, params: &[Val]| {
        let mut instance = bound.instantiate(()).expect("instantiates");
        let func = instance.func_dynamic(name).expect("exported");
        _ = func.call(&mut instance, params);
        instance.snapshot().expect_err("refused").to_string()
    };
    let host = [Val::ExternRef(Some(ExternRef::new(1)))];
    assert_eq!(refusal("table", &host), "element 2 of table 0 is a reference to something of the host's");
    assert_eq!(refusal("global", &host), "global 0 is a reference to something of the host's");
    assert!(refusal("trap", &[]).contains("not between two calls"));
}

#[test]
fn what_belongs_to_another_instance_is_refused() {
    let owner = artifact(r#"(module (memory (export "m") 1) (func (export "f")))"#);
    let mut store = Store::new(());
    let owner = Linker::new().bind(&owner).expect("binds").instantiate_in(&mut store).expect("instantiates");
    let mut linker = Linker::new();
    linker.define_instance("o", &store, owner);
    let mut user =
        |wat: &str| linker.bind(&artifact(wat)).expect("binds").instantiate_in(&mut store).expect("instantiates");
    let of_memory = user(r#"(module (import "o" "m" (memory 1)))"#);
    // An import is named as such, whoever provides it.
    let of_function =
        user(r#"(module (import "o" "f" (func $f)) (table (export "t") 2 funcref) (elem (i32.const 0) $f))"#);
    assert_eq!(store.snapshot(of_memory), Err(SnapshotError::Imported { kind: "memory", index: 0 }));
    assert!(store.snapshot(of_function).is_ok());
    let (Some(Extern::Table(table)), Some(Extern::Func(func))) =
        (store.export(of_function, "t"), store.export(owner, "f"))
    else {
        unreachable!("both are exported");
    };
    table.set(&mut store, 1, Val::FuncRef(Some(func))).expect("it has room");
    let place = "element 1 of table 0".to_owned();
    assert_eq!(store.snapshot(of_function), Err(SnapshotError::ForeignFunction { place }));
}

#[test]
fn a_hosts_resource_is_refused_by_name_and_so_is_one_that_the_host_holds() {
    let artifact = component(
        r#"
        (import "test:host/things" (instance $things
            (export "thing" (type $thing (sub resource)))
            (export "get" (func (result (own $thing))))))
        (core func $get (canon lower (func $things "get")))
        (core module $m
            (import "" "get" (func $get (result i32)))
            (func (export "init") (drop (call $get))))
        (core instance $i (instantiate $m (with "" (instance (export "get" (func $get))))))
        (func (export "init") (canon lift (core func $i "init")))
        (type $own (resource (rep i32)))
        (core func $new (canon resource.new $own))
        (export $own' "own" (type $own))
        (func (export "make") (param "rep" u32) (result (own $own')) (canon lift (core func $new)))"#,
    );
    struct Thing;
    let mut linker = components::Linker::new();
    linker.resource::<Thing>("test:host/things", "thing", |_, _| Ok(()));
    linker.func("test:host/things", "get", |_, ()| Ok(components::Resource::<Thing>::new_own(3)));
    let bound = linker.bind(&artifact).expect("binds");

    let mut instance = bound.instantiate(()).expect("instantiates");
    instance.func::<(), ()>("", "init").expect("exported").call(&mut instance, ()).expect("returns");
    let name = "test:host/things#thing".to_owned();
    assert_eq!(instance.snapshot(), Err(SnapshotError::HostResources { handles: vec![(1, name)] }));

    let mut instance = bound.instantiate(()).expect("instantiates");
    let make = instance.func::<(u32,), ResourceAny>("", "make").expect("exported");
    let held = make.call(&mut instance, (4,)).expect("returns");
    assert_eq!(instance.snapshot(), Err(SnapshotError::Held));
    held.drop(&mut instance).expect("there is no destructor");
    assert!(instance.snapshot().is_ok());
}

#[test]
fn a_snapshot_of_another_program_is_refused() {
    let (_, snapshot) = initialised(r#"(module (table 1 funcref) (func (export "init")))"#, &Linker::new());
    let compile = |wat: &str| compile_snapshot(wat.as_bytes(), &Options::default(), &snapshot, &[]);
    assert!(compile("(module (table 1 9 funcref))").is_ok());
    for (wat, part) in [
        ("(module)", "the tables"),
        ("(module (table 2 funcref))", "the tables"),
        ("(module (table 1 funcref) (memory 1))", "the memories"),
        ("(module (table 1 funcref) (global i32 (i32.const 1)))", "the globals"),
        ("(module (table 1 funcref) (data \"\"))", "the data segments"),
        ("(module (table 1 funcref) (elem declare funcref))", "the element segments"),
        ("(component)", "the tables"),
    ] {
        assert_eq!(compile(wat), Err(Error::Snapshot(part.into())), "{wat}");
    }
}

/// The tables of an artifact, without looking at its ELF headers.
fn meta(bytes: &[u8]) -> Meta<'_> {
    let at = bytes.windows(8).position(|window| window == MAGIC).expect("an artifact");
    Meta::parse(&bytes[at..]).expect("its tables")
}

#[test]
fn another_target_has_its_own_offsets() {
    let wat = r#"(module
        (import "host" "f" (func $imported))
        (table $t (export "t") 1 9 funcref)
        (global $g (export "g") (mut funcref) (ref.null func))
        (memory 1)
        (elem declare func $b $a $imported)
        (func $a (export "a") (result i64) (i64.div_u (i64.const 9) (i64.load (i32.const 9))))
        (func $b (export "b"))
        (func (export "init")
            (drop (memory.grow (i32.const 1)))
            (i32.store (i32.const 100000) (i32.const 0x12345678))
            (drop (table.grow $t (ref.func $a) (i32.const 1)))
            (drop (table.grow $t (ref.func $imported) (i32.const 1)))
            (global.set $g (ref.func $b))))"#;
    let mut linker = Linker::new();
    linker.func("host", "f", |_: &mut Caller<'_, ()>| ());
    let (_, snapshot) = initialised(wat, &linker);
    let mut offsets = Vec::new();
    for arch in Arch::ALL {
        let options = Options { arch, features: arch.levels()[0].features, ..Options::default() };
        let bytes = compile_snapshot(wat.as_bytes(), &options, &snapshot, &["init"]).expect("compiles");
        let meta = meta(&bytes);
        // What the slot starts with at an offset from the base.
        let word = |offset: i64| {
            let at = meta.header.layout.base_offset.wrapping_add_signed(offset);
            let run = meta.runs.iter().find(|run| (run.slot_offset..run.slot_offset + run.len).contains(&at));
            let run = run.expect("it is not zero");
            let at = (at - run.slot_offset + run.file_offset) as usize;
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
        };
        let (table, memory) = (meta.tables.get(0).expect("a table"), meta.memories.get(0).expect("a memory"));
        assert_eq!((table.min, word(table.size_word)), (3, 3));
        assert_eq!((memory.min, word(memory.size_word)), (2, 2 << 16));
        assert_eq!(word(100_000) as u32, 0x1234_5678);
        let export = |name: &str| meta.export(name).map(|row| funcref::pack(row.ty, row.text_offset));
        assert_eq!(Some(word(table.elements + 8)), export("a"), "{}", arch.triple());
        let global = meta.globals.get(0).expect("a global");
        assert_eq!(Some(word(global.cell)), export("b"), "{}", arch.triple());
        let stub = meta.functions.iter().find(|row| row.kind == FunctionKind::ImportStub as u32).expect("a stub");
        assert_eq!(funcref::payload(word(table.elements + 16)), stub.start);
        offsets.push(word(global.cell));
        assert_eq!(compile(wat.as_bytes(), &options).map(|plain| plain == bytes), Ok(false));
    }
    assert!(offsets.windows(2).all(|pair| pair[0] != pair[1]), "{offsets:?}: or nothing was tested");
}

/// Memory, tables, globals and segments, all of which `change` changes.
const CHANGING: &str = r#"(module
    (type $get (func (result i32)))
    (import "host" "seven" (func $seven (type $get)))
    (memory (export "memory") 1 9) (table $t (export "table") 1 9 funcref) (global $g (mut i32) (i32.const 5))
    (data (i32.const 0) "\01") (data $d "\02") (elem declare func $seven)
    (func $start (i32.store8 (i32.const 1) (i32.const 9)))
    (start $start)
    (func (export "change") (result i32)
        (drop (memory.grow (i32.const 2)))
        (memory.init $d (i32.const 140000) (i32.const 0) (i32.const 1)) (data.drop $d)
        (drop (table.grow $t (ref.func $seven) (i32.const 1)))
        (global.set $g (i32.add (global.get $g) (i32.const 1)))
        (global.get $g))
    (func (export "more") (result i32)
        (global.set $g (i32.mul (global.get $g) (i32.const 3)))
        (i32.store (i32.const 70000) (global.get $g))
        (memory.grow (i32.const 1)))
    (func (export "sizes") (result i32 i32) (memory.size) (table.size $t))
    (func (export "sum") (result i32)
        (i32.add (i32.load (i32.const 0)) (i32.add (i32.load (i32.const 140000)) (global.get $g))))
    (func (export "call") (result i32) (call_indirect $t (type $get) (i32.const 1)))
    (func (export "again") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))))"#;

#[test]
fn a_checkpoint_is_what_new_instances_start_from() {
    let mut linker: Linker<()> = Linker::new();
    linker.func("host", "seven", |_: &mut Caller<'_, ()>| 7i32);
    let observed = ["sizes", "sum", "call", "again", "more", "sum"];
    let mut artifact = artifact(CHANGING);
    // The second is one of an instance that started from the first. Nobody else has the artifact before by then.
    for change in ["change", "more"] {
        let bound = linker.bind(&artifact).expect("binds");
        let mut warm = bound.instantiate(()).expect("instantiates");
        assert!(!call(&mut warm, change).contains("trap"));
        let (snapshot, checkpoint) = (warm.snapshot(), warm.checkpoint().expect("nothing of it is somebody else's"));
        let expected = observed.map(|name| call(&mut warm, name));
        drop((warm, bound));
        artifact = checkpoint;
        let bound = linker.bind(&artifact).expect("binds");
        let (fresh, _) = artifact.slot_hashes().expect("maps");
        for _ in 0..40 {
            let mut instance = bound.instantiate(()).expect("instantiates");
            assert_eq!(instance.snapshot(), snapshot);
            assert_eq!(observed.map(|name| call(&mut instance, name)), expected, "{change}");
            drop(instance);
            assert_eq!(artifact.idle_hashes(), [fresh]);
        }
    }
    let limits = Limits { memory_bytes: Some(3 << 16), ..Limits::default() };
    let small = linker.bind(&artifact).expect("binds").limits(limits).instantiate(());
    assert!(matches!(small, Err(InstantiateError::Limit(_))), "it starts with four pages");
    assert!(artifact.sizes().image > 0);
}

#[test]
fn a_checkpoint_of_a_component_has_its_resources() {
    let linker = components::Linker::new();
    let bound = linker.bind(&artifact(RESOURCES)).expect("binds");
    let mut warm = bound.instantiate(()).expect("instantiates");
    warm.func::<(), ()>("", "init").expect("exported").call(&mut warm, ()).expect("returns");
    let checkpoint = warm.checkpoint().expect("nothing of it is somebody else's");
    drop((warm, bound));
    let bound = linker.bind(&checkpoint).expect("binds");
    for _ in 0..20 {
        let mut instance = bound.instantiate(()).expect("instantiates");
        let get = |name: &str, instance: &mut components::Instance<()>| {
            instance.func::<(), u32>("", name).expect("exported").call(instance, ()).expect("returns")
        };
        assert_eq!((get("look", &mut instance), get("dropped", &mut instance)), (70, 11));
        instance.func::<(), ()>("", "end").expect("exported").call(&mut instance, ()).expect("returns");
        assert_eq!(get("dropped", &mut instance), 81);
    }
}

#[test]
fn what_is_somebody_elses_is_in_no_checkpoint_either() {
    let wat = r#"(module (global $g (mut externref) (ref.null extern))
        (func (export "set") (param externref) (global.set $g (local.get 0))))"#;
    let mut instance = Linker::new().bind(&artifact(wat)).expect("binds").instantiate(()).expect("instantiates");
    assert!(instance.checkpoint().is_ok(), "a module without memory, and nothing but zeros");
    let set = instance.func_dynamic("set").expect("exported");
    set.call(&mut instance, &[Val::ExternRef(Some(ExternRef::new(1)))]).expect("returns");
    let refused = instance.checkpoint().expect_err("refused");
    assert!(matches!(refused, CheckpointError::Snapshot(SnapshotError::HostReference { .. })), "{refused}");
}
