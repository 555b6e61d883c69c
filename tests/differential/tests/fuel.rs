//! Fuel is counted as wasmtime counts it, whose rules are the same for what moves no bytes in bulk: programs that run for
//! long use the same amount to the unit, and end for want of it where they should.

use precast_compiler::{OptLevel, Options, compile};
use precast_loader::{Artifact, Linker};
use precast_tests::workspace_root;
use wasmtime::{Config, Engine, Module, Store};

/// More than any of them uses.
const PLENTY: u64 = 1 << 50;

/// The kernels `kern-*`, with arguments that keep them short.
const KERNELS: &[(&str, i32)] = &[
    ("gemm", 1),
    ("nbody", 10_000),
    ("fannkuch", 7),
    ("sha256", 1),
    ("json", 1),
    ("qsort", 1),
    ("mandel", 100),
    ("vm", 1000),
];

fn on_precast(wasm: &[u8], opt_level: OptLevel, argument: i32) -> (i32, u64) {
    let options = Options { fuel: true, opt_level, ..Options::default() };
    let artifact = Artifact::open_bytes(&compile(wasm, &options).unwrap()).unwrap();
    let mut instance = Linker::<()>::new().bind(&artifact).unwrap().instantiate(()).unwrap();
    instance.set_fuel(PLENTY).unwrap();
    instance.func::<(), ()>("_initialize").unwrap().call(&mut instance, ()).unwrap();
    let result = instance.func::<i32, i32>("run").unwrap().call(&mut instance, argument).unwrap();
    (result, PLENTY - instance.fuel().unwrap())
}

fn on_wasmtime(wasm: &[u8], argument: i32) -> (i32, u64) {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(PLENTY).unwrap();
    let instance = wasmtime::Instance::new(&mut store, &Module::new(&engine, wasm).unwrap(), &[]).unwrap();
    instance.get_typed_func::<(), ()>(&mut store, "_initialize").unwrap().call(&mut store, ()).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    let result = run.call(&mut store, argument).unwrap();
    (result, PLENTY - store.get_fuel().unwrap())
}

#[test]
fn kernels_use_what_they_use_on_wasmtime() {
    for (name, argument) in KERNELS {
        let path = workspace_root().join(format!("tests/guests/wasm/kern-{name}.core.wasm"));
        let wasm = std::fs::read(path).unwrap();
        let expected = on_wasmtime(&wasm, *argument);
        for opt_level in [OptLevel::Speed, OptLevel::None] {
            assert_eq!(on_precast(&wasm, opt_level, *argument), expected, "{name}, {opt_level:?}");
        }
        println!("{name}({argument}): {expected:?}");
    }
}
