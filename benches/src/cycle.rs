//! Instantiate, call, drop: a fresh instance for each request, touching 0, 1, 4 and 16 pages of memory.

use precast_loader::Linker;
use wasmtime::Store;

use crate::guests::Pair;
use crate::report::{Report, nanoseconds};
use crate::{Result, peer};

/// `touch(n)` writes to `n` pages of 1.6 MiB of initialised memory.
const GUEST: &str = r#"(module
    (memory (export "memory") 26)
    (global $stack_pointer (mut i32) (i32.const 1024))
    (data (i32.const 1024) "some data") (data (i32.const 1600000) "and some more")
    (func (export "touch") (param $n i32) (result i32)
        (local $at i32)
        (global.set $stack_pointer (i32.sub (global.get $stack_pointer) (i32.const 16)))
        (block $done (loop $next
            (br_if $done (i32.eqz (local.get $n)))
            (i32.store (i32.add (i32.const 1024) (local.get $at)) (local.get $n))
            (local.set $at (i32.add (local.get $at) (i32.const 81920)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br $next)))
        (local.get $at)))"#;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let engine = peer::engine()?;
    let pair = Pair::compile(&engine, GUEST.as_bytes())?;
    let bound = Linker::<()>::new().bind(&pair.open_ours()?)?;
    let pre = wasmtime::Linker::<()>::new(&engine).instantiate_pre(&pair.open_peers(&engine)?)?;
    for pages in [0, 1, 4, 16] {
        let ours = || {
            let mut instance = bound.instantiate(())?;
            let touch = instance.func::<i32, i32>("touch")?;
            touch.call(&mut instance, pages)?;
            Ok(())
        };
        let peers = || {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store)?;
            let touch = instance.get_typed_func::<i32, i32>(&mut store, "touch")?;
            touch.call(&mut store, pages)?;
            Ok(())
        };
        report.compare(
            &format!("instantiate + call + drop, {pages} pages"),
            "ns",
            || nanoseconds(2000, ours),
            || nanoseconds(2000, peers),
        )?;
    }
    Ok(())
}
