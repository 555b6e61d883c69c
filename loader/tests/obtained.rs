//! Resources of the host's in snapshots: those that the host can be asked for again are there in what starts from one, as
//! that one's own host gives them, and all others are refused.

mod common;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::artifact;
use precast_abi::MAGIC;
use precast_abi::component::ObtainedRow;
use precast_abi::meta::Meta;
use precast_abi::snapshot::{HandleEntry, Snapshot};
use precast_compiler::{Error, Options, compile_snapshot};
use precast_loader::component::{Bound, Instance, Linker, Resource};
use precast_loader::{Artifact, HostError, InstantiateError, SnapshotError};
use precast_targets::Arch;

/// Two component instances with handles of the host's. After `init`, the outer one's handle 1 is free, 2 is of `err` and 3
/// of `out`; the inner one's 1 is of `out`, and was given to it.
const STREAMS: &str = r#"(component
    (import "test:host/streams" (instance $host
        (export "stream" (type $stream (sub resource)))
        (export "get-out" (func (result (own $stream))))
        (export "get-err" (func (result (own $stream))))
        (export "derive" (func (param "from" (borrow $stream)) (result (own $stream))))
        (export "use" (func (param "stream" (borrow $stream)) (param "n" u32)))
        (export "take" (func (param "stream" (own $stream))))))
    (component $inner
        (import "host" (instance $host
            (export "stream" (type $stream (sub resource)))
            (export "use" (func (param "stream" (borrow $stream)) (param "n" u32)))))
        (alias export $host "stream" (type $stream))
        (core func $use (canon lower (func $host "use")))
        (core func $drop (canon resource.drop $stream))
        (core module $m
            (import "" "use" (func $use (param i32 i32)))
            (import "" "drop" (func $drop (param i32)))
            (global $kept (mut i32) (i32.const 0))
            (func (export "keep") (param i32) (global.set $kept (local.get 0)))
            (func (export "use") (param i32) (call $use (global.get $kept) (local.get 0)))
            (func (export "lend") (param i32 i32)
                (call $use (local.get 0) (local.get 1)) (call $drop (local.get 0)))
            (func (export "end") (call $drop (global.get $kept))))
        (core instance $i (instantiate $m (with "" (instance
            (export "use" (func $use)) (export "drop" (func $drop))))))
        (func (export "keep") (param "stream" (own $stream)) (canon lift (core func $i "keep")))
        (func (export "use") (param "n" u32) (canon lift (core func $i "use")))
        (func (export "lend") (param "stream" (borrow $stream)) (param "n" u32) (canon lift (core func $i "lend")))
        (func (export "end") (canon lift (core func $i "end"))))
    (component $outer
        (import "host" (instance $host
            (export "stream" (type $stream (sub resource)))
            (export "get-out" (func (result (own $stream))))
            (export "get-err" (func (result (own $stream))))
            (export "derive" (func (param "from" (borrow $stream)) (result (own $stream))))
            (export "use" (func (param "stream" (borrow $stream)) (param "n" u32)))
            (export "take" (func (param "stream" (own $stream))))))
        (alias export $host "stream" (type $stream))
        (import "inner" (instance $inner
            (alias outer 1 $stream (type $stream))
            (export "keep" (func (param "stream" (own $stream))))
            (export "use" (func (param "n" u32)))
            (export "lend" (func (param "stream" (borrow $stream)) (param "n" u32)))
            (export "end" (func))))
        (core func $out (canon lower (func $host "get-out")))
        (core func $err (canon lower (func $host "get-err")))
        (core func $derive (canon lower (func $host "derive")))
        (core func $use (canon lower (func $host "use")))
        (core func $take (canon lower (func $host "take")))
        (core func $drop (canon resource.drop $stream))
        (core func $inner-keep (canon lower (func $inner "keep")))
        (core func $inner-use (canon lower (func $inner "use")))
        (core func $inner-lend (canon lower (func $inner "lend")))
        (core func $inner-end (canon lower (func $inner "end")))
        (core module $m
            (import "" "get-out" (func $out (result i32)))
            (import "" "get-err" (func $err (result i32)))
            (import "" "derive" (func $derive (param i32) (result i32)))
            (import "" "use" (func $use (param i32 i32)))
            (import "" "take" (func $take (param i32)))
            (import "" "drop" (func $drop (param i32)))
            (import "inner" "keep" (func $inner-keep (param i32)))
            (import "inner" "use" (func $inner-use (param i32)))
            (import "inner" "lend" (func $inner-lend (param i32 i32)))
            (import "inner" "end" (func $inner-end))
            (global $e (mut i32) (i32.const 0)) (global $o (mut i32) (i32.const 0))
            (func (export "init") (local $first i32)
                (local.set $first (call $out))
                (global.set $e (call $err))
                (call $inner-keep (call $out))
                (global.set $o (call $out))
                (call $drop (local.get $first)))
            (func (export "write") (param i32)
                (call $use (global.get $e) (local.get 0))
                (call $use (global.get $o) (i32.add (local.get 0) (i32.const 1)))
                (call $inner-use (i32.add (local.get 0) (i32.const 2)))
                (call $inner-lend (global.get $e) (i32.add (local.get 0) (i32.const 3))))
            (func (export "pass-on") (call $inner-lend (global.get $e) (i32.const 0)))
            (func (export "new") (result i32) (call $err))
            (func (export "derive") (result i32) (call $derive (global.get $e)))
            (func (export "drop") (param i32) (call $drop (local.get 0)))
            (func (export "end") (call $drop (global.get $e)) (call $take (global.get $o)) (call $inner-end)))
        (core instance $i (instantiate $m
            (with "" (instance (export "get-out" (func $out)) (export "get-err" (func $err))
                (export "derive" (func $derive)) (export "use" (func $use))
                (export "take" (func $take)) (export "drop" (func $drop))))
            (with "inner" (instance (export "keep" (func $inner-keep)) (export "use" (func $inner-use))
                (export "lend" (func $inner-lend)) (export "end" (func $inner-end))))))
        (func (export "init") (canon lift (core func $i "init")))
        (func (export "write") (param "n" u32) (canon lift (core func $i "write")))
        (func (export "pass-on") (canon lift (core func $i "pass-on")))
        (func (export "new") (result u32) (canon lift (core func $i "new")))
        (func (export "derive") (result u32) (canon lift (core func $i "derive")))
        (func (export "drop") (param "handle" u32) (canon lift (core func $i "drop")))
        (func (export "end") (canon lift (core func $i "end"))))
    (instance $inner (instantiate $inner (with "host" (instance $host))))
    (instance $outer (instantiate $outer (with "host" (instance $host)) (with "inner" (instance $inner))))
    (export "init" (func $outer "init")) (export "write" (func $outer "write"))
    (export "pass-on" (func $outer "pass-on")) (export "new" (func $outer "new"))
    (export "derive" (func $outer "derive")) (export "drop" (func $outer "drop")) (export "end" (func $outer "end")))"#;

