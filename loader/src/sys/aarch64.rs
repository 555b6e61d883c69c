//! AArch64: entering guest code, leaving it, and calling the host from it.
//!
//! The same as `x86_64.rs`, which explains it, in the convention of AAPCS64: the context is kept in `x19`, the return
//! address arrives in `x30`, and `d8` to `d15` are preserved too. Nothing is written to the guest's stack.
//!
//! # Safety
//! As in `x86_64.rs`.

use std::arch::{asm, naked_asm};
use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};

use precast_abi::host::FuncImport;

use super::Registers;
use crate::context::{Context, host_status, status};

const HOST_SP: usize = offset_of!(Context, border.host_sp);
const GUEST_SP: usize = offset_of!(Context, border.guest_sp);
const GUEST_FP: usize = offset_of!(Context, border.guest_fp);
const GUEST_PC: usize = offset_of!(Context, border.guest_pc);

const NOTED: usize = offset_of!(Context, noted);
const RESUMABLE_SP: usize = offset_of!(Context, resumable_sp);
const SAVED_REGISTERS: usize = offset_of!(Context, saved);

// The unwind rules that go by the context are written in bytes.
const _: () = assert!(HOST_SP == 0 && RESUMABLE_SP == 32);

/// Number of registers that are kept for a suspended guest: x19 to x28, d8 to d15.
pub(crate) const SAVED: usize = 18;

