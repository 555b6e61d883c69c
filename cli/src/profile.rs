//! Profiles: `run` and `serve` record them, and `compile` lays artifacts out by them.

use std::fs;
use std::io;
use std::path::Path;

use precast_compiler::Profile;
use precast_loader::{Artifact, OpenOptions};

use crate::artifact::Source;
use crate::error::Error;
use crate::inspect::elf::ArtifactBytes;
use crate::output;

/// Fails if no file can be written at `path`, as far as that can be told before: so that a mistake costs no time.
pub(crate) fn check_target(path: Option<&Path>) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let is_folder = path.is_dir().then(|| io::Error::from(io::ErrorKind::IsADirectory));
    let missing = fs::metadata(folder).err();
    is_folder.or(missing).map_or(Ok(()), |error| Err(Error::write(path, error)))
}

/// Opens an artifact so that what its instances do is recorded.
pub(crate) fn open(source: &Source) -> Result<Artifact, Error> {
    let options = OpenOptions { record_profile: true, ..OpenOptions::default() };
    source.open_with(&options).map_err(|error| Error::context("cannot record a profile", error.kind))
}

/// Writes what was recorded of `artifact`, and says so.
pub(crate) fn write(path: &Path, artifact: &Artifact) -> Result<(), Error> {
    let profile = artifact.profile().unwrap_or_default();
    output::write(path, profile.to_string().as_bytes()).map_err(|error| Error::write(path, error))?;
    let (functions, pages) = (profile.functions.len(), profile.pages.iter().map(|run| run.count).sum::<u64>());
    output::tell(format_args!("precast: recorded {functions} functions and {pages} pages in `{}`", path.display()));
    Ok(())
}

/// Reads a profile.
pub(crate) fn read(path: &Path) -> Result<Profile, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::read(path, error))?;
    Profile::parse(&text).map_err(|error| Error::context(format_args!("`{}` is no profile", path.display()), error))
}

/// What is to be said of the profile that an artifact is laid out by, if it does not fit.
pub(crate) fn misfit(artifact: &[u8]) -> Option<String> {
    let row = ArtifactBytes::parse(artifact).ok()?.meta.profile.get(0)?;
    if row.same_source == 1 && (row.functions, row.pages) == (row.functions_found, row.pages_found) {
        return None;
    }
    let recorded = if row.same_source == 1 { "compiled in another way" } else { "of another version" };
    Some(format!(
        "the profile was recorded with a program {recorded}: of its {} functions {} were found, of its {} pages {}",
        row.functions, row.functions_found, row.pages, row.pages_found
    ))
}
