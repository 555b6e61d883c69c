//! `precast inspect`: what is in an artifact. It is only read, never mapped or run, so any architecture will do.

mod component;
pub(crate) mod elf;
mod json;
mod report;
mod text;

use std::fs;
use std::process::ExitCode;

use precast_compiler::Options;

use self::elf::ArtifactBytes;
use self::json::to_json;
use self::report::Report;
use crate::args::InspectArgs;
use crate::artifact::compile_cached;
use crate::cache::Cache;
use crate::error::Error;
use crate::input::{self, Input};
use crate::output;

pub(crate) fn run(args: InspectArgs) -> Result<ExitCode, Error> {
    let bytes = artifact_bytes(&args)?;
    let file = input::display_name(&args.file);
    let artifact =
        ArtifactBytes::parse(&bytes).map_err(|error| Error::context(format_args!("cannot inspect `{file}`"), error))?;
    let intact = artifact.is_intact();
    let report = Report::new(file, bytes.len() as u64, artifact, args.functions);
    let text = if args.json { format!("{:#}\n", to_json(&report)) } else { report.to_string() };
    output::print(text)?;
    Ok(if intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The artifact's bytes; a module is compiled with the default options first, unless the cache has it.
fn artifact_bytes(args: &InspectArgs) -> Result<Vec<u8>, Error> {
    let file = &args.file;
    let module = match input::open(file)? {
        Input::ElfFile => return fs::read(file).map_err(|error| Error::read(file, error)),
        Input::Bytes(bytes) if input::is_elf(&bytes) => return Ok(bytes),
        Input::Bytes(bytes) => bytes,
    };
    input::check_module(file, &module)?;
    let (bytes, _) = compile_cached(file, &module, Cache::for_args(&args.cache), &Options::default())?;
    Ok(bytes)
}
