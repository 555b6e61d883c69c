//! What one instance wrote is gone when the next one gets its slot: every kind of state, as a guest changes it.

mod common;

use common::{artifact, artifact_with};
use precast_compiler::{MemoryModel, Options};
use precast_loader::{Artifact, CallError, Linker, TrapCode};

/// Checks that the slot of an instance that ran one of `exports` is fresh afterwards, and that what it returned is what
/// the next instance returns too: each often enough that what it writes is learnt, then all in turns.
fn leave_nothing(artifact: &Artifact, exports: &[&str]) {
    let bound = Linker::new().bind(artifact).expect("binds");
    let (fresh, _) = artifact.slot_hashes().expect("maps");
    let run = |export: &str| {
        let mut instance = bound.instantiate(()).expect("instantiates");
        let func = instance.func_dynamic(export).expect("exported");
        let result = format!("{:?}", func.call(&mut instance, &[]));
        drop(instance);
        assert_eq!(artifact.idle_hashes(), [fresh], "{export}: one slot, used again, and fresh");
        result
    };
    let results: Vec<_> = exports.iter().map(|export| run(export)).collect();
    let repeated = exports.iter().zip(&results).flat_map(|pair| std::iter::repeat_n(pair, 14));
    let in_turns = (0..60).map(|at| at * 7 % exports.len()).map(|at| (&exports[at], &results[at]));
    for (export, expected) in repeated.chain(in_turns) {
        assert_eq!(run(export), *expected, "{export}");
    }
}

#[test]
fn every_kind_of_state_is_reset() {
    let text = r#"(module
            (memory (export "memory") 2 200)
            (table $funcs 4 20 funcref) (table $externs 3 9 externref)
            (global $i (mut i32) (i32.const 5)) (global $v (mut v128) (v128.const i64x2 1 2))
            (global $f (mut funcref) (ref.func $memory))
            (data (i32.const 10) "initial") (data $d "passive") (data (i32.const 70000) "second page")
            (elem (table $funcs) (i32.const 1) func $memory $table) (elem $e func $global $memory)

            (func $memory (export "memory_written") (result i32)
                (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 0x01010101)))
                (i64.store (i32.const 131064) (i64.const -1))
                (memory.fill (i32.const 30000) (i32.const 7) (i32.const 80000))
                (i32.load (i32.const 8)))
            (func (export "memory_grown") (result i32)
                (drop (memory.grow (i32.const 90)))
                (memory.fill (i32.const 131072) (i32.const 0xee) (i32.const 5898240))
                (i32.add (memory.size) (i32.load (i32.const 131068))))
            (func (export "much_written") (result i32)
                (drop (memory.grow (i32.const 150)))
                (memory.fill (i32.const 0) (i32.const 0xee) (i32.const 8000000))
                (memory.size))
            (func (export "memory_grown_bit_by_bit") (result i32)
                (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
                (i32.store (i32.const 6553596) (i32.const 1))
                (memory.size))
            (func (export "memory_grown_a_little") (result i32)
                (drop (memory.grow (i32.const 1)))
                (i64.store (i32.sub (i32.mul (memory.grow (i32.const 2)) (i32.const 65536)) (i32.const 4)) (i64.const -1))
                (memory.size))
            (func $table (export "tables_written") (result i32)
                (table.set $funcs (i32.const 0) (ref.func $global))
                (table.set $funcs (i32.const 1) (ref.null func))
                (table.init $funcs $e (i32.const 2) (i32.const 0) (i32.const 2))
                (drop (table.grow $funcs (ref.func $memory) (i32.const 11)))
                (drop (table.grow $externs (ref.null extern) (i32.const 5)))
                (i32.add (table.size $funcs) (table.size $externs)))
            (func $global (export "globals_written") (result i32)
                (global.set $i (i32.mul (global.get $i) (i32.const 3)))
                (global.set $v (i64x2.splat (i64.const -1)))
                (global.set $f (ref.null func))
                (global.get $i))
            (func (export "segments_dropped") (result i32)
                (memory.init $d (i32.const 100) (i32.const 0) (i32.const 7))
                (data.drop $d) (elem.drop $e)
                (i32.load (i32.const 100)))
            (func $deep (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
                    (else (i32.const 0))))
            (func (export "stack_used") (result i32) (call $deep (i32.const 10000)))
            (func $endless (export "stack_overflown") (result i32) (i32.add (call $endless) (i32.const 1)))
            (func (export "trapped") (result i32)
                (i32.store (i32.const 64) (i32.const 1)) (global.set $i (i32.const 0)) unreachable))"#;
    let exports = [
        "memory_written",
        "memory_grown",
        "much_written",
        "memory_grown_bit_by_bit",
        "memory_grown_a_little",
        "tables_written",
        "globals_written",
        "segments_dropped",
        "stack_used",
        "stack_overflown",
        "trapped",
    ];
    for memory_model in [MemoryModel::Guarded, MemoryModel::Checked { reservation: 16 << 20 }] {
        leave_nothing(&artifact_with(text, &Options { memory_model, ..Options::default() }), &exports);
    }
}

/// Whether their slots waited for others, or what they grew by was closed at once; on this thread, and on two.
#[test]
fn what_one_instance_grew_by_is_out_of_bounds_for_the_next() {
    let artifact = artifact(
        r#"(module (memory 1 8)
            (func (export "grow") (param $pages i32) (param $bytes i32) (local $at i32)
                (local.set $at (i32.mul (memory.grow (local.get $pages)) (i32.const 65536)))
                (memory.fill (local.get $at) (i32.const 7) (local.get $bytes)))
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#,
    );
    let bound = Linker::<()>::new().bind(&artifact).expect("binds");
    let (grow, load) =
        (bound.func::<(u32, u32), ()>("grow").expect("is there"), bound.func::<u32, u32>("load").expect("is there"));
    let use_many = || {
        for (pages, bytes) in [(1, 1), (7, 12), (2, 100_000), (1, 65_536), (7, 458_752), (3, 5)].repeat(20) {
            let instance = &mut bound.instantiate(()).expect("instantiates");
            let traps = |instance: &mut _, at| {
                let error = load.call(instance, at).expect_err("is out of bounds");
                assert!(
                    matches!(&error, CallError::Trap(trap) if trap.code() == TrapCode::MemoryOutOfBounds),
                    "{error}"
                );
            };
            [65_533, 65_536, 65_536 * 8 - 4].into_iter().for_each(|at| traps(instance, at));
            grow.call(instance, (pages, bytes)).expect("grows");
            let end = 65_536 * (pages + 1);
            let last = load.call(instance, end - 4).expect("is in bounds");
            assert_eq!(last, if bytes == 65_536 * pages { 0x0707_0707 } else { 0 });
            [end - 3, end].into_iter().for_each(|at| traps(instance, at));
        }
    };
    use_many();
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(use_many))));
    let (fresh, idle) = artifact.slot_hashes().expect("maps");
    assert!(!idle.is_empty() && idle.iter().all(|idle| *idle == fresh));
}

#[test]
fn a_slot_whose_instantiation_trapped_is_fresh_too() {
    let artifact = artifact(
        r#"(module (memory 1) (global $g (mut i32) (i32.const 1))
            (func $start (i32.store (i32.const 0) (i32.const 1)) (global.set $g (i32.const 9)) unreachable)
            (start $start))"#,
    );
    let bound = Linker::<()>::new().bind(&artifact).expect("binds");
    for _ in 0..2 {
        bound.instantiate(()).map(drop).expect_err("traps");
        let (fresh, idle) = artifact.slot_hashes().expect("maps");
        assert_eq!(idle, [fresh]);
    }
}
