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

/// The modules that components of a script can import: the host's, and those that earlier components export.
pub(super) struct Modules(linking::Definitions);

impl Modules {
    /// The host's.
    pub(super) fn new() -> Self {
        Modules(host::definitions())
    }

    /// Those that `shape` imports, under the names that the compiler wants them by.
    pub(super) fn links(&self, shape: &Shape) -> Vec<(String, Vec<u8>)> {
        linking::links(shape, &self.0)
    }

    /// From here on, the instance `name` is of `shape`.
    pub(super) fn define(&mut self, name: &str, shape: &Shape) {
        let exports = linking::exports(shape, &mut linking::Resources::new(), &mut 0);
        self.0.insert(name.to_owned(), linking::Definition::Instance(exports));
    }
}
