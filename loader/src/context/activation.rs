//! Activations: which contexts a thread is running guests of, for the signal handler and for backtraces.
//!
//! What comes in: a context, and one of the assembly's ways into the guest. What goes out: the status with which that came
//! back, or why the guest was abandoned. A suspended guest has no activation; each time that it goes on it gets a new one.
//!
//! # Safety
//! An activation is on the host's stack, and valid while it is the thread's current one or leads to it.

use std::cell::Cell;
use std::ptr;

use precast_abi::trap::TrapCode;

use super::{Abort, Border, Context, MAX_DEPTH, status};
use crate::backtrace::Backtrace;
use crate::fuel;
use crate::interrupt::Watch;
use crate::signal;
use crate::sys::Registers;
use crate::sys::signals::ThreadId;
use crate::trap::Trap;

/// An entry under way. The thread's innermost one is found by the signal handler, which records traps in it.
pub(crate) struct Activation {
    /// The context that was entered.
    pub(crate) context: *mut Context,
    /// The border as it was before: where the guest called the host, if this entry is nested.
    pub(crate) outer: Border,
    /// The entry under way on this thread before, of this or another context.
    pub(crate) previous: *const Activation,
    /// How many entries there are on this thread, with this one.
    depth: u32,
    /// Code and registers of a trap.
    pub(crate) fault: Cell<Option<(TrapCode, Registers)>>,
}

/// What a thread that runs guests has.
struct Thread {
    /// The innermost activation.
    current: Cell<*const Activation>,
    /// Which one this is, once faults of guest code become traps: see [`signal::prepare_thread`].
    prepared: Cell<Option<ThreadId>>,
    /// The thread's deadline, once it has had one.
    watch: Cell<*const Watch>,
}

thread_local! {
    /// Has no destructor and needs no initialisation, so that the signal handler may read it at any time.
    static THREAD: Thread = const {
        Thread { current: Cell::new(ptr::null()), prepared: Cell::new(None), watch: Cell::new(ptr::null()) }
    };
}

/// The calling thread's.
#[inline(always)]
fn thread<'a>() -> &'a Thread {
    // SAFETY: what has no destructor stays for as long as the thread, which is here; and `Thread` is not `Sync`, so
    // that no other thread is given the reference.
    THREAD.with(|thread| unsafe { &*ptr::from_ref(thread) })
}

/// The innermost activation of this thread, or null.
pub(crate) fn current() -> *const Activation {
    thread().current.get()
}

/// Says that faults of guest code on this thread, which is the given one, become traps, or do not.
pub(crate) fn set_prepared(prepared: Option<ThreadId>) {
    thread().prepared.set(prepared);
}

/// The thread's deadline, or null if it has never had one.
pub(crate) fn watch() -> *const Watch {
    thread().watch.get()
}

/// The activations of this thread, the innermost first.
///
/// # Safety
/// They are not used after the caller's.
pub(crate) unsafe fn activations<'a>() -> impl Iterator<Item = &'a Activation> {
    // SAFETY: an activation of this thread is valid while it is the current one, or leads to it.
    std::iter::successors(unsafe { current().as_ref() }, |activation| unsafe { activation.previous.as_ref() })
}

/// Says where the thread's deadline is.
pub(crate) fn set_watch(watch: *const Watch) {
    thread().watch.set(watch);
}

impl Activation {
    /// That of an entry which is its context's only one, on a thread without another. The context is set by then.
    pub(super) fn only(outer: Border) -> Self {
        Activation { context: ptr::null_mut(), outer, previous: ptr::null(), depth: 1, fault: Cell::new(None) }
    }
}

/// Whether the thread runs no guest, and everything is prepared for it to do so.
#[inline(always)]
pub(super) fn is_free() -> bool {
    let thread = thread();
    thread.current.get().is_null() && thread.prepared.get().is_some()
}

