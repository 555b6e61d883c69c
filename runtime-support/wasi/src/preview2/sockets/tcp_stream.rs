//! The two streams of a TCP connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags};
use tokio::task::JoinHandle;

use super::{Shared, SharedSocket};
use crate::fs::retry;
use crate::preview2::io::{InputStream, OutputStream, Ready, StreamError, unless_blocked};

/// Most bytes of a read or write.
const MOST: usize = 64 << 10;

/// A connection failed with this.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Failure(#[from] pub(super) io::Error);

/// Which directions of a connection the guest has shut down.
#[derive(Debug, Default)]
pub(super) struct Shut {
    pub(super) receive: AtomicBool,
    pub(super) send: AtomicBool,
}

/// What the peer sends.
pub(super) struct TcpInput {
    socket: SharedSocket,
    shut: Arc<Shut>,
    closed: bool,
}

impl TcpInput {
    pub(super) fn new(socket: SharedSocket, shut: Arc<Shut>) -> Self {
        Self { socket, shut, closed: false }
    }

    fn is_closed(&self) -> bool {
        self.closed || self.shut.receive.load(Ordering::Relaxed)
    }
}

impl Ready for TcpInput {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_closed() { Poll::Ready(()) } else { self.socket.poll_readable(cx) }
    }
}

impl InputStream for TcpInput {
    fn read(&mut self, max: usize) -> Result<Bytes, StreamError> {
        if self.is_closed() {
            return Err(StreamError::Closed);
        }
        if max == 0 {
            return Ok(Bytes::new());
        }
        let mut bytes = Vec::with_capacity(max.min(MOST));
        let received =
            retry(|| Ok(rustix::net::recv(self.socket.get(), spare_capacity(&mut bytes), RecvFlags::empty())?.1));
        match unless_blocked(received) {
            Ok(None) => Ok(Bytes::new()),
            Ok(Some(0)) => {
                self.closed = true;
                Err(StreamError::Closed)
            }
            Ok(Some(_)) => Ok(bytes.into()),
            Err(error) => {
                self.closed = true;
                Err(StreamError::failed(Failure(error)))
            }
        }
    }
}

/// What the guest sends.
///
/// The system rarely takes less than it was ready for; then a task sends the rest, so that it arrives though the guest
/// waits for the peer's answer and not for this stream.
pub(super) struct TcpOutput {
    socket: SharedSocket,
    shut: Arc<Shut>,
    rest: Option<Rest>,
    /// What sending the rest has failed with, until the guest is told.
    failure: Option<StreamError>,
    closed: bool,
}

/// The task that sends what is left of a write. It ends with the stream, as the interface says of unfinished writes.
struct Rest(JoinHandle<io::Result<()>>);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TcpOutput {
    pub(super) fn new(socket: SharedSocket, shut: Arc<Shut>) -> Self {
        Self { socket, shut, rest: None, failure: None, closed: false }
    }

    fn is_closed(&self) -> bool {
        self.closed || self.shut.send.load(Ordering::Relaxed)
    }

    fn open(&mut self) -> Result<(), StreamError> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None if self.is_closed() => Err(StreamError::Closed),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: io::Error) -> StreamError {
        self.closed = true;
        match error.kind() {
            io::ErrorKind::BrokenPipe => StreamError::Closed,
            _ => StreamError::failed(Failure(error)),
        }
    }

    /// Whether the rest of the last write is sent.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(Rest(task)) = &mut self.rest else { return Poll::Ready(Ok(())) };
        let sent = std::task::ready!(Pin::new(task).poll(cx));
        self.rest = None;
        Poll::Ready(sent.unwrap_or_else(|stopped| Err(io::Error::other(stopped))))
    }
}

/// Sends as much as the system takes, and leaves the rest.
fn send(socket: &Shared, bytes: &mut Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        // A peer that is gone is an error of this call, not a signal to the host.
        match unless_blocked(retry(|| Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)))? {
            Some(count) => bytes.advance(count),
            None => break,
        }
    }
    Ok(())
}

async fn send_rest(socket: SharedSocket, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        std::future::poll_fn(|cx| socket.poll_writable(cx)).await;
        send(socket.get(), &mut bytes)?;
    }
    Ok(())
}

impl Ready for TcpOutput {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_rest(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => {
                self.failure = Some(self.fail(error));
                Poll::Ready(())
            }
            Poll::Ready(Ok(())) if self.is_closed() => Poll::Ready(()),
            Poll::Ready(Ok(())) => self.socket.poll_writable(cx),
        }
    }
}

impl OutputStream for TcpOutput {
    fn check_write(&mut self) -> Result<usize, StreamError> {
        self.open()?;
        match self.poll_rest(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Pending => Ok(0),
            Poll::Ready(Err(error)) => Err(self.fail(error)),
            Poll::Ready(Ok(())) if self.socket.is_writable() => Ok(MOST),
            Poll::Ready(Ok(())) => Ok(0),
        }
    }

    fn write(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        self.open()?;
        send(self.socket.get(), &mut bytes).map_err(|error| self.fail(error))?;
        if !bytes.is_empty() {
            self.rest = Some(Rest(tokio::spawn(send_rest(self.socket.clone(), bytes))));
        }
        Ok(())
    }

    /// Nothing is held back: what the system has taken, it sends.
    fn flush(&mut self) -> Result<(), StreamError> {
        self.open()
    }
}
