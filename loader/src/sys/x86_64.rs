//! x86-64: entering guest code, leaving it, and calling the host from it.
//!
//! What comes in: the context, whose first words are the two stack pointers. What goes out: a status in `eax`. Entry
//! thunks preserve registers as the System V convention says, so those that [`enter`] saves are for [`trap_exit`].
//!
//! Both switches are marked as signal frames: unwinders then accept that the caller's stack is elsewhere, and gdb does
//! not take it for a corrupt one. Frame pointers chain through: `rbp` stays `enter`'s until the thunk pushes it, and
//! the host's side of a switch pushes the guest's.
//!
//! A guest that was entered by [`enter_suspendable`] may be left in a host call and taken up again by [`resume`], in
//! another frame of the host. So nothing on its stack leads to the host: the chain of frame pointers ends, and both ways
//! back and unwinders go by the context, which is kept in `rbx`.
//!
//! # Safety
//! The code is as safe as the contexts it is given; [`crate::context::enter`] is the only caller of [`enter`], and
//! only guest code calls the switches, with its own host words or a cell of them.

use std::arch::naked_asm;
use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU8, Ordering};

use precast_abi::host::FuncImport;

use super::Registers;
pub(crate) use super::cpuid::has_feature;
pub(crate) use super::paused::Paused;
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

/// Number of registers that are kept for a suspended guest: rbx, r12 to r15.
pub(crate) const SAVED: usize = 5;

/// Saves all callee-saved registers where `trap_exit` restores them from; the stack pointer is at the frame then.
macro_rules! save {
    () => {
        "push rbp
         .cfi_def_cfa_offset 16
         .cfi_offset rbp, -16
         push rbx
         push r12
         push r13
         push r14
         push r15
         .cfi_def_cfa_offset 56
         .cfi_offset rbx, -24
         .cfi_offset r12, -32
         .cfi_offset r13, -40
         .cfi_offset r14, -48
         .cfi_offset r15, -56
         sub rsp, 8
         .cfi_def_cfa_offset 64"
    };
}

/// Calls `entry(base, code, values)` on the guest's stack; [`status`] says how it ended.
///
/// # Safety
/// As [`crate::context::enter`], and the guest's stack has room for a return address.
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
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "sub rsp, 8",
        "mov [rdi + {host_sp}], rsp",
        "mov rsp, [rdi + {guest_sp}]",
        "and rsp, -16",
        "mov rax, rsi",
        "mov rdi, rdx",
        "mov rsi, rcx",
        "mov rdx, r8",
        "call rax",
        // The thunk preserved all but the stack pointer.
        ".cfi_same_value rbx",
        ".cfi_same_value r12",
        ".cfi_same_value r13",
        ".cfi_same_value r14",
        ".cfi_same_value r15",
        "xor eax, eax",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
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
        "mov rbx, rdi",
        "mov [rbx + {host_sp}], rsp",
        "mov [rbx + {resumable_sp}], rsp",
        // CFA = *(rbx + RESUMABLE_SP) + 64: the frame of this, or of `resume`.
        ".cfi_escape 0x0f, 0x05, 0x73, 0x20, 0x06, 0x23, 0x40",
        "mov rsp, [rbx + {guest_sp}]",
        "and rsp, -16",
        "mov rax, rsi",
        "mov rdi, rdx",
        "mov rsi, rcx",
        "mov rdx, r8",
        "xor ebp, ebp",
        "call rax",
        "xor eax, eax",
        "jmp {exit}",
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
        "mov [rdi + {host_sp}], rsp",
        "mov [rdi + {resumable_sp}], rsp",
        // CFA = *(rdi + RESUMABLE_SP) + 64.
        ".cfi_escape 0x0f, 0x05, 0x75, 0x20, 0x06, 0x23, 0x40",
        "mov rbx, [rdi + {saved}]",
        "mov r12, [rdi + {saved} + 8]",
        "mov r13, [rdi + {saved} + 16]",
        "mov r14, [rdi + {saved} + 24]",
        "mov r15, [rdi + {saved} + 32]",
        "mov rbp, [rdi + {guest_fp}]",
        "mov rsp, [rdi + {guest_sp}]",
        "ret",
        ".cfi_endproc",
        host_sp = const HOST_SP,
        resumable_sp = const RESUMABLE_SP,
        guest_sp = const GUEST_SP,
        guest_fp = const GUEST_FP,
        saved = const SAVED_REGISTERS,
    )
}

