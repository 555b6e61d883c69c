//! The command `precast`: joins compiler and loader for the person at the prompt.
//!
//! What comes in: arguments. What goes out: artifacts, reports, or a guest's behaviour, and an exit status. `main` is the
//! table of contents: each subcommand is a module with a `run` that takes its arguments.

mod args;
mod artifact;
mod bench;
mod cache;
mod call;
mod codegen;
mod compile;
mod completions;
mod component;
mod error;
mod guest;
mod init;
mod input;
mod inspect;
mod output;
mod profile;
mod progress;
mod request;
mod run;
mod serve;
mod size;
mod snapshot;
mod trap;
mod values;
mod wast;

use std::panic::catch_unwind;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::error::Error;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let (failure, closed_output) = (command.failure_status(), command.closed_output_status());
    match catch_unwind(|| dispatch(command)) {
        Ok(Ok(status)) => status,
        Ok(Err(Error::ClosedOutput)) => ExitCode::from(closed_output),
        Ok(Err(error)) => {
            error.report();
            ExitCode::from(error.status(failure))
        }
        // Told by the panic's message already. It is a failure of ours like any other, and has that status.
        Err(_) => ExitCode::from(failure),
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Compile(args) => compile::run(args),
        Command::Run(args) => run::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Wast(args) => wast::run(args),
        Command::Completions(args) => completions::run(args),
    }
}
