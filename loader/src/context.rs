//! The context: what guest and host share while a store runs, and the one way into guest code.
//!
//! What comes in: an entry thunk with its base, code and values. What goes out: that it returned, why it was abandoned,
//! or that it waits for the host ([`enter_suspendable`], [`resume`]; `suspend.rs` has what it waits for). Everything here
//! runs on the thread that called.
//!
//! # Safety
//! The only `unsafe` is following the context pointer, which the caller of [`enter`] vouches for, and the jump itself.
//! The context is reached through raw pointers only, since assembly, signal handler and host functions change it while
//! [`enter`] is under way.

use std::any::Any;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::Waker;
use std::time::Duration;

use precast_abi::trap::TrapCode;

use crate::HostError;
use crate::fuel;
use crate::interrupt::{self, Interrupts};
use crate::suspend::Pending;
use crate::sys::{Registers, arch};
use crate::trap::Trap;

mod activation;
pub(crate) use activation::{Activation, activations, current, set_prepared, set_watch, watch};
use activation::{activate, activate_only, is_free, refused, unless_interrupted};

/// What the assembly, the signal handler and the host's border share: one for each store, at an address that
/// does not change. [`precast_abi::host::HostWords::CONTEXT`] of every instance in the store points to it.
#[repr(C)]
pub(crate) struct Context {
    /// The two stack pointers.
    pub(crate) border: Border,
    /// The host's stack pointer at the suspendable entry under way: where unwinders find the frame that runs the guest
    /// now, which is not the one that its first frame was called by if the guest was suspended since.
    pub(crate) resumable_sp: usize,
    /// What metered code counts in: see [`precast_abi::host::Context::FUEL`].
    pub(crate) fuel: u64,
    /// The callee-saved registers of a suspended guest. Its stack and frame pointer and its pc are those of the border.
    pub(crate) saved: [usize; arch::SAVED],
    /// The stack of the store's first instance, on which all its instances run; empty before there is one.
    pub(crate) stack: Range<usize>,
    /// Entries whose frames would begin below this are looked at more closely: there may be no room, or, if this is more
    /// than all addresses, there may be handles.
    entry_limit: usize,
    /// Other than 0 if a signal found the guest in a host call that it should perhaps not return from.
    pub(crate) noted: AtomicU32,
    /// What handles that interrupt the store share with it; none if there have never been any.
    pub(crate) interrupts: Option<Arc<Interrupts>>,
    /// How suspendable entries give their thread back.
    pub(crate) slice: Option<Box<Slice>>,
    /// The host's `T`, set by each outermost and nested entry.
    pub(crate) data: *mut (),
    /// The store, for whoever knows its type.
    pub(crate) store: *mut (),
    /// Why the host's border abandons the guest: set before a host call returns a status other than zero.
    pub(crate) pending: Option<Abort>,
    /// What the guest waits for, between the host call that suspends it and the caller of [`enter_suspendable`] or
    /// [`resume`], who takes it.
    pub(crate) waiting: Option<Pending>,
    /// Who to wake when the guest can go on; null if nobody waits, as in a synchronous call.
    pub(crate) waker: *const Waker,
    /// The activation of the commonest entry, the only one of thread and context.
    only: Activation,
    /// Whether guest code was abandoned in the middle of an outermost entry, so that what it works on may be anything.
    pub(crate) poisoned: bool,
}

const _: () = assert!(std::mem::offset_of!(Context, fuel) == precast_abi::host::Context::FUEL as usize);

/// Where host and guest stand at the border between them: written by the assembly.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Border {
    /// Set by `enter`: where host functions run, and where a trap continues. 0 if no entry is under way; one that is
    /// suspended is, though this is of no use then.
    pub(crate) host_sp: usize,
    /// Where the next entry's frames begin: the stack's top, or the guest's stack pointer at a host call.
    pub(crate) guest_sp: usize,
    /// The guest's frame pointer at the innermost host call.
    pub(crate) guest_fp: usize,
    /// The guest's return address at the innermost host call; 0 if there is none.
    pub(crate) guest_pc: usize,
}

/// How long a guest may run before it is paused, and where its registers are then.
pub(crate) struct Slice {
    length: Duration,
    pub(crate) paused: arch::Paused,
}

/// Why guest code did not return.
pub(crate) enum Abort {
    /// It trapped.
    Trap(Trap),
    /// A host function failed.
    Host(HostError),
    /// A host function panicked.
    Panic(Box<dyn Any + Send>),
}

/// What the assembly's `enter` and its like return: 0 if the thunk returned.
pub(crate) mod status {
    /// The signal handler found a trap.
    pub(crate) const TRAPPED: u32 = 1;
    /// A host function asked to abandon the guest.
    pub(crate) const ABANDONED: u32 = 2;
    /// A host function waits, and the guest's stack is left as it is.
    pub(crate) const SUSPENDED: u32 = 3;
    /// The guest was interrupted to go on later; [`super::Slice::paused`] has its registers.
    pub(crate) const PAUSED: u32 = 4;
}

