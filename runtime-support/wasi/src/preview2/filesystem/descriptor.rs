//! `wasi:filesystem/types.descriptor`: what is done with an open file or directory itself.

use bytes::Bytes;
use precast_loader::HostError;
use precast_loader::component::Resource;
use rustix::io::Errno;

use super::stream::{FileInput, FileOutput, Place, read_at, write_at};
use super::{Descriptor, DirectoryEntryStream, Filed, Object, OpenFile, convert, guests, path};
use crate::fs::{FileKind, FsError, Stat};
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, HostDescriptor, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};
use crate::preview2::io::{Input, MOST_BYTES, Output};

impl HostDescriptor for Ctx {
    fn read_via_stream(&mut self, self_: Resource<Descriptor>, offset: u64) -> Filed<Resource<Input>> {
        let file = guests!(guests!(self.file(&self_)?).readable());
        let stream = FileInput { file: file.file, offset, blocked: false };
        Ok(Ok(self.table.push(Input::new(stream))?))
    }

    fn write_via_stream(&mut self, self_: Resource<Descriptor>, offset: u64) -> Filed<Resource<Output>> {
        self.output(&self_, Place::Offset(offset))
    }

    fn append_via_stream(&mut self, self_: Resource<Descriptor>) -> Filed<Resource<Output>> {
        self.output(&self_, Place::End)
    }

    fn advise(&mut self, self_: Resource<Descriptor>, offset: u64, length: u64, advice: Advice) -> Filed<()> {
        let file = guests!(self.file(&self_)?);
        self.settled(file.file.get().advise(offset, length, convert::advice(advice)))
    }

    async fn sync_data(&mut self, self_: Resource<Descriptor>) -> Filed<()> {
        self.synced(&self_, true).await
    }

    fn get_flags(&mut self, self_: Resource<Descriptor>) -> Filed<DescriptorFlags> {
        Ok(Ok(match self.object(&self_)? {
            Object::File(file) => file.flags,
            Object::Dir(dir) => dir.flags,
            Object::Ungranted => DescriptorFlags::READ,
        }))
    }

    fn get_type(&mut self, self_: Resource<Descriptor>) -> Filed<DescriptorType> {
        let stat = self.stat_of(&self_)?;
        Ok(stat.map(|stat| convert::descriptor_type(stat.kind)))
    }

    fn set_size(&mut self, self_: Resource<Descriptor>, size: u64) -> Filed<()> {
        let file = guests!(guests!(self.file(&self_)?).writable());
        self.settled(file.file.get().set_size(size))
    }

    fn set_times(
        &mut self,
        self_: Resource<Descriptor>,
        data_access_timestamp: NewTimestamp,
        data_modification_timestamp: NewTimestamp,
    ) -> Filed<()> {
        let accessed = guests!(convert::new_time(data_access_timestamp));
        let modified = guests!(convert::new_time(data_modification_timestamp));
        match self.object(&self_)? {
            Object::File(file) => self.settled(file.file.get().set_times(accessed, modified)),
            Object::Dir(dir) => self.settled(dir.dir.set_times(accessed, modified)),
            Object::Ungranted => Ok(self.dir(&self_, "")?.map(|_| ())),
        }
    }

