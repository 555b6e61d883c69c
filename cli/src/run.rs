//! `precast run`: an artifact, or a module or component that becomes one, runs as a process would.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::path::Path;
use std::process::ExitCode;

use precast_loader::component;
use precast_loader::{Artifact, Limits, Linker, Val};
use precast_wasi::{Grants, WasiCtx, WasiCtxBuilder};

use crate::args::RunArgs;
use crate::call::{self, COMMAND, Call};
use crate::component::Shown;
use crate::component::call::{Call as ComponentCall, no_command};
use crate::component::guest::{self as component_guest, Driver};
use crate::error::Error;
use crate::guest::{self, Stop};
use crate::trap::Backtrace;
use crate::{artifact, output, profile, values};

/// Exit status after a trap, and of a guest that was stopped: that of a process killed by SIGABRT, as a shell shows it.
const TRAP: u8 = 134;

pub(crate) fn run(mut args: RunArgs) -> Result<ExitCode, Error> {
    // Before anything is compiled, so that a mistake costs no time.
    let grants = guest::grants(&args.allow, args.allow_all)?;
    let (file, guest_args) = args.command.split_first().ok_or_else(|| Error::Usage("no file is named".into()))?;
    profile::check_target(args.record_profile.as_deref())?;
    args.codegen.metered = args.fuel.fuel.is_some() || args.fuel.report_fuel;
    let (mut artifact, source) = artifact::open(Path::new(file), &args.cache, &args.codegen)?;
    if args.codegen.metered {
        artifact::check_metered(Path::new(file), &artifact)?;
    }
    if args.record_profile.is_some() {
        artifact = profile::open(&source)?;
    }
    let wasi = context(grants, file, guest_args, args.invoke.is_some())?;
    let run = if artifact.is_component() { run_component } else { run_module };
    let ended = run(&artifact, args.invoke.as_deref(), guest_args, Budget::of(&args), wasi);
    if let Some(path) = &args.record_profile {
        profile::write(path, &artifact)?;
    }
    match ended {
        Ok(status) => Ok(status),
        Err(Stop::Exit(status)) => Ok(ExitCode::from(exit_status(status))),
        Err(Stop::Trap(trap)) => {
            output::tell(format_args!("precast: trap: {}", Backtrace(&trap)));
            Ok(ExitCode::from(TRAP))
        }
        Err(Stop::Denied(_)) => {
            output::tell("precast: the guest cannot go on without it");
            Ok(ExitCode::from(TRAP))
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// What the guest may use.
#[derive(Clone, Copy)]
struct Budget {
    limits: Limits,
    report_fuel: bool,
}

impl Budget {
    fn of(args: &RunArgs) -> Budget {
        let limits = Limits { memory_bytes: args.max_memory, fuel: args.fuel.fuel, ..Limits::default() };
        Budget { limits, report_fuel: args.fuel.report_fuel }
    }

    /// Tells how much fuel was used, if that is asked for; `left` is what is left.
    fn report(self, left: Option<u64>) {
        if let Some(left) = left.filter(|_| self.report_fuel) {
            let given = self.limits.fuel.unwrap_or(u64::MAX);
            output::tell(format_args!("precast: fuel used: {}", given - left));
        }
    }
}

fn run_module(
    artifact: &Artifact,
    invoke: Option<&str>,
    args: &[OsString],
    budget: Budget,
    wasi: WasiCtxBuilder,
) -> Result<ExitCode, Stop> {
    let call = match invoke {
        Some(export) => Call::new(artifact, export, args)?,
        None => command(artifact)?,
    };
    let results = execute(artifact, budget, wasi.build().map_err(guest::not_granted)?, &call)?;
    print(&results)?;
    Ok(ExitCode::SUCCESS)
}

/// Of a command, the result is the status; of another function it is printed.
fn run_component(
    artifact: &Artifact,
    invoke: Option<&str>,
    args: &[OsString],
    budget: Budget,
    wasi: WasiCtxBuilder,
) -> Result<ExitCode, Stop> {
    let call = match invoke {
        Some(export) => ComponentCall::new(artifact, export, args)?,
        None => ComponentCall::command(artifact).ok_or_else(|| no_command(artifact))?,
    };
    let bound = component_guest::bind(&component_guest::wasi_linker(), artifact)?.limits(budget.limits);
    let context = wasi.template().map_err(guest::not_granted)?.context();
    let result = Driver::new()?.complete(async {
        let mut instance = bound.instantiate_async(context).await?;
        let result = component_guest::call(&mut instance, &call).await;
        budget.report(instance.fuel());
        leave(instance, artifact);
        result
    })?;
    match result {
        Some(component::Val::Result(Err(_))) if invoke.is_none() => return Ok(ExitCode::FAILURE),
        Some(result) if invoke.is_some() => output::print(format!("{}\n", Shown(&result)))?,
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Leaves an instance to the end of the process: the kernel takes its slot back faster than a reset would make it good as
/// new. Only one that is recorded is dropped, since that is when what it wrote is looked at.
fn leave<I>(instance: I, artifact: &Artifact) {
    if !artifact.is_recorded() {
        mem::forget(instance);
    }
}

/// The call of a WASI command's `_start`.
fn command(artifact: &Artifact) -> Result<Call, Error> {
    Call::without_params(artifact, COMMAND).ok_or_else(|| match call::no_function(artifact, COMMAND) {
        Error::Usage(message) => Error::Usage(format!("{message} (--invoke calls another)")),
        error => error,
    })
}

/// What the guest sees of the world. Its first argument is the file's name without its folder, which is none of its
/// business; the arguments of `--invoke` are the function's, not the program's.
fn context(grants: Grants, file: &OsStr, args: &[OsString], invoked: bool) -> Result<WasiCtxBuilder, Error> {
    let name = Path::new(file).file_name().unwrap_or(file).to_string_lossy().into_owned();
    let utf8 = |arg: &OsString| {
        arg.to_str().map(str::to_owned).ok_or_else(|| Error::Usage(format!("the argument {arg:?} is not UTF-8")))
    };
    let args = if invoked { &[] } else { args };
    let args = args.iter().map(utf8).collect::<Result<Vec<_>, _>>()?;
    Ok(WasiCtx::builder()
        .args([name])
        .args(args)
        .grants(grants)
        .on_denial(|denial| output::tell(format_args!("precast: {denial}"))))
}

/// Instantiates and calls; of a reactor, its initialiser first.
fn execute(artifact: &Artifact, budget: Budget, wasi: WasiCtx, call: &Call) -> Result<Vec<Val>, Stop> {
    let linker = if guest::imports_wasi(artifact) { guest::wasi_linker() } else { Linker::new() };
    let bound = guest::bind(&linker, artifact)?.limits(budget.limits);
    let mut instance = bound.instantiate(wasi)?;
    let results = match call.initializer(artifact) {
        Some(initializer) => guest::call(&mut instance, &initializer).and_then(|_| guest::call(&mut instance, call)),
        None => guest::call(&mut instance, call),
    };
    budget.report(instance.fuel());
    // Libraries look for directories before anybody wants one, so this may or may not be why the guest failed.
    if matches!(results, Err(Stop::Exit(1..)))
        && let Some(denial) = instance.data().unanswered()
    {
        output::tell(format_args!(
            "precast: note: the guest looked for {} in vain; --allow={} would grant it",
            denial.what, denial.grant
        ));
    }
    leave(instance, artifact);
    results
}

fn print(results: &[Val]) -> Result<(), Error> {
    let lines: String = results.iter().map(|value| values::show(value) + "\n").collect();
    output::print(lines)
}

/// The guest's status, of which a process can only tell eight bits: what does not fit is a failure, and stays one.
fn exit_status(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_does_not_fit_is_no_success() {
        assert_eq!([0, 1, 255].map(exit_status), [0, 1, 255]);
        assert_eq!([256, -1, i32::MIN].map(exit_status), [255, 255, 255]);
    }
}