struct Stream;

/// A host whose streams have numbers that no other host's have.
#[derive(Debug)]
struct Host {
    first: u32,
    streams: Vec<&'static str>,
    log: Vec<String>,
}

impl Host {
    fn new(first: u32) -> Self {
        Host { first, streams: Vec::new(), log: Vec::new() }
    }

    fn give(&mut self, name: &'static str) -> Resource<Stream> {
        self.streams.push(name);
        Resource::new_own(self.first + self.streams.len() as u32 - 1)
    }

    fn note(&mut self, representation: u32, what: &str) -> Result<(), HostError> {
        let at = representation.checked_sub(self.first).map(|at| at as usize);
        let name = at.and_then(|at| self.streams.get(at)).ok_or("a stream of another host")?;
        self.log.push(format!("{name} {what}"));
        Ok(())
    }
}

fn linker() -> Linker<Host> {
    let mut linker = Linker::<Host>::new();
    let streams = "test:host/streams";
    linker.resource::<Stream>(streams, "stream", |caller, representation| {
        caller.data_mut().note(representation, "dropped")
    });
    linker.func(streams, "get-out", |caller, ()| Ok(caller.data_mut().give("out")));
    linker.func(streams, "get-err", |caller, ()| Ok(caller.data_mut().give("err")));
    linker.func(streams, "derive", |caller, (_,): (Resource<Stream>,)| Ok(caller.data_mut().give("derived")));
    linker.func(streams, "use", |caller, (stream, n): (Resource<Stream>, u32)| {
        caller.data_mut().note(stream.rep(), &n.to_string())
    });
    linker
        .func(streams, "take", |caller, (stream,): (Resource<Stream>,)| caller.data_mut().note(stream.rep(), "taken"));
    linker
}

