//! `open-at`: from the interface's flags to a file or directory.

use std::sync::Arc;

use precast_loader::component::Resource;

use super::{Counted, Descriptor, Filed, Object, OpenDir, OpenFile, directory_flags, guests};
use crate::fs::{OpenHow, Opened, StatusFlags};
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use crate::preview2::io::HostFd;

/// How a path is opened, in the interface's words.
pub(super) struct Opening {
    pub(super) path_flags: PathFlags,
    pub(super) open_flags: OpenFlags,
    pub(super) flags: DescriptorFlags,
}

/// Whether a link in the last component is followed.
pub(super) fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

impl Opening {
    fn how(&self) -> Result<OpenHow, ErrorCode> {
        let has = |flag| self.open_flags.contains(flag);
        let directory = has(OpenFlags::DIRECTORY);
        if directory && (has(OpenFlags::CREATE) || has(OpenFlags::EXCLUSIVE) || has(OpenFlags::TRUNCATE)) {
            return Err(ErrorCode::Invalid);
        }
        let sync = self.flags.contains(DescriptorFlags::FILE_INTEGRITY_SYNC);
        Ok(OpenHow {
            read: self.flags.contains(DescriptorFlags::READ),
            write: self.flags.contains(DescriptorFlags::WRITE),
            create: has(OpenFlags::CREATE),
            exclusive: has(OpenFlags::EXCLUSIVE),
            truncate: has(OpenFlags::TRUNCATE),
            directory,
            follow: follows(self.path_flags),
            status: StatusFlags {
                append: false,
                // A pipe must not make the thread wait for its other end.
                nonblock: true,
                data_sync: self.flags.contains(DescriptorFlags::DATA_INTEGRITY_SYNC),
                // Linux reads synchronised exactly when it writes so.
                sync: sync || self.flags.contains(DescriptorFlags::REQUESTED_WRITE_SYNC),
            },
        })
    }
}

impl Ctx {
    /// Opens a path below a directory.
    ///
    /// That a directory is asked for without the flag to change what is in it does not take that away: programs open
    /// directories with the flags of files, and other hosts let them.
    pub(super) fn open(
        &mut self,
        base: &Resource<Descriptor>,
        path: &str,
        opening: Opening,
    ) -> Filed<Resource<Descriptor>> {
        let how = guests!(opening.how());
        let dir = guests!(self.dir(base, path)?);
        let ticket = guests!(self.ticket().ok_or(ErrorCode::InsufficientMemory));
        let object = match guests!(self.settled(dir.dir.open(path, how))?) {
            Opened::Dir(dir) => {
                let flags = directory_flags(&dir);
                Object::Dir(OpenDir { dir: Arc::new(dir), flags, ticket: Some(Arc::new(ticket)) })
            }
            Opened::File(file) => {
                let mut flags = opening.flags;
                // Meant for directories; and a file that is asked for nothing can be read, as the host has it open so.
                flags.remove(DescriptorFlags::MUTATE_DIRECTORY);
                Object::File(OpenFile { file: HostFd::new(Counted { inner: file, ticket }), flags })
            }
        };
        Ok(Ok(self.table.push(Descriptor(object))?))
    }
}
