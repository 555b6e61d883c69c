//! Functions: which are compiled, what each function index means, and what the host can call.

use std::collections::{BTreeSet, HashMap};

use cranelift_codegen::entity::{EntityRef, PrimaryMap};
use precast_abi::meta::ExternKind;
use precast_abi::types::{FuncType, ValType};

use super::reach::Reached;
use super::{Origin, Source, first_instance, glue, origin};
use crate::component::linkage::{Canon, CanonFunc, ComponentFunc, CoreInstance, CoreItem, Linkage};
use crate::module::{ElementItem, Module};
use crate::program::{
    ConstOp, DefinedFunc, FuncBody, FuncDef, FuncImport, FuncPlace, Group, ImportedFunc, Program, TypeId,
};

/// Places the functions of a program that is a module.
pub(super) fn place_module(program: &mut Program<'_>) {
    let first = first_instance();
    let instance = &mut program.instances[first];
    let imported = instance.module.imported_funcs;
    for (index, ty) in instance.module.funcs.iter().enumerate() {
        let ty = instance.env.types[*ty as usize];
        let place = if index < imported {
            FuncPlace::Imported(ImportedFunc::new(index))
        } else {
            let body = FuncBody::Wasm(first, index as u32);
            FuncPlace::Defined(program.funcs.push(FuncDef { body, ty, group: Group::FIRST }))
        };
        instance.env.funcs.push((place, ty));
    }
    // Types of the functions that something outside can get hold of.
    let types: BTreeSet<TypeId> =
        referenced(instance.module, true).map(|func| instance.env.funcs[func as usize].1).collect();
    program.entry_types = types.into_iter().collect();
}

/// The functions that references may refer to: `ref.func` is valid only for those that stand in an export, a global or
/// an element segment. Exports are left out unless `is_exported`.
pub(super) fn referenced<'m>(module: &'m Module<'_>, is_exported: bool) -> impl Iterator<Item = u32> + use<'m> {
    let exported = module.exports.iter().filter(move |export| is_exported && export.kind == ExternKind::Func);
    let items = module.elements.iter().flat_map(|segment| &segment.items).filter_map(|item| match item {
        ElementItem::Func(func) => Some(*func),
        _ => None,
    });
    let values = module.global_values.iter().flat_map(|value| &value.0).filter_map(|op| match op {
        ConstOp::Func(func) => Some(*func),
        _ => None,
    });
    exported.map(|export| export.index).chain(items).chain(values)
}

/// Places the functions of a component's program, its imports, and its glue.
pub(super) fn place_component(
    program: &mut Program<'_>,
    linkage: &Linkage<'_>,
    sources: &PrimaryMap<CoreInstance, Vec<Source>>,
    reached: &Reached,
    type_ids: &mut HashMap<FuncType, TypeId>,
    state: glue::State,
) {
    let mut placer = Placer {
        program,
        linkage,
        sources,
        type_ids,
        wasm: HashMap::new(),
        canons: HashMap::new(),
        forwards: HashMap::new(),
        entry_types: BTreeSet::new(),
    };
    placer.place_imports(reached);
    placer.place_wasm(reached);
    placer.place_canons(reached);
    let mut component = glue::component(&mut placer, reached, state);
    placer.place_indices(reached);
    glue::exports(&mut placer, &mut component);
    placer.place_forwards();
    placer.program.entry_types = placer.entry_types.into_iter().collect();
    placer.program.component = Some(component);
}

/// Gives functions their places.
pub(super) struct Placer<'a, 'b> {
    pub(super) program: &'a mut Program<'b>,
    pub(super) linkage: &'a Linkage<'a>,
    sources: &'a PrimaryMap<CoreInstance, Vec<Source>>,
    type_ids: &'a mut HashMap<FuncType, TypeId>,
    wasm: HashMap<(CoreInstance, u32), DefinedFunc>,
    pub(super) canons: HashMap<CanonFunc, FuncPlace>,
    forwards: HashMap<(FuncPlace, Group), FuncPlace>,
    pub(super) entry_types: BTreeSet<TypeId>,
}

impl Placer<'_, '_> {
    pub(super) fn type_id(&mut self, ty: &FuncType) -> TypeId {
        if let Some(id) = self.type_ids.get(ty) {
            return *id;
        }
        let id = self.program.types.push(ty.clone());
        self.type_ids.insert(ty.clone(), id);
        id
    }

    /// All imports are functions of the host.
    fn place_imports(&mut self, reached: &Reached) {
        let words = self.program.host_words(Group::FIRST) as i32;
        for (row, import) in glue::list(self.linkage, reached).into_iter().enumerate() {
            let ty = match import {
                glue::Listed::Lower(func) => match &self.linkage.canon_funcs[func] {
                    Canon::Lower { core_type, .. } => core_type.clone(),
                    other => unreachable!("{other:?} is no import"),
                },
                glue::Listed::Drop(_) => destructor_type(),
            };
            let ty = self.type_id(&ty);
            let cell = words + self.program.imports[row].cell as i32;
            let func = self.program.func_imports.push(FuncImport { row: row as u32, ty, cell });
            if let glue::Listed::Lower(canon) = import {
                self.canons.insert(canon, FuncPlace::Host(func));
            }
        }
    }

    fn place_wasm(&mut self, reached: &Reached) {
        for instance in self.program.instances.keys() {
            let (module, group) = (self.program.instances[instance].module, self.program.instances[instance].group);
            for index in module.imported_funcs..module.funcs.len() {
                if !reached.has_func(instance, index as u32) {
                    continue;
                }
                let ty = self.program.instances[instance].env.types[module.funcs[index] as usize];
                let body = FuncBody::Wasm(instance, index as u32);
                let func = self.program.funcs.push(FuncDef { body, ty, group });
                self.wasm.insert((instance, index as u32), func);
            }
        }
    }

