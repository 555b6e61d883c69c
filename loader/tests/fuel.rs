//! Fuel: what metered code uses, to the unit, and what becomes of it when that is more than it has.
#![cfg(target_arch = "x86_64")]

mod common;
#[path = "suspend/executor.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod executor;

use std::time::Duration;

use common::{artifact, artifact_with};
use executor::block_on;
use precast_compiler::{MemoryModel, OptLevel, Options};
use precast_loader::{
    Artifact, Bound, CallError, Caller, Instance, InstantiateError, Limits, Linker, MeteringError, Store, TrapCode,
};

fn options() -> Options<'static> {
    Options { fuel: true, verify: true, ..Options::default() }
}

fn metered(wat: &str) -> Artifact {
    artifact_with(wat, &options())
}

fn instance_of(artifact: &Artifact) -> Instance<()> {
    Linker::new().bind(artifact).expect("binds").instantiate(()).expect("instantiates")
}

/// More than any test uses.
const PLENTY: u64 = 1 << 40;

/// What `call` uses, whatever comes of it.
fn used<T, R>(instance: &mut Instance<T>, call: impl FnOnce(&mut Instance<T>) -> R) -> (u64, R) {
    instance.set_fuel(PLENTY).unwrap();
    let result = call(instance);
    (PLENTY - instance.fuel().unwrap(), result)
}

fn is_out(error: &CallError) -> bool {
    error.trap().is_some_and(|trap| trap.code() == TrapCode::OutOfFuel)
}

/// Functions of one parameter, and what they use when it is so much; the comments count. Entering a function is one.
const COUNTED: &str = r#"(module
    (memory 1) (table $t 4 600 funcref) (data $d "0123456789") (elem $e func $two $two) (global $g (mut i32) (i32.const 0))
    (type $unary (func (param i32) (result i32)))
    (func $two (type $unary) (i32.const 2))                                               ;; 1+1
    (func (export "empty") (type $unary) (local.get 0))                                   ;; 1+1
    (func (export "structure") (type $unary)
        (block (block nop nop) (loop nop) (drop (i32.const 1))) (local.get 0))            ;; 1+1+1
    (func (export "arithmetic") (type $unary)
        (global.set $g (i32.load (i32.const 8)))                                          ;; 3
        (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.clz (local.get 0))))          ;; 1+6
    (func (export "if") (type $unary)
        (if (result i32) (local.get 0)                                                    ;; 1+2
            (then (i32.const 1))                                                          ;; 1
            (else (i32.add (i32.const 1) (i32.const 2)))))                                ;; 3
    (func (export "one-armed") (type $unary)
        (if (local.get 0) (then (drop (i32.add (i32.const 1) (i32.const 2)))))            ;; 1+2, 3
        (local.get 0))                                                                    ;; 1
    (func (export "empty-arm") (type $unary) (if (local.get 0) (then)) (local.get 0))     ;; 1+2+1
    (func (export "switch") (type $unary)
        (block (block (block (br_table 0 1 2 (local.get 0)))                              ;; 1+2
            (return (i32.const 1)))                                                       ;; 1
            (return (i32.add (i32.const 1) (i32.const 2))))                               ;; 3
        (select (i32.const 1) (i32.const 2) (i32.const 3)))                               ;; 4
    (func (export "dead") (type $unary)
        (block (br 0) (drop (i32.const 1)) (loop (br 0))) (local.get 0))                  ;; 1+1+1
    (func (export "leave") (type $unary)
        (block (br_if 0 (local.get 0)) (drop (i32.const 1)) (drop (i32.const 1)))         ;; 1+2, 2
        (local.get 0))                                                                    ;; 1
    (func $sum (export "sum") (type $unary) (local $s i32)
        (loop $again
            (local.set $s (i32.add (local.get $s) (local.get 0)))                         ;; 4
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))           ;; 5
        (local.get $s))                                                                   ;; 1+9n+1
    (func (export "nested") (type $unary) (local $i i32)
        (loop $outer
            (local.set $i (i32.const 3))                                                  ;; 2
            (loop $inner (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))   ;; 5*3
            (br_if $outer (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))           ;; 5
        (local.get 0))                                                                    ;; 1+22n+1
    (func (export "call") (type $unary)
        (i32.add (call $two (local.get 0)) (call $sum (i32.const 2))))                    ;; 1+2+2+2+(1+18+1)+1
    (func (export "call-in-arm") (type $unary)
        (if (local.get 0) (then (drop (call $two (local.get 0))))) (i32.const 1))         ;; 1+2, 2+2, 1
    (func (export "tail") (type $unary) (return_call $sum (local.get 0)))                 ;; 1+2+sum
    (func (export "indirect") (type $unary)
        (table.set $t (i32.const 0) (ref.func $two))                                      ;; 1+3
        (call_indirect $t (type $unary) (local.get 0) (i32.const 0)))                     ;; 3+2
    (func (export "fill") (type $unary)
        (memory.fill (i32.const 0) (i32.const 7) (local.get 0)) (i32.const 1))            ;; 1+4+n/64+1
    (func (export "fill-100") (type $unary)
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 100)) (i32.const 1))          ;; 1+4+1+1
    (func (export "copy") (type $unary)
        (memory.copy (i32.const 0) (i32.const 9) (local.get 0)) (i32.const 1))            ;; 1+4+n/64+1
    (func (export "init") (type $unary)
        (memory.init $d (i32.const 0) (i32.const 1) (local.get 0)) (i32.const 1))         ;; 1+4+0+1
    (func (export "table-fill") (type $unary)
        (table.fill $t (i32.const 0) (ref.null func) (local.get 0)) (i32.const 1))        ;; 1+4+n+1
    (func (export "table-copy") (type $unary)
        (table.copy $t $t (i32.const 0) (i32.const 1) (local.get 0)) (i32.const 1))       ;; 1+4+n+1
    (func (export "table-init") (type $unary)
        (table.init $t $e (i32.const 0) (i32.const 0) (local.get 0)) (i32.const 1))       ;; 1+4+n+1
    (func (export "table-grow") (type $unary) (table.grow $t (ref.null func) (local.get 0)))   ;; 1+3+n, or 1+3
    (func (export "memory-grow") (type $unary) (memory.grow (local.get 0))))              ;; 1+2
