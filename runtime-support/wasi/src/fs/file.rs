//! An open file.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, OFlags, Timestamps};
use rustix::io::ReadWriteFlags;

pub(crate) use rustix::fs::Advice;

use super::{FsError, NewTime, SharedRoot, Stat};

/// How reads and writes of an open file behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusFlags {
    pub(crate) append: bool,
    pub(crate) nonblock: bool,
    /// Written data is on the medium when a write returns.
    pub(crate) data_sync: bool,
    /// So is all that is needed to find it.
    pub(crate) sync: bool,
}

impl StatusFlags {
    pub(super) fn to_oflags(self) -> OFlags {
        let mut flags = OFlags::empty();
        flags.set(OFlags::APPEND, self.append);
        flags.set(OFlags::NONBLOCK, self.nonblock);
        flags.set(OFlags::DSYNC, self.data_sync);
        // On Linux `O_SYNC` includes the bit of `O_DSYNC`: it is only ever set, never cleared.
        if self.sync {
            flags |= OFlags::SYNC;
        }
        flags
    }

    pub(crate) fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(fd)?;
        let sync = flags.contains(OFlags::SYNC);
        Ok(Self {
            append: flags.contains(OFlags::APPEND),
            nonblock: flags.contains(OFlags::NONBLOCK),
            data_sync: flags.contains(OFlags::DSYNC) && !sync,
            sync,
        })
    }

    /// Sets what can be set of an open descriptor: appending and blocking.
    ///
    /// # Errors
    /// `NOTSUP` if the flags ask for another synchronisation than the descriptor was opened with: Linux would ignore
    /// that silently.
    pub(crate) fn apply(self, fd: impl AsFd) -> rustix::io::Result<()> {
        let now = Self::of(&fd)?;
        if (now.data_sync, now.sync) != (self.data_sync, self.sync) {
            return Err(rustix::io::Errno::NOTSUP);
        }
        rustix::fs::fcntl_setfl(fd, self.to_oflags())
    }
}

/// An open file that is not a directory.
#[derive(Debug)]
pub(crate) struct File {
    file: fs::File,
    root: SharedRoot,
}

impl File {
    pub(super) fn new(file: fs::File, root: SharedRoot) -> Self {
        Self { file, root }
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        retry(|| (&self.file).read(into))
    }

    pub(crate) fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        retry(|| self.file.read_at(into, offset))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        retry(|| (&self.file).write(bytes))
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        retry(|| self.file.write_at(bytes, offset))
    }

    /// Writes at the end, wherever that is by then.
    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let buffers = [io::IoSlice::new(bytes)];
        retry(|| Ok(rustix::io::pwritev2(&self.file, &buffers, 0, ReadWriteFlags::APPEND)?))
    }

    pub(crate) fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        (&self.file).seek(to)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    pub(crate) fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Tells the system how the guest will use `length` bytes from `offset`; zero means to the end.
    pub(crate) fn advise(&self, offset: u64, length: u64, advice: Advice) -> Result<(), FsError> {
        Ok(rustix::fs::fadvise(&self.file, offset, NonZeroU64::new(length), advice)?)
    }

    /// Makes sure that `length` bytes from `offset` have space on the medium, growing the file if needed.
    pub(crate) fn allocate(&self, offset: u64, length: u64) -> Result<(), FsError> {
        self.root.writable()?;
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, length)?)
    }

    pub(crate) fn set_size(&self, size: u64) -> Result<(), FsError> {
        self.root.writable()?;
        // std's `set_len` would report a size beyond `i64` in its own words.
        Ok(rustix::fs::ftruncate(&self.file, size)?)
    }

    pub(crate) fn set_times(&self, accessed: NewTime, modified: NewTime) -> Result<(), FsError> {
        self.root.writable()?;
        let times = Timestamps { last_access: accessed.timespec(), last_modification: modified.timespec() };
        Ok(rustix::fs::futimens(&self.file, &times)?)
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        let metadata = cap_std::fs::Metadata::from_file(&self.file)?;
        Ok(Stat::from_metadata(&metadata))
    }

    /// Bytes between the file's position and its end.
    pub(crate) fn remaining(&self) -> io::Result<u64> {
        let position = self.seek(SeekFrom::Current(0))?;
        Ok(self.stat()?.size.saturating_sub(position))
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Repeats a call that a signal interrupted before it did anything.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