/// As [`resume`], for a guest that was interrupted and paused.
///
/// # Safety
/// As [`resume`], with [`status::PAUSED`].
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume_paused(context: *mut Context) -> u32 {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        save!(),
        "mov [rdi + {host_sp}], rsp",
        "mov [rdi + {resumable_sp}], rsp",
        "jmp {pause_end}",
        ".cfi_endproc",
        host_sp = const HOST_SP,
        resumable_sp = const RESUMABLE_SP,
        pause_end = sym pause_end,
    )
}

/// Where pauses end: a fault, since only the kernel can set all registers at once, and it does so after each signal. The
/// handler has it set those of the guest.
#[unsafe(naked)]
unsafe extern "C" fn pause_end() {
    naked_asm!("hlt")
}

/// Whether the fault at `pc` is the end of a pause.
pub(crate) fn is_pause_end(pc: usize) -> bool {
    pc == pause_end as *const () as usize
}

/// Where abandoned guests end, and suspendable ones: returns from the context's innermost [`enter`]. Expects the context in `rbx` and the
/// status in `eax`; no other register and nothing on the guest's stack matters.
#[unsafe(naked)]
unsafe extern "C" fn trap_exit() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        // The frame is that of `enter`: CFA = *(rbx + HOST_SP) + 64.
        ".cfi_escape 0x0f, 0x05, 0x73, 0x00, 0x06, 0x23, 0x40",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        // The guest may have stopped inside a string instruction that goes down.
        "cld",
        "mov rsp, [rbx + {host_sp}]",
        ".cfi_def_cfa rsp, 64",
        "add rsp, 8",
        ".cfi_def_cfa_offset 56",
        "pop r15",
        ".cfi_def_cfa_offset 48",
        "pop r14",
        ".cfi_def_cfa_offset 40",
        "pop r13",
        ".cfi_def_cfa_offset 32",
        "pop r12",
        ".cfi_def_cfa_offset 24",
        "pop rbx",
        ".cfi_def_cfa_offset 16",
        "pop rbp",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        host_sp = const HOST_SP,
    )
}

