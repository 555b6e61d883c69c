//! Interrupts at random moments of guests that do everything that a guest can: whatever is stopped leaves nothing behind,
//! and nothing else is stopped.
//!
//! Some threads run instances, and another one interrupts them after a spin of random length, or an instance that is gone
//! by then. A call ends as it does without interrupts or with the trap [`TrapCode::Interrupted`]; then its slot is fresh.
//! Instances that nobody interrupts, on the same threads and on another, never trap so.
//!
//! `PRECAST_INTERRUPTS` is how many there are, 100,000 if not set, and `PRECAST_SEED` what they come from.

mod common;
#[path = "suspend/executor.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod executor;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use executor::{Later, Task, block_on, poll};
use precast_loader::{
    Artifact, Bound, CallError, Caller, Extern, FuncType, HostError, Instance, InterruptHandle, Linker, TrapCode, Val,
    ValType,
};

/// Takes its steps from a seed: grows, copies, calls. How it ends depends on the seed too.
const GUEST: &str = r#"(module
    (type $op (func (param i32) (result i32)))
    (import "host" "tick" (func $tick (type $op)))
    (import "host" "back" (func $back (type $op)))
    (import "host" "wait" (func $wait (type $op)))
    (import "host" "fail" (func $fail (type $op)))
    (memory (export "memory") 1 9)
    (table $t 8 64 funcref)
    (table $u funcref (elem $double $half $mix $tick))
    (elem $e func $mix $half $double)
    (data (i32.const 100) "what an instance begins with")
    (data $d "what it copies now and then")
    (global $x (mut i32) (i32.const 0))
    (global $sum (mut i64) (i64.const 7))
    (global $v (mut v128) (v128.const i64x2 3 5))

    (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
    (func $half (type $op) (i32.shr_u (local.get 0) (i32.const 1)))
    (func $mix (type $op) (i32.xor (call $half (local.get 0)) (call $double (local.get 0))))
    (func $next (result i32)
        (global.set $x (i32.xor (global.get $x) (i32.shl (global.get $x) (i32.const 13))))
        (global.set $x (i32.xor (global.get $x) (i32.shr_u (global.get $x) (i32.const 17))))
        (global.set $x (i32.xor (global.get $x) (i32.shl (global.get $x) (i32.const 5))))
        (global.get $x))
    (func $below (param i32) (result i32) (i32.rem_u (call $next) (local.get 0)))
    (func $add (param i32)
        (global.set $sum (i64.add (i64.rotl (global.get $sum) (i64.const 5)) (i64.extend_i32_u (local.get 0)))))

    (func $grow
        (call $add (memory.grow (call $below (i32.const 2))))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)) (call $next))
        (call $add (i32.load (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)))))
    (func $copy (param $most i32)
        (memory.copy (call $below (i32.const 30000)) (call $below (i32.const 30000)) (call $below (local.get $most)))
        (call $add (i32.load (call $below (i32.const 30000)))))
    (func $fill
        (memory.fill (call $below (i32.const 60000)) (call $next) (call $below (i32.const 5000)))
        (memory.init $d (call $below (i32.const 60000)) (i32.const 5) (i32.const 20))
        (call $add (i32.load (call $below (i32.const 60000)))))
    (func $tables
        (call $add (table.grow $t (ref.func $half) (call $below (i32.const 5))))
        (table.copy $t $u (call $below (i32.const 4)) (i32.const 0) (i32.const 4))
        (table.copy $t $t (i32.const 1) (i32.const 0) (call $below (i32.const 8)))
        (table.fill $t (call $below (i32.const 4)) (ref.func $mix) (i32.const 3))
        (table.init $t $e (call $below (i32.const 5)) (i32.const 0) (i32.const 3))
        (table.set $t (call $below (i32.const 8)) (ref.func $double))
        (table.set $t (i32.const 7) (ref.func $mix))
        (call $add (call_indirect $t (type $op) (call $next) (i32.const 7)))
        (call $add (call_indirect $u (type $op) (call $next) (call $below (i32.const 4)))))
    (func $deep (param $depth i32) (param $a i64) (param $v v128) (result i64)
        (if (result i64) (local.get $depth)
            (then (i64.add (local.get $a) (call $deep (i32.sub (local.get $depth) (i32.const 1))
                (i64.mul (local.get $a) (i64.const 3)) (i64x2.add (local.get $v) (i64x2.splat (local.get $a))))))
            (else (i64x2.extract_lane 1 (local.get $v)))))
    (func $compute (param $times i32) (local $f f64)
        (local.set $f (f64.convert_i32_u (call $next)))
        (loop $again
            (global.set $v (i32x4.add (i32x4.mul (global.get $v) (i32x4.splat (i32.const 17))) (v128.const i32x4 1 2 3 4)))
            (local.set $f (f64.add (f64.sqrt (local.get $f)) (f64.const 1.5)))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (call $add (i32x4.extract_lane 3 (global.get $v)))
        (call $add (i32.trunc_f64_u (f64.mul (local.get $f) (f64.const 1000)))))
    (func $overflow (param i32) (result i32) (i32.add (call $overflow (local.get 0)) (call $next)))

    (func (export "nested") (param $x i32) (result i32)
        (i32.store (i32.const 64) (local.get $x))
        (call $add (call $tick (local.get $x)))
        (if (i32.gt_u (local.get $x) (i32.const 90))
            (then (call $add (call $back (i32.sub (local.get $x) (i32.const 60))))))
        (i32.load (i32.const 64)))

    (func (export "run") (param $seed i32) (param $steps i32) (result i64)
        (global.set $x (i32.add (i32.mul (local.get $seed) (i32.const 2654435761)) (i32.const 1)))
        (loop $again
            (block $done
                (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
                    (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 (call $below (i32.const 10))))
                    (call $grow) (br $done))
                    (call $copy (i32.const 60)) (br $done))
                    (call $copy (i32.const 9000)) (br $done))
                    (call $fill) (br $done))
                    (call $tables) (br $done))
                    (call $add (call $tick (call $next))) (br $done))
                    (call $add (call $back (call $below (i32.const 150)))) (br $done))
                    (call $add (call $wait (call $below (i32.const 3)))) (br $done))
                    (call $add (i32.wrap_i64 (call $deep (call $below (i32.const 60)) (i64.const 5) (global.get $v))))
                    (br $done))
                (call $compute (i32.const 300)))
            (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
        (block $8 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
            (br_table $0 $1 $2 $3 $4 $5 $8 (i32.rem_u (local.get $seed) (i32.const 16))))
            unreachable)
            (return (i64.extend_i32_u (i32.div_u (local.get $seed) (i32.const 0)))))
            (return (i64.load (i32.const -9))))
            (return (i64.extend_i32_u (call $fail (i32.const 0)))))
            (return (i64.extend_i32_u (call $fail (i32.const 1)))))
            (return (i64.extend_i32_u (call $overflow (i32.const 0)))))
        (i64.add (global.get $sum) (i64.extend_i32_u (i32.add (table.size $t) (memory.size))))))"#;