"#;

const COSTS: &[(&str, i32, u64)] = &[
    ("empty", 0, 2),
    ("structure", 0, 3),
    ("arithmetic", 5, 10),
    ("if", 1, 4),
    ("if", 0, 6),
    ("one-armed", 1, 7),
    ("one-armed", 0, 4),
    ("empty-arm", 1, 4),
    ("empty-arm", 0, 4),
    ("switch", 0, 4),
    ("switch", 1, 6),
    ("switch", 9, 7),
    ("dead", 0, 3),
    ("leave", 1, 4),
    ("leave", 0, 6),
    ("sum", 1, 11),
    ("sum", 1000, 9002),
    ("nested", 100, 2202),
    ("call", 0, 28),
    ("call-in-arm", 0, 4),
    ("call-in-arm", 1, 8),
    ("tail", 10, 95),
    ("indirect", 0, 9),
    ("fill", 63, 6),
    ("fill", 64, 7),
    ("fill", 65536, 1030),
    ("fill-100", 0, 7),
    ("copy", 6400, 106),
    ("init", 9, 6),
    ("table-fill", 4, 10),
    ("table-copy", 3, 9),
    ("table-init", 2, 8),
    ("table-grow", 596, 600),
    ("table-grow", 1, 4),
    ("table-grow", -1, 4),
    ("memory-grow", 1, 3),
    ("memory-grow", -1, 3),
];

