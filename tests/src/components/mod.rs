//! Random component-level types and values, and components that pass them on.
//!
//! What comes in: a seed. What goes out: a [`Case`]: a component in the text format that is made of several, of which
//! each hands what it is given to the next and the last hands it back, and values to call it with. So what comes out is
//! what went in, whatever the encodings of strings and the kinds of memory in between; and a peer must agree on the
//! core values that arrive.

mod generate;
mod text;

use std::fmt::Write;

use precast_loader::Artifact;
use precast_loader::component::{Linker, Val};

pub use generate::{Case, Def, Ty};

use crate::Random;

/// The case with this seed.
pub fn case(seed: u64) -> Case {
    generate::case(&mut Random(seed))
}

/// Plays the case on precast: what `echo` gives back for each value, and the core values that `flat` says it was given
/// for each (empty if the type takes more than fit).
///
/// # Errors
/// What could not be compiled, instantiated or called, and how.
pub fn play(case: &Case) -> Result<Vec<(Val, Vec<u64>)>, String> {
    let text = case.text();
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}\n{text}");
    let bytes = precast_compiler::compile(text.as_bytes(), &precast_compiler::Options::default())
        .map_err(|error| failed("compile", &error))?;
    let artifact = Artifact::open_bytes(&bytes).map_err(|error| failed("open", &error))?;
    let bound = Linker::<()>::new().bind(&artifact).map_err(|error| failed("bind", &error))?;
    let mut results = Vec::new();
    for value in &case.values {
        let mut instance = bound.instantiate(()).map_err(|error| failed("instantiate", &error))?;
        let echo = instance.func_dynamic("", "echo").map_err(|error| failed("echo", &error))?;
        let wrapped = case.wrap(value.clone());
        let result =
            echo.call(&mut instance, &[wrapped]).map_err(|error| failed(&format!("echo {value:?}"), &error))?;
        let result = result.and_then(|result| case.unwrap(result)).ok_or_else(|| failed("echo", &"no result"))?;
        let mut flats = Vec::new();
        if case.has_flat() {
            let flat = instance.func_dynamic("", "flat").map_err(|error| failed("flat", &error))?;
            let result =
                flat.call(&mut instance, std::slice::from_ref(value)).map_err(|error| failed("flat", &error))?;
            if let Some(Val::List(cells)) = result {
                flats
                    .extend(cells.iter().filter_map(|cell| if let Val::U64(cell) = cell { Some(*cell) } else { None }));
            }
        }
        results.push((result, flats));
    }
    Ok(results)
}

/// Checks that everything comes back as it went in; returns how many values there were.
///
/// # Errors
/// As [`play`], and values that came back changed.
pub fn check(seed: u64) -> Result<usize, String> {
    let case = case(seed);
    let results = play(&case)?;
    let mut differences = String::new();
    for (value, (result, _)) in case.values.iter().zip(&results) {
        if value != result {
            let _ = writeln!(differences, "{value:?}\ncame back as\n{result:?}");
        }
    }
    if differences.is_empty() { Ok(results.len()) } else { Err(format!("{differences}{}", case.text())) }
}