fn call<T: 'static>(instance: &mut Instance<T>, name: &str) {
    instance.func::<(), ()>("", name).expect("exported").call(instance, ()).expect("returns");
}

fn number<T: 'static>(instance: &mut Instance<T>, name: &str) -> u32 {
    instance.func::<(), u32>("", name).expect("exported").call(instance, ()).expect("returns")
}

fn give<T: 'static>(instance: &mut Instance<T>, name: &str, n: u32) {
    instance.func::<(u32,), ()>("", name).expect("exported").call(instance, (n,)).expect("returns");
}

/// An instance in which `init` was called.
fn initialised<T: 'static>(bound: &Bound<T>, host: T) -> Instance<T> {
    let mut instance = bound.instantiate(host).expect("instantiates");
    call(&mut instance, "init");
    instance
}

fn warm() -> Instance<Host> {
    initialised(&linker().bind(&artifact(STREAMS)).expect("binds").keep_origins(), Host::new(0))
}

/// What an initialised instance does from then on: its handles, and the streams behind them.
fn observed(instance: &mut Instance<Host>) -> (Vec<u32>, Vec<String>) {
    instance.data_mut().log.clear();
    give(instance, "write", 1);
    let handles = vec![number(instance, "new"), number(instance, "new")];
    give(instance, "drop", handles[0]);
    call(instance, "end");
    (handles, std::mem::take(&mut instance.data_mut().log))
}

fn compiled(snapshot: &Snapshot) -> Artifact {
    let bytes = compile_snapshot(STREAMS.as_bytes(), &Options::default(), snapshot, &[]).expect("compiles");
    Artifact::open_bytes(&bytes).expect("opens")
}

#[test]
fn streams_are_those_of_the_new_instances_host() {
    let mut warm = warm();
    let snapshot = warm.snapshot().expect("all of it can be obtained again");
    let checkpoint = warm.checkpoint().expect("likewise");
    let expected = observed(&mut warm);
    let log = ["err 1", "out 2", "out 3", "err 4", "err dropped", "err dropped", "out taken", "out dropped"];
    assert_eq!(expected, (vec![1, 4], log.map(str::to_owned).to_vec()));

    for artifact in [compiled(&snapshot), checkpoint] {
        let bound = linker().bind(&artifact).expect("binds").keep_origins();
        let (fresh, _) = artifact.slot_hashes().expect("maps");
        for round in 1..40 {
            let mut instance = bound.instantiate(Host::new(1000 * round)).expect("instantiates");
            assert_eq!(instance.data().streams, ["out", "err", "out"], "in the order of the tables, and no more");
            assert_eq!(instance.snapshot().as_ref(), Ok(&snapshot));
            assert_eq!(observed(&mut instance), expected);
            drop(instance);
            assert_eq!(artifact.idle_hashes(), [fresh]);
        }
    }
}

#[test]
fn what_is_dropped_before_it_is_used_is_gone() {
    let bound = linker().bind(&compiled(&warm().snapshot().expect("obtainable"))).expect("binds").keep_origins();
    let mut instance = bound.instantiate(Host::new(50)).expect("instantiates");
    call(&mut instance, "end");
    assert_eq!(instance.data().log, ["err dropped", "out taken", "out dropped"]);
    let left = instance.snapshot().expect("nothing of the host's is left");
    let entries = left.handles.iter().flat_map(|table| &table.entries);
    assert!(entries.clone().count() > 0 && entries.clone().all(|entry| matches!(entry, HandleEntry::Free(_))));
}

