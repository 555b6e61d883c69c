//! Host functions: what they see of the guest, how they fail, and how they call back.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{artifact, bind};
use precast_loader::{
    BindError, CallError, Caller, ExternRef, Func, FuncType, HostError, InstantiateError, Linker, MissingFunction,
    TrapCode, Val, ValType,
};

#[test]
fn values_of_every_type_cross_the_border() {
    let bound = bind::<()>(
        r#"(module
            (import "h" "mix"
                (func $mix (param i32 i64 f32 f64 v128 externref) (result externref v128 f64 f32 i64 i32)))
            (func (export "run") (param i32 i64 f32 f64 v128 externref) (result externref v128 f64 f32 i64 i32)
                (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5))))"#,
        |linker| {
            type Out = (Option<ExternRef>, u128, f64, f32, i64, i32);
            linker.func(
                "h",
                "mix",
                |_: &mut Caller<'_, ()>, a: i32, b: i64, c: f32, d: f64, e: u128, f: Option<ExternRef>| -> Out {
                    (f, !e, -d, -c, -b, -a)
                },
            );
        },
    );
    let mut instance = bound.instantiate(()).unwrap();
    let run = instance.func_dynamic("run").unwrap();
    let reference = ExternRef::new("x");
    let params =
        [Val::I32(1), Val::I64(2), Val::from(3f32), Val::from(4f64), Val::V128(5), Val::from(reference.clone())];
    let results = run.call(&mut instance, &params).unwrap();
    let expected =
        [Val::from(reference), Val::V128(!5), Val::from(-4f64), Val::from(-3f32), Val::I64(-2), Val::I32(-1)];
    assert_eq!(results, expected);
}

