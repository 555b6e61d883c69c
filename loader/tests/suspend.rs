//! Guests that wait in asynchronous host functions: they go on as if nothing had been, on any thread, and end in any way.

mod common;
#[path = "suspend/executor.rs"]
mod executor;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use common::artifact;
use executor::{Later, Sleep, Task, block_on, poll, run_all};
use precast_loader::{
    Artifact, Bound, CallError, Caller, CannotWait, FuncType, HostError, Instance, Linker, Trap, TrapCode, Val, ValType,
};

const GUEST: &str = r#"(module
    (import "env" "wait" (func $wait (param i32) (result i32)))
    (import "env" "tick" (func $tick (param i32) (result i32)))
    (import "env" "back" (func $back (param i32) (result i32)))
    (memory (export "memory") 1)

    ;; Waits the given times, with values of all types alive around it.
    (func $waits (export "waits") (param i32) (result i64)
        (local $a i32) (local $b i64) (local $c i64) (local $d i64) (local $e f64) (local $f f32) (local $v v128)
        (local.set $b (i64.const 3)) (local.set $c (i64.const 5)) (local.set $d (i64.const 7))
        (local.set $e (f64.const 11)) (local.set $f (f32.const 13)) (local.set $v (i64x2.splat (i64.const 17)))
        (loop $again
            (local.set $a (i32.add (local.get $a) (call $wait (local.get 0))))
            (local.set $b (i64.add (local.get $b) (local.get $c)))
            (local.set $c (i64.add (local.get $c) (local.get $d)))
            (local.set $e (f64.add (local.get $e) (f64.const 1)))
            (local.set $f (f32.add (local.get $f) (f32.const 1)))
            (local.set $v (i64x2.add (local.get $v) (i64x2.splat (i64.const 1))))
            (local.set $a (i32.add (local.get $a) (call $tick (i32.const 1))))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i64.add (i64.extend_i32_u (local.get $a)) (i64.add (local.get $b) (i64.add (local.get $c) (i64.add
            (i64.trunc_f64_u (local.get $e)) (i64.add (i64.trunc_f32_u (local.get $f))
            (i64x2.extract_lane 1 (local.get $v))))))))

    (func $inner (param i32) (result i32)
        (drop (call $wait (i32.const 1)))
        (i32.load (i32.mul (local.get 0) (i32.const 65536))))
    (func $middle (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
    (func (export "traps") (param i32) (result i32) (i32.add (call $middle (local.get 0)) (i32.const 1)))

    (func $endless (param i32) (result i32)
        (i32.add (call $endless (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
    (func (export "overflows") (result i32) (drop (call $wait (i32.const 2))) (call $endless (i32.const 0)))

    (func (export "ticks") (param i32) (result i32)
        (drop (call $wait (i32.const 1))) (call $tick (local.get 0)))
    (func (export "wait") (param i32) (result i32)
        (i32.store (i32.const 16) (i32.const -1)) (call $wait (local.get 0)))
    (func $calls_back (export "back") (param i32) (result i32) (i32.add (call $back (local.get 0)) (i32.const 1)))
    (func (export "store") (param i32) (result i32)
        (i32.store (i32.const 32) (local.get 0)) (i32.add (local.get 0) (i32.const 100)))
    (func (export "fail") (param i32) (result i32) unreachable))"#;

fn i32_to_i32() -> FuncType {
    FuncType { params: vec![ValType::I32], results: vec![ValType::I32] }
}

fn argument(params: &[Val]) -> i32 {
    params.first().and_then(Val::i32).expect("one integer")
}

/// Counts itself among those waiting.
struct Waiting(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Waiting {
    fn new(counts: &Arc<Counts>) -> Self {
        let waiting = counts.waiting.fetch_add(1, Relaxed) + 1;
        counts.most.fetch_max(waiting, Relaxed);
        Waiting(Arc::clone(counts))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[derive(Debug, Default)]
struct Data {
    ticks: i32,
    counts: Arc<Counts>,
}

/// `wait` is not ready as many times as its argument says, sleeps that many milliseconds if they are more than 20, and
/// for arguments below zero ends badly.
async fn wait(caller: &mut Caller<'_, Data>, argument: i32) -> Result<Vec<Val>, HostError> {
    let _waiting = Waiting::new(&caller.data().counts);
    match argument {
        20.. => Sleep::new(Duration::from_millis(argument as u64)).await,
        0.. => Later::new(argument as u32).await,
        -1 => return Err("at once".into()),
        -2 => {
            Later::new(1).await;
            return Err("later".into());
        }
        -3 => panic!("at once"),
        -4 => {
            Later::new(1).await;
            panic!("later");
        }
        -5 => return Ok(vec![]),
        -6 => return Ok(vec![Val::I64(1)]),
        _ => std::future::pending().await,
    }
    caller.data_mut().ticks += 1000;
    Ok(vec![Val::I32(argument * 2)])
}

/// Calls the guest back, after it was suspended: `store` for small arguments, `fail` for 50, `wait` above.
async fn back(caller: &mut Caller<'_, Data>, argument: i32) -> Result<Vec<Val>, HostError> {
    Later::new(1).await;
    let export = match argument {
        50 => "fail",
        51.. => "wait",
        _ => "store",
    };
    let func = caller.export(export).and_then(|item| item.func()).ok_or("no function")?.typed::<i32, i32>(caller)?;
    let mut result = func.call(caller, argument % 50)?;
    Later::new(2).await;
    result += func.call_async(caller, argument % 50).await?;
    Later::new(1).await;
    Ok(vec![Val::I32(result)])
}

fn bind(artifact: &Artifact) -> Bound<Data> {
    let mut linker = Linker::<Data>::new();
    linker.func_async("env", "wait", i32_to_i32(), |caller, params| {
        let argument = argument(params);
        Box::pin(wait(caller, argument))
    });
    linker.func_async("env", "back", i32_to_i32(), |caller, params| {
        let argument = argument(params);
        Box::pin(back(caller, argument))
    });
    linker.func("env", "tick", |caller: &mut Caller<'_, Data>, by: i32| {
        if by < 0 {
            return Err::<i32, HostError>("ticking back".into());
        }
        assert!(by < 1000, "ticking too far");
        caller.data_mut().ticks += by;
        Ok(caller.data().ticks)
    });
    linker.bind(artifact).expect("binds")
}

fn instance() -> Instance<Data> {
    bind(&artifact(GUEST)).instantiate(Data::default()).expect("instantiates")
}

/// Calls `export` asynchronously to its end.
fn call(instance: &mut Instance<Data>, export: &str, argument: i32) -> Result<i32, CallError> {
    let func = instance.func::<i32, i32>(export).expect("exported");
    block_on(func.call_async(instance, argument))
}

fn names(trap: &Trap) -> Vec<&str> {
    trap.frames().iter().map(|frame| frame.function_name.as_str()).collect()
}

/// What `waits` returns.
fn expected(times: i64) -> i64 {
    let waited: i64 = (1..=times).map(|n| n * 2).sum();
    let ticks: i64 = (1..=times).map(|n| n * 1001).sum();
    let (b, c) = (3 + 5 * times + 7 * times * (times - 1) / 2, 5 + 7 * times);
    waited + ticks + b + c + 11 + 13 + 17 + 3 * times
}

#[test]
fn values_are_as_they_were_after_each_wait() {
    let mut instance = instance();
    let func = instance.func::<i32, i64>("waits").expect("exported");
    for times in [1, 2, 15] {
        instance.data_mut().ticks = 0;
        assert_eq!(block_on(func.call_async(&mut instance, times)).expect("returns"), expected(times.into()));
    }
    let dynamic = instance.func_dynamic("waits").expect("exported");
    instance.data_mut().ticks = 0;
    let results = block_on(dynamic.call_async(&mut instance, &[Val::I32(4)])).expect("returns");
    assert_eq!(results, [Val::I64(expected(4))]);
    assert!(matches!(block_on(dynamic.call_async(&mut instance, &[])), Err(CallError::Mismatch(_))));
}

#[test]
fn many_guests_wait_on_one_thread() {
    let bound = bind(&artifact(GUEST));
    let counts = Arc::new(Counts::default());
    let start = Instant::now();
    let task = |_| -> Task<'_, i32> {
        Box::pin(async {
            let data = Data { ticks: 0, counts: Arc::clone(&counts) };
            let mut instance = bound.instantiate_async(data).await.expect("instantiates");
            let func = instance.func::<i32, i32>("wait").expect("exported");
            let first = func.call_async(&mut instance, 100).await.expect("returns");
            first + func.call_async(&mut instance, 100).await.expect("returns")
        })
    };
    assert_eq!(run_all((0..64).map(task).collect()), [400; 64]);
    assert_eq!((counts.most.load(Relaxed), counts.waiting.load(Relaxed)), (64, 0));
    assert!(start.elapsed() < Duration::from_millis(64 * 100), "they waited together");
}

#[test]
fn a_thread_has_a_thousand_suspended_guests_and_runs_others() {
    let bound = bind(&artifact(GUEST));
    let mut tasks: Vec<Task<'_, i32>> = Vec::new();
    for _ in 0..1000 {
        let mut instance = bound.instantiate(Data::default()).expect("instantiates");
        let func = instance.func::<i32, i32>("wait").expect("exported");
        tasks.push(Box::pin(async move { func.call_async(&mut instance, 2).await.expect("returns") }));
        assert!(poll(tasks.last_mut().expect("a task")).is_pending());
    }
    let mut other = instance();
    let trap = call(&mut other, "traps", 1).expect_err("traps");
    assert_eq!(names(trap.trap().expect("a trap")), ["inner", "middle", "traps"]);
    tasks.reverse();
    assert_eq!(run_all(tasks), [4; 1000]);
}

#[test]
fn a_guest_goes_on_on_another_thread() {
    let bound = bind(&artifact(GUEST));
    let mut task: Task<'static, i64> = Box::pin(async move {
        let mut instance = bound.instantiate(Data::default()).expect("instantiates");
        let func = instance.func::<i32, i64>("waits").expect("exported");
        let result = func.call_async(&mut instance, 6).await.expect("returns");
        // Faults become traps on whatever thread this is by now.
        let trap = instance.func::<i32, i32>("traps").expect("exported").call_async(&mut instance, 1).await;
        assert_eq!(names(trap.expect_err("traps").trap().expect("a trap")), ["inner", "middle", "traps"]);
        result
    });
    let result = loop {
        let handle = std::thread::spawn(move || {
            let polled = poll(&mut task);
            (task, polled)
        });
        let polled;
        (task, polled) = handle.join().expect("no panic");
        if let Poll::Ready(result) = polled {
            break result;
        }
    };
    assert_eq!(result, expected(6));
}

#[test]
fn traps_after_a_wait_have_their_backtraces() {
    let mut instance = instance();
    for _ in 0..3 {
        let error = call(&mut instance, "traps", 1).expect_err("traps");
        let trap = error.trap().expect("a trap");
        assert_eq!((trap.code(), names(trap)), (TrapCode::MemoryOutOfBounds, vec!["inner", "middle", "traps"]));
        assert_eq!(call(&mut instance, "traps", 0).expect("returns"), 2);
        let overflows = instance.func::<(), i32>("overflows").expect("exported");
        let error = block_on(overflows.call_async(&mut instance, ())).expect_err("traps");
        assert_eq!(error.trap().expect("a trap").code(), TrapCode::StackOverflow);
    }
}

#[test]
fn errors_and_panics_of_the_host_end_the_call() {
    let mut instance = instance();
    let mut error = |export, argument| call(&mut instance, export, argument).expect_err("fails").to_string();
    assert_eq!(error("wait", -1), "at once");
    assert_eq!(error("wait", -2), "later");
    assert_eq!(error("ticks", -1), "ticking back");
    assert_eq!(error("wait", -5), "the host function gave 0 results, and 1 are wanted");
    assert_eq!(error("wait", -6), "the host function gave i64 for a result of type i32");
    for (export, argument, message) in
        [("wait", -3, "at once"), ("wait", -4, "later"), ("ticks", 1000, "ticking too far")]
    {
        let panic = catch_unwind(AssertUnwindSafe(|| call(&mut instance, export, argument))).expect_err("panics");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&message));
        assert_eq!(call(&mut instance, "wait", 3).expect("returns"), 6);
    }
    assert_eq!(instance.data().counts.waiting.load(Relaxed), 0);
}

#[test]
fn a_dropped_call_abandons_the_guest() {
    let artifact = artifact(GUEST);
    let bound = bind(&artifact);
    for _ in 0..3 {
        let mut instance = bound.instantiate(Data::default()).expect("instantiates");
        let counts = Arc::clone(&instance.data().counts);
        let func = instance.func::<i32, i32>("wait").expect("exported");
        let mut task: Task<'_, _> = Box::pin(func.call_async(&mut instance, -7));
        assert!(poll(&mut task).is_pending());
        assert_eq!(counts.waiting.load(Relaxed), 1);
        drop(task);
        assert_eq!(counts.waiting.load(Relaxed), 0);
        // Calls of core functions do not mind.
        assert_eq!(call(&mut instance, "wait", 4).expect("returns"), 8);
        let trap = call(&mut instance, "traps", 1).expect_err("traps");
        assert_eq!(names(trap.trap().expect("a trap")), ["inner", "middle", "traps"]);
        drop(Box::pin(func.call_async(&mut instance, -7)));
        let mut task: Task<'_, _> = Box::pin(func.call_async(&mut instance, -7));
        assert!(poll(&mut task).is_pending());
        drop(task);
        drop(instance);
        let (fresh, idle) = artifact.slot_hashes().expect("maps");
        assert_eq!(idle, [fresh]);
    }
}

#[test]
fn a_forgotten_call_stays_where_it_is() {
    let mut instance = instance();
    let counts = Arc::clone(&instance.data().counts);
    let func = instance.func::<i32, i32>("wait").expect("exported");
    let mut task: Task<'_, _> = Box::pin(func.call_async(&mut instance, 1));
    assert!(poll(&mut task).is_pending());
    std::mem::forget(task);
    *instance.data_mut() = Data::default();
    let store = instance.func::<i32, i32>("store").expect("exported");
    assert_eq!(store.call(&mut instance, 1).expect("returns"), 101);
    assert_eq!(block_on(store.call_async(&mut instance, 2)).expect("returns"), 102);
    drop(instance.into_data());
    assert_eq!(counts.waiting.load(Relaxed), 1, "nobody drops what was forgotten");
}

#[test]
fn a_synchronous_call_does_not_wait() {
    let mut instance = instance();
    let func = instance.func::<i32, i32>("wait").expect("exported");
    assert_eq!(func.call(&mut instance, 0).expect("is ready at once"), 0);
    let Err(CallError::Host(error)) = func.call(&mut instance, 1) else { panic!("waited") };
    assert_eq!(error.downcast_ref(), Some(&CannotWait::Synchronous));
    assert!(error.to_string().ends_with("use call_async"), "{error}");
    assert_eq!(instance.data().counts.waiting.load(Relaxed), 0);
    assert_eq!(call(&mut instance, "wait", 1).expect("returns"), 2);
}

#[test]
fn the_guest_is_called_back_while_it_waits() {
    let mut instance = instance();
    assert_eq!(call(&mut instance, "back", 7).expect("returns"), 215);
    let trap = call(&mut instance, "back", 50).expect_err("traps");
    let trap = trap.trap().expect("a trap");
    assert_eq!((trap.code(), names(trap)), (TrapCode::Unreachable, vec!["fail", "calls_back"]));
    // What is called back may call asynchronous functions too, if they are ready at once.
    assert_eq!(call(&mut instance, "back", 100).expect("returns"), 1);
    let Err(CallError::Host(error)) = call(&mut instance, "back", 51) else { panic!("waited") };
    assert_eq!(error.downcast_ref(), Some(&CannotWait::Nested));
    assert_eq!(call(&mut instance, "back", 8).expect("returns"), 217);
}

#[test]
fn the_initialiser_may_wait() {
    let module = r#"(module (import "env" "wait" (func $wait (param i32) (result i32))) (memory (export "memory") 1)
        (global $g (mut i32) (i32.const 0)) (func $start (global.set $g (call $wait (i32.const 3)))) (start $start)
        (func (export "get") (result i32) (global.get $g)))"#;
    let artifact = artifact(module);
    let bound = bind(&artifact);
    let mut instance = block_on(bound.instantiate_async(Data::default())).expect("instantiates");
    assert_eq!(instance.func::<(), i32>("get").expect("exported").call(&mut instance, ()).expect("returns"), 6);
    drop(instance);
    let error = bound.instantiate(Data::default()).expect_err("has to wait");
    assert!(error.to_string().contains("use call_async"), "{error}");
    let mut task: Task<'_, _> = Box::pin(bound.instantiate_async(Data::default()));
    assert!(poll(&mut task).is_pending());
    drop(task);
    let (fresh, idle) = artifact.slot_hashes().expect("maps");
    assert_eq!(idle, [fresh]);
}

#[test]
fn a_callers_thread_does_not_matter() {
    let mut linker = Linker::<()>::new();
    linker.func("env", "again", |caller: &mut Caller<'_, ()>, value: i32| -> Result<i32, HostError> {
        let func = caller.export("f").and_then(|item| item.func()).ok_or("no function")?.typed::<i32, i32>(caller)?;
        if value == 0 {
            return Ok(0);
        }
        std::thread::scope(|scope| scope.spawn(|| func.call(caller, value - 1)).join().map_err(|_| "panicked"))?
            .map_err(Into::into)
    });
    let artifact = artifact(
        r#"(module (import "env" "again" (func $again (param i32) (result i32)))
            (func (export "f") (param i32) (result i32) (i32.add (call $again (local.get 0)) (local.get 0))))"#,
    );
    let mut instance = linker.bind(&artifact).expect("binds").instantiate(()).expect("instantiates");
    let func = instance.func::<i32, i32>("f").expect("exported");
    for _ in 0..2 {
        assert_eq!(func.call(&mut instance, 5).expect("returns"), 15);
    }
}

