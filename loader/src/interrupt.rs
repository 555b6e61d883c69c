//! Interrupting guests, without any checks in compiled code: deadlines, and requests by other threads.
//!
//! What comes in: a deadline, for what the calling thread does in [`with_deadline`], or a request by an
//! [`InterruptHandle`]. What goes out: the trap [`TrapCode::Interrupted`], if guest code of that thread still runs when the
//! deadline has passed, or guest code of that store.
//!
//! A deadline is a store to the thread's [`Watch`]. One thread of the process, the watcher, looks at all of them and
//! sends the late ones a signal. The handler stops the guest if what was interrupted is guest text. Anything else cannot
//! be left half-way: if the guest calls the host, the handler leaves a note for the end of that call
//! ([`stop_if_asked`]), so that a guest is stopped however little of its time is its own. Between the two, in the switches
//! and on the way in and out, there is nobody to tell. So the watcher sends the signal again each moment until the call is
//! over.
//!
//! Signals say nothing but "look": what is to be stopped is a matter of the thread's watch (`watch.rs`) and of the store
//! whose guest runs (`handle.rs`), so that one that arrives late does no harm.
//!
//! BANS. The handler takes no lock, allocates nothing, cannot panic, and touches only what the handler of faults does
//! (see `signal.rs`), the thread's watch, and what the store that runs shares with its handles. It leaves only by
//! returning.
//!
//! # Safety
//! The handler believes the kernel's arguments. A thread's watch lives as long as [`context::watch`] points to it.

use std::cell::OnceCell;
use std::ffi::c_void;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use precast_abi::trap::TrapCode;

use crate::backtrace::Backtrace;
use crate::call::CallError;
use crate::context::{Abort, Context, host_status, status};
use crate::sys::arch;
use crate::sys::signals::{self, Restart, ThreadId};
use crate::trap::Trap;
use crate::{code, context};

mod handle;
mod watch;

pub use handle::InterruptHandle;
pub(crate) use handle::Interrupts;
pub(crate) use watch::Watch;

/// What threads are sent: it does nothing by default, and is rarely used for what it was made. Threads that run guests
/// do not block it.
pub(crate) const SIGNAL: signals::c_int = signals::SIGURG;

/// How often the watcher looks while some thread has a deadline.
const TICK: Duration = Duration::from_millis(5);

/// When a late thread is sent the next signal.
const RETRY: Duration = Duration::from_millis(1);

/// The process cannot interrupt guests: there is no thread to watch over them, or no handler for its signal.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cannot interrupt guests: their watcher does not start: {0}")]
pub struct CannotInterrupt(io::ErrorKind);

impl CannotInterrupt {
    pub(crate) const UNSUPPORTED: Self = CannotInterrupt(io::ErrorKind::Unsupported);
}

impl From<CannotInterrupt> for CallError {
    fn from(error: CannotInterrupt) -> Self {
        CallError::Host(error.into())
    }
}

/// What the watcher looks at.
struct Watcher {
    watches: Mutex<Vec<Arc<Watch>>>,
    /// Of stores whose guests were sent a signal, and have not stopped yet.
    requests: Mutex<Vec<Arc<Interrupts>>>,
    /// Whether the watcher sleeps until it is woken.
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
    started: OnceLock<Result<(), CannotInterrupt>>,
}

static WATCHER: Watcher = Watcher {
    watches: Mutex::new(Vec::new()),
    requests: Mutex::new(Vec::new()),
    sleeps: AtomicBool::new(false),
    thread: OnceLock::new(),
    started: OnceLock::new(),
};

/// Who had the signal before us.
static PREVIOUS: OnceLock<signals::sigaction> = OnceLock::new();

/// The moment that deadlines are counted from.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

fn nanoseconds(moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(origin()).as_nanos()).unwrap_or(u64::MAX)
}

/// A thread's share in its watch. When it goes, so does the watch.
struct Watched(Arc<Watch>);

impl Drop for Watched {
    fn drop(&mut self) {
        context::set_watch(ptr::null());
        lock(&WATCHER.watches).retain(|watch| !Arc::ptr_eq(watch, &self.0));
    }
}