/// As [`activate`], with the context's own activation, in which nothing has to be written.
///
/// # Safety
/// As [`activate`]; the thread [`is_free`], and no entry of the context is under way.
#[inline(always)]
pub(super) unsafe fn activate_only(context: *mut Context, run: impl FnOnce() -> u32) -> Result<(), Box<Abort>> {
    let current = &thread().current;
    // SAFETY: the caller vouches for the context, whose activation is nobody else's now.
    unsafe {
        (*context).only.context = context;
        current.set(&raw const (*context).only);
        let status = run();
        current.set(ptr::null());
        if status == 0 { Ok(()) } else { Err(why_abandoned(&(*context).only, status)) }
    }
}

/// Makes an activation the thread's current one while `run` runs the guest. What `run` returns, a [`status`], comes out
/// if it is 0, or [`status::SUSPENDED`] or more.
///
/// # Safety
/// The context is valid and its instances are alive; `run` is one of the assembly's ways into the guest.
#[inline(always)]
pub(super) unsafe fn activate(
    context: *mut Context,
    outer: Border,
    run: impl FnOnce() -> u32,
) -> Result<u32, Box<Abort>> {
    let thread = thread();
    let previous = thread.current.get();
    // SAFETY: an activation of this thread is valid while it is the current one.
    let depth = unsafe { previous.as_ref() }.map_or(0, |previous| previous.depth);
    if depth == MAX_DEPTH {
        // SAFETY: the caller vouches for the context.
        return Err(unsafe { refused(context, TrapCode::StackOverflow) });
    }
    if thread.prepared.get().is_none() {
        prepare()?;
    }
    let activation = Activation { context, outer, previous, depth: depth + 1, fault: Cell::new(None) };
    thread.current.set(&raw const activation);
    let status = run();
    thread.current.set(activation.previous);
    if status == 0 || status >= status::SUSPENDED {
        return Ok(status);
    }
    // SAFETY: the guest is abandoned but its stack is as it was, and the caller keeps its instances alive.
    Err(unsafe { why_abandoned(&activation, status) })
}

/// Calls `enter`, by way of [`activate`], with handles of the context knowing which thread runs it, unless one of them
/// interrupted it before.
///
/// # Safety
/// As [`activate`].
pub(super) unsafe fn unless_interrupted<R>(
    context: *mut Context,
    enter: impl FnOnce() -> Result<R, Box<Abort>>,
) -> Result<R, Box<Abort>> {
    // SAFETY: the caller's promise. What the context shares with its handles stays while it is entered.
    let Some(interrupts) = (unsafe { (*context).interrupts.as_deref() }) else { return enter() };
    let thread = thread().prepared.get().map_or_else(prepare, Ok)?;
    // SAFETY: the caller's promise.
    let outside = interrupts.begin(thread).ok_or_else(|| unsafe { refused(context, TrapCode::Interrupted) })?;
    let end = enter();
    interrupts.end(outside);
    end
}

#[cold]
fn prepare() -> Result<ThreadId, Box<Abort>> {
    signal::prepare_thread().map_err(|error| Box::new(Abort::Host(error.into())))
}

/// Why the guest is not entered.
///
/// # Safety
/// The context is valid and its instances are alive.
#[cold]
pub(super) unsafe fn refused(context: *const Context, code: TrapCode) -> Box<Abort> {
    // SAFETY: the caller's promise.
    let backtrace = unsafe { Backtrace::of_host_call(context) };
    Box::new(Abort::Trap(Trap::new(code, backtrace)))
}

/// # Safety
/// The activation ended with `status` just now; its context is valid and its instances are alive.
#[cold]
unsafe fn why_abandoned(activation: &Activation, status: u32) -> Box<Abort> {
    if status == status::TRAPPED
        && let Some((code, registers)) = activation.fault.take()
    {
        // SAFETY: the caller's promise.
        let backtrace = unsafe {
            if code == TrapCode::OutOfFuel {
                // What the guest was about to do took more than there was.
                (*activation.context).fuel = fuel::USED_UP;
            }
            Backtrace::of_fault(activation, &registers)
        };
        return Box::new(Abort::Trap(Trap::new(code, backtrace)));
    }
    // SAFETY: the caller's promise.
    let pending = unsafe { (*activation.context).pending.take() };
    Box::new(pending.unwrap_or_else(|| Abort::Host("a host call abandoned the guest without a reason".into())))
}
