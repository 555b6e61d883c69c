//! Tables that never change: calls through a known element of one are direct calls.
//!
//! Components made from modules have such tables: a module that is instantiated before what it needs calls it through a
//! table that is filled afterwards, at constant indices.

use std::collections::{HashMap, HashSet};

use super::reach::Reached;
use crate::component::linkage::CoreInstance;
use crate::program::{Const, InitStep, Instance, Program, TablePlace};

/// For each row of a table that never changes, its elements: the instance and index of a function.
pub(crate) type ConstantTables = HashMap<u32, Vec<Option<(CoreInstance, u32)>>>;

/// Longer tables are for calls that nobody knows.
const LONGEST: u64 = 4096;

/// Finds them. Index spaces are complete, functions included.
pub(super) fn find(program: &Program<'_>, reached: &Reached) -> ConstantTables {
    let row = |instance: CoreInstance, table: u32| {
        program.instances[instance].env.tables.get(table as usize).map(|table| table.row)
    };
    let written = program.init.iter().filter_map(|(instance, step)| match step {
        InitStep::Element { table, .. } => row(*instance, *table),
        _ => None,
    });
    let changed: HashSet<u32> =
        reached.changed_tables().filter_map(|(instance, table)| row(instance, table)).chain(written).collect();
    let mut tables = ConstantTables::new();
    for (instance, Instance { module, env, folded, .. }) in &program.instances {
        for &(segment, table, first) in &folded.elements {
            let table = &env.tables[table as usize];
            if changed.contains(&table.row) || table.min > LONGEST || !matches!(table.place, TablePlace::Own { .. }) {
                continue;
            }
            let elements = tables.entry(table.row).or_insert_with(|| vec![None; table.min as usize]);
            let items = &module.elements[segment as usize].items;
            for (element, item) in elements.iter_mut().skip(first as usize).zip(items) {
                *element = match folded.reference(*item) {
                    Some(Const::Func(func)) => Some((instance, func)),
                    _ => None,
                };
            }
        }
    }
    tables
}