thread_local! {
    static WATCHED: OnceCell<Watched> = const { OnceCell::new() };
}

/// Calls `f`. Guest code that this thread runs in it after `deadline` traps with [`TrapCode::Interrupted`], some
/// milliseconds later at most if it is not in a host function. Of deadlines in one another, the earliest counts.
///
/// The first call in a process starts a thread and handles the signal `SIGURG`. Where that is impossible `f` is called
/// without a deadline; `call_with_deadline` of functions fails then.
pub fn with_deadline<R>(deadline: Instant, f: impl FnOnce() -> R) -> R {
    // SAFETY: it is this thread's, which is here.
    let watch = watch().ok().map(|watch| unsafe { &*watch });
    let _armed = watch.map(|watch| watch.stop.arm(nanoseconds(deadline)));
    f()
}

/// As [`with_deadline`], for what `future` does when it is polled. A guest that waits for a host function is not
/// interrupted in that: whoever polls the future knows how long that may take, and may drop it.
pub async fn with_deadline_async<F: Future>(deadline: Instant, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| with_deadline(deadline, || future.as_mut().poll(cx))).await
}

/// As [`with_deadline`], but `f` is not called where there can be no deadline.
pub(crate) fn call_with_deadline<R>(
    deadline: Instant,
    f: impl FnOnce() -> Result<R, CallError>,
) -> Result<R, CallError> {
    watch()?;
    with_deadline(deadline, f)
}

/// Calls `f`, in which a guest that runs for longer than `length` is paused, if it can be.
#[inline]
pub(crate) fn with_slice<R>(length: Option<Duration>, f: impl FnOnce() -> R) -> R {
    // SAFETY: it is this thread's, which is here.
    let watch = length.and_then(|length| Some((unsafe { &*watch().ok()? }, Instant::now() + length)));
    let _armed = watch.map(|(watch, end)| watch.pause.arm(nanoseconds(end)));
    f()
}

/// Makes sure that guests can be interrupted.
pub(crate) fn ensure() -> Result<(), CannotInterrupt> {
    *WATCHER.started.get_or_init(|| start().map_err(|error| CannotInterrupt(error.kind())))
}

/// This thread's watch, which is there as long as the thread.
fn watch() -> Result<*const Watch, CannotInterrupt> {
    let watch = context::watch();
    if watch.is_null() { register() } else { Ok(watch) }
}

/// Makes a watch for this thread, and the watcher for the process.
#[cold]
fn register() -> Result<*const Watch, CannotInterrupt> {
    ensure()?;
    let registered = WATCHED.try_with(|watched| {
        let watched = watched.get_or_init(|| {
            let watch = Arc::new(Watch::new(ThreadId::current()));
            lock(&WATCHER.watches).push(watch.clone());
            Watched(watch)
        });
        context::set_watch(Arc::as_ptr(&watched.0));
        Arc::as_ptr(&watched.0)
    });
    // The thread is ending.
    registered.map_err(|_| CannotInterrupt(io::ErrorKind::Other))
}

fn start() -> io::Result<()> {
    origin();
    let present = signals::disposition(SIGNAL)?;
    PREVIOUS.get_or_init(|| present);
    // SAFETY: the handler keeps to the bans above and passes on what is not ours.
    unsafe { signals::install(SIGNAL, handle, Restart::Yes)? };
    let watcher = std::thread::Builder::new().name("precast-watcher".into()).spawn(|| WATCHER.run())?;
    WATCHER.thread.get_or_init(|| watcher.thread().clone());
    Ok(())
}

/// How long the watcher may look away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    Idle,
    Armed,
    Late,
}

