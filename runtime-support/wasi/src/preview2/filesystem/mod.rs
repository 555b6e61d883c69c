//! `wasi:filesystem`: files and directories below what was granted.
//!
//! What is done with a file is done at once, on the guest's thread: it is mostly answered from memory, in less time
//! than it takes to hand it to another thread. What waits for the medium by its meaning (`sync`, `sync-data`) is handed
//! over. What could wait for another process (a pipe in a directory) is opened so that it does not.

mod convert;
mod descriptor;
mod path;
mod stream;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use precast_loader::HostError;
use precast_loader::component::{Resource, ResourceTableError};

use super::Ctx;
use super::bindings::wasi::filesystem::types::{DescriptorFlags, ErrorCode};
use super::bindings::wasi::filesystem::{preopens, types};
use super::context::Ticket;
use super::io::{Error, HostFd};
use crate::denial::{Denial, shown};
use crate::fs::{Dir, Entries, File, FsError};

/// A result whose error the guest sees.
type Filed<T> = Result<Result<T, ErrorCode>, HostError>;

/// The resource `wasi:filesystem/types.descriptor`.
#[derive(Clone, Debug)]
pub struct Descriptor(Object);

#[derive(Clone, Debug)]
enum Object {
    File(OpenFile),
    Dir(OpenDir),
    /// A root directory that nobody granted: every path below it is denied, and named. See `DESIGN.md`.
    Ungranted,
}

#[derive(Clone, Debug)]
struct OpenFile {
    file: HostFd<Counted<File>>,
    flags: DescriptorFlags,
}

#[derive(Clone, Debug)]
struct OpenDir {
    dir: Arc<Dir>,
    flags: DescriptorFlags,
    #[allow(dead_code, reason = "it is counted")]
    ticket: Option<Arc<Ticket>>,
}

/// Something that takes one of the descriptors that a guest may have.
#[derive(Debug)]
struct Counted<F> {
    inner: F,
    #[allow(dead_code, reason = "it is counted")]
    ticket: Ticket,
}

impl<F> std::ops::Deref for Counted<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.inner
    }
}

impl<F: AsFd> AsFd for Counted<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<F: AsRawFd> AsRawFd for Counted<F> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

/// The resource `wasi:filesystem/types.directory-entry-stream`.
#[derive(Debug)]
pub struct DirectoryEntryStream {
    entries: Entries,
    #[allow(dead_code, reason = "it is counted")]
    ticket: Ticket,
}

impl preopens::Host for Ctx {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>, HostError> {
        let shared = Arc::clone(&self.shared);
        let mut directories = Vec::with_capacity(shared.directories.len() + 1);
        for (dir, name) in &shared.directories {
            let flags = directory_flags(dir);
            let opened = OpenDir { dir: Arc::clone(dir), flags, ticket: None };
            directories.push((self.table.push(Descriptor(Object::Dir(opened)))?, name.clone()));
        }
        if shared.offers_root {
            directories.push((self.table.push(Descriptor(Object::Ungranted))?, "/".into()));
        }
        Ok(directories)
    }
}

/// What a guest is told of an open directory.
fn directory_flags(dir: &Dir) -> DescriptorFlags {
    match dir.is_writable() {
        true => DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
        false => DescriptorFlags::READ,
    }
}

impl types::Host for Ctx {
    fn filesystem_error_code(&mut self, err: Resource<Error>) -> Result<Option<ErrorCode>, HostError> {
        let failure = self.table.get(&err)?.downcast_ref::<stream::Failure>();
        Ok(failure.map(|failure| convert::error_code(failure.0)))
    }
}

impl types::HostDirectoryEntryStream for Ctx {
    fn read_directory_entry(&mut self, self_: Resource<DirectoryEntryStream>) -> Filed<Option<types::DirectoryEntry>> {
        Ok(match self.table.get_mut(&self_)?.entries.next() {
            None => Ok(None),
            Some(Ok(entry)) => {
                Ok(Some(types::DirectoryEntry { type_: convert::descriptor_type(entry.kind), name: entry.name }))
            }
            Some(Err(error)) => Err(self.settle(error)),
        })
    }

    fn drop(&mut self, rep: Resource<DirectoryEntryStream>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl Ctx {
    /// What a handle stands for: a clone, which costs a reference.
    fn object(&self, handle: &Resource<Descriptor>) -> Result<Object, ResourceTableError> {
        Ok(self.table.get(handle)?.0.clone())
    }

    /// The file behind a handle; the error of one that is a directory.
    fn file(&self, handle: &Resource<Descriptor>) -> Result<Result<OpenFile, ErrorCode>, ResourceTableError> {
        Ok(match self.object(handle)? {
            Object::File(file) => Ok(file),
            Object::Dir(_) | Object::Ungranted => Err(ErrorCode::IsDirectory),
        })
    }

    /// The directory behind a handle, for `path` below it. If nobody granted it, the user is told of the path.
    ///
    /// What is not granted is not there, as far as the guest can tell.
    fn dir(&self, handle: &Resource<Descriptor>, path: &str) -> Result<Result<OpenDir, ErrorCode>, ResourceTableError> {
        Ok(match self.object(handle)? {
            Object::Dir(dir) => {
                self.shared.reads.report(|| shown(path));
                Ok(dir)
            }
            Object::File(_) => Err(ErrorCode::NotDirectory),
            Object::Ungranted => {
                self.deny(Denial::ungranted_path(path));
                Err(ErrorCode::NoEntry)
            }
        })
    }

    /// Turns the error of a file operation into the guest's, and tells the user if a grant was missing.
    fn settle(&self, error: FsError) -> ErrorCode {
        if let Some(denial) = Denial::of(&error) {
            self.deny(denial);
        }
        match error {
            FsError::Os(errno) => convert::error_code(errno),
            FsError::ReadOnly { .. } => ErrorCode::ReadOnly,
            FsError::Escape { .. } => ErrorCode::NotPermitted,
        }
    }

    fn settled<T, E: Into<FsError>>(&self, result: Result<T, E>) -> Filed<T> {
        Ok(result.map_err(|error| self.settle(error.into())))
    }
}

/// The value of a `Result` in a function that returns another whose error is the guest's.
macro_rules! guests {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}
use guests;

#[cfg(test)]
mod tests;