const SEEDS: usize = 96;

/// Steps of calls that end by themselves, and of those that do not.
const STEPS: i32 = 20;
const ENDLESS: i32 = i32::MAX;
const WORKERS: usize = 4;

/// Random numbers from a seed: splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Steps and seed of a call.
type Params = (i32, usize);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Value(i64),
    Trap(TrapCode),
    /// Before it had begun, or later.
    Interrupted(bool),
    Failed,
    Panicked,
}

#[derive(Debug, thiserror::Error)]
#[error("as asked")]
struct AsAsked;

fn open() -> Artifact {
    let options = precast_compiler::Options { stack_size: 32 << 10, ..Default::default() };
    Artifact::open_bytes(&precast_compiler::compile(GUEST.as_bytes(), &options).unwrap()).unwrap()
}

#[derive(Clone, Copy, Default)]
struct Data {
    /// Whether the guest can be suspended.
    waits: bool,
    /// Whether host functions give the processor to others now and then, such as whoever is to interrupt.
    yields: bool,
}

fn bind(artifact: &Artifact) -> Bound<Data> {
    let mut linker = Linker::new();
    linker.func("host", "tick", |caller: &mut Caller<'_, Data>, x: i32| {
        if caller.data().yields && x & 3 == 0 {
            thread::yield_now();
        }
        x.wrapping_mul(5).wrapping_add(3)
    });
    linker.func("host", "back", |caller: &mut Caller<'_, Data>, x: i32| {
        let Some(Extern::Func(nested)) = caller.export("nested") else { panic!("it is exported") };
        let nested = nested.typed::<i32, i32>(caller)?;
        // Now and then from another thread.
        let result = match x {
            1 => thread::scope(|scope| scope.spawn(|| nested.call(caller, x)).join().unwrap()),
            _ => nested.call(caller, x),
        };
        result.map_err(HostError::from)
    });
    linker.func("host", "fail", |_: &mut Caller<'_, Data>, how: i32| -> Result<i32, HostError> {
        if how == 0 {
            return Err(AsAsked.into());
        }
        // As a panic, without its message.
        resume_unwind(Box::new(AsAsked))
    });
    let ty = FuncType { params: vec![ValType::I32], results: vec![ValType::I32] };
    linker.func_async("host", "wait", ty, |caller, params| {
        let times = params[0].i32().unwrap();
        Box::pin(async move {
            if caller.data().waits {
                Later::new(times as u32).await;
            }
            Ok(vec![Val::I32(times + 1)])
        })
    });
    linker.bind(artifact).unwrap()
}

