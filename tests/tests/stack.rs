//! The end of the guest's stack, wherever it is met: in small frames, in frames larger than the guard, on the way to the
//! host and to builtins. It is a trap each time, and nothing else is harmed. And tail calls, which never meet it.

use std::fmt::Write;

use precast_compiler::Options;
use precast_loader::{Artifact, Bound, CallError, Caller, Extern, HostError, Instance, Linker, Store, TrapCode};
use precast_tests::{Random, again, artifact, compile_with, pretend_old_kernel, role};

/// Bytes of guard below a stack.
const GUARD: usize = 64 << 10;

fn bind<T: 'static>(artifact: &Artifact, define: impl FnOnce(&mut Linker<T>)) -> Bound<T> {
    let mut linker = Linker::new();
    define(&mut linker);
    linker.bind(artifact).expect("binds")
}

#[track_caller]
fn assert_overflow<R: std::fmt::Debug>(result: Result<R, CallError>) -> usize {
    let error = result.expect_err("the stack ends");
    let trap = error.trap().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(trap.code(), TrapCode::StackOverflow, "{trap}");
    assert!(trap.to_string().starts_with("wasm trap: call stack exhausted"), "{trap}");
    trap.frames().len()
}

/// Overflows each of `exports` a few times, in one store and in several, and checks that the store, another instance and a
/// new one still work.
fn overflows<T>(bound: &Bound<T>, exports: &[&str], data: impl Fn() -> T) {
    let works = |instance: &mut Instance<T>| {
        let work = instance.func::<i32, i32>("work").unwrap();
        assert_eq!(work.call(instance, 100).unwrap(), 5050);
    };
    let mut other = bound.instantiate(data()).unwrap();
    for export in exports {
        let mut instance = bound.instantiate(data()).unwrap();
        for _ in 0..3 {
            let func = instance.func::<i32, i32>(export).unwrap();
            assert_overflow(func.call(&mut instance, 0));
            works(&mut instance);
            works(&mut other);
        }
        works(&mut bound.instantiate(data()).unwrap());
    }
}

