//! Many instances alive at once: how many mappings they take, of which a process may have 65,530 by default.

use precast_compiler::{MemoryModel, Options};
use precast_loader::{Artifact, Linker};
use precast_tests::{again, role, say};

const MODULE: &str = r#"(module (memory (export "memory") 1) (global $runs (mut i32) (i32.const 0))
    (data (i32.const 1024) "data")
    (func (export "run") (result i32)
        (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
        (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (global.get $runs)))
        (drop (memory.grow (i32.const 1)))
        (i32.load (i32.const 1024))))"#;

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Makes instances, half of which run, and gives the mappings that each takes.
fn mappings_of_each(model: MemoryModel, count: usize) -> f64 {
    let options = Options { memory_model: model, ..Options::default() };
    let bytes = precast_compiler::compile(MODULE.as_bytes(), &options).unwrap();
    let artifact = Artifact::open_bytes(&bytes).unwrap();
    let bound = Linker::<()>::new().bind(&artifact).unwrap();
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let resident = || field("/proc/self/status", "VmRSS") + field("/proc/self/status", "VmPTE");
    let before = (mappings(), resident());
    let mut instances: Vec<_> = (0..count).map(|_| bound.instantiate(()).unwrap()).collect();
    let first = i32::from_le_bytes(*b"data") + 1;
    for instance in instances.iter_mut().step_by(2) {
        let run = instance.func::<(), i32>("run").unwrap();
        assert_eq!(run.call(instance, ()).unwrap(), first);
    }
    let each = |after: f64| after / count as f64;
    let of_each = each((mappings() - before.0) as f64);
    let kib = each((resident() - before.1) as f64);
    say(format_args!("density: {count} instances, {model:?}: {of_each:.3} mappings and {kib:.1} KiB each"));
    of_each
}

#[test]
fn checked_memories_take_no_mappings_of_their_own() {
    if role().is_none() {
        let output = again("checked_memories_take_no_mappings_of_their_own", "child").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    assert!(mappings_of_each(MemoryModel::Checked { reservation: 256 << 20 }, 20_000) < 0.6);
    assert!(mappings_of_each(MemoryModel::Guarded, 4_000) <= 6.0);
}
