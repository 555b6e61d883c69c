//! `precast serve`: a component answers HTTP requests, each in an instance of its own.
//!
//! What comes in: an artifact, or a component that becomes one, and an address. What goes out: responses, until the
//! process is told to end. Workers share nothing that changes: each has a thread, a listening socket (the kernel spreads
//! connections over them), a runtime and counters.
//!
//! ```text
//! run: open ─▶ bind ─▶ listen ─▶ workers (worker.rs) ── a task for each connection ─▶ service.rs: one request
//!                          └──▶ control.rs: signals, metrics                           log.rs, stats.rs: its record
//! ```

mod control;
mod duration;
mod log;
mod service;
mod stats;
mod worker;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use precast_loader::component::{Bound, Linker};
use precast_loader::{Artifact, Limits};
use precast_wasi::http::Proxy;
use precast_wasi::preview2::{self, Ctx, Template};
use precast_wasi::{Grants, Stdin, WasiCtx, http};

pub(crate) use duration::parse_duration;

use crate::args::ServeArgs;
use crate::error::Error;
use crate::{artifact, guest, output, profile};
use log::{AccessLog, Failures};
use service::Service;
use stats::Stats;
use worker::Listener;

/// What handlers of requests export.
const HANDLER: &str = "wasi:http/incoming-handler";

pub(crate) fn run(mut args: ServeArgs) -> Result<ExitCode, Error> {
    // Before anything is compiled, so that a mistake costs no time.
    let grants = grants(&args)?;
    let denials = Denials::default();
    let first_template = template(&grants, &args.file, &denials)?;
    let log = AccessLog::open(args.access_log.as_ref())?;
    profile::check_target(args.record_profile.as_deref())?;
    let listeners = worker::bind_all(args.addr, workers(&args))?;
    let addr = listeners[0].addr()?;
    args.codegen.metered = args.fuel.is_some();
    let (mut first_artifact, source) = artifact::open(&args.file, &args.cache, &args.codegen)?;
    if args.record_profile.is_some() {
        first_artifact = profile::open(&source)?;
    }

    let stats: Arc<[Stats]> = listeners.iter().map(|_| Stats::default()).collect();
    let failures = Arc::new(Failures::default());
    let idle_memory = args.idle_memory / listeners.len() as u64;
    // Each worker opens the artifact and the grants for itself: slots and reference counts are no other thread's. What is
    // recorded is one artifact.
    let services = (0..listeners.len()).map(|index| {
        let (artifact, template) = match index {
            0 => (first_artifact.clone(), first_template.clone()),
            _ if first_artifact.is_recorded() => (first_artifact.clone(), template(&grants, &args.file, &denials)?),
            _ => {
                let artifact =
                    source.open().map_err(|error| Error::context("cannot open the artifact again", error))?;
                (artifact, template(&grants, &args.file, &denials)?)
            }
        };
        artifact.limit_idle_memory(idle_memory);
        let proxy = Proxy::new(bind(&artifact, &args)?, |ctx: &mut Ctx| ctx).timeout(Some(args.timeout));
        Ok(Service::new(proxy, template, log.clone(), failures.clone(), stats.clone(), index))
    });
    let services = services.collect::<Result<Vec<_>, Error>>()?;
    let status = serve(listeners, services, stats, addr, &args)?;
    if let Some(path) = &args.record_profile {
        profile::write(path, &first_artifact)?;
    }
    Ok(status)
}

/// Starts the workers and waits for the end.
fn serve(
    listeners: Vec<Listener>,
    services: Vec<Service>,
    stats: Arc<[Stats]>,
    addr: SocketAddr,
    args: &ServeArgs,
) -> Result<ExitCode, Error> {
    let control = control::Control::new(stats, args.metrics_addr, args.grace)?;
    listeners.iter().try_for_each(Listener::listen)?;
    std::thread::scope(|scope| {
        let workers = listeners.into_iter().zip(services).map(|(listener, service)| {
            let end = control.end();
            let name = format!("precast-worker-{}", service.index());
            let worker = move || worker::run(listener, service, end);
            let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, worker);
            thread.map_err(|error| Error::context("cannot start a worker", error))
        });
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        output::tell(format_args!("precast: listening on http://{addr}"));
        control.run()?;
        // Threads end when their requests have, or the time that is left for these is over.
        for worker in workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn workers(args: &ServeArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    args.workers.map_or_else(cores, usize::from)
}

fn grants(args: &ServeArgs) -> Result<Grants, Error> {
    let mut grants = guest::grants(&args.allow, args.allow_all)?;
    for variable in &args.env {
        grants.add(env(variable)?);
    }
    Ok(grants)
}

/// `NAME=VALUE`, or `NAME` for the host's value.
fn env(variable: &str) -> Result<precast_wasi::Grant, Error> {
    let (name, value) = match variable.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (variable, None),
    };
    if name.is_empty() {
        return Err(Error::Usage(format!("--env: `{variable}` names no variable")));
    }
    Ok(precast_wasi::Grant::EnvVar { name: name.into(), value })
}

/// Grants that the user has been told of: each worker's guests would have him told of them again.
type Denials = Arc<Mutex<BTreeSet<String>>>;

/// What all guests see of the world. They have nothing to read, and write to the standard streams of the server.
fn template(grants: &Grants, file: &Path, denials: &Denials) -> Result<Template, Error> {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let denials = denials.clone();
    WasiCtx::builder()
        .args([name])
        .grants(grants.clone())
        .stdin(Stdin::Bytes(Vec::new()))
        .on_denial(move |denial| {
            if denials.lock().unwrap_or_else(PoisonError::into_inner).insert(denial.grant.clone()) {
                output::tell(format_args!("precast: {denial}"));
            }
        })
        .template()
        .map_err(|error| Error::context("cannot grant what was asked for", error))
}

fn bind(artifact: &Artifact, args: &ServeArgs) -> Result<Bound<Ctx>, Error> {
    if !artifact.is_component() {
        return Err(Error::Usage(format!(
            "`{}` is a module, and only components that export {HANDLER} can be served",
            args.file.display()
        )));
    }
    let mut linker = Linker::new();
    preview2::add_to_linker(&mut linker, |ctx: &mut Ctx| ctx);
    http::add_to_linker(&mut linker, |ctx: &mut Ctx| ctx);
    let bound = linker.bind(artifact).map_err(|error| Error::context("cannot bind the imports", error))?;
    if args.fuel.is_some() {
        artifact::check_metered(&args.file, artifact)?;
    }
    let limits = Limits { memory_bytes: args.max_memory, fuel: args.fuel, ..Limits::default() };
    let bound = bound.limits(limits);
    let handles = |interface: &str| interface.split('@').next() == Some(HANDLER);
    if !bound.exports().any(|(interface, name, _)| handles(interface) && name == "handle") {
        return Err(Error::Usage(format!("`{}` does not export {HANDLER}", args.file.display())));
    }
    Ok(bound)
}
