//! Faults that are no traps, each in a process of its own: they go where they went before precast was there.
//!
//! The loader's unit tests have the handler itself; here everything is reached as a host reaches it.

#![cfg(target_arch = "x86_64")]

use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use precast_loader::{Artifact, Caller, Instance, Linker, OpenOptions, TrapCode};
use precast_tests::{again, artifact, compile, role, say};

/// Runs the child in `role`.
fn child(role: &str) -> Output {
    again("child_host", role).output().unwrap()
}

#[track_caller]
fn assert_killed(role: &str, signal: libc::c_int) {
    let output = child(role);
    assert_eq!(output.status.signal(), Some(signal), "{role}: {output:?}");
}

#[track_caller]
fn assert_exits(role: &str, status: i32) {
    let output = child(role);
    assert_eq!(output.status.code(), Some(status), "{role}: {output:?}");
}

#[test]
fn with_the_default_disposition_the_process_ends_with_its_signal() {
    assert_killed("default, host", libc::SIGSEGV);
    assert_killed("default, host function", libc::SIGSEGV);
    assert_killed("default, other thread", libc::SIGSEGV);
    assert_killed("default, illegal instruction", libc::SIGILL);
    assert_killed("default, sent", libc::SIGSEGV);
}

#[test]
fn a_handler_with_information_gets_all_of_it() {
    assert_exits("information, host", WITH_INFORMATION);
    assert_exits("information, host function", WITH_INFORMATION);
    assert_exits("information, other thread", WITH_INFORMATION);
}

#[test]
fn a_handler_without_information_gets_the_signal() {
    assert_exits("plain, host", WITHOUT_INFORMATION);
    assert_exits("plain, host function", WITHOUT_INFORMATION);
    assert_exits("plain, other thread", WITHOUT_INFORMATION);
}

#[test]
fn a_handler_that_repairs_the_fault_goes_on() {
    assert_exits("repair, host", 0);
    assert_exits("repair, host function", 0);
}

#[test]
fn a_signal_that_was_ignored_still_is_when_sent() {
    assert_exits("ignored, sent", 0);
    assert_killed("ignored, host", libc::SIGSEGV);
}

/// What a process sends is no trap, wherever the guest is just then.
#[test]
fn a_signal_that_was_sent_ends_the_process_as_ever() {
    assert_killed("untouched, sent", libc::SIGSEGV);
    assert_killed("untouched, sent into a guest", libc::SIGSEGV);
}

/// The standard library's own handler tells what happened, as it does without precast.
#[test]
fn the_end_of_the_hosts_stack_is_the_hosts() {
    for role in ["untouched, host's stack", "untouched, host's stack in a host function"] {
        let output = child(role);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("has overflowed its stack"), "{stderr}");
    }
}

/// A host with a timer: its handler runs in the middle of guests, traps and switches.
#[test]
fn signals_of_the_host_interrupt_guests_and_nothing_happens() {
    assert_exits("timer, none", 0);
}

const WITH_INFORMATION: i32 = 42;
const WITHOUT_INFORMATION: i32 = 43;

/// The address that hosts here fault at.
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn with_information(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's arguments are valid, and `_exit` may be called in a handler.
    unsafe {
        let right = signal == libc::SIGSEGV
            && (*info).si_addr().addr() == ADDRESS.load(Ordering::Relaxed)
            && (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] != 0;
        libc::_exit(if right { WITH_INFORMATION } else { 1 });
    }
}

extern "C" fn without_information(signal: libc::c_int) {
    // SAFETY: `_exit` may be called in a handler.
    unsafe { libc::_exit(if signal == libc::SIGSEGV { WITHOUT_INFORMATION } else { 1 }) }
}

/// Makes the page accessible that was touched.
unsafe extern "C" fn repair(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel's arguments are valid; the page is the one that `fault` mapped for this.
    unsafe {
        let page = (*info).si_addr().map_addr(|address| address & !4095);
        if page.addr() != ADDRESS.load(Ordering::Relaxed) || libc::mprotect(page, 4096, libc::PROT_READ) != 0 {
            libc::_exit(1);
        }
    }
}

