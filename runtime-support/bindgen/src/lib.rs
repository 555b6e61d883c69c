//! Typed bindings of components, generated from WIT.
//!
//! [`bindgen!`] reads a world and generates Rust types for its types, traits for what it imports, which the host
//! implements, and a struct for what it exports, which the host calls. Everything goes over the border without dynamic
//! values: see `ComponentType`, `Lower` and `Lift` of the loader.
//!
//! ```
//! use precast_loader::HostError;
//! use precast_loader::component::{Linker, Resource, ResourceTable};
//!
//! precast_bindgen::bindgen!({
//!     inline: "
//!         package example:counting;
//!
//!         interface counters {
//!             resource counter {
//!                 constructor(start: u32);
//!                 next: func() -> u32;
//!             }
//!             record tick { at: u64, %loop: bool }
//!             wait: func(until: tick) -> u64;
//!         }
//!
//!         world counting {
//!             import counters;
//!             export run: func(rounds: u32) -> result<u64, string>;
//!         }
//!     ",
//!     with: { "example:counting/counters/counter": crate::Counter },
//!     async: ["example:counting/counters#wait"],
//! });
//!
//! /// What is behind a handle of a `counter`.
//! pub struct Counter(u32);
//!
//! struct State {
//!     table: ResourceTable,
//! }
//!
//! use example::counting::counters::{self, Tick};
//!
//! impl counters::HostCounter for State {
//!     fn new(&mut self, start: u32) -> Result<Resource<Counter>, HostError> {
//!         Ok(self.table.push(Counter(start))?)
//!     }
//!     fn next(&mut self, self_: Resource<Counter>) -> Result<u32, HostError> {
//!         let counter = self.table.get_mut(&self_)?;
//!         counter.0 += 1;
//!         Ok(counter.0)
//!     }
//!     fn drop(&mut self, rep: Resource<Counter>) -> Result<(), HostError> {
//!         self.table.delete(rep)?;
//!         Ok(())
//!     }
//! }
//!
//! impl counters::Host for State {
//!     // The guest waits in here, and its thread does something else.
//!     async fn wait(&mut self, until: Tick) -> Result<u64, HostError> {
//!         Ok(if until.loop_ { 0 } else { until.at })
//!     }
//! }
//!
//! # fn main() {
//! let mut linker: Linker<State> = Linker::new();
//! Counting::add_to_linker(&mut linker, |state: &mut State| state);
//! // With an instance of a component that `linker` was bound to:
//! // let counting = Counting::new(&instance)?;
//! // let total = counting.call_run(&mut instance, 3)?;
//! # }
//! ```

mod exports;
mod flags;
mod generate;
mod imports;
mod layout;
mod names;
mod options;
mod place;
mod source;
mod types;
mod values;
mod world;

use proc_macro::TokenStream;

/// Generates bindings of a world: see the crate's documentation for an example.
///
/// # Options
/// - `path: "wit"`: a file of WIT or a folder, or a list of them, relative to the crate's folder. A folder holds the files
///   of one package or of several, and those that they use in `deps`. Without `path` and `inline` it is `wit`.
/// - `inline: "package a:b; …"`: WIT in the macro itself; `path` then says where the packages are that it uses.
/// - `world: "wasi:cli/imports"`: name of the world; needed if the package has several. The version may be left out if
///   there is only one.
/// - `async: true` or `async: ["wasi:io/poll#poll", "wasi:io/poll#[method]pollable.block"]`: which imported functions the
///   host implements with `async fn`. All exports can be called either way.
/// - `with: { "wasi:io/streams/input-stream": crate::InputStream }`: the Rust type behind a resource. For an interface,
///   `"wasi:io/poll"`, or a package, `"wasi:io"`, the module that another `bindgen!` generated for it. Paths are as seen
///   from anywhere: they begin with `crate` or a crate's name.
/// - `features: ["clocks-timezone"]`: unstable features of the WIT to be seen.
///
/// # What is generated
/// - For each imported interface `wasi:io/streams` a module `wasi::io::streams` with its types, a trait `HostInputStream`
///   for each resource, a trait `Host` that needs those and has the functions of no resource, and `add_to_linker`. An
///   interface without functions and resources has types only.
/// - For each exported interface a module in `exports` with its types and a struct `Guest`, in which resources have
///   structs `GuestDoc`. Their resources are `ResourceAny`.
/// - What the world itself has, beside the modules: types, a trait `{World}Imports` for its functions and resources, and
///   a struct `{World}`: its `new` finds the exports in an instance and checks their types, `call_name` and
///   `call_name_async` call functions, `ns_package_interface()` gives an exported interface's `Guest`, and
///   `{World}::add_to_linker` adds all imports, but for interfaces that `with` reuses: whoever has those adds them.
///
/// Errors of a method's outer `Result` end the guest's call with a trap; those of WIT are in its result. Where Rust has a
/// keyword, an underscore follows the name.
#[proc_macro]
pub fn bindgen(input: TokenStream) -> TokenStream {
    let options = syn::parse_macro_input!(input as options::Options);
    generate::bindings(&options).unwrap_or_else(syn::Error::into_compile_error).into()
}