/// Calls the guest in one of several ways.
fn call(instance: &mut Instance<Data>, (steps, seed): Params, random: &mut Random) -> Option<Outcome> {
    let run = instance.func::<(i32, i32), i64>("run").unwrap();
    let params = (seed as i32, steps);
    let way = random.below(8);
    *instance.data_mut() = Data { waits: way < 3, yields: random.below(2) == 0 };
    // Some are paused whenever somebody looks.
    instance.set_time_slice((way == 2).then_some(Duration::ZERO)).unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| match way {
        0 => {
            let mut task: Task<'_, _> = Box::pin(run.call_async(instance, params));
            // Given up in the middle, if it waits that often.
            (0..random.below(4)).find_map(|_| match poll(&mut task) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            })
        }
        1 | 2 => Some(block_on(run.call_async(instance, params))),
        3 => {
            let deadline = Instant::now() + Duration::from_micros(random.below(20_000) as u64);
            Some(run.call_with_deadline(instance, params, deadline))
        }
        _ => Some(run.call(instance, params)),
    }));
    match result {
        Ok(result) => result.map(|result| outcome(Ok(result))),
        Err(payload) => Some(outcome(Err(payload))),
    }
}

/// Calls the guest in the simplest way.
fn call_plainly(instance: &mut Instance<Data>, seed: usize) -> Outcome {
    let run = instance.func::<(i32, i32), i64>("run").unwrap();
    outcome(catch_unwind(AssertUnwindSafe(|| run.call(instance, (seed as i32, STEPS)))))
}

fn outcome(result: thread::Result<Result<i64, CallError>>) -> Outcome {
    match result {
        Ok(Ok(value)) => Outcome::Value(value),
        Ok(Err(CallError::Trap(trap))) if trap.code() == TrapCode::Interrupted => {
            Outcome::Interrupted(!trap.frames().is_empty())
        }
        Ok(Err(CallError::Trap(trap))) => Outcome::Trap(trap.code()),
        Ok(Err(CallError::Host(error))) if error.is::<AsAsked>() => Outcome::Failed,
        Ok(Err(error)) => panic!("{error}"),
        Err(payload) if payload.is::<AsAsked>() => Outcome::Panicked,
        Err(payload) => resume_unwind(payload),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the threads share.
struct Shared {
    /// By the seed.
    expected: Vec<Outcome>,
    /// Of the call that each worker makes now, unless it is interrupted already.
    targets: [Mutex<Option<InterruptHandle>>; WORKERS],
    done: AtomicBool,
    workers: AtomicUsize,
    calls: AtomicUsize,
    interrupted: AtomicUsize,
    /// Of these, calls whose guest had begun.
    begun: AtomicUsize,
}

/// Runs instances that are interrupted, and others in between.
fn work(shared: &Shared, target: &Mutex<Option<InterruptHandle>>, mut random: Random) {
    struct Ended<'a>(&'a AtomicUsize);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }
    let _ended = Ended(&shared.workers);
    let (artifact, quiet) = (open(), open());
    let (bound, quiet) = (bind(&artifact), bind(&quiet));
    let (fresh, _) = artifact.slot_hashes().unwrap();
    while !shared.done.load(Relaxed) {
        let mut instance = bound.instantiate(Data::default()).unwrap();
        let (seed, ends) = (random.below(SEEDS), random.below(4) == 0);
        *lock(target) = Some(instance.interrupt_handle().unwrap());
        let outcome = call(&mut instance, (if ends { STEPS } else { ENDLESS }, seed), &mut random);
        *lock(target) = None;
        shared.calls.fetch_add(1, Relaxed);
        if let Some(Outcome::Interrupted(begun)) = outcome {
            shared.begun.fetch_add(usize::from(begun), Relaxed);
            shared.interrupted.fetch_add(1, Relaxed);
            // It goes on from wherever it is, and does no harm.
            call(&mut instance, (STEPS, random.below(SEEDS)), &mut random);
        } else if let Some(outcome) = outcome {
            assert_eq!((outcome, ends), (shared.expected[seed], true), "seed {seed}");
        }
        drop(instance);
        assert_eq!(artifact.idle_hashes(), [fresh], "seed {seed} ended as {outcome:?}");
        if random.below(4) == 0 {
            check_one(shared, &quiet, &mut random);
        }
    }
}

