//! Fuel of components: their instances share it, and glue is charged for what it moves.
#![cfg(target_arch = "x86_64")]

mod common;

use common::{LIBC, artifact_with};
use precast_compiler::{OptLevel, Options};
use precast_loader::component::{Bound, Instance, Linker};
use precast_loader::{InstantiateError, Limits, MeteringError, TrapCode};

/// A component whose `run` passes so many elements of zeros from one instance to another, as what `ty` says.
fn passing(ty: &str) -> String {
    format!(
        r#"(component
            (component $Callee {LIBC}
                (core module $M (func (export "f") (param i32 i32) (result i32) (local.get 1)))       ;; 1+1
                (core instance $m (instantiate $M))
                (func (export "f") (param "x" {ty}) (result u32)
                    (canon lift (core func $m "f") (memory $libc "memory") (realloc (func $libc "realloc")))))
            (component $Caller {LIBC}
                (import "f" (func $f (param "x" {ty}) (result u32)))
                (core func $lowered (canon lower (func $f) (memory $libc "memory")))
                (core module $M (import "callee" "f" (func $f (param i32 i32) (result i32)))
                    (func (export "run") (param i32) (result i32) (call $f (i32.const 1024) (local.get 0)))   ;; 1+3
                    (func (export "spin") (result i32) (loop (br 0)) (unreachable)))
                (core instance $m (instantiate $M (with "callee" (instance (export "f" (func $lowered))))))
                (func (export "run") (param "n" u32) (result u32) (canon lift (core func $m "run")))
                (func (export "spin") (result u32) (canon lift (core func $m "spin"))))
            (instance $callee (instantiate $Callee))
            (instance $caller (instantiate $Caller (with "f" (func $callee "f"))))
            (export "run" (func $caller "run"))
            (export "spin" (func $caller "spin")))"#
    )
}

fn bound(ty: &str, opt_level: OptLevel) -> Bound<()> {
    let options = Options { fuel: true, verify: true, opt_level, ..Options::default() };
    Linker::new().bind(&artifact_with(&passing(ty), &options)).expect("binds")
}

fn run(instance: &mut Instance<()>, elements: u32) -> u64 {
    let before = instance.fuel().unwrap();
    let run = instance.func::<(u32,), u32>("", "run").unwrap();
    assert_eq!(run.call(instance, (elements,)).unwrap(), elements);
    before - instance.fuel().unwrap()
}

#[test]
fn glue_is_charged_for_what_it_moves() {
    // It is entered and executes 27 operators where it need not grow the memory.
    const REALLOC: u64 = 28;
    for (ty, elements, units) in [
        ("string", 0, 0),
        ("string", 63, 0),
        ("string", 32_000, 500),
        ("(list u8)", 32_000, 500),
        ("(list u32)", 1600, 100),
        ("(list bool)", 1600, 1600),
        ("(list (tuple u8 u16))", 1600, 1600),
    ] {
        for opt_level in [OptLevel::Speed, OptLevel::None] {
            let mut instance = bound(ty, opt_level).instantiate(()).unwrap();
            assert_eq!(run(&mut instance, elements), 4 + REALLOC + units + 2, "{elements} elements of {ty}");
        }
    }
}

#[test]
fn what_is_not_paid_for_ends_the_instance() {
    let bound = bound("string", OptLevel::Speed);
    let cost = run(&mut bound.instantiate(()).unwrap(), 6400);
    for fuel in [0, 5, 50, cost - 1] {
        let limits = Limits { fuel: Some(fuel), ..Limits::default() };
        let mut instance = bound.clone().limits(limits).instantiate(()).unwrap();
        let run = instance.func::<(u32,), u32>("", "run").unwrap();
        let error = run.call(&mut instance, (6400,)).unwrap_err();
        assert_eq!(error.trap().map(|trap| trap.code()), Some(TrapCode::OutOfFuel), "{fuel} of {cost}: {error}");
        instance.set_fuel(1 << 20).unwrap();
        let error = run.call(&mut instance, (1,)).unwrap_err();
        assert_eq!(error.trap().map(|trap| trap.code()), Some(TrapCode::CannotEnter));
    }
    let limits = Limits { fuel: Some(cost), ..Limits::default() };
    let mut instance = bound.limits(limits).instantiate(()).unwrap();
    assert_eq!((run(&mut instance, 6400), instance.fuel()), (cost, Some(0)));
    instance.set_fuel(1000).unwrap();
    let error = instance.func::<(), u32>("", "spin").unwrap().call(&mut instance, ()).unwrap_err();
    assert_eq!(error.trap().map(|trap| trap.code()), Some(TrapCode::OutOfFuel));
}

#[test]
fn components_that_are_not_metered_have_no_fuel() {
    let bound = Linker::<()>::new().bind(&artifact_with(&passing("string"), &Options::default())).unwrap();
    let mut instance = bound.instantiate(()).unwrap();
    assert_eq!((instance.fuel(), instance.set_fuel(1)), (None, Err(MeteringError::NotMetered)));
    let limits = Limits { fuel: Some(1), ..Limits::default() };
    let error = bound.limits(limits).instantiate(()).unwrap_err();
    assert!(matches!(error, InstantiateError::Metering(MeteringError::NotMetered)));
}
