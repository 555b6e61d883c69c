//! What is known of the initial state, and what is left for the initialiser.
//!
//! The specification's instantiation is followed up to the first step whose effect or success is not known; that step
//! and all after it that could meet its effects are left to the initialiser, in order.

use crate::constant::evaluate;
use crate::module::{ElementItem, ElementMode, Module};
use crate::program::{Const, ConstExpr, Folded, InitStep};

/// What an instance's module is told about what it imports, and about its own memories and tables.
pub(super) struct Surroundings {
    /// Values of imported globals, as far as they are known.
    pub(super) globals: Vec<Option<Const>>,
    /// Tables of the index space.
    pub(super) tables: Vec<Target>,
    /// Memories of the index space.
    pub(super) memories: Vec<Target>,
}

/// What a segment is copied into.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Elements or bytes at the start.
    pub(super) size: u64,
    /// Whether it is in the image as it is when the instance is made: no code has run that may have changed it.
    pub(super) is_fresh: bool,
}

/// What folding finds out about an instance.
#[derive(Default)]
pub(super) struct Folding {
    pub(super) folded: Folded,
    pub(super) init: Vec<InitStep>,
    /// Active segments that the initialiser copies, sorted.
    pub(super) kept_elements: Vec<u32>,
    pub(super) kept_data: Vec<u32>,
    /// Element segments whose references the initialiser computes, sorted.
    pub(super) computed_elements: Vec<u32>,
}

/// Folds an instance of `module`.
pub(super) fn fold(module: &Module<'_>, surroundings: &Surroundings) -> Folding {
    let mut folding = Folding::default();
    folding.folded.imported_globals.clone_from(&surroundings.globals);
    fold_globals(module, &mut folding);
    compute_element_refs(module, &mut folding);
    let may_fold = fold_elements(module, surroundings, &mut folding);
    fold_data(module, surroundings, may_fold, &mut folding);
    folding.init.extend(module.start.map(InitStep::Start));
    folding
}

impl Folding {
    /// The constant an expression has, if that is known.
    fn evaluate(&self, expression: &ConstExpr) -> Option<Const> {
        evaluate(expression, |global| self.folded.global(global))
    }

    pub(super) fn is_computed(&self, segment: u32) -> bool {
        self.computed_elements.binary_search(&segment).is_ok()
    }

    /// Whether the initialiser runs code or writes to memories or tables.
    pub(super) fn acts(&self) -> bool {
        let acts = |step: &InitStep| !matches!(step, InitStep::Global { .. } | InitStep::ElementRefs { .. });
        self.init.iter().any(acts)
    }

    /// The offset of an active segment, if that is known.
    fn offset(&self, expression: &ConstExpr) -> Option<u64> {
        match self.evaluate(expression)? {
            Const::I32(offset) => Some(u64::from(offset as u32)),
            Const::I64(offset) => Some(offset as u64),
            _ => None,
        }
    }
}

fn fold_globals(module: &Module<'_>, folding: &mut Folding) {
    for (own, expression) in module.global_values.iter().enumerate() {
        let value = folding.evaluate(expression);
        if value.is_none() {
            let global = (module.imported_globals + own) as u32;
            folding.init.push(InitStep::Global { global, value: expression.clone() });
        }
        folding.folded.globals.push(value);
    }
}

fn compute_element_refs(module: &Module<'_>, folding: &mut Folding) {
    for (index, segment) in module.elements.iter().enumerate() {
        let is_known = |item: &ElementItem| folding.folded.reference(*item).is_some();
        if !matches!(segment.mode, ElementMode::Declared) && !segment.items.iter().all(is_known) {
            folding.computed_elements.push(index as u32);
            folding.init.push(InitStep::ElementRefs { segment: index as u32 });
        }
    }
}

/// Returns whether all active element segments could be folded.
fn fold_elements(module: &Module<'_>, surroundings: &Surroundings, folding: &mut Folding) -> bool {
    let mut may_fold = true;
    for (index, segment) in module.elements.iter().enumerate() {
        let ElementMode::Active { table, offset } = &segment.mode else { continue };
        let (index, len) = (index as u32, segment.items.len() as u32);
        let target = surroundings.tables[*table as usize];
        let at = folding.offset(offset).filter(|at| at + u64::from(len) <= target.size);
        may_fold &= target.is_fresh && at.is_some() && !folding.is_computed(index);
        match at {
            Some(at) if may_fold => folding.folded.elements.push((index, *table, at as u32)),
            _ => {
                folding.kept_elements.push(index);
                let offset = offset.clone();
                folding.init.push(InitStep::Element { segment: index, table: *table, offset, len });
            }
        }
    }
    may_fold
}

fn fold_data(module: &Module<'_>, surroundings: &Surroundings, mut may_fold: bool, folding: &mut Folding) {
    for (index, segment) in module.data.iter().enumerate() {
        let Some((memory, offset)) = &segment.active else { continue };
        let (index, len) = (index as u32, segment.bytes.len() as u64);
        let target = surroundings.memories[*memory as usize];
        let at = folding.offset(offset).filter(|at| at.checked_add(len).is_some_and(|sum| sum <= target.size));
        may_fold &= target.is_fresh && at.is_some();
        match at {
            Some(at) if may_fold => folding.folded.data.push((index, *memory, at)),
            _ => {
                folding.kept_data.push(index);
                let offset = offset.clone();
                folding.init.push(InitStep::Data { segment: index, memory: *memory, offset, len: len as u32 });
            }
        }
    }
}
