//! `fd_*` except transfers of data (`io.rs`) and directory contents (`readdir.rs`): what a descriptor is, what may be
//! done with it, where it stands, and its end.

use std::io::SeekFrom;
use std::os::fd::AsFd;

use super::errno::Errno;
use super::memory::GuestMemory;
use super::table::Object;
use super::types::{FdFlags, FstFlags, Rights, fdstat, filestat, filetype, prestat_dir};
use crate::WasiCtx;
use crate::fs::{Advice, NewTime, Stat, StatusFlags};

pub(crate) fn fd_close(ctx: &mut WasiCtx, _memory: &mut dyn GuestMemory, fd: u32) -> Result<(), Errno> {
    ctx.table.close(fd).map(drop)
}

pub(crate) fn fd_renumber(ctx: &mut WasiCtx, _memory: &mut dyn GuestMemory, from: u32, to: u32) -> Result<(), Errno> {
    ctx.table.renumber(from, to)
}

pub(crate) fn fd_fdstat_get(ctx: &mut WasiCtx, memory: &mut dyn GuestMemory, fd: u32, stat: u32) -> Result<(), Errno> {
    let descriptor = ctx.table.get(fd)?;
    let flags = match &descriptor.object {
        // The host's streams keep their flags to themselves, and a directory has none.
        Object::Input(_) | Object::Output(_) | Object::Dir(_) | Object::Ungranted => StatusFlags::default(),
        Object::File(file) => StatusFlags::of(file.as_fd())?,
        Object::Listener(socket) => StatusFlags::of(socket.as_fd())?,
        Object::Connection(socket) => StatusFlags::of(socket.as_fd())?,
    };
    let kind = filetype(descriptor.object.kind());
    memory.store(stat, &fdstat(kind, FdFlags::from_status(flags), descriptor.base, descriptor.inheriting))
}

pub(crate) fn fd_fdstat_set_flags(
    ctx: &mut WasiCtx,
    _memory: &mut dyn GuestMemory,
    fd: u32,
    flags: u32,
) -> Result<(), Errno> {
    let flags = FdFlags::from_guest(flags)?;
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::FD_FDSTAT_SET_FLAGS)?;
    match &descriptor.object {
        Object::File(file) => Ok(flags.status().apply(file.as_fd())?),
        Object::Listener(socket) => Ok(flags.status().apply(socket.as_fd())?),
        Object::Connection(socket) => Ok(flags.status().apply(socket.as_fd())?),
        // The host's streams are shared with the host: their flags are not the guest's to change.
        _ if flags == FdFlags::default() => Ok(()),
        Object::Input(_) | Object::Output(_) | Object::Dir(_) | Object::Ungranted => Err(Errno::NotSup),
    }
}

/// Rights can only be given up.
pub(crate) fn fd_fdstat_set_rights(
    ctx: &mut WasiCtx,
    _memory: &mut dyn GuestMemory,
    fd: u32,
    base: u64,
    inheriting: u64,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get_mut(fd)?;
    let (base, inheriting) = (Rights(base), Rights(inheriting));
    if !descriptor.base.contains(base) || !descriptor.inheriting.contains(inheriting) {
        return Err(Errno::NotCapable);
    }
    (descriptor.base, descriptor.inheriting) = (base, inheriting);
    Ok(())
}

pub(crate) fn fd_filestat_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    stat: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::FD_FILESTAT_GET)?;
    let found = match &descriptor.object {
        Object::File(file) => file.stat()?,
        Object::Dir(open) => open.dir.stat()?,
        other => Stat::of_kind(other.kind()),
    };
    memory.store(stat, &filestat(&found))
}

pub(crate) fn fd_filestat_set_size(
    ctx: &mut WasiCtx,
    _memory: &mut dyn GuestMemory,
    fd: u32,
    size: u64,
) -> Result<(), Errno> {
    let set = ctx.table.file(fd, Rights::FD_FILESTAT_SET_SIZE)?.set_size(size);
    ctx.settle(set)
}

pub(crate) fn fd_filestat_set_times(
    ctx: &mut WasiCtx,
    _memory: &mut dyn GuestMemory,
    fd: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Result<(), Errno> {
    let (accessed, modified) = new_times(accessed, modified, flags)?;
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::FD_FILESTAT_SET_TIMES)?;
    let set = match &descriptor.object {
        Object::File(file) => file.set_times(accessed, modified),
        Object::Dir(open) => open.dir.set_times(accessed, modified),
        _ => return Err(Errno::Inval),
    };
    ctx.settle(set)
}

