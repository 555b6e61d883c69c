//! Profiles: what is recorded of guests, and what artifacts do that are laid out by one.
#![cfg(target_arch = "x86_64")]

mod common;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use precast_compiler::{Options, compile, compile_snapshot};
use precast_loader::{
    Artifact, Bound, Caller, ExternRef, Linker, OpenErrorKind, OpenOptions, Profile, TrapCode, with_deadline,
};

const RECORD: OpenOptions = OpenOptions { debugger: false, record_profile: true };

/// Functions are not in the order in which `run` has them called; two have the same name.
const GUEST: &str = r#"(module
    (import "host" "tell" (func $tell (param externref i32)))
    (memory (export "memory") 40 60)
    (table (export "table") 8 funcref) (elem (i32.const 1) $never $third $second)
    (global $g (mut i32) (i32.const 1))
    (data (i32.const 4) "here")
    (func $never (export "never") (result i32) (i32.const 3))
    (func (@name "same") (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)))
    (func $third (param i32) (result i32) (i32.store (i32.const 400000) (local.get 0)) (call 5 (local.get 0)))
    (func $second (param i32) (result i32)
        (call $tell (ref.null extern) (local.get 0))
        (call_indirect (param i32) (result i32) (local.get 0) (i32.const 2)))
    (func (@name "same") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $first (export "run") (param i32) (result i32)
        (i32.store (i32.const 81920) (local.get 0))
        (call $second (i32.add (local.get 0) (i32.load8_u (i32.const 4)))))
    (func $more (export "more") (param i32) (result i32) (call 2 (call $second (local.get 0))))
    (func $point (export "point") (table.set (i32.const 7) (ref.func $third)) (global.set $g (i32.const 2)))
    (func $rare (export "rare") (i32.store (i32.const 1000000) (i32.const 1)))
    (func $trap (export "trap") (param i32) (call $inner (local.get 0)))
    (func $inner (param i32)
        (if (i32.eqz (local.get 0)) (then unreachable))
        (if (i32.eq (local.get 0) (i32.const 1)) (then (drop (i32.load (i32.const -1)))))
        (call $endless (local.get 0)))
    (func $endless (param i32) (call $endless (local.get 0)) (call $endless (i32.const 1))))"#;

fn recorded(wat: &str) -> Artifact {
    let bytes = compile(wat.as_bytes(), &Options::default()).expect("compiles");
    Artifact::open_bytes_with(&bytes, &RECORD).expect("opens")
}

fn laid_out(wat: &str, profile: &Profile) -> Vec<u8> {
    let options = Options { profile: Some(profile.clone()), ..Options::default() };
    compile(wat.as_bytes(), &options).expect("compiles")
}

fn bind(artifact: &Artifact) -> Bound<u32> {
    let mut linker = Linker::new();
    // A reference does not fit registers as it is, so there is a thunk.
    linker.func("host", "tell", |caller: &mut Caller<'_, u32>, _: Option<ExternRef>, value: i32| {
        *caller.data_mut() += value as u32;
    });
    linker.bind(artifact).expect("binds")
}

/// Calls an export in an instance of its own: its result, and what the host was told.
fn call(bound: &Bound<u32>, export: &str, param: i32) -> (i32, u32) {
    let mut instance = bound.instantiate(0).expect("instantiates");
    let func = instance.func::<i32, i32>(export).expect("exported");
    let result = func.call(&mut instance, param).expect("works");
    (result, instance.into_data())
}

/// The functions in a profile, without entry thunks, which are numbered.
fn names(artifact: &Artifact) -> Vec<String> {
    let profile = artifact.profile().expect("recorded");
    let names = profile.functions.iter().map(ToString::to_string);
    names.filter(|name| !name.starts_with("entry ")).collect()
}

fn pages(artifact: &Artifact) -> Vec<String> {
    artifact.profile().expect("recorded").pages.iter().map(ToString::to_string).collect()
}

