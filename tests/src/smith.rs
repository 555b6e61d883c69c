//! Random modules from `wasm-smith`, and what is done with them to find out whether precast runs them as it should.
//!
//! What comes in: a seed. What goes out: a [`Case`] (a module that ends whatever it is called with, and how it is to be
//! compiled), a [`Plan`] (what the host does with its instances), and [traces](play::Trace) of what happened, which are
//! compared with each other: [`check`] holds precast against itself, and the package `precast-differential` holds it
//! against another runtime, through its own [`play::Guest`]. The same seed gives the same case on every machine.

pub mod case;
pub mod environment;
pub mod own;
pub mod plan;
pub mod play;
pub mod value;

pub use case::Case;
pub use own::{Checked, check, check_case};
pub use plan::Plan;

/// Bytes that each memory may have.
pub const MEMORY_LIMIT: usize = 512 << 10;
/// Elements that each table may have.
pub const TABLE_LIMIT: usize = 2000;

/// Why a case failed: what differs, in which of the ways to compile and run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
