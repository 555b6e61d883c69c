//! Instantiate, call, drop: a fresh instance for each request, which touches some pages of memory.

use std::cell::RefCell;
use std::path::Path;

use precast_loader::{Artifact, Bound, BoundFunc, Linker, Policy};
use wasmtime::{Engine, InstancePre, ModuleExport, Store};

use crate::guests::{self, Pair};
use crate::report::{Report, median, nanoseconds, nanoseconds_kept, nanoseconds_on, scaling};
use crate::{Result, child, peer};

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
const ALIVE: u32 = 60;

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
        // Enough that it does not matter if one thread begins a little later.
        let cycles = if threads == 1 { CYCLES } else { 5 * CYCLES };
        nanoseconds_on(threads, cycles, || self.cycle(pages))
    }

    /// Nanoseconds of instantiating and calling where no slot was used before.
    fn first(&self, pages: i32) -> Result<f64> {
        nanoseconds_kept(ALIVE, || {
            let mut instance = self.instantiate()?;
            self.touch(&mut instance, pages)?;
            Ok(instance)
        })
    }
}

/// The function is looked up once, in both runtimes.
struct Ours {
    bound: Bound<()>,
    touch: BoundFunc<i32, i32>,
}

impl Ours {
    fn new(artifact: &Path) -> Result<Ours> {
        let bound = Linker::new().bind(&Artifact::open(artifact, Policy::Verify)?)?;
        Ok(Ours { touch: bound.func("touch")?, bound })
    }
}

impl Runtime for Ours {
    type Instance = precast_loader::Instance<()>;

    fn instantiate(&self) -> Result<Self::Instance> {
        Ok(self.bound.instantiate(())?)
    }

    fn touch(&self, instance: &mut Self::Instance, pages: i32) -> Result<()> {
        self.touch.call(instance, pages)?;
        Ok(())
    }
}

struct Peer {
    engine: Engine,
    pre: InstancePre<()>,
    touch: ModuleExport,
}

impl Peer {
    fn new(engine: &Engine, serialized: &Path) -> Result<Peer> {
        let module = guests::open_peers(engine, serialized)?;
        let touch = module.get_export_index("touch").ok_or("no export")?;
        Ok(Peer { engine: engine.clone(), pre: wasmtime::Linker::<()>::new(engine).instantiate_pre(&module)?, touch })
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
        let touch = instance.get_module_export(&mut *store, &self.touch).and_then(wasmtime::Extern::into_func);
        touch.ok_or("no function")?.typed::<i32, i32>(&*store)?.call(store, pages)?;
        Ok(())
    }
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let (best, spin) = (peer::engine()?, peer::spin()?);
    let pair = Pair::compile(&best, GUEST.as_bytes())?;
    // Each with an artifact of its own, since what guests write is learnt for all instances of one.
    let side_by_side = |report: &mut Report, engine: &Engine, pair: &Pair, threads: u32, pages: i32| {
        let (ours, peer) = (Ours::new(&pair.artifact)?, Peer::new(engine, &pair.serialized)?);
        let name = if threads == 1 { format!("{pages} pages") } else { format!("{pages} pages, {threads} threads") };
        report.compare(&name, "ns", || ours.cycles(threads, pages), || peer.cycles(threads, pages))
    };
    for pages in [0, 1, 4, 16, 64] {
        side_by_side(report, &best, &pair, 1, pages)?;
    }
    for pages in [4, 16] {
        side_by_side(report, &best, &pair, 2, pages)?;
    }
    // What the machine allows: less than 2 where processors are two halves of one core.
    report.note("2 threads over 1: arithmetic", scaling(|threads| nanoseconds_on(threads, 5 * CYCLES, compute))?);
    report.note("2 threads over 1: copying 16 KiB", scaling(|threads| nanoseconds_on(threads, 5 * CYCLES, copy))?);
    for pages in [0, 4, 16] {
        let ours = Ours::new(&pair.artifact)?;
        report.note(&format!("2 threads over 1: {pages} pages"), scaling(|threads| ours.cycles(threads, pages))?);
    }
    // In processes of their own, whose caches hold nothing of the other runtime's.
    report.compare(
        "4 pages, new slot",
        "ns",
        || Ok(child::output("new-slots-precast", &pair.artifact)?.trim().parse()?),
        || Ok(child::output("new-slots-wasmtime", &pair.serialized)?.trim().parse()?),
    )?;
    if let Some(path) = guests::find("go-bench.p1.wasm") {
        go(report, &best, &std::fs::read(path)?)?;
    }

    report.group("cycle, beside Spin's settings", "wasmtime");
    let spins = Pair::compile(&spin, GUEST.as_bytes())?;
    for pages in [0, 1, 4, 16, 64] {
        side_by_side(report, &spin, &spins, 1, pages)?;
    }
    side_by_side(report, &spin, &spins, 2, 4)
}

/// Artifacts, or engines, whose new slots a child measures.
const TURNS: usize = 9;

/// The child's side of new slots for precast.
pub(crate) fn new_slots_precast(artifact: &str) -> Result<()> {
    new_slots(|| Ours::new(Path::new(artifact)))
}

/// The child's side of new slots for wasmtime.
pub(crate) fn new_slots_wasmtime(serialized: &str) -> Result<()> {
    // No slot of an engine that was not there before was used.
    new_slots(|| Peer::new(&peer::engine()?, Path::new(serialized)))
}

fn new_slots<R: Runtime>(runtime: impl Fn() -> Result<R>) -> Result<()> {
    let mut figures = (0..TURNS).map(|_| runtime()?.first(4)).collect::<Result<Vec<_>>>()?;
    println!("{}", median(&mut figures));
    Ok(())
}

/// As many multiplications as a processor has units for.
fn compute() -> Result<[u64; 6]> {
    let mut lanes = std::hint::black_box([1u64, 2, 3, 4, 5, 6]);
    for _ in 0..200 {
        lanes.iter_mut().for_each(|lane| *lane = lane.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
    }
    Ok(std::hint::black_box(lanes))
}

/// What a reset does most of, in the thread's own memory.
fn copy() -> Result<()> {
    thread_local! {
        static PAGES: RefCell<[Vec<u8>; 2]> = RefCell::new([vec![1; 16 << 10], vec![2; 16 << 10]]);
    }
    PAGES.with_borrow_mut(|[from, to]| std::hint::black_box(to).copy_from_slice(std::hint::black_box(from)));
    Ok(())
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
