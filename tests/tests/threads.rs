//! Instances on many threads: they move between them, live on several at once, trap, fail, panic and call back there, while
//! other threads open and close artifacts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};

use precast_loader::{Artifact, Bound, CallError, Caller, HostError, Instance, Linker, Policy, Store, TrapCode};
use precast_tests::{Random, artifact, compile};

const GUEST: &str = r#"(module
    (import "host" "f" (func $host (param i32) (result i32)))
    (memory (export "memory") 2 20) (table 2 100 funcref) (global $g (mut i32) (i32.const 0))
    (data (i32.const 1000) "\2a")
    (func (export "next") (param i32) (result i32)
        (global.set $g (i32.add (global.get $g) (local.get 0)))
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (local.get 0)))
        (if (i32.ne (global.get $g) (i32.load (i32.const 8))) (then unreachable))
        (i32.mul (global.get $g) (i32.load8_u (i32.const 1000))))
    (func (export "fault") (param i32) (result i32) (i32.load (i32.sub (i32.const -1) (local.get 0))))
    (func (export "divide") (param i32) (result i32) (i32.div_u (local.get 0) (i32.const 0)))
    (func $endless (export "endless") (param i32) (result i32) (i32.add (call $endless (local.get 0)) (i32.const 1)))
    (func (export "grow") (param i32) (result i32)
        (drop (table.grow (ref.null func) (i32.const 1)))
        (memory.fill (i32.const 2000) (i32.const 1) (i32.const 50000))
        (memory.grow (i32.const 1)))
    (func (export "host") (param i32) (result i32) (call $host (local.get 0))))"#;

fn bind(artifact: &Artifact) -> Bound<i32> {
    let mut linker = Linker::new();
    linker.func("host", "f", |caller: &mut Caller<'_, i32>, x: i32| -> Result<i32, HostError> {
        *caller.data_mut() += 1;
        match x {
            0 => std::panic::resume_unwind(Box::new("the host panics")),
            1 => Err("the host fails".into()),
            _ => {
                let next = caller.export("next").and_then(|item| item.func()).ok_or("no function")?;
                Ok(next.typed::<i32, i32>(caller)?.call(caller, x)? + *caller.data())
            }
        }
    });
    linker.bind(artifact).unwrap()
}

fn call(instance: &mut Instance<i32>, export: &str, x: i32) -> Result<i32, CallError> {
    instance.func::<i32, i32>(export).unwrap().call(instance, x)
}

/// Everything an instance can do, with known results. Growing is left out if it may not.
fn exercise(bound: &Bound<i32>, random: &mut Random, may_grow: bool) {
    let mut instance = bound.instantiate(0).unwrap();
    let mut sum = 0;
    for _ in 0..random.below(12) + 1 {
        let code = match random.below(8) {
            0 => (call(&mut instance, "fault", 3), TrapCode::MemoryOutOfBounds),
            1 => (call(&mut instance, "divide", 3), TrapCode::IntegerDivisionByZero),
            2 if random.below(4) == 0 => (call(&mut instance, "endless", 3), TrapCode::StackOverflow),
            3 => {
                let CallError::Host(error) = call(&mut instance, "host", 1).unwrap_err() else {
                    panic!("not the host's")
                };
                assert_eq!(error.to_string(), "the host fails");
                continue;
            }
            4 => {
                let payload = catch_unwind(AssertUnwindSafe(|| call(&mut instance, "host", 0))).unwrap_err();
                assert_eq!(payload.downcast_ref(), Some(&"the host panics"));
                continue;
            }
            5 => {
                let calls = *instance.data() + 1;
                sum += 7;
                assert_eq!(call(&mut instance, "host", 7).unwrap(), sum * 42 + calls);
                continue;
            }
            6 if may_grow => {
                let size = instance.memory("memory").unwrap().size_pages(&instance) as i32;
                assert_eq!(call(&mut instance, "grow", 0).unwrap(), size);
                continue;
            }
            _ => {
                sum += 5;
                assert_eq!(call(&mut instance, "next", 5).unwrap(), sum * 42);
                continue;
            }
        };
        let (result, wanted) = code;
        assert_eq!(result.unwrap_err().trap().unwrap().code(), wanted);
    }
}

