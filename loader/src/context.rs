//! The context: what guest and host share while a store runs, and the one way into guest code.
//!
//! What comes in: an entry thunk with its base, code and values. What goes out: the thunk's return, or why it was
//! abandoned. Everything on this page runs on the thread that called [`enter`].
//!
//! # Safety
//! The only `unsafe` here is following the context pointer, which [`enter`]'s caller vouches for, and the jump itself.

use std::any::Any;
use std::ops::Range;

use precast_abi::trap::TrapCode;

use crate::trap::Trap;
use crate::{HostError, signal, sys, trap};

/// What the assembly, the signal handler and the host's border share: one for each store, boxed, at an address that
/// does not change. [`precast_abi::host::HostWords::CONTEXT`] of every instance in the store points to it.
#[repr(C)]
pub(crate) struct Context {
    /// Saved by the assembly's `enter`: where host functions run, and where a trap continues.
    pub(crate) host_sp: usize,
    /// Where the next entry's frames begin: the stack's top, or the guest's stack pointer at a host call.
    pub(crate) guest_sp: usize,
    /// The guest's frame pointer at the innermost host call.
    pub(crate) guest_fp: usize,
    /// The guest's return address at the innermost host call; 0 if there is none.
    pub(crate) guest_pc: usize,
    /// The stack of the store's first instance, on which all its instances run.
    pub(crate) stack: Range<usize>,
    /// How many entries of this context have not returned.
    depth: u32,
    /// The host's `T`, set by each outermost and nested entry.
    pub(crate) data: *mut (),
    /// The store, for whoever knows its type.
    pub(crate) store: *mut (),
    /// Why the host's border abandons the guest: set before a host call returns a status other than zero.
    pub(crate) pending: Option<Abort>,
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

/// What the assembly's `enter` returns.
pub(crate) mod status {
    /// The thunk returned.
    pub(crate) const RETURNED: u32 = 0;
    /// The signal handler found a trap.
    pub(crate) const TRAPPED: u32 = 1;
    /// A host function asked to abandon the guest.
    pub(crate) const ABANDONED: u32 = 2;
}

/// Bytes of guest stack an entry needs, so that the assembly itself, which has no trap sites, never meets the guard.
const ENTRY_ROOM: usize = 4 << 10;

/// Entries of one context that may be under way at once. Each nested one has host frames of its own below it, and the
/// host's stack has no guard that could turn its end into a trap.
const MAX_DEPTH: u32 = 200;

impl Context {
    /// A context without a stack, which cannot be entered yet.
    pub(crate) fn new() -> Box<Self> {
        Box::new(Context {
            host_sp: 0,
            guest_sp: 0,
            guest_fp: 0,
            guest_pc: 0,
            stack: 0..0,
            depth: 0,
            data: std::ptr::null_mut(),
            store: std::ptr::null_mut(),
            pending: None,
        })
    }

    /// Whether the context has a stack.
    pub(crate) fn has_stack(&self) -> bool {
        !self.stack.is_empty()
    }

    /// Gives the context the stack that everything in its store will run on: [`crate::slot::Slot::stack`].
    pub(crate) fn set_stack(&mut self, stack: Range<usize>) {
        self.guest_sp = stack.end;
        self.stack = stack;
    }
}

/// Calls `entry(base, code, values)` on the guest's stack.
///
/// # Safety
/// `context` is valid, nothing else uses it meanwhile except through the guest's calls into the host, and its stack is
/// that of a live slot. `entry` and `code` are an entry thunk and a function of its type in the text of an artifact
/// that stays open, `base` is that of a live instance of that artifact whose host words point to `context`, and
/// `values` has room for the type's cells.
pub(crate) unsafe fn enter(
    context: *mut Context, entry: *const u8, base: *mut u8, code: *const u8, values: *mut u64,
) -> Result<(), Abort> {
    let _ = (context, entry, base, code, values);
    let _ = (ENTRY_ROOM, MAX_DEPTH, TrapCode::StackOverflow);
    let _ = (signal::placeholder, sys::placeholder, trap::placeholder);
    unimplemented!()
}
