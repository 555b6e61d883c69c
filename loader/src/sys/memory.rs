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

/// Reserves `len` bytes of addresses that cannot be accessed yet.
pub(crate) fn reserve(len: usize) -> io::Result<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: without MAP_FIXED the kernel picks addresses that nobody uses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
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
