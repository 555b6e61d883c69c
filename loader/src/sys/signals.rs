//! Signals as the kernel has them: dispositions, and the stack a thread handles them on.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroI32;

use super::memory::{self, check};

pub(crate) use libc::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SIGURG, c_int, sigaction, siginfo_t};

/// A handler that is told what happened.
pub(crate) type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// The present disposition of `signal`.
pub(crate) fn disposition(signal: c_int) -> io::Result<sigaction> {
    // SAFETY: all-zero is a valid sigaction; without a new disposition the call only stores the present one.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        check(sigaction(signal, std::ptr::null(), &raw mut action))?;
        Ok(action)
    }
}

/// Whether a system call that a signal interrupts goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Yes,
    No,
}

/// Has the calling thread be sent `signal`, which it may have blocked.
pub(crate) fn unblock(signal: c_int) -> io::Result<()> {
    // SAFETY: all-zero is a valid set, which the calls fill in and read.
    let error = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        check(libc::sigemptyset(&raw mut set))?;
        check(libc::sigaddset(&raw mut set, signal))?;
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Has `handler` run on the alternate signal stack for each `signal`.
///
/// # Safety
/// The handler calls only what may be called in a signal handler, and passes on what is not its own.
pub(crate) unsafe fn install(signal: c_int, handler: Handler, restart: Restart) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction with an empty mask; the caller vouches for the handler.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        let restart = if restart == Restart::Yes { libc::SA_RESTART } else { 0 };
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | restart;
        check(sigaction(signal, &raw const action, std::ptr::null_mut()))
    }
}

/// Whether somebody handles the signal: neither the kernel's default nor nobody.
pub(crate) fn is_handled(action: &sigaction) -> bool {
    !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
}

/// A thread as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadId(NonZeroI32);

impl ThreadId {
    /// The calling thread.
    pub(crate) fn current() -> ThreadId {
        // SAFETY: the call has no preconditions.
        ThreadId(NonZeroI32::new(unsafe { libc::gettid() }).expect("threads have numbers"))
    }

    /// As a number other than 0.
    pub(crate) fn number(self) -> i32 {
        self.0.get()
    }

    /// The thread of which this is the number.
    pub(crate) fn from_number(number: i32) -> Option<ThreadId> {
        NonZeroI32::new(number).map(ThreadId)
    }

    /// Sends it a signal; one that has ended gets nothing.
    pub(crate) fn send(self, signal: c_int) {
        // SAFETY: the call has no preconditions. The process is named, so that no other process's thread is meant.
        unsafe {
            libc::syscall(libc::SYS_tgkill, libc::getpid(), self.number(), signal);
        }
    }
}

/// Whether a process sent the signal, so that it tells of no fault.
///
/// # Safety
/// `info` is what the kernel gave to the handler.
pub(crate) unsafe fn was_sent(info: *const siginfo_t) -> bool {
    // SAFETY: the kernel's siginfo is valid while the handler runs.
    unsafe { (*info).si_code <= 0 }
}

/// The address of a SIGSEGV that came of an access to a mapping that does not allow it.
///
/// # Safety
/// `info` is what the kernel gave to the handler of a SIGSEGV.
pub(crate) unsafe fn refused_address(info: *const siginfo_t) -> Option<usize> {
    const SEGV_ACCERR: c_int = 2;
    // SAFETY: the kernel's siginfo is valid while the handler runs, and that of a fault has an address.
    unsafe { ((*info).si_code == SEGV_ACCERR).then(|| (*info).si_addr().addr()) }
}

/// Calls `f`, after which the thread's `errno` is as before.
pub(crate) fn keeping_errno<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the C library gives the address of the thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { errno.read() };
    let result = f();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
}

