//! Opens precast artifacts and runs their instances. `DESIGN.md` beside this crate has the interface and the insides.
//!
//! What comes in: an artifact (`compiler` wrote it), and the host's functions. What goes out: instances whose exports
//! can be called, and typed errors: [`OpenError`], [`SlotError`], [`Trap`]. Neither Cranelift nor a wasm parser is
//! linked; nothing is deserialised, and opening costs the same for an artifact of any size.

// The lower half: from a file to guest code that runs and traps.
mod artifact;
mod code;
mod context;
mod pool;
mod signal;
mod slot;
mod sys;
mod trap;
mod types;
mod verify;

pub use artifact::{Artifact, OpenError, OpenOptions, Policy};
pub use precast_abi::trap::TrapCode;
pub use precast_abi::types::{FuncType, ValType};
pub use slot::SlotError;
pub use trap::{Frame, Trap};
pub use types::{ExportType, ExternType, GlobalType, ImportType, MemoryType, TableType};

/// Why a host function, or its caller, fails for reasons of its own.
pub type HostError = Box<dyn std::error::Error + Send + Sync>;
