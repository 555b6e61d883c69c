//! What the system refuses: addresses for instances, and pages for what they grow. Typed errors and -1, and once there is
//! room again all is well. Limits belong to a process, so each test has one of its own.

use precast_loader::{InstantiateError, Linker, SlotError, TrapCode};
use precast_tests::{again, artifact, compile, precast_binary, role, tool};

const GROWING: &str = r#"(module (memory (export "m") 1)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "store") (param i32) (i32.store (local.get 0) (i32.const 1))))"#;

/// Lowers what the process may have of `resource` to what it has and `more` bytes.
fn limit(resource: libc::__rlimit_resource_t, more: u64) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let column = if resource == libc::RLIMIT_AS { 0 } else { 5 };
    let used = pages.split(' ').nth(column).unwrap().parse::<u64>().unwrap() * 4096;
    let limit = libc::rlimit { rlim_cur: used + more, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the structure is valid.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

fn unlimit(resource: libc::__rlimit_resource_t) {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the structure is valid.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

#[track_caller]
fn run_again(test: &str) {
    let output = again(test, "child").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_reservation_that_the_limit_refuses_is_an_error_that_tells_both() {
    if role().is_none() {
        return run_again("a_reservation_that_the_limit_refuses_is_an_error_that_tells_both");
    }
    let module = artifact(GROWING);
    let bound = Linker::new().bind(&module).unwrap();
    let wanted = module.sizes().slot;
    assert!(wanted > 6 << 30);
    limit(libc::RLIMIT_AS, 1 << 30);
    for _ in 0..3 {
        let error = bound.instantiate(()).unwrap_err();
        let InstantiateError::Slot(SlotError::AddressSpace { wanted: told, limit, source }) = &error else {
            panic!("{error:?}");
        };
        assert_eq!((*told, source.raw_os_error()), (wanted, Some(libc::ENOMEM)));
        assert!(limit.is_some_and(|limit| limit < wanted), "{limit:?}");
        assert!(error.to_string().contains(&wanted.to_string()), "{error}");
    }
    // As many as there is room for, then the error, then again as many.
    unlimit(libc::RLIMIT_AS);
    limit(libc::RLIMIT_AS, wanted * 3 + (wanted >> 1));
    for _ in 0..3 {
        let instances: Vec<_> = std::iter::from_fn(|| bound.instantiate(()).ok()).take(10).collect();
        assert_eq!(instances.len(), 3);
        assert!(matches!(bound.instantiate(()), Err(InstantiateError::Slot(SlotError::AddressSpace { .. }))));
    }
    unlimit(libc::RLIMIT_AS);
    let mut instance = bound.instantiate(()).unwrap();
    assert_eq!(instance.func::<i32, i32>("grow").unwrap().call(&mut instance, 1).unwrap(), 1);
}

#[test]
fn growth_that_the_system_refuses_gives_minus_one() {
    if role().is_none() {
        return run_again("growth_that_the_system_refuses_gives_minus_one");
    }
    let bound = Linker::new().bind(&artifact(GROWING)).unwrap();
    let mut instance = bound.instantiate(()).unwrap();
    let grow = instance.func::<i32, i32>("grow").unwrap();
    let store = instance.func::<i32, ()>("store").unwrap();
    limit(libc::RLIMIT_DATA, 8 << 20);
    for _ in 0..3 {
        assert_eq!(grow.call(&mut instance, 1000).unwrap(), -1);
        let error = store.call(&mut instance, 65536).unwrap_err();
        assert_eq!(error.trap().unwrap().code(), TrapCode::MemoryOutOfBounds, "nothing has grown");
    }
    assert!(instance.memory("m").unwrap().grow(&mut instance, 1000).is_err());
    assert_eq!(grow.call(&mut instance, 10).unwrap(), 1);
    store.call(&mut instance, 65536).unwrap();
    unlimit(libc::RLIMIT_DATA);
    assert_eq!(grow.call(&mut instance, 1000).unwrap(), 11);
    store.call(&mut instance, 1010 << 16).unwrap();
}

#[test]
fn slots_that_the_system_refuses_pages_for_are_errors_too() {
    if role().is_none() {
        return run_again("slots_that_the_system_refuses_pages_for_are_errors_too");
    }
    // Each instance has 16 MiB of memory from the start.
    let bound = Linker::new().bind(&artifact("(module (memory 256))")).unwrap();
    limit(libc::RLIMIT_DATA, 40 << 20);
    for _ in 0..3 {
        let mut instances = Vec::new();
        let error = loop {
            match bound.instantiate(()) {
                Ok(instance) => instances.push(instance),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, InstantiateError::Slot(SlotError::Os { .. })), "{error:?}");
        assert!((1..=2).contains(&instances.len()), "{}", instances.len());
    }
    unlimit(libc::RLIMIT_DATA);
    bound.instantiate(()).unwrap();
}

#[test]
fn the_command_says_so_and_fails() {
    let Some(_) = tool("bash") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.so");
    std::fs::write(&path, compile(GROWING)).unwrap();
    let script = "ulimit -v 2000000; exec \"$0\" run --invoke grow \"$1\" 1";
    let output =
        std::process::Command::new("bash").args(["-c", script]).arg(precast_binary()).arg(&path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("addresses") && stderr.contains("2048000000"), "{stderr}");
}
