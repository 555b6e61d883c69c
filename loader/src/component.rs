//! Components: values of component-level types, the host's functions and resources, instances and their exports.
//!
//! What comes in: the artifact of a component, and the host's functions in a [`Linker`]. What goes out: an
//! [`Instance`] whose exports are called with Rust values ([`Lower`], [`Lift`]) or with dynamic [`Val`]s. Everything
//! between components was compiled; the code here is the border between the component and the host.
//!
//! ```text
//!   types.rs    types as the tables have them          guest.rs     memory, realloc, handles of one side of a call
//!   value.rs    ComponentType, Lower, Lift, cells      handles.rs   handle tables in the slot
//!   scalar.rs, text.rs, list.rs, compound.rs: values   plan.rs      the tables, decoded and checked
//!   val.rs      dynamic values                         linker.rs, import.rs: what the component calls
//!   resource.rs, table.rs: resources of either side    instance.rs, func.rs: what the host calls
//!   obtain.rs   resources of the host's that instances start with
//! ```

pub mod abi;
mod compound;
mod context;
mod fault;
mod func;
mod guest;
mod handles;
mod import;
mod instance;
mod linker;
mod list;
mod obtain;
mod plan;
mod resource;
#[doc(hidden)]
pub mod round_trip;
mod scalar;
mod table;
mod text;
mod types;
mod val;
mod value;
mod version;

use crate::store::StoreId;

/// What a store has if its instance is a component.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) held: resource::Held,
}

impl State {
    pub(crate) fn new(store: StoreId) -> Self {
        State { held: resource::Held::new(store) }
    }
}

pub(crate) use plan::Place;

pub use crate::host::Caller;
pub use context::{LiftContext, LowerContext};
pub use func::{Func, TypedFunc};
#[doc(hidden)]
pub use guest::round_trip;
pub use import::HostFuture;
pub use instance::{Bound, Instance};
pub use linker::Linker;
pub use precast_abi::component::{Primitive, StringEncoding};
pub use resource::{Resource, ResourceAny};
pub use table::{ResourceTable, ResourceTableError};
pub use types::{FuncType, Kind, Matches, Members, ResourceType, Type};
pub use val::Val;
pub use value::{ComponentType, FlatReader, FlatWriter, Lift, LiftParams, Lower, LowerParams};

#[cfg(test)]
mod tests;