#[test]
fn just_the_functions_that_ran_are_recorded_in_their_order() {
    let artifact = recorded(GUEST);
    let bound = bind(&artifact);
    assert_eq!(artifact.profile().unwrap().functions, []);
    assert_eq!(call(&bound, "run", 7), ((7 + 104) * 3, 7 + 104));
    let first = ["wasm first", "wasm second", "host precast.host.host.tell", "wasm third", "wasm+1 same"];
    assert_eq!(names(&artifact), first);
    // The thunk that the host enters through runs first of all.
    assert!(artifact.profile().unwrap().functions[0].to_string().starts_with("entry precast.entry."));
    // Nothing is recorded twice, what is new comes last.
    assert_eq!(call(&bound, "run", 8), ((8 + 104) * 3, 8 + 104));
    assert_eq!(call(&bound, "more", 5), (14, 5));
    assert_eq!(names(&artifact), [&first[..], &["wasm more", "wasm same"]].concat());
    // It is the same program however it is laid out, and the same profile.
    let again = Artifact::open_bytes_with(&laid_out(GUEST, &artifact.profile().unwrap()), &RECORD).expect("opens");
    let rebound = bind(&again);
    for export in ["run", "run", "more"] {
        call(&rebound, export, 9);
    }
    assert_eq!(again.profile(), artifact.profile());
    // Others are not recorded.
    assert_eq!(common::artifact(GUEST).profile(), None);
}

#[test]
fn pages_that_most_instances_wrote_are_recorded() {
    let artifact = recorded(GUEST);
    let bound = bind(&artifact);
    assert_eq!(pages(&artifact), [""; 0]);
    for round in 0..3 {
        call(&bound, "run", round);
    }
    let mut instance = bound.instantiate(0).expect("instantiates");
    instance.func::<(), ()>("rare").unwrap().call(&mut instance, ()).expect("works");
    drop(instance);
    let found = pages(&artifact);
    // With the first frames of the stack.
    assert!(found.contains(&"block 0 0 1".into()), "{found:?}");
    // Neither what the image has and nobody wrote, nor what one of four instances wrote.
    let memory: Vec<_> = found.iter().filter(|page| page.starts_with("memory")).collect();
    assert_eq!(memory, ["memory 0 20 1", "memory 0 97 1"]);
    (0..3).for_each(|_| {
        let mut instance = bound.instantiate(0).expect("instantiates");
        instance.func::<(), ()>("rare").unwrap().call(&mut instance, ()).expect("works");
    });
    assert!(pages(&artifact).contains(&"memory 0 244 1".into()), "{:?}", pages(&artifact));
}

/// Many functions that many threads call for the first time at once.
#[test]
fn threads_meet_breakpoints_together() {
    const FUNCTIONS: i32 = 300;
    const THREADS: usize = 4;
    let functions = (0..FUNCTIONS)
        .map(|at| format!("(func $f{at} (param i32) (result i32) (i32.add (local.get 0) (i32.const {at})))"));
    let calls = (0..FUNCTIONS).map(|at| format!("(local.set 0 (call $f{at} (local.get 0)))"));
    let wat = format!(
        "(module {} (func $all (export \"all\") (param i32) (result i32) {} (local.get 0)) (func $not))",
        functions.collect::<String>(),
        calls.collect::<String>()
    );
    let bytes = compile(wat.as_bytes(), &Options::default()).expect("compiles");
    for _ in 0..20 {
        let artifact = Artifact::open_bytes_with(&bytes, &RECORD).expect("opens");
        let bound = bind(&artifact);
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 0..THREADS as i32 {
                let (bound, start) = (&bound, &start);
                scope.spawn(move || {
                    start.wait();
                    let sum = FUNCTIONS * (FUNCTIONS - 1) / 2;
                    assert_eq!(call(bound, "all", thread).0, sum + thread);
                    assert_eq!(call(bound, "all", 2 * thread).0, sum + 2 * thread);
                });
            }
        });
        let found = names(&artifact);
        assert_eq!(found[0], "wasm all");
        let mut found: Vec<_> = found[1..].iter().map(|name| name["wasm f".len()..].parse::<i32>().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, (0..FUNCTIONS).collect::<Vec<_>>());
    }
}

