//! `sock_*`, on the sockets that grants opened: a guest cannot make one itself.

#![allow(clippy::too_many_arguments, reason = "the ABI's")]

use std::net::Shutdown;

use super::errno::Errno;
use super::memory::{GuestMemory, count};
use super::table::{Descriptor, Object};
use super::types::{FdFlags, RiFlags, Rights, SdFlags};
use crate::WasiCtx;
use crate::net::Connection;

pub(crate) fn sock_accept(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    flags: u32,
    accepted: u32,
) -> Result<(), Errno> {
    let flags = FdFlags::from_guest(flags)?;
    if !FdFlags::NONBLOCK.contains(flags) {
        return Err(Errno::Inval);
    }
    memory.check(accepted, 4)?;
    ctx.require_open(fd, "a listening socket", "listen:HOST:PORT")?;
    let descriptor = ctx.table.get(fd)?;
    let listener = match &descriptor.object {
        Object::Listener(listener) => listener,
        Object::Connection(_) => return Err(Errno::Inval),
        _ => return Err(Errno::NotSock),
    };
    descriptor.require(Rights::SOCK_ACCEPT)?;
    // Not after a connection has been taken: it would be lost.
    ctx.table.check_room()?;
    let connection = listener.accept()?;
    flags.status().apply(connection.as_fd())?;
    let number = ctx.table.insert(Descriptor::connection(connection))?;
    memory.store_u32(accepted, number)
}

pub(crate) fn sock_recv(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    flags: u32,
    received: u32,
    out_flags: u32,
) -> Result<(), Errno> {
    let flags = RiFlags::from_guest(flags)?;
    let socket = connection(ctx, fd, Rights::FD_READ)?;
    let buffers = memory.buffers(iovs, iovs_len)?;
    memory.check(received, 4)?;
    memory.check(out_flags, 2)?;
    let mut bytes = buffers.room();
    let length = socket.receive(&mut bytes, flags.contains(RiFlags::PEEK), flags.contains(RiFlags::WAITALL))?;
    buffers.scatter(memory, &bytes[..length])?;
    memory.store_u32(received, count(length))?;
    // A stream never cuts a message off.
    memory.store(out_flags, &0u16.to_le_bytes())
}

pub(crate) fn sock_send(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    flags: u32,
    sent: u32,
) -> Result<(), Errno> {
    // The ABI has no flags yet.
    if flags != 0 {
        return Err(Errno::Inval);
    }
    let socket = connection(ctx, fd, Rights::FD_WRITE)?;
    let bytes = memory.buffers(iovs, iovs_len)?.gather(memory)?;
    memory.check(sent, 4)?;
    memory.store_u32(sent, count(socket.send(&bytes)?))
}

pub(crate) fn sock_shutdown(ctx: &mut WasiCtx, _memory: &mut dyn GuestMemory, fd: u32, how: u32) -> Result<(), Errno> {
    let how = SdFlags::from_guest(how)?;
    let how = match (how.contains(SdFlags::RD), how.contains(SdFlags::WR)) {
        (true, true) => Shutdown::Both,
        (true, false) => Shutdown::Read,
        (false, true) => Shutdown::Write,
        (false, false) => return Err(Errno::Inval),
    };
    Ok(connection(ctx, fd, Rights::SOCK_SHUTDOWN)?.shutdown(how)?)
}

/// The connection behind a descriptor that has `rights`.
fn connection(ctx: &mut WasiCtx, fd: u32, rights: Rights) -> Result<&Connection, Errno> {
    ctx.require_open(fd, "a connected socket", "net:HOST:PORT")?;
    let descriptor = ctx.table.get(fd)?;
    match &descriptor.object {
        Object::Connection(connection) => descriptor.require(rights).map(|()| connection),
        Object::Listener(_) => Err(Errno::NotConn),
        _ => Err(Errno::NotSock),
    }
}

#[cfg(test)]
mod tests;
