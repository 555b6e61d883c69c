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
    ctx.dir(fd, Rights::FD_READDIR, ".")?;
    let open = ctx.table.dir_mut(fd, Rights::FD_READDIR)?;
    let kept = if cookie == 0 { None } else { open.listing.take() };
    let entries = match kept.map_or_else(|| open.dir.entries(), Ok) {
        Ok(entries) => entries,
        Err(error) => return ctx.settle(Err(error)),
    };
    let filled = store_entries(&entries, memory, buffer, length, cookie)?;
    if filled == length {
        ctx.table.keep_listing(fd, entries);
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

#[cfg(test)]
mod tests {
    use super::super::path::{path_create_directory, path_unlink_file};
    use super::super::testing::{DIR, context, memory, put, u32_at, u64_at, with_directory};
    use super::*;
    use crate::Grants;

    /// The names that one call gives, with their cookies.
    fn names(memory: &[u8], buffer: usize, used: usize) -> Vec<(String, u64)> {
        let (mut at, mut names) = (buffer, Vec::new());
        while at + 24 <= buffer + used {
            let length = u32_at(memory, at + 16) as usize;
            if at + 24 + length > buffer + used {
                break;
            }
            names.push((String::from_utf8(memory[at + 24..at + 24 + length].into()).unwrap(), u64_at(memory, at)));
            at += 24 + length;
        }
        names
    }

    #[test]
    fn all_names_are_listed_from_any_cookie() {
        let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
        fd_readdir(&mut guest.ctx, &mut memory, DIR, 0x1000, 0x1000, 0, 0).unwrap();
        let used = u32_at(&memory, 0) as usize;
        let all = names(&memory, 0x1000, used);
        assert_eq!(all.iter().map(|entry| entry.1).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!((&*all[0].0, &*all[1].0), (".", ".."));
        fd_readdir(&mut guest.ctx, &mut memory, DIR, 0x1000, 0x1000, 3, 0).unwrap();
        let used = u32_at(&memory, 0) as usize;
        assert_eq!(names(&memory, 0x1000, used), all[3..]);
        fd_readdir(&mut guest.ctx, &mut memory, DIR, 0x1000, 0x1000, u64::MAX, 0).unwrap();
        assert_eq!(u32_at(&memory, 0), 0);
    }

    #[test]
    fn a_short_buffer_is_filled_and_cookies_outlive_changes() {
        let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
        fd_readdir(&mut guest.ctx, &mut memory, DIR, 0x1000, 60, 0, 0).unwrap();
        assert_eq!(u32_at(&memory, 0), 60);
        assert_eq!(names(&memory, 0x1000, 60).len(), 2);
        let (path, length) = put(&mut memory, 0x800, "file");
        path_unlink_file(&mut guest.ctx, &mut memory, DIR, path, length).unwrap();
        let (path, length) = put(&mut memory, 0x800, "new");
        path_create_directory(&mut guest.ctx, &mut memory, DIR, path, length).unwrap();
        fd_readdir(&mut guest.ctx, &mut memory, DIR, 0x1000, 0x1000, 2, 0).unwrap();
        let mut rest: Vec<_> = names(&memory, 0x1000, u32_at(&memory, 0) as usize);
        rest.sort();
        assert_eq!(rest.iter().map(|entry| &*entry.0).collect::<Vec<_>>(), ["file", "sub"]);
    }

    #[test]
    fn only_directories_are_read() {
        let (mut guest, mut memory) = (context(Grants::none()), memory());
        assert_eq!(fd_readdir(&mut guest.ctx, &mut memory, 0, 0, 64, 0, 128), Err(Errno::NotDir));
        assert_eq!(fd_readdir(&mut guest.ctx, &mut memory, DIR, 0, 64, 0, 128), Err(Errno::BadF));
        assert_eq!(fd_readdir(&mut guest.ctx, &mut memory, DIR, 0, u32::MAX, 0, 0), Err(Errno::Fault));
    }
}
