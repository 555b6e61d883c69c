//! Why a compilation failed: bad input, something not there yet, a limit, a bad option, or our own bug.

use std::fmt;

/// Where in the input something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Index of the function in its module's index space, if it is in one.
    pub function: Option<u32>,
    /// Offset in bytes from the start of the WebAssembly binary.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Some(function) => write!(f, "function {function} at offset {:#x}", self.offset),
            None => write!(f, "offset {:#x}", self.offset),
        }
    }
}

/// What [`crate::compile`] fails with.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The text format could not be read; the message has line and column.
    #[error("{0}")]
    Text(String),
    /// Not a valid module.
    #[error("invalid WebAssembly: {message} ({place})")]
    Invalid {
        /// What is wrong.
        message: String,
        /// Where.
        place: Place,
    },
    /// Valid, but not compiled yet.
    #[error("unsupported: {proposal} ({place})")]
    Unsupported {
        /// The proposal's name.
        proposal: &'static str,
        /// The first place that needs it.
        place: Place,
    },
    /// Valid, but larger than we accept.
    #[error("{what} is {found}, the limit is {limit} ({place})")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        limit: u64,
        /// Where.
        place: Place,
    },
    /// A core module or component that a component imports is not linked, or what it is linked with does not fit.
    #[error("{0}")]
    Link(String),
    /// A snapshot of another program: what does not fit.
    #[error("the snapshot is one of another program, or of one compiled in another way: {0} are not this one's")]
    Snapshot(String),
    /// A profile of another program.
    #[error("{0}")]
    Profile(String),
    /// An option that cannot be honoured.
    #[error("{0}")]
    Option(String),
    /// A defect of precast.
    #[error("internal error in {context}: {message}; please report it")]
    Internal {
        /// The function being compiled, or the stage.
        context: String,
        /// What went wrong.
        message: String,
    },
}

impl Error {
    pub(crate) fn invalid(error: &wasmparser::Error, function: Option<u32>) -> Self {
        Error::Invalid {
            message: error.message().to_string(),
            place: Place { function, offset: error.offset() as u64 },
        }
    }

    pub(crate) fn unsupported(proposal: &'static str, function: Option<u32>, offset: usize) -> Self {
        Error::Unsupported { proposal, place: Place { function, offset: offset as u64 } }
    }

    pub(crate) fn internal(context: impl fmt::Display, message: impl fmt::Display) -> Self {
        Error::Internal { context: context.to_string(), message: message.to_string() }
    }
}
