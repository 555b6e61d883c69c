//! `compile --init` and `snapshot`: a function of the program is run while it is compiled, or requests are made to it, and
//! what that leaves behind is what instances start from.
//!
//! What comes in: a module or component, and what its initialiser may reach. What goes out: the state of the instance
//! that it has initialised, for any target; what it was denied and what it has read of the world is told on the way. It
//! runs as compiled for this machine, so the target may be another one.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use precast_compiler::{Emit, Options, Snapshot};
use precast_loader::component::{self, Val};
use precast_loader::{Artifact, Linker, SnapshotError, TrapCode, with_deadline, with_deadline_async};
use precast_wasi::preview2::Ctx;
use precast_wasi::{Grants, OutputPipe, Stdin, Stdout, WasiCtx, WasiCtxBuilder};

use crate::artifact;
use crate::call::Call;
use crate::component::Shown;
use crate::component::call::Call as ComponentCall;
use crate::component::guest::{self as component_guest, Driver};
use crate::error::Error;
use crate::guest::{self, Stop};
use crate::request::{self, WarmUp};
use crate::serve::parse_duration;
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

    /// How long the initialiser may take, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s", requires = "init")]
    pub(crate) init_timeout: Duration,
}

/// A state to start from.
pub(crate) struct Initialised {
    pub(crate) snapshot: Snapshot,
    /// What was called to get there, and is not to be called again.
    pub(crate) spent: Vec<String>,
}

/// What runs before compiling.
pub(crate) struct Initialiser<'a> {
    pub(crate) work: Work<'a>,
    /// How long it may take, each instantiation included.
    pub(crate) limit: Duration,
}

/// What is to be done.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// A call.
    Call {
        /// The export.
        export: &'a str,
        /// Its arguments.
        args: &'a [OsString],
        /// Whether a module goes without the export afterwards.
        is_spent: bool,
    },
    /// Requests to a component that answers them.
    Requests {
        /// In their order.
        requests: &'a [WarmUp],
        /// Whether handles that they leave behind may stay, of resources that are gone.
        may_leak: bool,
    },
}

/// Runs the initialiser of `module`, which the user knows as `file`. `told` is called with a kind (`denied`, `read`,
/// `answered` or `leaked`) and a message for what the initialiser asks of the world, and what comes of requests.
pub(crate) fn run(
    file: &Path,
    module: &[u8],
    options: &Options,
    initialiser: &Initialiser<'_>,
    grants: Grants,
    told: impl Fn(&str, String) + Clone + Send + 'static,
) -> Result<Initialised, Error> {
    let mut here = Options { emit: Emit::So, profile: None, ..options.clone() };
    here.set_target(None, None).map_err(|error| Error::Usage(error.to_string()))?;
    let bytes = artifact::compile(file, module, &here, None)?;
    let artifact = Artifact::open_bytes(&bytes).map_err(|error| Error::context("cannot initialise", error.kind))?;
    let (denied, read, stdout) = (told.clone(), told.clone(), OutputPipe::new(OUTPUT));
    // No arguments and no input: they would be those of this command.
    let wasi = WasiCtx::builder()
        .stdin(Stdin::Bytes(Vec::new()))
        .stdout(Stdout::Pipe(stdout.clone()))
        .grants(grants)
        .on_denial(move |denial| denied("denied", denial.to_string()))
        .on_read(move |what| read("read", format!("the initialiser read {what}")));
    let result = if artifact.is_component() {
        component(&artifact, initialiser, wasi, told)
    } else {
        core(&artifact, initialiser, wasi)
    };
    _ = io::stderr().write_all(&stdout.contents());
    result.map_err(|stop| stopped(stop, initialiser.limit))
}

fn core(artifact: &Artifact, initialiser: &Initialiser<'_>, wasi: WasiCtxBuilder) -> Result<Initialised, Stop> {
    let Work::Call { export, args, is_spent } = initialiser.work else { return Err(request::no_handler().into()) };
    let call = first(export, |name| Call::new(artifact, name, args))?;
    let wasi = wasi.build().map_err(guest::not_granted)?;
    let (instance, spent) =
        with_deadline(Instant::now() + initialiser.limit, || call_core(artifact, &call, is_spent, wasi))?;
    if let Some(fd) = instance.data().opened() {
        let message = format!("the initialiser left descriptor {fd} open, which cannot become part of an artifact");
        return Err(Error::Failed(message).into());
    }
    Ok(Initialised { snapshot: instance.snapshot().map_err(no_snapshot)?, spent })
}

