//! The two streams of a TCP connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    closed: bool,
}

/// What is left of a write, and the task that sends it. That ends with the stream, as the interface says of unfinished
/// writes.
struct Rest {
    bytes: Arc<Mutex<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TcpOutput {
    pub(super) fn new(socket: SharedSocket, shut: Arc<Shut>) -> Self {
        Self { socket, shut, rest: None, closed: false }
    }

    fn is_closed(&self) -> bool {
        self.closed || self.shut.send.load(Ordering::Relaxed)
    }

    fn open(&self) -> Result<(), StreamError> {
        if self.is_closed() { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn fail(&mut self, error: io::Error) -> StreamError {
        self.closed = true;
        match error.kind() {
            io::ErrorKind::BrokenPipe => StreamError::Closed,
            _ => StreamError::failed(Failure(error)),
        }
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

fn lock(bytes: &Mutex<Bytes>) -> MutexGuard<'_, Bytes> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the rest of a write, whenever the system takes some. It stops at an error, of which the stream learns when it
/// tries to send what is left.
async fn send_rest(socket: SharedSocket, rest: Arc<Mutex<Bytes>>) {
    loop {
        std::future::poll_fn(|cx| socket.poll_writable(cx)).await;
        let mut bytes = lock(&rest);
        if send(socket.get(), &mut bytes).is_err() || bytes.is_empty() {
            return;
        }
    }
}

impl Ready for TcpOutput {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_closed() {
            return Poll::Ready(());
        }
        if let Some(rest) = &mut self.rest {
            // A task that has ended must not be polled again.
            if !rest.task.is_finished() {
                let _ = std::task::ready!(Pin::new(&mut rest.task).poll(cx));
            }
            if !lock(&rest.bytes).is_empty() {
                // `check_write` meets what the task did.
                return Poll::Ready(());
            }
            self.rest = None;
        }
        self.socket.poll_writable(cx)
    }
}

impl OutputStream for TcpOutput {
    fn check_write(&mut self) -> Result<usize, StreamError> {
        self.open()?;
        if let Some(rest) = &self.rest {
            // Here too, since the task has its turn only when the guest waits.
            let mut bytes = lock(&rest.bytes);
            let sent = send(self.socket.get(), &mut bytes).map(|()| bytes.is_empty());
            drop(bytes);
            if sent.map_err(|error| self.fail(error))? {
                self.rest = None;
            }
        }
        Ok(if self.rest.is_none() && self.socket.is_writable() { MOST } else { 0 })
    }

    fn write(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        self.open()?;
        send(self.socket.get(), &mut bytes).map_err(|error| self.fail(error))?;
        if !bytes.is_empty() {
            let bytes = Arc::new(Mutex::new(bytes));
            let task = tokio::spawn(send_rest(self.socket.clone(), Arc::clone(&bytes)));
            self.rest = Some(Rest { bytes, task });
        }
        Ok(())
    }

    /// Nothing is held back: what the system has taken, it sends.
    fn flush(&mut self) -> Result<(), StreamError> {
        self.open()
    }
}
