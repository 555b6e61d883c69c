//! WASI 0.2: the interfaces of the Component Model, over the same capabilities as WASI 0.1.
//!
//! What comes in: a [`Template`], built once from grants ([`crate::WasiCtxBuilder::template`]). What goes out: a [`Ctx`]
//! for each instance, which costs no system call, and host functions on a component linker ([`add_to_linker`]).
//!
//! ```text
//!   context     Template, Ctx: what instances share, and what each has
//!   bindings    types and traits generated from ../../wit
//!   io          streams, pollables, errors; how to make a stream of one's own
//!   clocks, random, cli, filesystem, sockets   the rest of WASI, one module a package
//! ```
//!
//! A guest that waits never blocks the thread: the functions that wait are asynchronous, and its stack is left in
//! place until a later poll. So guests are called with `call_async`, inside a tokio runtime with I/O and time enabled.

pub mod bindings;
mod cli;
mod clocks;
mod context;
mod filesystem;
pub mod io;
mod random;
mod sockets;
#[cfg(test)]
mod testing;

pub use cli::{TerminalInput, TerminalOutput};
pub(crate) use context::Shared;
pub use context::{Ctx, Denied, Template};
pub use filesystem::{Descriptor, DirectoryEntryStream};
pub use sockets::{
    IncomingDatagramStream, Network, OutgoingDatagramStream, ResolveAddressStream, TcpSocket, UdpSocket,
};

use precast_loader::component::Linker;

/// Adds all of WASI 0.2 but `wasi:http` to a linker. `get` finds the context in the instance's data.
///
/// Any version 0.2 of an interface is served. A guest that ends itself makes its call fail with [`crate::Exit`].
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut Ctx + Send + Sync + Copy + 'static,
) {
    bindings::Imports::add_to_linker(linker, get);
}
