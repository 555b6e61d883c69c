//! `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`: one call of the host for one call of the guest, over as many of its
//! buffers as one transfer takes.

use super::errno::Errno;
use super::memory::{GuestMemory, count};
use super::table::Object;
use super::types::Rights;
use crate::WasiCtx;

/// The guest's standard error.
const STDERR: u32 = 2;

pub(crate) fn fd_read(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    read: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get_mut(fd)?;
    if let Object::Dir(_) = descriptor.object {
        return Err(Errno::IsDir);
    }
    descriptor.require(Rights::FD_READ)?;
    let buffers = memory.buffers(iovs, iovs_len)?;
    memory.check(read, 4)?;
    let mut bytes = buffers.room();
    let length = match &mut descriptor.object {
        Object::Input(input) => input.read(&mut bytes)?,
        Object::File(file) => file.read(&mut bytes)?,
        Object::Connection(socket) => socket.receive(&mut bytes, false, false)?,
        Object::Output(_) | Object::Dir(_) | Object::Listener(_) => return Err(Errno::BadF),
    };
    buffers.scatter(memory, &bytes[..length])?;
    memory.store_u32(read, count(length))
}

pub(crate) fn fd_write(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    written: u32,
) -> Result<(), Errno> {
    if fd == STDERR {
        ctx.note_complaint();
    }
    let descriptor = ctx.table.get(fd)?;
    if let Object::Dir(_) = descriptor.object {
        return Err(Errno::IsDir);
    }
    descriptor.require(Rights::FD_WRITE)?;
    let bytes = memory.buffers(iovs, iovs_len)?.gather(memory)?;
    memory.check(written, 4)?;
    let length = match &descriptor.object {
        Object::Output(output) => output.write(&bytes)?,
        Object::File(file) => file.write(&bytes)?,
        Object::Connection(socket) => socket.send(&bytes)?,
        Object::Input(_) | Object::Dir(_) | Object::Listener(_) => return Err(Errno::BadF),
    };
    memory.store_u32(written, count(length))
}

pub(crate) fn fd_pread(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    read: u32,
) -> Result<(), Errno> {
    let file = ctx.table.file(fd, Rights::FD_READ.with(Rights::FD_SEEK))?;
    let buffers = memory.buffers(iovs, iovs_len)?;
    memory.check(read, 4)?;
    let mut bytes = buffers.room();
    let length = file.read_at(&mut bytes, offset)?;
    buffers.scatter(memory, &bytes[..length])?;
    memory.store_u32(read, count(length))
}

pub(crate) fn fd_pwrite(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    written: u32,
) -> Result<(), Errno> {
    let file = ctx.table.file(fd, Rights::FD_WRITE.with(Rights::FD_SEEK))?;
    let bytes = memory.buffers(iovs, iovs_len)?.gather(memory)?;
    memory.check(written, 4)?;
    memory.store_u32(written, count(file.write_at(&bytes, offset)?))
}