/// In registers, as far as there are some: five for integers, since the base takes one, and eight for floats. Called
/// directly, by a reference, and by the host as an export.
#[test]
fn numbers_cross_the_border_whether_registers_have_room_or_not() {
    type C<'a, 'b> = &'a mut Caller<'b, Vec<String>>;
    macro_rules! seen {
        ($caller:ident: $($value:ident)*) => { *$caller.data_mut() = vec![$($value.to_string()),*] };
    }
    let mut linker = Linker::new();
    linker.func("h", "0", |c: C<'_, '_>| -> f32 {
        seen!(c:);
        0.25
    });
    linker.func("h", "1", |caller: C<'_, '_>, a: u32, b: f32| -> i32 {
        seen!(caller: a b);
        -5
    });
    #[rustfmt::skip]
    let all = |caller: C<'_, '_>, a: u32, b: u64, c: u32, d: u64, e: u32,
        f: f32, g: f64, h: f32, i: f64, j: f32, k: f64, l: f32, m: f64| -> u64 {
        seen!(caller: a b c d e f g h i j k l m);
        7
    };
    linker.func("h", "2", all);
    linker.func("h", "3", |caller: C<'_, '_>, a: u32, b: u64, c: u32, d: u64, e: u32, f: u64| -> i64 {
        seen!(caller: a b c d e f);
        -6
    });
    #[rustfmt::skip]
    let floats = |caller: C<'_, '_>, a: f32, b: f64, c: f32, d: f64, e: f32, f: f64, g: f32, h: f64, i: f32| -> f64 {
        seen!(caller: a b c d e f g h i);
        0.125
    };
    linker.func("h", "4", floats);
    linker.func(
        "h",
        "5",
        |caller: C<'_, '_>, a: u32, b: u64, c: u32, d: u64, e: u32, f: f32| -> Result<f64, HostError> {
            seen!(caller: a b c d e f);
            if a == 99 { Err("no".into()) } else { Ok(-0.5) }
        },
    );
    linker.func("h", "6", |caller: C<'_, '_>, a: u32, b: u64, c: f32| seen!(caller: a b c));
    let functions = [
        (0, 0, Some(Val::from(0.25f32))),
        (1, 1, Some(Val::I32(-5))),
        (5, 8, Some(Val::I64(7))),
        (6, 0, Some(Val::I64(-6))),
        (0, 9, Some(Val::from(0.125f64))),
        (5, 1, Some(Val::from(-0.5f64))),
        (2, 1, None),
    ];

    // Parameters alternate between 32 and 64 bits and are numbered; where they are, each integer has `high` added.
    let params = |ints: usize, floats: usize, high: u64| {
        let int = move |at: usize| [Val::I32(at as i32), Val::I64((high + at as u64) as i64)][at % 2].clone();
        let float = move |at: usize| [Val::from(at as f32 + 0.5), Val::from(at as f64 + 0.5)][at % 2].clone();
        (0..ints).map(int).chain((0..floats).map(float)).collect::<Vec<_>>()
    };
    let type_of = |value: &Val| value.ty().name();
    let (mut imports, mut bodies) = (String::new(), String::new());
    for (at, (ints, floats, result)) in functions.iter().enumerate() {
        let params = params(*ints, *floats, 0);
        let types = params.iter().map(|param| format!("{} ", type_of(param))).collect::<String>();
        let results = result.as_ref().map_or_else(String::new, |result| format!("(result {})", type_of(result)));
        let arguments = params.iter().enumerate().map(|(index, param)| match param {
            // The upper half of the register is not zero.
            Val::I32(_) => format!("(i32.wrap_i64 (i64.add (local.get 0) (i64.const {index})))"),
            Val::I64(_) => format!("(i64.add (local.get 0) (i64.const {index}))"),
            float => format!("({}.const {}.5)", type_of(float), index - ints),
        });
        let arguments: String = arguments.collect();
        imports += &format!(r#"(import "h" "{at}" (func ${at} (param {types}) {results})) "#);
        bodies += &format!(
            r#"(export "host{at}" (func ${at})) (elem declare func ${at}) (type $t{at} (func (param {types}) {results}))
            (func (export "direct{at}") (param i64) {results} (call ${at} {arguments}))
            (func (export "indirect{at}") (param i64) {results}
                (table.set (i32.const 0) (ref.func ${at}))
                (call_indirect (type $t{at}) {arguments} (i32.const 0)))"#
        );
    }
    let high = 0xffff_ffff_0000_0000;
    let bound = linker.bind(&artifact(&format!("(module {imports} (table 1 funcref) {bodies})"))).unwrap();
    let mut instance = bound.instantiate(Vec::new()).unwrap();
    for (at, (ints, floats, result)) in functions.into_iter().enumerate() {
        let expected: Vec<_> = (0..ints)
            .map(|at| (at as u64 + if at % 2 == 1 { high } else { 0 }).to_string())
            .chain((0..floats).map(|at| format!("{at}.5")))
            .collect();
        for (export, params) in [
            ("direct", vec![Val::I64(high as i64)]),
            ("indirect", vec![Val::I64(high as i64)]),
            ("host", params(ints, floats, high)),
        ] {
            instance.data_mut().clear();
            let func = instance.func_dynamic(&format!("{export}{at}")).unwrap();
            assert_eq!(func.call(&mut instance, &params).unwrap(), Vec::from_iter(result.clone()), "{export}{at}");
            assert_eq!(*instance.data(), expected, "{export}{at}");
        }
    }
    for export in ["direct5", "indirect5"] {
        let error = instance.func_dynamic(export).unwrap().call(&mut instance, &[Val::I64(99)]).unwrap_err();
        assert!(matches!(&error, CallError::Host(error) if error.to_string() == "no"), "{error}");
    }
}

#[test]
fn sixteen_parameters() {
    let bound = bind::<()>(
        r#"(module
            (import "h" "sum" (func $sum (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
                (result i32)))
            (func (export "run") (result i32)
                (call $sum (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (i32.const 6)
                    (i32.const 7) (i32.const 8) (i32.const 9) (i32.const 10) (i32.const 11) (i32.const 12)
                    (i32.const 13) (i32.const 14) (i32.const 15) (i32.const 16))))"#,
        |linker| {
            #[allow(clippy::too_many_arguments, reason = "that is the test")]
            fn sum(
                _: &mut Caller<'_, ()>,
                a: i32,
                b: i32,
                c: i32,
                d: i32,
                e: i32,
                f: i32,
                g: i32,
                h: i32,
                i: i32,
                j: i32,
                k: i32,
                l: i32,
                m: i32,
                n: i32,
                o: i32,
                p: i32,
            ) -> i32 {
                [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p].iter().zip(1..).map(|(x, y)| x * y).sum()
            }
            linker.func("h", "sum", sum);
        },
    );
    let mut instance = bound.instantiate(()).unwrap();
    let run = instance.func::<(), i32>("run").unwrap();
    assert_eq!(run.call(&mut instance, ()).unwrap(), (1..=16).map(|x| x * x).sum());
}

#[test]
fn the_caller_gives_data_memory_and_exports() {
    let bound = bind::<Vec<String>>(
        r#"(module
            (import "h" "log" (func $log (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 100) "hello")
            (global (export "answer") (mut i32) (i32.const 1))
            (func (export "run") (result i32 i32)
                (call $log (i32.const 100) (i32.const 5)) (global.get 0)))"#,
        |linker| {
            let log = |caller: &mut Caller<'_, Vec<String>>, at: u32, len: u32| -> Result<i32, HostError> {
                let memory = caller.memory().ok_or("no memory")?;
                let bytes = memory.read_vec(caller, at.into(), len.into())?;
                memory.write(caller, at.into(), b"HELLO")?;
                caller.data_mut().push(String::from_utf8(bytes)?);
                let answer = caller.export("answer").and_then(|item| item.global()).ok_or("no global")?;
                answer.set(caller, Val::I32(42))?;
                assert!(caller.export("nothing").is_none());
                Ok(caller.data().len() as i32)
            };
            linker.func("h", "log", log);
        },
    );
    let mut instance = bound.instantiate(vec![]).unwrap();
    let run = instance.func::<(), (i32, i32)>("run").unwrap();
    assert_eq!(run.call(&mut instance, ()).unwrap(), (1, 42));
    assert_eq!(run.call(&mut instance, ()).unwrap(), (2, 42));
    assert_eq!(instance.data(), &["hello", "HELLO"]);
}

const FAILING: &str = r#"(module
    (import "h" "fail" (func $fail (param i32) (result i32)))
    (func $run (export "run") (param i32) (result i32) (i32.add (call $fail (local.get 0)) (i32.const 1))))"#;

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("failure {0}")]
struct Failure(i32);

