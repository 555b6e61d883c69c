//! What a command fails with, and how that is told: one line, then one line for each cause.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::output::{printable, tell};

/// Exit status where the command line makes no sense.
pub(crate) const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line makes no sense, or not for this file: exit status [`USAGE`].
    #[error("{0}")]
    Usage(String),
    /// Something that has no cause to name.
    #[error("{0}")]
    Failed(String),
    /// One hop: what was being done, and why it failed.
    #[error("{context}")]
    Context {
        /// What was being done.
        context: String,
        /// Why it failed.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The input could not be compiled.
    #[error("cannot compile `{file}`")]
    Compile {
        /// The input as the user knows it.
        file: String,
        /// Why.
        source: precast_compiler::Error,
    },
    /// Nobody reads standard output any more, which is not worth a word.
    #[error("standard output is closed")]
    ClosedOutput,
}

impl Error {
    /// `source`, with what was being done when it happened.
    pub(crate) fn context(context: impl Display, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error::Context { context: context.to_string(), source: source.into() }
    }

    /// A file that cannot be read.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Error::context(format_args!("cannot read `{}`", path.display()), source)
    }

    /// A file that cannot be written.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Error::context(format_args!("cannot write `{}`", path.display()), source)
    }

    /// A write to standard output that failed.
    pub(crate) fn stdout(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Error::ClosedOutput,
            _ => Error::context("cannot write to standard output", source),
        }
    }

    /// Tells it on standard error: `precast: error: …`, then `caused by: …` for each hop.
    pub(crate) fn report(&self) {
        // Messages quote names and text of modules, line breaks included.
        let show = |error: &dyn StdError| error.to_string().lines().map(printable).collect::<Vec<_>>().join("\n");
        tell(format_args!("precast: error: {}", show(self)));
        for cause in self.causes() {
            tell(format_args!("  caused by: {}", show(cause)));
        }
    }

    /// Why, why that, and so on.
    pub(crate) fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let mut next = self.source();
        std::iter::from_fn(move || {
            let cause = next?;
            next = cause.source();
            Some(cause)
        })
    }

    /// The exit status, where a command that fails has status `failure`.
    pub(crate) fn status(&self, failure: u8) -> u8 {
        match self {
            Error::Usage(_) => USAGE,
            _ => failure,
        }
    }
}
