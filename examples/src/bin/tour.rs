//! The main job on a real program, with what each step took: compile, open, instantiate, run, and again fresh.
//!
//! `cargo run --release --bin tour [GUEST.wasm [ARGUMENT…]]`

use std::time::{Duration, Instant};

use precast_compiler::{Options, compile};
use precast_loader::{Artifact, CallError, HostError, Instance, Linker, Policy};
use precast_wasi::{Exit, Grants, WasiCtx, preview1};

fn main() -> Result<(), HostError> {
    let mut arguments = std::env::args().skip(1);
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/wasm/cpp-stl.p1.wasm");
    let default = std::fs::canonicalize(default)?.display().to_string();
    let guest = arguments.next().unwrap_or(default);
    let arguments: Vec<String> = std::iter::once(guest.clone()).chain(arguments).collect();
    let wasm = std::fs::read(&guest)?;

    let (artifact, time) = timed(|| compile(&wasm, &Options::default()));
    let artifact = artifact?;
    step(
        "compile",
        time,
        &format!("{} KiB of WebAssembly, {} KiB of artifact", wasm.len() >> 10, artifact.len() >> 10),
    );

    let path = std::env::temp_dir().join(format!("precast-tour-{}.so", std::process::id()));
    std::fs::write(&path, artifact)?;
    // A file that has only just been written could still change without its times telling.
    std::thread::sleep(Duration::from_millis(50));
    let (opened, time) = timed(|| Artifact::open(&path, Policy::Verify));
    let opened = opened?;
    step("open, first time", time, "the whole file is hashed");
    let (again, time) = timed(|| Artifact::open(&path, Policy::Verify));
    drop(again?);
    step("open, again", time, "nothing is");
    std::fs::remove_file(&path)?;

    let mut linker = Linker::<WasiCtx>::new();
    preview1::add_to_linker(&mut linker, |context| context);
    let (bound, time) = timed(|| linker.bind(&opened));
    let bound = bound?;
    step("bind WASI", time, "once for each artifact");

    let context = || WasiCtx::builder().args(arguments.clone()).grants(Grants::default()).build();
    let (instance, time) = timed(|| Ok::<_, HostError>(bound.instantiate(context()?)?));
    step("instantiate, first", time, "a cold slot is mapped");
    let (result, time) = timed(|| run(&mut instance?));
    result?;
    step("run", time, "what it printed is above");

    let data = context()?;
    let (instance, time) = timed(|| bound.instantiate(data));
    step("instantiate, second", time, "the slot was reset when the first was dropped");
    drop(instance?);
    println!(
        "inspect what was made: cargo run --release -p precast -- compile {guest} -o guest.so && readelf -a guest.so"
    );
    Ok(())
}

/// Runs a command to its end.
fn run(instance: &mut Instance<WasiCtx>) -> Result<(), HostError> {
    let start = instance.func::<(), ()>("_start")?;
    match start.call(instance, ()) {
        Err(CallError::Host(error)) if error.downcast_ref::<Exit>().is_some_and(|exit| exit.0 == 0) => Ok(()),
        result => Ok(result?),
    }
}

fn timed<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed())
}

fn step(name: &str, time: Duration, note: &str) {
    println!("{name:<22} {:>10.1} µs   {note}", time.as_nanos() as f64 / 1e3);
}
