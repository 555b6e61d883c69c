//! Standard streams: the host's own, or ends in memory.
//!
//! The host's are read and written directly, when the system says that this does not wait. They may be in blocking
//! mode, which is shared with other processes and so stays as it is: a write is no longer than a pipe takes whole.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use rustix::buffer::spare_capacity;

use crate::fs::retry;
use crate::preview2::io::{
    HostFd, Input, InputStream, MemoryOutput, Output, OutputStream, Ready, StreamError, unless_blocked,
};
use crate::stdio::{Stdin, Stdout};

/// Most bytes of a read.
const MOST_READ: usize = 64 << 10;

/// Most bytes of a write: a pipe that is ready takes that many without waiting (`PIPE_BUF`).
const MOST_PIPED: usize = 4096;

/// Most bytes of a write to a file, which never waits for another process.
const MOST_FILED: usize = 64 << 10;

/// Standard input. `memory` is what is left of one in memory.
pub(super) fn input(source: &Stdin, memory: &mut Option<Arc<Mutex<Bytes>>>) -> Input {
    match source {
        Stdin::Inherit => Input::new(HostInput { fd: HostFd::new(std::io::stdin()), ended: false }),
        Stdin::Bytes(bytes) => {
            let left = memory.get_or_insert_with(|| Arc::new(Mutex::new(Bytes::copy_from_slice(bytes))));
            Input::new(SharedInput(Arc::clone(left)))
        }
    }
}

/// Standard output or error; `inherited` is the host's.
pub(super) fn output<F: AsFd + AsRawFd + Send + Sync + 'static>(sink: &Stdout, inherited: fn() -> F) -> Output {
    match sink {
        Stdout::Inherit => Output::new(HostOutput::new(inherited())),
        Stdout::Pipe(pipe) => Output::new(MemoryOutput::new(pipe.clone())),
    }
}

/// Standard input in memory: who reads it first gets it, however many streams there are.
struct SharedInput(Arc<Mutex<Bytes>>);

impl Ready for SharedInput {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl InputStream for SharedInput {
    fn read(&mut self, max: usize) -> Result<Bytes, StreamError> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left.len() {
            0 => Err(StreamError::Closed),
            length => Ok(left.split_to(max.min(length))),
        }
    }
}

struct HostInput<F: AsFd + AsRawFd> {
    fd: HostFd<F>,
    ended: bool,
}

impl<F: AsFd + AsRawFd + Send + Sync + 'static> Ready for HostInput<F> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended { Poll::Ready(()) } else { self.fd.poll_readable(cx) }
    }
}

impl<F: AsFd + AsRawFd + Send + Sync + 'static> InputStream for HostInput<F> {
    fn read(&mut self, max: usize) -> Result<Bytes, StreamError> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        if max == 0 || !self.fd.is_readable() {
            return Ok(Bytes::new());
        }
        let mut bytes = Vec::with_capacity(max.min(MOST_READ));
        let read = retry(|| Ok(rustix::io::read(self.fd.get(), spare_capacity(&mut bytes))?));
        match unless_blocked(read) {
            Ok(None) => Ok(Bytes::new()),
            Ok(Some(0)) => {
                self.ended = true;
                Err(StreamError::Closed)
            }
            Ok(Some(_)) => Ok(bytes.into()),
            Err(error) => {
                self.ended = true;
                Err(StreamError::failed(error))
            }
        }
    }
}

struct HostOutput<F: AsFd + AsRawFd> {
    fd: HostFd<F>,
    /// What the host's stream would not take: others write to it too, and may have made it non-blocking.
    pending: Bytes,
    /// Most bytes of a write; known once the first is asked for.
    most: Option<usize>,
    closed: bool,
}

impl<F: AsFd + AsRawFd> HostOutput<F> {
    fn new(fd: F) -> Self {
        Self { fd: HostFd::new(fd), pending: Bytes::new(), most: None, closed: false }
    }

    /// Writes what is pending, as far as the stream takes it.
    fn push(&mut self) -> Result<(), StreamError> {
        while !self.pending.is_empty() {
            match unless_blocked(retry(|| Ok(rustix::io::write(self.fd.get(), &self.pending)?))) {
                Ok(Some(count)) => self.pending.advance(count),
                Ok(None) => break,
                Err(error) => {
                    self.closed = true;
                    self.pending.clear();
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn most(&mut self) -> usize {
        *self.most.get_or_insert_with(|| match rustix::fs::fstat(self.fd.get()) {
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() => MOST_FILED,
            _ => MOST_PIPED,
        })
    }
}

impl<F: AsFd + AsRawFd + Send + Sync + 'static> Ready for HostOutput<F> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.closed { Poll::Ready(()) } else { self.fd.poll_writable(cx) }
    }
}

impl<F: AsFd + AsRawFd + Send + Sync + 'static> OutputStream for HostOutput<F> {
    fn check_write(&mut self) -> Result<usize, StreamError> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        self.push()?;
        match self.most() {
            MOST_FILED => Ok(MOST_FILED),
            most if self.pending.is_empty() && self.fd.is_writable() => Ok(most),
            _ => Ok(0),
        }
    }

    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        self.pending = bytes;
        self.push()
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        self.push()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn input_comes_when_it_is_there() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut input = HostInput { fd: HostFd::new(reader), ended: false };
        assert_eq!(input.read(10).unwrap(), "");
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            writer.write_all(b"late").unwrap();
        });
        poll_fn(|cx| input.poll_ready(cx)).await;
        assert_eq!(input.read(3).unwrap(), "lat");
        assert_eq!(input.read(3).unwrap(), "e");
        late.join().unwrap();
        poll_fn(|cx| input.poll_ready(cx)).await;
        assert!(matches!(input.read(3), Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn output_waits_for_a_full_pipe() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut output = Output::new(HostOutput::new(writer));
        let mut sent = 0;
        loop {
            match output.check_write().unwrap() {
                0 => break,
                permit => output.write(Bytes::from(vec![b'x'; permit as usize])).unwrap(),
            }
            sent += MOST_PIPED;
        }
        assert!(sent >= MOST_PIPED);
        let drain = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        poll_fn(|cx| output.poll_ready(cx)).await;
        assert_eq!(output.check_write().unwrap(), MOST_PIPED as u64);
        output.write(Bytes::from_static(b"end")).unwrap();
        output.flush().unwrap();
        drop(output);
        let all = drain.join().unwrap();
        assert!(all.len() == sent + 3 && all.ends_with(b"xend"));
    }

    #[test]
    fn nobody_reads_any_more() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut output = Output::new(HostOutput::new(writer));
        assert_eq!(output.check_write().unwrap(), MOST_PIPED as u64);
        assert!(matches!(output.write(Bytes::from_static(b"x")), Err(StreamError::Closed)));
        assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    }
}
