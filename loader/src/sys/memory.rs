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

/// `MADV_GUARD_INSTALL` (Linux 6.13): a marker in the page tables instead of a mapping of its own.
const MADV_GUARD_INSTALL: libc::c_int = 102;

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
    if !stacks_have_no_huge_pages() {
        // SAFETY: the range is new.
        unsafe { without_huge_pages(start.cast(), len) };
    }
    Ok(start.cast())
}

/// Whether the kernel keeps huge pages out of what is mapped as a stack: Linux does since 6.7.
fn stacks_have_no_huge_pages() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        // SAFETY: the structure is plain bytes, which the call fills in.
        let mut names: libc::utsname = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is live.
        if unsafe { libc::uname(&raw mut names) } != 0 {
            return false;
        }
        let release: Vec<u8> = names.release.iter().map(|byte| *byte as u8).collect();
        is_at_least(&release, (6, 7))
    })
}

/// Whether a kernel's release begins with this version or a later one.
fn is_at_least(release: &[u8], version: (u32, u32)) -> bool {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found >= version
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

/// Gives a writable range its own pages now, so that no write to it is a fault. Kernels before Linux 5.14 do nothing.
///
/// # Safety
/// See the module's head.
pub(crate) unsafe fn populate(start: *mut u8, len: usize) {
    // SAFETY: the caller owns the range.
    unsafe { libc::madvise(start.cast(), len, libc::MADV_POPULATE_WRITE) };
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
    fn releases_are_compared_as_numbers() {
        let is_new = |release: &str| is_at_least(release.as_bytes(), (6, 7));
        assert!(is_new("6.7.0") && is_new("6.18.44-fc-v669") && is_new("10.0") && is_new("6.7-rc1\0\0"));
        assert!(!is_new("6.6.99") && !is_new("5.15.0-generic") && !is_new("") && !is_new("linux"));
    }
}
