//! Instantiate, call, drop: a fresh instance for each request, which touches some pages of memory.

use std::time::Instant;

use precast_loader::{Bound, Linker};
use wasmtime::{Engine, InstancePre, Store};

use crate::guests::{self, Pair};
use crate::report::{Report, nanoseconds};
use crate::{Result, peer};

/// `touch(n)` writes to `n` pages of 5 MiB of initialised memory.
const GUEST: &str = r#"(module
    (memory (export "memory") 82)
    (global $stack_pointer (mut i32) (i32.const 1024))
    (data (i32.const 1024) "some data") (data (i32.const 1600000) "and some more") (data (i32.const 5200000) "and more")
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

/// Cycles of a measurement.
const CYCLES: u32 = 2000;

/// Instances that are alive at once where slots are to be new.
const ALIVE: usize = 60;

/// One runtime with the guest.
trait Runtime: Sync {
    type Instance;
    fn instantiate(&self) -> Result<Self::Instance>;
    fn touch(&self, instance: &mut Self::Instance, pages: i32) -> Result<()>;

    fn cycle(&self, pages: i32) -> Result<()> {
        self.touch(&mut self.instantiate()?, pages)
    }

    /// Nanoseconds of a cycle, with so many threads at it.
    fn cycles(&self, threads: u32, pages: i32) -> Result<f64> {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let run = || (0..CYCLES).try_for_each(|_| self.cycle(pages));
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
            run()?;
            others.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
        Ok(start.elapsed().as_nanos() as f64 / f64::from(threads * CYCLES))
    }

    /// Nanoseconds of instantiating and calling where no slot was used before.
    fn first(&self, pages: i32) -> Result<f64> {
        let mut alive = Vec::with_capacity(ALIVE);
        let each = nanoseconds(ALIVE as u32, || {
            let mut instance = self.instantiate()?;
            self.touch(&mut instance, pages)?;
            alive.push(instance);
            Ok(())
        })?;
        Ok(each)
    }

    /// KiB of memory and page tables of an instance that has not run.
    fn resident(&self) -> Result<f64> {
        let before = resident()?;
        let alive: Vec<_> = (0..ALIVE).map(|_| self.instantiate()).collect::<Result<_>>()?;
        Ok((resident()? - before) / alive.len() as f64)
    }
}

struct Ours(Bound<()>);

impl Runtime for Ours {
    type Instance = precast_loader::Instance<()>;

    fn instantiate(&self) -> Result<Self::Instance> {
        Ok(self.0.instantiate(())?)
    }

    fn touch(&self, instance: &mut Self::Instance, pages: i32) -> Result<()> {
        instance.func::<i32, i32>("touch")?.call(instance, pages)?;
        Ok(())
    }
}

struct Peer {
    engine: Engine,
    pre: InstancePre<()>,
}

impl Peer {
    fn new(engine: &Engine, pair: &Pair) -> Result<Peer> {
        let pre = wasmtime::Linker::<()>::new(engine).instantiate_pre(&pair.open_peers(engine)?)?;
        Ok(Peer { engine: engine.clone(), pre })
    }
}

impl Runtime for Peer {
    type Instance = (Store<()>, wasmtime::Instance);

    fn instantiate(&self) -> Result<Self::Instance> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        let instance = self.pre.instantiate(&mut store)?;
        Ok((store, instance))
    }

    fn touch(&self, (store, instance): &mut Self::Instance, pages: i32) -> Result<()> {
        instance.get_typed_func::<i32, i32>(&mut *store, "touch")?.call(store, pages)?;
        Ok(())
    }
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let (best, spin) = (peer::engine()?, peer::spin()?);
    let pair = Pair::compile(&best, GUEST.as_bytes())?;
    let ours = || Ok::<_, crate::Error>(Ours(Linker::new().bind(&pair.open_ours()?)?));
    let steady = ours()?;
    let peer = Peer::new(&best, &pair)?;
    for pages in [0, 1, 4, 16, 64] {
        report.compare(&format!("{pages} pages"), "ns", || steady.cycles(1, pages), || peer.cycles(1, pages))?;
    }
    for pages in [4, 16] {
        let name = format!("{pages} pages, two threads");
        report.compare(&name, "ns", || steady.cycles(2, pages), || peer.cycles(2, pages))?;
    }
    // A bound and an engine of their own each time, so that no slot was used before.
    report.compare(
        "4 pages, new slot",
        "ns",
        || ours()?.first(4),
        || Peer::new(&peer::engine()?, &Pair::compile(&peer::engine()?, GUEST.as_bytes())?)?.first(4),
    )?;
    report.compare("idle instance", "KiB", || ours()?.resident(), || peer.resident())?;
    if let Some(path) = guests::find("go-bench.p1.wasm") {
        go(report, &best, &std::fs::read(path)?)?;
    }

    report.group("cycle, beside Spin's settings", "wasmtime");
    let pair = Pair::compile(&spin, GUEST.as_bytes())?;
    let peer = Peer::new(&spin, &pair)?;
    for pages in [0, 1, 4, 16, 64] {
        report.compare(&format!("{pages} pages"), "ns", || steady.cycles(1, pages), || peer.cycles(1, pages))?;
    }
    let name = "4 pages, two threads";
    report.compare(name, "ns", || steady.cycles(2, 4), || peer.cycles(2, 4))
}

/// Instances of a Go program, which are not run.
fn go(report: &mut Report, engine: &Engine, wasm: &[u8]) -> Result<()> {
    let pair = Pair::compile(engine, wasm)?;
    let ours = Linker::<()>::new().trap_missing_functions().bind(&pair.open_ours()?)?;
    let module = pair.open_peers(engine)?;
    let mut linker = wasmtime::Linker::<()>::new(engine);
    linker.define_unknown_imports_as_traps(&module)?;
    let pre = linker.instantiate_pre(&module)?;
    report.compare(
        "Go, not run",
        "ns",
        || nanoseconds(CYCLES, || Ok(ours.instantiate(())?)),
        || nanoseconds(CYCLES, || Ok(pre.instantiate(Store::new(engine, ()))?)),
    )
}

/// KiB of memory and page tables of this process.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let fields = status.lines().filter(|line| line.starts_with("VmRSS:") || line.starts_with("VmPTE:"));
    fields.map(|line| Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse::<f64>()?)).sum()
}
