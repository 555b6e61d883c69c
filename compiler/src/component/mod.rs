//! Components: the same stages as for core modules, around one more: executing the component's definitions.
//!
//! bytes ─parse─▶ [`definition::Parsed`] ─execute─▶ [`linkage::Linkage`] ─▶ [`crate::program::Program`]

mod bind;
mod definition;
mod execute;
mod flat;
mod items;
pub(crate) mod linkage;
mod parse;
pub(crate) mod program;
mod root;
#[cfg(test)]
mod tests;
mod types;
mod unreached;

use std::collections::HashMap;

use self::definition::{Parsed, Root};
use self::execute::Executed;
use self::items::{Closure, Item};
use self::linkage::Linkage;
pub(crate) use self::unreached::validate_unreached;
use crate::Error;
use crate::parse::validate_bodies;

/// What components are validated with.
pub(crate) const FEATURES: wasmparser::WasmFeatures = parse::FEATURES;

/// Whether a WebAssembly binary is a component, of whatever version.
pub(crate) fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && bytes.get(6..8) == Some(&[1, 0])
}

/// Executes a component's definitions. `links` is what the root imports of core modules and components: names (`a/b` of
/// one in an imported instance) and files, which are binaries. Bodies of functions of modules that are instantiated are
/// still to be validated.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Unsupported`], [`Error::Limit`], and [`Error::Link`] for an import of a module or
/// component that has no link or a wrong one. An invalid component is always [`Error::Invalid`].
pub(crate) fn link<'a>(bytes: &'a [u8], links: &'a [(String, Vec<u8>)]) -> Result<Linkage<'a>, Error> {
    let mut parsed = Parsed::default();
    let root = parse::parse(bytes, &mut parsed)?;
    let executed = execute_root(&mut parsed, root, links).or_else(|error| {
        parsed.modules.iter().try_for_each(|module| validate_bodies(&module.module))?;
        Err(error)
    })?;
    let mut modules: Vec<_> = parsed.modules.into_iter().map(|module| Some(module.module)).collect();
    let instantiated = executed.modules.iter().filter_map(|id| modules.get_mut(*id)?.take()).collect();
    modules.iter().flatten().try_for_each(validate_bodies)?;
    Ok(Linkage {
        modules: instantiated,
        instances: executed.instances,
        canon_funcs: executed.canon_funcs,
        component_instances: executed.component_instances,
        resources: executed.resources,
        types: executed.types.types,
        func_types: executed.types.func_types,
        host_funcs: executed.host_funcs,
        exports: executed.exports,
    })
}

fn execute_root<'a>(parsed: &mut Parsed<'a>, root: Root, links: &'a [(String, Vec<u8>)]) -> Result<Executed, Error> {
    let Root::Component(component) = root else {
        return Err(Error::internal("linking a component", "it is a core module"));
    };
    let mut items = HashMap::new();
    let mut closures = Vec::new();
    for (name, bytes) in links {
        let root = parse::parse(bytes, parsed).map_err(|error| match error {
            Error::Invalid { message, place } => {
                Error::Link(format!("`{name}` is linked with invalid WebAssembly: {message} ({place})"))
            }
            other => other,
        })?;
        let item = match root {
            Root::Module(id) => Item::Module(id),
            Root::Component(component) => {
                closures.push(Closure { component, captures: Vec::new() });
                Item::Component(closures.len() - 1)
            }
        };
        if items.insert(name.as_str(), item).is_some() {
            return Err(Error::Link(format!("`{name}` is linked twice")));
        }
    }
    match parsed.refused.take() {
        Some(refused) => Err(refused),
        None => execute::execute(parsed, component, items, closures),
    }
}
