//! `path_*`: operations on paths below a directory descriptor.

#![allow(clippy::too_many_arguments, reason = "the ABI's")]

use super::errno::Errno;
use super::fd::new_times;
use super::memory::{GuestMemory, count};
use super::table::Descriptor;
use super::types::{FdFlags, LookupFlags, OFlags, Rights, filestat};
use crate::WasiCtx;
use crate::fs::{OpenHow, Opened};

/// Opens a file or directory.
///
/// Of the rights asked for, those to read and to write choose how the host opens the file; beyond that, the descriptor
/// gets all that its kind and the directory's inheriting rights allow, as other hosts do. Programs rely on it: they ask
/// for few rights and then use more (Go opens directories for `openat` with the rights of files).
pub(crate) fn path_open(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    lookup: u32,
    path: u32,
    path_len: u32,
    oflags: u32,
    base: u64,
    _inheriting: u64,
    fdflags: u32,
    opened: u32,
) -> Result<(), Errno> {
    let oflags = OFlags::from_guest(oflags)?;
    let creates = oflags.contains(OFlags::CREAT) || oflags.contains(OFlags::EXCL) || oflags.contains(OFlags::TRUNC);
    if oflags.contains(OFlags::DIRECTORY) && creates {
        return Err(Errno::Inval);
    }
    let how = OpenHow {
        read: Rights(base).contains(Rights::FD_READ),
        write: Rights(base).contains(Rights::FD_WRITE),
        create: oflags.contains(OFlags::CREAT),
        exclusive: oflags.contains(OFlags::EXCL),
        truncate: oflags.contains(OFlags::TRUNC),
        directory: oflags.contains(OFlags::DIRECTORY),
        follow: follows(lookup)?,
        status: FdFlags::from_guest(fdflags)?.status(),
    };
    let right = |needed: bool, right: Rights| if needed { right } else { Rights(0) };
    let needed = Rights::PATH_OPEN
        .with(right(how.create, Rights::PATH_CREATE_FILE))
        .with(right(how.truncate, Rights::PATH_FILESTAT_SET_SIZE));
    let path = memory.path(path, path_len)?;
    memory.check(opened, 4)?;
    ctx.dir(fd, needed, &path)?;
    // Not after a file has been created or cut off.
    ctx.table.check_room()?;
    let result = ctx.table.dir(fd, needed)?.dir.open(&path, how);
    let passed = ctx.table.get(fd)?.inheriting;
    let descriptor = match ctx.settle(result)? {
        Opened::File(file) => Descriptor::file(file, how.read, how.write, passed),
        Opened::Dir(dir) => Descriptor::subdirectory(dir, passed),
    };
    let number = ctx.table.insert(descriptor)?;
    memory.store_u32(opened, number)
}

/// Whether a link in the last component is followed.
fn follows(lookup: u32) -> Result<bool, Errno> {
    Ok(LookupFlags::from_guest(lookup)?.contains(LookupFlags::SYMLINK_FOLLOW))
}

pub(crate) fn path_create_directory(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let path = memory.path(path, path_len)?;
    let created = ctx.dir(fd, Rights::PATH_CREATE_DIRECTORY, &path)?.dir.create_dir(&path);
    ctx.settle(created)
}

pub(crate) fn path_filestat_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    lookup: u32,
    path: u32,
    path_len: u32,
    stat: u32,
) -> Result<(), Errno> {
    let follow = follows(lookup)?;
    let path = memory.path(path, path_len)?;
    let found = ctx.dir(fd, Rights::PATH_FILESTAT_GET, &path)?.dir.stat_at(&path, follow);
    memory.store(stat, &filestat(&ctx.settle(found)?))
}

pub(crate) fn path_filestat_set_times(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    lookup: u32,
    path: u32,
    path_len: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Result<(), Errno> {
    let follow = follows(lookup)?;
    let (accessed, modified) = new_times(accessed, modified, flags)?;
    let path = memory.path(path, path_len)?;
    let dir = ctx.dir(fd, Rights::PATH_FILESTAT_SET_TIMES, &path)?;
    let set = dir.dir.set_times_at(&path, follow, accessed, modified);
    ctx.settle(set)
}

/// Makes a hard link. A link as the source is linked itself: following it first is refused, as other hosts do.
pub(crate) fn path_link(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    lookup: u32,
    path: u32,
    path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Errno> {
    if follows(lookup)? {
        return Err(Errno::Inval);
    }
    let (path, new_path) = (memory.path(path, path_len)?, memory.path(new_path, new_path_len)?);
    ctx.dir(fd, Rights::PATH_LINK_SOURCE, &path)?;
    ctx.dir(new_fd, Rights::PATH_LINK_TARGET, &new_path)?;
    let (from, to) = (ctx.table.dir(fd, Rights(0))?, ctx.table.dir(new_fd, Rights(0))?);
    let linked = from.dir.link(&path, &to.dir, &new_path);
    ctx.settle(linked)
}

pub(crate) fn path_rename(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    path: u32,
    path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Errno> {
    let (path, new_path) = (memory.path(path, path_len)?, memory.path(new_path, new_path_len)?);
    ctx.dir(fd, Rights::PATH_RENAME_SOURCE, &path)?;
    ctx.dir(new_fd, Rights::PATH_RENAME_TARGET, &new_path)?;
    let (from, to) = (ctx.table.dir(fd, Rights(0))?, ctx.table.dir(new_fd, Rights(0))?);
    let renamed = from.dir.rename(&path, &to.dir, &new_path);
    ctx.settle(renamed)
}

/// The target's bytes, as many as the buffer takes.
pub(crate) fn path_readlink(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    path: u32,
    path_len: u32,
    buffer: u32,
    length: u32,
    used: u32,
) -> Result<(), Errno> {
    let path = memory.path(path, path_len)?;
    memory.check(buffer, length)?;
    let read = ctx.dir(fd, Rights::PATH_READLINK, &path)?.dir.read_link(&path);
    let target = ctx.settle(read)?;
    let fits = target.len().min(length as usize);
    memory.store(buffer, &target[..fits])?;
    memory.store_u32(used, count(fits))
}

pub(crate) fn path_remove_directory(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let path = memory.path(path, path_len)?;
    let removed = ctx.dir(fd, Rights::PATH_REMOVE_DIRECTORY, &path)?.dir.remove_dir(&path);
    ctx.settle(removed)
}

pub(crate) fn path_symlink(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let (target, path) = (memory.path(target, target_len)?, memory.path(path, path_len)?);
    let linked = ctx.dir(fd, Rights::PATH_SYMLINK, &path)?.dir.symlink(&target, &path);
    ctx.settle(linked)
}

pub(crate) fn path_unlink_file(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let path = memory.path(path, path_len)?;
    let removed = ctx.dir(fd, Rights::PATH_UNLINK_FILE, &path)?.dir.remove_file(&path);
    ctx.settle(removed)
}

#[cfg(test)]
mod tests;
