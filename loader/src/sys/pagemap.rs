//! Which pages of a range are private and dirty: the `PAGEMAP_SCAN` ioctl (Linux 6.7, `linux/fs.h`).
//!
//! What comes in: a range of our own addresses. What goes out: the runs of pages that were written since they were
//! mapped. A page that was swapped out is as dirty as one that is present; one that still belongs to the file, or is
//! the kernel's shared page of zeros, is clean.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::IntoRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use super::memory;

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArgs {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: u64 = 3 << 30 | (size_of::<ScanArgs>() as u64) << 16 | (b'f' as u64) << 8 | 16;

const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// Runs that one call of the kernel can report; when there are more, the walk goes on where it stopped.
const REGIONS: usize = 64;

/// Calls `visit` with each run of dirty private pages in `range`, in order, until it returns `false`.
///
/// # Errors
/// If the kernel has no such ioctl, or `/proc` is not mounted.
pub(crate) fn for_each_dirty(range: Range<usize>, mut visit: impl FnMut(Range<usize>) -> bool) -> io::Result<()> {
    let pagemap = descriptor()?;
    let mut regions = [PageRegion { start: 0, end: 0, categories: 0 }; REGIONS];
    let mut at = range.start as u64;
    while at < range.end as u64 {
        let mut args = ScanArgs {
            size: size_of::<ScanArgs>() as u64,
            flags: 0,
            start: at,
            end: range.end as u64,
            walk_end: 0,
            vec: regions.as_mut_ptr() as u64,
            vec_len: REGIONS as u64,
            max_pages: 0,
            category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            return_mask: PAGE_IS_PRESENT,
        };
        // SAFETY: `args` is the structure this request takes, and `vec` has room for `vec_len` regions.
        let found = unsafe { libc::ioctl(pagemap, PAGEMAP_SCAN as _, &raw mut args) };
        if found < 0 {
            return Err(io::Error::last_os_error());
        }
        for region in regions.iter().take(found as usize) {
            if !visit(region.start as usize..region.end as usize) {
                return Ok(());
            }
        }
        if args.walk_end <= at {
            return Err(io::Error::other("the page walk made no progress"));
        }
        at = args.walk_end;
    }
    Ok(())
}

/// A descriptor of `/proc/self/pagemap`, which is that of the process that opened it: a child made by `fork` needs its
/// own, or it would be told of its parent's pages. So the number is kept in a page that the kernel wipes on fork, plus
/// one, so that zero says "not opened".
fn descriptor() -> io::Result<i32> {
    static CELL: OnceLock<Option<&'static AtomicI32>> = OnceLock::new();
    let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
    let cell = CELL.get_or_init(wiped_on_fork).ok_or_else(unsupported)?;
    match cell.load(Ordering::Acquire) {
        0 => {
            let opened = File::open("/proc/self/pagemap")?.into_raw_fd();
            match cell.compare_exchange(0, opened + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => Ok(opened),
                Err(other) => {
                    // SAFETY: this thread opened the descriptor and nobody else has seen it.
                    unsafe { libc::close(opened) };
                    Ok(other - 1)
                }
            }
        }
        opened => Ok(opened - 1),
    }
}

/// A word that is zero in a child after `fork`; never freed.
fn wiped_on_fork() -> Option<&'static AtomicI32> {
    let len = memory::page_size();
    let page = memory::reserve(len).ok()?;
    // SAFETY: the page was reserved just now and is nobody else's; opened, it holds zeros, a valid AtomicI32.
    unsafe {
        memory::open(page, len).ok()?;
        memory::check(libc::madvise(page.cast(), len, libc::MADV_WIPEONFORK)).ok()?;
        Some(&*page.cast::<AtomicI32>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_pages_are_dirty_and_read_ones_are_not() {
        let page = memory::page_size();
        let len = 300 * page;
        let start = memory::reserve(len).unwrap();
        let mut dirty = Vec::new();
        // SAFETY: the range is reserved here, accessed only here, and unmapped at the end.
        unsafe {
            memory::open(start, len).unwrap();
            memory::without_huge_pages(start, len);
            // More runs than one call reports.
            (0..150).for_each(|i| start.add(2 * i * page).write(1));
            (0..150).for_each(|i| assert_eq!(start.add((2 * i + 1) * page).read_volatile(), 0));
            let range = start.addr()..start.addr() + len;
            for_each_dirty(range, |run| {
                dirty.push((run.start - start.addr()) / page);
                assert_eq!(run.len(), page);
                true
            })
            .unwrap();
            memory::unmap(start, len);
        }
        assert_eq!(dirty, (0..150).map(|i| 2 * i).collect::<Vec<_>>());
    }
}
