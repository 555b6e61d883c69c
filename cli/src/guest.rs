//! A guest with WASI, from what it is granted to what ended it: what the commands that run one have in common.

use precast_loader::{Artifact, Bound, CallError, Func, Instance, InstantiateError, Linker, Trap, Val};
use precast_wasi::preview2::Denied;
use precast_wasi::{Exit, Grants, WasiCtx, preview1};

use crate::call::Call;
use crate::error::Error;

/// The module that guests import WASI 0.1 from.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Why a guest stopped before it returned.
pub(crate) enum Stop {
    /// It called `proc_exit` with this status.
    Exit(i32),
    /// It trapped.
    Trap(Trap),
    /// It was not granted something, and asked with a function that has no way to say so. The user has been told.
    Denied(Denied),
    /// Something of ours failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Trap(trap) => Stop::Trap(trap),
            CallError::Host(error) => match error.downcast::<Exit>() {
                Ok(exit) => Stop::Exit(exit.0),
                Err(error) => match error.downcast::<Denied>() {
                    Ok(denied) => Stop::Denied(*denied),
                    Err(error) => Stop::Failed(Error::context("a host function failed", error)),
                },
            },
            error => Stop::Failed(Error::context("the call failed", error)),
        }
    }
}

impl From<InstantiateError> for Stop {
    fn from(error: InstantiateError) -> Self {
        match error {
            InstantiateError::Start(error) => error.into(),
            error => Stop::Failed(Error::context("cannot instantiate", error)),
        }
    }
}

/// The sum of what the command line grants: everything, and each list.
pub(crate) fn grants(allow: &[String], all: bool) -> Result<Grants, Error> {
    let mut grants = if all { Grants::all() } else { Grants::none() };
    for list in allow {
        grants.extend(Grants::parse(list).map_err(|error| Error::Usage(format!("--allow: {error}")))?);
    }
    Ok(grants)
}

/// What was granted cannot be opened.
pub(crate) fn not_granted(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::context("cannot grant what was asked for", error)
}

/// Whether the artifact imports anything of WASI 0.1.
pub(crate) fn imports_wasi(artifact: &Artifact) -> bool {
    artifact.imports().any(|import| import.module == PREVIEW1)
}

/// A linker with WASI 0.1, over stores that hold its context.
pub(crate) fn wasi_linker() -> Linker<WasiCtx> {
    let mut linker = Linker::new();
    preview1::add_to_linker(&mut linker, |context: &mut WasiCtx| context);
    linker
}

/// Binds the artifact's imports.
pub(crate) fn bind<T: 'static>(linker: &Linker<T>, artifact: &Artifact) -> Result<Bound<T>, Error> {
    linker.bind(artifact).map_err(|error| Error::context("cannot bind the imports", error))
}

/// The function that `call` calls.
pub(crate) fn function<T>(instance: &Instance<T>, call: &Call) -> Result<Func, Error> {
    let found = instance.func_dynamic(&call.export);
    found.map_err(|error| Error::context(format_args!("cannot call `{}`", call.export), error))
}

/// Calls an export of `instance`.
pub(crate) fn call<T>(instance: &mut Instance<T>, call: &Call) -> Result<Vec<Val>, Stop> {
    let func = function(instance, call)?;
    Ok(func.call(instance, &call.params)?)
}
