//! The glue between component instances: the state of each, adapters, and what the host calls and is called by.

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::component::{Handle, InstanceState};
use precast_abi::host;
use precast_abi::meta::ExternKind;
use precast_abi::types::{FuncType, ValType};

use super::funcs::{Placer, destructor_type};
use super::reach::Reached;
use crate::component::linkage::{
    Canon, CanonFunc, CanonOptions, ComponentFunc, ComponentInstance, HostFunc, Linkage, Resource, ResourceDef,
};
use crate::component::program::{
    Adapter, CanonPlace, ComponentProgram, ExportPlace, ExportedFunc, GlueImport, InstancePlace, LENDS, ResourcePlace,
    Side,
};
use crate::layout::{Block, HostArea};
use crate::program::{FuncPlace, Import, ImportedFunc};
use crate::translate::Shapes;
use cranelift_codegen::entity::EntityRef;

/// Handles that a component instance may have at once.
const HANDLES: u32 = 64 << 10;

/// An import of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// A lowered function of the host.
    Lower(CanonFunc),
    /// What drops a resource of the host.
    Drop(Resource),
}

/// The imports of the program, in order.
pub(super) fn list(linkage: &Linkage<'_>, reached: &Reached) -> Vec<Listed> {
    let lowers = linkage.canon_funcs.iter().filter(|(func, canon)| {
        matches!(canon, Canon::Lower { func: ComponentFunc::Host(_), .. }) && reached.has_canon(*func)
    });
    let hosts = linkage.resources.iter().filter(|(_, def)| matches!(def, ResourceDef::Host { .. }));
    lowers.map(|(func, _)| Listed::Lower(func)).chain(hosts.map(|(resource, _)| Listed::Drop(resource))).collect()
}

/// The rows of the imports.
pub(super) fn imports(linkage: &Linkage<'_>, reached: &Reached, area: &mut HostArea) -> Vec<Import> {
    let import = |(index, listed): (usize, Listed)| {
        let (module, name) = match listed {
            Listed::Lower(func) => {
                let host = &linkage.host_funcs[host_func(linkage, func)];
                (host.interface.clone(), host.name.clone())
            }
            Listed::Drop(resource) => match &linkage.resources[resource] {
                ResourceDef::Host { interface, name } => (interface.clone(), name.clone()),
                ResourceDef::Guest { .. } => unreachable!("a guest's resource is no import"),
            },
        };
        let cell = area.cell(host::FuncImport::SIZE);
        Import { module, name, kind: ExternKind::Func, index: index as u32, cell }
    };
    list(linkage, reached).into_iter().enumerate().map(import).collect()
}

fn host_func(linkage: &Linkage<'_>, func: CanonFunc) -> HostFunc {
    match &linkage.canon_funcs[func] {
        Canon::Lower { func: ComponentFunc::Host(host), .. } => *host,
        other => unreachable!("{other:?} is no function of the host"),
    }
}

/// Where the state of component instances is in the first group's block.
pub(super) struct State {
    instances: PrimaryMap<ComponentInstance, InstancePlace>,
    lends: i64,
}

impl State {
    pub(super) fn place(linkage: &Linkage<'_>, block: &mut Block) -> State {
        let has_handles = !linkage.resources.is_empty();
        let may_not_leave = instances_that_may_not_leave(linkage);
        let mut instances: PrimaryMap<ComponentInstance, InstancePlace> = PrimaryMap::new();
        for (instance, parent) in &linkage.component_instances {
            let state = block.bytes(InstanceState::SIZE as u64);
            let leaves_checked = may_not_leave.contains(&instance);
            instances.push(InstancePlace { parent: *parent, state, handles: 0, handle_capacity: 0, leaves_checked });
        }
        let mut lends = 0;
        if has_handles {
            lends = block.bytes(8 * (1 + LENDS));
            for place in instances.values_mut() {
                place.handle_capacity = HANDLES;
                place.handles = block.bytes(u64::from(HANDLES) * Handle::SIZE as u64);
            }
        }
        State { instances, lends }
    }
}

/// Instances with a `realloc` or `post-return` that glue calls.
fn instances_that_may_not_leave(linkage: &Linkage<'_>) -> std::collections::HashSet<ComponentInstance> {
    let lowered = linkage.canon_funcs.values().flat_map(|canon| match canon {
        Canon::Lower { func, options, .. } => vec![Some(options), lifted_options(func)],
        _ => Vec::new(),
    });
    let exported = linkage.exports.iter().map(|export| lifted_options(&export.func));
    let all = lowered.chain(exported).flatten();
    all.filter(|options| options.realloc.is_some() || options.post_return.is_some())
        .map(|options| options.instance)
        .collect()
}

fn lifted_options(func: &ComponentFunc) -> Option<&CanonOptions> {
    match func {
        ComponentFunc::Lifted(lifted) => Some(&lifted.options),
        ComponentFunc::Host(_) => None,
    }
}