#[track_caller]
fn assert_fresh(artifact: &Artifact) -> usize {
    let (fresh, idle) = artifact.slot_hashes().unwrap();
    assert!(idle.iter().all(|slot| *slot == fresh), "an idle slot differs from a fresh one");
    idle.len()
}

#[test]
fn threads_use_one_artifact_at_the_same_time() {
    const THREADS: usize = 6;
    // A thread needs one slot, and if memories grow, up to seven more that wait for others to be given back with.
    for (may_grow, most) in [(false, THREADS), (true, 8 * THREADS)] {
        let artifact = artifact(GUEST);
        let bound = bind(&artifact);
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                let (bound, start) = (&bound, &start);
                scope.spawn(move || {
                    let mut random = Random(seed as u64);
                    start.wait();
                    (0..600).for_each(|_| exercise(bound, &mut random, may_grow));
                });
            }
        });
        let slots = assert_fresh(&artifact);
        assert!((1..=most).contains(&slots), "{slots} slots");
    }
}

#[test]
fn an_instance_goes_from_thread_to_thread() {
    let artifact = artifact(GUEST);
    let mut instance = bind(&artifact).instantiate(0).unwrap();
    for round in 1..100 {
        instance = std::thread::spawn(move || {
            assert_eq!(call(&mut instance, "next", 1).unwrap(), round * 42);
            let code = call(&mut instance, "fault", 0).unwrap_err().trap().unwrap().code();
            assert_eq!(code, TrapCode::MemoryOutOfBounds);
            assert!(catch_unwind(AssertUnwindSafe(|| call(&mut instance, "host", 0))).is_err());
            instance
        })
        .join()
        .unwrap();
    }
    std::thread::spawn(move || drop(instance)).join().unwrap();
    assert_eq!(assert_fresh(&artifact), 1);
}

/// Made on one thread, run on a second, dropped on a third, many at a time.
#[test]
fn instances_flow_through_a_pipeline() {
    let artifact = artifact(GUEST);
    let bound = bind(&artifact);
    let (to_run, run) = mpsc::sync_channel::<Instance<i32>>(8);
    let (to_drop, dropped) = mpsc::sync_channel(8);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let to_run = to_run;
            (0..1000).for_each(|number| to_run.send(bound.instantiate(number).unwrap()).unwrap());
        });
        scope.spawn(|| {
            let to_drop = to_drop;
            for mut instance in run {
                assert_eq!(call(&mut instance, "next", 2).unwrap(), 84);
                assert_eq!(call(&mut instance, "grow", 0).unwrap(), 2);
                drop(call(&mut instance, "divide", 0));
                to_drop.send(instance).unwrap();
            }
        });
        let numbers: Vec<i32> = dropped.into_iter().map(Instance::into_data).collect();
        assert!(numbers.into_iter().eq(0..1000));
    });
    assert_fresh(&artifact);
}

#[test]
fn stores_of_linked_instances_go_too() {
    let owner =
        artifact(r#"(module (memory (export "m") 1) (func (export "f") (result i32) (i32.load (i32.const 0))))"#);
    let user = artifact(
        r#"(module (import "owner" "f" (func $f (result i32))) (import "owner" "m" (memory 1))
            (func (export "run") (param i32) (result i32)
                (i32.store (i32.const 0) (local.get 0)) (i32.add (call $f) (i32.load (i32.mul (local.get 0) (local.get 0))))))"#,
    );
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (owner, user) = (&owner, &user);
            scope.spawn(move || {
                for round in 0..100 {
                    let mut store = Store::new(());
                    let mut linker = Linker::new();
                    let instance = linker.bind(owner).unwrap().instantiate_in(&mut store).unwrap();
                    linker.define_instance("owner", &store, instance);
                    let instance = linker.bind(user).unwrap().instantiate_in(&mut store).unwrap();
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            let run = store.export(instance, "run").and_then(|item| item.func()).unwrap();
                            let run = run.typed::<i32, i32>(&store).unwrap();
                            let number = thread * 100 + round + 4;
                            let result = run.call(&mut store, number);
                            assert_eq!(result.is_ok(), number * number <= 65532, "{number}");
                            assert!(result.is_err() || result.is_ok_and(|result| result == number));
                        });
                    });
                }
            });
        }
    });
    assert_fresh(&owner);
    assert_fresh(&user);
}

