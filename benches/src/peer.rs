//! wasmtime at its best settings for this job.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::Result;

/// What [`engine`] sets, for the reader of the figures.
pub(crate) fn describe_settings() -> String {
    "precast: defaults, CPU native, Policy::Verify (already verified where open is timed)\n\
     wasmtime 48: Cranelift at speed, CPU native, signals-based traps, 4 GiB reservation with guards, no epochs, no fuel, \
     no backtraces; pooling allocator, copy-on-write images, keep-resident 4 MiB for memories and tables, 1 MiB unused \
     warm slots kept, pagemap scan on"
        .into()
}

/// An engine at these settings.
pub(crate) fn engine() -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(256)
        .total_component_instances(64)
        .max_component_instance_size(16 << 20)
        .total_memories(64)
        .total_tables(256)
        .max_unused_warm_slots(64)
        .linear_memory_keep_resident(4 << 20)
        .table_keep_resident(1 << 20)
        .table_elements(1 << 20)
        .max_memory_size(4 << 30)
        .max_core_instance_size(16 << 20)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(None);
    Ok(Engine::new(&config)?)
}
