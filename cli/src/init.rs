//! `compile --init`: the program's own initialiser is run while it is compiled, and what it leaves behind is what its
//! instances start from.
//!
//! What comes in: a module or component, and what its initialiser may reach. What goes out: the state of the instance
//! that it has initialised, for any target; what it was denied and what it has read of the world is told on the way. It
//! runs as compiled for this machine, so the target may be another one.

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use precast_compiler::{Emit, Options, Snapshot};
use precast_loader::component::Val;
use precast_loader::{Artifact, Linker, SnapshotError};
use precast_wasi::{Grants, OutputPipe, Stdin, Stdout, WasiCtx, WasiCtxBuilder};

use crate::artifact;
use crate::call::{self, Call};
use crate::component::Shown;
use crate::component::call::Call as ComponentCall;
use crate::component::guest::{self as component_guest, Driver};
use crate::error::Error;
use crate::guest::{self, Stop};
use crate::trap::Backtrace;

/// What is called if nobody says what: the names that Wizer gives it. A component's names have no dots.
const INITIALISERS: [&str; 2] = ["wizer.initialize", "wizer-initialize"];

/// Bytes that an initialiser may print.
const OUTPUT: usize = 1 << 20;

/// What runs before compiling.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Initialising")]
pub(crate) struct InitArgs {
    /// Run the program's initialiser now, and start every instance from what it leaves behind
    ///
    /// Start functions are run and, of a reactor, `_initialize`, and then this function, which takes no parameters: of a
    /// component, FUNCTION or INTERFACE#FUNCTION. It may fill and grow memories and tables, set globals, drop segments and
    /// make resources of its own. Of a module, the artifact does not export these functions any more. What it prints
    /// goes to standard error. Also for another target.
    #[arg(long, value_name = "EXPORT", num_args = 0..=1, require_equals = true, default_missing_value = "wizer.initialize")]
    pub(crate) init: Option<String>,

    /// Grant the initialiser something: fs:DIR, env, clocks, random, ... (see precast run --help)
    ///
    /// What it reads becomes part of the artifact, and is told on standard error.
    #[arg(long, value_name = "GRANT,...", requires = "init")]
    pub(crate) allow: Vec<String>,

    /// Grant the initialiser everything
    #[arg(short = 'A', long, requires = "init")]
    pub(crate) allow_all: bool,
}

/// A state to start from.
pub(crate) struct Initialised {
    pub(crate) snapshot: Snapshot,
    /// What was called to get there, and is not to be called again.
    pub(crate) spent: Vec<String>,
}

/// Runs the initialiser `export` of `module`, which the user knows as `file`. `told` is called with a kind (`denied` or
/// `read`) and a message for what the initialiser asks of the world.
pub(crate) fn run(
    file: &Path,
    module: &[u8],
    options: &Options,
    export: &str,
    grants: Grants,
    told: impl Fn(&str, String) + Clone + Send + 'static,
) -> Result<Initialised, Error> {
    let mut here = Options { emit: Emit::So, ..options.clone() };
    here.set_target(None, None).map_err(|error| Error::Usage(error.to_string()))?;
    let bytes = artifact::compile(file, module, &here, None)?;
    let artifact = Artifact::open_bytes(&bytes).map_err(|error| Error::context("cannot initialise", error.kind))?;
    let (denied, stdout) = (told.clone(), OutputPipe::new(OUTPUT));
    // No arguments and no input: they would be those of this command.
    let wasi = WasiCtx::builder()
        .stdin(Stdin::Bytes(Vec::new()))
        .stdout(Stdout::Pipe(stdout.clone()))
        .grants(grants)
        .on_denial(move |denial| denied("denied", denial.to_string()))
        .on_read(move |what| told("read", format!("the initialiser read {what}")));
    let run = if artifact.is_component() { component } else { core };
    let result = run(&artifact, export, wasi);
    _ = io::stderr().write_all(&stdout.contents());
    result.map_err(stopped)
}

fn core(artifact: &Artifact, export: &str, wasi: WasiCtxBuilder) -> Result<Initialised, Stop> {
    let call = named(export).find_map(|name| Call::without_params(artifact, name));
    let call = call.map_or_else(|| no_initialiser(artifact, export), Ok)?;
    let mut linker = if guest::imports_wasi(artifact) { guest::wasi_linker() } else { Linker::new() };
    linker.trap_missing_functions();
    let bound = guest::bind(&linker, artifact)?;
    let mut instance = bound.instantiate(wasi.build().map_err(guest::not_granted)?)?;
    let calls: Vec<Call> = call.initializer(artifact).into_iter().chain([call]).collect();
    for call in &calls {
        guest::call(&mut instance, call)?;
    }
    if let Some(fd) = instance.data().opened() {
        let message = format!("the initialiser left descriptor {fd} open, which cannot become part of an artifact");
        return Err(Error::Failed(message).into());
    }
    let snapshot = instance.snapshot().map_err(no_snapshot)?;
    Ok(Initialised { snapshot, spent: calls.into_iter().map(|call| call.export).collect() })
}

/// The export stays, since the component's interface says that it is there.
fn component(artifact: &Artifact, export: &str, wasi: WasiCtxBuilder) -> Result<Initialised, Stop> {
    let none: [&str; 0] = [];
    let found = named(export).map(|name| ComponentCall::new(artifact, name, &none));
    let call = found.reduce(|first, second| first.or(second)).unwrap_or_else(|| unreachable!("it has a name"))?;
    let mut linker = component_guest::wasi_linker();
    linker.trap_missing();
    let bound = component_guest::bind(&linker, artifact)?;
    let context = wasi.template().map_err(guest::not_granted)?.context();
    let (instance, result) = Driver::new()?.complete(async {
        let mut instance = bound.instantiate_async(context).await?;
        let result = component_guest::call(&mut instance, &call).await?;
        Ok::<_, Stop>((instance, result))
    })?;
    if let Some(Val::Result(Err(error))) = result {
        let error = error.map_or_else(String::new, |error| format!(": {}", Shown(&error)));
        return Err(Error::Failed(format!("the initialiser failed{error}")).into());
    }
    Ok(Initialised { snapshot: instance.snapshot().map_err(no_snapshot)?, spent: Vec::new() })
}

/// The functions that an initialiser's name may mean.
fn named(export: &str) -> impl Iterator<Item = &str> {
    let others = if export == INITIALISERS[0] { &INITIALISERS[1..] } else { &[] };
    std::iter::once(export).chain(others.iter().copied())
}

/// The error that says why `export` cannot be called.
fn no_initialiser(artifact: &Artifact, export: &str) -> Result<Call, Error> {
    let none: [&str; 0] = [];
    Call::new(artifact, export, &none).and_then(|_| Err(call::no_function(artifact, export)))
}

fn no_snapshot(error: SnapshotError) -> Error {
    Error::context("what the initialiser left behind cannot become part of an artifact", error)
}

fn stopped(stop: Stop) -> Error {
    match stop {
        Stop::Exit(status) => Error::Failed(format!("the initialiser exited with status {status}")),
        Stop::Trap(trap) => Error::Failed(format!("the initialiser trapped: {}", Backtrace(&trap))),
        Stop::Denied(_) => Error::Failed("the initialiser cannot go on without what it was denied".into()),
        Stop::Failed(error) => error,
    }
}
