//! Streams of a file, from an offset or at its end. Each has a position of its own.

use std::io as std_io;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::io::Errno;

use super::Counted;
use crate::fs::{File, os_error};
use crate::preview2::io::{HostFd, InputStream, OutputStream, Ready, StreamError, unless_blocked};

/// Most bytes of a read or write.
const MOST: usize = 256 << 10;

/// A file's stream failed with this.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failure(pub(super) Errno);

impl From<std_io::Error> for Failure {
    fn from(error: std_io::Error) -> Self {
        Self(os_error(&error))
    }
}

/// Reads a file. One that is a pipe or a terminal has no offsets: it is read as it comes.
pub(super) struct FileInput {
    pub(super) file: HostFd<Counted<File>>,
    pub(super) offset: u64,
    /// There was nothing to read, and not the end either.
    pub(super) blocked: bool,
}

/// Reads at an offset, or what comes next where there are no offsets. `None` if it would have had to wait.
pub(super) fn read_at(file: &File, into: &mut [u8], offset: u64) -> std_io::Result<Option<usize>> {
    unless_blocked(match file.read_at(into, offset) {
        Err(error) if os_error(&error) == Errno::SPIPE => file.read(into),
        read => read,
    })
}

/// Writes at an offset, or what comes next where there are no offsets. `None` if it would have had to wait.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> std_io::Result<Option<usize>> {
    unless_blocked(match file.write_at(bytes, offset) {
        Err(error) if os_error(&error) == Errno::SPIPE => file.write(bytes),
        written => written,
    })
}

impl Ready for FileInput {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.blocked { self.file.poll_readable(cx) } else { Poll::Ready(()) }
    }
}

impl InputStream for FileInput {
    fn read(&mut self, max: usize) -> Result<Bytes, StreamError> {
        let mut bytes = vec![0; max.min(MOST)];
        let read = read_at(self.file.get(), &mut bytes, self.offset);
        let count = read.map_err(|error| StreamError::failed(Failure::from(error)))?;
        self.blocked = count.is_none();
        match count {
            None => Ok(Bytes::new()),
            Some(0) if max > 0 => Err(StreamError::Closed),
            Some(count) => {
                self.offset += count as u64;
                bytes.truncate(count);
                Ok(bytes.into())
            }
        }
    }
}

/// Where a file is written.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Offset(u64),
    End,
}

/// Writes a file.
pub(super) struct FileOutput {
    pub(super) file: HostFd<Counted<File>>,
    pub(super) place: Place,
    /// What a pipe would not take.
    pub(super) pending: Bytes,
    pub(super) closed: bool,
}

impl FileOutput {
    /// Writes what is pending, as far as the file takes it.
    fn push(&mut self) -> Result<(), StreamError> {
        while !self.pending.is_empty() {
            let written = match self.place {
                Place::Offset(offset) => write_at(self.file.get(), &self.pending, offset),
                Place::End => unless_blocked(self.file.get().append(&self.pending)),
            };
            match written {
                Ok(None) => break,
                Ok(Some(count)) => {
                    let _ = self.pending.split_to(count);
                    if let Place::Offset(offset) = &mut self.place {
                        *offset += count as u64;
                    }
                }
                Err(error) => {
                    self.closed = true;
                    self.pending = Bytes::new();
                    return Err(StreamError::failed(Failure::from(error)));
                }
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<(), StreamError> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }
}

impl Ready for FileOutput {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pending.is_empty() { Poll::Ready(()) } else { self.file.poll_writable(cx) }
    }
}

impl OutputStream for FileOutput {
    fn check_write(&mut self) -> Result<usize, StreamError> {
        self.open()?;
        self.push()?;
        Ok(if self.pending.is_empty() { MOST } else { 0 })
    }

    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.open()?;
        self.pending = bytes;
        self.push()
    }

    /// The file has what was written already; that it is on the medium is what `sync` is for.
    fn flush(&mut self) -> Result<(), StreamError> {
        self.open()?;
        self.push()
    }
}
