//! Embedding the loader: bind host functions once, then a fresh instance for every request.
//!
//! `cargo run -p precast-examples --bin embed`

use precast_loader::{Artifact, Caller, HostError, Linker, Policy};

/// What the host knows about a request while its guest runs.
struct Request {
    body: Vec<u8>,
    log: Vec<String>,
}

type Guest<'a, 'b> = &'a mut Caller<'b, Request>;

const GUEST: &str = r#"(module
    (import "host" "read_body" (func $read_body (param i32 i32) (result i32)))
    (import "host" "log" (func $log (param i32 i32)))
    (memory (export "memory") 1) (data (i32.const 0) "seen once")
    (func (export "handle") (result i32) (local $len i32) (local $sum i32)
        (call $log (i32.const 0) (i32.const 9))
        (local.set $len (call $read_body (i32.const 1024) (i32.const 4096)))
        (block $done (loop $next
            (br_if $done (i32.eqz (local.get $len)))
            (local.set $len (i32.sub (local.get $len) (i32.const 1)))
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=1024 (local.get $len))))
            (br $next))) (local.get $sum)))"#;

fn main() -> Result<(), HostError> {
    // At build time: compile and ship the file.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("guest.so");
    std::fs::write(&path, precast_compiler::compile(GUEST.as_bytes(), &Default::default())?)?;

    // At start: open, and bind the host's functions.
    let artifact = Artifact::open(&path, Policy::Verify)?;
    let mut linker = Linker::<Request>::new();
    linker.func("host", "read_body", |caller: Guest<'_, '_>, at: u32, room: u32| -> Result<u32, HostError> {
        let memory = caller.memory().ok_or("the guest exports no memory")?;
        let mut body = caller.data().body.clone();
        body.truncate(room as usize);
        memory.write(caller, at.into(), &body)?;
        Ok(body.len() as u32)
    });
    linker.func("host", "log", |caller: Guest<'_, '_>, at: u32, len: u32| -> Result<(), HostError> {
        let memory = caller.memory().ok_or("the guest exports no memory")?;
        let text = memory.read_vec(&*caller, at.into(), len.into())?;
        caller.data_mut().log.push(String::from_utf8_lossy(&text).into_owned());
        Ok(())
    });
    let bound = linker.bind(&artifact)?;

    // For each request: a fresh instance, dropped afterwards.
    for body in ["first", "second"] {
        let mut instance = bound.instantiate(Request { body: body.into(), log: Vec::new() })?;
        let sum = instance.func::<(), u32>("handle")?.call(&mut instance, ())?;
        println!("{body}: {sum}, and it said {:?}", instance.data().log);
    }
    Ok(())
}
