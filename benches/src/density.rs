//! What an instance takes that was called once and waits for its next call: resident memory, page tables, mappings. Each
//! runtime is measured in a process of its own.

use precast_compiler::MemoryModel;
use precast_loader::{Artifact, Linker, Policy};
use wasmtime::Store;

use crate::report::Report;
use crate::{Result, child, guests, peer};

/// Writes to a page of memory and to a global.
const GUEST: &str = r#"(module (memory 1) (global $calls (mut i32) (i32.const 0))
    (func (export "run")
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store (i32.const 1024) (global.get $calls))))"#;

/// Instances that are alive at once.
const ALIVE: u32 = 4000;

/// What each instance takes.
struct Each {
    resident_kib: f64,
    page_tables_kib: f64,
    mappings: f64,
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let checked = MemoryModel::Checked { reservation: 1 << 20 };
    let engine = peer::with_instances(ALIVE)?;
    let files = [
        ("density-precast", folder.path().join("guarded.so"), guests::precast(GUEST.as_bytes())?),
        ("density-precast", folder.path().join("checked.so"), guests::precast_with(GUEST.as_bytes(), checked)?),
        ("density-wasmtime", folder.path().join("guest.cwasm"), wasmtime::Module::new(&engine, GUEST)?.serialize()?),
    ];
    let mut found = Vec::new();
    for (what, path, bytes) in files {
        std::fs::write(&path, bytes)?;
        found.push(Each::parse(&child::output(what, &path)?)?);
    }
    let [guarded, checked, peers] = &found[..] else { return Err("three were measured".into()) };
    for (model, ours) in [("guarded", guarded), ("checked", checked)] {
        report.add(&format!("idle instance, {model}: resident"), "KiB", ours.resident_kib, peers.resident_kib);
        report.add(&format!("{model}: page tables"), "KiB", ours.page_tables_kib, peers.page_tables_kib);
        report.add(&format!("{model}: mappings"), "", ours.mappings, peers.mappings);
    }
    Ok(())
}

impl Each {
    fn parse(text: &str) -> Result<Each> {
        let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [resident_kib, page_tables_kib, mappings] = numbers[..] else { return Err(text.into()) };
        Ok(Each { resident_kib, page_tables_kib, mappings })
    }
}

/// The child's side for precast.
pub(crate) fn precast(path: &str) -> Result<()> {
    let bound = Linker::<()>::new().bind(&Artifact::open(path, Policy::Verify)?)?;
    let run = bound.func::<(), ()>("run")?;
    measure(|| {
        let mut instance = bound.instantiate(())?;
        run.call(&mut instance, ())?;
        Ok(instance)
    })
}

/// The child's side for wasmtime.
pub(crate) fn wasmtime(path: &str) -> Result<()> {
    let engine = peer::with_instances(ALIVE)?;
    // SAFETY: the parent wrote the file with `Module::serialize` of an engine with the same settings.
    let module = unsafe { wasmtime::Module::deserialize_file(&engine, path)? };
    let pre = wasmtime::Linker::<()>::new(&engine).instantiate_pre(&module)?;
    measure(|| {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let instance = pre.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
        Ok((store, instance))
    })
}

/// Makes instances and prints what each takes.
fn measure<I>(mut instance: impl FnMut() -> Result<I>) -> Result<()> {
    // What all have in common is there by then.
    let first = instance()?;
    let now = || -> Result<[f64; 3]> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such field")?;
            Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
        };
        let mappings = std::fs::read_to_string("/proc/self/maps")?.lines().count();
        Ok([field("VmRSS:")?, field("VmPTE:")?, mappings as f64])
    };
    let before = now()?;
    let instances = (0..ALIVE - 1).map(|_| instance()).collect::<Result<Vec<_>>>()?;
    let after = now()?;
    let each: Vec<_> = before
        .iter()
        .zip(after)
        .map(|(before, after)| format!("{:.3}", (after - before) / instances.len() as f64))
        .collect();
    println!("{}", each.join(" "));
    drop((first, instances));
    Ok(())
}
