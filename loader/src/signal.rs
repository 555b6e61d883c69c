//! The signal handler: from a fault in guest code to a trap on the host's side.
//!
//! BANS. The handler takes no lock, allocates nothing, cannot panic, and touches only: the interrupted registers, the
//! thread's innermost activation, the registries of text and slots, and the meta tables of the artifact that the pc is
//! in. It leaves only by returning.
//!
//! What comes in: SIGSEGV, SIGBUS, SIGILL, SIGFPE. A late write, whatever code it is in, is done again (`late.rs`). A
//! fault is ours too if the thread has an activation, the pc is registered guest text, and either the address lies in
//! the guard below the activation's stack or the pc has a trap site. What goes out then: code and registers in the
//! activation, and a continuation in the exit of `enter`. The fault at which a pause ends continues in the guest. Everything else goes to the handler that was there before.
//!
//! # Safety
//! The handler believes the kernel's arguments. An activation is valid as long as it is the thread's current one.

use std::cell::OnceCell;
use std::ffi::c_void;
use std::io;
use std::sync::OnceLock;

use precast_abi::sites::{self, CALL};
use precast_abi::slot::STACK_GUARD;
use precast_abi::trap::TrapCode;

use crate::code;
use crate::context::{self, Activation, status};
use crate::interrupt;
use crate::late;
use crate::sys::signals::{self, SignalStack, ThreadId};
use crate::sys::{Registers, arch};

/// Why a thread cannot run guests.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ThreadError {
    /// The kernel checks returns against a shadow stack, which knows nothing of the guest's.
    #[error(
        "this thread has a hardware shadow stack (CET), which guest stacks are not compatible with: start the process \
         with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off"
    )]
    ShadowStack,
    /// The thread's alternate signal stack.
    #[error("cannot set up the thread's signal stack")]
    SignalStack(#[source] io::Error),
    /// The signal handlers.
    #[error("cannot install signal handlers")]
    Handlers(#[source] io::Error),
    /// The thread's local storage is gone.
    #[error("the thread is ending")]
    Ending,
}

/// The signals that hardware faults arrive as.
const SIGNALS: [signals::c_int; 4] = [signals::SIGSEGV, signals::SIGBUS, signals::SIGILL, signals::SIGFPE];

/// What was installed before us, in the order of [`SIGNALS`].
static PREVIOUS: [OnceLock<signals::sigaction>; SIGNALS.len()] = [const { OnceLock::new() }; SIGNALS.len()];

/// What makes a thread ready to run guests. When it goes, the thread is ready no more.
struct Prepared(#[expect(dead_code, reason = "held for its destructor")] SignalStack);

impl Drop for Prepared {
    fn drop(&mut self) {
        context::set_prepared(None);
    }
}

thread_local! {
    static PREPARED: OnceCell<Prepared> = const { OnceCell::new() };
}

/// Makes sure that faults of guest code on this thread become traps, and says so to [`context`]: which thread it is.
pub(crate) fn prepare_thread() -> Result<ThreadId, ThreadError> {
    PREPARED
        .try_with(|prepared| {
            if prepared.get().is_none() {
                let stack = prepare()?;
                prepared.get_or_init(|| Prepared(stack));
            }
            let thread = ThreadId::current();
            context::set_prepared(Some(thread));
            Ok(thread)
        })
        .unwrap_or(Err(ThreadError::Ending))
}

#[cold]
fn prepare() -> Result<SignalStack, ThreadError> {
    if signals::has_shadow_stack() {
        return Err(ThreadError::ShadowStack);
    }
    install_handlers().map_err(ThreadError::Handlers)?;
    signals::unblock(interrupt::SIGNAL).map_err(ThreadError::Handlers)?;
    SignalStack::ensure().map_err(ThreadError::SignalStack)
}

/// Makes sure that the process handles faults here.
pub(crate) fn install_handlers() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    INSTALLED.get_or_init(|| install().map_err(|error| error.kind())).map_err(io::Error::from)
}

fn install() -> io::Result<()> {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let present = signals::disposition(signal)?;
        previous.get_or_init(|| present);
        // SAFETY: the handler keeps to the bans above and passes on what is not ours.
        unsafe { signals::install(signal, handle, signals::Restart::No)? };
    }
    Ok(())
}

/// The handler.
unsafe extern "C" fn handle(signal: signals::c_int, info: *mut signals::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's information is valid while the handler runs.
    let refused = if signal == signals::SIGSEGV { unsafe { signals::refused_address(info) } } else { None };
    if let Some(address) = refused
        && signals::keeping_errno(|| late::allow(address))
    {
        return;
    }
    let activation = context::current();
    // SAFETY: the kernel's information is valid while the handler runs. What a process sent is no fault, wherever it
    // arrives.
    if !activation.is_null() && !unsafe { signals::was_sent(info) } {
        // SAFETY: a current activation is valid, and the arguments are the kernel's.
        unsafe {
            let activation = &*activation;
            let registers = arch::registers(context);
            if arch::is_pause_end(registers.pc)
                && let Some(slice) = &(*activation.context).slice
            {
                slice.paused.restore(context);
                return;
            }
            if let Some(code) = classify(activation, signal, (*info).si_addr().addr(), &registers) {
                activation.fault.set(Some((code, registers)));
                arch::redirect_to_exit(context, activation.context, status::TRAPPED);
                return;
            }
        }
    }
    let previous = SIGNALS.iter().position(|ours| *ours == signal).and_then(|at| PREVIOUS[at].get());
    // SAFETY: the arguments are the kernel's.
    unsafe { signals::pass_on(previous, signal, info, context) };
}

/// The trap that a fault at `registers.pc` is, if it is the guest's.
///
/// # Safety
/// The activation's context is valid.
unsafe fn classify(
    activation: &Activation,
    signal: signals::c_int,
    address: usize,
    registers: &Registers,
) -> Option<TrapCode> {
    let code = code::find(registers.pc)?;
    // SAFETY: the caller's promise; the guest that runs does not change the stack's place.
    let stack = unsafe { &(*activation.context).stack };
    let guard = stack.start.saturating_sub(STACK_GUARD as usize)..stack.start;
    if matches!(signal, signals::SIGSEGV | signals::SIGBUS) && guard.contains(&address) {
        return Some(TrapCode::StackOverflow);
    }
    let (function, offset) = code.function_at(registers.pc)?;
    let sites = code.meta().bytes(function.sites)?;
    let site = sites::decode(sites).find(|site| site.text_offset == offset && site.code != CALL)?;
    TrapCode::from_raw(site.code)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