/// Sets what is done about `signal` before precast is there. `information`: whether the handler wants any.
fn dispose(signal: libc::c_int, handler: usize, information: bool) {
    // SAFETY: all-zero is a valid action with an empty mask, and each handler here is of the kind that is said.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_ONSTACK | if information { libc::SA_SIGINFO } else { 0 };
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// Reads a page that nobody may read.
#[inline(never)]
extern "C" fn fault() {
    // SAFETY: the page is new and ours; the fault is what the test is about.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        ADDRESS.store(page.addr(), Ordering::Relaxed);
        assert_eq!(page.cast::<u8>().read_volatile(), 0);
    }
}

#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + frame[7] }
}

/// A guest that has trapped already, so that everything is installed; its `host` calls the function it is given.
fn guest(f: extern "C" fn()) -> Instance<()> {
    let module = artifact(
        r#"(module (import "host" "f" (func $f)) (memory 1)
            (func (export "host") (call $f))
            (func (export "trap") (param i32) (drop (i32.load (local.get 0)))))"#,
    );
    let mut linker = Linker::new();
    linker.func("host", "f", move |_: &mut Caller<'_, ()>| f());
    let mut instance = linker.bind(&module).unwrap().instantiate(()).unwrap();
    assert_trap(&mut instance);
    instance
}

/// The guest's own faults are traps, before and after.
fn assert_trap(instance: &mut Instance<()>) {
    let trap = instance.func::<i32, ()>("trap").unwrap();
    let error = trap.call(instance, -1).unwrap_err();
    assert_eq!(error.trap().unwrap().code(), TrapCode::MemoryOutOfBounds);
}

