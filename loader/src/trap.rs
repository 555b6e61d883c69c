//! Traps: why guest code stopped, and where.
//!
//! What comes in: the registers at a fault, or the border at a host call, and the guest's stack as it was left. What
//! goes out: [`Trap`] with a symbolised backtrace. Frame pointers lead from frame to frame; return addresses are
//! looked up in the text registry and in the artifact's sites.
//!
//! # Safety
//! Only words inside the guest's stack are read, which is mapped as long as its slot lives. What they hold is not
//! believed: a walk ends at the first frame pointer that does not go up, or return address that is not guest text.

use std::fmt;
use std::ops::Range;

use precast_abi::meta::FunctionKind;
use precast_abi::sites::{self, CALL};
use precast_abi::trap::TrapCode;

use crate::code;
use crate::context::{self, Activation, Context};
use crate::sys::{Registers, arch};

/// Frames of a backtrace; a stack overflow has tens of thousands.
const MAX_FRAMES: usize = 64;

/// Why guest code stopped, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    code: TrapCode,
    frames: Vec<Frame>,
}

/// A function of the guest that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its index in the module.
    pub function_index: Option<u32>,
    /// Its name, empty if it has none.
    pub function_name: String,
    /// Offset in bytes from the start of the module of the instruction that was executing.
    pub wasm_offset: Option<u32>,
}

impl Trap {
    /// A trap with the backtrace `frames`, innermost first.
    pub(crate) fn new(code: TrapCode, frames: Vec<Frame>) -> Self {
        Trap { code, frames }
    }

    /// Why the guest stopped.
    pub fn code(&self) -> TrapCode {
        self.code
    }

    /// Where the guest stopped: the functions that were running, innermost first, at most 64 of them.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.code.message())?;
        for (number, frame) in self.frames.iter().enumerate() {
            write!(f, "\n{number:5}: {frame}")?;
        }
        if self.frames.len() == MAX_FRAMES {
            write!(f, "\n       …")?;
        }
        Ok(())
    }
}

impl std::error::Error for Trap {}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.function_name.is_empty() { "<unnamed>" } else { &self.function_name })?;
        match (self.function_index, self.wasm_offset) {
            (Some(index), Some(offset)) => write!(f, " (function {index} at {offset:#x})"),
            (Some(index), None) => write!(f, " (function {index})"),
            (None, Some(offset)) => write!(f, " (at {offset:#x})"),
            (None, None) => Ok(()),
        }
    }
}

/// The guest frames below the innermost host call of `context`, innermost first.
///
/// # Safety
/// `context` is valid, and the slots and artifacts of its store are alive.
pub(crate) unsafe fn backtrace(context: *const Context) -> Vec<Frame> {
    // SAFETY: the caller's promise.
    unsafe {
        let mut walk = Walk::new((*context).stack.clone());
        walk.host_call((*context).border.guest_pc, (*context).border.guest_fp);
        walk.outer_activations(context::current(), context);
        walk.frames
    }
}

/// The guest frames of an activation that trapped with `registers`, and of those around it, innermost first.
///
/// # Safety
/// The activation's context is valid, and the slots and artifacts of its store are alive.
pub(crate) unsafe fn backtrace_of_fault(activation: &Activation, registers: &Registers) -> Vec<Frame> {
    // SAFETY: the caller's promise.
    unsafe {
        let mut walk = Walk::new((*activation.context).stack.clone());
        walk.fault(registers);
        walk.outer_activations(activation, activation.context);
        walk.frames
    }
}

/// What a text address in a frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Address {
    /// Of the instruction that did not complete.
    Fault,
    /// Just after the call that has not returned.
    Return,
}

struct Walk {
    stack: Range<usize>,
    frames: Vec<Frame>,
}

impl Walk {
    fn new(stack: Range<usize>) -> Self {
        Walk { stack, frames: Vec::new() }
    }

    /// # Safety
    /// The stack is mapped.
    unsafe fn fault(&mut self, registers: &Registers) {
        self.push(registers.pc, Address::Fault);
        let at_start =
            code::find(registers.pc).and_then(|code| code.function_at(registers.pc)).is_some_and(|at| at.1 == 0);
        if at_start {
            // The function has not pushed the frame pointer yet, so that is its caller's.
            // SAFETY: the caller's promise.
            let read = |address| unsafe { self.word(address) };
            if let Some(pc) = arch::return_address_at_start(registers, read) {
                self.push(pc, Address::Return);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.follow(registers.fp) };
    }

    /// # Safety
    /// The stack is mapped.
    unsafe fn host_call(&mut self, pc: usize, fp: usize) {
        if pc != 0 && self.push(pc, Address::Return) {
            // SAFETY: the caller's promise.
            unsafe { self.follow(fp) };
        }
    }

    /// The frames around the entries under way of `context`, from `activation` outwards.
    ///
    /// # Safety
    /// The activations are under way on this thread (the innermost may have ended just now) and the stack is mapped.
    unsafe fn outer_activations(&mut self, mut activation: *const Activation, context: *const Context) {
        // SAFETY: the caller's promise.
        while let Some(entry) = unsafe { activation.as_ref() } {
            if std::ptr::eq(entry.context, context) {
                // SAFETY: the caller's promise.
                unsafe { self.host_call(entry.outer.guest_pc, entry.outer.guest_fp) };
            }
            activation = entry.previous;
        }
    }

    /// Follows frame pointers up the stack. A frame begins with its caller's frame pointer and the return address, on
    /// every instruction set of ours.
    ///
    /// # Safety
    /// The stack is mapped.
    unsafe fn follow(&mut self, mut fp: usize) {
        while self.frames.len() < MAX_FRAMES {
            // SAFETY: the caller's promise.
            let (Some(next), Some(pc)) = (unsafe { (self.word(fp), self.word(fp.wrapping_add(8))) }) else { return };
            if !self.push(pc, Address::Return) || next <= fp {
                return;
            }
            fp = next;
        }
    }

    /// The word at `address`, if it is one of the stack.
    ///
    /// # Safety
    /// The stack is mapped.
    unsafe fn word(&self, address: usize) -> Option<usize> {
        let inside =
            address >= self.stack.start && address.checked_add(8)? <= self.stack.end && address.is_multiple_of(8);
        // SAFETY: the word lies inside the stack, which is mapped and which no reference covers.
        inside.then(|| unsafe { std::ptr::with_exposed_provenance::<usize>(address).read_volatile() })
    }

    /// Adds the frame at `pc`; `false` if that is not guest text. Thunks and stubs are not shown.
    fn push(&mut self, pc: usize, address: Address) -> bool {
        // A call may be a function's last instruction, and the return address the next function's first.
        let inside = pc.wrapping_sub(usize::from(address == Address::Return));
        let Some(code) = code::find(inside) else { return false };
        let Some((function, offset)) = code.function_at(inside) else { return false };
        if FunctionKind::from_raw(function.kind) != Some(FunctionKind::Wasm) || self.frames.len() == MAX_FRAMES {
            return true;
        }
        let offset = offset + u32::from(address == Address::Return);
        let sites = code.meta().bytes(function.sites).unwrap_or_default();
        let site = sites::decode(sites)
            .find(|site| site.text_offset == offset && (site.code == CALL) == (address == Address::Return));
        self.frames.push(Frame {
            function_index: Some(function.index),
            function_name: code.meta().str(function.name).unwrap_or_default().into(),
            wasm_offset: site.map(|site| site.wasm_offset).filter(|offset| *offset != u32::MAX),
        });
        true
    }
}
