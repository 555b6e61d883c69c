//! Address ranges: reserve, protect, map, give back.
//!
//! # Safety
//! Every function here changes what is mapped at the given addresses. The caller owns the whole range, as part of a
//! reservation of its own, and holds no reference into it that the change would invalidate. Lengths and addresses are
//! multiples of [`page_size`] or are rounded up by the kernel.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// `MADV_GUARD_INSTALL` (Linux 6.13): a marker in the page tables instead of a mapping of its own.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// `MADV_GUARD_REMOVE` (Linux 6.13).
const MADV_GUARD_REMOVE: libc::c_int = 103;

/// Bytes of a page of the running system.
pub(crate) fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    // SAFETY: sysconf only reads a constant of the system.
    *SIZE.get_or_init(|| usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096))
}

/// Reserves `len` bytes of addresses that cannot be accessed yet, and will have no huge pages.
pub(crate) fn reserve(len: usize) -> io::Result<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: without MAP_FIXED the kernel picks addresses that nobody uses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Linux keeps huge pages out of what is mapped as a stack since 6.7.
    if !kernel_is_at_least((6, 7)) {
        // SAFETY: the range is new.
        unsafe { without_huge_pages(start.cast(), len) };
    }
    Ok(start.cast())
}

/// Whether this is Linux of that version or a later one.
fn kernel_is_at_least(version: (u32, u32)) -> bool {
    static KNOWN: OnceLock<(u32, u32)> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        // SAFETY: the structure is plain bytes, which the call fills in.
        let mut names: libc::utsname = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is live.
        if unsafe { libc::uname(&raw mut names) } != 0 {
            return (0, 0);
        }
        let release: Vec<u8> = names.release.iter().map(|byte| *byte as u8).collect();
        version_of(&release)
    });
    *known >= version
}

/// The version that a kernel's release begins with.
fn version_of(release: &[u8]) -> (u32, u32) {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Bytes of addresses that this process may have, if that is limited.
pub(crate) fn address_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the call stores one structure.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    (known && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Unmaps a range.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn unmap(start: *mut u8, len: usize) {
    // SAFETY: the caller owns the range. Unmapping a whole mapping cannot fail.
    unsafe { libc::munmap(start.cast(), len) };
}

/// Makes a range readable and writable.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn open(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::mprotect(start.cast(), len, libc::PROT_READ | libc::PROT_WRITE) })
}

/// Makes a range readable, but not writable.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn make_readable(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::mprotect(start.cast(), len, libc::PROT_READ) })
}

/// Gives writable ranges their own pages now, so that no write to them is a fault. Kernels before Linux 5.14 do nothing.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn populate(ranges: impl Iterator<Item = (*mut u8, usize)>) {
    // SAFETY: the caller owns the ranges. What has no page yet will have one when it is written.
    let _ = unsafe { advise(ranges, libc::MADV_POPULATE_WRITE) };
}

/// Ranges that one call of the kernel is told of.
const PARTS: usize = 32;

/// `PIDFD_SELF` (Linux 6.14).
const PIDFD_SELF: libc::c_int = -10000;

/// Gives the kernel advice on several ranges, of which nobody minds if it is given twice.
///
/// # Safety
/// See the module's head.
unsafe fn advise(ranges: impl Iterator<Item = (*mut u8, usize)>, advice: libc::c_int) -> io::Result<()> {
    let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; PARTS];
    let mut ranges = ranges.peekable();
    while ranges.peek().is_some() {
        let filled = parts.iter_mut().zip(ranges.by_ref()).map(|(part, (start, len))| {
            *part = libc::iovec { iov_base: start.cast(), iov_len: len };
        });
        let count = filled.count();
        // SAFETY: the caller owns the ranges.
        unsafe { advise_parts(&parts[..count], advice) }?;
    }
    Ok(())
}

/// Whether the kernel, or who watches over what it is asked, does not take several ranges in one call from a process about
/// itself, as Linux does since 6.14.
static ONE_BY_ONE: AtomicBool = AtomicBool::new(false);

/// # Safety
/// As [`advise`].
unsafe fn advise_parts(parts: &[libc::iovec], advice: libc::c_int) -> io::Result<()> {
    if parts.len() > 1 && !ONE_BY_ONE.load(Ordering::Relaxed) {
        // SAFETY: the caller owns the ranges, which `parts` has.
        let done =
            unsafe { libc::syscall(libc::SYS_process_madvise, PIDFD_SELF, parts.as_ptr(), parts.len(), advice, 0) };
        if done >= 0 && done as usize == parts.iter().map(|part| part.iov_len).sum::<usize>() {
            return Ok(());
        }
        let refused = [libc::ENOSYS, libc::EPERM, libc::EBADF, libc::EINVAL];
        if done < 0 && io::Error::last_os_error().raw_os_error().is_some_and(|error| refused.contains(&error)) {
            ONE_BY_ONE.store(true, Ordering::Relaxed);
        }
    }
    // SAFETY: the caller owns the ranges.
    parts.iter().try_for_each(|part| check(unsafe { libc::madvise(part.iov_base, part.iov_len, advice) }))
}

