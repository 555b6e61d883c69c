//! The resource `wasi:io/error.error`: a failure that a guest can print, or ask another interface about.

use std::fmt;

use precast_loader::HostError;

/// Why a stream failed. The interfaces that make streams look inside, to give guests an error code.
pub struct Error(HostError);

impl Error {
    /// An error with this cause.
    pub fn new(cause: impl Into<HostError>) -> Self {
        Self(cause.into())
    }

    /// The cause, if it is of this type.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// What guests print: the cause, and the causes of that.
    pub fn to_debug_string(&self) -> String {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(next) = cause {
            text.push_str(": ");
            text.push_str(&next.to_string());
            cause = next.source();
        }
        text
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