/// Passes a signal on to the disposition `previous`. May be called in a signal handler, as its last act.
///
/// # Safety
/// The arguments are those that the kernel gave to the handler.
pub(crate) unsafe fn pass_on(previous: Option<&sigaction>, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let handler = previous.map_or(libc::SIG_DFL, |action| action.sa_sigaction);
    // SAFETY: the caller's promise.
    let sent_by_a_process = unsafe { was_sent(info) };
    // What a process sent does not happen again when the handler returns; nor does a breakpoint, which is behind it.
    let is_over = sent_by_a_process || signal == SIGTRAP;
    match handler {
        libc::SIG_IGN if sent_by_a_process => {}
        // A fault that returns happens again, now with the default: the process ends with the right signal, at the
        // right instruction. What is over has to be sent again; it arrives when the handler returns.
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: all-zero is SIG_DFL with an empty mask; both calls may be made in a handler.
            unsafe {
                let default: sigaction = std::mem::zeroed();
                sigaction(signal, &raw const default, std::ptr::null_mut());
                if is_over {
                    libc::raise(signal);
                }
            }
        }
        handler => {
            let wants_info = previous.is_some_and(|action| action.sa_flags & libc::SA_SIGINFO != 0);
            // SAFETY: the host installed this address as a handler of the kind its flags say.
            unsafe {
                if wants_info {
                    std::mem::transmute::<usize, Handler>(handler)(signal, info, context);
                } else {
                    std::mem::transmute::<usize, extern "C" fn(c_int)>(handler)(signal);
                }
                // A handler may set the default and wait for the fault to happen again, as that of Rust's standard
                // library does. What is over does not.
                let is_default = || disposition(signal).is_ok_and(|now| now.sa_sigaction == libc::SIG_DFL);
                if is_over && is_default() {
                    libc::raise(signal);
                }
            }
        }
    }
}

/// Bytes of an alternate signal stack of ours.
const SIGNAL_STACK: usize = 64 << 10;

/// This thread's alternate signal stack, if it is ours: unmapped when dropped, on the same thread.
pub(crate) struct SignalStack {
    /// Start of the mapping, which begins with a guard page; null if the thread had a large enough stack.
    mapping: *mut u8,
}

impl SignalStack {
    /// Makes sure that this thread handles signals on a stack of at least [`SIGNAL_STACK`] bytes.
    pub(crate) fn ensure() -> io::Result<SignalStack> {
        let present = alternate_stack()?;
        if present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= SIGNAL_STACK {
            return Ok(SignalStack { mapping: std::ptr::null_mut() });
        }
        let guard = memory::page_size();
        let stack = SignalStack { mapping: memory::reserve(guard + SIGNAL_STACK)? };
        // SAFETY: the range was reserved just now; the kernel uses it until `drop` takes it back.
        unsafe {
            let start = stack.mapping.add(guard);
            memory::open(start, SIGNAL_STACK)?;
            let ours = libc::stack_t { ss_sp: start.cast(), ss_flags: 0, ss_size: SIGNAL_STACK };
            check(libc::sigaltstack(&raw const ours, std::ptr::null_mut()))?;
        }
        Ok(stack)
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        if self.mapping.is_null() {
            return;
        }
        let guard = memory::page_size();
        // SAFETY: the mapping is ours. It is unmapped only when the kernel does not use it (any more) as this
        // thread's signal stack.
        unsafe {
            if alternate_stack().is_ok_and(|present| present.ss_sp.cast() == self.mapping.add(guard)) {
                let none = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
                if libc::sigaltstack(&raw const none, std::ptr::null_mut()) != 0 {
                    return;
                }
            }
            memory::unmap(self.mapping, guard + SIGNAL_STACK);
        }
    }
}

fn alternate_stack() -> io::Result<libc::stack_t> {
    // SAFETY: all-zero is a valid stack_t; without a new stack the call only stores the present one.
    unsafe {
        let mut present: libc::stack_t = std::mem::zeroed();
        check(libc::sigaltstack(std::ptr::null(), &raw mut present))?;
        Ok(present)
    }
}

/// Whether this thread runs with a hardware shadow stack, which switching stacks would trip over.
pub(crate) fn has_shadow_stack() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        const ARCH_SHSTK_STATUS: c_int = 0x5005;
        const ARCH_SHSTK_SHSTK: u64 = 1;
        let mut features = 0u64;
        // SAFETY: this request stores one word; kernels that do not know it fail.
        let status = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SHSTK_STATUS, &raw mut features) };
        status == 0 && features & ARCH_SHSTK_SHSTK != 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
