//! Handles that interrupt a store: its guest is stopped, whatever thread runs it, and no other.

mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{bind, component, instance};
use precast_loader::{CallError, Caller, HostError, Instance, InterruptHandle, Linker, TrapCode, with_deadline_async};

const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "spin") (loop $again
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (br $again)))
    (func (export "five") (result i32) (i32.const 5)))"#;

fn assert_interrupted<R: std::fmt::Debug>(result: Result<R, CallError>) {
    let code = result.as_ref().err().and_then(CallError::trap).map(|trap| trap.code());
    assert_eq!(code, Some(TrapCode::Interrupted), "{result:?}");
}

fn spin<T>(instance: &mut Instance<T>) -> Result<(), CallError> {
    instance.func::<(), ()>("spin").unwrap().call(instance, ())
}

fn five<T>(instance: &mut Instance<T>) -> Result<i32, CallError> {
    instance.func::<(), i32>("five").unwrap().call(instance, ())
}

/// Interrupts while `run` runs, which must have begun when it says so.
fn meanwhile<R>(handle: &InterruptHandle, run: impl FnOnce(&AtomicBool) -> R) -> R {
    let begun = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !begun.load(Relaxed) {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(10));
            handle.interrupt();
        });
        run(&begun)
    })
}

#[test]
fn a_guest_is_stopped_by_another_thread() {
    let mut instance = instance(GUEST);
    let handle = instance.interrupt_handle().unwrap();
    for _ in 0..10 {
        assert_interrupted(meanwhile(&handle, |begun| {
            begun.store(true, Relaxed);
            spin(&mut instance)
        }));
        assert_eq!(five(&mut instance).unwrap(), 5);
    }
    assert!(!handle.withdraw());
}

#[test]
fn a_request_is_remembered_until_the_next_call_of_the_same_store() {
    let (mut meant, mut other) = (instance(GUEST), instance(GUEST));
    let handle = meant.interrupt_handle().unwrap();
    other.interrupt_handle().unwrap();
    handle.interrupt();
    handle.clone().interrupt();
    assert_eq!(five(&mut other).unwrap(), 5);
    assert_interrupted(five(&mut meant));
    assert_eq!(five(&mut meant).unwrap(), 5);
    handle.interrupt();
    assert!(handle.withdraw());
    assert_eq!(five(&mut meant).unwrap(), 5);
    drop(meant);
    handle.interrupt();
    assert_eq!(five(&mut other).unwrap(), 5);
}

/// The signal comes during the host call, whose results are still what it returned.
#[test]
fn a_host_call_ends_as_ever_if_a_request_is_withdrawn_meanwhile() {
    type Host = std::sync::OnceLock<InterruptHandle>;
    fn interrupted(caller: &Caller<'_, Host>) {
        let handle = caller.data().get().unwrap();
        handle.interrupt();
        assert!(handle.withdraw());
    }
    let bound = bind(
        r#"(module
            (import "" "integer" (func $integer (param i32) (result i64)))
            (import "" "float" (func $float (param f64) (result f64)))
            (import "" "two" (func $two (param i32) (result i32 f32)))
            (export "integer" (func $integer)) (export "float" (func $float)) (export "two" (func $two))
            (func (export "run") (result i64 f64 i32 f32)
                (call $integer (i32.const 1)) (call $float (f64.const 2)) (call $two (i32.const 3))))"#,
        |linker| {
            linker.func("", "integer", |caller: &mut Caller<'_, Host>, value: i32| {
                interrupted(caller);
                i64::from(value) + 10
            });
            linker.func("", "float", |caller: &mut Caller<'_, Host>, value: f64| {
                interrupted(caller);
                value + 10.5
            });
            linker.func("", "two", |caller: &mut Caller<'_, Host>, value: i32| {
                interrupted(caller);
                (value + 10, 0.25f32)
            });
        },
    );
    let mut instance = bound.instantiate(Host::default()).unwrap();
    let handle = instance.interrupt_handle().unwrap();
    instance.data().set(handle).unwrap();
    let run = instance.func::<(), (i64, f64, i32, f32)>("run").unwrap();
    for _ in 0..100 {
        assert_eq!(run.call(&mut instance, ()).unwrap(), (11, 12.5, 13, 0.25));
    }
    let float = instance.func::<f64, f64>("float").unwrap();
    assert_eq!(float.call(&mut instance, 1.0).unwrap(), 11.5);
}

