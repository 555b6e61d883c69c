//! Waiting for descriptors of the host.
//!
//! Whether a descriptor is ready is always asked of the system (`poll` with no timeout): a guest that never waits, and
//! so never lets the runtime look, still sees data arrive. The runtime's reactor only says when to ask again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that can be waited for. Clones are the same one; the streams of a socket share it.
///
/// It is registered with the runtime when a guest first waits for it, so that those who never wait do not pay.
#[derive(Debug)]
pub(crate) struct HostFd<F: AsFd + AsRawFd>(Arc<Inner<F>>);

#[derive(Debug)]
struct Inner<F: AsFd + AsRawFd> {
    fd: Arc<F>,
    waiter: OnceLock<Waiter<F>>,
}

#[derive(Debug)]
enum Waiter<F: AsFd + AsRawFd> {
    Registered(AsyncFd<Arc<F>>),
    /// By a duplicate: the reactor knows each descriptor once, but several streams may be of one of the host's.
    Duplicated(AsyncFd<OwnedFd>),
    /// The system does not tell when such a descriptor (a file on a disk) is ready: it always is.
    Never,
}

impl<F: AsFd + AsRawFd> Clone for HostFd<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: AsFd + AsRawFd> HostFd<F> {
    pub(crate) fn new(fd: F) -> Self {
        Self(Arc::new(Inner { fd: Arc::new(fd), waiter: OnceLock::new() }))
    }

    pub(crate) fn get(&self) -> &F {
        &self.0.fd
    }

    pub(crate) fn is_readable(&self) -> bool {
        is_ready(self.0.fd.as_fd(), PollFlags::IN)
    }

    pub(crate) fn is_writable(&self) -> bool {
        is_ready(self.0.fd.as_fd(), PollFlags::OUT)
    }

    /// Waits until something can be read. One task at a time can wait so.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, PollFlags::IN)
    }

    /// Waits until something can be written. One task at a time can wait so.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, PollFlags::OUT)
    }

    fn poll(&self, cx: &mut Context<'_>, interest: PollFlags) -> Poll<()> {
        let fd = self.0.fd.as_fd();
        if is_ready(fd, interest) {
            return Poll::Ready(());
        }
        match self.0.waiter.get_or_init(|| register(&self.0.fd)) {
            Waiter::Registered(waiter) => wait(waiter, fd, interest, cx),
            Waiter::Duplicated(waiter) => wait(waiter, fd, interest, cx),
            Waiter::Never => Poll::Ready(()),
        }
    }
}

fn wait<F: AsRawFd>(waiter: &AsyncFd<F>, fd: BorrowedFd<'_>, interest: PollFlags, cx: &mut Context<'_>) -> Poll<()> {
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
                if is_ready(fd, interest) {
                    return Poll::Ready(());
                }
                guard.clear_ready();
            }
        }
    }
}

/// Registers a descriptor with the runtime of this thread.
#[allow(deprecated, reason = "what may make it unsound is a descriptor closed too early: ours are owned")]
fn register<F: AsFd + AsRawFd>(fd: &Arc<F>) -> Waiter<F> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Waiter::Never;
    }
    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
    match AsyncFd::with_interest(Arc::clone(fd), BOTH) {
        Ok(waiter) => Waiter::Registered(waiter),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let duplicated = fd.as_fd().try_clone_to_owned().and_then(|fd| AsyncFd::with_interest(fd, BOTH));
            duplicated.map_or(Waiter::Never, Waiter::Duplicated)
        }
        Err(_) => Waiter::Never,
    }
}

/// Whether an operation would not wait. Errors and hang-ups count: the operation tells of them at once.
fn is_ready(fd: BorrowedFd<'_>, interest: PollFlags) -> bool {
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