/// The body of all switches: `$words`, so that `rdi` has the host words; from the guest's stack to the host's, `$call`,
/// `$after`, and back.
///
/// `rax`, `rcx`, `rdx`, `rdi`, `rsi`, `r8` and `r9` may hold parameters or results, so only `r10` and `r11` are ours. Nothing
/// is written to the guest's stack: it may end right below the return address.
macro_rules! switch_to_host {
    ([$($words:literal),*], [$($call:literal),*], [$($after:literal),*], $($operands:tt)*) => {
        std::arch::naked_asm!(
            ".cfi_startproc",
            ".cfi_signal_frame",
            $($words,)*
            "mov r11, [rdi + {context}]",
            "mov r10, [rsp]",
            "mov [r11 + {guest_sp}], rsp",
            "mov [r11 + {guest_fp}], rbp",
            "mov [r11 + {guest_pc}], r10",
            // r10 holds the guest's stack pointer across the switch.
            "mov r10, rsp",
            ".cfi_def_cfa_register r10",
            "mov rsp, [r11 + {host_sp}]",
            // The frame: the guest's return address and frame pointer, its stack pointer, and the context.
            "push qword ptr [r10]",
            "push rbp",
            "push r10",
            "push r11",
            "lea rbp, [rsp + 16]",
            // CFA = *(rbp - 8) + 8; rbp is saved at rbp.
            ".cfi_escape 0x0f, 0x05, 0x76, 0x78, 0x06, 0x23, 0x08",
            ".cfi_escape 0x10, 0x06, 0x02, 0x76, 0x00",
            $($call,)*
            $($after,)*
            "mov r11, [rbp - 16]",
            "cmp dword ptr [r11 + {noted}], 0",
            "jne {end_noted_call}",
            "mov rsp, [rbp - 8]",
            ".cfi_def_cfa rsp, 8",
            "mov rbp, [rbp]",
            ".cfi_same_value rbp",
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
        [],
        ["call qword ptr [rsi + {host_call}]"],
        ["test eax, eax", "jnz {leave_guest}"],
        host_call = const FuncImport::HOST_CALL,
        leave_guest = sym leave_guest,
    )
}

/// The switch for host functions whose values are all in registers ([`crate::host::Callee::in_registers`]): it has the
/// convention of compiled functions, with the address of the cell as the base, so that no thunk is needed.
pub(crate) fn register_switch() -> Option<usize> {
    Some((switch_in_registers as *const ()).expose_provenance())
}

#[unsafe(naked)]
unsafe extern "C" fn switch_in_registers() {
    switch_to_host!(
        // `rax` keeps the cell: no parameter is in it, and the convention of compiled functions does not preserve it.
        ["mov r10, [rdi + {data}]", "mov rax, rdi", "sub rdi, [r10 + {cell}]"],
        ["mov rdi, rax", "mov rax, [rax + {data}]", "call qword ptr [rax + {in_registers}]"],
        // What is returned is the bits of a result of either kind.
        ["test edx, edx", "jnz {leave_guest_with}", "movq xmm0, rax"],
        data = const FuncImport::HOST_DATA,
        cell = const std::mem::offset_of!(crate::host::Callee, cell),
        in_registers = const std::mem::offset_of!(crate::host::Callee, in_registers),
        leave_guest_with = sym leave_guest_with,
    )
}

/// As [`leave_guest`], with the status in `edx`.
#[unsafe(naked)]
unsafe extern "C" fn leave_guest_with() {
    naked_asm!("mov eax, edx", "jmp {leave_guest}", leave_guest = sym leave_guest)
}

/// Ends a host call during which a signal came, from the frame that [`switch_to_host`] made, whose results are in `rax` and
/// `rdx`: the guest is returned to or abandoned.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn end_noted_call() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        // As in the switch: CFA = *(rbp - 8) + 8; rbp is saved at rbp.
        ".cfi_escape 0x0f, 0x05, 0x76, 0x78, 0x06, 0x23, 0x08",
        ".cfi_escape 0x10, 0x06, 0x02, 0x76, 0x00",
        "push rax",
        "push rdx",
        "mov rdi, [rbp - 16]",
        "call {stop_if_asked}",
        "pop rdx",
        "test eax, eax",
        "jnz {leave_guest}",
        "pop rax",
        "movq xmm0, rax",
        "mov rsp, [rbp - 8]",
        ".cfi_def_cfa rsp, 8",
        "mov rbp, [rbp]",
        ".cfi_same_value rbp",
        "ret",
        ".cfi_endproc",
        stop_if_asked = sym crate::interrupt::stop_if_asked,
        leave_guest = sym leave_guest,
    )
}

/// Leaves the guest from the frame that [`switch_to_host`] made, which has the context; a [`host_status`] is in `eax`. All
/// registers that a suspended guest needs are its own again: the host preserved them.
#[unsafe(naked)]
unsafe extern "C" fn leave_guest() {
    naked_asm!(
        "mov r11, [rbp - 16]",
        "cmp eax, {suspend}",
        "mov eax, {abandoned}",
        "jne 2f",
        "mov [r11 + {saved}], rbx",
        "mov [r11 + {saved} + 8], r12",
        "mov [r11 + {saved} + 16], r13",
        "mov [r11 + {saved} + 24], r14",
        "mov [r11 + {saved} + 32], r15",
        "mov eax, {suspended}",
        "2:",
        "mov rbx, r11",
        "jmp {exit}",
        suspend = const host_status::SUSPEND,
        abandoned = const status::ABANDONED,
        suspended = const status::SUSPENDED,
        saved = const SAVED_REGISTERS,
        exit = sym trap_exit,
    )
}

