//! Components in scripts.
//!
//! ```text
//! binary ─▶ Shape: imports and exports   shape.rs     limits.rs   what these scripts' engine refuses though it is valid
//!   linking.rs  are the imports there?                host.rs     what scripts import without defining it
//!   replay.rs   instances and calls                   values.rs   values of scripts and of the loader
//! ```

mod host;
mod limits;
mod linking;
mod replay;
mod shape;
mod values;

pub(super) use limits::refusal;
pub(super) use replay::Components;
pub(super) use shape::Shape;

/// The modules of the host that a component imports, under the names that the compiler wants them by.
pub(super) fn links(shape: &Shape) -> Vec<(String, Vec<u8>)> {
    linking::links(shape, &host::definitions())
}
