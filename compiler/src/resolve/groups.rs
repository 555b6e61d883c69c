//! Which core instances form a group: those that share a memory, a table, or a global that is not known.
//!
//! All of a group is at constant distances from one base, so that what instances share costs nothing. Instances that
//! only call each other stay apart: then each has its memory at its own base.

use precast_abi::meta::ExternKind;

use super::{Parts, Source};
use crate::component::linkage::{CoreInstance, CoreItem};
use crate::program::Group;
use cranelift_codegen::entity::EntityRef;

/// The group of each instance.
pub(super) struct Groups {
    of: Vec<usize>,
    pub(super) count: usize,
}

impl Groups {
    pub(super) fn of(parts: &Parts<'_>) -> Groups {
        // Union-find; a set is named by its first instance.
        let mut set: Vec<usize> = (0..parts.len()).collect();
        fn find(set: &mut [usize], mut at: usize) -> usize {
            while set[at] != at {
                set[at] = set[set[at]];
                at = set[at];
            }
            at
        }
        for (instance, part) in parts {
            for (import, source) in part.module.imports.iter().zip(&part.sources) {
                let Source::Item(CoreItem::Export { instance: provider, .. }) = *source else { continue };
                let shares = match import.kind {
                    ExternKind::Memory | ExternKind::Table => true,
                    ExternKind::Global => part.folding.folded.global(import.index).is_none(),
                    ExternKind::Func => false,
                };
                if shares {
                    let (left, right) = (find(&mut set, instance.index()), find(&mut set, provider.index()));
                    set[left.max(right)] = left.min(right);
                }
            }
        }
        // An instance that shares nothing and has no memory stays with the one it calls, or that came before.
        let roots: Vec<usize> = (0..set.len()).map(|at| find(&mut set, at)).collect();
        let mut numbers = vec![None; set.len()];
        let mut count = 0;
        let of = roots
            .iter()
            .map(|root| {
                *numbers[*root].get_or_insert_with(|| {
                    count += 1;
                    count - 1
                })
            })
            .collect();
        Groups { of, count: count.max(1) }
    }

    pub(super) fn of_instance(&self, instance: CoreInstance) -> Group {
        Group::from_u32(self.of[instance.index()] as u32)
    }
}
