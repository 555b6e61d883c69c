//! Opens precast artifacts and runs their instances. `DESIGN.md` beside this crate has the interface and the insides.
//!
//! What comes in: an artifact (`compiler` wrote it), and the host's functions. What goes out: instances whose exports
//! can be called, and typed errors: [`OpenError`], [`SlotError`], [`Trap`]. Neither Cranelift nor a wasm parser is
//! linked; nothing is deserialised, and opening costs the same for an artifact of any size.

// The lower half: from a file to guest code that runs and traps.
mod apart;
mod artifact;
mod backtrace;
mod blueprint;
mod code;
mod context;
mod elf;
mod interrupt;
mod late;
mod mapping;
mod open_error;
mod pool;
mod prefetch;
mod profile;
mod recorder;
mod registry;
mod restore;
mod signal;
mod slot;
mod sys;
#[cfg(all(test, target_arch = "x86_64"))]
mod testing;
mod transcode;
mod trap;
mod types;
mod verify;
mod write_set;

// The upper half: binding, instances, calls, and what compiled code calls.
mod bindings;
mod bound_func;
mod builtins;
mod call;
mod checkpoint;
pub mod component;
mod describe;
mod externs;
mod fuel;
mod host;
mod instance;
mod linker;
mod plan;
mod record;
mod references;
mod snapshot;
mod state;
mod store;
mod suspend;
mod typed;
mod val;

pub use artifact::{Artifact, FunctionInfo, OpenOptions, Policy, Sizes};
pub use interrupt::{CannotInterrupt, InterruptHandle, with_deadline, with_deadline_async};
pub use open_error::{Digest, OpenError, OpenErrorKind};
pub use precast_abi::profile::Profile;
pub use precast_abi::trap::TrapCode;
pub use precast_abi::types::{FuncType, ValType};
pub use slot::SlotError;
pub use snapshot::SnapshotError;
pub use trap::{Frame, Trap};
pub use types::{ExportType, ExternType, GlobalType, ImportType, MemoryType, TableType};

/// Why a host function, or its caller, fails for reasons of its own.
pub type HostError = Box<dyn std::error::Error + Send + Sync>;

pub use bound_func::BoundFunc;
pub use call::CallError;
pub use checkpoint::CheckpointError;
pub use externs::{ExportError, Extern, Func, Global, GlobalError, GrowError, Memory, OutOfBounds, Table, TableError};
pub use fuel::MeteringError;
pub use host::{Caller, HostResults, IntoHostFunc};
pub use instance::{Instance, InstantiateError, LimitError, Limits};
pub use linker::{BindError, Bound, Linker, MissingFunction};
pub use plan::Malformed;
pub use store::{AsStore, InstanceId, Store};
pub use suspend::CannotWait;
pub use typed::{TypedFunc, WasmParams, WasmResults, WasmTy};
pub use val::{ExternRef, Val};
