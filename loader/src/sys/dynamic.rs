//! Mapping through the dynamic linker, which is where debuggers look for symbols.

use std::ffi::{CStr, CString, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;

/// A file opened with `dlopen`; closed when dropped.
pub(crate) struct Library {
    handle: *mut c_void,
    load_address: usize,
}

// SAFETY: the dynamic linker's functions may be called from any thread, and the handle is only closed once.
unsafe impl Send for Library {}
// SAFETY: as above; shared use reads a number.
unsafe impl Sync for Library {}

/// The public part of `struct link_map` (`link.h`) that we need.
#[repr(C)]
struct LinkMap {
    l_addr: usize,
}

impl Library {
    /// Opens `file` by its descriptor, under a name that other processes can follow while this one lives.
    ///
    /// # Safety
    /// Nothing of the file runs: it has no initialisers and needs no other library.
    pub(crate) unsafe fn open(file: &File) -> Result<Library, String> {
        let path = CString::new(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())).unwrap_or_default();
        // SAFETY: the path is a C string, and the caller vouches that opening runs nothing.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(last_error());
        }
        let mut library = Library { handle, load_address: 0 };
        let mut map: *const LinkMap = std::ptr::null();
        // SAFETY: the handle is open, and this request stores one pointer to a structure that lives as long.
        unsafe {
            if libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) != 0 || map.is_null() {
                return Err(last_error());
            }
            library.load_address = (*map).l_addr;
        }
        Ok(library)
    }

    /// What to add to a virtual address of the file.
    pub(crate) fn load_address(&self) -> usize {
        self.load_address
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the handle is open and not used afterwards.
        unsafe { libc::dlclose(self.handle) };
    }
}

fn last_error() -> String {
    // SAFETY: dlerror returns null or a C string that stays valid until this thread's next call.
    unsafe {
        let message = libc::dlerror();
        if message.is_null() { "unknown error".into() } else { CStr::from_ptr(message).to_string_lossy().into_owned() }
    }
}
