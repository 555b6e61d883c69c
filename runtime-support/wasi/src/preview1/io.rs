//! `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`: one call of the host for one call of the guest, over as many of its
//! buffers as one transfer takes.

use super::errno::Errno;
use super::memory::{GuestMemory, count};
use super::table::Object;
use super::types::Rights;
use crate::WasiCtx;

pub(crate) fn fd_read(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    read: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get_mut(fd)?;
    if let Object::Dir(_) | Object::Ungranted = descriptor.object {
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
        Object::Output(_) | Object::Dir(_) | Object::Ungranted | Object::Listener(_) => return Err(Errno::BadF),
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
    let descriptor = ctx.table.get(fd)?;
    if let Object::Dir(_) | Object::Ungranted = descriptor.object {
        return Err(Errno::IsDir);
    }
    descriptor.require(Rights::FD_WRITE)?;
    let bytes = memory.buffers(iovs, iovs_len)?.gather(memory)?;
    memory.check(written, 4)?;
    let length = match &descriptor.object {
        Object::Output(output) => output.write(&bytes)?,
        Object::File(file) => file.write(&bytes)?,
        Object::Connection(socket) => socket.send(&bytes)?,
        Object::Input(_) | Object::Dir(_) | Object::Ungranted | Object::Listener(_) => return Err(Errno::BadF),
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

#[cfg(test)]
mod tests {
    use super::super::testing::{DIR, buffer, context, memory, open, put, u32_at, with_directory};
    use super::*;
    use crate::Grants;

    const READ_WRITE: u64 = Rights::FD_READ.with(Rights::FD_WRITE).0;

    #[test]
    fn standard_streams_carry_bytes() {
        let (mut guest, mut memory) = (context(Grants::none()), memory());
        let iovs = buffer(&mut memory, 0x200, 3);
        fd_read(&mut guest.ctx, &mut memory, 0, iovs, 1, 0).unwrap();
        assert_eq!((u32_at(&memory, 0), &memory[0x200..0x203]), (3, &b"inp"[..]));
        fd_write(&mut guest.ctx, &mut memory, 1, iovs, 1, 0).unwrap();
        fd_write(&mut guest.ctx, &mut memory, 2, iovs, 1, 0).unwrap();
        assert_eq!((guest.stdout.contents(), guest.stderr.contents()), (b"inp".to_vec(), b"inp".to_vec()));
        assert_eq!(fd_read(&mut guest.ctx, &mut memory, 1, iovs, 1, 0), Err(Errno::NotCapable));
        assert_eq!(fd_write(&mut guest.ctx, &mut memory, 0, iovs, 1, 0), Err(Errno::NotCapable));
        assert_eq!(fd_pread(&mut guest.ctx, &mut memory, 0, iovs, 1, 0, 0), Err(Errno::SPipe));
        assert_eq!(fd_pwrite(&mut guest.ctx, &mut memory, 1, iovs, 1, 0, 0), Err(Errno::SPipe));
    }

    #[test]
    fn a_bad_buffer_loses_no_input() {
        let (mut guest, mut memory) = (context(Grants::none()), memory());
        let iovs = buffer(&mut memory, 0xffff, 2);
        assert_eq!(fd_read(&mut guest.ctx, &mut memory, 0, iovs, 1, 0), Err(Errno::Fault));
        let iovs = buffer(&mut memory, 0x200, 8);
        assert_eq!(fd_read(&mut guest.ctx, &mut memory, 0, iovs, 1, 0xffff), Err(Errno::Fault));
        fd_read(&mut guest.ctx, &mut memory, 0, iovs, 1, 0).unwrap();
        assert_eq!(&memory[0x200..0x205], b"input");
    }

    #[test]
    fn positioned_transfers_leave_the_position() {
        let ((temp, mut guest), mut memory) = (with_directory(false), memory());
        let file = open(&mut guest.ctx, &mut memory, "file", 0, READ_WRITE).unwrap();
        let iovs = buffer(&mut memory, 0x200, 4);
        fd_pread(&mut guest.ctx, &mut memory, file, iovs, 1, 8, 0).unwrap();
        assert_eq!((u32_at(&memory, 0), &memory[0x200..0x204]), (2, &b"89\0\0"[..]));
        put(&mut memory, 0x200, "abcd");
        fd_pwrite(&mut guest.ctx, &mut memory, file, iovs, 1, 8, 0).unwrap();
        fd_read(&mut guest.ctx, &mut memory, file, iovs, 1, 0).unwrap();
        assert_eq!(&memory[0x200..0x204], b"0123");
        assert_eq!(std::fs::read(temp.path().join("file")).unwrap(), b"01234567abcd");
        assert_eq!(fd_pread(&mut guest.ctx, &mut memory, file, iovs, 1, u64::MAX, 0), Err(Errno::Inval));
        assert_eq!(fd_pwrite(&mut guest.ctx, &mut memory, file, iovs, 1, u64::MAX, 0), Err(Errno::Inval));
    }

    #[test]
    fn directories_have_no_bytes() {
        let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
        assert_eq!(fd_read(&mut guest.ctx, &mut memory, DIR, 0, 0, 0), Err(Errno::IsDir));
        assert_eq!(fd_write(&mut guest.ctx, &mut memory, DIR, 0, 0, 0), Err(Errno::IsDir));
        assert_eq!(fd_pread(&mut guest.ctx, &mut memory, DIR, 0, 0, 0, 0), Err(Errno::IsDir));
        assert_eq!(fd_pwrite(&mut guest.ctx, &mut memory, DIR, 0, 0, 0, 0), Err(Errno::IsDir));
        assert_eq!(fd_read(&mut guest.ctx, &mut memory, 99, 0, 0, 0), Err(Errno::BadF));
        assert_eq!(fd_write(&mut guest.ctx, &mut memory, 99, 0, 0, 0), Err(Errno::BadF));
    }
}
