//! `precast serve`: a component answers HTTP requests, each in an instance of its own.
//!
//! What comes in: an artifact, or a component that becomes one, and an address. What goes out: responses, until the
//! process is told to end. Workers are processes: the first one starts them and serves nobody.
//!
//! ```text
//! run: check ─▶ bind ─▶ compile ─▶ supervisor.rs: signals, metrics ── channel.rs ──▶ worker.rs: open, bind, listen
//!                                     └──▶ a worker for each CPU                        └──▶ connections.rs: its thread
//!                                                   log.rs, stats.rs: its record ◀── service.rs: one request ◀──┘
//! ```

mod channel;
mod connections;
mod duration;
mod log;
mod service;
mod stats;
mod supervisor;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use precast_loader::component::{Bound, Linker};
use precast_loader::{Artifact, Limits};
use precast_wasi::preview2::{self, Ctx, Template};
use precast_wasi::{Denial, Grants, Stdin, WasiCtx, http};

pub(crate) use duration::parse_duration;
pub(crate) use worker::Job;

use crate::args::ServeArgs;
use crate::error::Error;
use crate::{artifact, guest, profile};
use connections::Listener;
use log::AccessLog;

/// What handlers of requests export.
const HANDLER: &str = "wasi:http/incoming-handler";

pub(crate) fn run(mut args: ServeArgs) -> Result<ExitCode, Error> {
    if let Some(job) = args.worker.take() {
        return worker::run(&args, &job);
    }
    // Before anything is compiled, so that a mistake costs no time.
    template(&grants(&args)?, &args.file, |_| {})?;
    AccessLog::open(args.access_log.as_ref())?;
    profile::check_target(args.record_profile.as_deref())?;
    // Kept until the end: nobody else is to have the address before the workers do.
    let place = Listener::first(args.addr)?;
    args.codegen.metered = args.fuel.is_some();
    let (artifact, source) = artifact::open(&args.file, &args.cache, &args.codegen)?;
    bind(&artifact, &args)?;
    drop(artifact);
    supervisor::run(&args, source, place.addr()?)
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

/// What all guests see of the world. They have nothing to read, and write to the standard streams of the server.
fn template(grants: &Grants, file: &Path, on_denial: impl Fn(&Denial) + Send + 'static) -> Result<Template, Error> {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    WasiCtx::builder()
        .args([name])
        .grants(grants.clone())
        .stdin(Stdin::Bytes(Vec::new()))
        .on_denial(on_denial)
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