#[test]
fn traps_and_deadlines_are_as_ever() {
    let (plain, recorded) = (common::artifact(GUEST), recorded(GUEST));
    for param in 0..3 {
        let trap = |artifact: &Artifact| {
            let mut instance = bind(artifact).instantiate(0).expect("instantiates");
            let func = instance.func::<i32, ()>("trap").unwrap();
            let error = func.call(&mut instance, param).unwrap_err();
            let trap = error.trap().expect("a trap");
            (trap.code(), format!("{:?}", trap.frames()))
        };
        let found = trap(&recorded);
        assert_eq!(found, trap(&plain), "{param}");
        // Once more, without breakpoints.
        assert_eq!(found, trap(&recorded), "{param}");
    }
    assert_eq!(names(&recorded), ["wasm trap", "wasm inner", "wasm endless"]);
    let endless = "(module (func $f (export \"f\") (loop (br 0))))";
    let endless = self::recorded(endless);
    let mut instance = Linker::new().bind(&endless).unwrap().instantiate(()).expect("instantiates");
    let func = instance.func::<(), ()>("f").unwrap();
    let late = Instant::now() + Duration::from_millis(20);
    let error = with_deadline(late, || func.call(&mut instance, ())).unwrap_err();
    assert_eq!(error.trap().expect("a trap").code(), TrapCode::Interrupted);
    assert_eq!(names(&endless), ["wasm f"]);
}

#[test]
fn an_artifact_is_not_opened_for_a_debugger_and_to_be_recorded() {
    let bytes = compile(GUEST.as_bytes(), &Options::default()).expect("compiles");
    let both = OpenOptions { debugger: true, ..RECORD };
    let error = Artifact::open_bytes_with(&bytes, &both).unwrap_err();
    assert!(matches!(error.kind, OpenErrorKind::Options(_)), "{error}");
}

#[test]
fn functions_that_ran_are_the_first_of_the_text_and_do_the_same() {
    let artifact = recorded(GUEST);
    call(&bind(&artifact), "run", 7);
    let artifact = Artifact::open_bytes(&laid_out(GUEST, &artifact.profile().unwrap())).expect("opens");
    let order: Vec<_> = artifact.functions().map(|function| (function.index, function.name)).collect();
    assert_eq!(order[..6], [(6, "first"), (4, "second"), (3, "third"), (5, "same"), (1, "never"), (2, "same")]);
    let (bound, plain) = (bind(&artifact), bind(&common::artifact(GUEST)));
    for (export, param) in [("run", 7), ("more", 5), ("run", -1), ("more", 0)] {
        assert_eq!(call(&bound, export, param), call(&plain, export, param), "{export}");
    }
}

/// One that is not hashed is read ahead, which nobody sees.
#[test]
fn a_trusted_artifact_does_the_same() {
    let artifact = recorded(GUEST);
    call(&bind(&artifact), "run", 7);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), laid_out(GUEST, &artifact.profile().unwrap())).expect("written");
    // SAFETY: it is as the compiler wrote it, and nobody else knows of it.
    let artifact = unsafe { Artifact::open_trusted(file.path()) }.expect("opens");
    assert_eq!(call(&bind(&artifact), "run", 7), ((7 + 104) * 3, 7 + 104));
}

/// Writes to 64 pages, far apart, and reads what others left there.
const WRITER: &str = r#"(module (memory (export "memory") 40) (global $g (mut i32) (i32.const 5))
    (data (i32.const 131072) "image") (data (i32.const 2500000) "image")
    (func $work (export "work") (param $mask i32) (result i32) (local $i i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (i32.load (i32.mul (local.get $i) (i32.const 40960)))))
            (if (i32.eqz (i32.and (local.get $i) (local.get $mask)))
                (then (i32.store (i32.mul (local.get $i) (i32.const 40960)) (i32.add (local.get $i) (i32.const 1)))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
        (global.set $g (i32.add (global.get $g) (local.get $sum)))
        (global.get $g)))"#;

/// Page faults of this thread until now.
fn faults() -> i64 {
    // SAFETY: the call fills in one structure, for which zeros are a value.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
        usage.ru_minflt + usage.ru_majflt
    }
}

fn written() -> (Profile, Vec<u8>) {
    let artifact = recorded(WRITER);
    call(&bind(&artifact), "work", 0);
    let profile = artifact.profile().expect("recorded");
    (profile.clone(), laid_out(WRITER, &profile))
}

#[test]
fn a_new_slot_has_the_pages_that_were_recorded() {
    let (_, bytes) = written();
    let plain = common::artifact(WRITER);
    let [without, with] = [plain, Artifact::open_bytes(&bytes).expect("opens")].map(|artifact| {
        let bound = bind(&artifact);
        let mut instance = bound.instantiate(0).expect("instantiates");
        let func = instance.func::<i32, i32>("work").expect("exported");
        // All that is not the guest's is resident.
        func.call(&mut instance, -1).expect("works");
        let before = faults();
        assert_eq!(func.call(&mut instance, 0).expect("works"), 6);
        faults() - before
    });
    assert!(without >= 60 && with <= 3, "{without} faults without a profile, {with} with");
}

