//! What one instance did is never visible to the next: random modules, of which instances do random things, also fail and
//! panic; then the next instance of the same slot has exactly what the module says, and every idle slot hashes as a fresh
//! one does.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use precast_loader::{Artifact, Bound, Caller, ExternRef, HostError, Instance, Limits, Linker, Store, Val};
use precast_tests::{Random, again, artifact, pretend_old_kernel, role};

const PAGE: usize = 64 << 10;

/// A random module, and what its instances begin with.
struct Module {
    text: String,
    memory: Vec<u8>,
    /// For each table of functions, the numbers that its functions return.
    tables: Vec<Vec<Option<i32>>>,
    globals: Vec<Val>,
    /// What `segment` exports read: the bytes of the passive data segment.
    passive: Vec<u8>,
}

/// Functions that elements may refer to: `number0` returns 0 and so on.
const NUMBERS: usize = 5;

impl Module {
    fn random(random: &mut Random) -> Module {
        let mut text = String::from("(module (import \"host\" \"f\" (func $host (param i32)))\n");
        let pages = random.below(5);
        let maximum = pages + random.below(80);
        writeln!(text, "(memory (export \"memory\") {pages} {maximum})").unwrap();
        let mut module =
            Module { text, memory: vec![0; pages * PAGE], tables: vec![], globals: vec![], passive: vec![] };
        module.add_data(random);
        module.add_tables(random);
        module.add_globals(random);
        module.add_functions();
        module.text.push(')');
        module
    }

