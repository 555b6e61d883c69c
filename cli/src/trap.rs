//! A trap as the person at the prompt reads it.

use std::fmt::{self, Display, Formatter};

use precast_loader::{Frame, Trap};

use crate::output::printable;

/// Shows a trap with its backtrace, innermost function first, names demangled.
pub(crate) struct Backtrace<'a>(pub(crate) &'a Trap);

impl Display for Backtrace<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.code().message())?;
        let width = self.0.frames().len().saturating_sub(1).to_string().len();
        for (index, frame) in self.0.frames().iter().enumerate() {
            write!(f, "\n  {index:>width$}: {}", Named(frame))?;
        }
        Ok(())
    }
}

/// `name (function 3, offset 0x1f)`, as far as it is known.
struct Named<'a>(&'a Frame);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Frame { function_index, function_name, wasm_offset } = self.0;
        match &function_name[..] {
            "" => f.write_str("<unnamed>")?,
            name => f.write_str(&printable(&format!("{:#}", rustc_demangle::demangle(name))))?,
        }
        match (function_index, wasm_offset) {
            (Some(index), Some(offset)) => write!(f, " (function {index}, offset {offset:#x})"),
            (Some(index), None) => write!(f, " (function {index})"),
            (None, Some(offset)) => write!(f, " (offset {offset:#x})"),
            (None, None) => Ok(()),
        }
    }
}