#[test]
fn errors_abandon_the_guest_and_come_out() {
    let bound = bind::<()>(FAILING, |linker| {
        linker.func("h", "fail", |_: &mut Caller<'_, ()>, x: i32| -> Result<i32, HostError> {
            if x == 0 { Ok(1) } else { Err(Failure(x).into()) }
        });
    });
    let mut instance = bound.instantiate(()).unwrap();
    let run = instance.func::<i32, i32>("run").unwrap();
    for x in 1..4 {
        let CallError::Host(error) = run.call(&mut instance, x).unwrap_err() else { panic!("not the host's error") };
        assert_eq!(error.downcast_ref(), Some(&Failure(x)));
        assert_eq!(run.call(&mut instance, 0).unwrap(), 2);
    }
}

#[test]
fn panics_abandon_the_guest_and_come_out() {
    let bound = bind::<()>(FAILING, |linker| {
        linker.func("h", "fail", |_: &mut Caller<'_, ()>, x: i32| {
            if x != 0 {
                std::panic::panic_any(Failure(x));
            }
            1
        });
    });
    let mut instance = bound.instantiate(()).unwrap();
    let run = instance.func::<i32, i32>("run").unwrap();
    for x in 1..4 {
        let payload = catch_unwind(AssertUnwindSafe(|| run.call(&mut instance, x))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&Failure(x)));
        assert_eq!(run.call(&mut instance, 0).unwrap(), 2);
    }
}

const NESTING: &str = r#"(module
    (import "h" "call" (func $call (param i32) (result i32)))
    (func (export "run") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (call $call (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (call $end)))) 
    (func $end (result i32) (i32.div_s (i32.const 1) (global.get $zero)))
    (global $zero (export "divisor") (mut i32) (i32.const 1)))"#;

