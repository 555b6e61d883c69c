//! `precast completions`: completion scripts, from the same definition as parsing.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::error::Error;
use crate::output;

pub(crate) fn run(args: CompletionsArgs) -> Result<ExitCode, Error> {
    // Through a buffer: clap_complete panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "precast", &mut script);
    output::print(script)?;
    Ok(ExitCode::SUCCESS)
}
