//! Deadlines: guest code that runs longer than it may is stopped, without any checks in compiled code.
//!
//! What comes in: a deadline, for what the calling thread does in [`with_deadline`]. What goes out: the trap
//! [`TrapCode::Interrupted`], if guest code of that thread still runs when the deadline has passed.
//!
//! A deadline is a store to the thread's [`Watch`]. One thread of the process, the watcher, looks at all of them and
//! sends the late ones a signal. The handler stops the guest if what was interrupted is guest text. Anything else, host
//! functions and builtins and thunks of the loader, cannot be left half-way: there the handler does nothing, and the
//! watcher sends the signal again a moment later, until it meets guest text or the call is over. (Considered: to note
//! the signal and take it when the host returns to the guest. That is a check in each host call, for the sake of a
//! guest that is late by a millisecond more.)
//!
//! A signal that arrives late must not hit what the thread does by then. So each use of a watch has a generation, the
//! watcher says in [`Watch::requested`] which one it means, and the handler compares.
//!
//! BANS. The handler takes no lock, allocates nothing, cannot panic, and touches only what the handler of faults does
//! (see `signal.rs`) and the thread's watch. It leaves only by returning.
//!
//! # Safety
//! The handler believes the kernel's arguments. A thread's watch lives as long as [`context::watch`] points to it.

use std::cell::OnceCell;
use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use precast_abi::trap::TrapCode;

use crate::sys::arch;
use crate::sys::signals::{self, Restart, ThreadId};
use crate::{code, context};

/// What late threads are sent: it does nothing by default, and is rarely used for what it was made.
const SIGNAL: signals::c_int = signals::SIGURG;

/// How often the watcher looks while some thread has a deadline.
const TICK: Duration = Duration::from_millis(5);

/// When a late thread is sent the next signal.
const RETRY: Duration = Duration::from_millis(1);

/// A thread's deadline.
pub(crate) struct Watch {
    thread: ThreadId,
    /// In nanoseconds since [`origin`]; [`NEVER`] if there is none.
    deadline: AtomicU64,
    /// Which use of the watch this is.
    generation: AtomicU64,
    /// The generation that is late.
    requested: AtomicU64,
}

const NEVER: u64 = u64::MAX;

/// What the watcher looks at.
struct Watcher {
    watches: Mutex<Vec<Arc<Watch>>>,
    /// Whether the watcher sleeps until it is woken.
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
    started: OnceLock<Result<(), io::ErrorKind>>,
}

static WATCHER: Watcher = Watcher {
    watches: Mutex::new(Vec::new()),
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
    u64::try_from(moment.saturating_duration_since(origin()).as_nanos()).unwrap_or(NEVER - 1).min(NEVER - 1)
}

/// A thread's share in its watch. When it goes, so does the watch.
struct Watched(Arc<Watch>);

impl Drop for Watched {
    fn drop(&mut self) {
        context::set_watch(ptr::null());
        let mut watches = WATCHER.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| !Arc::ptr_eq(watch, &self.0));
    }
}

thread_local! {
    static WATCHED: OnceCell<Watched> = const { OnceCell::new() };
}

/// Calls `f`. Guest code that this thread runs in it after `deadline` traps with [`TrapCode::Interrupted`], some
/// milliseconds later at most if it is not in a host function. Of deadlines in one another, the earliest counts.
///
/// The first call in a process starts a thread and handles the signal `SIGURG`. Where that is impossible `f` is called
/// without a deadline.
pub fn with_deadline<R>(deadline: Instant, f: impl FnOnce() -> R) -> R {
    let watch = context::watch();
    let watch = if watch.is_null() { register() } else { watch };
    // SAFETY: it is this thread's, which is here.
    let Some(watch) = (unsafe { watch.as_ref() }) else { return f() };
    let _armed = watch.arm(nanoseconds(deadline));
    f()
}