    /// Adapters, and what is done with resources. Functions of the host have their places.
    fn place_canons(&mut self, reached: &Reached) {
        let mut adapters = 0;
        for (canon, definition) in &self.linkage.canon_funcs {
            if !reached.has_canon(canon) {
                continue;
            }
            let i32s = |params: usize, results: usize| FuncType {
                params: vec![ValType::I32; params],
                results: vec![ValType::I32; results],
            };
            let (body, ty, group) = match definition {
                Canon::Lower { func: ComponentFunc::Host(_), .. } => continue,
                Canon::Lower { func: ComponentFunc::Lifted(lifted), options, core_type, .. } => {
                    let group = match options.memory {
                        Some(memory) => self.memory_group(memory),
                        None => self.program.group_of(self.place(lifted.core)),
                    };
                    adapters += 1;
                    let adapter = crate::component::program::AdapterId::new(adapters - 1);
                    (FuncBody::Adapter(adapter), core_type.clone(), group)
                }
                Canon::ResourceNew(resource, instance) => {
                    (FuncBody::ResourceNew(*resource, *instance), i32s(1, 1), Group::FIRST)
                }
                Canon::ResourceRep(resource, instance) => {
                    (FuncBody::ResourceRep(*resource, *instance), i32s(1, 1), Group::FIRST)
                }
                Canon::ResourceDrop(resource, instance) => {
                    (FuncBody::ResourceDrop(*resource, *instance), i32s(1, 0), Group::FIRST)
                }
            };
            let ty = self.type_id(&ty);
            let func = self.program.funcs.push(FuncDef { body, ty, group });
            self.canons.insert(canon, FuncPlace::Defined(func));
        }
    }

    fn origin(&self, item: CoreItem, kind: ExternKind) -> Origin {
        let source = |instance: CoreInstance, kind: ExternKind, index: u32| {
            let row = *self.program.instances[instance].module.import_rows(kind).get(index as usize)?;
            Some(self.sources[instance][row as usize])
        };
        origin(source, item, kind)
    }

    /// Where a function is; it may not be reached. An adapter has no place before [`Self::place_canons`].
    pub(super) fn place(&self, item: CoreItem) -> FuncPlace {
        match self.origin(item, ExternKind::Func) {
            Origin::Own(instance, index) => {
                self.wasm.get(&(instance, index)).map_or(FuncPlace::Unreached, |func| FuncPlace::Defined(*func))
            }
            Origin::Canon(func) => self.canons.get(&func).copied().unwrap_or(FuncPlace::Unreached),
            Origin::Program(row) => unreachable!("a component's instance imports row {row} of the program"),
        }
    }

    /// A memory, as its owner has it, with the group in which its place is.
    pub(super) fn memory(&self, item: CoreItem) -> (Group, crate::program::Memory) {
        match self.origin(item, ExternKind::Memory) {
            Origin::Own(instance, index) => {
                let owner = &self.program.instances[instance];
                (owner.group, owner.env.memories[index as usize])
            }
            other => unreachable!("a memory of {other:?}"),
        }
    }

    fn memory_group(&self, item: CoreItem) -> Group {
        self.memory(item).0
    }

    /// What function indices mean.
    fn place_indices(&mut self, _: &Reached) {
        for instance in self.program.instances.keys() {
            let module = self.program.instances[instance].module;
            let mut funcs = Vec::with_capacity(module.funcs.len());
            for (index, ty) in module.funcs.iter().enumerate() {
                let ty = self.program.instances[instance].env.types[*ty as usize];
                funcs.push((self.place(CoreItem::Export { instance, index: index as u32 }), ty));
            }
            self.program.instances[instance].env.funcs = funcs;
        }
    }

    /// References of a group are to functions that take its base.
    fn place_forwards(&mut self) {
        for instance in self.program.instances.keys() {
            let (module, group) = (self.program.instances[instance].module, self.program.instances[instance].group);
            for func in referenced(module, true).collect::<Vec<_>>() {
                let (place, ty) = self.program.instances[instance].env.funcs[func as usize];
                if place != FuncPlace::Unreached && self.program.group_of(place) != group {
                    let forward = self.forward(place, ty, group);
                    self.program.instances[instance].env.forwards.insert(func, forward);
                }
            }
        }
    }

    /// The function as one that takes the base of `group`.
    pub(super) fn forward(&mut self, place: FuncPlace, ty: TypeId, group: Group) -> FuncPlace {
        if place == FuncPlace::Unreached || self.program.group_of(place) == group {
            return place;
        }
        let funcs = &mut self.program.funcs;
        let new = || FuncPlace::Defined(funcs.push(FuncDef { body: FuncBody::Forward(place), ty, group }));
        *self.forwards.entry((place, group)).or_insert_with(new)
    }

    /// The function as the host calls it.
    pub(super) fn for_host(&mut self, item: CoreItem, ty: &FuncType) -> (FuncPlace, TypeId) {
        let ty = self.type_id(ty);
        self.entry_types.insert(ty);
        let place = self.place(item);
        (self.forward(place, ty, Group::FIRST), ty)
    }
}

/// `(i32) -> ()`.
pub(super) fn destructor_type() -> FuncType {
    FuncType { params: vec![ValType::I32], results: vec![] }
}
