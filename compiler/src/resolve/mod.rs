//! Core instances in, [`Program`] out: what every index means, where everything is, and what of the initial state is
//! known. A core module is one instance whose imports are the program's; a component's instances import from each other
//! and from its canonical definitions.

mod constant_tables;
mod fold;
mod funcs;
mod glue;
mod groups;
mod reach;
mod spaces;

pub(crate) use self::constant_tables::ConstantTables;
pub(crate) use self::spaces::has_memory_at_base;

use cranelift_codegen::entity::{EntityRef, PrimaryMap};
use precast_abi::host;
use precast_abi::meta::ExternKind;

use self::fold::Folding;
use self::groups::Groups;
use self::reach::Reached;
use crate::component::linkage::{CoreInstance, CoreItem, Linkage};
use crate::layout::{self, GroupArea, HostArea};
use crate::module::Module;
use crate::program::{Env, Export, Group, Helper, Import, Instance, Program, Rows};
use crate::{Error, Options};

/// What a core instance is made of.
struct Part<'a> {
    module: &'a Module<'a>,
    /// What each import is.
    sources: Vec<Source>,
    group: Group,
    folding: Folding,
}

/// What an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// An import of the program, by its row.
    Program(u32),
    /// Of an earlier instance, or made by a canonical definition.
    Item(CoreItem),
}

impl<'a> Part<'a> {
    fn new(module: &'a Module<'a>, sources: Vec<Source>) -> Self {
        Part { module, sources, group: Group::FIRST, folding: Folding::default() }
    }

    /// What imported function, table, memory or global `index` is; `None` if the module defines it.
    fn source(&self, kind: ExternKind, index: u32) -> Option<Source> {
        let row = *self.module.import_rows(kind).get(index as usize)?;
        Some(self.sources[row as usize])
    }
}

type Parts<'a> = PrimaryMap<CoreInstance, Part<'a>>;

/// Resolves a core module as a program of its own.
///
/// # Errors
/// [`Error::Limit`] if the state of an instance is too large.
pub(crate) fn module<'a>(module: &'a Module<'a>, options: &Options<'_>) -> Result<Program<'a>, Error> {
    let sources = (0..module.imports.len() as u32).map(Source::Program).collect();
    let mut parts = Parts::new();
    parts.push(Part::new(module, sources));
    let mut host_area = HostArea::new();
    let imports = imports(module, &mut host_area);
    let reached = Reached::all(module);
    let mut program = assemble(parts, &reached, host_area, imports, None, options)?;
    program.exports = exports(module);
    program.foreign_funcrefs = spaces::foreign_funcrefs(module);
    funcs::place_module(&mut program);
    Ok(program)
}

/// Resolves a component's core instances and the glue between them as one program.
///
/// # Errors
/// [`Error::Limit`] if the state of an instance is too large; [`Error::Invalid`] for a function body that cannot be
/// read.
pub(crate) fn component<'a>(linkage: &'a Linkage<'a>, options: &Options<'_>) -> Result<Program<'a>, Error> {
    let mut parts = Parts::new();
    for instance in linkage.instances.values() {
        let sources = instance.arguments.iter().copied().map(Source::Item).collect();
        parts.push(Part::new(&linkage.modules[instance.module], sources));
    }
    let reached = Reached::from_exports(linkage, &parts)?;
    let mut host_area = HostArea::new();
    let imports = glue::imports(linkage, &reached, &mut host_area);
    assemble(parts, &reached, host_area, imports, Some(linkage), options)
}