/// What every module here has: a function that recurses a little and sums.
const WORK: &str = r#"(func $work (export "work") (param i32) (result i32)
    (if (result i32) (local.get 0)
        (then (i32.add (local.get 0) (call $work (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 0))))"#;

/// Without guard markers the guard is a mapping of its own.
#[test]
fn older_kernels_guard_stacks_too() {
    for test in ["endless_recursion_is_a_trap", "frames_larger_than_the_guard_meet_it"] {
        let output = again(test, OLD_KERNEL).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

const OLD_KERNEL: &str = "old kernel";

fn pretend_if_told() {
    if role().is_some_and(|role| role == OLD_KERNEL) {
        pretend_old_kernel();
    }
}

#[test]
fn endless_recursion_is_a_trap() {
    pretend_if_told();
    let module = artifact(&format!(
        r#"(module {WORK}
        (type $t (func (param i32) (result i32))) (table funcref (elem $indirect $even))
        (func $direct (export "direct") (param i32) (result i32)
            (i32.add (i32.const 1) (call $direct (i32.add (local.get 0) (i32.const 1)))))
        (func $even (export "mutual") (param i32) (result i32) (i32.add (i32.const 1) (call $odd (local.get 0))))
        (func $odd (param i32) (result i32) (i32.mul (i32.const 3) (call $even (local.get 0))))
        (func $indirect (export "indirect") (param i32) (result i32)
            (i32.add (i32.const 1) (call_indirect (type $t) (local.get 0) (i32.const 0))))
        (func $wide (export "wide") (param i32) (result i32)
            (local i64 v128) (i32.add (i32.const 1) (call $many
                (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0)
                (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0))))
        (func $many (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (i32.add (local.get 13) (call $wide (local.get 7)))))"#
    ));
    let bound = bind(&module, |_| ());
    overflows(&bound, &["direct", "mutual", "indirect", "wide"], || ());

    let mut instance = bound.instantiate(()).unwrap();
    let direct = instance.func::<i32, i32>("direct").unwrap();
    let error = direct.call(&mut instance, 0).unwrap_err();
    let frames = error.trap().unwrap().frames();
    assert!(frames.len() > 50 && frames.iter().all(|frame| frame.function_name == "direct"), "{frames:?}");
}

/// A function with more than `slots` vectors that live across a recursive call.
fn large_frame(slots: usize) -> String {
    let mut text =
        format!("(module (memory 64) {WORK} (func $large (export \"large\") (param i32) (result i32) (local");
    text.push_str(&" v128".repeat(slots));
    text.push_str(")\n");
    for slot in 1..=slots {
        writeln!(text, "(local.set {slot} (v128.load offset={} (local.get 0)))", slot * 16).unwrap();
    }
    text.push_str("(local.set 0 (call $large (local.get 0)))\n");
    for slot in 1..=slots {
        writeln!(text, "(v128.store offset={} (local.get 0) (local.get {slot}))", slot * 16 + 16).unwrap();
    }
    text.push_str("(local.get 0)))");
    text
}

#[test]
fn frames_larger_than_the_guard_meet_it() {
    pretend_if_told();
    // Frames of 1.25 guards, in a stack of a megabyte; and one that is larger than its stack, guard and host words
    // together, so that an access beyond would fall below the slot.
    for (slots, stack) in [(5 << 10, 1 << 20), (8 << 10, 16 << 10)] {
        let module = compile_with(&large_frame(slots), &Options { stack_size: stack, ..Options::default() });
        let bound = bind(&Artifact::open_bytes(&module).unwrap(), |_| ());
        overflows(&bound, &["large"], || ());
        let mut instance = bound.instantiate(()).unwrap();
        let frames = assert_overflow(instance.func::<i32, i32>("large").unwrap().call(&mut instance, 0));
        assert!(
            slots * 16 > GUARD && frames <= stack as usize / (slots * 16) + 1,
            "{frames} frames of {slots} vectors"
        );
    }
}

/// Functions with frames of every size up to a few hundred bytes, each of which recurses endlessly through `call`, so that
/// the last call happens with every amount of stack left.
fn recursions(call: &str) -> (String, Vec<String>) {
    let (mut text, mut exports) = (String::new(), Vec::new());
    for values in 0..24 {
        let name = format!("f{values}");
        write!(text, "(func ${name} (export \"{name}\") (param i32) (result i32) (local").unwrap();
        text.push_str(&" i64".repeat(values));
        text.push(')');
        for value in 1..=values {
            write!(text, "(local.set {value} (i64.load offset={} (i32.const 0)))", value * 8).unwrap();
        }
        write!(text, "{call}(local.set 0 (call ${name} (local.get 0)))").unwrap();
        for value in 1..=values {
            write!(text, "(i64.store offset={} (i32.const 0) (local.get {value}))", value * 8 + 8).unwrap();
        }
        text.push_str("(local.get 0))\n");
        exports.push(name);
    }
    (text, exports)
}

/// A guest whose functions do `call` at every depth, down to the end of the stack.
fn near_the_end<T: 'static>(imports: &str, call: &str, define: impl FnOnce(&mut Linker<T>), data: impl Fn() -> T) {
    let (functions, exports) = recursions(call);
    let module = format!(
        r#"(module {imports} (memory (export "memory") 2 3) (table $t (export "table") 4 9 funcref) (elem $e func $work)
            (data $d "some data") {WORK} {functions})"#
    );
    let options = Options { stack_size: 32 << 10, ..Options::default() };
    let bound = bind(&Artifact::open_bytes(&compile_with(&module, &options)).unwrap(), define);
    overflows(&bound, &exports.iter().map(String::as_str).collect::<Vec<_>>(), data);
}

/// Uses more of the host's stack than a guest has.
#[inline(never)]
fn deep(levels: u32) -> u32 {
    let room = std::hint::black_box([levels; 1024]);
    if levels == 0 { room[1023] } else { deep(levels - 1) + room[17] - levels }
}

#[test]
fn host_functions_near_the_end_have_the_hosts_stack() {
    near_the_end::<u32>(
        r#"(import "host" "f" (func $f (param i32 i64 f64 v128 i32 i32 i32 i32 i32) (result i32)))"#,
        "(drop (call $f (i32.const 1) (i64.const 2) (f64.const 3) (v128.const i64x2 4 5) (i32.const 6) (i32.const 7)
            (i32.const 8) (i32.const 9) (i32.const 10)))",
        |linker| {
            #[expect(clippy::too_many_arguments, reason = "more than registers hold")]
            fn f(
                caller: &mut Caller<'_, u32>,
                a: i32,
                b: i64,
                c: f64,
                d: u128,
                e: i32,
                f: i32,
                g: i32,
                h: i32,
                i: i32,
            ) -> i32 {
                *caller.data_mut() += 1;
                assert_eq!((a, b, c, d, e, f, g, h, i), (1, 2, 3.0, 4 | 5 << 64, 6, 7, 8, 9, 10));
                deep(20) as i32
            }
            linker.func("host", "f", f);
        },
        || 0,
    );
}