/// The registry of text that the signal handler looks faults up in changes all the time.
#[test]
fn traps_while_artifacts_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.so");
    std::fs::write(&path, compile(GUEST)).unwrap();
    let artifact = Artifact::open(&path, Policy::Verify).unwrap();
    let bound = bind(&artifact);
    let (done, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (path, done, opened) = (&path, &done, &opened);
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut kept = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let artifact = Artifact::open(path, Policy::Verify).unwrap();
                    let mut instance = bind(&artifact).instantiate(0).unwrap();
                    assert!(call(&mut instance, "fault", 0).is_err());
                    kept.push(instance);
                    if kept.len() > 20 {
                        kept.swap_remove(random.below(20));
                    }
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let traps: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut instance = bound.instantiate(0).unwrap();
                    for round in 0..20_000 {
                        let export = if round % 2 == 0 { "fault" } else { "divide" };
                        let error = call(&mut instance, export, 0).unwrap_err();
                        assert_eq!(error.trap().unwrap().frames()[0].function_name, export);
                    }
                })
            })
            .collect();
        let results: Vec<_> = traps.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.into_iter().all(|result| result.is_ok()));
    });
    assert!(opened.into_inner() > 10);
}

/// An instance whose guest calls the host, which waits for an instance on another thread, which does the same.
#[test]
fn calls_under_way_on_one_thread_are_no_others() {
    let artifact = artifact(GUEST);
    let mut linker = Linker::<u32>::new();
    let inner = bind(&artifact);
    linker.func("host", "f", move |caller: &mut Caller<'_, u32>, x: i32| -> Result<i32, HostError> {
        *caller.data_mut() += 1;
        let inner = &inner;
        let (one, two) = std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                let mut instance = inner.instantiate(0).unwrap();
                assert!(call(&mut instance, "endless", 0).is_err());
                call(&mut instance, "host", x).unwrap()
            });
            // And one on this thread, on its own stack, inside the call that is under way.
            let mut instance = inner.instantiate(0).unwrap();
            let code = call(&mut instance, "endless", 0).unwrap_err().trap().unwrap().code();
            assert_eq!(code, TrapCode::StackOverflow);
            (call(&mut instance, "host", x).unwrap(), other.join().unwrap())
        });
        let fault = caller.export("fault").and_then(|item| item.func()).ok_or("no function")?;
        assert!(fault.typed::<i32, i32>(caller)?.call(caller, 0).is_err());
        Ok(one + two)
    });
    let mut instance = linker.bind(&artifact).unwrap().instantiate(0).unwrap();
    for round in 1..50 {
        let host = instance.func::<i32, i32>("host").unwrap();
        assert_eq!(host.call(&mut instance, 3).unwrap(), 2 * (3 * 42 + 1));
        assert_eq!(*instance.data(), round);
    }
}

#[test]
fn what_may_be_shared_between_threads_is_send_and_sync() {
    fn send<X: Send>() {}
    fn sync<X: Send + Sync>() {}
    sync::<Artifact>();
    sync::<Bound<i32>>();
    sync::<Linker<i32>>();
    send::<Instance<i32>>();
    send::<Store<i32>>();
    send::<CallError>();
}