#[test]
fn every_unit_is_counted_whatever_the_options() {
    let native = {
        let mut options = options();
        options.set_target(None, Some("native")).unwrap();
        options
    };
    for options in [
        options(),
        Options { opt_level: OptLevel::None, ..options() },
        Options { opt_level: OptLevel::SpeedAndSize, ..options() },
        Options { memory_model: MemoryModel::Checked { reservation: 1 << 20 }, ..options() },
        Options { canonicalize_nans: true, ..native },
    ] {
        let mut instance = instance_of(&artifact_with(COUNTED, &options));
        for (name, param, cost) in COSTS {
            let func = instance.func::<i32, i32>(name).unwrap();
            let (used, result) = used(&mut instance, |instance| func.call(instance, *param));
            assert_eq!(used, *cost, "{name}({param}): {result:?}");
            result.unwrap();
        }
    }
}

#[test]
fn a_call_returns_if_and_only_if_it_is_paid_for() {
    let artifact = metered(COUNTED);
    for (name, param) in [("empty", 0), ("sum", 3), ("call", 0), ("switch", 9), ("fill", 640), ("nested", 2)] {
        let mut instance = instance_of(&artifact);
        let func = instance.func::<i32, i32>(name).unwrap();
        let (cost, expected) = used(&mut instance, |instance| func.call(instance, param).unwrap());
        for fuel in 0..cost {
            instance.set_fuel(fuel).unwrap();
            let error = func.call(&mut instance, param).unwrap_err();
            assert!(is_out(&error), "{name}, {fuel} of {cost}: {error}");
            assert_eq!(instance.fuel(), Some(0));
            // And so it stays.
            assert!(is_out(&func.call(&mut instance, param).unwrap_err()));
        }
        instance.set_fuel(cost).unwrap();
        assert_eq!(func.call(&mut instance, param).unwrap(), expected);
        assert_eq!(instance.fuel(), Some(0));
    }
}

#[test]
fn what_never_ends_ends() {
    let mut instance = instance_of(&metered(
        r#"(module
            (global $turns (export "turns") (mut i32) (i32.const 0))
            (func $spin (export "spin")
                (loop (global.set $turns (i32.add (global.get $turns) (i32.const 1))) (br 0)))
            (func $deep (export "deep") (call $deep))
            (func $tail (export "tail") (return_call $tail))
            (func $table (export "table") (call_indirect (i32.const 0)))
            (table funcref (elem $table)))"#,
    ));
    for (name, fuel) in [("spin", 1_000_000), ("deep", 2_000), ("tail", 1_000_000), ("table", 3_000)] {
        instance.set_fuel(fuel).unwrap();
        let error = instance.func::<(), ()>(name).unwrap().call(&mut instance, ()).unwrap_err();
        assert!(is_out(&error), "{name}: {error}");
        let frame = &error.trap().unwrap().frames()[0];
        assert_eq!(frame.function_name, name);
        assert!(frame.wasm_offset.is_some());
    }
    // A turn is five units, and entering the function one.
    let turns = instance.global("turns").unwrap().get(&instance).i32().unwrap();
    assert_eq!(turns, 200_000);
}

/// Counts when it is looked at.
#[derive(Default)]
struct Seen(Vec<u64>);

fn host() -> Linker<Seen> {
    let mut linker = Linker::new();
    linker.func("host", "look", |caller: &mut Caller<'_, Seen>| {
        let fuel = caller.fuel().unwrap();
        caller.data_mut().0.push(fuel);
    });
    linker.func("host", "set", |caller: &mut Caller<'_, Seen>, fuel: u64| caller.set_fuel(fuel).unwrap());
    linker
}

const LOOKING: &str = r#"(module
    (import "host" "look" (func $look)) (import "host" "set" (func $set (param i64)))
    (func (export "look") (param i32) (local $i i32)
        (call $look)                                                                  ;; 1+1
        (loop $again
            (call $look)                                                              ;; 1
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get 0))))   ;; 7
        (drop (i32.const 1)) (call $look))                                            ;; 2
    (func (export "set") (call $set (i64.const 5)) (call $look) (drop (i32.const 1)) (call $look) (call $look)
        (call $look) (call $look)))"#;

