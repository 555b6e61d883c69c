//! The steady state: instances that do what earlier ones did need nothing of the kernel.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::ffi::c_void;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use common::artifact;
use precast_loader::Linker;

/// System calls are dispatched to the process itself while the selector says so: `Documentation/admin-guide/
/// syscall-user-dispatch.rst` of Linux.
const PR_SET_SYSCALL_USER_DISPATCH: libc::c_int = 59;
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

static SELECTOR: AtomicU8 = AtomicU8::new(ALLOW);
static FIRST: AtomicU32 = AtomicU32::new(NONE);
const NONE: u32 = u32::MAX;

/// Notes the system call and does it again, and others from now on, for real.
unsafe extern "C" fn dispatched(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    SELECTOR.store(ALLOW, Ordering::Relaxed);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel's context is valid in the handler. `syscall` takes two bytes, and its number is still in rax.
    unsafe {
        let registers = &mut (*context).uc_mcontext.gregs;
        FIRST.store(registers[libc::REG_RAX as usize] as u32, Ordering::Relaxed);
        registers[libc::REG_RIP as usize] -= 2;
    }
}

/// The first system call that `f` makes, if any, and its page faults.
fn kernel_work(f: impl FnOnce()) -> (Option<u32>, i64) {
    let faults = || {
        // SAFETY: the call fills in one structure, for which zeros are a value.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
            usage.ru_minflt + usage.ru_majflt
        }
    };
    // SAFETY: the handler does as a handler may, on this thread's stack; the selector is there for ever.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = dispatched as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()), 0);
        let status = libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, SELECTOR.as_ptr());
        assert_eq!(status, 0, "this kernel cannot dispatch system calls: {}", std::io::Error::last_os_error());
    }
    FIRST.store(NONE, Ordering::Relaxed);
    let before = faults();
    SELECTOR.store(BLOCK, Ordering::Relaxed);
    f();
    SELECTOR.store(ALLOW, Ordering::Relaxed);
    let faults = faults() - before;
    // SAFETY: as above; this ends the dispatching.
    assert_eq!(unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) }, 0);
    (Some(FIRST.load(Ordering::Relaxed)).filter(|first| *first != NONE), faults)
}

#[test]
fn the_steady_state_needs_no_system_calls_and_no_faults() {
    // SAFETY: this ends dispatching that nobody began.
    if unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) } != 0 {
        return println!("left out: this kernel cannot dispatch system calls to the process");
    }
    let artifact = artifact(
        r#"(module
            (import "host" "log" (func $log (param i32)))
            (memory (export "memory") 40) (global $g (mut i32) (i32.const 7)) (table 100 funcref)
            (data (i32.const 5000) "text") (data (i32.const 950000) "more") (data $d "passive") (elem $e func $deep)
            (func $deep (param i32)
                (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))))
            (func (export "work") (param $n i32) (result i32) (local $i i32)
                (loop $next
                    (i32.store (i32.mul (local.get $i) (i32.const 100000)) (i32.const -1))
                    (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
                (global.set $g (local.get $n)) (data.drop $d) (elem.drop $e)
                (table.set (i32.const 50) (ref.func $deep))
                (call $log (i32.load (i32.const 5000)))
                (call $deep (i32.const 200))
                (i32.load (i32.const 950000))))"#,
    );
    let mut linker = Linker::<u32>::new();
    linker.func("host", "log", |caller: &mut precast_loader::Caller<'_, u32>, value: u32| *caller.data_mut() = value);
    let bound = linker.bind(&artifact).expect("binds");
    let cycle = || {
        let mut instance = bound.instantiate(0).expect("instantiates");
        let work = instance.func::<i32, i32>("work").expect("exported");
        let result = work.call(&mut instance, 20).expect("works");
        assert_eq!((result, instance.into_data()), (i32::from_le_bytes(*b"more"), u32::from_le_bytes(*b"text")));
    };
    // What a new slot has resident, as if written, has left the write set by then.
    (0..8000).for_each(|_| cycle());
    assert_eq!(kernel_work(|| (0..10_000).for_each(|_| cycle())), (None, 0));
    let (fresh, idle) = artifact.slot_hashes().expect("maps");
    assert_eq!(idle, [fresh]);
    // What is counted is counted.
    // SAFETY: the call has no preconditions.
    let (first, _) = kernel_work(|| assert!(unsafe { libc::getppid() } > 0));
    assert_eq!(first, Some(libc::SYS_getppid as u32));
    let (_, faults) = kernel_work(|| drop(std::hint::black_box(vec![1u8; 8 << 20])));
    assert!(faults > 1000, "{faults}");
}