/// Runs an instance that nobody interrupts.
fn check_one(shared: &Shared, bound: &Bound<Data>, random: &mut Random) {
    let mut instance = bound.instantiate(Data::default()).unwrap();
    if random.below(2) == 0 {
        instance.interrupt_handle().unwrap();
    }
    let seed = random.below(SEEDS);
    assert_eq!(call_plainly(&mut instance, seed), shared.expected[seed], "seed {seed}");
}

/// Interrupts `count` calls, each some time after it was seen first.
fn interrupt(shared: &Shared, count: u64, random: &mut Random) {
    let mut gone = Vec::new();
    for number in 1..=count {
        let handle = loop {
            match lock(&shared.targets[random.below(WORKERS)]).take() {
                Some(handle) => break handle,
                None => thread::yield_now(),
            }
            if shared.workers.load(Relaxed) < WORKERS {
                return;
            }
        };
        let (begin, delay) = (Instant::now(), random.below(50_000));
        while (begin.elapsed().as_nanos() as usize) < delay {
            std::hint::spin_loop();
        }
        handle.interrupt();
        if number.is_multiple_of(50_000) {
            println!("{number} interrupts, {} calls", shared.calls.load(Relaxed));
        }
        if random.below(8) == 0 {
            gone.push(handle);
        }
        if gone.len() > 16 {
            gone.swap_remove(random.below(8)).interrupt();
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect(variable))
}

#[test]
fn nothing_is_corrupted() {
    let (count, seed) = (number("PRECAST_INTERRUPTS", 100_000), number("PRECAST_SEED", 1));
    let mut random = Random(seed);
    let artifact = open();
    let bound = bind(&artifact);
    let shared = Shared {
        expected: (0..SEEDS).map(|seed| call_plainly(&mut bound.instantiate(Data::default()).unwrap(), seed)).collect(),
        targets: Default::default(),
        done: AtomicBool::new(false),
        workers: AtomicUsize::new(WORKERS),
        calls: AtomicUsize::new(0),
        interrupted: AtomicUsize::new(0),
        begun: AtomicUsize::new(0),
    };
    for kind in [Outcome::Failed, Outcome::Panicked, Outcome::Trap(TrapCode::StackOverflow)] {
        assert!(shared.expected.contains(&kind), "{:?}", shared.expected);
    }
    assert!(shared.expected.iter().filter(|outcome| matches!(outcome, Outcome::Value(_))).count() > SEEDS / 2);
    thread::scope(|scope| {
        for target in &shared.targets {
            let random = Random(random.next());
            scope.spawn(|| work(&shared, target, random));
        }
        let mut quiet = Random(random.next());
        let (shared, bound) = (&shared, &bound);
        scope.spawn(move || {
            while !shared.done.load(Relaxed) {
                check_one(shared, bound, &mut quiet);
                thread::sleep(Duration::from_micros(200));
            }
        });
        interrupt(shared, count, &mut random);
        shared.done.store(true, Relaxed);
        // Calls without an end.
        while shared.workers.load(Relaxed) > 0 {
            shared.targets.iter().filter_map(|target| lock(target).take()).for_each(|handle| handle.interrupt());
            thread::yield_now();
        }
    });
    let [calls, interrupted, begun] = [shared.calls, shared.interrupted, shared.begun].map(AtomicUsize::into_inner);
    println!("seed {seed}: {count} interrupts; {calls} calls, {interrupted} interrupted, {begun} after they had begun");
    assert!(begun as u64 > count / 2, "too few calls were interrupted");
}