#[test]
fn what_cannot_be_obtained_again_is_refused_by_name() {
    let refused = |handles: &[u32]| {
        let named = |handle: &u32| (*handle, "test:host/streams#stream".to_owned());
        Err(SnapshotError::HostResources { handles: handles.iter().map(named).collect() })
    };
    let unnoted = initialised(&linker().bind(&artifact(STREAMS)).expect("binds"), Host::new(0));
    assert_eq!(unnoted.snapshot(), refused(&[1, 2, 3]), "nobody noted where they are from");

    let mut warm = warm();
    let derived = number(&mut warm, "derive");
    let error = warm.checkpoint().expect_err("refused").to_string();
    assert_eq!(error, format!("live resources of the host's: handle {derived} of `test:host/streams#stream`"));
    assert_eq!(warm.snapshot(), refused(&[derived]));
    give(&mut warm, "drop", derived);
    assert!(warm.snapshot().is_ok());
}

#[test]
fn what_is_forgotten_can_be_dropped_and_nothing_else() {
    // Nobody noted where anything is from, so that nothing can be obtained again.
    let mut warm = initialised(&linker().bind(&artifact(STREAMS)).expect("binds"), Host::new(0));
    let forgotten = warm.forget_resources().expect("it is between two calls");
    assert_eq!(forgotten, [1, 2, 3].map(|handle| (handle, "test:host/streams#stream".to_owned())));
    assert_eq!(warm.forget_resources(), Ok(Vec::new()), "only once");
    let snapshot = warm.snapshot().expect("what is gone is nobody's");
    let checkpoint = warm.checkpoint().expect("likewise");
    for artifact in [compiled(&snapshot), checkpoint] {
        let bound = linker().bind(&artifact).expect("binds");
        let fails = |name: &str| {
            let mut instance = bound.instantiate(Host::new(9)).expect("instantiates");
            assert!(instance.data().streams.is_empty());
            let func = instance.func::<(u32,), ()>("", name);
            let called = match func {
                Ok(func) => func.call(&mut instance, (1,)),
                Err(_) => instance.func::<(), ()>("", name).expect("exported").call(&mut instance, ()),
            };
            (called.expect_err("refused").to_string(), instance)
        };
        let gone = |handle: u32| format!("handle {handle} is of a resource that was gone when the instance was made");
        let (error, instance) = fails("write");
        assert!(error.contains(&gone(2)), "{error}");
        assert_eq!(instance.data().log, [""; 0]);
        let (error, _) = fails("pass-on");
        assert!(error.contains("is of a resource that was gone"), "{error}");
        // The first handle is dropped, of which the host hears nothing, and the second given to the host.
        let (error, instance) = fails("end");
        assert!(error.contains(&gone(3)), "{error}");
        assert_eq!(instance.data().log, [""; 0]);

        let mut instance = bound.instantiate(Host::new(9)).expect("instantiates");
        give(&mut instance, "drop", 2);
        assert_eq!(number(&mut instance, "new"), 2, "its number is free");
        give(&mut instance, "drop", 2);
        assert_eq!(instance.data().log, ["err dropped"]);
    }
}

#[test]
fn no_resource_has_the_number_of_what_is_gone() {
    let mut linker = linker();
    linker.func("test:host/streams", "get-out", |_, ()| Ok(Resource::<Stream>::new_own(u32::MAX)));
    let mut instance = linker.bind(&artifact(STREAMS)).expect("binds").instantiate(Host::new(0)).expect("instantiates");
    let error = instance.func::<(), ()>("", "init").expect("exported").call(&mut instance, ()).expect_err("refused");
    assert!(error.to_string().contains("the highest number"), "{error}");
}

/// Hosts use numbers again: what a number stood for before says nothing.
#[test]
fn a_number_that_is_used_again_is_of_what_gave_it_last() {
    let mut linker = Linker::<u32>::new();
    let streams = "test:host/streams";
    linker.resource::<Stream>(streams, "stream", |_, _| Ok(()));
    for name in ["get-out", "get-err"] {
        linker.func(streams, name, |caller, ()| {
            *caller.data_mut() += 1;
            Ok(Resource::<Stream>::new_own(*caller.data_mut()))
        });
    }
    linker.func(streams, "derive", |_, (_,): (Resource<Stream>,)| Ok(Resource::<Stream>::new_own(1)));
    linker.func(streams, "use", |_, (_, _): (Resource<Stream>, u32)| Ok(()));
    linker.func(streams, "take", |_, (_,): (Resource<Stream>,)| Ok(()));
    let mut instance = initialised(&linker.bind(&artifact(STREAMS)).expect("binds").keep_origins(), 0u32);
    assert!(instance.snapshot().is_ok());
    // The first stream had this number, and was dropped.
    assert_eq!(number(&mut instance, "derive"), 1);
    let Err(SnapshotError::HostResources { handles }) = instance.snapshot() else { panic!("it was not refused") };
    assert_eq!(handles.len(), 1);
    assert_eq!(handles[0].0, 1);
}

