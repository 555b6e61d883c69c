//! CPU time and peak memory of compiling, each in a process of its own.

use std::path::Path;

use crate::report::{Report, median};
use crate::{Result, child, guests};

pub(crate) fn run(report: &mut Report) -> Result<()> {
    for path in guests::large()? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mut cpu, mut memory) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        // A compilation takes seconds, and its CPU time is steadier than a clock: five rounds say enough.
        for _ in 0..report.rounds.min(5) {
            for (side, who) in ["compile-precast", "compile-wasmtime"].into_iter().enumerate() {
                let usage = child::run(who, &path)?;
                cpu[side].push(usage.cpu_seconds);
                memory[side].push(usage.peak_mib);
            }
        }
        report.add(&format!("{name}: CPU"), "s", median(&mut cpu[0]), median(&mut cpu[1]));
        report.add(&format!("{name}: peak memory"), "MB", median(&mut memory[0]), median(&mut memory[1]));
        sizes(report, &name, &path)?;
    }
    report.geometric_mean("CPU", "s");
    report.geometric_mean("peak memory", "MB");
    report.geometric_mean("size", "KB");
    Ok(())
}

fn sizes(report: &mut Report, name: &str, path: &Path) -> Result<()> {
    let wasm = std::fs::read(path)?;
    let ours = guests::precast(&wasm)?.len() as f64 / 1024.0;
    let peers = wasmtime::Module::new(&crate::peer::engine()?, &wasm)?.serialize()?.len() as f64 / 1024.0;
    report.add(&format!("{name}: artifact"), "KB", ours, peers);
    Ok(())
}
