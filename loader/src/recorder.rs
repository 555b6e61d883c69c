//! Recording what instances of an artifact do, for a profile.
//!
//! What comes in: an artifact that was opened to be recorded, and its guests. What goes out: the functions that ran, in the
//! order in which each did for the first time, and how many instances wrote each page; `profile.rs` names them.
//!
//! The text is a copy with a breakpoint at the start of each function. The first call of a function meets it; the handler
//! of SIGTRAP notes the function, puts the code back and has it run. So a function costs one signal, once, and nothing
//! is different in how it was compiled. Each instance has a new slot, in which what is written is what it wrote.
//!
//! BANS. [`handle`] and what it calls take no lock, allocate nothing and cannot panic.
//!
//! # Safety
//! As in `signal.rs`. A breakpoint that was met belongs to an artifact that whoever ran it keeps alive.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use precast_abi::meta::{FunctionRow, Meta};

use crate::code;
use crate::mapping::Code;
use crate::sys::breakpoints::{self, BreakpointText};
use crate::sys::signals;
use crate::sys::{arch, memory};

/// See the head of this file.
pub(crate) struct Recorder {
    text: BreakpointText,
    /// Whether it ran, of each row of the functions.
    ran: Box<[AtomicBool]>,
    /// The rows in the order in which they ran; [`UNKNOWN`] from where on nothing has.
    order: Box<[AtomicU32]>,
    next: AtomicUsize,
    written: Mutex<Written>,
}

const UNKNOWN: u32 = u32::MAX;

/// What instances that have ended wrote.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// How many they were.
    pub(crate) instances: u32,
    /// By how many each page was written, of the system's pages by their offsets in the slot.
    pub(crate) pages: BTreeMap<usize, u32>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("order", &self.order().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// For the code `text` that these tables describe.
    pub(crate) fn new(text: &[u8], meta: &Meta<'_>) -> io::Result<Recorder> {
        install_handler()?;
        let starts = meta.functions.iter().filter(|row| row.len as usize >= breakpoints::LEN);
        Ok(Recorder {
            text: BreakpointText::new(text, starts.map(|row| row.start as usize))?,
            ran: meta.functions.iter().map(|_| AtomicBool::new(false)).collect(),
            order: meta.functions.iter().map(|_| AtomicU32::new(UNKNOWN)).collect(),
            next: AtomicUsize::new(0),
            written: Mutex::default(),
        })
    }

    /// Start of the text that is to be run.
    pub(crate) fn text(&self) -> *const u8 {
        self.text.start()
    }

    /// The rows of the functions that ran, in their order.
    pub(crate) fn order(&self) -> impl Iterator<Item = u32> {
        self.order.iter().map(|row| row.load(Ordering::Relaxed)).filter(|row| *row != UNKNOWN)
    }

    /// Notes what an instance wrote.
    pub(crate) fn instance_wrote(&self, runs: impl Iterator<Item = Range<usize>>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.instances += 1;
        for page in runs.flat_map(|run| run.step_by(memory::page_size())) {
            *written.pages.entry(page).or_default() += 1;
        }
    }

    /// What was noted.
    pub(crate) fn written(&self) -> Written {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// If the breakpoint that was met at `pc` is the one of a function of `code`, whose recorder this is: notes the
    /// function and takes the breakpoint away. Several threads may meet one, all of which are to go on there.
    fn takes(&self, code: &Code, pc: usize) -> bool {
        let found = code.text_offset(pc).and_then(|offset| {
            let row = code.meta().functions.partition_point(|row| row.start < offset);
            let function = code.meta().functions.get(row).filter(|row| row.start == offset)?;
            Some((row, function, self.ran.get(row)?))
        });
        let Some((row, FunctionRow { start, .. }, ran)) = found else { return false };
        let Some(original) = code.text_bytes().get(start as usize..).and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        if !ran.swap(true, Ordering::Relaxed) {
            let place = self.order.get(self.next.fetch_add(1, Ordering::Relaxed));
            place.inspect(|place| place.store(row as u32, Ordering::Relaxed));
        }
        self.text.remove(start as usize, *original);
        true
    }
}

/// What was installed before us.
static PREVIOUS: OnceLock<signals::sigaction> = OnceLock::new();

fn install_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    let install = || {
        let present = signals::disposition(signals::SIGTRAP)?;
        PREVIOUS.get_or_init(|| present);
        // SAFETY: the handler keeps to the bans above and passes on what is not ours.
        unsafe { signals::install(signals::SIGTRAP, handle, signals::Restart::Yes) }
    };
    INSTALLED.get_or_init(|| install().map_err(|error| error.kind())).map_err(io::Error::from)
}

/// The handler.
unsafe extern "C" fn handle(signal: signals::c_int, info: *mut signals::siginfo_t, context: *mut c_void) {
    // SAFETY: the arguments are the kernel's.
    let breakpoint = unsafe { arch::breakpoint(info, context) };
    let is_ours = |pc: &usize| {
        let code = code::find(*pc);
        code.is_some_and(|code| code.recorder().is_some_and(|recorder| recorder.takes(code, *pc)))
    };
    match breakpoint.filter(is_ours) {
        // SAFETY: the arguments are the kernel's, and the function's code is there again.
        Some(pc) => unsafe { arch::go_on_at(context, pc) },
        // SAFETY: the arguments are the kernel's.
        None => unsafe { signals::pass_on(PREVIOUS.get(), signal, info, context) },
    }
}
