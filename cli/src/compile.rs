//! `precast compile`: a module in, a file out.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use precast_compiler::Options;
use serde_json::{Value, json};

use crate::args::{CompileArgs, Emit, MessageFormat};
use crate::artifact::{self, compile_cached};
use crate::cache::Cache;
use crate::error::Error;
use crate::init::{Initialiser, Work};
use crate::{guest, init, input, output, profile};

pub(crate) fn run(args: CompileArgs) -> Result<ExitCode, Error> {
    match (write_output(&args), args.message_format) {
        (result, MessageFormat::Human) => result.map(|_| ExitCode::SUCCESS),
        (Ok(message), MessageFormat::Json) => {
            output::tell(message);
            Ok(ExitCode::SUCCESS)
        }
        (Err(error), MessageFormat::Json) => {
            output::tell(error_message(&args.file, &error));
            Ok(ExitCode::from(error.status(1)))
        }
    }
}

/// Compiles and writes; what comes out is the message about it.
fn write_output(args: &CompileArgs) -> Result<Value, Error> {
    let target = output_path(args)?;
    let mut options = args.codegen.options(args.target.as_deref())?;
    options.fuel = args.metering.fuel;
    options.emit = match args.emit {
        Emit::So => precast_compiler::Emit::So,
        Emit::Obj => precast_compiler::Emit::Obj,
        Emit::Clif => precast_compiler::Emit::Clif,
        Emit::Asm => precast_compiler::Emit::Asm,
    };
    options.profile = args.profile.as_deref().map(profile::read).transpose()?;
    let module = args.compose.apply(&args.file, input::read_module(&args.file)?, &mut options)?;
    let (bytes, cached) = compile(args, &module, &options)?;
    if let Some(message) = profile::misfit(&bytes) {
        match args.message_format {
            MessageFormat::Human => output::tell(format_args!("precast: warning: {message}")),
            MessageFormat::Json => {
                let file = input::display_name(&args.file);
                output::tell(json!({ "kind": "warning", "message": message, "file": file }));
            }
        }
    }
    if input::is_stdin(&target) {
        output::print(&bytes)?;
    } else {
        output::write(&target, &bytes).map_err(|error| Error::write(&target, error))?;
    }
    let (file, output) = (input::display_name(&args.file), target.display().to_string());
    let message = format!("compiled `{file}`");
    Ok(json!({
        "kind": "artifact", "message": message, "file": file, "output": output, "bytes": bytes.len(), "cached": cached,
    }))
}

/// Where to write. Checked before anything is compiled, so that a mistake costs no time.
fn output_path(args: &CompileArgs) -> Result<PathBuf, Error> {
    if args.cache.is_some() && args.emit != Emit::So {
        return Err(Error::Usage("the cache keeps shared objects: --cache goes with --emit so only".into()));
    }
    if args.profile.is_some() && args.emit != Emit::So {
        return Err(Error::Usage(
            "a profile is what a shared object is laid out by: --profile goes with --emit so only".into(),
        ));
    }
    if args.init.init.is_some() && (args.cache.is_some() || !matches!(args.emit, Emit::So | Emit::Obj)) {
        return Err(Error::Usage("--init makes a state: it goes with --emit so or obj, and without --cache".into()));
    }
    let binary = matches!(args.emit, Emit::So | Emit::Obj);
    match &args.output {
        Some(output) if input::is_stdin(output) && binary && io::stdout().is_terminal() => {
            Err(Error::Usage("a binary does not belong on a terminal: redirect standard output".into()))
        }
        Some(output) if is_same_file(output, &args.file) => {
            Err(Error::Usage(format!("`{}` is input and output: name another file with -o", output.display())))
        }
        Some(output) => Ok(output.clone()),
        None if input::is_stdin(&args.file) => {
            Err(Error::Usage("standard input has no name to derive the output's from: name it with -o".into()))
        }
        None => {
            let extension = match args.emit {
                Emit::So => "so",
                Emit::Obj => "o",
                Emit::Clif => "clif",
                Emit::Asm => "s",
            };
            let output = args.file.with_extension(extension);
            if output == args.file {
                return Err(Error::Usage(format!(
                    "`{}` would overwrite itself: name the output with -o",
                    output.display()
                )));
            }
            Ok(output)
        }
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    !input::is_stdin(a) && matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// What compiling gives, and whether the cache had it.
fn compile(args: &CompileArgs, module: &[u8], options: &Options) -> Result<(Vec<u8>, bool), Error> {
    let cache = args.cache.as_ref().and_then(|folder| Cache::usable(folder.as_deref()));
    let compile = || match &args.init.init {
        None => compile_cached(&args.file, module, cache, options),
        Some(export) => initialise(args, module, options, export).map(|bytes| (bytes, false)),
    };
    match args.threads {
        Some(threads) => rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build()
            .map_err(|error| Error::context("cannot start threads", error))?
            .install(compile),
        None => compile(),
    }
}

/// Initialises, and compiles what came of it.
fn initialise(args: &CompileArgs, module: &[u8], options: &Options, export: &str) -> Result<Vec<u8>, Error> {
    let grants = guest::grants(&args.init.allow, args.init.allow_all)?;
    let work = Work::Call { export, args: &[], is_spent: true };
    let initialiser = Initialiser { work, limit: args.init.init_timeout };
    let (format, file) = (args.message_format, input::display_name(&args.file));
    let told = move |kind: &str, message: String| match format {
        MessageFormat::Human => output::tell(format_args!("precast: {message}")),
        MessageFormat::Json => output::tell(json!({ "kind": kind, "message": message, "file": file })),
    };
    let initialised = init::run(&args.file, module, options, &initialiser, grants, told)?;
    artifact::compile(&args.file, module, options, Some(&initialised))
}

/// The JSON message about a failure.
fn error_message(file: &Path, error: &Error) -> Value {
    use precast_compiler::Error as CompileError;

    let text = error.causes().fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let (kind, place, proposal) = match error {
        Error::Compile { source, .. } => match source {
            CompileError::Text(_) => ("text", None, None),
            CompileError::Invalid { place, .. } => ("invalid", Some(place), None),
            CompileError::Unsupported { proposal, place } => ("unsupported", Some(place), Some(*proposal)),
            CompileError::Limit { place, .. } => ("limit", Some(place), None),
            CompileError::Option(_) => ("option", None, None),
            CompileError::Profile(_) => ("profile", None, None),
            CompileError::Link(_) => ("link", None, None),
            CompileError::Internal { .. } => ("internal", None, None),
            _ => ("error", None, None),
        },
        Error::Usage(_) => ("usage", None, None),
        _ => ("error", None, None),
    };
    let mut message = json!({ "kind": kind, "message": text, "file": input::display_name(file) });
    if let Some(place) = place {
        message["offset"] = place.offset.into();
        if let Some(function) = place.function {
            message["function"] = function.into();
        }
    }
    if let Some(proposal) = proposal {
        message["proposal"] = proposal.into();
    }
    message
}
