//! WASI 0.1, `wasi_snapshot_preview1`: all 46 functions.
//!
//! Each function is a plain one over the context and the guest's memory, `Result<(), Errno>`, in the file of its
//! family; [`add_to_linker`] has one line for each, with the types of the ABI. To follow the specification:
//! `wasi_snapshot_preview1.witx` and `typenames.witx`, phase "snapshot/preview1", of WebAssembly/WASI.

mod args_env;
mod clock;
mod errno;
mod fd;
mod io;
mod linker;
mod memory;
mod path;
mod poll;
mod proc;
mod random;
mod readdir;
mod sock;
mod table;
#[cfg(test)]
mod testing;
mod types;

pub(crate) use clock::host_monotonic;
pub(crate) use errno::Errno;
pub use linker::{NoMemory, add_to_linker};
pub(crate) use table::{Descriptor, Object, OpenDir, Table};
pub(crate) use types::Rights;
