//! What a component's artifact says beyond what a module's does: the interface it was compiled from, the functions it
//! imports and exports, and what its instances consist of.

use std::collections::HashSet;

use precast_abi::bytes::Span;
use precast_abi::meta::{Meta, NONE};
use precast_loader::component::FuncType;

use super::report::text;

/// The component in an artifact.
pub(crate) struct Component {
    /// Its interface as WIT, if it is known.
    pub(crate) wit: Option<String>,
    /// The functions it imports: all it can ever ask for.
    pub(crate) imports: Vec<ComponentFunc>,
    /// The functions it exports.
    pub(crate) exports: Vec<ComponentFunc>,
    /// The resources that the host has to define: interface and name.
    pub(crate) resources: Vec<(String, String)>,
    /// For each handle that instances start with, the function that gives it: interface and name.
    pub(crate) obtained: Vec<(String, String)>,
    /// Component instances, the root among them.
    pub(crate) instances: usize,
    /// Groups of core instances that share a memory.
    pub(crate) groups: usize,
}

/// A function of an interface.
pub(crate) struct ComponentFunc {
    /// The interface, or empty.
    pub(crate) interface: String,
    pub(crate) name: String,
    /// Its type as WIT.
    pub(crate) ty: String,
}

impl Component {
    /// The component of an artifact, if it is one.
    pub(crate) fn new(meta: &Meta<'_>) -> Option<Self> {
        if meta.component_instances.is_empty() {
            return None;
        }
        let types = FuncType::all(meta).unwrap_or_default();
        let func = |interface: Span, name: Span, func: u32| ComponentFunc {
            interface: text(meta.str(interface)),
            name: text(meta.str(name)),
            ty: types.get(func as usize).map_or("?".into(), FuncType::to_string),
        };
        let giver = |function: u32| {
            let row = meta.host_funcs.get(function as usize);
            row.map_or_else(Default::default, |row| (text(meta.str(row.interface)), text(meta.str(row.name))))
        };
        let mut seen = HashSet::new();
        let imports = meta.host_funcs.iter().map(|row| func(row.interface, row.name, row.func));
        let host = meta.resources.iter().filter(|row| row.instance == NONE);
        Some(Component {
            wit: meta.str(meta.header.wit).filter(|wit| !wit.is_empty()).map(str::to_owned),
            imports: imports.filter(|func| seen.insert((func.interface.clone(), func.name.clone()))).collect(),
            exports: meta.component_exports.iter().map(|row| func(row.interface, row.name, row.func)).collect(),
            resources: host.map(|row| (text(meta.str(row.interface)), text(meta.str(row.name)))).collect(),
            obtained: meta.obtained.iter().map(|row| giver(row.function)).collect(),
            instances: meta.component_instances.len(),
            groups: meta.groups.len().max(1),
        })
    }
}
