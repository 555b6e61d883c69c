//! Waiting for descriptors of the host.
//!
//! Whether a descriptor is ready is always asked of the system (`poll` with no timeout): a guest that never waits, and
//! so never lets the runtime look, still sees data arrive. The runtime's reactor only says when to ask again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that can be waited for.
///
/// It is registered with the runtime when a guest first waits for it, so that those who never wait do not pay.
#[derive(Debug)]
pub(crate) struct HostFd<F: AsFd> {
    fd: F,
    waiter: Waiter,
}

#[derive(Debug, Default)]
enum Waiter {
    #[default]
    None,
    /// A duplicate: the reactor knows each descriptor once, but several streams may be of one.
    Registered(AsyncFd<std::os::fd::OwnedFd>),
    /// The system does not tell when such a descriptor (a file on a disk) is ready: it always is.
    Never,
}

impl<F: AsFd> HostFd<F> {
    pub(crate) fn new(fd: F) -> Self {
        Self { fd, waiter: Waiter::None }
    }

    pub(crate) fn get(&self) -> &F {
        &self.fd
    }

    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, PollFlags::IN)
    }

    pub(crate) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, PollFlags::OUT)
    }

    fn poll(&mut self, cx: &mut Context<'_>, interest: PollFlags) -> Poll<()> {
        if is_ready(self.fd.as_fd(), interest) {
            return Poll::Ready(());
        }
        if matches!(self.waiter, Waiter::None) {
            self.waiter = register(self.fd.as_fd());
        }
        let Waiter::Registered(waiter) = &self.waiter else { return Poll::Ready(()) };
        loop {
            let event = match interest {
                PollFlags::OUT => waiter.poll_write_ready(cx),
                _ => waiter.poll_read_ready(cx),
            };
            match event {
                Poll::Pending => return Poll::Pending,
                // The runtime shuts down: the operation that follows says what is wrong.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(mut guard)) => {
                    // After the event, so that one that comes meanwhile is not forgotten.
                    if is_ready(self.fd.as_fd(), interest) {
                        return Poll::Ready(());
                    }
                    guard.clear_ready();
                }
            }
        }
    }
}

fn register(fd: BorrowedFd<'_>) -> Waiter {
    let registered = fd
        .try_clone_to_owned()
        .and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE | Interest::WRITABLE));
    match registered {
        Ok(waiter) => Waiter::Registered(waiter),
        Err(_) => Waiter::Never,
    }
}

/// Whether an operation would not wait. Errors and hang-ups count: the operation tells of them at once.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, interest: PollFlags) -> bool {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::from_borrowed_fd(fd, interest)];
    !matches!(crate::fs::retry(|| Ok(rustix::event::poll(&mut polled, Some(&NOW))?)), Ok(0))
}

/// What an operation on a descriptor that does not block gave: `None` if it would have had to wait.
pub(crate) fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