    fn read(&mut self, self_: Resource<Descriptor>, length: u64, offset: u64) -> Filed<(Vec<u8>, bool)> {
        let file = guests!(guests!(self.file(&self_)?).readable());
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(MOST_BYTES).min(MOST_BYTES)];
        let read = guests!(self.settled(read_at(file.file.get(), &mut bytes, offset))?);
        let count = guests!(read.ok_or(ErrorCode::WouldBlock));
        bytes.truncate(count);
        Ok(Ok((bytes, count == 0 && length > 0)))
    }

    fn write(&mut self, self_: Resource<Descriptor>, buffer: Vec<u8>, offset: u64) -> Filed<u64> {
        let file = guests!(guests!(self.file(&self_)?).writable());
        let written = guests!(self.settled(write_at(file.file.get(), &buffer, offset))?);
        Ok(written.map(|count| count as u64).ok_or(ErrorCode::WouldBlock))
    }

    fn read_directory(&mut self, self_: Resource<Descriptor>) -> Filed<Resource<DirectoryEntryStream>> {
        let dir = guests!(self.dir(&self_, "")?);
        let ticket = guests!(self.ticket().ok_or(ErrorCode::InsufficientMemory));
        let entries = guests!(self.settled(dir.dir.read())?);
        Ok(Ok(self.table.push(DirectoryEntryStream { entries, ticket })?))
    }

    async fn sync(&mut self, self_: Resource<Descriptor>) -> Filed<()> {
        self.synced(&self_, false).await
    }

    fn stat(&mut self, self_: Resource<Descriptor>) -> Filed<DescriptorStat> {
        let stat = self.stat_of(&self_)?;
        Ok(stat.map(|stat| convert::descriptor_stat(&stat)))
    }

    fn is_same_object(&mut self, self_: Resource<Descriptor>, other: Resource<Descriptor>) -> Result<bool, HostError> {
        Ok(match (self.object(&self_)?, self.object(&other)?) {
            (Object::Ungranted, Object::Ungranted) => true,
            (Object::Ungranted, _) | (_, Object::Ungranted) => false,
            _ => match (self.stat_of(&self_)?, self.stat_of(&other)?) {
                (Ok(one), Ok(two)) => one.is_same_object(&two),
                _ => false,
            },
        })
    }

    fn metadata_hash(&mut self, self_: Resource<Descriptor>) -> Filed<MetadataHashValue> {
        let stat = self.stat_of(&self_)?;
        Ok(stat.map(|stat| convert::metadata_hash(&stat)))
    }

    fn create_directory_at(&mut self, self_: Resource<Descriptor>, path: String) -> Filed<()> {
        let dir = guests!(self.dir(&self_, &path)?);
        self.settled(dir.dir.create_dir(&path))
    }

    fn stat_at(&mut self, self_: Resource<Descriptor>, path_flags: PathFlags, path: String) -> Filed<DescriptorStat> {
        let dir = guests!(self.dir(&self_, &path)?);
        let stat = guests!(self.settled(dir.dir.stat_at(&path, path::follows(path_flags)))?);
        Ok(Ok(convert::descriptor_stat(&stat)))
    }

    fn set_times_at(
        &mut self,
        self_: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        data_access_timestamp: NewTimestamp,
        data_modification_timestamp: NewTimestamp,
    ) -> Filed<()> {
        let accessed = guests!(convert::new_time(data_access_timestamp));
        let modified = guests!(convert::new_time(data_modification_timestamp));
        let dir = guests!(self.dir(&self_, &path)?);
        self.settled(dir.dir.set_times_at(&path, path::follows(path_flags), accessed, modified))
    }

    fn link_at(
        &mut self,
        self_: Resource<Descriptor>,
        old_path_flags: PathFlags,
        old_path: String,
        new_descriptor: Resource<Descriptor>,
        new_path: String,
    ) -> Filed<()> {
        // A link is linked itself: following it first is refused, as other hosts do.
        if path::follows(old_path_flags) {
            return Ok(Err(ErrorCode::Invalid));
        }
        let from = guests!(self.dir(&self_, &old_path)?);
        let to = guests!(self.dir(&new_descriptor, &new_path)?);
        self.settled(from.dir.link(&old_path, &to.dir, &new_path))
    }

    fn open_at(
        &mut self,
        self_: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> Filed<Resource<Descriptor>> {
        self.open(&self_, &path, path::Opening { path_flags, open_flags, flags })
    }

    fn readlink_at(&mut self, self_: Resource<Descriptor>, path: String) -> Filed<String> {
        let dir = guests!(self.dir(&self_, &path)?);
        let target = guests!(self.settled(dir.dir.read_link(&path))?);
        Ok(String::from_utf8(target).map_err(|_| ErrorCode::IllegalByteSequence))
    }

    fn remove_directory_at(&mut self, self_: Resource<Descriptor>, path: String) -> Filed<()> {
        let dir = guests!(self.dir(&self_, &path)?);
        self.settled(dir.dir.remove_dir(&path))
    }

    fn rename_at(
        &mut self,
        self_: Resource<Descriptor>,
        old_path: String,
        new_descriptor: Resource<Descriptor>,
        new_path: String,
    ) -> Filed<()> {
        let from = guests!(self.dir(&self_, &old_path)?);
        let to = guests!(self.dir(&new_descriptor, &new_path)?);
        self.settled(from.dir.rename(&old_path, &to.dir, &new_path))
    }

    fn symlink_at(&mut self, self_: Resource<Descriptor>, old_path: String, new_path: String) -> Filed<()> {
        let dir = guests!(self.dir(&self_, &new_path)?);
        self.settled(dir.dir.symlink(&old_path, &new_path))
    }

    fn unlink_file_at(&mut self, self_: Resource<Descriptor>, path: String) -> Filed<()> {
        let dir = guests!(self.dir(&self_, &path)?);
        self.settled(dir.dir.remove_file(&path))
    }

    fn metadata_hash_at(
        &mut self,
        self_: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
    ) -> Filed<MetadataHashValue> {
        let dir = guests!(self.dir(&self_, &path)?);
        let stat = guests!(self.settled(dir.dir.stat_at(&path, path::follows(path_flags)))?);
        Ok(Ok(convert::metadata_hash(&stat)))
    }

    fn drop(&mut self, rep: Resource<Descriptor>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl OpenFile {
    /// The file, if it was opened for reading.
    fn readable(self) -> Result<Self, ErrorCode> {
        if self.flags.contains(DescriptorFlags::READ) { Ok(self) } else { Err(ErrorCode::BadDescriptor) }
    }

    /// The file, if it was opened for writing.
    fn writable(self) -> Result<Self, ErrorCode> {
        if self.flags.contains(DescriptorFlags::WRITE) { Ok(self) } else { Err(ErrorCode::BadDescriptor) }
    }
}

impl Ctx {
    fn output(&mut self, handle: &Resource<Descriptor>, place: Place) -> Filed<Resource<Output>> {
        let file = guests!(guests!(self.file(handle)?).writable());
        let stream = FileOutput { file: file.file, place, pending: Bytes::new(), closed: false };
        Ok(Ok(self.table.push(Output::new(stream))?))
    }

    fn stat_of(&self, handle: &Resource<Descriptor>) -> Filed<Stat> {
        match self.object(handle)? {
            Object::File(file) => self.settled(file.file.get().stat()),
            Object::Dir(dir) => self.settled(dir.dir.stat()),
            Object::Ungranted => Ok(Ok(Stat::of_kind(FileKind::Directory))),
        }
    }

    /// Waits until what was written to a file, and with more than its `data` what is known of it, is on the medium.
    async fn synced(&mut self, handle: &Resource<Descriptor>, data: bool) -> Filed<()> {
        let object = self.object(handle)?;
        if let Object::File(OpenFile { flags, .. }) = &object
            && !flags.contains(DescriptorFlags::WRITE)
        {
            return Ok(Ok(()));
        }
        let sync = move || match object {
            Object::File(file) if data => file.file.get().sync_data(),
            Object::File(file) => file.file.get().sync(),
            Object::Dir(dir) => dir.dir.sync(),
            Object::Ungranted => Ok(()),
        };
        let synced = match tokio::task::spawn_blocking(sync).await {
            // Pipes have no medium.
            Err(_) => Err(FsError::Os(Errno::IO)),
            Ok(result) => result.map_err(FsError::from),
        };
        self.settled(synced)
    }
}
