//! `fd_readdir`: the names in a directory, as far as the guest's buffer goes.

use super::errno::Errno;
use super::memory::{GuestMemory, count};
use super::types::{Rights, dirent};
use crate::WasiCtx;
use crate::fs::Entry;

/// Writes entries from the one that `cookie` stands for; each carries the cookie of the next. A buffer that is not
/// filled means the end, so the last entry may be cut off to fill it.
///
/// A cookie is an index into the entries as they were when the guest began at 0.
pub(crate) fn fd_readdir(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    fd: u32,
    buffer: u32,
    length: u32,
    cookie: u64,
    used: u32,
) -> Result<(), Errno> {
    memory.check(buffer, length)?;
    memory.check(used, 4)?;
    let open = ctx.table.dir_mut(fd, Rights::FD_READDIR)?;
    let kept = if cookie == 0 { None } else { open.listing.take() };
    let entries = match kept.map_or_else(|| open.dir.entries(), Ok) {
        Ok(entries) => entries,
        Err(error) => return ctx.settle(Err(error)),
    };
    let filled = store_entries(&entries, memory, buffer, length, cookie)?;
    if filled == length {
        open.listing = Some(entries);
    }
    memory.store_u32(used, filled)
}

/// Number of bytes written.
fn store_entries(
    entries: &[Entry],
    memory: &mut dyn GuestMemory,
    buffer: u32,
    length: u32,
    cookie: u64,
) -> Result<u32, Errno> {
    let mut filled = 0;
    let first = usize::try_from(cookie).unwrap_or(usize::MAX);
    for (index, entry) in entries.iter().enumerate().skip(first) {
        let header = dirent(index as u64 + 1, entry.inode, count(entry.name.len()), entry.kind);
        for bytes in [&header[..], entry.name.as_bytes()] {
            // `filled` never exceeds `length`, and both ends of the buffer are in bounds.
            let fits = bytes.len().min((length - filled) as usize);
            memory.store(buffer.wrapping_add(filled), &bytes[..fits])?;
            filled += count(fits);
        }
        if filled == length {
            break;
        }
    }
    Ok(filled)
}
