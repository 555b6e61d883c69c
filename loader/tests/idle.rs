//! What idle slots keep resident, as the kernel counts it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::sync::Barrier;

use common::artifact;
use precast_loader::{Bound, Instance, Linker};

const MIB: u64 = 1 << 20;

/// Bytes that are resident of the process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Makes an instance that writes 1 MiB, and grows a little.
fn used(bound: &Bound<()>) -> Instance<()> {
    let mut instance = bound.instantiate(()).unwrap();
    instance.func::<(), ()>("write").unwrap().call(&mut instance, ()).unwrap();
    instance
}

/// The only test here, since it measures the process.
#[test]
fn idle_slots_keep_no_more_than_they_may() {
    let artifact = artifact(
        r#"(module (memory 32)
            (func (export "write") (memory.fill (i32.const 65536) (i32.const 1) (i32.const 1048576))
                (memory.fill (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 1) (i32.const 65536))))"#,
    );
    let bound = Linker::new().bind(&artifact).unwrap();
    let is_fresh = || {
        let (fresh, idle) = artifact.slot_hashes().unwrap();
        assert!(idle.iter().all(|idle| *idle == fresh));
        idle.len() as u64
    };
    (0..100).for_each(|_| drop(used(&bound)));
    let (one, before) = (artifact.idle_memory(), resident());
    assert!((MIB + 65536..MIB + 400_000).contains(&one), "{one}");

    let many = || drop((0..100).map(|_| used(&bound)).collect::<Vec<_>>());
    many();
    let (idle, grown) = (artifact.idle_memory(), resident() - before);
    println!("100 slots: {idle} bytes by our count; {grown} more resident than with one");
    assert_eq!((is_fresh(), idle), (100, 100 * one));
    // What is counted is there, and what is there is counted.
    assert!(grown > 99 * (MIB + 65536) && grown < idle + idle / 50, "{grown} of {idle}");

    artifact.limit_idle_memory(20 * MIB);
    let kept = resident() - before;
    println!("at most 20 MiB: {} bytes by our count; {kept} more resident than with one", artifact.idle_memory());
    assert!(artifact.idle_memory() <= 20 * MIB && artifact.idle_memory() > 20 * MIB - one);
    assert!(kept < 20 * MIB, "{kept}");
    many();
    assert!(artifact.idle_memory() <= 20 * MIB && resident() - before < 21 * MIB);
    assert_eq!(is_fresh(), artifact.idle_memory() / one);

    // Each thread has a shelf of its own, but the limit is for all of them.
    for _ in 0..3 {
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let instances: Vec<_> = (0..10).map(|_| used(&bound)).collect();
                    barrier.wait();
                    drop(instances);
                });
            }
        });
        let (idle, kept) = (artifact.idle_memory(), resident() - before);
        println!("after 8 threads with 10 each: {idle} bytes by our count; {kept} more resident than with one");
        assert!(idle <= 20 * MIB && idle > 10 * MIB, "{idle}");
        assert!(kept < 24 * MIB, "{kept}");
        is_fresh();
    }
    artifact.limit_idle_memory(0);
    assert_eq!((artifact.idle_memory(), is_fresh()), (0, 0));
    drop(used(&bound));
    assert_eq!(is_fresh(), 0);
}
