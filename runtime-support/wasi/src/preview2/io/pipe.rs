//! Streams in memory: for embedders, and where there is nothing to read.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{InputStream, MOST_BYTES, OutputStream, Ready, StreamError};
use crate::stdio::OutputPipe;

/// A stream that has ended from the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyInput;

impl Ready for EmptyInput {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl InputStream for EmptyInput {
    fn read(&mut self, _: usize) -> Result<Bytes, StreamError> {
        Err(StreamError::Closed)
    }
}

/// A stream of bytes that are all there.
#[derive(Clone, Debug, Default)]
pub struct MemoryInput(Bytes);

impl MemoryInput {
    /// These bytes, then the end.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }
}

impl Ready for MemoryInput {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl InputStream for MemoryInput {
    fn read(&mut self, max: usize) -> Result<Bytes, StreamError> {
        match self.0.len() {
            0 => Err(StreamError::Closed),
            left => Ok(self.0.split_to(max.min(left))),
        }
    }
}

/// A stream into a buffer that the embedder holds too. Closed when that is full.
#[derive(Clone, Debug)]
pub struct MemoryOutput(OutputPipe);

impl MemoryOutput {
    /// What is written is appended to this buffer.
    pub fn new(pipe: OutputPipe) -> Self {
        Self(pipe)
    }
}

impl Ready for MemoryOutput {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl OutputStream for MemoryOutput {
    fn check_write(&mut self) -> Result<usize, StreamError> {
        match self.0.room().min(MOST_BYTES) {
            0 => Err(StreamError::Closed),
            room => Ok(room),
        }
    }

    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let mut left = &bytes[..];
        while !left.is_empty() {
            left = &left[self.0.write(left)?..];
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }
}
