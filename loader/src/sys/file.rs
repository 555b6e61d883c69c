//! Files: opened without surprises, or copied so that they cannot change any more.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::memory::check;

/// Opens a file for reading. Does not wait for the other end, should it be a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// An empty file in memory.
pub(crate) fn in_memory() -> io::Result<File> {
    // SAFETY: the name is a C string; the descriptor that comes back is nobody else's.
    unsafe {
        let descriptor = libc::memfd_create(c"precast".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if descriptor < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(descriptor)) }
    }
}

/// Copies what `source` gives into a file in memory that nobody can write, grow or shrink afterwards.
pub(crate) fn sealed_copy(source: &mut impl Read) -> io::Result<File> {
    let mut file = in_memory()?;
    io::copy(source, &mut file)?;
    file.flush()?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: the call changes only the seals of our own file.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file)
}

/// Whether files of user `owner` with permissions `mode` can be written by this process's user and root only.
pub(crate) fn only_we_write(owner: u32, mode: u32) -> bool {
    // SAFETY: geteuid only reads the process's identity.
    let us = || unsafe { libc::geteuid() };
    mode & 0o022 == 0 && (owner == 0 || owner == us())
}
