//! `wasi:io`: streams, what can be waited for, and errors.
//!
//! What comes in: anything that gives or takes bytes (a file, a socket, a pipe in memory, the body of a request), as
//! an [`InputStream`] or [`OutputStream`]. What goes out: resources that guests read, write and wait for.
//!
//! Nothing here blocks a thread. An operation does what can be done at once; waiting is [`Ready::poll_ready`], which
//! registers the waker of the task that the guest runs in. It is a poll function, not a future, because a guest waits
//! for many things that lie in one table: each is borrowed for one poll only, and nothing is allocated to wait.

mod error;
mod fd;
mod host;
mod pipe;
mod pollable;

use std::task::{Context, Poll};

use bytes::Bytes;
use precast_loader::HostError;

pub use error::Error;
pub(crate) use fd::{HostFd, unless_blocked};
pub use host::TooMuch;
pub use pipe::{EmptyInput, MemoryInput, MemoryOutput};
pub use pollable::{Pollable, PollsNothing};

/// Most bytes that one read gives or one write takes, whatever the guest asks for.
pub const MOST_BYTES: usize = 1 << 20;

/// Something a guest can wait for.
pub trait Ready: Send + 'static {
    /// Whether waiting is over: there is something to read, room to write, an error to learn of, or an end.
    ///
    /// If not, the task of `cx` is woken when that may have changed. Only the last task that asked need be woken.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Bytes to read, as they come.
///
/// Ready when a read gives at least a byte, an error or the end.
pub trait InputStream: Ready {
    /// Takes up to `max` bytes that are there without waiting; none if there are none yet.
    ///
    /// # Errors
    /// [`StreamError::Closed`] after the last byte, and ever after.
    fn read(&mut self, max: usize) -> Result<Bytes, StreamError>;

    /// Takes up to `max` bytes and forgets them; how many.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn skip(&mut self, max: usize) -> Result<usize, StreamError> {
        Ok(self.read(max)?.len())
    }
}

/// Bytes to write, as fast as they are taken.
///
/// Ready when [`check_write`](Self::check_write) gives more than zero, or an error.
pub trait OutputStream: Ready {
    /// How many bytes the next write may have; zero while the stream is full or in the middle of a flush.
    ///
    /// # Errors
    /// [`StreamError::Closed`] if nothing can be written any more; an error of an earlier write.
    fn check_write(&mut self) -> Result<usize, StreamError>;

    /// Takes all of `bytes`, no more than [`check_write`](Self::check_write) has allowed.
    ///
    /// # Errors
    /// The stream is closed, or failed.
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError>;

    /// Begins to pass on what has been written. Until that is done, nothing more is taken.
    ///
    /// # Errors
    /// The stream is closed, or failed.
    fn flush(&mut self) -> Result<(), StreamError>;

    /// Writes zeroes, no more than [`check_write`](Self::check_write) has allowed.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_zeroes(&mut self, count: usize) -> Result<(), StreamError> {
        self.write(zeroes(count))
    }
}

/// Why a stream gives or takes no more.
#[derive(Debug)]
pub enum StreamError {
    /// It has ended.
    Closed,
    /// The last operation failed; the stream is closed after that.
    Failed(Error),
    /// The guest broke the rules of the interface, and is stopped.
    Trap(HostError),
}

impl StreamError {
    /// A failure with its cause.
    pub fn failed(cause: impl Into<HostError>) -> Self {
        Self::Failed(Error::new(cause))
    }
}

impl From<std::io::Error> for StreamError {
    /// A peer that has gone away closes the stream; anything else is a failure.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::failed(error),
        }
    }
}

/// The resource `wasi:io/streams.input-stream`.
pub struct Input(Box<dyn InputStream>);

impl Input {
    /// A stream for guests to read.
    pub fn new(stream: impl InputStream) -> Self {
        Self(Box::new(stream))
    }

    /// Takes up to `len` bytes that are there.
    ///
    /// # Errors
    /// As [`InputStream::read`].
    pub fn read(&mut self, len: u64) -> Result<Bytes, StreamError> {
        let max = at_most(len);
        let bytes = self.0.read(max)?;
        debug_assert!(bytes.len() <= max, "a stream gave more than it was asked for");
        Ok(bytes)
    }

    /// Takes up to `len` bytes that are there, and forgets them.
    ///
    /// # Errors
    /// As [`InputStream::skip`].
    pub fn skip(&mut self, len: u64) -> Result<u64, StreamError> {
        Ok(self.0.skip(at_most(len))? as u64)
    }
}

impl Ready for Input {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }
}

/// The resource `wasi:io/streams.output-stream`: a stream, and how much of the last permit to write is left.
pub struct Output {
    stream: Box<dyn OutputStream>,
    permit: u64,
}

impl Output {
    /// A stream for guests to write.
    pub fn new(stream: impl OutputStream) -> Self {
        Self { stream: Box::new(stream), permit: 0 }
    }

    /// How many bytes may be written now.
    ///
    /// # Errors
    /// As [`OutputStream::check_write`].
    pub fn check_write(&mut self) -> Result<u64, StreamError> {
        self.permit = 0;
        self.permit = self.stream.check_write()? as u64;
        Ok(self.permit)
    }

    /// Writes what [`check_write`](Self::check_write) has permitted.
    ///
    /// # Errors
    /// As [`OutputStream::write`]; a trap if that is more than was permitted.
    pub fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.spend(bytes.len() as u64)?;
        self.stream.write(bytes)
    }

    /// Writes zeroes, as many as [`check_write`](Self::check_write) has permitted.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_zeroes(&mut self, count: u64) -> Result<(), StreamError> {
        self.spend(count)?;
        self.stream.write_zeroes(at_most(count))
    }

    /// Begins to pass on what has been written.
    ///
    /// # Errors
    /// As [`OutputStream::flush`].
    pub fn flush(&mut self) -> Result<(), StreamError> {
        self.permit = 0;
        self.stream.flush()
    }

    fn spend(&mut self, count: u64) -> Result<(), StreamError> {
        match self.permit.checked_sub(count) {
            Some(left) => self.permit = left,
            None => {
                let permit = self.permit;
                return Err(StreamError::Trap(Overdrawn { count, permit }.into()));
            }
        }
        Ok(())
    }
}

impl Ready for Output {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_ready(cx)
    }
}

/// A guest wrote more than the stream had permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest writes {count} bytes to a stream that permits {permit}: it must call check-write first")]
pub struct Overdrawn {
    /// What it wrote.
    pub count: u64,
    /// What was left of the permit.
    pub permit: u64,
}

/// A count of bytes as the host deals with it.
fn at_most(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(MOST_BYTES)
}

/// So many zeroes, at most [`MOST_BYTES`]; short ones take no memory.
pub(crate) fn zeroes(count: usize) -> Bytes {
    static SHORT: [u8; 4096] = [0; 4096];
    match SHORT.get(..count) {
        Some(short) => Bytes::from_static(short),
        None => Bytes::from(vec![0; count.min(MOST_BYTES)]),
    }
}

#[cfg(test)]
mod tests;
