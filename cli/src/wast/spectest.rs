//! `spectest`, the module that scripts import without defining it: compiled like any other.

use std::path::PathBuf;

use super::compile::{Compiled, Compiler};
use crate::error::Error;

/// The name it is imported by.
pub(super) const NAME: &str = "spectest";

/// What every script may import.
const CORE: &str = include_str!("spectest.wat");

/// What only scripts of later proposals import: left out, name by name, while the proposal is unsupported.
const OPTIONAL: [&str; 2] = [
    r#"(module (table (export "table64") i64 10 20 funcref))"#,
    r#"(module (memory (export "shared_memory") 1 1 shared))"#,
];

/// The artifacts whose exports make up `spectest`.
///
/// # Errors
/// If it does not compile, or cannot be written.
pub(super) fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<PathBuf>, Error> {
    let core = compiler.bytes(CORE.as_bytes())?;
    let core = core.artifact().map_err(|reason| Error::Failed(format!("cannot compile `{NAME}`: {reason}")))?;
    let mut artifacts = vec![core.to_owned()];
    for text in OPTIONAL {
        if let Compiled::Artifact(path) = compiler.bytes(text.as_bytes())? {
            artifacts.push(path);
        }
    }
    Ok(artifacts)
}
