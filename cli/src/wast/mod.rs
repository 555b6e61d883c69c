//! `precast wast`: runs specification scripts against the compiler and the loader.
//!
//! In go scripts (`.wast`) and a list of those that are expected to fail; out come one line for each failure, a last
//! line of counts, and an exit status that says whether anything was unexpected.
//!
//! ```text
//! mod.rs            the command                      scripts.rs  which scripts
//! runner.rs         one process for each script      report.rs   what such a process tells, line by line
//! expectations.rs   which scripts may fail           process.rs  such a process: the three stages below
//!
//! script ─parse─▶ Script ─compile─▶ artifact files ─replay, twice─▶ outcomes
//!        script.rs       compile.rs                replay.rs, values.rs, spectest.rs, component/
//! ```
//!
//! A script may crash its process or hang it: that is a failure of the script, never of the runner.

mod artifacts;
mod compile;
mod component;
mod expectations;
mod header;
mod process;
mod replay;
mod report;
mod runner;
mod script;
mod scripts;
mod spectest;
mod stop;
mod values;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::codegen::ScriptArgs;
use crate::error::Error;
use expectations::{Expectations, Verdict};
use runner::Runner;

/// Run specification scripts
///
/// Compiles every module and component of a script into an artifact file, then replays the script with the loader, with all
/// artifacts opened at two different addresses. Each script runs in a process of its own.
///
/// Prints each failure with its place, and at last `N passed, N failed, N skipped`, counting directives. The failures
/// of scripts that the expectations name are printed and counted too, but marked as expected.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  precast wast i32.wast
  precast wast --expect expectations.txt --jobs 4 spec/core

Exit status:
  0  nothing failed that the expectations do not name, and nothing passed that they do
  1  otherwise")]
pub(crate) struct WastArgs {
    /// Scripts, or folders of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,

    /// A list of scripts that may fail, and must not pass
    ///
    /// One path per line; `#` begins a comment. A line names every script whose path ends with it, compared by whole
    /// components: `core/array.wast` names `spec/core/array.wast`.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,

    /// How many scripts to run at once [default: the number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// How long one script may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,

    #[command(flatten)]
    codegen: ScriptArgs,

    /// Run the one script in this process and report to the runner that started it, with artifacts in this folder
    #[arg(long, value_name = "DIR", hide = true)]
    artifacts: Option<PathBuf>,
}

/// Runs the scripts of `args`.
///
/// # Errors
/// If a script or the expectations cannot be read, or no process can be started. That a script fails is no error but
/// exit status 1.
pub(crate) fn run(args: WastArgs) -> Result<ExitCode, Error> {
    if let Some(artifacts) = &args.artifacts {
        process::run(&args.paths[0], artifacts, args.codegen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let expectations = args.expect.as_deref().map(Expectations::read).transpose()?.unwrap_or_default();
    let scripts = scripts::find(&args.paths)?;
    let jobs = args.jobs.map(usize::from).or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let runner = Runner::new(Duration::from_secs(args.timeout.into()), args.codegen)?;

    let mut out = std::io::stdout().lock();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut as_expected = true;
    runner.run_all(&scripts, jobs.unwrap_or(1), |report| {
        passed += report.passed;
        failed += report.failed;
        skipped += report.skipped;
        let verdict = expectations.judge(report.path, report.failed);
        as_expected &= !matches!(verdict, Verdict::Failed | Verdict::Stale);
        report.print(verdict, &mut out).and_then(|()| out.flush()).map_err(Error::stdout)
    })?;
    writeln!(out, "{passed} passed, {failed} failed, {skipped} skipped").map_err(Error::stdout)?;
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
