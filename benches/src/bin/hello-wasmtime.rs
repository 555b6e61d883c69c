//! The smallest host of wasmtime: deserialises a module and runs it. No pool: one instance does not pay for one.

use std::io::Write;

use wasmtime::{Caller, Config, Engine, Extern, Linker, Module, Result, Store, format_err};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| format_err!("usage: hello-wasmtime FILE"))?;
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config)?;
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("host", "print", |mut caller: Caller<'_, ()>, at: u32, len: u32| -> Result<()> {
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return Err(format_err!("no memory")) };
        let mut bytes = vec![0; len as usize];
        memory.read(&caller, at as usize, &mut bytes)?;
        Ok(std::io::stdout().write_all(&bytes)?)
    })?;
    // SAFETY: the benchmark wrote the file with `Module::serialize`.
    let module = unsafe { Module::deserialize_file(&engine, path)? };
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())
}