#[test]
fn slots_are_fresh_whatever_the_profile_foresaw() {
    let (profile, bytes) = written();
    // One that foresaw all, one that foresaw a part, and one of much that is not written.
    let half = Profile { pages: profile.pages[..profile.pages.len() / 2].to_vec(), ..profile.clone() };
    let mut much = profile;
    much.pages.iter_mut().for_each(|run| run.count += 3);
    for bytes in [bytes, laid_out(WRITER, &half), laid_out(WRITER, &much)] {
        let artifact = Artifact::open_bytes(&bytes).expect("opens");
        let (fresh, _) = artifact.slot_hashes().expect("maps");
        assert_eq!(common::artifact(WRITER).slot_hashes().expect("maps").0, fresh);
        let bound = bind(&artifact);
        for round in 0..40 {
            let mask = [0, 63, 7, 0, 1, 3][round % 6];
            assert_eq!(call(&bound, "work", mask), (5, 0), "{round}");
            assert_eq!(artifact.idle_hashes(), [fresh], "{round}");
        }
    }
}

#[test]
fn snapshots_name_functions_however_they_are_laid_out() {
    let artifact = recorded(GUEST);
    call(&bind(&artifact), "run", 7);
    let profile = artifact.profile().unwrap();
    let snapshot = |artifact: &Artifact| {
        let mut instance = bind(artifact).instantiate(0).expect("instantiates");
        instance.func::<(), ()>("point").unwrap().call(&mut instance, ()).expect("works");
        instance.snapshot().expect("can be taken")
    };
    let plain = snapshot(&common::artifact(GUEST));
    assert_eq!(snapshot(&Artifact::open_bytes(&laid_out(GUEST, &profile)).expect("opens")), plain);
    let options = Options { profile: Some(profile), ..Options::default() };
    let bytes = compile_snapshot(GUEST.as_bytes(), &options, &plain, &[]).expect("compiles");
    let resumed = Artifact::open_bytes(&bytes).expect("opens");
    assert_eq!(snapshot(&resumed), plain);
    assert_eq!(call(&bind(&resumed), "run", 7), ((7 + 104) * 3, 7 + 104));
}

#[test]
fn components_are_recorded_and_laid_out() {
    let module = |name: &str, by: u32| {
        format!(
            "(core module ${name} (memory (export \"memory\") 1)
                (func $not (result i32) (i32.const 1))
                (func $work (export \"work\") (param i32) (result i32)
                    (i32.store (i32.const {by}000) (local.get 0))
                    (call $step (i32.const 40) (local.get 0)))
                (func $step (param i32 i32) (result i32)
                    (if (result i32) (local.get 0)
                        (then (i32.add (i32.const {by}) (call $step (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
                        (else (local.get 1)))))
            (core instance $i{name} (instantiate ${name}))
            (func (export \"{name}\") (param \"x\" u32) (result u32) (canon lift (core func $i{name} \"work\")))"
        )
    };
    let wat = format!("(component {} {})", module("a", 10), module("b", 20));
    let bytes = compile(wat.as_bytes(), &Options::default()).expect("compiles");
    let call = |artifact: &Artifact, export: &str| {
        let linker = precast_loader::component::Linker::<()>::new();
        let mut instance = linker.bind(artifact).expect("binds").instantiate(()).expect("instantiates");
        let func = instance.func::<(u32,), u32>("", export).expect("exported");
        func.call(&mut instance, (2,)).expect("works")
    };
    let artifact = Artifact::open_bytes_with(&bytes, &RECORD).expect("opens");
    assert_eq!(call(&artifact, "b"), 802);
    // Both modules have these names. What leads to the second one's memory is glue, and has its small function in it.
    assert_eq!(names(&artifact), ["glue precast.forward.work", "wasm+1 step"]);
    assert_eq!(call(&artifact, "a"), 402);
    assert_eq!(names(&artifact), ["glue precast.forward.work", "wasm+1 step", "wasm work", "wasm step"]);
    let laid_out = Artifact::open_bytes(&laid_out(&wat, &artifact.profile().unwrap())).expect("opens");
    assert_eq!((call(&laid_out, "a"), call(&laid_out, "b")), (402, 802));
}