    fn add_data(&mut self, random: &mut Random) {
        let escape = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("\\{byte:02x}"));
        for _ in 0..random.below(6) {
            let len = random.below(self.memory.len().min(3000) + 1);
            let at = random.below(self.memory.len() - len + 1);
            let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            writeln!(self.text, "(data (i32.const {at}) \"{}\")", escape(&bytes)).unwrap();
            self.memory[at..at + len].copy_from_slice(&bytes);
        }
        self.passive = (0..random.below(100)).map(|_| random.next() as u8).collect();
        writeln!(self.text, "(data $passive \"{}\")", escape(&self.passive)).unwrap();
    }

    fn add_tables(&mut self, random: &mut Random) {
        for table in 0..3 {
            let size = random.below(if table == 0 { 2000 } else { 10 });
            let maximum = size + random.below(3000);
            let element = if table == 2 { "externref" } else { "funcref" };
            writeln!(self.text, "(table $t{table} (export \"table{table}\") {size} {maximum} {element})").unwrap();
            let mut elements = vec![None; size];
            for _ in 0..random.below(4) * usize::from(table != 2) {
                let len = random.below(size.min(20) + 1);
                let at = random.below(size - len + 1);
                write!(self.text, "(elem (table $t{table}) (i32.const {at}) func").unwrap();
                for element in &mut elements[at..at + len] {
                    let number = random.below(NUMBERS);
                    write!(self.text, " $number{number}").unwrap();
                    *element = Some(number as i32);
                }
                self.text.push_str(")\n");
            }
            self.tables.push(elements);
        }
        self.text.push_str("(elem $passive func $number1 $number2 $number3) (elem declare func $number0 $number4)\n");
    }

    fn add_globals(&mut self, random: &mut Random) {
        for global in 0..random.below(20) {
            let value = match random.below(3) {
                0 => Val::I32(random.next() as i32),
                1 => Val::I64(random.next() as i64),
                _ => Val::V128(u128::from(random.next()) << 64 | u128::from(random.next())),
            };
            let (ty, init) = match &value {
                Val::I32(value) => ("i32", format!("i32.const {value}")),
                Val::I64(value) => ("i64", format!("i64.const {value}")),
                Val::V128(value) => ("v128", format!("v128.const i64x2 {} {}", *value as u64, (value >> 64) as u64)),
                _ => unreachable!("only these are made"),
            };
            let set =
                format!("(global.set $g{global} ({ty}.const 0))").replace("v128.const 0", "v128.const i64x2 -1 7");
            writeln!(
                self.text,
                "(global $g{global} (export \"global{global}\") (mut {ty}) ({init})) (func (export \"set{global}\") {set})"
            )
            .unwrap();
            self.globals.push(value);
        }
    }

    fn add_functions(&mut self) {
        for number in 0..NUMBERS {
            writeln!(self.text, "(func $number{number} (result i32) (i32.const {number}))").unwrap();
        }
        let fills = |kind: &str, reference: &str, table: usize| {
            format!(
                r#"(func (export "fill{table}") (param i32 i32) (table.fill $t{table} (local.get 0) ({reference}) (local.get 1)))
                (func (export "grow{table}") (param i32 i32) (drop (table.grow $t{table} ({reference}) (local.get 0))))
                (func (export "clear{table}") (param i32 i32) (table.set $t{table} (local.get 0) (ref.null {kind})))
                "#
            )
        };
        for (kind, reference, table) in [("func", "ref.func $number4", 0), ("func", "ref.func $number0", 1)] {
            self.text.push_str(&fills(kind, reference, table));
        }
        self.text.push_str(&fills("extern", "ref.null extern", 2));
        self.text.push_str(
            r#"
            (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
            (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 0xa5) (local.get 1)))
            (func (export "copy") (param i32 i32) (memory.copy (local.get 0) (i32.const 0) (local.get 1)))
            (func (export "grow") (param i32 i32) (drop (memory.grow (i32.and (local.get 0) (i32.const 31)))))
            (func (export "init") (param i32 i32) (memory.init $passive (local.get 0) (i32.const 0) (i32.and (local.get 1) (i32.const 7))))
            (func (export "table_init") (param i32 i32) (table.init $t0 $passive (local.get 0) (i32.const 0) (i32.const 3)))
            (func (export "table_copy") (param i32 i32) (table.copy $t1 $t0 (i32.const 0) (local.get 0) (local.get 1)))
            (func (export "drop_data") (param i32 i32) (data.drop $passive))
            (func (export "drop_elements") (param i32 i32) (elem.drop $passive))
            (func $deep (export "deep") (param i32 i32) (local i64 i64)
                (local.set 2 (i64.const 0x5ec2e75ec2e75ec2))
                (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
                    (else (if (i32.and (local.get 1) (i32.const 1)) (then unreachable)))))
            (func $endless (export "endless") (param i32 i32) (call $endless (i32.const 0x5ec2e7) (local.get 0))
                (drop (i32.const 0)))
            (func (export "host") (param i32 i32) (call $host (local.get 0)))
            (func (export "data_len") (result i32) (local i32)
                ;; The longest prefix of the passive segment that can be copied is all that is left of it.
                (drop (memory.grow (i32.const 1)))
                (memory.init $passive (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 200)) (i32.const 0)
                    (i32.const PASSIVE))
                (i32.load8_u (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 200))))
            (func (export "elements_left") (param i32) (table.init $t0 $passive (i32.const 0) (i32.const 0) (local.get 0)))
            "#
            .replace("PASSIVE", &self.passive.len().to_string())
            .as_str(),
        );
    }

    fn bind(&self) -> (Artifact, Bound<u32>) {
        let artifact = artifact(&self.text);
        let mut linker = Linker::new();
        linker.func("host", "f", |caller: &mut Caller<'_, u32>, what: i32| -> Result<(), HostError> {
            let memory = caller.memory().ok_or("no memory")?;
            let size = memory.size_bytes(caller);
            if size > 0 {
                memory.fill(caller, size / 2, 0x77, size / 2)?;
            }
            *caller.data_mut() += 1;
            match what & 3 {
                0 => panic!("the host panics"),
                1 => Err("the host fails".into()),
                2 => {
                    let deep = caller.export("deep").and_then(|item| item.func()).ok_or("no function")?;
                    Ok(deep.typed::<(i32, i32), ()>(caller)?.call(caller, (100, what >> 2))?)
                }
                _ => Ok(()),
            }
        });
        let bound = linker.bind(&artifact).expect("binds");
        (artifact, bound)
    }

    /// Checks that an instance has exactly what the module says.
    fn check(&self, instance: &mut Instance<u32>) {
        let memory = instance.memory("memory").unwrap();
        assert_eq!(memory.size_bytes(instance), self.memory.len() as u64);
        assert!(memory.read_vec(instance, 0, self.memory.len() as u64).unwrap() == self.memory, "memory differs");
        for (number, elements) in self.tables.iter().enumerate() {
            let table = instance.table(&format!("table{number}")).unwrap();
            assert_eq!(table.size(instance), elements.len() as u64);
            for (index, wanted) in (0..).zip(elements) {
                let found = match table.get(instance, index).unwrap() {
                    Val::FuncRef(Some(func)) => func.call(instance, &[]).unwrap()[0].i32(),
                    null => {
                        assert_eq!(null, Val::zero(null.ty()));
                        None
                    }
                };
                assert_eq!(found, *wanted, "table {number} at {index}");
            }
        }
        for (number, wanted) in self.globals.iter().enumerate() {
            assert_eq!(instance.global(&format!("global{number}")).unwrap().get(instance), *wanted, "global {number}");
        }
    }

    /// Checks that the passive segments are there, which writes to the instance.
    fn check_segments(&self, instance: &mut Instance<u32>) {
        let elements = instance.func::<i32, ()>("elements_left").unwrap();
        assert_eq!(elements.call(instance, 3).is_ok(), self.tables[0].len() >= 3);
        assert!(elements.call(instance, 4).is_err());
        let data = instance.func::<(), u32>("data_len").unwrap();
        // Without room to grow into there may be no room to copy to.
        if let Ok(first) = data.call(instance, ()) {
            assert_eq!(first, self.passive.first().copied().unwrap_or(0).into());
        } else {
            assert!(self.memory.is_empty(), "the passive segment is there");
        }
    }
}