#[test]
fn a_future_that_panics_when_it_is_dropped_leaves_the_store_usable() {
    struct Bomb(Arc<AtomicBool>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
            panic!("dropped");
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let mut linker = Linker::<()>::new();
    let bomb = Arc::clone(&dropped);
    linker.func_async("env", "wait", i32_to_i32(), move |_, params| {
        let (argument, bomb) = (argument(params), Bomb(Arc::clone(&bomb)));
        Box::pin(async move {
            Later::new(argument as u32).await;
            drop(bomb);
            Ok(vec![])
        })
    });
    let artifact = artifact(
        r#"(module (import "env" "wait" (func $wait (param i32) (result i32)))
            (func (export "wait") (param i32) (result i32) (call $wait (local.get 0)))
            (func (export "other") (param i32) (result i32) (local.get 0)))"#,
    );
    let mut instance = linker.bind(&artifact).expect("binds").instantiate(()).expect("instantiates");
    let wait = instance.func::<i32, i32>("wait").expect("exported");
    let other = instance.func::<i32, i32>("other").expect("exported");
    for end in [0, 1, 2] {
        dropped.store(false, Relaxed);
        let panic = catch_unwind(AssertUnwindSafe(|| match end {
            0 => block_on(wait.call_async(&mut instance, 2)).map(drop),
            1 => wait.call(&mut instance, 2).map(drop),
            _ => {
                let mut task: Task<'_, _> = Box::pin(wait.call_async(&mut instance, 2));
                assert!(poll(&mut task).is_pending());
                drop(task);
                Ok(())
            }
        }));
        assert_eq!(panic.expect_err("panics").downcast_ref::<&str>(), Some(&"dropped"));
        assert!(dropped.load(Relaxed));
        assert_eq!(block_on(other.call_async(&mut instance, end)).expect("returns"), end);
        assert_eq!(other.call(&mut instance, end).expect("returns"), end);
    }
}