#[test]
fn host_functions_see_what_was_used_and_can_change_it() {
    let bound: Bound<Seen> = host().bind(&metered(LOOKING)).unwrap();
    let mut instance = bound.instantiate(Seen::default()).unwrap();
    let look = instance.func::<i32, ()>("look").unwrap();
    instance.set_fuel(100).unwrap();
    look.call(&mut instance, 3).unwrap();
    assert_eq!(std::mem::take(&mut instance.data_mut().0), [98, 97, 89, 81, 72]);
    assert_eq!(instance.fuel(), Some(72));
    // Nobody is called who is not paid for.
    instance.set_fuel(1).unwrap();
    assert!(is_out(&look.call(&mut instance, 3).unwrap_err()));
    assert!(instance.data().0.is_empty());

    let set = instance.func::<(), ()>("set").unwrap();
    instance.set_fuel(1000).unwrap();
    assert!(is_out(&set.call(&mut instance, ()).unwrap_err()));
    assert_eq!(instance.data().0, [4, 2, 1, 0]);
}

#[test]
fn instances_of_a_store_share_it() {
    let mut store = Store::new(Seen::default());
    assert_eq!((store.fuel(), store.set_fuel(1)), (None, Err(MeteringError::Empty)));
    let mut linker = host();
    let library = r#"(module (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
        (func (export "spin") (loop (br 0))))"#;
    let limits = Limits { fuel: Some(1000), ..Limits::default() };
    let library = linker.bind(&metered(library)).unwrap().limits(limits).instantiate_in(&mut store).unwrap();
    assert_eq!(store.fuel(), Some(1000));
    linker.define_instance("library", &store, library);
    let user = metered(
        r#"(module (import "library" "add" (func $add (param i32) (result i32))) (import "library" "spin" (func $spin))
            (import "host" "look" (func $look))
            (func (export "twice") (param i32) (result i32) (call $add (call $add (local.get 0))) (call $look))
            (func (export "tail") (param i32) (result i32) (return_call $add (local.get 0)))
            (func (export "spin") (call $spin)))"#,
    );
    let user = linker.bind(&user).unwrap().instantiate_in(&mut store).unwrap();
    assert_eq!(store.fuel(), Some(1000));
    let func = |store: &Store<Seen>, name| match store.export(user, name) {
        Some(precast_loader::Extern::Func(func)) => func,
        other => panic!("{other:?}"),
    };
    let twice = func(&store, "twice").typed::<i32, i32>(&store).unwrap();
    assert_eq!(twice.call(&mut store, 5).unwrap(), 7);
    // 1 + 1 + (1 + 4) + (1 + 4) + 1
    assert_eq!((store.fuel(), &store.data().0[..]), (Some(987), &[987][..]));
    let tail = func(&store, "tail").typed::<i32, i32>(&store).unwrap();
    assert_eq!(tail.call(&mut store, 5).unwrap(), 6);
    assert_eq!(store.fuel(), Some(987 - 7));
    let spin = func(&store, "spin").typed::<(), ()>(&store).unwrap();
    let error = spin.call(&mut store, ()).unwrap_err();
    assert!(is_out(&error) && error.trap().unwrap().frames().len() == 2, "{error}");

    let other = Linker::new().bind(&artifact("(module)")).unwrap().instantiate_in(&mut store).unwrap_err();
    assert!(matches!(other, InstantiateError::Metering(MeteringError::Mixed)), "{other}");
}

#[test]
fn code_that_is_not_metered_has_no_fuel() {
    let bound = Linker::<()>::new().bind(&artifact("(module (func (export \"f\")))")).unwrap();
    let mut instance = bound.instantiate(()).unwrap();
    assert_eq!(instance.fuel(), None);
    let error = instance.set_fuel(1).unwrap_err();
    assert_eq!(error, MeteringError::NotMetered);
    assert!(error.to_string().contains("--fuel"));
    let limits = Limits { fuel: Some(1), ..Limits::default() };
    let error = bound.limits(limits).instantiate(()).unwrap_err();
    assert!(matches!(error, InstantiateError::Metering(MeteringError::NotMetered)));
    assert!(!artifact("(module)").is_metered() && metered("(module)").is_metered());
}

