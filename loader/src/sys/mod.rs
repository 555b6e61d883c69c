//! The operating system and the instruction set: all system calls and all assembly of the crate.
//!
//! One file for each concern of the kernel, one for each instruction set; the latter define the same names, which are
//! used from here as `arch`. Nothing above this folder calls `libc`.

pub(crate) mod breakpoints;
#[cfg(target_arch = "x86_64")]
pub(crate) mod cpuid;
pub(crate) mod dynamic;
pub(crate) mod file;
pub(crate) mod memory;
pub(crate) mod pagemap;
#[cfg(target_arch = "x86_64")]
pub(crate) mod paused;
pub(crate) mod signals;

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
pub(crate) mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
pub(crate) mod arch;

pub(crate) use arch::{builtin_stub, host_switch};

/// The registers a trap is explained from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Registers {
    /// Address of the instruction that did not complete.
    pub(crate) pc: usize,
    /// Stack pointer.
    pub(crate) sp: usize,
    /// Frame pointer.
    pub(crate) fp: usize,
    /// Link register, where the instruction set has one.
    #[cfg_attr(target_arch = "x86_64", expect(dead_code, reason = "there is none"))]
    pub(crate) link: usize,
}
