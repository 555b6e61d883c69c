//! Static types meet items of run time: what an instance calls a resource is that resource from then on.
//!
//! Within a file the validator has seen that items fit their types. What comes from another file ("foreign") is checked
//! here, with the resources that are really there.

use precast_abi::meta::ExternKind;
use precast_abi::types::{FuncType, ValType};
use wasmparser::component_types::{ComponentCoreModuleTypeId, ComponentEntityType, ComponentTypeId, ModuleType};
use wasmparser::types::{EntityType, TypesRef};

use super::definition::{Definition, ModuleId};
use super::execute::Executor;
use super::items::{ClosureId, Item};
use super::parse::resource_of;
use crate::Error;
use crate::module::Module;
use crate::parse::{val_type_of, val_type_of_ref};

impl Executor<'_, '_> {
    /// Notes which resources the current instance means with the ids in `ty`, the type of `item`. If the item is
    /// foreign, all of it is checked.
    ///
    /// # Errors
    /// [`Error::Link`] if a foreign item does not fit; errors of converting types.
    pub(super) fn bind(
        &mut self,
        ty: &ComponentEntityType,
        item: Item,
        foreign: bool,
        offset: usize,
    ) -> Result<(), Error> {
        match (ty, item) {
            (ComponentEntityType::Type { .. }, Item::Type(resource)) => {
                let id = resource_of(ty);
                if id.is_some() != resource.is_some() {
                    return Err(misfit(foreign, "a type is no resource, or is one", offset));
                }
                let (Some(id), Some(resource)) = (id, resource) else { return Ok(()) };
                match self.frame()?.names.resources.insert(id, resource) {
                    Some(known) if known != resource => Err(misfit(foreign, "a resource is another one", offset)),
                    _ => Ok(()),
                }
            }
            (ComponentEntityType::Instance(id), Item::Instance(exports)) => {
                let types = self.types()?;
                let ty = &types[*id];
                self.charge(ty.exports.len(), offset)?;
                // Instances nest at most 100 deep, as types do.
                for (name, item) in &ty.exports {
                    let export = self.exports[exports].get(name).copied();
                    let export = export.ok_or_else(|| misfit(foreign, &format!("no export `{name}`"), offset))?;
                    self.bind(&item.ty, export, foreign, offset)?;
                }
                Ok(())
            }
            (ComponentEntityType::Func(id), Item::Func(func)) if foreign => {
                let expected = self.converter(offset)?.func(*id)?;
                if expected != self.funcs[func].ty {
                    return Err(misfit(true, "a function has another type", offset));
                }
                Ok(())
            }
            (ComponentEntityType::Module(id), Item::Module(module)) if foreign => {
                self.check_module(*id, module, offset)
            }
            (ComponentEntityType::Component(id), Item::Component(closure)) if foreign => {
                self.check_component(*id, closure, offset)
            }
            (ComponentEntityType::Func(_), Item::Func(_))
            | (ComponentEntityType::Module(_), Item::Module(_))
            | (ComponentEntityType::Component(_), Item::Component(_)) => Ok(()),
            (_, item) => Err(misfit(foreign, &format!("a {} stands where something else should", item.kind()), offset)),
        }
    }

    /// Whether a module fits a type: it may import less and export more.
    fn check_module(&mut self, ty: ComponentCoreModuleTypeId, id: ModuleId, offset: usize) -> Result<(), Error> {
        let types = self.types()?;
        let ty: &ModuleType = &types[ty];
        let parsed = self.parsed;
        let found = &parsed.modules[id];
        let module = &found.module;
        if let Some((proposal, offset)) = module.unsupported {
            return Err(Error::unsupported(proposal, None, offset));
        }
        for import in &module.imports {
            let fits = ty.lookup_import(import.module, import.name).is_some_and(|given| {
                let wanted = CoreType::of_module(module, import.kind, import.index);
                CoreType::of_entity(types, given).is_some_and(|given| wanted.is_some_and(|wanted| given.fits(&wanted)))
            });
            if !fits {
                let what =
                    format!("the module's import `{}` `{}` is missing or of another type", import.module, import.name);
                return Err(misfit(true, &what, offset));
            }
        }
        for (name, wanted) in &ty.exports {
            let given = found.exports.get(name.as_str());
            let given = given.and_then(|(kind, index)| CoreType::of_module(module, *kind, *index));
            let wanted = CoreType::of_entity(types, wanted);
            if !given.is_some_and(|given| wanted.is_some_and(|wanted| given.fits(&wanted))) {
                let what = format!("the module's export `{name}` is missing or of another type");
                return Err(misfit(true, &what, offset));
            }
        }
        Ok(())
    }