/// What a host call returns to the assembly: 0 to go on.
pub(crate) mod host_status {
    /// The guest is abandoned; [`super::Context::pending`] says why.
    pub(crate) const ABANDON: u32 = 1;
    /// The guest waits for [`super::Context::waiting`].
    pub(crate) const SUSPEND: u32 = 2;
}

/// Bytes of guest stack that an entry needs: the assembly's call has no trap site, so it must not meet the guard.
const ENTRY_ROOM: usize = 4 << 10;

/// Entries that may be under way on a thread at once. Each has host frames of its own, and the end of the host's stack,
/// unlike that of the guest's, is not a trap but the end of the process.
const MAX_DEPTH: u32 = 200;

impl Context {
    /// A context without a stack: entering it traps.
    pub(crate) fn new() -> Self {
        Context {
            border: Border::default(),
            resumable_sp: 0,
            fuel: fuel::word(None),
            saved: [0; arch::SAVED],
            stack: 0..0,
            entry_limit: usize::MAX,
            noted: AtomicU32::new(0),
            interrupts: None,
            slice: None,
            data: ptr::null_mut(),
            store: ptr::null_mut(),
            pending: None,
            waiting: None,
            waker: ptr::null(),
            only: Activation::only(Border::default()),
            poisoned: false,
        }
    }

    /// Whether the context has a stack.
    pub(crate) fn has_stack(&self) -> bool {
        !self.stack.is_empty()
    }

    /// Gives the context the stack that everything in its store will run on, that of a slot which outlives it.
    ///
    /// # Panics
    /// If it has one.
    pub(crate) fn set_stack(&mut self, stack: Range<usize>) {
        assert!(!self.has_stack(), "the stack of a store changed");
        self.stack = stack;
        self.border = self.idle();
        self.only = Activation::only(self.border);
        self.limit_entries();
    }

    fn limit_entries(&mut self) {
        let is_simple = self.has_stack() && self.interrupts.is_none();
        self.entry_limit = if is_simple { self.stack.start + ENTRY_ROOM } else { usize::MAX };
    }

    /// What handles share with the context, which no entry may be under way of. There is no way back: entries take longer
    /// from now on.
    pub(crate) fn share_interrupts(&mut self) -> Arc<Interrupts> {
        let interrupts = Arc::clone(self.interrupts.get_or_insert_default());
        self.limit_entries();
        interrupts
    }

    /// The border while no entry is under way.
    #[inline(always)]
    fn idle(&self) -> Border {
        Border { guest_sp: self.stack.end, ..Border::default() }
    }

    /// Gives up whatever guest code is under way: its frames are as good as gone.
    pub(crate) fn abandon(&mut self) {
        self.border = self.idle();
        self.poisoned = true;
    }

    /// The border around the next entry.
    #[inline(always)]
    fn outer(&self) -> Border {
        // That of the outermost entry is known. Reading what was written a moment ago in other pieces is slow.
        if self.is_idle() { self.idle() } else { self.border }
    }

    /// Whether no entry is under way, on whatever thread.
    #[inline(always)]
    pub(crate) fn is_idle(&self) -> bool {
        self.border.host_sp == 0
    }

    /// Whether the guest that calls the host now can be suspended in that.
    pub(crate) fn can_suspend(&self) -> bool {
        !self.waker.is_null() && self.border.host_sp == self.resumable_sp
    }

    /// Has suspendable entries pause the guest when it has run for so long, where that is possible. Whether it is.
    pub(crate) fn set_slice(&mut self, length: Option<Duration>) -> bool {
        self.slice = length.and_then(|length| Some(Box::new(Slice { length, paused: arch::Paused::new()? })));
        self.slice.is_some() == length.is_some()
    }

    /// Where the registers are to be left of the guest that runs now, if it can be paused.
    pub(crate) fn pause(&mut self) -> Option<&mut arch::Paused> {
        if self.can_suspend() { self.slice.as_mut().map(|slice| &mut slice.paused) } else { None }
    }

    /// Whether there is room for frames that begin at `guest_sp`.
    fn has_room(&self, guest_sp: usize) -> bool {
        self.has_stack() && guest_sp >= self.stack.start + ENTRY_ROOM
    }
}

/// Calls `entry(base, code, values)` on the guest's stack.
///
/// # Safety
/// `context` is valid, nothing else uses it meanwhile except through the guest's calls into the host, and its stack is
/// that of a live slot. `entry` and `code` are an entry thunk and a function of its type in the text of an artifact
/// that stays open, `base` is that of a live instance of that artifact whose host words point to `context`, and
/// `values` has room for the type's cells. No instance that code may reach is dropped before this returns.
#[inline]
pub(crate) unsafe fn enter(
    context: *mut Context,
    entry: *const u8,
    base: *mut u8,
    code: *const u8,
    values: *mut u64,
) -> Result<(), Box<Abort>> {
    // SAFETY: the caller vouches for the context, and references to it end before the guest runs. The assembly's own
    // demand is room on the stack. An entry that no call of `enter_suspendable` made cannot be suspended.
    unsafe {
        if !(*context).is_idle() || (*context).stack.end < (*context).entry_limit || !is_free() {
            return enter_with_care(context, entry, base, code, values);
        }
        let end = activate_only(context, || {
            let status = arch::enter(context, entry, base, code, values);
            (*context).border = (*context).idle();
            status
        });
        (*context).poisoned |= end.is_err();
        end
    }
}

