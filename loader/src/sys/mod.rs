//! The operating system and the instruction set: all system calls and all assembly of the crate.

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{builtin_stub, host_switch};

pub(crate) fn placeholder() {}
