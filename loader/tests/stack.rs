//! The end of the guest's stack, wherever it is met: in a frame of any size, calling the host, calling a builtin.

mod common;

use common::{bind, instance};
use precast_loader::{CallError, Caller, Instance, TrapCode, Val};

fn overflows<T>(instance: &mut Instance<T>, export: &str, argument: i32) {
    let func = instance.func_dynamic(export).expect("exported");
    match func.call(instance, &[Val::I32(argument)]) {
        Err(CallError::Trap(trap)) => assert_eq!(trap.code(), TrapCode::StackOverflow, "{export} {argument}: {trap}"),
        other => panic!("{export} {argument}: {other:?}"),
    }
}

/// A function that recurses with `locals` values alive across the call: a frame of about eight bytes for each.
fn recursion_with_frame(locals: usize) -> String {
    let names = |each: &dyn Fn(usize) -> String| (0..locals).map(each).collect::<String>();
    format!(
        "(module (func $f (export \"f\") (param i32) (result i64) {} {} (local.set 1 (call $f (local.get 0))) \
         (local.get 1) {}))",
        "(local i64)".repeat(locals.max(1)),
        names(&|i| format!("(local.set {} (i64.extend_i32_u (i32.add (local.get 0) (i32.const {i}))))", i + 1)),
        names(&|i| format!("(i64.add (local.get {}))", i + 1)),
    )
}

#[test]
fn frames_of_every_size_meet_the_guard() {
    for locals in [0, 1, 2, 3, 10, 100, 1000, 4000, 20_000] {
        let mut instance = instance(&recursion_with_frame(locals));
        overflows(&mut instance, "f", 1);
        overflows(&mut instance, "f", 2);
    }
}

#[test]
fn the_host_and_builtins_are_called_near_the_end() {
    let bound = bind::<u64>(
        r#"(module (import "env" "tick" (func $tick (param i64))) (memory 1)
            (func $host (export "host") (param i32) (result i64)
                (call $tick (i64.const 1)) (i64.add (call $host (local.get 0)) (i64.const 1)))
            (func $grow (export "grow") (param i32) (result i64)
                (drop (memory.grow (i32.const 0))) (i64.add (call $grow (local.get 0)) (i64.const 1)))
            (func $both (export "both") (param i32) (result i64) (local i64)
                (local.set 1 (i64.extend_i32_u (local.get 0)))
                (call $tick (local.get 1)) (drop (memory.grow (i32.const 0)))
                (i64.add (call $both (i32.add (local.get 0) (i32.const 1))) (local.get 1))))"#,
        |linker| {
            linker.func("env", "tick", |caller: &mut Caller<'_, u64>, _: i64| *caller.data_mut() += 1);
        },
    );
    for export in ["host", "grow", "both"] {
        // Entering from different depths moves the frames against the end of the stack.
        let mut instance = bound.instantiate(0).expect("instantiates");
        (0..3).for_each(|argument| overflows(&mut instance, export, argument));
        assert!(export == "grow" || *instance.data() > 1000, "the host was called");
    }
}

#[test]
fn endless_recursion_through_the_host_is_a_trap() {
    let bound = bind::<()>(
        r#"(module (import "env" "again" (func $again (param i32) (result i32)))
            (func (export "f") (param i32) (result i32) (i32.add (call $again (local.get 0)) (i32.const 1))))"#,
        |linker| {
            linker.func("env", "again", |caller: &mut Caller<'_, ()>, value: i32| {
                let Some(precast_loader::Extern::Func(func)) = caller.export("f") else { panic!("exported") };
                let func = func.typed::<i32, i32>(caller)?;
                Ok::<_, precast_loader::HostError>(func.call(caller, value)?)
            });
        },
    );
    let mut instance = bound.instantiate(()).expect("instantiates");
    let func = instance.func::<i32, i32>("f").expect("exported");
    for _ in 0..2 {
        let error = func.call(&mut instance, 1).expect_err("ends");
        assert!(format!("{error:?}").contains("StackOverflow"), "{error:?}");
    }
}
