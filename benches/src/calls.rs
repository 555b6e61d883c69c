//! One call into the guest, one out of it, and a trap there and back.

use precast_loader::{Caller, Linker};
use wasmtime::Store;

use crate::guests::Pair;
use crate::report::{Report, nanoseconds};
use crate::{Result, peer};

const GUEST: &str = r#"(module
    (import "host" "add" (func $add (param i32 i32) (result i32)))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "call_host") (param $times i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (call $add (local.get $sum) (local.get $times)))
            (br_if $next (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (local.get $sum))
    (func (export "trap") (result i32) unreachable))"#;

const HOST_CALLS: i32 = 100_000;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let engine = peer::engine()?;
    let pair = Pair::compile(&engine, GUEST.as_bytes())?;

    let mut linker = Linker::<()>::new();
    linker.func("host", "add", |_: &mut Caller<'_, ()>, a: i32, b: i32| a.wrapping_add(b));
    let mut ours = linker.bind(&pair.open_ours()?)?.instantiate(())?;
    let (our_add, our_host) = (ours.func::<(i32, i32), i32>("add")?, ours.func::<i32, i32>("call_host")?);
    let our_trap = ours.func::<(), i32>("trap")?;

    let mut linker = wasmtime::Linker::<()>::new(&engine);
    linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &pair.open_peers(&engine)?)?;
    let peer_add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    let peer_host = instance.get_typed_func::<i32, i32>(&mut store, "call_host")?;
    let peer_trap = instance.get_typed_func::<(), i32>(&mut store, "trap")?;

    report.compare(
        "call into the guest",
        "ns",
        || nanoseconds(100_000, || our_add.call(&mut ours, (1, 2)).map(drop).map_err(Into::into)),
        || nanoseconds(100_000, || peer_add.call(&mut store, (1, 2)).map(drop).map_err(Into::into)),
    )?;
    report.compare(
        "call of the host",
        "ns",
        || {
            Ok(nanoseconds(1, || our_host.call(&mut ours, HOST_CALLS).map(drop).map_err(Into::into))?
                / f64::from(HOST_CALLS))
        },
        || {
            Ok(nanoseconds(1, || peer_host.call(&mut store, HOST_CALLS).map(drop).map_err(Into::into))?
                / f64::from(HOST_CALLS))
        },
    )?;
    report.compare(
        "trap, caught",
        "ns",
        || nanoseconds(2000, || our_trap.call(&mut ours, ()).map_or(Ok(()), |_| Err("no trap".into()))),
        || nanoseconds(2000, || peer_trap.call(&mut store, ()).map_or(Ok(()), |_| Err("no trap".into()))),
    )
}
