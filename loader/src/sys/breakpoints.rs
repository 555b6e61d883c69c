//! Code with breakpoints that are taken away while it runs.
//!
//! What comes in: code, and where in it breakpoints are to be. What goes out: a copy that is executable, and what takes
//! them away again. The copy is a file in memory that is mapped twice: no mapping is both writable and executable.
//! Taking one away is one store of as many bytes as a breakpoint has, so a thread that executes there meanwhile meets the
//! breakpoint or the code, and nothing else.
//!
//! # Safety
//! Both mappings are owned here and as long as the code; no reference into them is ever made.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::{arch, file, memory};

/// Bytes of a breakpoint.
pub(crate) const LEN: usize = arch::BREAKPOINT.len();

/// See the head of this file.
pub(crate) struct BreakpointText {
    run: *mut u8,
    write: *mut u8,
    len: usize,
}

// SAFETY: the mappings are not bound to a thread, and stored to by atomic operations only.
unsafe impl Send for BreakpointText {}
// SAFETY: as above.
unsafe impl Sync for BreakpointText {}

impl BreakpointText {
    /// A copy of `code`, which is not empty, with breakpoints at those of the offsets where one fits.
    pub(crate) fn new(code: &[u8], offsets: impl Iterator<Item = usize>) -> io::Result<BreakpointText> {
        let mut copy = code.to_vec();
        for offset in offsets {
            if let Some(place) = copy.get_mut(offset..).and_then(|rest| rest.first_chunk_mut()) {
                *place = arch::BREAKPOINT;
            }
        }
        let file = file::in_memory()?;
        file.write_all_at(&copy, 0)?;
        let len = copy.len();
        let write = map(&file, len, libc::PROT_READ | libc::PROT_WRITE)?;
        let mut text = BreakpointText { run: std::ptr::null_mut(), write, len };
        text.run = map(&file, len, libc::PROT_READ | libc::PROT_EXEC)?;
        Ok(text)
    }

    /// Where the copy is to be executed.
    pub(crate) fn start(&self) -> *const u8 {
        self.run
    }

    /// Stores `original` at `offset`, in place of a breakpoint or of what took its place already. May be called in a
    /// signal handler.
    pub(crate) fn remove(&self, offset: usize, original: [u8; LEN]) {
        if offset.checked_add(LEN).is_none_or(|end| end > self.len) {
            return;
        }
        // SAFETY: the place is inside both mappings, which live as long as this does.
        unsafe { arch::replace_code(self.write.add(offset), self.run.add(offset), original) };
    }
}

impl Drop for BreakpointText {
    fn drop(&mut self) {
        for mapping in [self.run, self.write].into_iter().filter(|mapping| !mapping.is_null()) {
            // SAFETY: the mapping is ours, and nobody runs the code any more.
            unsafe { memory::unmap(mapping, self.len) };
        }
    }
}

fn map(file: &File, len: usize, protection: libc::c_int) -> io::Result<*mut u8> {
    // SAFETY: without MAP_FIXED the kernel picks addresses that nobody uses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}
