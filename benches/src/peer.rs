//! wasmtime at its best settings for this job.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::Result;
use crate::server::Server;

/// What [`engine`] sets, for the reader of the figures.
pub(crate) fn describe_settings() -> String {
    "precast: defaults, CPU native, Policy::Verify (already verified where open is timed)\n\
     wasmtime 48: Cranelift at speed, CPU native, signals-based traps, 4 GiB reservation with guards, no epochs, no fuel, \
     no backtraces; pooling allocator, copy-on-write images, keep-resident 4 MiB for memories and tables, 1 MiB unused \
     warm slots kept, pagemap scan on\n\
     Spin's settings: the same, but keep-resident 2 MiB, no pagemap scan, epochs on"
        .into()
}

/// An engine at these settings.
pub(crate) fn engine() -> Result<Engine> {
    with_instances(64)
}

/// The same with room for so many instances that are alive at once.
pub(crate) fn with_instances(count: u32) -> Result<Engine> {
    with(4 << 20, Enabled::Auto, false, count)
}

/// An engine at the settings of Spin, a platform for functions.
pub(crate) fn spin() -> Result<Engine> {
    with(2 << 20, Enabled::No, true, 64)
}

fn with(keep_resident: usize, pagemap_scan: Enabled, epochs: bool, instances: u32) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(4 * instances)
        .total_component_instances(instances)
        .max_component_instance_size(16 << 20)
        .total_memories(instances)
        .total_tables(256)
        .max_unused_warm_slots(64)
        .linear_memory_keep_resident(keep_resident)
        .table_keep_resident(1 << 20)
        .table_elements(1 << 20)
        .max_memory_size(4 << 30)
        .max_core_instance_size(16 << 20)
        .pagemap_scan(pagemap_scan);
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(epochs)
        .wasm_backtrace_max_frames(None);
    Ok(Engine::new(&config)?)
}

/// The command `wasmtime`: what `WASMTIME` names, or the one on the path.
pub(crate) struct Tool(OsString);

impl Tool {
    /// The settings of [`engine`], and stacks that stay resident too.
    const SETTINGS: [&str; 2] = [
        "-Opooling-allocator=y,pooling-pagemap-scan=auto,pooling-memory-keep-resident=4194304,\
         pooling-table-keep-resident=1048576,pooling-async-stack-keep-resident=65536,pooling-table-elements=1048576,\
         pooling-max-memory-size=4294967296,pooling-max-core-instance-size=16777216,\
         pooling-max-component-instance-size=16777216",
        "-Scli",
    ];

    /// Says which it is, or that there is none.
    pub(crate) fn find() -> Option<Tool> {
        let program = std::env::var_os("WASMTIME").unwrap_or_else(|| "wasmtime".into());
        match Command::new(&program).arg("--version").output() {
            Ok(output) if output.status.success() => {
                println!("{}: {}", String::from_utf8_lossy(&output.stdout).trim(), Self::SETTINGS.join(" "));
                Some(Tool(program))
            }
            _ => {
                println!("(left out: `{}` cannot be run; WASMTIME may name the command)", program.display());
                None
            }
        }
    }

    /// Compiles for this machine's CPU.
    pub(crate) fn compile(&self, wasm: &Path, output: &Path) -> Result<()> {
        let status =
            Command::new(&self.0).arg("compile").args(Self::SETTINGS).arg(wasm).arg("-o").arg(output).status()?;
        if status.success() { Ok(()) } else { Err(format!("wasmtime compile {}: {status}", wasm.display()).into()) }
    }

    /// Serves what [`Tool::compile`] wrote. An instance answers so many requests.
    pub(crate) fn serve(&self, compiled: &Path, requests: u64) -> Result<Server> {
        let mut command = Command::new(&self.0);
        command.arg("serve").args(Self::SETTINGS).args(["--allow-precompiled", "--addr=127.0.0.1:0"]);
        command.arg(format!("--max-instance-reuse-count={requests}")).arg(compiled).stdout(Stdio::null());
        Server::start(&mut command, 1)
    }
}