/// Saves all callee-saved registers where [`leave`] restores them from; the stack pointer is at the frame then.
macro_rules! save {
    () => {
        "stp x29, x30, [sp, #-160]!
         stp x19, x20, [sp, #16]
         stp x21, x22, [sp, #32]
         stp x23, x24, [sp, #48]
         stp x25, x26, [sp, #64]
         stp x27, x28, [sp, #80]
         stp d8, d9, [sp, #96]
         stp d10, d11, [sp, #112]
         stp d12, d13, [sp, #128]
         stp d14, d15, [sp, #144]"
    };
}

/// Restores what `enter` saved and returns from it; the stack pointer is at its frame.
macro_rules! leave {
    () => {
        "ldp x19, x20, [sp, #16]
         ldp x21, x22, [sp, #32]
         ldp x23, x24, [sp, #48]
         ldp x25, x26, [sp, #64]
         ldp x27, x28, [sp, #80]
         ldp d8, d9, [sp, #96]
         ldp d10, d11, [sp, #112]
         ldp d12, d13, [sp, #128]
         ldp d14, d15, [sp, #144]
         ldp x29, x30, [sp], #160
         .cfi_def_cfa sp, 0
         ret"
    };
}

/// Where `enter` saved the callee-saved registers, for unwinders: x19 to x30, d8 to d15.
macro_rules! saved {
    () => {
        ".cfi_offset x29, -160
         .cfi_offset x30, -152
         .cfi_offset x19, -144
         .cfi_offset x20, -136
         .cfi_offset x21, -128
         .cfi_offset x22, -120
         .cfi_offset x23, -112
         .cfi_offset x24, -104
         .cfi_offset x25, -96
         .cfi_offset x26, -88
         .cfi_offset x27, -80
         .cfi_offset x28, -72
         .cfi_offset d8, -64
         .cfi_offset d9, -56
         .cfi_offset d10, -48
         .cfi_offset d11, -40
         .cfi_offset d12, -32
         .cfi_offset d13, -24
         .cfi_offset d14, -16
         .cfi_offset d15, -8"
    };
}

/// Calls `entry(base, code, values)` on the guest's stack; [`status`] says how it ended.
///
/// # Safety
/// As [`crate::context::enter`].
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter(
    context: *mut Context,
    entry: *const u8,
    base: *mut u8,
    code: *const u8,
    values: *mut u64,
) -> u32 {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        save!(),
        "mov x29, sp",
        ".cfi_def_cfa x29, 160",
        saved!(),
        "mov x9, sp",
        "str x9, [x0, #{host_sp}]",
        "mov x19, x0",
        "ldr x9, [x0, #{guest_sp}]",
        "and x9, x9, #-16",
        "mov sp, x9",
        "mov x9, x1",
        "mov x0, x2",
        "mov x1, x3",
        "mov x2, x4",
        "blr x9",
        "mov w0, #0",
        "mov sp, x29",
        leave!(),
        ".cfi_endproc",
        host_sp = const HOST_SP,
        guest_sp = const GUEST_SP,
    )
}

/// As [`enter`], but the guest may be suspended. The context must have no entry under way.
///
/// # Safety
/// As [`enter`].
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter_suspendable(
    context: *mut Context,
    entry: *const u8,
    base: *mut u8,
    code: *const u8,
    values: *mut u64,
) -> u32 {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        save!(),
        ".cfi_def_cfa sp, 160",
        saved!(),
        "mov x9, sp",
        "mov x19, x0",
        "str x9, [x19, #{host_sp}]",
        "str x9, [x19, #{resumable_sp}]",
        // CFA = *(x19 + RESUMABLE_SP) + 160: the frame of this, or of `resume`.
        ".cfi_escape 0x0f, 0x06, 0x83, 0x20, 0x06, 0x23, 0xa0, 0x01",
        "ldr x9, [x19, #{guest_sp}]",
        "and x9, x9, #-16",
        "mov sp, x9",
        "mov x9, x1",
        "mov x0, x2",
        "mov x1, x3",
        "mov x2, x4",
        "mov x29, #0",
        "blr x9",
        "mov w0, #0",
        "b {exit}",
        ".cfi_endproc",
        host_sp = const HOST_SP,
        resumable_sp = const RESUMABLE_SP,
        guest_sp = const GUEST_SP,
        exit = sym trap_exit,
    )
}

/// Returns to a suspended guest from its host call; [`status`] says how it ended, or that it is suspended again.
///
/// # Safety
/// The context was entered by [`enter_suspendable`], and what that or the last call of this returned is
/// [`status::SUSPENDED`]; its border is as it was then.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume(context: *mut Context) -> u32 {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        save!(),
        ".cfi_def_cfa sp, 160",
        saved!(),
        "mov x9, sp",
        "str x9, [x0, #{host_sp}]",
        "str x9, [x0, #{resumable_sp}]",
        // CFA = *(x0 + RESUMABLE_SP) + 160.
        ".cfi_escape 0x0f, 0x06, 0x70, 0x20, 0x06, 0x23, 0xa0, 0x01",
        "ldp x19, x20, [x0, #{saved}]",
        "ldp x21, x22, [x0, #{saved} + 16]",
        "ldp x23, x24, [x0, #{saved} + 32]",
        "ldp x25, x26, [x0, #{saved} + 48]",
        "ldp x27, x28, [x0, #{saved} + 64]",
        "ldp d8, d9, [x0, #{saved} + 80]",
        "ldp d10, d11, [x0, #{saved} + 96]",
        "ldp d12, d13, [x0, #{saved} + 112]",
        "ldp d14, d15, [x0, #{saved} + 128]",
        "ldr x29, [x0, #{guest_fp}]",
        "ldr x30, [x0, #{guest_pc}]",
        "ldr x9, [x0, #{guest_sp}]",
        "mov sp, x9",
        "ret",
        ".cfi_endproc",
        host_sp = const HOST_SP,
        resumable_sp = const RESUMABLE_SP,
        guest_sp = const GUEST_SP,
        guest_fp = const GUEST_FP,
        guest_pc = const GUEST_PC,
        saved = const SAVED_REGISTERS,
    )
}

/// The registers of a paused guest, which there is none of: the kernel's frame has them in records that nobody could try.
#[derive(Debug)]
pub(crate) enum Paused {}

impl Paused {
    pub(crate) fn new() -> Option<Self> {
        None
    }

    pub(crate) unsafe fn save(&mut self, _kernel: *mut c_void) -> bool {
        match *self {}
    }

    pub(crate) unsafe fn restore(&self, _kernel: *mut c_void) {
        match *self {}
    }

    pub(crate) fn registers(&self) -> Registers {
        match *self {}
    }
}

/// Never called: there are no paused guests.
pub(crate) unsafe extern "C" fn resume_paused(_context: *mut Context) -> u32 {
    status::ABANDONED
}

/// Whether the fault at `pc` is the end of a pause.
pub(crate) fn is_pause_end(_pc: usize) -> bool {
    false
}

/// Where abandoned guests end, and suspendable ones: returns from the context's innermost [`enter`]. Expects the context in `x19` and the
/// status in `w0`.
#[unsafe(naked)]
unsafe extern "C" fn trap_exit() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        // CFA = *(x19 + HOST_SP) + 160.
        ".cfi_escape 0x0f, 0x06, 0x83, 0x00, 0x06, 0x23, 0xa0, 0x01",
        saved!(),
        "ldr x9, [x19, #{host_sp}]",
        "mov sp, x9",
        ".cfi_def_cfa sp, 160",
        leave!(),
        ".cfi_endproc",
        host_sp = const HOST_SP,
    )
}

/// The body of both switches. `x0` to `x7` may hold parameters or results; `x9` to `x12` are ours.
macro_rules! switch_to_host {
    ([$($call:literal),*], [$($after:literal),*], $($operands:tt)*) => {
        std::arch::naked_asm!(
            ".cfi_startproc",
            ".cfi_signal_frame",
            "ldr x9, [x0, #{context}]",
            "mov x10, sp",
            ".cfi_def_cfa_register x10",
            "str x10, [x9, #{guest_sp}]",
            "str x29, [x9, #{guest_fp}]",
            "str x30, [x9, #{guest_pc}]",
            "ldr x11, [x9, #{host_sp}]",
            "mov sp, x11",
            // The frame: the guest's frame pointer and return address, x19, and the guest's stack pointer.
            "stp x29, x30, [sp, #-32]!",
            "stp x19, x10, [sp, #16]",
            "mov x29, sp",
            // CFA = *(x29 + 24); x29 is saved at x29, x30 at x29 + 8, x19 at x29 + 16.
            ".cfi_escape 0x0f, 0x03, 0x8d, 0x18, 0x06",
            ".cfi_escape 0x10, 0x1d, 0x02, 0x8d, 0x00",
            ".cfi_escape 0x10, 0x1e, 0x02, 0x8d, 0x08",
            ".cfi_escape 0x10, 0x13, 0x02, 0x8d, 0x10",
            "mov x19, x9",
            $($call,)*
            $($after,)*
            "ldr w9, [x19, #{noted}]",
            "cbz w9, 2f",
            "b {end_noted_call}",
            "2:",
            "ldp x19, x10, [sp, #16]",
            ".cfi_def_cfa x10, 0",
            ".cfi_same_value x19",
            "ldp x29, x30, [sp]",
            ".cfi_same_value x29",
            ".cfi_same_value x30",
            "mov sp, x10",
            "ret",
            ".cfi_endproc",
            context = const precast_abi::host::HostWords::CONTEXT,
            host_sp = const $crate::sys::arch::offsets::HOST_SP,
            guest_sp = const $crate::sys::arch::offsets::GUEST_SP,
            guest_fp = const $crate::sys::arch::offsets::GUEST_FP,
            guest_pc = const $crate::sys::arch::offsets::GUEST_PC,
            noted = const $crate::sys::arch::offsets::NOTED,
            end_noted_call = sym $crate::sys::arch::end_noted_call,
            $($operands)*
        )
    };
}
pub(crate) use switch_to_host;

/// What [`switch_to_host`] needs wherever it is expanded.
pub(crate) mod offsets {
    pub(crate) const HOST_SP: usize = super::HOST_SP;
    pub(crate) const GUEST_SP: usize = super::GUEST_SP;
    pub(crate) const GUEST_FP: usize = super::GUEST_FP;
    pub(crate) const GUEST_PC: usize = super::GUEST_PC;
    pub(crate) const NOTED: usize = super::NOTED;
}

/// What host thunks call, as `extern "C" fn(words, cell, values)` on the guest's stack: calls the cell's
/// [`FuncImport::HOST_CALL`] with the same arguments on the host's. If that returns a status other than zero, the guest
/// is abandoned or suspended.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn host_switch() {
    switch_to_host!(
        ["ldr x9, [x1, #{host_call}]", "blr x9"],
        ["cbz w0, 1f", "b {leave_guest}", "1:"],
        host_call = const FuncImport::HOST_CALL,
        leave_guest = sym leave_guest,
    )
}

/// See x86-64. Here all host functions are called by thunks.
pub(crate) fn register_switch() -> Option<usize> {
    None
}

/// Leaves the guest from the frame that [`switch_to_host`] made, where its `x19` is; the context is in `x19`, and a
/// [`host_status`] in `w0`. All other registers that a suspended guest needs are its own again: the host preserved them.
#[unsafe(naked)]
unsafe extern "C" fn leave_guest() {
    naked_asm!(
        "cmp w0, #{suspend}",
        "mov w0, #{abandoned}",
        "b.ne 2f",
        "ldr x9, [sp, #16]",
        "stp x9, x20, [x19, #{saved}]",
        "stp x21, x22, [x19, #{saved} + 16]",
        "stp x23, x24, [x19, #{saved} + 32]",
        "stp x25, x26, [x19, #{saved} + 48]",
        "stp x27, x28, [x19, #{saved} + 64]",
        "stp d8, d9, [x19, #{saved} + 80]",
        "stp d10, d11, [x19, #{saved} + 96]",
        "stp d12, d13, [x19, #{saved} + 112]",
        "stp d14, d15, [x19, #{saved} + 128]",
        "mov w0, #{suspended}",
        "2:",
        "b {exit}",
        suspend = const host_status::SUSPEND,
        abandoned = const status::ABANDONED,
        suspended = const status::SUSPENDED,
        saved = const SAVED_REGISTERS,
        exit = sym trap_exit,
    )
}

/// Ends a host call during which a signal came, from the frame that [`switch_to_host`] made, whose results are in `x0` and
/// `x1`: the guest is returned to or abandoned.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn end_noted_call() {
    naked_asm!(
        "stp x0, x1, [sp, #-16]!",
        "mov x0, x19",
        "bl {stop_if_asked}",
        "mov w9, w0",
        "ldp x0, x1, [sp], #16",
        "cbz w9, 1f",
        "mov w0, w9",
        "b {leave_guest}",
        "1:",
        "ldp x19, x10, [sp, #16]",
        "ldp x29, x30, [sp]",
        "mov sp, x10",
        "ret",
        stop_if_asked = sym crate::interrupt::stop_if_asked,
        leave_guest = sym leave_guest,
    )
}

/// Defines the stub of a builtin: see `x86_64.rs`. A pair comes back in `x0` and `x1`.
macro_rules! builtin_stub {
    ($(#[$meta:meta])* $name:ident => $body:path) => {
        $(#[$meta])*
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            $crate::sys::arch::switch_to_host!(["bl {body}"], [], body = sym $body,)
        }
    };
}
pub(crate) use builtin_stub;

/// The registers at the moment of a signal.
///
/// # Safety
/// `context` is the third argument of a signal handler.
pub(crate) unsafe fn registers(context: *mut c_void) -> Registers {
    // SAFETY: the kernel gives handlers a ucontext_t.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    Registers {
        pc: machine.pc as usize,
        sp: machine.sp as usize,
        fp: machine.regs[29] as usize,
        link: machine.regs[30] as usize,
    }
}

/// Makes the interrupted code go on by returning `status` from the innermost [`enter`] of `guest`.
///
/// # Safety
/// `context` is the third argument of a signal handler that interrupted guest code entered through `guest`.
pub(crate) unsafe fn redirect_to_exit(context: *mut c_void, guest: *mut Context, status: u32) {
    // SAFETY: the kernel gives handlers a ucontext_t, which nothing else refers to, and restores registers from it.
    let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    machine.pc = trap_exit as *const () as u64;
    machine.regs[19] = guest.addr() as u64;
    machine.regs[0] = status.into();
}

/// The instruction of breakpoints: `brk #0`.
pub(crate) const BREAKPOINT: [u8; 4] = 0xd420_0000_u32.to_le_bytes();

/// The address of the breakpoint that a SIGTRAP came of, if it came of one.
///
/// # Safety
/// `info` and `context` are those that the kernel gave to the handler.
pub(crate) unsafe fn breakpoint(info: *const libc::siginfo_t, context: *mut c_void) -> Option<usize> {
    const TRAP_BRKPT: libc::c_int = 1;
    // SAFETY: the kernel's information is valid while the handler runs.
    unsafe { ((*info).si_code == TRAP_BRKPT).then(|| registers(context).pc) }
}

/// Makes the interrupted code go on at `pc`.
///
/// # Safety
/// `context` is the third argument of a signal handler, and the interrupted registers are those that the code at `pc` is
/// entered with.
pub(crate) unsafe fn go_on_at(context: *mut c_void, pc: usize) {
    // SAFETY: the kernel gives handlers a ucontext_t, which nothing else refers to, and restores registers from it.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.pc = pc as u64 };
}

/// Stores code at `write`, which is executed at `run`. Threads that execute the old code there meanwhile meet the same
/// breakpoint again until they see the new one.
///
/// # Safety
/// Both addresses are mappings of the same bytes, which are stored to by this only, and multiples of 4.
pub(crate) unsafe fn replace_code(write: *mut u8, run: *const u8, code: [u8; 4]) {
    // SAFETY: the caller's promise. The instructions make the store visible to instruction fetches.
    unsafe {
        AtomicU32::from_ptr(write.cast()).store(u32::from_le_bytes(code), Ordering::Release);
        asm!("dc cvau, {write}", "dsb ish", "ic ivau, {run}", "dsb ish", "isb", write = in(reg) write, run = in(reg) run);
    }
}

/// Where a function will return to that has no frame, if so it is at `offset` bytes from its start.
pub(crate) fn return_address_without_frame(
    registers: &Registers,
    offset: u32,
    _next: u8,
    _read: impl Fn(usize) -> Option<usize>,
) -> Option<usize> {
    // `stp x29, x30, [sp, #-16]!; mov x29, sp`
    matches!(offset, 0 | 4).then_some(registers.link)
}

/// Whether this machine has the feature that `precast_targets` calls `name`.
pub(crate) fn has_feature(name: &str) -> bool {
    match name {
        "lse" => std::arch::is_aarch64_feature_detected!("lse"),
        "fp16" => std::arch::is_aarch64_feature_detected!("fp16"),
        "dotprod" => std::arch::is_aarch64_feature_detected!("dotprod"),
        "i8mm" => std::arch::is_aarch64_feature_detected!("i8mm"),
        _ => false,
    }
}