/// A store calls the host, which runs a guest of another store.
#[test]
fn a_request_waits_for_its_store() {
    let inner = bind(GUEST, |_: &mut Linker<()>| ());
    let bound = bind(
        r#"(module (import "" "host" (func $host (result i32))) (global $calls (export "calls") (mut i32) (i32.const 0))
            (func (export "spin") (loop $again
                (drop (call $host)) (global.set $calls (i32.add (global.get $calls) (i32.const 1))) (br $again))))"#,
        move |linker| {
            linker.func("", "host", move |caller: &mut Caller<'_, (InterruptHandleOnce, u32)>| {
                caller.data().0.begin();
                let mut inner = inner.instantiate(()).unwrap();
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_millis(30) {
                    assert_eq!(five(&mut inner)?, 5);
                }
                caller.data_mut().1 += 1;
                Ok::<_, HostError>(1)
            });
        },
    );
    let mut outer = bound.instantiate((InterruptHandleOnce::default(), 0)).unwrap();
    let handle = outer.interrupt_handle().unwrap();
    outer.data_mut().0.0.set(handle).unwrap();
    assert_interrupted(spin(&mut outer));
    assert!(outer.data().1 >= 1, "the host function was left to end");
}

/// Interrupts the store whose guest runs, once.
#[derive(Default)]
struct InterruptHandleOnce(std::sync::OnceLock<InterruptHandle>, AtomicBool);

impl InterruptHandleOnce {
    fn begin(&self) {
        if !self.1.swap(true, Relaxed) {
            self.0.get().unwrap().interrupt();
        }
    }
}

#[test]
fn deadlines_of_calls() {
    let mut instance = instance(GUEST);
    let spin = instance.func::<(), ()>("spin").unwrap();
    let end = Instant::now() + Duration::from_millis(20);
    assert_interrupted(spin.call_with_deadline(&mut instance, (), end));
    assert!(Instant::now() >= end);
    let five = instance.func::<(), i32>("five").unwrap();
    assert_eq!(five.call_with_deadline(&mut instance, (), Instant::now() + Duration::from_secs(60)).unwrap(), 5);
    let mut call = std::pin::pin!(with_deadline_async(Instant::now(), spin.call_async(&mut instance, ())));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(result) = call.as_mut().poll(&mut cx) else { panic!("nothing to wait for") };
    assert_interrupted(result);
}

#[test]
fn components_are_interrupted_and_end() {
    let artifact = component(
        r#"(core module $M (func (export "spin") (loop $again (br $again))))
        (core instance $m (instantiate $M))
        (func (export "spin") (canon lift (core func $m "spin")))"#,
    );
    let bound = precast_loader::component::Linker::new().bind(&artifact).unwrap();
    for by_handle in [false, true] {
        let mut instance = bound.instantiate(()).unwrap();
        let handle = instance.interrupt_handle().unwrap();
        let spin = instance.func::<(), ()>("", "spin").unwrap();
        assert_interrupted(if by_handle {
            meanwhile(&handle, |begun| {
                begun.store(true, Relaxed);
                spin.call(&mut instance, ())
            })
        } else {
            spin.call_with_deadline(&mut instance, (), Instant::now() + Duration::from_millis(10))
        });
        let again = spin.call(&mut instance, ()).unwrap_err();
        assert_eq!(again.trap().map(|trap| trap.code()), Some(TrapCode::CannotEnter));
    }
}