fn nesting() -> precast_loader::Bound<u32> {
    bind::<u32>(NESTING, |linker| {
        linker.func("h", "call", |caller: &mut Caller<'_, u32>, x: i32| -> Result<i32, HostError> {
            *caller.data_mut() += 1;
            let run = caller.export("run").and_then(|item| item.func()).ok_or("no function")?;
            let run = run.typed::<i32, i32>(caller)?;
            Ok(run.call(caller, x)? + 10)
        });
    })
}

#[test]
fn host_functions_call_back_into_the_guest() {
    let mut instance = nesting().instantiate(0).unwrap();
    let run = instance.func::<i32, i32>("run").unwrap();
    assert_eq!(run.call(&mut instance, 0).unwrap(), 1);
    assert_eq!(run.call(&mut instance, 5).unwrap(), 5 * 11 + 1);
    assert_eq!(*instance.data(), 5);
}

#[test]
fn a_trap_of_a_nested_call_stays_that_trap() {
    let mut instance = nesting().instantiate(0).unwrap();
    let run = instance.func::<i32, i32>("run").unwrap();
    let divisor = instance.global("divisor").unwrap();
    divisor.set(&mut instance, Val::I32(0)).unwrap();
    let error = run.call(&mut instance, 3).unwrap_err();
    let trap = error.trap().expect("a trap");
    assert_eq!(trap.code(), TrapCode::IntegerDivisionByZero);
    let names = trap.frames().iter().map(|frame| frame.function_name.as_str()).collect::<Vec<_>>();
    assert_eq!(names.iter().filter(|name| **name == "run").count(), 4, "{names:?}");
    divisor.set(&mut instance, Val::I32(1)).unwrap();
    assert_eq!(run.call(&mut instance, 2).unwrap(), 23);
}

#[test]
fn endless_nesting_is_a_trap() {
    let mut instance = nesting().instantiate(0).unwrap();
    let run = instance.func::<i32, i32>("run").unwrap();
    let error = run.call(&mut instance, 1_000_000).unwrap_err();
    assert_eq!(error.trap().expect("a trap").code(), TrapCode::StackOverflow);
    assert_eq!(run.call(&mut instance, 2).unwrap(), 23);
}

#[test]
fn a_panic_in_a_nested_call_unwinds_through_the_host_function_between() {
    struct OnDrop<'a>(&'a std::sync::atomic::AtomicU32);
    impl Drop for OnDrop<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    static DROPPED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let bound = bind::<()>(NESTING, |linker| {
        linker.func("h", "call", |caller: &mut Caller<'_, ()>, x: i32| -> Result<i32, HostError> {
            let _on_drop = OnDrop(&DROPPED);
            assert_ne!(x, 0, "the end");
            let run = caller.export("run").and_then(|item| item.func()).ok_or("no function")?;
            let results = run.call(caller, &[Val::I32(x)])?;
            results[0].i32().ok_or_else(|| "no integer".into())
        });
    });
    let mut instance = bound.instantiate(()).unwrap();
    let run = instance.func::<i32, i32>("run").unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| run.call(&mut instance, 3))).unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().contains("the end"));
    assert_eq!(DROPPED.load(std::sync::atomic::Ordering::Relaxed), 3);
    assert_eq!(run.call(&mut instance, 0).unwrap(), 1);
}

#[test]
fn dynamic_host_functions() {
    let ty = FuncType { params: [ValType::I32, ValType::V128].into(), results: [ValType::V128, ValType::I32].into() };
    let bound = bind::<bool>(
        r#"(module (import "h" "f" (func $f (param i32 v128) (result v128 i32)))
            (func (export "run") (param i32 v128) (result v128 i32) (call $f (local.get 0) (local.get 1))))"#,
        |linker| {
            linker.func_dynamic("h", "f", ty, |caller, params, results| {
                let wrong = *caller.data();
                let [Val::I32(x), v128] = params else { return Err("parameters".into()) };
                results[0] = if wrong { Val::I32(1) } else { v128.clone() };
                results[1] = Val::I32(x + 1);
                Ok(())
            });
        },
    );
    let mut instance = bound.instantiate(false).unwrap();
    let run = instance.func::<(i32, u128), (u128, i32)>("run").unwrap();
    assert_eq!(run.call(&mut instance, (1, 2 << 64)).unwrap(), (2 << 64, 2));
    *instance.data_mut() = true;
    let error = run.call(&mut instance, (1, 2)).unwrap_err();
    assert_eq!(error.to_string(), "the host function gave i32 for a result of type v128");
}