/// The same wherever this is not the only entry of context and thread, or whatever else is out of the ordinary.
///
/// # Safety
/// As [`enter`].
#[inline(never)]
unsafe fn enter_with_care(
    context: *mut Context,
    entry: *const u8,
    base: *mut u8,
    code: *const u8,
    values: *mut u64,
) -> Result<(), Box<Abort>> {
    // SAFETY: as the caller says.
    unsafe {
        let outer = (*context).outer();
        if !(*context).has_room(outer.guest_sp) {
            return Err(refused(context, TrapCode::StackOverflow));
        }
        let is_outermost = outer.host_sp == 0;
        unless_interrupted(context, || {
            let end = activate(context, outer, || {
                let status = arch::enter(context, entry, base, code, values);
                (*context).border = if is_outermost { (*context).idle() } else { outer };
                status
            });
            (*context).poisoned |= is_outermost && end.is_err();
            end.map(drop)
        })
    }
}

/// How a suspendable entry goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The thunk returned.
    Returned,
    /// The guest waits for [`Context::waiting`]. It is still under way: see [`resume`] and [`Context::abandon`].
    Suspended,
    /// The guest has run long enough for now. It is still under way: see [`resume_paused`] and [`Context::abandon`].
    Paused,
}

/// As [`enter`], but host functions may suspend the guest, to have `waker` woken when it can go on. Must be the outermost
/// entry of its context.
///
/// # Safety
/// As [`enter`]. What it says of the time until this returns holds until the guest has returned or is abandoned. A
/// suspended guest whose caller is gone may be left as it is, but not resumed.
pub(crate) unsafe fn enter_suspendable(
    context: *mut Context,
    entry: *const u8,
    base: *mut u8,
    code: *const u8,
    values: *mut u64,
    waker: &Waker,
) -> Result<Progress, Box<Abort>> {
    // SAFETY: as in `enter`.
    unsafe {
        debug_assert!((*context).is_idle());
        if !(*context).has_room((*context).idle().guest_sp) {
            return Err(refused(context, TrapCode::StackOverflow));
        }
        proceed(context, waker, || arch::enter_suspendable(context, entry, base, code, values))
    }
}

/// Lets a suspended guest go on, on whatever thread: its host call returns.
///
/// # Safety
/// As [`enter_suspendable`], which was called with this context, and the last call of either left the guest suspended.
/// The results are in the cells of the host call.
pub(crate) unsafe fn resume(context: *mut Context, waker: &Waker) -> Result<Progress, Box<Abort>> {
    // SAFETY: as the caller says, the border and the saved registers are those of the suspended guest.
    unsafe { proceed(context, waker, || arch::resume(context)) }
}

/// Lets a paused guest go on, on whatever thread.
///
/// # Safety
/// As [`enter_suspendable`], which was called with this context, and the last call of it, of [`resume`] or of this left the
/// guest paused.
pub(crate) unsafe fn resume_paused(context: *mut Context, waker: &Waker) -> Result<Progress, Box<Abort>> {
    // SAFETY: as the caller says, the context has the registers of the paused guest.
    unsafe { proceed(context, waker, || arch::resume_paused(context)) }
}

/// Bytes below the stack pointer that a paused guest may use.
const RED_ZONE: usize = 128;

/// # Safety
/// As [`enter_suspendable`]; `run` runs the guest of the context's only entry.
unsafe fn proceed(context: *mut Context, waker: &Waker, run: impl FnOnce() -> u32) -> Result<Progress, Box<Abort>> {
    // SAFETY: the caller vouches for the context. An outermost entry has nothing around it.
    unsafe {
        let outer = (*context).idle();
        (*context).waker = waker;
        let slice = (*context).slice.as_ref().map(|slice| slice.length);
        let end = unless_interrupted(context, || interrupt::with_slice(slice, || activate(context, outer, run)));
        (*context).waker = ptr::null();
        match end {
            Ok(status::SUSPENDED) => return Ok(Progress::Suspended),
            Ok(status::PAUSED) => {
                // As if it called the host here.
                if let Some(slice) = &(*context).slice {
                    let Registers { pc, sp, fp, .. } = slice.paused.registers();
                    let border = &mut (*context).border;
                    (border.guest_sp, border.guest_fp, border.guest_pc) = (sp - RED_ZONE, fp, pc + 1);
                }
                return Ok(Progress::Paused);
            }
            Ok(_) => (*context).border = outer,
            Err(_) => (*context).abandon(),
        }
        end.map(|_| Progress::Returned)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
