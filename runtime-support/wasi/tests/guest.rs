//! Compiled guests that call WASI through the loader's linker.

use std::sync::{Arc, Mutex};

use precast_loader::{Artifact, CallError, Instance, Linker};
use precast_wasi::preview1::{NoMemory, add_to_linker};
use precast_wasi::{Exit, Grant, Grants, OutputPipe, Stdin, Stdout, WasiCtx};

/// The host's data: what a real embedder would have besides WASI.
struct Host {
    wasi: WasiCtx,
}

fn instance(wat: &str, wasi: WasiCtx) -> Instance<Host> {
    let bytes = precast_compiler::compile(wat.as_bytes(), &precast_compiler::Options::default()).unwrap();
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi);
    let bound = linker.bind(&Artifact::open_bytes(&bytes).unwrap()).unwrap();
    bound.instantiate(Host { wasi }).unwrap()
}

fn quiet(grants: Grants) -> WasiCtx {
    let pipe = || Stdout::Pipe(OutputPipe::new(1 << 20));
    let builder = WasiCtx::builder().grants(grants).stdin(Stdin::Bytes(Vec::new()));
    builder.stdout(pipe()).stderr(pipe()).build().unwrap()
}

fn exit_status(error: CallError) -> i32 {
    match error {
        CallError::Host(error) => error.downcast::<Exit>().unwrap().0,
        other => panic!("{other}"),
    }
}

const ALL_FUNCTIONS: &str = include_str!("all-functions.wat");

#[test]
fn every_function_is_there_with_its_type_and_none_can_be_made_to_trap() {
    assert_eq!(ALL_FUNCTIONS.matches("(import \"wasi_snapshot_preview1\"").count(), 46);
    for grants in [Grants::none(), Grants::from_iter([Grant::Clocks, Grant::Random])] {
        // Around each page's and the memory's ends, around the descriptors, and where sums wrap.
        for value in [0, 1, 2, 3, 4, 0x7fff, 0xffff, 0x10000, i32::MAX, i32::MIN, -65536, -64, -1] {
            let mut instance = instance(ALL_FUNCTIONS, quiet(grants.clone()));
            let call = instance.func::<i32, i32>("call").unwrap();
            let succeeded = call.call(&mut instance, value).unwrap();
            assert!((1..44).contains(&succeeded), "{succeeded} with {value}");
        }
    }
}

#[test]
fn the_guest_exits_with_a_status() {
    let mut instance = instance(ALL_FUNCTIONS, quiet(Grants::none()));
    let exit = instance.func::<i32, ()>("proc_exit").unwrap();
    assert_eq!(exit_status(exit.call(&mut instance, 42).unwrap_err()), 42);
}

#[test]
fn a_signal_ends_the_guest_or_is_ignored() {
    let mut instance = instance(ALL_FUNCTIONS, quiet(Grants::none()));
    let raise = instance.func::<i32, i32>("proc_raise").unwrap();
    assert_eq!(raise.call(&mut instance, 0).unwrap(), 0);
    assert_eq!(raise.call(&mut instance, 99).unwrap(), 28);
    assert_eq!(exit_status(raise.call(&mut instance, 6).unwrap_err()), 134);
}

#[test]
fn what_the_guest_writes_arrives() {
    let hello = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\06\00\00\00\16\00\00\00\06\00\00\00hello world\n")
        (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 100)))))"#;
    let stdout = OutputPipe::new(100);
    let wasi = WasiCtx::builder().stdout(Stdout::Pipe(stdout.clone())).build().unwrap();
    let mut instance = instance(hello, wasi);
    instance.func::<(), ()>("_start").unwrap().call(&mut instance, ()).unwrap();
    assert_eq!(stdout.contents(), b"hello world\n");
}

#[test]
fn a_denial_is_told_before_the_call_returns() {
    let late = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "time") (result i32) (call $time (i32.const 0) (i64.const 0) (i32.const 0))))"#;
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let wasi = WasiCtx::builder().on_denial(move |denial| sink.lock().unwrap().push(denial.grant.clone()));
    let mut denied = instance(late, wasi.build().unwrap());
    let time = denied.func::<(), i32>("time").unwrap();
    assert_eq!((time.call(&mut denied, ()).unwrap(), time.call(&mut denied, ()).unwrap()), (76, 76));
    assert_eq!(*told.lock().unwrap(), ["clocks"]);

    let mut granted = instance(late, quiet(Grants::none().with(Grant::Clocks)));
    let time = granted.func::<(), i32>("time").unwrap();
    assert_eq!(time.call(&mut granted, ()).unwrap(), 0);
    let memory = granted.memory("memory").unwrap();
    assert!(memory.read_u64(&granted, 0).unwrap() > 1_700_000_000_000_000_000);
}

#[test]
fn without_a_memory_there_is_no_wasi() {
    let bare = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (func (export "yield") (result i32) (call $yield)))"#;
    let mut instance = instance(bare, quiet(Grants::none()));
    let error = instance.func::<(), i32>("yield").unwrap().call(&mut instance, ()).unwrap_err();
    let CallError::Host(error) = error else { panic!("{error}") };
    assert!(error.is::<NoMemory>());
}