/// Defines the stub of a builtin: `builtin_stub!(stub_name => body)` makes `pub(crate) unsafe extern "C" fn stub_name()`,
/// whose address goes into the table of builtins. `body` is an `extern "C" fn(words: *mut u8, …up to 5…)` that
/// returns `u32`, `u64` or a `#[repr(C)]` pair of `u64`; it runs on the host's stack and must not unwind.
macro_rules! builtin_stub {
    ($(#[$meta:meta])* $name:ident => $body:path) => {
        $(#[$meta])*
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            $crate::sys::arch::switch_to_host!([], ["call {body}"], [], body = sym $body,)
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
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let get = |register: libc::c_int| registers[register as usize] as usize;
    Registers { pc: get(libc::REG_RIP), sp: get(libc::REG_RSP), fp: get(libc::REG_RBP), link: 0 }
}

/// Makes the interrupted code go on by returning `status` from the innermost [`enter`] of `guest`.
///
/// # Safety
/// `context` is the third argument of a signal handler that interrupted guest code entered through `guest`.
pub(crate) unsafe fn redirect_to_exit(context: *mut c_void, guest: *mut Context, status: u32) {
    // SAFETY: the kernel gives handlers a ucontext_t, which nothing else refers to, and restores registers from it.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let mut set = |register: libc::c_int, value: usize| registers[register as usize] = value as i64;
    set(libc::REG_RIP, trap_exit as *const () as usize);
    set(libc::REG_RBX, guest.addr());
    set(libc::REG_RAX, status as usize);
}

/// The instruction of breakpoints: `int3`.
pub(crate) const BREAKPOINT: [u8; 1] = [0xcc];

/// The address of the breakpoint that a SIGTRAP came of, if it came of one.
///
/// # Safety
/// `info` and `context` are those that the kernel gave to the handler.
pub(crate) unsafe fn breakpoint(info: *const libc::siginfo_t, context: *mut c_void) -> Option<usize> {
    /// Of `int3`; single steps have another.
    const SI_KERNEL: libc::c_int = 0x80;
    // SAFETY: the kernel's information is valid while the handler runs.
    unsafe { ((*info).si_code == SI_KERNEL).then(|| registers(context).pc.wrapping_sub(BREAKPOINT.len())) }
}

/// Makes the interrupted code go on at `pc`.
///
/// # Safety
/// `context` is the third argument of a signal handler, and the interrupted registers are those that the code at `pc` is
/// entered with.
pub(crate) unsafe fn go_on_at(context: *mut c_void, pc: usize) {
    // SAFETY: the kernel gives handlers a ucontext_t, which nothing else refers to, and restores registers from it.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] = pc as i64 };
}

/// Stores code at `write`, which is executed at `run`: other threads see it there at some time, this one when it returns
/// from its signal handler.
///
/// # Safety
/// Both addresses are mappings of the same bytes, which are stored to by this only.
pub(crate) unsafe fn replace_code(write: *mut u8, _run: *const u8, code: [u8; 1]) {
    // SAFETY: the caller's promise.
    unsafe { AtomicU8::from_ptr(write) }.store(code[0], Ordering::Release);
}

/// Where a function will return to that has no frame, if so it is at `offset` bytes from its start, where the instruction
/// begins with the byte `next`. `read` reads a word of the guest's stack.
pub(crate) fn return_address_without_frame(
    registers: &Registers,
    offset: u32,
    next: u8,
    read: impl Fn(usize) -> Option<usize>,
) -> Option<usize> {
    const RET: u8 = 0xc3;
    match offset {
        // `push rbp; mov rbp, rsp`
        1 => read(registers.sp + 8),
        0 => read(registers.sp),
        _ if next == RET => read(registers.sp),
        _ => None,
    }
}