/// The glue but for exports. All functions of modules and canonical definitions have their places.
pub(super) fn component(placer: &mut Placer<'_, '_>, reached: &Reached, state: State) -> ComponentProgram {
    let linkage = placer.linkage;
    let mut component = ComponentProgram {
        types: linkage.types.clone(),
        shapes: Shapes::new(&linkage.types),
        func_types: linkage.func_types.clone(),
        instances: state.instances,
        resources: PrimaryMap::new(),
        adapters: PrimaryMap::new(),
        lends: state.lends,
        canons: Vec::new(),
        imports: Vec::new(),
        host_funcs: linkage.host_funcs.clone(),
        exports: Vec::new(),
    };
    let imports = list(linkage, reached);
    for (resource, def) in &linkage.resources {
        component.resources.push(resource_place(placer, resource, def, &imports));
    }
    for listed in &imports {
        let import = match listed {
            Listed::Drop(resource) => GlueImport::Drop(*resource),
            Listed::Lower(func) => match &linkage.canon_funcs[*func] {
                Canon::Lower { ty, options, .. } => GlueImport::Func(*ty, canon(placer, options, &mut component)),
                other => unreachable!("{other:?} is no import"),
            },
        };
        component.imports.push(import);
    }
    for (func, definition) in &linkage.canon_funcs {
        if let Canon::Lower { func: ComponentFunc::Lifted(lifted), ty, options, .. } = definition
            && reached.has_canon(func)
        {
            let adapter = Adapter {
                caller: side(placer, options),
                callee: side(placer, &lifted.options),
                caller_ty: *ty,
                callee_func: placer.place(lifted.core),
                callee_core: lifted.core_type.clone(),
                recursive: is_recursive(&component.instances, options.instance, lifted.options.instance),
            };
            component.adapters.push(adapter);
        }
    }
    component
}

/// Whether a call from one instance to the other might come back: one is the other, or nested in it.
fn is_recursive(
    instances: &PrimaryMap<ComponentInstance, InstancePlace>,
    caller: ComponentInstance,
    callee: ComponentInstance,
) -> bool {
    let is_in = |inner: ComponentInstance, outer: ComponentInstance| {
        let mut at = Some(inner);
        while let Some(instance) = at {
            if instance == outer {
                return true;
            }
            at = instances[instance].parent;
        }
        false
    };
    is_in(caller, callee) || is_in(callee, caller)
}

fn resource_place(
    placer: &mut Placer<'_, '_>,
    resource: Resource,
    def: &ResourceDef,
    imports: &[Listed],
) -> ResourcePlace {
    let (definer, destructor, destructor_for_host) = match def {
        ResourceDef::Guest { instance, destructor, .. } => {
            let place = destructor.map(|item| placer.place(item));
            let for_host = destructor.map(|item| placer.for_host(item, &destructor_type()).0);
            (Some(*instance), place, for_host)
        }
        ResourceDef::Host { .. } => {
            let row = imports.iter().position(|import| *import == Listed::Drop(resource));
            (None, row.map(|row| FuncPlace::Host(ImportedFunc::new(row))), None)
        }
    };
    ResourcePlace { def: def.clone(), definer, destructor, destructor_for_host }
}

fn side(placer: &Placer<'_, '_>, options: &CanonOptions) -> Side {
    Side {
        instance: options.instance,
        encoding: options.encoding,
        memory: options.memory.map(|item| placer.memory(item)),
        realloc: options.realloc.map(|item| placer.place(item)),
        post_return: options.post_return.as_ref().map(|(item, _)| placer.place(*item)),
    }
}

/// The position of options in [`ComponentProgram::canons`].
fn canon(placer: &mut Placer<'_, '_>, options: &CanonOptions, component: &mut ComponentProgram) -> u32 {
    let realloc_type = FuncType { params: vec![ValType::I32; 4], results: vec![ValType::I32] };
    let place = CanonPlace {
        instance: options.instance,
        memory: options.memory.map(|item| placer.memory(item).1.row),
        realloc: options.realloc.map(|item| placer.for_host(item, &realloc_type)),
        post_return: options.post_return.as_ref().map(|(item, ty)| placer.for_host(*item, ty)),
        encoding: options.encoding,
    };
    let known = component.canons.iter().position(|known| *known == place);
    let position = known.unwrap_or_else(|| {
        component.canons.push(place);
        component.canons.len() - 1
    });
    position as u32
}

/// What the root exports.
pub(super) fn exports(placer: &mut Placer<'_, '_>, component: &mut ComponentProgram) {
    for export in &placer.linkage.exports {
        let func = match &export.func {
            ComponentFunc::Host(host) => ExportedFunc::Host(*host),
            ComponentFunc::Lifted(lifted) => {
                let canon = canon(placer, &lifted.options, component);
                let (place, ty) = placer.for_host(lifted.core, &lifted.core_type);
                ExportedFunc::Lifted(place, ty, canon)
            }
        };
        let (interface, name) = (export.interface.clone(), export.name.clone());
        component.exports.push(ExportPlace { interface, name, ty: export.ty, func });
    }
}
