//! `precast completions`: completion scripts, from the same definition as parsing.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::error::Error;

pub(crate) fn run(args: CompletionsArgs) -> Result<ExitCode, Error> {
    // Through a buffer: clap_complete panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "precast", &mut script);
    std::io::stdout().write_all(&script).map_err(Error::stdout)?;
    Ok(ExitCode::SUCCESS)
}