/// Does a random thing, through the guest or directly; what comes of it does not matter.
fn act(instance: &mut Instance<u32>, random: &mut Random) {
    const EXPORTS: [&str; 22] = [
        "store",
        "store",
        "fill",
        "copy",
        "grow",
        "grow",
        "init",
        "table_init",
        "table_copy",
        "drop_data",
        "drop_elements",
        "deep",
        "endless",
        "host",
        "fill0",
        "grow0",
        "clear0",
        "fill1",
        "grow1",
        "clear1",
        "fill2",
        "grow2",
    ];
    let memory = instance.memory("memory").unwrap();
    let size = memory.size_bytes(instance) as usize;
    match random.below(12) {
        0 => _ = memory.write(instance, random.below(size + 1) as u64, &random.next().to_le_bytes()),
        1 => _ = memory.grow(instance, random.below(4) as u64),
        2 => {
            let table = instance.table("table2").unwrap();
            let value = Val::ExternRef(Some(ExternRef::new(random.next())));
            _ = table.set(instance, random.below(12) as u64, value.clone());
            _ = table.grow(instance, random.below(4) as u64, value);
        }
        3 => {
            let table = instance.table("table0").unwrap();
            let value = table.get(instance, random.below(100) as u64).unwrap_or(Val::FuncRef(None));
            _ = table.grow(instance, random.below(300) as u64, value);
        }
        4 => {
            let setters = (0..20).filter_map(|global| instance.func::<(), ()>(&format!("set{global}")).ok());
            for set in setters.collect::<Vec<_>>() {
                set.call(instance, ()).unwrap();
            }
        }
        _ => {
            let func = instance.func::<(i32, i32), ()>(random.pick::<&str>(&EXPORTS)).unwrap();
            let bound = *random.pick(&[10, 3000, size + 10]);
            let arguments = (random.below(bound) as i32, random.below(bound) as i32);
            drop(catch_unwind(AssertUnwindSafe(|| func.call(instance, arguments))));
        }
    }
}

#[track_caller]
fn assert_fresh(artifact: &Artifact, slots: usize) {
    let (fresh, idle) = artifact.slot_hashes().unwrap();
    assert_eq!(idle.len(), slots);
    assert!(idle.iter().all(|slot| *slot == fresh), "an idle slot differs from a fresh one");
}

/// Panics of the host are part of the test: they are not to be printed.
fn quietly(test: impl FnOnce()) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("the host panics") {
            previous(info);
        }
    }));
    test();
}

/// Without the kernel's help the loader cannot tell which pages were written.
#[test]
fn older_kernels_leave_nothing_either() {
    let output = again("the_next_instance_has_what_the_module_says", OLD_KERNEL).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

const OLD_KERNEL: &str = "old kernel";

#[test]
fn the_next_instance_has_what_the_module_says() {
    if role().is_some_and(|role| role == OLD_KERNEL) {
        pretend_old_kernel();
    }
    quietly(|| {
        for seed in 0..60 {
            let mut random = Random(seed);
            let module = Module::random(&mut random);
            let (artifact, bound) = module.bind();
            for round in 0..12 {
                let mut instance = bound.instantiate(0).unwrap();
                module.check(&mut instance);
                if round % 4 == 3 {
                    module.check_segments(&mut instance);
                }
                for _ in 0..random.below(12) {
                    act(&mut instance, &mut random);
                }
                drop(instance);
                assert_fresh(&artifact, 1);
            }
        }
    });
}

#[test]
fn instances_that_live_at_the_same_time_see_only_their_own() {
    quietly(|| {
        for seed in 1000..1010 {
            let mut random = Random(seed);
            let module = Module::random(&mut random);
            let (artifact, bound) = module.bind();
            let mut idle = 0;
            for _ in 0..6 {
                let live = random.below(6) + 1;
                let mut instances: Vec<_> = (0..live).map(|_| bound.instantiate(0).unwrap()).collect();
                let untouched = random.below(live);
                for _ in 0..40 {
                    let chosen = random.below(live);
                    if chosen != untouched {
                        act(&mut instances[chosen], &mut random);
                    }
                }
                module.check(&mut instances[untouched]);
                idle = idle.max(live);
                while !instances.is_empty() {
                    drop(instances.swap_remove(random.below(instances.len())));
                }
                assert_fresh(&artifact, idle);
            }
        }
    });
}

#[test]
fn limits_and_failed_starts_leave_nothing() {
    let failing = artifact(
        r#"(module (import "host" "f" (func $f (param i32))) (memory (export "memory") 1 20) (table 3 30 funcref)
            (global $g (mut i32) (i32.const 1)) (data $d "data") (elem declare func $start)
            (func $start (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (drop (memory.grow (i32.const 7)))
                (drop (table.grow (ref.func $start) (i32.const 9))) (global.set $g (i32.const 5)) (data.drop $d)
                (call $f (global.get $g)))
            (start $start))"#,
    );
    quietly(|| {
        for failure in 0..4 {
            let mut linker = Linker::<()>::new();
            linker.func("host", "f", move |_: &mut Caller<'_, ()>, found: i32| -> Result<(), HostError> {
                assert_eq!(found, 5);
                match failure {
                    0 => Err("the host fails".into()),
                    1 => panic!("the host panics"),
                    _ => Ok(()),
                }
            });
            let bound = linker.bind(&failing).unwrap();
            let bound = bound.limits(Limits { memory_bytes: Some(3 * PAGE as u64), ..Limits::default() });
            for _ in 0..3 {
                let result = catch_unwind(AssertUnwindSafe(|| bound.instantiate(()).map(drop)));
                assert_eq!(result.is_ok_and(|result| result.is_ok()), failure >= 2);
                assert_fresh(&failing, 1);
            }
        }
    });
}