#[test]
fn host_functions_near_the_end_may_call_back() {
    near_the_end::<u32>(
        r#"(import "host" "f" (func $f (param i32) (result i32)))"#,
        "(drop (call $f (i32.const 3)))",
        |linker| {
            linker.func("host", "f", |caller: &mut Caller<'_, u32>, x: i32| -> Result<i32, HostError> {
                let work = caller.export("work").and_then(Extern::func).ok_or("no function")?;
                let result = work.typed::<i32, i32>(caller)?.call(caller, x)?;
                assert_eq!(result, 6);
                Ok(result)
            });
        },
        || 0,
    );
}

#[test]
fn builtins_near_the_end_have_the_hosts_stack() {
    near_the_end::<()>(
        "",
        "(drop (memory.grow (i32.const 0)))
         (memory.copy (i32.const 0) (i32.const 65000) (i32.const 2000))
         (memory.fill (i32.const 70000) (i32.const 7) (local.get 0))
         (memory.init $d (i32.const 3) (i32.const 1) (i32.const 4))
         (drop (table.grow $t (ref.null func) (i32.const 0)))
         (table.copy (i32.const 0) (i32.const 1) (i32.const 3))
         (table.fill (i32.const 0) (ref.func $work) (i32.const 2))
         (table.init $e (i32.const 1) (i32.const 0) (i32.const 1))",
        |_| (),
        || (),
    );
}

#[test]
fn references_cross_instances_near_the_end() {
    let mut store = Store::new(());
    let mut linker = Linker::new();
    let library = artifact(
        r#"(module (table (export "table") 4 funcref)
            (func (export "same") (param funcref) (result funcref) (local.get 0)))"#,
    );
    let library = linker.bind(&library).unwrap().instantiate_in(&mut store).unwrap();
    linker.define_instance("library", &store, library);
    let (functions, exports) = recursions(
        "(drop (call $same (ref.func $work))) (table.set (i32.const 1) (ref.func $work))
         (drop (call_indirect (param i32) (result i32) (i32.const 2) (i32.const 1)))",
    );
    let module = format!(
        r#"(module (import "library" "same" (func $same (param funcref) (result funcref)))
            (import "library" "table" (table 4 funcref)) (memory 1) (elem declare func $work) {WORK} {functions})"#
    );
    let user = linker.bind(&artifact(&module)).unwrap().instantiate_in(&mut store).unwrap();
    for export in exports {
        let func = store.export(user, &export).and_then(Extern::func).unwrap();
        let func = func.typed::<i32, i32>(&store).unwrap();
        assert_overflow(func.call(&mut store, 0));
        let work = store.export(user, "work").and_then(Extern::func).unwrap().typed::<i32, i32>(&store).unwrap();
        assert_eq!(work.call(&mut store, 100).unwrap(), 5050);
    }
}

#[test]
fn every_thread_survives_an_overflow() {
    let module = artifact(&format!(
        r#"(module {WORK} (func $f (export "f") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1))))"#
    ));
    let bound = bind::<()>(&module, |_| ());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| overflows(&bound, &["f"], || ()));
        }
    });
}

#[test]
fn any_depth_up_to_the_end_is_possible() {
    let module = compile_with(&format!("(module {WORK})"), &Options { stack_size: 256 << 20, ..Options::default() });
    let bound = bind::<()>(&Artifact::open_bytes(&module).unwrap(), |_| ());
    let mut random = Random(7);
    let mut instance = bound.instantiate(()).unwrap();
    let work = instance.func::<i32, i32>("work").unwrap();
    for _ in 0..5 {
        let depth = random.below(4_000_000) as i32;
        let sum = (1..=depth).fold(0i32, i32::wrapping_add);
        assert_eq!(work.call(&mut instance, depth).unwrap(), sum);
    }
    assert_overflow(work.call(&mut instance, i32::MAX));
}

const A_HUNDRED_MILLION: i64 = 100_000_000;

