//! Time slices: a guest that computes for long gives its thread back, and goes on as if nothing had been, on any thread.

mod common;
#[path = "suspend/executor.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod executor;

use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use common::{artifact, bind};
use executor::{Later, Task, block_on, poll, run_all};
use precast_loader::{Bound, Caller, FuncType, Linker, TrapCode, Val, ValType};

/// Its loop keeps values of all types in registers, and flags between instructions.
const GUEST: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "compute") (param $times i32) (param $waits i32) (result i64)
        (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f f64) (local $g f32)
        (local $v v128) (local $w v128)
        (local.set $a (i64.const 3)) (local.set $b (i64.const 5)) (local.set $c (i64.const 7))
        (local.set $d (i64.const 11)) (local.set $e (i64.const 13)) (local.set $f (f64.const 1.25))
        (local.set $g (f32.const 2.5)) (local.set $v (v128.const i32x4 1 2 3 4)) (local.set $w (i32x4.splat (i32.const 9)))
        (loop $again
            (local.set $a (i64.add (i64.mul (local.get $a) (i64.const 6364136223846793005)) (local.get $e)))
            (local.set $b (i64.xor (i64.rotl (local.get $b) (i64.const 7)) (local.get $a)))
            (local.set $c (select (i64.add (local.get $c) (local.get $b)) (i64.xor (local.get $c) (local.get $a))
                (i64.lt_s (local.get $a) (local.get $b))))
            (local.set $d (i64.add (local.get $d) (i64.shr_u (local.get $c) (i64.const 3))))
            (local.set $e (i64.sub (local.get $e) (i64.clz (local.get $d))))
            (local.set $f (f64.add (f64.sqrt (f64.abs (local.get $f))) (f64.convert_i64_s (local.get $e))))
            (local.set $g (f32.add (f32.mul (local.get $g) (f32.const 0.5)) (f32.convert_i32_s (local.get $times))))
            (local.set $v (i32x4.add (i32x4.mul (local.get $v) (local.get $w)) (i64x2.splat (local.get $a))))
            (local.set $w (v128.xor (local.get $w) (i32x4.shl (local.get $v) (i32.const 3))))
            (i64.store (i32.and (i32.wrap_i64 (local.get $b)) (i32.const 0xfff8)) (local.get $d))
            (if (i32.mul (local.get $waits) (i32.eqz (i32.and (local.get $times) (i32.const 0x3fff))))
                (then (local.set $c (i64.add (local.get $c) (i64.extend_i32_u (call $wait (local.get $waits)))))))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (local.set $a (i64.add (local.get $a) (i64.add (local.get $b) (i64.add (local.get $c)
            (i64.add (local.get $d) (local.get $e))))))
        (i64.add (local.get $a) (i64.add (i64.reinterpret_f64 (local.get $f)) (i64.add
            (i64.extend_i32_u (i32.reinterpret_f32 (local.get $g))) (i64.add
            (i64x2.extract_lane 0 (local.get $v)) (i64x2.extract_lane 1 (local.get $w)))))))
    (func (export "spin") (loop $again (br $again))))"#;

fn define(linker: &mut Linker<()>) {
    let ty = FuncType { params: vec![ValType::I32], results: vec![ValType::I32] };
    linker.func_async("host", "wait", ty, |_: &mut Caller<'_, ()>, params| {
        let value = params[0].i32().unwrap();
        Box::pin(async move {
            if value > 1 {
                Later::new(1).await;
            }
            Ok(vec![Val::I32(value + 1)])
        })
    });
}

/// A call in an instance of its own.
async fn compute(bound: &Bound<()>, slice: Option<Duration>, params: (i32, i32)) -> i64 {
    let mut instance = bound.instantiate(()).unwrap();
    instance.set_time_slice(slice).unwrap();
    let compute = instance.func::<(i32, i32), i64>("compute").unwrap();
    compute.call_async(&mut instance, params).await.unwrap()
}

const SLICE: Option<Duration> = Some(Duration::from_millis(1));

#[test]
fn a_guest_goes_on_where_it_was_on_any_thread() {
    let bound = bind(GUEST, define);
    let mut pauses = 0;
    for round in 0..40 {
        let params = (2_000_000 + round, round % 3);
        let expected = block_on(compute(&bound, None, params));
        let mut task: Task<'_, _> = Box::pin(compute(&bound, SLICE, params));
        let result = loop {
            let end = if pauses % 2 == 0 {
                poll(&mut task)
            } else {
                // What this thread has in its registers must not matter.
                thread::scope(|scope| scope.spawn(|| poll(&mut task)).join().unwrap())
            };
            match end {
                Poll::Ready(result) => break result,
                Poll::Pending => pauses += 1,
            }
        };
        assert_eq!(result, expected, "round {round}");
    }
    assert!(pauses >= 40, "{pauses}");
    println!("{pauses} pauses");
}

#[test]
fn guests_take_turns_on_one_thread() {
    let bound = bind(GUEST, define);
    let params = [(3_000_000, 0), (3_000_001, 2), (3_000_002, 0)];
    let expected = params.map(|params| block_on(compute(&bound, None, params)));
    let tasks = params.into_iter().map(|params| Box::pin(compute(&bound, SLICE, params)) as Task<'_, _>);
    assert_eq!(run_all(tasks.collect()), expected);
}

#[test]
fn a_paused_guest_is_given_up_or_interrupted() {
    let artifact = artifact(GUEST);
    let mut linker = Linker::new();
    define(&mut linker);
    let bound = linker.bind(&artifact).unwrap();
    let (fresh, _) = artifact.slot_hashes().unwrap();
    for interrupts in [false, true] {
        let mut instance = bound.instantiate(()).unwrap();
        instance.set_time_slice(SLICE).unwrap();
        let handle = instance.interrupt_handle().unwrap();
        let spin = instance.func::<(), ()>("spin").unwrap();
        let begin = Instant::now();
        let mut task: Task<'_, _> = Box::pin(spin.call_async(&mut instance, ()));
        for _ in 0..3 {
            assert!(poll(&mut task).is_pending());
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
        if interrupts {
            handle.interrupt();
            let Poll::Ready(Err(error)) = poll(&mut task) else { panic!("the guest went on") };
            let trap = error.trap().unwrap();
            assert_eq!(trap.code(), TrapCode::Interrupted);
            assert!(!trap.frames().is_empty());
        }
        drop(task);
        // The instance can be called again.
        let compute = instance.func::<(i32, i32), i64>("compute").unwrap();
        let expected = block_on(self::compute(&bound, None, (1000, 1)));
        assert_eq!(compute.call(&mut instance, (1000, 1)).unwrap(), expected);
        drop(instance);
        assert!(artifact.idle_hashes().iter().all(|hash| *hash == fresh));
    }
}