#[test]
fn a_function_reference_can_be_called_by_the_host() {
    let bound = bind::<Vec<i32>>(
        r#"(module
            (import "h" "each" (func $each (param funcref) (result funcref)))
            (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
            (table 1 funcref)
            (elem declare func $double)
            (func (export "run") (param i32) (result i32)
                (table.set (i32.const 0) (call $each (ref.func $double)))
                (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))"#,
        |linker| {
            let each = |caller: &mut Caller<'_, Vec<i32>>, f: Option<Func>| -> Result<Option<Func>, HostError> {
                let double = f.ok_or("null")?.typed::<i32, i32>(caller)?;
                for x in 0..3 {
                    let y = double.call(caller, x)?;
                    caller.data_mut().push(y);
                }
                Ok(f)
            };
            linker.func("h", "each", each);
        },
    );
    let mut instance = bound.instantiate(vec![]).unwrap();
    let run = instance.func::<i32, i32>("run").unwrap();
    assert_eq!(run.call(&mut instance, 21).unwrap(), 42);
    assert_eq!(instance.data(), &[0, 2, 4]);
}

#[test]
fn start_functions_may_call_the_host_and_fail() {
    let module = artifact(
        r#"(module (import "h" "start" (func $start (param i32)))
            (func $init (call $start (i32.const 7))) (start $init))"#,
    );
    let mut linker = Linker::<i32>::new();
    linker.func("h", "start", |caller: &mut Caller<'_, i32>, x: i32| -> Result<(), HostError> {
        if *caller.data() < 0 {
            return Err(Failure(*caller.data()).into());
        }
        *caller.data_mut() += x;
        Ok(())
    });
    let bound = linker.bind(&module).unwrap();
    assert_eq!(*bound.instantiate(1).unwrap().data(), 8);
    let error = bound.instantiate(-1).unwrap_err();
    assert!(matches!(error, InstantiateError::Start(CallError::Host(error)) if error.is::<Failure>()));
}

#[test]
fn missing_and_ill_typed_imports_are_named() {
    let module = artifact(r#"(module (import "env" "f" (func (param i32) (result i64))))"#);
    let mut linker = Linker::<()>::new();
    let error = linker.bind(&module).unwrap_err();
    assert!(matches!(&error, BindError::Missing { module, name, .. } if module == "env" && name == "f"), "{error}");
    linker.func("env", "f", |_: &mut Caller<'_, ()>, _: i64| 1i64);
    assert_eq!(
        linker.bind(&module).unwrap_err().to_string(),
        r#"incompatible import type: "env" "f" is func (i64) -> (i64), and func (i32) -> (i64) is wanted"#
    );
    linker.func("env", "f", |_: &mut Caller<'_, ()>, _: i32| 1i64);
    assert!(linker.bind(&module).is_ok());
    let memory = artifact(r#"(module (import "env" "f" (memory 1)))"#);
    assert!(matches!(linker.bind(&memory), Err(BindError::Type { .. })));
}

#[test]
fn missing_functions_may_fail_only_when_called() {
    let module = artifact(
        r#"(module (import "env" "f" (func $f (param i32))) (func (export "run") (call $f (i32.const 1)))
            (func (export "other") (result i32) (i32.const 5)))"#,
    );
    let mut linker = Linker::<()>::new();
    let mut instance = linker.trap_missing_functions().bind(&module).unwrap().instantiate(()).unwrap();
    assert_eq!(instance.func::<(), i32>("other").unwrap().call(&mut instance, ()).unwrap(), 5);
    let run = instance.func::<(), ()>("run").unwrap();
    let CallError::Host(error) = run.call(&mut instance, ()).unwrap_err() else { panic!("not the host's error") };
    assert_eq!(error.downcast_ref(), Some(&MissingFunction { module: "env".into(), name: "f".into() }));
    let memory = artifact(r#"(module (import "env" "m" (memory 1)))"#);
    assert!(matches!(linker.bind(&memory), Err(BindError::Missing { .. })));
}
