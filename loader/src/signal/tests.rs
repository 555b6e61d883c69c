//! Faults that are not ours, in processes of their own: they go where they went before.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::testing::{Guest, TestArtifact};

const ROLE: &str = "PRECAST_TEST_ROLE";

/// Runs `test` of this file again, in a child whose `role` it finds in the environment.
fn child(test: &str, role: &str) -> Output {
    let name = format!("signal::tests::{test}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(ROLE, role).output().unwrap()
}

fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

#[test]
fn a_fault_of_the_host_ends_the_process_with_its_signal() {
    let Some(role) = role() else {
        for role in ["host", "guest without a site", "sent"] {
            let output = child("a_fault_of_the_host_ends_the_process_with_its_signal", role);
            assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{role}: {output:?}");
        }
        return;
    };
    let artifact = TestArtifact::new().open();
    let mut guest = Guest::new(&artifact);
    assert!(guest.call("load", 1 << 20).is_err());
    match role.as_str() {
        // SAFETY: none, which is the point: the process ends here.
        "host" => unsafe {
            std::ptr::without_provenance::<u8>(8).read_volatile();
        },
        "sent" => {
            // Rust's own handler, which was there before, takes the first one to restore the default.
            // SAFETY: the process ends here.
            unsafe {
                libc::raise(libc::SIGSEGV);
                libc::raise(libc::SIGSEGV);
            }
        }
        _ => drop(guest.call("stray", 0)),
    }
}

static SEEN: AtomicUsize = AtomicUsize::new(0);

/// A host's own handler: counts, and skips the `ud2` that it expects.
unsafe extern "C" fn count(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    SEEN.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel gives handlers a ucontext_t.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] += 2 };
}

#[test]
fn a_handler_that_was_there_before_gets_what_is_not_ours() {
    if role().is_none() {
        let output = child("a_handler_that_was_there_before_gets_what_is_not_ours", "handler");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    // SAFETY: the handler only counts, and skips the instruction below.
    unsafe { signals::install(libc::SIGILL, count, signals::Restart::No).unwrap() };
    let artifact = TestArtifact::new().open();
    let mut guest = Guest::new(&artifact);
    assert!(guest.call("countdown", 0).is_err());
    assert_eq!(SEEN.load(Ordering::Relaxed), 0);
    // SAFETY: the handler skips it.
    unsafe { std::arch::asm!("ud2") };
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
    assert!(guest.call("countdown", 0).is_err());
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
}

#[test]
fn threads_get_a_large_signal_stack_and_give_it_back() {
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let run = || std::thread::spawn(|| prepare_thread().unwrap()).join().unwrap();
    run();
    let before = mappings();
    (0..50).map(|_| run()).for_each(drop);
    assert!(mappings() < before + 40, "signal stacks are unmapped");
}

#[test]
fn threads_that_run_guests_can_be_interrupted() {
    std::thread::spawn(|| {
        // SAFETY: all-zero is a valid set, which the calls fill in and read.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()), 0);
            prepare_thread().unwrap();
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set), 0);
            assert_eq!(libc::sigismember(&raw const set, interrupt::SIGNAL), 0);
            assert_eq!(libc::sigismember(&raw const set, libc::SIGTERM), 1);
        }
    })
    .join()
    .unwrap();
}