/// An instance in which `call` was called, and what is not to be called again.
fn call_core(
    artifact: &Artifact,
    call: &Call,
    is_spent: bool,
    wasi: WasiCtx,
) -> Result<(precast_loader::Instance<WasiCtx>, Vec<String>), Stop> {
    let mut linker = if guest::imports_wasi(artifact) { guest::wasi_linker() } else { Linker::new() };
    linker.trap_missing_functions();
    let bound = guest::bind(&linker, artifact)?;
    let mut instance = bound.instantiate(wasi)?;
    let mut spent = Vec::new();
    // A reactor's initialiser must not be called again in any case.
    if let Some(reactors) = call.initializer(artifact) {
        guest::call(&mut instance, &reactors)?;
        spent.push(reactors.export);
    }
    guest::call(&mut instance, call)?;
    if is_spent {
        spent.push(call.export.clone());
    }
    Ok((instance, spent))
}

/// The export stays in any case, since the component's interface says that it is there.
fn component(
    artifact: &Artifact,
    initialiser: &Initialiser<'_>,
    wasi: WasiCtxBuilder,
    told: impl Fn(&str, String),
) -> Result<Initialised, Stop> {
    let call = match initialiser.work {
        Work::Call { export, args, .. } => Some(first(export, |name| ComponentCall::new(artifact, name, args))?),
        Work::Requests { .. } => None,
    };
    let mut linker = component_guest::wasi_linker();
    linker.trap_missing();
    let bound = component_guest::bind(&linker, artifact)?.keep_origins();
    let template = wasi.template().map_err(guest::not_granted)?;
    let run = async {
        let mut instance = bound.instantiate_async(template.context()).await?;
        if let Some(call) = &call {
            call_component(&mut instance, call).await?;
        } else if let Work::Requests { requests, may_leak } = initialiser.work {
            request::make(&mut instance, requests, &told).await?;
            if may_leak {
                request::forget_leaks(&mut instance, &told)?;
            }
            request::check(&linker, &template, &instance, requests).await?;
        }
        Ok::<_, Stop>(instance.snapshot().map_err(no_snapshot)?)
    };
    let snapshot = Driver::new()?.complete(limited(initialiser.limit, run))?;
    Ok(Initialised { snapshot, spent: Vec::new() })
}

async fn call_component(instance: &mut component::Instance<Ctx>, call: &ComponentCall) -> Result<(), Stop> {
    if let Some(Val::Result(Err(error))) = component_guest::call(instance, call).await? {
        let error = error.map_or_else(String::new, |error| format!(": {}", Shown(&error)));
        return Err(Error::Failed(format!("the initialiser failed{error}")).into());
    }
    Ok(())
}

/// Runs guests for `limit` at most, waiting for the host included.
async fn limited<R>(limit: Duration, run: impl Future<Output = Result<R, Stop>>) -> Result<R, Stop> {
    let end = Instant::now() + limit;
    let ended = tokio::time::timeout_at(end.into(), with_deadline_async(end, run)).await;
    ended.unwrap_or_else(|_| Err(took_too_long(limit).into()))
}

/// What `find` finds by the export's name; if that is the usual one, by any of those.
fn first<X>(export: &str, find: impl Fn(&str) -> Result<X, Error>) -> Result<X, Error> {
    let others = if export == INITIALISERS[0] { &INITIALISERS[1..] } else { &[] };
    others.iter().fold(find(export), |found, name| found.or_else(|error| find(name).map_err(|_| error)))
}

fn no_snapshot(error: SnapshotError) -> Error {
    Error::context("what the initialiser left behind cannot become part of an artifact", error)
}

fn took_too_long(limit: Duration) -> Error {
    Error::Failed(format!("the initialiser has not ended within {limit:?} (--init-timeout allows another time)"))
}

fn stopped(stop: Stop, limit: Duration) -> Error {
    match stop {
        Stop::Trap(trap) if trap.code() == TrapCode::Interrupted => took_too_long(limit),
        Stop::Exit(status) => Error::Failed(format!("the initialiser exited with status {status}")),
        Stop::Trap(trap) => Error::Failed(format!("the initialiser trapped: {}", Backtrace(&trap))),
        Stop::Denied(_) => Error::Failed("the initialiser cannot go on without what it was denied".into()),
        Stop::Failed(error) => error,
    }
}
