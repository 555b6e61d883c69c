//! `precast snapshot`: a function of a module or component is called, or requests are made to it, and an artifact written
//! that starts from there.

use std::process::ExitCode;

use crate::args::SnapshotArgs;
use crate::error::Error;
use crate::init::{self, Initialiser, Work};
use crate::{artifact, guest, input, output};

pub(crate) fn run(args: SnapshotArgs) -> Result<ExitCode, Error> {
    let grants = guest::grants(&args.allow, args.allow_all)?;
    let (file, call_args) = args.command.split_first().ok_or_else(|| Error::Usage("no file is named".into()))?;
    let file = file.as_ref();
    let mut options = args.codegen.options(args.target.as_deref())?;
    options.fuel = args.metering.fuel;
    let module = args.compose.apply(file, input::read_module(file)?, &mut options)?;
    let work = match &args.invoke {
        Some(export) => Work::Call { export, args: call_args, is_spent: false },
        None if call_args.is_empty() => Work::Requests { requests: &args.request, may_leak: args.allow_leaks },
        None => return Err(Error::Usage("arguments are a function's: they go with --invoke".into())),
    };
    let initialiser = Initialiser { work, limit: args.init_timeout };
    let told = |_: &str, message: String| output::tell(format_args!("precast: {message}"));
    let initialised = init::run(file, &module, &options, &initialiser, grants, told)?;
    let bytes = artifact::compile(file, &module, &options, Some(&initialised))?;
    if input::is_stdin(&args.output) {
        output::print(&bytes)?;
    } else {
        output::write(&args.output, &bytes).map_err(|error| Error::write(&args.output, error))?;
    }
    Ok(ExitCode::SUCCESS)
}
