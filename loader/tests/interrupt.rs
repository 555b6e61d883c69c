//! Deadlines: what runs too long is stopped, and nothing else is.

mod common;

use std::time::{Duration, Instant};

use common::{bind, instance};
use precast_loader::{CallError, Instance, TrapCode, with_deadline};

const SPIN: &str = r#"(module
    (memory (export "memory") 1)
    (func $spin (export "spin") (loop $again
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (br $again)))
    (func (export "count") (param i32) (result i32) (local i32)
        (loop $again
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1)))"#;

fn after(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

fn spin<T>(instance: &mut Instance<T>, deadline: Instant) -> TrapCode {
    let spin = instance.func::<(), ()>("spin").unwrap();
    let result = with_deadline(deadline, || spin.call(instance, ()));
    let Err(CallError::Trap(trap)) = result else { panic!("the guest was not stopped: {result:?}") };
    assert!(!trap.frames().is_empty());
    trap.code()
}

#[test]
fn an_endless_loop_is_stopped() {
    let mut instance = instance(SPIN);
    let begin = Instant::now();
    assert_eq!(spin(&mut instance, after(30)), TrapCode::Interrupted);
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(30) && took < Duration::from_secs(5), "{took:?}");
    // The thread is as good as before.
    assert_eq!(instance.func::<i32, i32>("count").unwrap().call(&mut instance, 1000).unwrap(), 1000);
    assert_eq!(spin(&mut instance, after(0)), TrapCode::Interrupted);
}

#[test]
fn the_earliest_deadline_counts() {
    let mut instance = instance(SPIN);
    let begin = Instant::now();
    let code = with_deadline(after(20), || spin(&mut instance, after(60_000)));
    assert_eq!(code, TrapCode::Interrupted);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let code = with_deadline(after(60_000), || spin(&mut instance, after(20)));
    assert_eq!(code, TrapCode::Interrupted);
}

#[test]
fn a_guest_that_calls_the_host_all_the_time_is_stopped() {
    let bound = bind(
        r#"(module (import "" "host" (func $host (param i32) (result i32)))
            (func (export "spin") (loop $again (drop (call $host (i32.const 1))) (br $again))))"#,
        |linker| {
            linker.func("", "host", |_: &mut precast_loader::Caller<'_, ()>, value: i32| value);
        },
    );
    assert_eq!(spin(&mut bound.instantiate(()).unwrap(), after(20)), TrapCode::Interrupted);
}

#[test]
fn a_nested_guest_is_stopped_through_its_host() {
    let inner = bind(SPIN, |_: &mut precast_loader::Linker<()>| ());
    let bound =
        bind(r#"(module (import "" "host" (func $host)) (func (export "spin") (call $host)))"#, move |linker| {
            linker.func("", "host", move |_: &mut precast_loader::Caller<'_, ()>| {
                let mut inner = inner.instantiate(()).unwrap();
                let spin = inner.func::<(), ()>("spin").unwrap();
                spin.call(&mut inner, ()).map_err(precast_loader::HostError::from)
            });
        });
    assert_eq!(spin(&mut bound.instantiate(()).unwrap(), after(20)), TrapCode::Interrupted);
}

#[test]
fn what_ends_in_time_is_never_stopped() {
    let mut instance = instance(SPIN);
    let count = instance.func::<i32, i32>("count").unwrap();
    // Some end just about when they are late: whatever happens to one must not happen to the next.
    let mut stopped = 0;
    for round in 0..2000 {
        let deadline = Instant::now() + Duration::from_micros(round);
        match with_deadline(deadline, || count.call(&mut instance, 100_000)) {
            Ok(counted) => assert_eq!(counted, 100_000),
            Err(error) => {
                assert_eq!(error.trap().map(|trap| trap.code()), Some(TrapCode::Interrupted));
                stopped += 1;
            }
        }
        assert_eq!(with_deadline(after(60_000), || count.call(&mut instance, 10_000)).unwrap(), 10_000);
        assert_eq!(count.call(&mut instance, 1000).unwrap(), 1000);
    }
    assert!(stopped < 2000);
}

#[test]
fn threads_have_deadlines_of_their_own() {
    std::thread::scope(|scope| {
        for index in 0..8 {
            scope.spawn(move || {
                let mut instance = instance(SPIN);
                let begin = Instant::now();
                assert_eq!(spin(&mut instance, after(10 + 10 * index)), TrapCode::Interrupted);
                assert!(begin.elapsed() >= Duration::from_millis(10 + 10 * index));
            });
        }
    });
}