#[test]
fn initialisers_use_it_too() {
    let start = metered(
        r#"(module (import "host" "look" (func $look)) (memory 1) (func $start (call $look)) (start $start)
            (func (export "f")))"#,
    );
    let bound = host().bind(&start).unwrap();
    let with = |fuel| bound.clone().limits(Limits { fuel, ..Limits::default() }).instantiate(Seen::default());
    assert!(matches!(with(Some(1)), Err(InstantiateError::Start(error)) if is_out(&error)));
    let mut instance = with(Some(10)).unwrap();
    assert_eq!((instance.fuel(), &instance.data().0[..]), (Some(8), &[8][..]));
    assert_eq!(with(None).unwrap().fuel(), Some(u64::MAX - 2));
    // Fuel is no part of the state.
    instance.set_fuel(5).unwrap();
    let endless = Linker::<()>::new().bind(&metered("(module (func $f (loop (br 0))) (start $f))")).unwrap();
    let limits = Limits { fuel: Some(100), ..Limits::default() };
    assert!(matches!(endless.limits(limits).instantiate(()), Err(InstantiateError::Start(error)) if is_out(&error)));
}

#[test]
fn checkpoints_are_metered_and_have_no_fuel() {
    let mut instance = instance_of(&metered(COUNTED));
    instance.set_fuel(5).unwrap();
    let checkpoint = instance.checkpoint().unwrap();
    assert!(checkpoint.is_metered());
    let limits = Limits { fuel: Some(77), ..Limits::default() };
    let other = Linker::<()>::new().bind(&checkpoint).unwrap().limits(limits).instantiate(()).unwrap();
    assert_eq!((other.fuel(), instance.fuel()), (Some(77), Some(5)));
}

#[test]
fn a_trap_loses_what_was_used_since_the_last_look() {
    let mut instance = instance_of(&metered(
        r#"(module (memory 1)
            (func (export "late") (param i32) (result i32)
                (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))          ;; 1+5n
                (i32.div_u (i32.const 1) (local.get 0)))
            (func (export "outside") (param i32) (result i32) (i32.load (local.get 0)))
            (func (export "unreachable") (param i32) (result i32) (drop (i32.const 1)) (unreachable)))"#,
    ));
    for (name, param, lost, code) in [
        ("late", 1000, 5 + 3, TrapCode::IntegerDivisionByZero),
        ("outside", -1, 3, TrapCode::MemoryOutOfBounds),
        ("unreachable", 0, 0, TrapCode::Unreachable),
    ] {
        let func = instance.func::<i32, i32>(name).unwrap();
        let (used, result) = used(&mut instance, |instance| func.call(instance, param));
        assert_eq!(result.unwrap_err().trap().unwrap().code(), code);
        let executed = match name {
            "late" => 1 + 5 * 1000 + 3,
            "outside" => 3,
            _ => 2,
        };
        assert_eq!(used, executed - lost, "{name}");
    }
}

#[test]
fn guests_that_are_paused_use_the_same() {
    let mut instance = instance_of(&metered(COUNTED));
    let sum = instance.func::<i32, i32>("sum").unwrap();
    let expected = sum.call(&mut instance, 20_000_000).unwrap();
    instance.set_fuel(PLENTY).unwrap();
    instance.set_time_slice(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(block_on(sum.call_async(&mut instance, 20_000_000)).unwrap(), expected);
    assert_eq!(instance.fuel(), Some(PLENTY - 9 * 20_000_000 - 2));
    instance.set_fuel(9 * 20_000_000 + 1).unwrap();
    assert!(is_out(&block_on(sum.call_async(&mut instance, 20_000_000)).unwrap_err()));
}