/// Instances of one store use each other's state; when the store is gone all their slots are fresh.
#[test]
fn linked_instances_leave_nothing() {
    let owner = artifact(
        r#"(module (memory (export "memory") 1 9) (table (export "table") 4 9 funcref)
            (global (export "global") (mut funcref) (ref.null func)))"#,
    );
    let user = artifact(
        r#"(module (import "owner" "memory" (memory 1)) (import "owner" "table" (table 4 funcref))
            (import "owner" "global" (global $g (mut funcref)))
            (table $mine 1 100 funcref)
            (data (i32.const 100) "written into another") (elem (i32.const 1) func $f)
            (func $f (export "f") (param i32)
                (i32.store (i32.const 8) (local.get 0))
                (drop (memory.grow (i32.const 1))) (drop (table.grow $mine (table.get (i32.const 1)) (i32.const 50)))
                (drop (table.grow (ref.func $f) (i32.const 1)))
                (global.set $g (ref.func $f)) (if (local.get 0) (then unreachable))))"#,
    );
    for round in 0..4 {
        let mut store = Store::new(());
        let mut linker = Linker::new();
        let owner_instance = linker.bind(&owner).unwrap().instantiate_in(&mut store).unwrap();
        linker.define_instance("owner", &store, owner_instance);
        let bound = linker.bind(&user).unwrap();
        for _ in 0..3 {
            let user = bound.instantiate_in(&mut store).unwrap();
            let f = store.export(user, "f").and_then(|item| item.func()).unwrap();
            assert_eq!(f.call(&mut store, &[Val::I32(round % 2)]).is_ok(), round % 2 == 0);
        }
        drop(store);
        assert_fresh(&owner, 1);
        assert_fresh(&user, 3);
    }
}

/// What the guest held of the host's is dropped with it.
#[test]
fn references_to_the_host_are_dropped() {
    let artifact = artifact(
        r#"(module (table (export "table") 8 99 externref) (global $g (export "global") (mut externref) (ref.null extern))
            (func (export "keep") (param externref i32)
                (global.set $g (local.get 0)) (table.set (local.get 1) (local.get 0))
                (drop (table.grow (local.get 0) (i32.const 1))) (if (i32.eqz (local.get 1)) (then unreachable))))"#,
    );
    let bound = Linker::<()>::new().bind(&artifact).unwrap();
    let witness = std::sync::Arc::new(());
    for _ in 0..3 {
        let mut instance = bound.instantiate(()).unwrap();
        let keep = instance.func::<(Option<ExternRef>, i32), ()>("keep").unwrap();
        for index in 0..8 {
            let reference = ExternRef::new(witness.clone());
            assert_eq!(keep.call(&mut instance, (Some(reference), index)).is_ok(), index != 0);
        }
        let found = instance.table("table").unwrap().get(&instance, 3);
        assert!(matches!(found, Some(Val::ExternRef(Some(_)))), "{found:?}");
        assert!(std::sync::Arc::strong_count(&witness) >= 9);
        drop(found);
        drop(instance);
        assert_eq!(std::sync::Arc::strong_count(&witness), 1);
        assert_fresh(&artifact, 1);
    }
}
