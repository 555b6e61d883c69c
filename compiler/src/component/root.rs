//! The root's borders: what it imports becomes functions and resources of the host, or what it is linked with; what it
//! exports becomes rows for the host.

use wasmparser::component_types::ComponentEntityType;

use super::execute::Executor;
use super::items::{Exports, Frame, Func, Item};
use super::linkage::{ComponentExport, ComponentFunc, HostFuncDef, ResourceDef};
use super::parse::resource_of;
use crate::Error;
use crate::parse::proposal;

/// Makes the item for an import of the root.
///
/// # Errors
/// [`Error::Link`] for a module or component that is not linked or does not fit.
pub(super) fn import(
    executor: &mut Executor<'_, '_>,
    name: &str,
    ty: &ComponentEntityType,
    offset: usize,
) -> Result<Item, Error> {
    item(executor, "", name, ty, offset)
}

/// The item `name` in the imported instance `interface`, which is empty for the root's own.
fn item(
    executor: &mut Executor<'_, '_>,
    interface: &str,
    name: &str,
    ty: &ComponentEntityType,
    offset: usize,
) -> Result<Item, Error> {
    match ty {
        ComponentEntityType::Func(id) => {
            let ty = executor.converter(offset)?.func(*id)?;
            let def = HostFuncDef { interface: interface.into(), name: name.into(), ty };
            let func = ComponentFunc::Host(executor.out.host_funcs.push(def));
            Ok(executor.func(Func { func, ty }))
        }
        ComponentEntityType::Type { .. } => {
            let Some(id) = resource_of(ty) else { return Ok(Item::Type(None)) };
            // Types of what comes next may speak of it.
            let known = executor.frame()?.names.resources.get(&id).copied();
            let resource = known.unwrap_or_else(|| {
                executor.out.resources.push(ResourceDef::Host { interface: interface.into(), name: name.into() })
            });
            executor.frame()?.names.resources.insert(id, resource);
            Ok(Item::Type(Some(resource)))
        }
        ComponentEntityType::Instance(id) => {
            let types = executor.types()?;
            let ty = &types[*id];
            executor.charge(ty.exports.len(), offset)?;
            let path = join(interface, name);
            let mut exports = Exports::new();
            // Instances nest at most 100 deep, as types do.
            for (name, export) in &ty.exports {
                let item = item(executor, &path, name, &export.ty, offset)?;
                exports.insert(name.clone(), item);
            }
            Ok(executor.instance(exports))
        }
        ComponentEntityType::Module(_) | ComponentEntityType::Component(_) => {
            let path = join(interface, name);
            let Some(item) = executor.links.remove(path.as_str()) else {
                let kind = if matches!(ty, ComponentEntityType::Module(_)) { "core module" } else { "component" };
                return Err(Error::Link(format!(
                    "the component imports the {kind} `{path}` (at offset {offset:#x}): name a file for it (--link {path}=FILE)"
                )));
            };
            executor.bind(ty, item, true, offset)?;
            Ok(item)
        }
        ComponentEntityType::Value(_) => Err(Error::unsupported(proposal::VALUES, None, offset)),
    }
}

fn join(interface: &str, name: &str) -> String {
    if interface.is_empty() { name.into() } else { format!("{interface}/{name}") }
}

/// Notes what the root exports. All its definitions are executed.
///
/// # Errors
/// [`Error::Link`] for a link that nothing imports.
pub(super) fn export(executor: &mut Executor<'_, '_>, root: &Frame<'_>) -> Result<(), Error> {
    if let Some(name) = executor.links.keys().min() {
        return Err(Error::Link(format!("the component imports no core module or component `{name}`")));
    }
    for (name, item) in &root.exports {
        export_item(executor, "", name, *item)?;
    }
    executor.out.exports.sort_by(|a, b| (&a.interface, &a.name).cmp(&(&b.interface, &b.name)));
    Ok(())
}

fn export_item(executor: &mut Executor<'_, '_>, interface: &str, name: &str, item: Item) -> Result<(), Error> {
    executor.charge(1, 0)?;
    match item {
        Item::Func(func) => {
            let Func { func, ty } = executor.funcs[func].clone();
            executor.out.exports.push(ComponentExport { interface: interface.into(), name: name.into(), func, ty });
        }
        Item::Type(Some(resource)) => {
            if let ResourceDef::Guest { exported: exported @ None, .. } = &mut executor.out.resources[resource] {
                *exported = Some((interface.into(), name.into()));
            }
        }
        Item::Instance(exports) => {
            let path = join(interface, name);
            for (name, item) in executor.exports[exports].clone() {
                export_item(executor, &path, &name, item)?;
            }
        }
        // A host has no use for them.
        Item::Component(_) | Item::Module(_) | Item::Type(None) => {}
    }
    Ok(())
}