/// Breakpoints are taken for a recorder's only where it has put one.
#[test]
fn a_breakpoint_of_the_hosts_goes_where_it_went_before() {
    let child = |role: &str| again("child_recorded", role).output().unwrap();
    for role in ["default, met", "ignored, met", "default, sent"] {
        let output = child(role);
        assert_eq!(output.status.signal(), Some(libc::SIGTRAP), "{role}: {output:?}");
    }
    for (role, seen) in [("ignored, sent", 0), ("counted, met", 1), ("counted, sent", 1), ("counted, none", 0)] {
        let output = child(role);
        assert_eq!(output.status.code(), Some(0), "{role}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("seen: {seen}\n")), "{role}: {output:?}");
    }
}

/// What the test above runs: a host with a recorded guest.
#[test]
fn child_recorded() {
    let Some(role) = role() else { return };
    let (disposition, event) = role.split_once(", ").unwrap();
    match disposition {
        "default" => dispose(libc::SIGTRAP, libc::SIG_DFL, false),
        "ignored" => dispose(libc::SIGTRAP, libc::SIG_IGN, false),
        _ => dispose(libc::SIGTRAP, tick as *const () as usize, false),
    }
    let bytes = compile(r#"(module (func (export "a")) (func (export "b")))"#);
    let options = OpenOptions { record_profile: true, ..OpenOptions::default() };
    let module = Artifact::open_bytes_with(&bytes, &options).unwrap();
    let mut instance = Linker::new().bind(&module).unwrap().instantiate(()).unwrap();
    instance.func::<(), ()>("a").unwrap().call(&mut instance, ()).unwrap();
    match event {
        // SAFETY: what happens is what the test is about.
        "met" => unsafe { std::arch::asm!("int3") },
        // SAFETY: as above.
        "sent" => assert_eq!(unsafe { libc::raise(libc::SIGTRAP) }, 0),
        _ => {}
    }
    instance.func::<(), ()>("b").unwrap().call(&mut instance, ()).unwrap();
    let names: Vec<_> = module.profile().unwrap().functions.iter().map(ToString::to_string).collect();
    assert_eq!(names[1..], ["wasm a", "wasm b"]);
    say(format_args!("seen: {}", TICKS.load(Ordering::Relaxed)));
}

/// What the tests before those run.
#[test]
fn child_host() {
    let Some(role) = role() else { return };
    let (disposition, place) = role.split_once(", ").unwrap();
    match disposition {
        "default" => [libc::SIGSEGV, libc::SIGILL].into_iter().for_each(|signal| dispose(signal, libc::SIG_DFL, false)),
        "ignored" => dispose(libc::SIGSEGV, libc::SIG_IGN, false),
        "information" => dispose(libc::SIGSEGV, with_information as *const () as usize, true),
        "plain" => dispose(libc::SIGSEGV, without_information as *const () as usize, false),
        "repair" => dispose(libc::SIGSEGV, repair as *const () as usize, true),
        _ => {}
    }
    let mut instance = guest(if place.contains("stack") { overflow_now } else { fault });
    match place {
        "none" => under_a_timer(&mut instance),
        "host" => fault(),
        "host function" | "host's stack in a host function" => {
            instance.func::<(), ()>("host").unwrap().call(&mut instance, ()).unwrap();
        }
        "host's stack" => overflow_now(),
        "other thread" => std::thread::spawn(|| fault()).join().unwrap(),
        // SAFETY: the process ends here.
        "illegal instruction" => unsafe { std::arch::asm!("ud2") },
        "sent" => {
            // SAFETY: what happens is what the test is about.
            unsafe { libc::raise(libc::SIGSEGV) };
        }
        "sent into a guest" => loop_over_memory(),
        _ => panic!("no such place: {place}"),
    }
    assert_trap(&mut instance);
}

/// Is sent a signal while its guest does nothing but access memory, at sites that may trap.
fn loop_over_memory() {
    let module = artifact(
        r#"(module (memory 1) (func (export "loop")
            (loop $next (i32.store (i32.const 0) (i32.load (i32.const 4))) (br $next))))"#,
    );
    let mut instance = Linker::new().bind(&module).unwrap().instantiate(()).unwrap();
    // SAFETY: the thread lives as long as the process.
    let guest = unsafe { libc::pthread_self() };
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        // SAFETY: as above.
        unsafe { libc::pthread_kill(guest, libc::SIGSEGV) };
    });
    let error = instance.func::<(), ()>("loop").unwrap().call(&mut instance, ()).unwrap_err();
    panic!("a sent signal became {error}");
}

static TICKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn tick(_signal: libc::c_int) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// Runs guests of all kinds while a signal arrives every few microseconds.
fn under_a_timer(trapping: &mut Instance<()>) {
    dispose(libc::SIGALRM, tick as *const () as usize, false);
    let interval = libc::timeval { tv_sec: 0, tv_usec: 50 };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the structure is valid.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);
    let module = artifact(
        r#"(module (import "host" "f" (func $f (param i32) (result i32)))
            (func (export "sum") (param i32) (result i32) (local i32)
                (loop $next
                    (local.set 1 (i32.add (local.get 1) (call $f (local.get 0))))
                    (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (local.get 1))
            (func $endless (export "endless") (param i32) (result i32) (i32.add (call $endless (local.get 0)) (i32.const 1))))"#,
    );
    let mut linker = Linker::new();
    linker.func("host", "f", |_: &mut Caller<'_, ()>, x: i32| x + 1);
    let bound = linker.bind(&module).unwrap();
    while TICKS.load(Ordering::Relaxed) < 5_000 {
        let mut instance = bound.instantiate(()).unwrap();
        let sum = instance.func::<i32, i32>("sum").unwrap();
        assert_eq!(sum.call(&mut instance, 10_000).unwrap(), 10_000 * 10_001 / 2 + 10_000);
        let error = instance.func::<i32, i32>("endless").unwrap().call(&mut instance, 0).unwrap_err();
        assert_eq!(error.trap().unwrap().code(), TrapCode::StackOverflow);
        assert_trap(trapping);
    }
}

extern "C" fn overflow_now() {
    std::hint::black_box(overflow(0));
}
