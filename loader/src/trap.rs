//! Traps: why guest code stopped, and where.

use std::fmt;

use precast_abi::trap::TrapCode;

use crate::context::Context;

pub(crate) fn placeholder() {}

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
    /// Why.
    pub fn code(&self) -> TrapCode {
        self.code
    }
    /// Where, innermost first.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.code.message())
    }
}

impl std::error::Error for Trap {}

/// The guest frames below the innermost host call of `context`, innermost first.
///
/// # Safety
/// `context` is valid, and its slots and artifacts are alive.
pub(crate) unsafe fn backtrace(_context: *const Context) -> Vec<Frame> {
    unimplemented!()
}