#[test]
fn a_host_that_does_not_give_them_has_no_instance() {
    let artifact = compiled(&warm().snapshot().expect("obtainable"));
    let mut refusing = linker();
    refusing.func("test:host/streams", "get-out", |_, ()| Err::<Resource<Stream>, HostError>("no more".into()));
    let bound = refusing.bind(&artifact).expect("binds");
    let error = bound.instantiate(Host::new(0)).expect_err("refused");
    let text = "the host gives no resource by `test:host/streams#get-out`, with which the component starts";
    assert_eq!(error.to_string(), text);
    let InstantiateError::Resource { error, .. } = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("no more"), "{error}");

    let mut missing = Linker::<Host>::new();
    missing.trap_missing();
    let error = missing.bind(&artifact).expect("binds").instantiate(Host::new(0)).expect_err("refused");
    assert!(matches!(error, InstantiateError::Resource { .. }), "{error:?}");
}

#[test]
fn a_host_may_take_its_time() {
    let mut slow = linker();
    slow.func_async("test:host/streams", "get-out", |caller, ()| {
        Box::pin(async move {
            let mut waited = false;
            std::future::poll_fn(|cx| match std::mem::replace(&mut waited, true) {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            Ok(caller.data_mut().give("out"))
        })
    });
    let bound = slow.bind(&compiled(&warm().snapshot().expect("obtainable"))).expect("binds");
    let error = bound.instantiate(Host::new(0)).expect_err("nobody can wait");
    assert!(matches!(error, InstantiateError::Resource { .. }), "{error:?}");

    let mut made = pin!(bound.instantiate_async(Host::new(0)));
    let mut polls = 0;
    let mut instance = loop {
        polls += 1;
        if let Poll::Ready(made) = made.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break made.expect("instantiates");
        }
    };
    assert_eq!(polls, 3, "it waited for two streams");
    give(&mut instance, "write", 7);
    assert_eq!(instance.data().log, ["err 7", "out 8", "out 9", "err 10"]);
}

#[test]
fn every_target_has_the_same_rows() {
    let snapshot = warm().snapshot().expect("obtainable");
    for arch in Arch::ALL {
        let options = Options { arch, features: arch.levels()[0].features, ..Options::default() };
        let bytes = compile_snapshot(STREAMS.as_bytes(), &options, &snapshot, &[]).expect("compiles");
        let at = bytes.windows(8).position(|window| window == MAGIC).expect("an artifact");
        let meta = Meta::parse(&bytes[at..]).expect("its tables");
        let named = |row: ObtainedRow| {
            let func = meta.host_funcs.get(row.function as usize).expect("a function");
            (row.instance, row.handle, meta.str(func.name).expect("a name").to_owned())
        };
        let rows: Vec<_> = meta.obtained.iter().map(named).collect();
        // The root, the inner one, the outer one.
        let wanted = [(1, 1, "get-out"), (2, 2, "get-err"), (2, 3, "get-out")];
        assert_eq!(rows, wanted.map(|(instance, handle, name)| (instance, handle, name.to_owned())));
    }
}

#[test]
fn rows_that_make_no_sense_are_refused() {
    let good = warm().snapshot().expect("obtainable");
    let derive = 2;
    let obtained = |resource, function| HandleEntry::Obtained { resource, function };
    let owned = |resource, representation| HandleEntry::Owned { resource, representation };
    let bad = [
        obtained(0, derive),
        obtained(0, u32::MAX),
        obtained(1, 0),
        obtained(u32::MAX, 0),
        owned(0, 7),
        owned(1, u32::MAX),
    ];
    for entry in bad {
        let mut snapshot = good.clone();
        snapshot.handles[2].entries[1] = entry;
        let error = compile_snapshot(STREAMS.as_bytes(), &Options::default(), &snapshot, &[]);
        assert_eq!(error, Err(Error::Snapshot("the handles".into())), "{entry:?}");
    }
}