#[test]
fn a_hundred_million_tail_calls() {
    let module = artifact(
        r#"(module
        (type $t (func (param i64 i64) (result i64)))
        (table funcref (elem $indirect $other))
        (func $direct (export "direct") (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $direct (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 3))))
        (func $even (export "mutual") (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $odd (i64.sub (local.get 0) (i64.const 1)) (i64.const 1) (i64.const 2) (i64.const 3)
                (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7) (i64.add (local.get 1) (i64.const 3))))
        ;; More parameters than registers: the arguments on the stack grow and shrink.
        (func $odd (param i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
            (if (i64.eqz (local.get 0)) (then (return (local.get 8))))
            (return_call $even (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 8) (i64.const 3))))
        (func $indirect (export "indirect") (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call_indirect (type $t) (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 3))
                (i32.and (i32.wrap_i64 (local.get 0)) (i32.const 1))))
        (func $other (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call_indirect (type $t) (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 3))
                (i32.and (i32.wrap_i64 (local.get 0)) (i32.const 1)))))"#,
    );
    let mut instance = bind(&module, |_| ()).instantiate(()).unwrap();
    for export in ["direct", "mutual", "indirect"] {
        let func = instance.func::<(i64, i64), i64>(export).unwrap();
        assert_eq!(func.call(&mut instance, (A_HUNDRED_MILLION, 0)).unwrap(), 3 * A_HUNDRED_MILLION, "{export}");
    }
}

/// Two instances, of two artifacts, that tail-call each other: one by its import, the other through a table in which it
/// finds the first one's function.
#[test]
fn a_hundred_million_tail_calls_between_instances() {
    let mut store = Store::new(());
    let mut linker = Linker::new();
    let ping = artifact(
        r#"(module
        (type $t (func (param i64 i64) (result i64)))
        (table (export "table") 1 funcref)
        (global $calls (export "calls") (mut i64) (i64.const 0))
        (func (export "ping") (type $t)
            (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call_indirect (type $t) (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 3))
                (i32.const 0))))"#,
    );
    let ping = linker.bind(&ping).unwrap().instantiate_in(&mut store).unwrap();
    linker.define_instance("ping", &store, ping);
    let pong = artifact(
        r#"(module
        (type $t (func (param i64 i64) (result i64)))
        (import "ping" "ping" (func $ping (type $t))) (import "ping" "table" (table 1 funcref))
        (global $calls (export "calls") (mut i64) (i64.const 0))
        (elem (i32.const 0) func $pong)
        (func $pong (export "pong") (type $t)
            (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $ping (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 3)))))"#,
    );
    let pong = linker.bind(&pong).unwrap().instantiate_in(&mut store).unwrap();
    let func = store.export(pong, "pong").and_then(Extern::func).unwrap().typed::<(i64, i64), i64>(&store).unwrap();
    assert_eq!(func.call(&mut store, (A_HUNDRED_MILLION, 0)).unwrap(), 3 * A_HUNDRED_MILLION);
    for (instance, calls) in [(ping, A_HUNDRED_MILLION / 2), (pong, A_HUNDRED_MILLION / 2 + 1)] {
        let global = store.export(instance, "calls").and_then(Extern::global).unwrap();
        assert_eq!(global.get(&store).i64(), Some(calls), "each ran with its own base");
    }
}

#[test]
fn host_functions_can_be_tail_called() {
    let module = artifact(
        r#"(module
        (import "host" "f" (func $f (param i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
        (table funcref (elem $f))
        (func (export "direct") (param i64) (result i64) (return_call $f (local.get 0) (i64.const 1) (i64.const 2)
            (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8)))
        (func (export "indirect") (param i64) (result i64)
            (return_call_indirect (param i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64) (local.get 0) (i64.const 1)
                (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i32.const 0))))"#,
    );
    let bound = bind::<()>(&module, |linker| {
        #[expect(clippy::too_many_arguments, reason = "more than registers hold")]
        fn f(_: &mut Caller<'_, ()>, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64, g: i64, h: i64, i: i64) -> i64 {
            [a, b, c, d, e, f, g, h, i].into_iter().sum()
        }
        linker.func("host", "f", f);
    });
    let mut instance = bound.instantiate(()).unwrap();
    for export in ["direct", "indirect"] {
        let func = instance.func::<i64, i64>(export).unwrap();
        for x in 0..1000 {
            assert_eq!(func.call(&mut instance, x).unwrap(), x + 36);
        }
    }
}
