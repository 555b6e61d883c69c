//! Components whose host functions wait: many guests on one thread, and every way for a wait to end.
#![cfg(target_arch = "x86_64")]

mod common;
#[path = "suspend/executor.rs"]
#[allow(dead_code, reason = "another test program uses the rest")]
mod executor;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::component;
use executor::{Later, Sleep, Task, block_on, poll, run_all};
use precast_loader::component::{Bound, Linker, Resource};
use precast_loader::{CallError, CannotWait, TrapCode};

const PARTS: &str = r#"
    (import "test:host/slow@0.2.0" (instance $slow
        (export "thing" (type $thing (sub resource)))
        (export "greet" (func (param "name" string) (param "times" u32) (result string)))
        (export "use" (func (param "thing" (borrow $thing)) (param "times" u32)))))
    (alias export $slow "greet" (func $greet))
    (alias export $slow "thing" (type $thing))
    (core func $greet' (canon lower (func $greet) (memory $libc "memory") (realloc (func $libc "realloc"))))
    (core func $use (canon lower (func $slow "use")))
    (core func $drop (canon resource.drop $thing))
    (core module $M
        (import "libc" "memory" (memory 1))
        (import "slow" "greet" (func $greet (param i32 i32 i32 i32)))
        (import "slow" "use" (func $use (param i32 i32)))
        (import "slow" "drop" (func $drop (param i32)))
        (global $calls (mut i32) (i32.const 0))
        (func (export "greet") (param $name i32) (param $len i32) (param $times i32) (result i32)
            (call $greet (local.get $name) (local.get $len) (local.get $times) (i32.const 32))
            (call $greet (i32.load (i32.const 32)) (i32.load (i32.const 36)) (local.get $times) (i32.const 32))
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i32.const 32))
        (func (export "use") (param i32 i32)
            (call $use (local.get 0) (local.get 1))
            (call $drop (local.get 0)))
        (func (export "calls") (result i32) (global.get $calls)))
    (core instance $m (instantiate $M (with "libc" (instance $libc)) (with "slow" (instance
        (export "greet" (func $greet')) (export "use" (func $use)) (export "drop" (func $drop))))))
    (func (export "greet") (param "name" string) (param "times" u32) (result string)
        (canon lift (core func $m "greet") (memory $libc "memory") (realloc (func $libc "realloc"))))
    (func (export "use") (param "thing" (own $thing)) (param "times" u32) (canon lift (core func $m "use")))
    (func (export "calls") (result u32) (canon lift (core func $m "calls")))
    (export "again" (func $greet))"#;

#[derive(Debug, Default)]
struct Data {
    waiting: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    dropped: Vec<u32>,
}

struct Thing;

/// `times`: up to 100, polls that are not ready; up to 1000, milliseconds of sleep; beyond, an error or a panic after a
/// wait.
async fn wait(times: u32) -> Result<(), precast_loader::HostError> {
    match times {
        0..=100 => Later::new(times).await,
        101..=1000 => Sleep::new(Duration::from_millis(times.into())).await,
        1001 => {
            Later::new(1).await;
            return Err("on purpose".into());
        }
        _ => {
            Later::new(1).await;
            panic!("on purpose");
        }
    }
    Ok(())
}

fn bound() -> Bound<Data> {
    let mut linker = Linker::<Data>::new();
    let slow = "test:host/slow@0.2.9";
    linker.func_async(slow, "greet", |caller, (name, times): (String, u32)| {
        Box::pin(async move {
            let data = caller.data_mut();
            data.most.fetch_max(data.waiting.fetch_add(1, Relaxed) + 1, Relaxed);
            let outcome = wait(times).await;
            caller.data_mut().waiting.fetch_sub(1, Relaxed);
            outcome.map(|()| format!("<{name}>"))
        })
    });
    linker.func_async(slow, "use", |_, (thing, times): (Resource<Thing>, u32)| {
        Box::pin(async move {
            assert!(!thing.is_owned());
            wait(times).await
        })
    });
    linker.resource::<Thing>(slow, "thing", |caller, representation| {
        caller.data_mut().dropped.push(representation);
        Ok(())
    });
    linker.bind(&component(PARTS)).expect("binds")
}

#[test]
fn sixty_four_guests_wait_on_one_thread() {
    let bound = bound();
    let (waiting, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks = (0..64).map(|number| -> Task<'_, (String, u32)> {
        let data = Data { waiting: Arc::clone(&waiting), most: Arc::clone(&most), dropped: Vec::new() };
        let bound = &bound;
        Box::pin(async move {
            let mut instance = bound.instantiate_async(data).await.unwrap();
            let greet = instance.func::<(String, u32), String>("", "greet").unwrap();
            let greeting = greet.call_async(&mut instance, (format!("guest {number}"), 150)).await.unwrap();
            let calls = instance.func::<(), u32>("", "calls").unwrap();
            (greeting, calls.call(&mut instance, ()).unwrap())
        })
    });
    let start = Instant::now();
    let results = run_all(tasks.collect());
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result, (format!("<<guest {number}>>"), 1));
    }
    assert!(start.elapsed() < Duration::from_millis(64 * 150), "they waited one after the other");
    assert_eq!((most.load(Relaxed), waiting.load(Relaxed)), (64, 0));
}

#[test]
fn calls_that_never_wait_are_synchronous() {
    let mut instance = bound().instantiate(Data::default()).unwrap();
    let greet = instance.func::<(&str, u32), String>("", "greet").unwrap();
    assert_eq!(greet.call(&mut instance, ("x", 0)).unwrap(), "<<x>>");
    let error = greet.call(&mut instance, ("x", 1)).unwrap_err();
    assert!(matches!(&error, CallError::Host(error) if error.is::<CannotWait>()), "{error}");
    let error = greet.call(&mut instance, ("x", 0)).unwrap_err();
    assert_eq!(error.trap().map(|trap| trap.code()), Some(TrapCode::CannotEnter));
}

#[test]
fn errors_and_panics_after_a_wait() {
    let bound = bound();
    let mut instance = bound.instantiate(Data::default()).unwrap();
    let greet = instance.func::<(&str, u32), String>("", "greet").unwrap();
    let error = block_on(greet.call_async(&mut instance, ("x", 1001))).unwrap_err();
    assert_eq!(error.to_string(), "on purpose");
    let error = block_on(greet.call_async(&mut instance, ("x", 0))).unwrap_err();
    assert_eq!(error.trap().map(|trap| trap.code()), Some(TrapCode::CannotEnter));
    let mut instance = bound.instantiate(Data::default()).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| block_on(greet.call_async(&mut instance, ("x", 1002)))));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
}

#[test]
fn an_abandoned_call_ends_the_instance() {
    let bound = bound();
    let mut instance = bound.instantiate(Data::default()).unwrap();
    let greet = instance.func::<(&str, u32), String>("", "greet").unwrap();
    {
        let mut call: Task<'_, _> = Box::pin(greet.call_async(&mut instance, ("x", 5)));
        assert!(poll(&mut call).is_pending());
    }
    let error = greet.call(&mut instance, ("x", 0)).unwrap_err();
    assert_eq!(error.trap().map(|trap| trap.code()), Some(TrapCode::CannotEnter));
    assert_eq!(instance.into_data().waiting.load(Relaxed), 1);
    // A call that was never polled did nothing.
    let mut instance = bound.instantiate(Data::default()).unwrap();
    drop(greet.call_async(&mut instance, ("x", 5)));
    assert_eq!(greet.call(&mut instance, ("y", 0)).unwrap(), "<<y>>");
}

#[test]
fn guests_go_on_on_other_threads() {
    let bound = bound();
    let mut instance = bound.instantiate(Data::default()).unwrap();
    let greet = instance.func::<(&str, u32), String>("", "greet").unwrap();
    let mut call: Task<'_, _> = Box::pin(greet.call_async(&mut instance, ("far", 3)));
    assert!(poll(&mut call).is_pending());
    let greeting = std::thread::scope(|scope| scope.spawn(|| block_on(call)).join().unwrap());
    assert_eq!(greeting.unwrap(), "<<far>>");
}

#[test]
fn loans_last_while_the_host_waits() {
    let mut instance = bound().instantiate(Data::default()).unwrap();
    let using = instance.func::<(Resource<Thing>, u32), ()>("", "use").unwrap();
    for representation in 0..3 {
        block_on(using.call_async(&mut instance, (Resource::new_own(representation), 2))).unwrap();
    }
    assert_eq!(instance.data().dropped, [0, 1, 2]);
}

#[test]
fn an_import_that_is_exported_again_waits_too() {
    let mut instance = bound().instantiate(Data::default()).unwrap();
    let again = instance.func::<(&str, u32), String>("", "again").unwrap();
    assert_eq!(block_on(again.call_async(&mut instance, ("x", 4))).unwrap(), "<x>");
    assert_eq!(again.call(&mut instance, ("x", 0)).unwrap(), "<x>");
    let error = again.call(&mut instance, ("x", 1)).unwrap_err();
    assert!(matches!(&error, CallError::Host(error) if error.is::<CannotWait>()), "{error}");
}
