//! Which functions are reached: what nothing reaches is validated, but not compiled.
//!
//! In a component, roots are what the host can call (exports, with their `realloc` and `post-return`), start functions,
//! destructors, and functions that stand in element segments or globals. A module's functions are all compiled.

use std::collections::HashSet;

use cranelift_codegen::entity::{EntitySet, PrimaryMap};
use precast_abi::meta::ExternKind;
use rayon::prelude::*;
use wasmparser::{Operator, OperatorsReader};

use super::funcs::referenced;
use super::{Origin, Parts, origin};
use crate::Error;
use crate::component::linkage::{
    Canon, CanonFunc, CanonOptions, ComponentFunc, CoreInstance, CoreItem, Lifted, Linkage, ResourceDef,
};
use crate::module::{Body, Module};
use crate::program::Helper;

/// What is reached.
pub(super) struct Reached {
    /// For each instance, its module's index space of functions; `None` if all are.
    funcs: PrimaryMap<CoreInstance, Option<Vec<bool>>>,
    canons: EntitySet<CanonFunc>,
    /// Helpers that a reached function uses, by instance; `None` if nobody looked.
    helpers: Option<HashSet<(CoreInstance, Helper)>>,
    /// Tables that a reached function changes, by instance and index.
    changed_tables: HashSet<(CoreInstance, u32)>,
}

impl Reached {
    /// Everything of a module.
    pub(super) fn all(_: &Module<'_>) -> Self {
        Reached {
            funcs: PrimaryMap::from(vec![None]),
            canons: EntitySet::new(),
            helpers: None,
            changed_tables: HashSet::new(),
        }
    }

    /// What is reached from what a component exports.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a body that cannot be read.
    pub(super) fn from_exports(linkage: &Linkage<'_>, parts: &Parts<'_>) -> Result<Self, Error> {
        let funcs = parts.values().map(|part| Some(vec![false; part.module.funcs.len()])).collect();
        let (helpers, changed_tables) = (Some(HashSet::new()), HashSet::new());
        let reached = Reached { funcs, canons: EntitySet::new(), helpers, changed_tables };
        let mut search = Search { linkage, parts, reached, found: Vec::new() };
        search.roots();
        while !search.found.is_empty() {
            let found = std::mem::take(&mut search.found);
            let scans: Vec<_> =
                found.par_iter().map(|(instance, index)| scan(parts[*instance].module, *index)).collect();
            for ((instance, _), scanned) in found.into_iter().zip(scans) {
                search.follow(instance, scanned?);
            }
        }
        Ok(search.reached)
    }

    /// Whether a function that an instance's module defines is reached.
    pub(super) fn has_func(&self, instance: CoreInstance, index: u32) -> bool {
        self.funcs[instance].as_ref().is_none_or(|funcs| funcs[index as usize])
    }

    /// The tables that reached functions change.
    pub(super) fn changed_tables(&self) -> impl Iterator<Item = (CoreInstance, u32)> {
        self.changed_tables.iter().copied()
    }

    /// Whether a canonical definition's function is reached.
    pub(super) fn has_canon(&self, func: CanonFunc) -> bool {
        self.canons.contains(func)
    }

    /// Whether a function that is reached seems to use a helper: whether the opcode's bytes occur in one. An opcode may
    /// be written in more bytes than it needs; such code does without the helper.
    pub(super) fn uses(&self, instance: CoreInstance, module: &Module<'_>, helper: Helper) -> bool {
        if let Some(helpers) = &self.helpers {
            return helpers.contains(&(instance, helper));
        }
        let opcode = match helper {
            Helper::MemoryCopy => [0xfc, 10],
            Helper::MemoryFill => [0xfc, 11],
        };
        module.bodies.iter().any(|body| body.body.as_bytes().windows(2).any(|at| at == opcode))
    }
}

/// What a body mentions.
struct Scan {
    funcs: Vec<u32>,
    /// Tables it changes.
    tables: Vec<u32>,
    helpers: Vec<Helper>,
}