impl Watcher {
    fn run(&self) {
        loop {
            match self.look() {
                Wait::Late => std::thread::sleep(RETRY),
                Wait::Armed => std::thread::park_timeout(TICK),
                Wait::Idle => {
                    self.sleeps.store(true, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    if self.look() == Wait::Idle {
                        std::thread::park();
                    }
                    self.sleeps.store(false, Ordering::Relaxed);
                    // Who woke the watcher will be late in a while at the earliest.
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// Looks at all that there is; what the most urgent needs.
    fn look(&self) -> Wait {
        let now = nanoseconds(Instant::now());
        let watches = lock(&self.watches).iter().map(|watch| watch.check(now)).max();
        let mut requests = lock(&self.requests);
        requests.retain(|interrupts| interrupts.remind());
        if requests.is_empty() { watches.unwrap_or(Wait::Idle) } else { Wait::Late }
    }

    /// Sends the thread of a store's guest signals until that has stopped.
    fn remind(&self, interrupts: &Arc<Interrupts>) {
        let mut requests = lock(&self.requests);
        if !requests.iter().any(|known| Arc::ptr_eq(known, interrupts)) {
            requests.push(Arc::clone(interrupts));
        }
        drop(requests);
        self.unpark();
    }

    /// Wakes the watcher if it sleeps until somebody does.
    #[inline]
    fn wake(&self) {
        if self.sleeps.load(Ordering::Relaxed) {
            self.unpark();
        }
    }

    #[cold]
    fn unpark(&self) {
        self.sleeps.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the guest of `context` is to stop, as far as this thread runs it.
///
/// # Safety
/// The context is valid, and there is an entry of it under way on this thread.
unsafe fn is_asked(context: *const Context) -> bool {
    // SAFETY: a watch is valid while the thread has it; what a context shares with handles stays while it is entered.
    let (watch, interrupts) = unsafe { (context::watch().as_ref(), (*context).interrupts.as_deref()) };
    watch.is_some_and(|watch| watch.stop.is_late()) || interrupts.is_some_and(Interrupts::is_requested)
}

/// Says to whoever asked that the guest of `context` stops.
///
/// # Safety
/// As [`is_asked`].
unsafe fn take(context: *const Context) {
    // SAFETY: as above.
    if let Some(interrupts) = unsafe { (*context).interrupts.as_deref() } {
        interrupts.take();
    }
}

/// The handler.
unsafe extern "C" fn handle(signal: signals::c_int, info: *mut signals::siginfo_t, kernel: *mut c_void) {
    let mut is_ours = false;
    // SAFETY: contexts of activations are valid and entered, only the innermost guest runs, and the argument is the kernel's.
    unsafe {
        let registers = arch::registers(kernel);
        let mut runs = code::find(registers.pc).is_some();
        let pauses = context::watch().as_ref().is_some_and(|watch| watch.pause.is_late());
        for activation in context::activations() {
            if is_asked(activation.context) {
                is_ours = true;
                if runs {
                    take(activation.context);
                    activation.fault.set(Some((TrapCode::Interrupted, registers)));
                    arch::redirect_to_exit(kernel, activation.context, status::TRAPPED);
                } else {
                    (*activation.context).noted.store(1, Ordering::Relaxed);
                }
            } else if pauses
                && runs
                && let Some(paused) = (*activation.context).pause()
                && paused.save(kernel)
            {
                arch::redirect_to_exit(kernel, activation.context, status::PAUSED);
            }
            is_ours |= pauses;
            runs = false;
        }
    }
    // One of ours that came too late is passed on too; who uses this signal expects it without a reason.
    if !is_ours && let Some(previous) = PREVIOUS.get().filter(|previous| signals::is_handled(previous)) {
        // SAFETY: the arguments are the kernel's.
        unsafe { signals::pass_on(Some(previous), signal, info, kernel) };
    }
}

/// What a host call or a builtin, which is all done, returns to its switch if a signal came meanwhile: a [`host_status`].
///
/// # Safety
/// The context is that of the guest that called, on this thread.
pub(crate) unsafe extern "C" fn stop_if_asked(context: *mut Context) -> u32 {
    // SAFETY: as the caller says, the entry of the guest is under way, and its instances are alive.
    unsafe {
        (*context).noted.store(0, Ordering::Relaxed);
        if !is_asked(context) {
            return 0;
        }
        take(context);
        let trap = Trap::new(TrapCode::Interrupted, Backtrace::of_host_call(context));
        (*context).pending = Some(Abort::Trap(trap));
    }
    host_status::ABANDON
}
