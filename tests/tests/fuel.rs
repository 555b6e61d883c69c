//! Real programs use the fuel that somebody else counts for them, at each level of optimisation.

use precast_compiler::{MemoryModel, OptLevel, Options, compile};
use precast_loader::{Artifact, Linker};
use precast_tests::workspace_root;

/// Kernels that move nothing in bulk, for which rules differ: what wasmtime 50 counts for `_initialize` and this call of
/// `run`, and what that returns.
const COUNTED: &[(&str, i32, u64, i32)] = &[
    ("gemm", 1, 598_508_695, 37_108),
    ("sha256", 1, 146_243_646, 1_517_230_308),
    ("qsort", 1, 536_642_773, 50_701_428),
    ("mandel", 100, 7_666_178, 244_052),
    ("vm", 1000, 4_625_320, -332_640_904),
];

#[test]
fn kernels_use_what_wasmtime_counts() {
    for (name, argument, units, result) in COUNTED {
        let wasm = std::fs::read(workspace_root().join(format!("tests/guests/wasm/kern-{name}.core.wasm"))).unwrap();
        for (opt_level, memory_model) in [
            (OptLevel::Speed, MemoryModel::Guarded),
            (OptLevel::SpeedAndSize, MemoryModel::Checked { reservation: 256 << 20 }),
            (OptLevel::None, MemoryModel::Guarded),
        ] {
            let options = Options { fuel: true, opt_level, memory_model, ..Options::default() };
            let artifact = Artifact::open_bytes(&compile(&wasm, &options).unwrap()).unwrap();
            let mut instance = Linker::<()>::new().bind(&artifact).unwrap().instantiate(()).unwrap();
            instance.set_fuel(*units).unwrap();
            instance.func::<(), ()>("_initialize").unwrap().call(&mut instance, ()).unwrap();
            let run = instance.func::<i32, i32>("run").unwrap();
            let returned = run.call(&mut instance, *argument).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((returned, instance.fuel()), (*result, Some(0)), "{name}, {opt_level:?}");
        }
    }
}