fn scan(module: &Module<'_>, index: u32) -> Result<Scan, Error> {
    let body: &Body<'_> = module.body(index);
    let invalid = |error: wasmparser::Error| Error::invalid(&error, Some(index));
    let mut scan = Scan { funcs: Vec::new(), tables: Vec::new(), helpers: Vec::new() };
    let mut operators: OperatorsReader<'_> = body.body.get_operators_reader().map_err(invalid)?;
    while !operators.eof() {
        match operators.read().map_err(invalid)? {
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => scan.funcs.push(function_index),
            Operator::TableSet { table }
            | Operator::TableGrow { table }
            | Operator::TableFill { table }
            | Operator::TableInit { table, .. }
            | Operator::TableCopy { dst_table: table, .. } => scan.tables.push(table),
            Operator::MemoryCopy { .. } => scan.helpers.push(Helper::MemoryCopy),
            Operator::MemoryFill { .. } => scan.helpers.push(Helper::MemoryFill),
            _ => {}
        }
    }
    scan.funcs.sort_unstable();
    scan.funcs.dedup();
    scan.helpers.dedup();
    Ok(scan)
}

struct Search<'a, 'b> {
    linkage: &'a Linkage<'b>,
    parts: &'a Parts<'b>,
    reached: Reached,
    /// Functions that are reached and not yet scanned.
    found: Vec<(CoreInstance, u32)>,
}

impl Search<'_, '_> {
    fn roots(&mut self) {
        for export in &self.linkage.exports {
            self.component_func(&export.func);
        }
        for resource in self.linkage.resources.values() {
            if let ResourceDef::Guest { destructor: Some(destructor), .. } = resource {
                self.item(*destructor);
            }
        }
        for instance in self.parts.keys() {
            let module = self.parts[instance].module;
            for func in referenced(module, false).chain(module.start).collect::<Vec<_>>() {
                self.item(CoreItem::Export { instance, index: func });
            }
        }
    }

    fn follow(&mut self, instance: CoreInstance, scan: Scan) {
        for func in scan.funcs {
            // An index that is out of range is found when the body is validated.
            if (func as usize) < self.parts[instance].module.funcs.len() {
                self.item(CoreItem::Export { instance, index: func });
            }
        }
        self.reached.changed_tables.extend(scan.tables.into_iter().map(|table| (instance, table)));
        if let Some(helpers) = &mut self.reached.helpers {
            helpers.extend(scan.helpers.into_iter().map(|helper| (instance, helper)));
        }
    }

    /// A function is reached: so are its origin and the way there.
    fn item(&mut self, item: CoreItem) {
        let parts = self.parts;
        match origin(|instance, kind, index| parts[instance].source(kind, index), item, ExternKind::Func) {
            Origin::Canon(func) => self.canon(func),
            Origin::Own(instance, index) => {
                let Some(funcs) = &mut self.reached.funcs[instance] else { return };
                if !std::mem::replace(&mut funcs[index as usize], true) {
                    self.found.push((instance, index));
                }
            }
            Origin::Program(_) => {}
        }
    }

    fn canon(&mut self, func: CanonFunc) {
        if !self.reached.canons.insert(func) {
            return;
        }
        let linkage = self.linkage;
        if let Canon::Lower { func, options, .. } = &linkage.canon_funcs[func] {
            self.component_func(func);
            self.options(options);
        }
    }

    fn component_func(&mut self, func: &ComponentFunc) {
        if let ComponentFunc::Lifted(lifted) = func {
            let Lifted { core, options, .. } = &**lifted;
            self.item(*core);
            self.options(options);
        }
    }

    fn options(&mut self, options: &CanonOptions) {
        let post_return = options.post_return.as_ref().map(|(item, _)| *item);
        for item in options.realloc.into_iter().chain(post_return) {
            self.item(item);
        }
    }
}
