//! Components: a fresh instance of real guests, calls from one component to another, and calls of the host with strings.

use precast_loader::component::Linker;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::guests::{self, ComponentPair};
use crate::report::{Report, nanoseconds, nanoseconds_each, nanoseconds_kept, nanoseconds_on};
use crate::{Result, peer};

/// Calls of one measurement.
const CALLS: u32 = 100_000;

/// `$callee` takes a number, a string and a list of records; `$caller` calls each of its functions `n` times. `plain`
/// does the same as `number` within one module.
const CALLS_GUEST: &str = r#"(component
    (component $callee
        (core module $m
            (memory (export "memory") 2)
            (func (export "number") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
            (func (export "bytes") (param i32 i32) (result i32) (local.get 1))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $i (instantiate $m))
        (type $record (record (field "id" u32) (field "weight" f64)))
        (export $exported "record" (type $record))
        (func (export "number") (param "n" u32) (result u32) (canon lift (core func $i "number")))
        (func (export "text") (param "s" string) (result u32)
            (canon lift (core func $i "bytes") (memory $i "memory") (realloc (func $i "realloc"))))
        (func (export "records") (param "l" (list $exported)) (result u32)
            (canon lift (core func $i "bytes") (memory $i "memory") (realloc (func $i "realloc")))))
    (component $caller
        (import "number" (func $number (param "n" u32) (result u32)))
        (import "text" (func $text (param "s" string) (result u32)))
        (type $record (record (field "id" u32) (field "weight" f64)))
        (import "record" (type $imported (eq $record)))
        (import "records" (func $records (param "l" (list $imported)) (result u32)))
        (core module $memory (memory (export "memory") 2) (data (i32.const 0) "some text, again and again. "))
        (core instance $mem (instantiate $memory))
        (core func $number (canon lower (func $number)))
        (core func $text (canon lower (func $text) (memory $mem "memory")))
        (core func $records (canon lower (func $records) (memory $mem "memory")))
        (core module $m
            (import "i" "number" (func $number (param i32) (result i32)))
            (import "i" "text" (func $text (param i32 i32) (result i32)))
            (import "i" "records" (func $records (param i32 i32) (result i32)))
            (func $plain (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
            (table 1 funcref) (elem (i32.const 0) $plain)
            (func (export "plain") (param $n i32) (result i32) (local $sum i32)
                (loop $next
                    (local.set $sum (call_indirect (param i32) (result i32) (local.get $sum) (i32.const 0)))
                    (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $sum))
            (func (export "number") (param $n i32) (result i32) (local $sum i32)
                (loop $next
                    (local.set $sum (call $number (local.get $sum)))
                    (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $sum))
            (func (export "text") (param $n i32) (result i32) (local $sum i32)
                (loop $next
                    (local.set $sum (i32.add (local.get $sum) (call $text (i32.const 0) (i32.const 1024))))
                    (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $sum))
            (func (export "records") (param $n i32) (result i32) (local $sum i32)
                (loop $next
                    (local.set $sum (i32.add (local.get $sum) (call $records (i32.const 0) (i32.const 64))))
                    (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $sum)))
        (core instance $i (instantiate $m (with "i" (instance
            (export "number" (func $number)) (export "text" (func $text)) (export "records" (func $records))))))
        (func (export "plain") (param "n" u32) (result u32) (canon lift (core func $i "plain")))
        (func (export "number") (param "n" u32) (result u32) (canon lift (core func $i "number")))
        (func (export "text") (param "n" u32) (result u32) (canon lift (core func $i "text")))
        (func (export "records") (param "n" u32) (result u32) (canon lift (core func $i "records"))))
    (instance $callee (instantiate $callee))
    (instance $caller (instantiate $caller
        (with "number" (func $callee "number")) (with "text" (func $callee "text"))
        (with "record" (type $callee "record")) (with "records" (func $callee "records"))))
    (export "plain" (func $caller "plain"))
    (export "number" (func $caller "number"))
    (export "text" (func $caller "text"))
    (export "records" (func $caller "records")))"#;

/// `run(n)` calls the host `n` times with a string of 16 bytes.
const HOST_GUEST: &str = r#"(component
    (import "log" (func $log (param "s" string) (result u32)))
    (core module $memory (memory (export "memory") 1) (data (i32.const 0) "sixteen bytes!!!"))
    (core instance $mem (instantiate $memory))
    (core func $log (canon lower (func $log) (memory $mem "memory")))
    (core module $m
        (import "i" "log" (func $log (param i32 i32) (result i32)))
        (func (export "run") (param $n i32) (result i32) (local $sum i32)
            (loop $next
                (local.set $sum (i32.add (local.get $sum) (call $log (i32.const 0) (i32.const 16))))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))
    (core instance $i (instantiate $m (with "i" (instance (export "log" (func $log))))))
    (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let engine = peer::engine()?;
    for (language, name) in guests::HTTP {
        if let Some(path) = guests::find(&format!("{name}.wasm")) {
            cycle(report, &engine, language, &std::fs::read(path)?)?;
        }
    }
    calls(report, &engine)?;
    host(report, &engine)
}

/// The guest's imports are stubs that trap: what is measured is opening it, and making and dropping an instance.
fn cycle(report: &mut Report, engine: &wasmtime::Engine, language: &str, wasm: &[u8]) -> Result<()> {
    let pair = ComponentPair::compile(engine, wasm)?;
    let (ours, peers) = (ours(&pair)?, peers(engine, &pair)?);
    report.compare(
        &format!("open, {language}"),
        "µs",
        || Ok(nanoseconds_each(20, || pair.open_ours())? / 1e3),
        || Ok(nanoseconds_each(20, || pair.open_peers(engine))? / 1e3),
    )?;
    report.compare(
        &format!("instantiate, {language}, new slot"),
        "µs",
        || {
            let bound = self::ours(&pair)?;
            Ok(nanoseconds_kept(ALIVE, || Ok(bound.instantiate(())?))? / 1e3)
        },
        || {
            let engine = &peer::engine()?;
            let pre = self::peers(engine, &pair)?;
            Ok(nanoseconds_kept(ALIVE, || instantiate(engine, &pre))? / 1e3)
        },
    )?;
    for threads in [1, 2] {
        let threads_named = if threads == 1 { String::new() } else { format!(", {threads} threads") };
        report.compare(
            &format!("instantiate + drop, {language}{threads_named}"),
            "ns",
            || nanoseconds_on(threads, CYCLES * threads, || Ok(ours.instantiate(())?)),
            || nanoseconds_on(threads, CYCLES * threads, || instantiate(engine, &peers)),
        )?;
    }
    Ok(())
}

/// Instances that are alive at once where slots are to be new.
const ALIVE: u32 = 8;

/// Instances that each thread makes, for each thread that there is: enough that it does not matter how long they take to
/// start.
const CYCLES: u32 = 5000;

fn ours(pair: &ComponentPair) -> Result<precast_loader::component::Bound<()>> {
    let mut linker = Linker::<()>::new();
    linker.trap_missing();
    Ok(linker.bind(&pair.open_ours()?)?)
}

fn peers(engine: &wasmtime::Engine, pair: &ComponentPair) -> Result<InstancePre<()>> {
    let component = pair.open_peers(engine)?;
    let mut linker = wasmtime::component::Linker::<()>::new(engine);
    linker.define_unknown_imports_as_traps(&component)?;
    Ok(linker.instantiate_pre(&component)?)
}

fn instantiate(engine: &wasmtime::Engine, pre: &InstancePre<()>) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(engine, ());
    let instance = pre.instantiate(&mut store)?;
    Ok((store, instance))
}

fn calls(report: &mut Report, engine: &wasmtime::Engine) -> Result<()> {
    let pair = ComponentPair::compile(engine, CALLS_GUEST.as_bytes())?;
    let mut ours = Linker::<()>::new().bind(&pair.open_ours()?)?.instantiate(())?;
    let mut store = Store::new(engine, ());
    let peers = wasmtime::component::Linker::<()>::new(engine).instantiate(&mut store, &pair.open_peers(engine)?)?;
    for (name, label, times) in [
        ("plain", "call through a table in a module", CALLS),
        ("number", "component to component, u32", CALLS),
        ("text", "component to component, 1 KiB", CALLS / 10),
        ("records", "component to component, 64 records", CALLS / 10),
    ] {
        let our_func = ours.func::<(u32,), u32>("", name)?;
        let peer_func = peers.get_typed_func::<(u32,), (u32,)>(&mut store, name)?;
        let per_call = |total: f64| total / f64::from(times);
        report.compare(
            label,
            "ns",
            || Ok(per_call(nanoseconds(1, || Ok(our_func.call(&mut ours, (times,))?))?)),
            || Ok(per_call(nanoseconds(1, || Ok(peer_func.call(&mut store, (times,))?))?)),
        )?;
    }
    Ok(())
}

fn host(report: &mut Report, engine: &wasmtime::Engine) -> Result<()> {
    let pair = ComponentPair::compile(engine, HOST_GUEST.as_bytes())?;
    let mut linker = Linker::<()>::new();
    linker.func("", "log", |_, (text,): (String,)| Ok(text.len() as u32));
    let mut ours = linker.bind(&pair.open_ours()?)?.instantiate(())?;
    let our_run = ours.func::<(u32,), u32>("", "run")?;
    let mut linker = wasmtime::component::Linker::<()>::new(engine);
    linker.root().func_wrap("log", |_, (text,): (String,)| Ok((text.len() as u32,)))?;
    let mut store = Store::new(engine, ());
    let peers = linker.instantiate(&mut store, &pair.open_peers(engine)?)?;
    let peer_run = peers.get_typed_func::<(u32,), (u32,)>(&mut store, "run")?;
    let per_call = |total: f64| total / f64::from(CALLS);
    report.compare(
        "host call with a string",
        "ns",
        || Ok(per_call(nanoseconds(1, || Ok(our_run.call(&mut ours, (CALLS,))?))?)),
        || Ok(per_call(nanoseconds(1, || Ok(peer_run.call(&mut store, (CALLS,))?))?)),
    )
}
