//! Traps: why guest code stopped, and where.
//!
//! What comes in: a code and a [`Backtrace`]. What goes out: [`Trap`], which explains the backtrace when it is asked.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use precast_abi::trap::TrapCode;

use crate::backtrace::Backtrace;

/// Why guest code stopped, and where.
#[derive(Clone)]
pub struct Trap {
    /// Boxed, so that results of calls are small.
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    code: TrapCode,
    /// See [`TrapCode`].
    detail: Option<u32>,
    backtrace: Backtrace,
    /// The backtrace explained, once somebody has asked.
    frames: OnceLock<Vec<Frame>>,
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
    pub(crate) fn new(code: TrapCode, backtrace: Backtrace) -> Self {
        Trap { inner: Box::new(Inner { code, detail: None, backtrace, frames: OnceLock::new() }) }
    }

    /// The same with a number for its message.
    pub(crate) fn with_detail(mut self, detail: Option<u32>) -> Self {
        self.inner.detail = detail;
        self
    }

    /// Why the guest stopped.
    pub fn code(&self) -> TrapCode {
        self.inner.code
    }

    /// Whether it is about a handle, whose number compiled code left in `HostWords::DETAIL`, and which is not known.
    pub(crate) fn wants_detail(&self) -> bool {
        matches!(self.code(), TrapCode::UnknownHandle | TrapCode::WrongHandleType | TrapCode::NotOwned)
            && self.inner.detail.is_none()
    }

    /// The specification's message, with the handle that the trap is about.
    pub fn message(&self) -> Cow<'static, str> {
        message(self.code(), self.inner.detail)
    }

    /// Where the guest stopped: the functions that were running, innermost first, at most 64 of them.
    ///
    /// They are looked up when this is called first. Until it is dropped, a trap keeps the artifacts mapped that it
    /// happened in.
    pub fn frames(&self) -> &[Frame] {
        self.inner.frames.get_or_init(|| self.inner.backtrace.frames())
    }
}

/// The message of a code with its detail.
pub(crate) fn message(code: TrapCode, detail: Option<u32>) -> Cow<'static, str> {
    match (code, detail) {
        (TrapCode::UnknownHandle, Some(handle)) => format!("unknown handle index {handle}").into(),
        (TrapCode::WrongHandleType, Some(handle)) => {
            let message = code.message();
            format!("handle index {handle}{}", message.strip_prefix("handle").unwrap_or(message)).into()
        }
        (TrapCode::NotOwned, Some(handle)) => format!("{}: handle index {handle}", code.message()).into(),
        _ => code.message().into(),
    }
}

impl PartialEq for Trap {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code() && self.frames() == other.frames()
    }
}
impl Eq for Trap {}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trap").field("code", &self.code()).field("frames", &self.frames()).finish()
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.message())?;
        for (number, frame) in self.frames().iter().enumerate() {
            write!(f, "\n{number:5}: {frame}")?;
        }
        if self.inner.backtrace.is_cut() {
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