    /// Whether a component has the imports and exports of a type. What they are is seen when it is instantiated.
    fn check_component(&mut self, ty: ComponentTypeId, closure: ClosureId, offset: usize) -> Result<(), Error> {
        let types = self.types()?;
        let ty = &types[ty];
        let component = &self.parsed.components[self.closures[closure].component];
        let mut missing: Vec<&str> = ty.exports.keys().map(String::as_str).collect();
        for (_, definition) in &component.definitions {
            match definition {
                Definition::Import { name, .. } if !ty.imports.contains_key(*name) => {
                    return Err(misfit(true, &format!("the component imports `{name}`"), offset));
                }
                Definition::Export { name, .. } => missing.retain(|export| export != name),
                _ => {}
            }
        }
        match missing.first() {
            Some(name) => Err(misfit(true, &format!("the component has no export `{name}`"), offset)),
            None => Ok(()),
        }
    }
}

/// An error for an item that does not fit its type; the validator has seen that others do.
fn misfit(foreign: bool, what: &str, offset: usize) -> Error {
    if foreign {
        return Error::Link(format!("what is linked does not fit: {what} (at offset {offset:#x})"));
    }
    Error::internal(format_args!("the definition at offset {offset:#x}"), what)
}

/// The type of a core item.
#[derive(PartialEq, Eq)]
enum CoreType {
    Func(FuncType),
    /// Element, and limits.
    Table(ValType, u64, Option<u64>),
    /// Limits.
    Memory(u64, Option<u64>),
    Global(ValType, bool),
}

impl CoreType {
    /// Of an item of a module.
    fn of_module(module: &Module<'_>, kind: ExternKind, index: u32) -> Option<Self> {
        let index = index as usize;
        Some(match kind {
            ExternKind::Func => {
                let ty = *module.funcs.get(index)?;
                CoreType::Func(module.types.get(ty as usize)?.clone())
            }
            ExternKind::Table => {
                let table = module.tables.get(index)?;
                CoreType::Table(table.element, table.min, table.max)
            }
            ExternKind::Memory => {
                let memory = module.memories.get(index)?;
                CoreType::Memory(memory.min, memory.max)
            }
            ExternKind::Global => {
                let global = module.globals.get(index)?;
                CoreType::Global(global.ty, global.mutable)
            }
        })
    }

    /// As the validator has it; `None` for what is not compiled.
    fn of_entity(types: TypesRef<'_>, ty: &EntityType) -> Option<Self> {
        Some(match ty {
            EntityType::Func(id) | EntityType::FuncExact(id) => {
                let func = types[*id].unwrap_func();
                let convert = |types: &[wasmparser::ValType]| {
                    types.iter().map(|ty| val_type_of(*ty).ok()).collect::<Option<Vec<_>>>()
                };
                CoreType::Func(FuncType { params: convert(func.params())?, results: convert(func.results())? })
            }
            EntityType::Table(table) if !table.table64 => {
                CoreType::Table(val_type_of_ref(table.element_type).ok()?, table.initial, table.maximum)
            }
            EntityType::Memory(memory) if !memory.memory64 && !memory.shared => {
                CoreType::Memory(memory.initial, memory.maximum)
            }
            EntityType::Global(global) => CoreType::Global(val_type_of(global.content_type).ok()?, global.mutable),
            _ => return None,
        })
    }

    /// Whether an item of this type may stand for one of type `wanted`.
    fn fits(&self, wanted: &CoreType) -> bool {
        let limits = |min: u64, max: Option<u64>, wanted_min: u64, wanted_max: Option<u64>| {
            min >= wanted_min && wanted_max.is_none_or(|wanted| max.is_some_and(|max| max <= wanted))
        };
        match (self, wanted) {
            (CoreType::Table(element, min, max), CoreType::Table(wanted, wanted_min, wanted_max)) => {
                element == wanted && limits(*min, *max, *wanted_min, *wanted_max)
            }
            (CoreType::Memory(min, max), CoreType::Memory(wanted_min, wanted_max)) => {
                limits(*min, *max, *wanted_min, *wanted_max)
            }
            (given, wanted) => given == wanted,
        }
    }
}