impl Watch {
    /// Starts another use of the watch, which ends when the result is dropped.
    #[inline]
    fn arm(&self, deadline: u64) -> Armed<'_> {
        let outer = self.deadline.load(Ordering::Relaxed);
        if deadline < outer {
            self.begin(deadline);
        }
        // Either the watcher sees the deadline before it falls asleep, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if WATCHER.sleeps.load(Ordering::Relaxed) {
            WATCHER.wake();
        }
        Armed { watch: self, outer, is_mine: deadline < outer }
    }

    /// Only the watch's thread writes these. In between there is no deadline, so that none is taken for one of another
    /// generation.
    fn begin(&self, deadline: u64) {
        self.deadline.store(NEVER, Ordering::Release);
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.generation.store(generation, Ordering::Release);
        self.deadline.store(deadline, Ordering::Release);
    }

    /// Asks the watch's thread to stop its guest, if it is late.
    fn check(&self, now: u64) -> Wait {
        let generation = self.generation.load(Ordering::Acquire);
        let deadline = self.deadline.load(Ordering::Acquire);
        if deadline == NEVER {
            return Wait::Idle;
        }
        // The deadline is of this generation only if there is no other by now.
        if deadline > now || self.generation.load(Ordering::Acquire) != generation {
            return Wait::Armed;
        }
        self.requested.store(generation, Ordering::Release);
        self.thread.send(SIGNAL);
        Wait::Late
    }

    /// Whether the present use of the watch is late.
    fn is_late(&self) -> bool {
        self.deadline.load(Ordering::Relaxed) != NEVER
            && self.requested.load(Ordering::Acquire) == self.generation.load(Ordering::Relaxed)
    }
}

/// How long the watcher may look away from a watch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    Idle,
    Armed,
    Late,
}

/// A use of a watch.
struct Armed<'a> {
    watch: &'a Watch,
    outer: u64,
    is_mine: bool,
}

impl Drop for Armed<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_mine {
            self.watch.begin(self.outer);
        }
    }
}

/// Makes a watch for this thread, and the watcher for the process. Null if either cannot be had.
#[cold]
fn register() -> *const Watch {
    let started = WATCHER.started.get_or_init(|| start().map_err(|error| error.kind()));
    if started.is_err() {
        return ptr::null();
    }
    let registered = WATCHED.try_with(|watched| {
        let watched = watched.get_or_init(|| {
            let watch = Arc::new(Watch {
                thread: ThreadId::current(),
                deadline: AtomicU64::new(NEVER),
                generation: AtomicU64::new(1),
                requested: AtomicU64::new(0),
            });
            WATCHER.watches.lock().unwrap_or_else(PoisonError::into_inner).push(watch.clone());
            Watched(watch)
        });
        context::set_watch(Arc::as_ptr(&watched.0));
        Arc::as_ptr(&watched.0)
    });
    registered.unwrap_or(ptr::null())
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

impl Watcher {
    fn run(&self) {
        loop {
            match self.look() {
                Wait::Late => std::thread::sleep(RETRY),
                Wait::Armed => std::thread::sleep(TICK),
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

    /// Looks at all watches; what the most urgent one needs.
    fn look(&self) -> Wait {
        let now = nanoseconds(Instant::now());
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().map(|watch| watch.check(now)).max().unwrap_or(Wait::Idle)
    }

    #[cold]
    fn wake(&self) {
        if self.sleeps.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// The handler.
unsafe extern "C" fn handle(signal: signals::c_int, info: *mut signals::siginfo_t, kernel: *mut c_void) {
    // SAFETY: a watch is valid while the thread has it.
    if let Some(watch) = unsafe { context::watch().as_ref() }
        && watch.is_late()
    {
        // SAFETY: the argument is the kernel's; an activation is valid while it is the current one.
        unsafe {
            let registers = arch::registers(kernel);
            if let Some(activation) = context::current().as_ref()
                && code::find(registers.pc).is_some()
            {
                activation.fault.set(Some((TrapCode::Interrupted, registers)));
                arch::redirect_to_exit(kernel, activation.context);
            }
        }
        return;
    }
    // One of ours that came too late is passed on too; who uses this signal expects it without a reason.
    if let Some(previous) = PREVIOUS.get().filter(|previous| signals::is_handled(previous)) {
        // SAFETY: the arguments are the kernel's.
        unsafe { signals::pass_on(Some(previous), signal, info, kernel) };
    }
}
