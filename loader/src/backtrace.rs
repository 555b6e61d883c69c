//! Backtraces: from a guest's stack to the functions that were running.
//!
//! What comes in: the registers at a fault, or the border at a host call, and the guest's stack as it was left. What
//! goes out: a [`Backtrace`], made in two steps. Walking, while the stack is there, only notes which text addresses
//! are on it: frame pointers lead from frame to frame. Explaining them, by the artifacts' tables, waits until somebody
//! asks ([`Backtrace::frames`]), since a host that meets traps all the time rarely looks at each; until then the
//! backtrace keeps the tables mapped.
//!
//! # Safety
//! Only words inside the guest's stack are read, which is mapped as long as its slot lives. What they hold is not
//! believed: a walk ends at the first frame pointer that does not go up, or return address that is not guest text.

use std::ops::Range;
use std::sync::Arc;

use precast_abi::meta::FunctionKind;
use precast_abi::sites::{self, CALL};

use crate::code;
use crate::context::{self, Activation, Context};
use crate::mapping::Code;
use crate::sys::{Registers, arch};
use crate::trap::Frame;

/// Addresses that a backtrace has at most; at a stack overflow there are tens of thousands.
const MAX_ADDRESSES: usize = 64;

/// The text addresses on a guest's stack, innermost first.
#[derive(Clone, Default)]
pub(crate) struct Backtrace {
    /// The code that the addresses are of: nearly always one artifact's.
    codes: Vec<Arc<Code>>,
    addresses: Vec<Address>,
}

/// A text address on the stack.
#[derive(Clone, Copy)]
struct Address {
    /// Index in [`Backtrace::codes`].
    code: u32,
    /// Text offset of the instruction that did not complete, or of the last byte of the call that has not returned. (A
    /// call may be a function's last instruction, and the return address the next function's first.)
    text: u32,
    kind: Kind,
}

/// What a text address is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fault,
    Return,
}

impl Backtrace {
    /// Of the guest below the innermost host call of `context`.
    ///
    /// # Safety
    /// `context` is valid, and the slots and artifacts of its store are alive.
    pub(crate) unsafe fn of_host_call(context: *const Context) -> Backtrace {
        // SAFETY: the caller's promise.
        unsafe {
            let mut walk = Walk::new((*context).stack.clone());
            walk.host_call((*context).border.guest_pc, (*context).border.guest_fp);
            walk.outer_activations(context::current(), context);
            walk.found
        }
    }

    /// Of an activation that trapped with `registers`, and of those around it.
    ///
    /// # Safety
    /// The activation's context is valid, and the slots and artifacts of its store are alive.
    pub(crate) unsafe fn of_fault(activation: &Activation, registers: &Registers) -> Backtrace {
        // SAFETY: the caller's promise.
        unsafe {
            let mut walk = Walk::new((*activation.context).stack.clone());
            walk.fault(registers);
            walk.outer_activations(activation, activation.context);
            walk.found
        }
    }

    /// Whether the walk ended because it had enough.
    pub(crate) fn is_cut(&self) -> bool {
        self.addresses.len() == MAX_ADDRESSES
    }

    /// The functions. Thunks and stubs are not shown.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.addresses.iter().filter_map(|address| address.frame(self.codes.get(address.code as usize)?)).collect()
    }

    /// Adds a text address; `false` if it is none.
    fn push(&mut self, pc: usize, kind: Kind) -> bool {
        let inside = pc.wrapping_sub(usize::from(kind == Kind::Return));
        let known = self.codes.iter().rposition(|code| code.text_offset(inside).is_some());
        let index = known.unwrap_or(self.codes.len());
        if known.is_none() {
            self.codes.extend(code::find_shared(inside));
        }
        let Some(text) = self.codes.get(index).and_then(|code| code.text_offset(inside)) else { return false };
        if !self.is_cut() {
            self.addresses.push(Address { code: index as u32, text, kind });
        }
        true
    }
}

impl Address {
    fn frame(self, code: &Code) -> Option<Frame> {
        let function = code.meta().function_at(self.text)?;
        if FunctionKind::from_raw(function.kind) != Some(FunctionKind::Wasm) {
            return None;
        }
        let is_call = self.kind == Kind::Return;
        let offset = self.text - function.start + u32::from(is_call);
        let sites = code.meta().bytes(function.sites).unwrap_or_default();
        let site = sites::decode(sites).find(|site| site.text_offset == offset && (site.code == CALL) == is_call);
        Some(Frame {
            function_index: Some(function.index),
            function_name: code.meta().str(function.name).unwrap_or_default().into(),
            wasm_offset: site.map(|site| site.wasm_offset).filter(|offset| *offset != u32::MAX),
        })
    }
}

struct Walk {
    stack: Range<usize>,
    found: Backtrace,
}

impl Walk {
    fn new(stack: Range<usize>) -> Self {
        Walk { stack, found: Backtrace::default() }
    }

    /// # Safety
    /// The stack is mapped.
    unsafe fn fault(&mut self, registers: &Registers) {
        self.found.push(registers.pc, Kind::Fault);
        // A function that is about to make its frame, or has just left it, leaves its caller's in the frame pointer.
        let place = || {
            let code = code::find(registers.pc)?;
            Some((code.function_at(registers.pc)?.1, code.byte_at(registers.pc)?))
        };
        if let Some((offset, next)) = place()
            // SAFETY: the caller's promise.
            && let Some(pc) = arch::return_address_without_frame(registers, offset, next, |at| unsafe { self.word(at) })
        {
            self.found.push(pc, Kind::Return);
        }
        // SAFETY: the caller's promise.
        unsafe { self.follow(registers.fp) };
    }

    /// # Safety
    /// The stack is mapped.
    unsafe fn host_call(&mut self, pc: usize, fp: usize) {
        if pc != 0 && self.found.push(pc, Kind::Return) {
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
        while !self.found.is_cut() {
            // SAFETY: the caller's promise.
            let (Some(next), Some(pc)) = (unsafe { (self.word(fp), self.word(fp.wrapping_add(8))) }) else { return };
            if !self.found.push(pc, Kind::Return) || next <= fp {
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
}
