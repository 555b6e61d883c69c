//! WASI hosts for precast's loader, deny by default.
//!
//! What comes in: [`Grants`], the list of what a guest may reach (read from `--allow` or built by the embedder), and
//! the guest's arguments. What goes out: a [`WasiCtx`] that lives in the store's data, and host functions on the
//! loader's linker ([`preview1::add_to_linker`]).
//!
//! The guest gets its standard streams and its arguments; no file, socket, clock, random number or environment
//! variable reaches it unless granted. A denied call fails as the ABI says, it never traps, and a [`Denial`] names the
//! grant that would have allowed it.
//!
//! ```text
//! grants   what may be reached, and the `--allow` syntax
//! context  WasiCtx: one guest's grants turned into capabilities
//! fs, net, stdio   the capabilities, independent of any ABI
//! preview1 WASI 0.1: guest pointers, errno, rights and the 46 functions over those capabilities
//! preview2 WASI 0.2: the interfaces of the Component Model over those capabilities
//! ```

// Generated bindings are the exception.
#![deny(unsafe_code)]

mod context;
mod denial;
mod fs;
mod grants;
pub mod http;
mod net;
pub mod preview1;
pub mod preview2;
mod reads;
mod stdio;

pub use context::{BuildError, WasiCtx, WasiCtxBuilder};
pub use denial::Denial;
pub use grants::{Address, Grant, GrantError, Grants, SYNTAX};
pub use stdio::{OutputPipe, Stdin, Stdout};

/// The guest ended itself with this status (`proc_exit`, or `wasi:cli/exit`).
///
/// A host function returns it as an error, so that the guest is abandoned; the embedder finds it by downcasting the
/// error of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest exited with status {0}")]
pub struct Exit(pub i32);