fn assemble<'a>(
    mut parts: Parts<'a>,
    reached: &Reached,
    host_area: HostArea,
    imports: Vec<Import>,
    linkage: Option<&Linkage<'_>>,
    options: &Options<'_>,
) -> Result<Program<'a>, Error> {
    fold_all(&mut parts);
    let groups = Groups::of(&parts);
    for (instance, part) in parts.iter_mut() {
        part.group = groups.of_instance(instance);
    }

    let page_size = options.arch.max_page_size();
    let mut areas: Vec<GroupArea> = Vec::new();
    areas.resize_with(groups.count, GroupArea::default);
    areas[0].host_size = host_area.size();
    let mut rows = Rows::default();
    let mut types = spaces::Types::default();
    let mut envs: PrimaryMap<CoreInstance, Env> = PrimaryMap::new();
    for instance in parts.keys() {
        let env = spaces::env(instance, &parts, &envs, &mut types, &mut areas, &mut rows, options);
        envs.push(env);
    }
    areas[0].place_host_words();
    let state = linkage.map(|linkage| glue::State::place(linkage, &mut areas[0].block));
    let (layout, group_places) = layout::slot(page_size, options.stack_size, &areas)?;

    let helpers = helpers(&parts, &envs, reached);
    let init =
        parts.iter().flat_map(|(instance, part)| part.folding.init.iter().map(move |step| (instance, step.clone())));
    let mut program = Program {
        init: init.collect(),
        instances: PrimaryMap::new(),
        groups: group_places.into_iter().collect(),
        types: types.types,
        entry_types: Vec::new(),
        funcs: PrimaryMap::new(),
        func_imports: PrimaryMap::new(),
        imports,
        exports: Vec::new(),
        rows,
        layout,
        metered: options.fuel,
        foreign_funcrefs: false,
        helpers,
        component: None,
        constant_tables: ConstantTables::new(),
        no_env: Env::default(),
    };
    let sources: PrimaryMap<CoreInstance, Vec<Source>> = parts.values().map(|part| part.sources.clone()).collect();
    for (part, env) in parts.into_iter().map(|(_, part)| part).zip(envs.into_iter().map(|(_, env)| env)) {
        let Part { module, group, folding, .. } = part;
        program.instances.push(Instance { module, env, group, folded: folding.folded });
    }
    match linkage.zip(state) {
        None => spaces::place_imports(&mut program),
        Some((linkage, state)) => {
            funcs::place_component(&mut program, linkage, &sources, reached, &mut types.ids, state);
            program.constant_tables = constant_tables::find(&program, reached);
        }
    }
    Ok(program)
}

/// Folds all instances, in order: code that an earlier one runs at instantiation may change what a later one finds in
/// what they share.
fn fold_all(parts: &mut Parts<'_>) {
    let mut has_run = false;
    for instance in parts.keys().collect::<Vec<_>>() {
        let surroundings = spaces::surroundings(instance, parts, has_run);
        let folding = fold::fold(parts[instance].module, &surroundings);
        has_run |= folding.acts();
        parts[instance].folding = folding;
    }
}

fn imports(module: &Module<'_>, area: &mut HostArea) -> Vec<Import> {
    let import = |import: &crate::module::Import<'_>| {
        let size = match import.kind {
            ExternKind::Func => host::FuncImport::SIZE,
            ExternKind::Table => host::TableImport::SIZE,
            ExternKind::Memory => host::MemoryImport::SIZE,
            ExternKind::Global => host::GlobalImport::SIZE,
        };
        Import {
            module: import.module.into(),
            name: import.name.into(),
            kind: import.kind,
            index: import.index,
            cell: area.cell(size),
        }
    };
    module.imports.iter().map(import).collect()
}

fn exports(module: &Module<'_>) -> Vec<Export> {
    let export = |export: &crate::module::Export<'_>| Export {
        name: export.name.into(),
        kind: export.kind,
        index: export.index,
    };
    let mut exports: Vec<Export> = module.exports.iter().map(export).collect();
    exports.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    exports
}

/// The helpers that function bodies seem to use, in the groups that have a memory at their base.
fn helpers(parts: &Parts<'_>, envs: &PrimaryMap<CoreInstance, Env>, reached: &Reached) -> Vec<(Helper, Group)> {
    let mut helpers = std::collections::BTreeSet::new();
    for (instance, part) in parts {
        if !has_memory_at_base(&envs[instance]) {
            continue;
        }
        for helper in Helper::ALL {
            if reached.uses(instance, part.module, helper) {
                helpers.insert((helper, part.group));
            }
        }
    }
    helpers.into_iter().collect()
}

/// The last instance that a chain of imports leads to, and the index there of what it defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An instance defines it.
    Own(CoreInstance, u32),
    /// A canonical definition made it.
    Canon(crate::component::linkage::CanonFunc),
    /// The program imports it.
    Program(u32),
}

/// Follows imports of an instance to where the thing comes from.
fn origin(
    sources: impl Fn(CoreInstance, ExternKind, u32) -> Option<Source>,
    item: CoreItem,
    kind: ExternKind,
) -> Origin {
    let mut item = item;
    loop {
        match item {
            CoreItem::Canon(func) => return Origin::Canon(func),
            CoreItem::Export { instance, index } => match sources(instance, kind, index) {
                None => return Origin::Own(instance, index),
                Some(Source::Program(row)) => return Origin::Program(row),
                Some(Source::Item(next)) => item = next,
            },
        }
    }
}

fn first_instance() -> CoreInstance {
    CoreInstance::new(0)
}
