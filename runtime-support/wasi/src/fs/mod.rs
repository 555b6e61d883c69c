//! Files and directories as capabilities, independent of any ABI.
//!
//! A [`Dir`] comes from a grant, everything else from a `Dir`: paths are resolved below it by cap-std, which asks the
//! kernel to refuse whatever leads out (`openat2` with `RESOLVE_BENEATH`, or component by component where there is no
//! such call). What comes out are host results; the ABIs above translate them and tell the user about denials.

mod dir;
mod file;
mod stat;

use std::io;
use std::sync::Arc;

pub(crate) use dir::{Dir, Entries, Entry, OpenHow, Opened};
pub(crate) use file::{Advice, File, StatusFlags, retry};
pub(crate) use stat::{FileKind, NewTime, Stat};

/// Why a file operation failed.
#[derive(Debug)]
pub(crate) enum FsError {
    /// It would change something below a directory granted with `:ro`, which the host names like this.
    ReadOnly { host: String },
    /// The guest's path leads out of the granted directory, which the host names like this.
    Escape { path: String, host: String },
    /// The host's system refused.
    Os(rustix::io::Errno),
}

impl From<rustix::io::Errno> for FsError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Os(errno)
    }
}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> Self {
        Self::Os(os_error(&error))
    }
}

/// The system's error number, or the nearest one for errors made by a library.
pub(crate) fn os_error(error: &io::Error) -> rustix::io::Errno {
    use rustix::io::Errno;
    if let Some(raw) = error.raw_os_error() {
        return Errno::from_raw_os_error(raw);
    }
    match error.kind() {
        io::ErrorKind::NotFound => Errno::NOENT,
        io::ErrorKind::AlreadyExists => Errno::EXIST,
        io::ErrorKind::InvalidInput => Errno::INVAL,
        io::ErrorKind::PermissionDenied => Errno::PERM,
        _ => Errno::IO,
    }
}

/// The grant that a file or directory was reached through.
#[derive(Debug)]
struct Root {
    /// The granted directory as the user wrote it.
    host: String,
    read_only: bool,
}

impl Root {
    /// Fails if nothing below the grant may be changed.
    fn writable(&self) -> Result<(), FsError> {
        match self.read_only {
            true => Err(FsError::ReadOnly { host: self.host.clone() }),
            false => Ok(()),
        }
    }
}

type SharedRoot = Arc<Root>;
