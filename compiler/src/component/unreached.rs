//! Functions that nothing reaches are not compiled, but have to be valid.

use std::collections::HashSet;

use rayon::prelude::*;
use wasmparser::FuncValidatorAllocations;

use super::linkage::Linkage;
use crate::Error;
use crate::lower::all_or_first_error;
use crate::program::{FuncBody, Program};

/// Validates the bodies of functions that are not compiled.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn validate_unreached(linkage: &Linkage<'_>, program: &Program<'_>) -> Result<(), Error> {
    let module_of = |instance| linkage.instances[instance].module;
    let compiled: HashSet<(usize, u32)> = program
        .funcs
        .values()
        .filter_map(|func| match func.body {
            FuncBody::Wasm(instance, index) => Some((module_of(instance), index)),
            _ => None,
        })
        .collect();
    for (number, module) in linkage.modules.iter().enumerate() {
        let bodies = module.bodies.par_iter().filter(|body| !compiled.contains(&(number, body.to_validate.index)));
        let results = bodies.map_init(FuncValidatorAllocations::default, |allocations, body| {
            let mut validator = body.validator(std::mem::take(allocations));
            let result = validator.validate(&body.body);
            *allocations = validator.into_allocations();
            result.map_err(|error| Error::invalid(&error, Some(body.to_validate.index)))
        });
        all_or_first_error(results.collect())?;
    }
    Ok(())
}
