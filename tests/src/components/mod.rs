//! Random component-level types and values, and components that pass them on.
//!
//! What comes in: a seed. What goes out: a [`Case`]: a component in the text format that is made of several, of which
//! each hands what it is given to the next and the last hands it back, and values to call it with. So what comes out is
//! what went in, whatever the encodings of strings and the kinds of memory in between; and a peer must agree on the
//! core values that arrive.

mod generate;
mod text;

use std::fmt::{Display, Write};

use precast_loader::component::{Linker, Val};
use precast_loader::{Artifact, CallError};

pub use generate::{Case, Deed, Def, Mischief, Ty};

use crate::Random;

/// The case with this seed.
pub fn case(seed: u64) -> Case {
    generate::honest(&mut Random(seed))
}

/// The case with this seed, in which one of the components does something wrong.
pub fn hostile(seed: u64) -> Case {
    generate::hostile(&mut Random(seed))
}

/// What came of a call: what was returned, or why it trapped.
pub type Outcome = Result<Val, String>;

/// Makes the calls of a case on precast.
///
/// # Errors
/// What could not be compiled, instantiated or called, and how.
pub fn play(case: &Case) -> Result<Vec<Outcome>, String> {
    let text = case.text();
    let failed = |what: &str, error: &dyn Display| format!("{what}: {error}\n{text}");
    let bytes = precast_compiler::compile(text.as_bytes(), &precast_compiler::Options::default())
        .map_err(|error| failed("compile", &error))?;
    let artifact = Artifact::open_bytes(&bytes).map_err(|error| failed("open", &error))?;
    let bound = Linker::<()>::new().bind(&artifact).map_err(|error| failed("bind", &error))?;
    let call = |(name, argument): (&str, Val)| {
        let mut instance = bound.instantiate(()).map_err(|error| failed("instantiate", &error))?;
        let func = instance.func_dynamic("", name).map_err(|error| failed(name, &error))?;
        match func.call(&mut instance, &[argument]) {
            Ok(Some(result)) => Ok(Ok(result)),
            Ok(None) => Err(failed(name, &"no result")),
            Err(CallError::Trap(trap)) => Ok(Err(trap.message().into_owned())),
            Err(error) => Err(failed(name, &error)),
        }
    };
    case.calls().map(call).collect()
}

/// Checks that everything comes back as it went in; returns how many calls there were.
///
/// # Errors
/// As [`play`], and values that came back changed.
pub fn check(seed: u64) -> Result<usize, String> {
    let case = case(seed);
    let outcomes = play(&case)?;
    let mut differences = String::new();
    for ((name, argument), outcome) in case.calls().zip(&outcomes) {
        let is_right = if name == "flat" { outcome.is_ok() } else { outcome.as_ref() == Ok(&argument) };
        if !is_right {
            let _ = writeln!(differences, "{name} {argument:?}\ncame to\n{outcome:?}");
        }
    }
    if differences.is_empty() { Ok(outcomes.len()) } else { Err(format!("{differences}{}", case.text())) }
}