/// Has the system read what a mapped file has here, without waiting for it.
pub(crate) fn will_need(bytes: &[u8]) {
    let start = bytes.as_ptr().map_addr(|address| address / page_size() * page_size());
    let len = bytes.len() + (bytes.as_ptr().addr() - start.addr());
    // SAFETY: this advice changes nothing that anybody can see, wherever it is about.
    unsafe { libc::madvise(start.cast_mut().cast(), len, libc::MADV_WILLNEED) };
}

/// Makes a range inaccessible.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn close(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::mprotect(start.cast(), len, libc::PROT_NONE) })
}

/// Makes a range of a file mapping executable.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn make_executable(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::mprotect(start.cast(), len, libc::PROT_READ | libc::PROT_EXEC) })
}

/// Replaces a range by private, writable pages of `file`.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn map_file(start: *mut u8, len: usize, file: &File, offset: u64) -> io::Result<()> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the caller owns the range that MAP_FIXED replaces.
    let at = unsafe { libc::mmap(start.cast(), len, access, flags, file.as_raw_fd(), offset) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Drops the private pages of a range, so that it reads as its file, or as zero.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn discard(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::madvise(start.cast(), len, libc::MADV_DONTNEED) })
}

/// Makes a range of an anonymous mapping a guard: without a mapping of its own where the kernel can do that.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn guard(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    if unsafe { libc::madvise(start.cast(), len, MADV_GUARD_INSTALL) } == 0 {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { close(start, len) }
}

/// Whether a call of [`mark`] failed.
static MARKING_FAILED: AtomicBool = AtomicBool::new(false);

/// Whether [`mark`] is of use: the kernel has markers, takes several ranges in one call, and tells other processors of all
/// of them at once, as Linux does since 6.16.
pub(crate) fn has_markers() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let try_them = || {
        let len = 3 * page_size();
        let Ok(start) = reserve(len) else { return false };
        // SAFETY: the pages are reserved here, and nobody else knows of them. What can be done with pages is asked of
        // writable ones, as it will be.
        unsafe {
            let ends = [start, start.add(2 * page_size())].into_iter().map(|page| (page, page_size()));
            let has_them = open(start, len).is_ok() && mark(ends).is_ok() && unmark(start, page_size()).is_ok();
            unmap(start, len);
            has_them && !ONE_BY_ONE.load(Ordering::Relaxed)
        }
    };
    *KNOWN.get_or_init(|| kernel_is_at_least((6, 16)) && try_them()) && !MARKING_FAILED.load(Ordering::Relaxed)
}

/// Drops the private pages of anonymous ranges and marks them as guards: see [`has_markers`], which is false after a failure.
/// Mappings stay as they are.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn mark(ranges: impl Iterator<Item = (*mut u8, usize)> + Clone) -> io::Result<()> {
    // SAFETY: the caller owns the ranges. Where there are no pages any more, there is nobody to be told of a guard.
    let marked =
        unsafe { advise(ranges.clone(), libc::MADV_DONTNEED).and_then(|()| advise(ranges, MADV_GUARD_INSTALL)) };
    if marked.is_err() {
        MARKING_FAILED.store(true, Ordering::Relaxed);
    }
    marked
}

/// Makes a marked range accessible, and zero.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn unmark(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::madvise(start.cast(), len, MADV_GUARD_REMOVE) })
}

/// Keeps a range out of forked children, whose pools would otherwise share it copy-on-write.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn keep_from_children(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::madvise(start.cast(), len, libc::MADV_DONTFORK) })
}

/// Keeps huge pages out of a range: each would count as 512 dirty ones. Kernels without them refuse this advice and do
/// not need it.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn without_huge_pages(start: *mut u8, len: usize) {
    // SAFETY: the caller owns the range.
    unsafe { libc::madvise(start.cast(), len, libc::MADV_NOHUGEPAGE) };
}

pub(super) fn check(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn populated_pages_are_there_before_anybody_writes() {
        // The last one is for a call of its own.
        let (page, count) = (page_size(), 3 * PARTS + 1);
        let len = 2 * count * page;
        let start = reserve(len).unwrap();
        let mut resident = vec![0u8; 2 * count];
        // SAFETY: the range is reserved here, accessed only here, and unmapped at the end; the array has a byte for each page.
        unsafe {
            open(start, len).unwrap();
            populate((0..count).map(|index| (start.add(2 * index * page), page)));
            assert_eq!(libc::mincore(start.cast(), len, resident.as_mut_ptr()), 0);
            unmap(start, len);
        }
        let there = resident.iter().enumerate().filter(|(_, page)| **page & 1 != 0).map(|(index, _)| index);
        assert_eq!(there.collect::<Vec<_>>(), (0..count).map(|index| 2 * index).collect::<Vec<_>>());
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        let is_new = |release: &str| version_of(release.as_bytes()) >= (6, 7);
        assert!(is_new("6.7.0") && is_new("6.18.44-fc-v669") && is_new("10.0") && is_new("6.7-rc1\0\0"));
        assert!(!is_new("6.6.99") && !is_new("5.15.0-generic") && !is_new("") && !is_new("linux"));
    }
}
