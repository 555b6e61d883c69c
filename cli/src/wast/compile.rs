//! Compiles the modules and components of a script: each becomes an artifact file, or the reason why there is none.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use precast_compiler::{Error as CompileError, Options};

use super::component::{self, Modules, Shape};
use super::header::Header;
use super::script::Module;
use crate::codegen::ScriptArgs;
use crate::error::Error;

/// What became of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compiled {
    /// An artifact in this file.
    Artifact(PathBuf),
    /// It is no valid module.
    Invalid(String),
    /// It is a valid module, but beyond what is supported.
    Unsupported(String),
    /// It is a valid component, but what it imports has to be known before it can be compiled.
    Open(String),
    /// The compiler failed where it should not.
    Crash(String),
}

impl Compiled {
    /// The artifact's file.
    ///
    /// # Errors
    /// Why there is none, for a directive that needs it.
    pub(super) fn artifact(&self) -> Result<&Path, String> {
        match self {
            Compiled::Artifact(path) => Ok(path),
            Compiled::Invalid(message) => Err(format!("invalid: {message}")),
            Compiled::Unsupported(message) => Err(format!("unsupported: {message}")),
            Compiled::Open(message) => Err(message.clone()),
            Compiled::Crash(message) => Err(format!("the compiler crashed: {message}")),
        }
    }
}

/// What became of everything in a script, in its order.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) modules: Vec<Compiled>,
    /// The shapes of components that are valid.
    pub(super) shapes: Vec<Option<Shape>>,
}

/// Compiles modules into a folder.
pub(super) struct Compiler<'a> {
    folder: &'a Path,
    header: Header,
    codegen: ScriptArgs,
    modules: Modules,
    count: usize,
}

impl<'a> Compiler<'a> {
    /// A compiler for a script with that header, which writes to `folder` and compiles as `codegen` says.
    pub(super) fn new(folder: &'a Path, header: Header, codegen: ScriptArgs) -> Self {
        panic::set_hook(Box::new(remember_panic));
        Compiler { folder, header, codegen, modules: Modules::new(), count: 0 }
    }

    /// Compiles a module of the script.
    ///
    /// # Errors
    /// If the artifact cannot be written.
    pub(super) fn module(&mut self, module: &Module, built: &mut Built) -> Result<(), Error> {
        let (compiled, shape) = match &module.binary {
            Ok(binary) if module.component => self.component(module, binary)?,
            Ok(binary) => (self.bytes(binary)?, None),
            Err(message) => (Compiled::Invalid(message.clone()), None),
        };
        built.modules.push(compiled);
        built.shapes.push(shape);
        Ok(())
    }

    fn component(&mut self, module: &Module, binary: &[u8]) -> Result<(Compiled, Option<Shape>), Error> {
        let shape = Shape::new(binary);
        let links = shape.as_ref().map(|shape| self.modules.links(shape)).unwrap_or_default();
        let compiled = self.compile(binary, links)?;
        // What is invalid stays so; what is not may be beyond what the script allows.
        let refusal = match (&compiled, &shape, module.refused.as_deref()) {
            (Compiled::Artifact(_) | Compiled::Unsupported(_) | Compiled::Open(_), Some(shape), Some(message)) => {
                component::refusal(binary, shape, &self.header, message)
            }
            _ => None,
        };
        if let (Some(name), Some(shape)) = (&module.name, &shape) {
            self.modules.define(name, shape);
        }
        Ok((refusal.map_or(compiled, Compiled::Invalid), shape))
    }

    /// Compiles a binary, or a text of our own.
    ///
    /// # Errors
    /// If the artifact cannot be written.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<Compiled, Error> {
        self.compile(bytes, Vec::new())
    }

    fn compile(&mut self, bytes: &[u8], links: Vec<(String, Vec<u8>)>) -> Result<Compiled, Error> {
        let options = Options {
            canonicalize_nans: self.header.canonicalize_nans,
            fuel: self.codegen.metering.fuel,
            memory_model: self.codegen.memory.model(),
            links,
            ..Options::default()
        };
        // The compiler keeps no state between calls that a panic could leave half changed.
        let result = panic::catch_unwind(AssertUnwindSafe(|| precast_compiler::compile(bytes, &options)));
        let artifact = match result {
            Ok(Ok(artifact)) => artifact,
            Ok(Err(error)) => return Ok(refusal(&error)),
            Err(payload) => return Ok(Compiled::Crash(last_panic(&*payload))),
        };
        let path = self.folder.join(format!("{}.so", self.count));
        self.count += 1;
        std::fs::write(&path, artifact).map_err(|error| Error::write(&path, error))?;
        Ok(Compiled::Artifact(path))
    }
}

fn refusal(error: &CompileError) -> Compiled {
    let message = error.to_string();
    match error {
        CompileError::Invalid { .. } | CompileError::Text(_) => Compiled::Invalid(message),
        CompileError::Unsupported { .. } => {
            Compiled::Unsupported(message.strip_prefix("unsupported: ").unwrap_or(&message).to_owned())
        }
        CompileError::Limit { .. } => Compiled::Unsupported(message),
        CompileError::Link(_) => Compiled::Open(message),
        _ => Compiled::Crash(message),
    }
}

/// The message and place of the last panic: the payload alone does not tell where it was.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

fn remember_panic(info: &panic::PanicHookInfo<'_>) {
    // For a panic that nothing catches, this is what the runner shows.
    crate::output::tell(info);
    if let Ok(mut last) = LAST_PANIC.lock() {
        *last = Some(info.to_string());
    }
}

fn last_panic(payload: &(dyn Any + Send)) -> String {
    let remembered = LAST_PANIC.lock().ok().and_then(|mut last| last.take());
    let message = || payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    remembered.unwrap_or_else(|| message().unwrap_or("panicked").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_refusal_is_told_apart() {
        let place = precast_compiler::Place::default();
        let invalid = CompileError::Invalid { message: "type mismatch".into(), place };
        assert!(matches!(refusal(&invalid), Compiled::Invalid(_)));
        assert!(matches!(refusal(&CompileError::Text("unknown operator".into())), Compiled::Invalid(_)));
        let unsupported = refusal(&CompileError::Unsupported { proposal: "threads", place });
        assert_eq!(unsupported.artifact(), Err("unsupported: threads (offset 0x0)".into()));
        let limit = CompileError::Limit { what: "number of locals", found: 2, limit: 1, place };
        assert!(matches!(refusal(&limit), Compiled::Unsupported(_)));
        let open = CompileError::Link("the component imports the core module `m`".into());
        assert!(matches!(refusal(&open), Compiled::Open(_)));
        let internal = CompileError::Internal { context: "function 3".into(), message: "oops".into() };
        assert!(matches!(refusal(&internal), Compiled::Crash(_)));
    }
}
