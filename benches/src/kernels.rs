//! How fast the code is: `kern-*`, which import nothing, and the kernels of `rs-kernels`, which time themselves.

use std::collections::BTreeMap;

use precast_loader::Linker;
use wasmtime::{Engine, Store};

use crate::child::cpu_time;
use crate::guests::{self, KERNELS, Pair};
use crate::host::{self, Host};
use crate::report::{Report, median, milliseconds};
use crate::{Result, peer};

pub(crate) fn run(report: &mut Report) -> Result<()> {
    kernels(report, &peer::engine()?)?;
    rust_kernels(report)?;
    report.geometric_mean("run time", "ms");
    report.group("kernels that can be interrupted", "wasmtime");
    kernels(report, &peer::spin()?)?;
    report.geometric_mean("run time", "ms");
    Ok(())
}

fn kernels(report: &mut Report, engine: &Engine) -> Result<()> {
    for (name, argument) in KERNELS {
        let Some(path) = guests::find(&format!("kern-{name}.core.wasm")) else { continue };
        let pair = Pair::compile(engine, &std::fs::read(path)?)?;
        let mut ours = Linker::<()>::new().bind(&pair.open_ours()?)?.instantiate(())?;
        let our_run = ours.func::<i32, i32>("run")?;
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1);
        let instance = wasmtime::Linker::new(engine).instantiate(&mut store, &pair.open_peers(engine)?)?;
        let peer_run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
        if our_run.call(&mut ours, *argument)? != peer_run.call(&mut store, *argument)? {
            return Err(format!("{name}: the results differ").into());
        }
        report.compare(
            &format!("kern-{name} {argument}"),
            "ms",
            || timed(|| Ok(our_run.call(&mut ours, *argument).map(drop)?)),
            || timed(|| Ok(peer_run.call(&mut store, *argument).map(drop)?)),
        )?;
    }
    Ok(())
}

/// Milliseconds of this thread's CPU time: what others do on a shared machine counts less than on a clock.
fn timed(call: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = cpu_time();
    call()?;
    Ok(milliseconds(cpu_time() - start))
}

fn rust_kernels(report: &mut Report) -> Result<()> {
    let Some(path) = guests::find("rs-kernels.p1.wasm") else { return Ok(()) };
    let engine = peer::engine()?;
    let pair = Pair::compile(&engine, &std::fs::read(path)?)?;
    let bound = host::ours::linker().bind(&pair.open_ours()?)?;
    let pre = host::peers::linker(&engine)?.instantiate_pre(&pair.open_peers(&engine)?)?;
    let arguments = ["rs-kernels", "all", "20"];
    let mut figures: BTreeMap<String, [Vec<f64>; 2]> = BTreeMap::new();
    let mut note = |side: usize, stderr: &str| {
        for line in stderr.lines() {
            if let [kernel, time, "us"] = line.split(' ').collect::<Vec<_>>()[..] {
                figures.entry(kernel.into()).or_default()[side].push(time.parse::<f64>().unwrap_or(f64::NAN) / 1e3);
            }
        }
    };
    for _ in 0..report.rounds {
        let mut ours = bound.instantiate(Host::new(&arguments))?;
        ours.func::<(), ()>("_start")?.call(&mut ours, ())?;
        note(0, &ours.data().stderr);
        let mut store = Store::new(&engine, Host::new(&arguments));
        let instance = pre.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        note(1, &store.data().stderr);
    }
    for (kernel, mut sides) in figures {
        let [ours, peers] = &mut sides;
        report.add(&format!("rs-kernels {kernel}"), "ms", median(ours), median(peers));
    }
    Ok(())
}