/// What becomes of a file's times of access and modification.
pub(super) fn new_times(accessed: u64, modified: u64, flags: u32) -> Result<(NewTime, NewTime), Errno> {
    let flags = FstFlags::from_guest(flags)?;
    let one = |time, given, now| match (flags.contains(given), flags.contains(now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(NewTime::At(time)),
        (false, true) => Ok(NewTime::Now),
        (false, false) => Ok(NewTime::Keep),
    };
    let accessed = one(accessed, FstFlags::ATIM, FstFlags::ATIM_NOW)?;
    Ok((accessed, one(modified, FstFlags::MTIM, FstFlags::MTIM_NOW)?))
}

pub(crate) fn fd_prestat_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    prestat: u32,
) -> Result<(), Errno> {
    ctx.look_for_directory(fd);
    let length = super::memory::count(preopen(ctx, fd)?.len());
    memory.store(prestat, &prestat_dir(length))
}

pub(crate) fn fd_prestat_dir_name(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    buffer: u32,
    length: u32,
) -> Result<(), Errno> {
    let name = preopen(ctx, fd)?;
    if (length as usize) < name.len() {
        return Err(Errno::NameTooLong);
    }
    memory.store(buffer, name.as_bytes())
}

/// The guest's name of a granted directory.
fn preopen(ctx: &WasiCtx, fd: u32) -> Result<&str, Errno> {
    ctx.table.get(fd)?.preopen.as_deref().ok_or(Errno::BadF)
}

pub(crate) fn fd_advise(
    ctx: &mut WasiCtx,
    _memory: &mut dyn GuestMemory,
    fd: u32,
    offset: u64,
    length: u64,
    advice: u32,
) -> Result<(), Errno> {
    let advice = match advice {
        0 => Advice::Normal,
        1 => Advice::Sequential,
        2 => Advice::Random,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return Err(Errno::Inval),
    };
    let advised = ctx.table.file(fd, Rights::FD_ADVISE)?.advise(offset, length, advice);
    ctx.settle(advised)
}

pub(crate) fn fd_allocate(
    ctx: &mut WasiCtx,
    _memory: &mut dyn GuestMemory,
    fd: u32,
    offset: u64,
    length: u64,
) -> Result<(), Errno> {
    let allocated = ctx.table.file(fd, Rights::FD_ALLOCATE)?.allocate(offset, length);
    ctx.settle(allocated)
}

pub(crate) fn fd_datasync(ctx: &mut WasiCtx, _memory: &mut dyn GuestMemory, fd: u32) -> Result<(), Errno> {
    let descriptor = ctx.table.get(fd)?;
    match &descriptor.object {
        Object::File(file) => Ok(descriptor.require(Rights::FD_DATASYNC).map(|()| file.sync_data())??),
        Object::Dir(open) => Ok(descriptor.require(Rights::FD_DATASYNC).map(|()| open.dir.sync())??),
        _ => Err(Errno::Inval),
    }
}

pub(crate) fn fd_sync(ctx: &mut WasiCtx, _memory: &mut dyn GuestMemory, fd: u32) -> Result<(), Errno> {
    let descriptor = ctx.table.get(fd)?;
    match &descriptor.object {
        Object::File(file) => Ok(descriptor.require(Rights::FD_SYNC).map(|()| file.sync())??),
        Object::Dir(open) => Ok(descriptor.require(Rights::FD_SYNC).map(|()| open.dir.sync())??),
        _ => Err(Errno::Inval),
    }
}

pub(crate) fn fd_seek(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    offset: u64,
    whence: u32,
    position: u32,
) -> Result<(), Errno> {
    let offset = offset.cast_signed();
    let to = match whence {
        0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        _ => return Err(Errno::Inval),
    };
    let needed = if to == SeekFrom::Current(0) { Rights::FD_TELL } else { Rights::FD_SEEK };
    let file = ctx.table.file(fd, needed)?;
    memory.check(position, 8)?;
    memory.store_u64(position, file.seek(to)?)
}

pub(crate) fn fd_tell(ctx: &mut WasiCtx, memory: &mut dyn GuestMemory, fd: u32, position: u32) -> Result<(), Errno> {
    let file = ctx.table.file(fd, Rights::FD_TELL)?;
    memory.store_u64(position, file.seek(SeekFrom::Current(0))?)
}

#[cfg(test)]
mod tests;
