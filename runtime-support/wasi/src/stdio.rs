//! The standard streams: the host's own, or ends in memory for tests and embedders.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags};

use crate::fs::{FileKind, retry};

/// Where the guest's standard input comes from.
#[derive(Clone, Debug, Default)]
pub enum Stdin {
    /// The host's standard input, read directly (a read may block).
    #[default]
    Inherit,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
}

/// Where the guest's standard output or error goes.
#[derive(Clone, Debug, Default)]
pub enum Stdout {
    /// The host's stream of the same name, written without a buffer.
    #[default]
    Inherit,
    /// A buffer in memory.
    Pipe(OutputPipe),
}

/// A buffer that collects what the guest writes. Clones are the same buffer.
#[derive(Clone, Debug)]
pub struct OutputPipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl OutputPipe {
    /// An empty buffer that takes up to `limit` bytes; writing more fails for the guest as on a full disk.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Arc::default(), limit }
    }

    /// What has been written so far.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// How many bytes more it takes.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.lock().len())
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.lock();
        let room = self.limit.saturating_sub(held.len()).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        held.extend_from_slice(&bytes[..room]);
        Ok(room)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // A panic while appending leaves bytes as good as any.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest's standard input.
#[derive(Debug)]
pub(crate) enum Input {
    Host(io::Stdin),
    Bytes { bytes: Vec<u8>, position: usize },
}

impl Input {
    pub(crate) fn new(source: Stdin) -> Self {
        match source {
            Stdin::Inherit => Self::Host(io::stdin()),
            Stdin::Bytes(bytes) => Self::Bytes { bytes, position: 0 },
        }
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            // Past std's buffer, so that a poll of the descriptor tells the truth.
            Self::Host(stdin) => {
                waiting(stdin.as_fd(), PollFlags::IN, || Ok(rustix::io::read(stdin.as_fd(), &mut *into)?))
            }
            Self::Bytes { bytes, position } => {
                let rest = &bytes[*position..];
                let count = rest.len().min(into.len());
                into[..count].copy_from_slice(&rest[..count]);
                *position += count;
                Ok(count)
            }
        }
    }

    /// The descriptor to wait on; `None` if a read never waits.
    pub(crate) fn pollable(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Host(stdin) => Some(stdin.as_fd()),
            Self::Bytes { .. } => None,
        }
    }

    /// Bytes that are there without waiting, where that is known.
    pub(crate) fn available(&self) -> u64 {
        match self {
            Self::Host(stdin) => rustix::io::ioctl_fionread(stdin).unwrap_or(0),
            Self::Bytes { bytes, position } => (bytes.len() - position) as u64,
        }
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.pollable().map_or(FileKind::Unknown, kind_of_stream)
    }
}

/// A guest's standard output or error.
#[derive(Debug)]
pub(crate) enum Output {
    HostOut(io::Stdout),
    HostErr(io::Stderr),
    Pipe(OutputPipe),
}

impl Output {
    pub(crate) fn stdout(sink: Stdout) -> Self {
        match sink {
            Stdout::Inherit => Self::HostOut(io::stdout()),
            Stdout::Pipe(pipe) => Self::Pipe(pipe),
        }
    }

    pub(crate) fn stderr(sink: Stdout) -> Self {
        match sink {
            Stdout::Inherit => Self::HostErr(io::stderr()),
            Stdout::Pipe(pipe) => Self::Pipe(pipe),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (self, self.pollable()) {
            (Self::Pipe(pipe), _) => pipe.write(bytes),
            (_, Some(fd)) => waiting(fd, PollFlags::OUT, || Ok(rustix::io::write(fd, bytes)?)),
            (_, None) => Ok(bytes.len()),
        }
    }

    /// The descriptor to wait on; `None` if a write never waits.
    pub(crate) fn pollable(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::HostOut(stdout) => Some(stdout.as_fd()),
            Self::HostErr(stderr) => Some(stderr.as_fd()),
            Self::Pipe(_) => None,
        }
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.pollable().map_or(FileKind::Unknown, kind_of_stream)
    }
}

/// Transfers, and waits for as long as nothing can be. The host's streams may have been made non-blocking by whoever
/// shares them, which the guest neither knows nor can change.
fn waiting(
    fd: BorrowedFd<'_>,
    interest: PollFlags,
    mut transfer: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match retry(&mut transfer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                retry(|| Ok(rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, interest)], None)?))?;
            }
            result => return result,
        }
    }
}

/// A terminal is a character device, and nothing else is: C libraries take any character device for a terminal.
fn kind_of_stream(fd: BorrowedFd<'_>) -> FileKind {
    let kind = match rustix::fs::fstat(fd) {
        Ok(stat) => rustix::fs::FileType::from_raw_mode(stat.st_mode).into(),
        Err(_) => FileKind::Unknown,
    };
    match kind {
        FileKind::CharacterDevice if !io::IsTerminal::is_terminal(&fd) => FileKind::Unknown,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_once_to_the_end() {
        let mut input = Input::new(Stdin::Bytes(b"abcde".to_vec()));
        let mut buffer = [0; 3];
        assert_eq!((input.available(), input.read(&mut buffer).unwrap(), &buffer), (5, 3, b"abc"));
        assert_eq!((input.available(), input.read(&mut buffer).unwrap(), &buffer[..2]), (2, 2, &b"de"[..]));
        assert_eq!(input.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_stream_that_does_not_block_is_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            io::Write::write_all(&mut writer, b"late").unwrap();
        });
        let mut buffer = [0; 8];
        let read = waiting(reader.as_fd(), PollFlags::IN, || Ok(rustix::io::read(&reader, &mut buffer)?));
        assert_eq!((read.unwrap(), &buffer[..4]), (4, &b"late"[..]));
        late.join().unwrap();
    }

    #[test]
    fn a_full_pipe_refuses() {
        let pipe = OutputPipe::new(4);
        let output = Output::stdout(Stdout::Pipe(pipe.clone()));
        assert_eq!(output.write(b"abc").unwrap(), 3);
        assert_eq!(output.write(b"def").unwrap(), 1);
        assert_eq!(output.write(b"").unwrap(), 0);
        assert_eq!(output.write(b"ef").unwrap_err().raw_os_error(), Some(rustix::io::Errno::NOSPC.raw_os_error()));
        assert_eq!(pipe.contents(), b"abcd");
    }
}
