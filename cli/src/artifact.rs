//! From a file of any kind to an artifact: opened as it is, taken from the cache, or compiled.

use std::fs;
use std::path::{Path, PathBuf};

use precast_compiler::Options;
use precast_loader::{Artifact, OpenError, OpenOptions, Policy};

use crate::args::CacheArgs;
use crate::cache::{Cache, Key};
use crate::codegen::CodegenArgs;
use crate::component::wit_text;
use crate::error::Error;
use crate::init::Initialised;
use crate::input::{self, Input};
use crate::inspect::elf;
use crate::progress::Bar;

/// Where an artifact is, to open it again.
pub(crate) enum Source {
    /// In a file.
    File(PathBuf),
    /// In memory: it came through a pipe, or there is no cache.
    Bytes(Vec<u8>),
}

impl Source {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Artifact, OpenError> {
        self.open_with(&OpenOptions::default())
    }

    /// Opens it with options.
    pub(crate) fn open_with(&self, options: &OpenOptions) -> Result<Artifact, OpenError> {
        match self {
            Source::File(path) => Artifact::open_with(path, Policy::Verify, options),
            Source::Bytes(bytes) => Artifact::open_bytes_with(bytes, options),
        }
    }
}

/// Opens the artifact that `file` is, or that compiling it gives.
pub(crate) fn open(file: &Path, cache: &CacheArgs, codegen: &CodegenArgs) -> Result<(Artifact, Source), Error> {
    let source = match input::open(file)? {
        Input::ElfFile => Source::File(file.to_owned()),
        Input::Bytes(bytes) if input::is_elf(&bytes) => Source::Bytes(bytes),
        Input::Bytes(module) => {
            input::check_module(file, &module)?;
            return open_module(file, &module, Cache::for_args(cache), &codegen.options(None)?);
        }
    };
    let artifact = source.open().map_err(|error| open_error(file, error))?;
    Ok((artifact, source))
}

/// Checks that the code of `artifact`, which the user knows as `file`, counts what it executes.
///
/// # Errors
/// Usage, if it does not.
pub(crate) fn check_metered(file: &Path, artifact: &Artifact) -> Result<(), Error> {
    if artifact.is_metered() {
        return Ok(());
    }
    let file = input::display_name(file);
    Err(Error::Usage(format!("`{file}` does not count fuel: compile it with precast compile --fuel")))
}

/// Opens what the cache has for `module`, or else compiles it. An entry that does not open is a miss: what is compiled
/// takes its place, and has the last word on why it does not open.
fn open_module(
    file: &Path,
    module: &[u8],
    cache: Option<Cache>,
    options: &Options,
) -> Result<(Artifact, Source), Error> {
    let cache = cache.map(|cache| (cache, Key::new(module, options)));
    if let Some((cache, key)) = &cache {
        let entry = Source::File(cache.path(key));
        if let Ok(artifact) = entry.open() {
            return Ok((artifact, entry));
        }
    }
    let bytes = compile(file, module, options, None)?;
    let stored = cache.and_then(|(cache, key)| cache.store(&key, &bytes));
    let source = stored.map_or(Source::Bytes(bytes), Source::File);
    let artifact = source.open().map_err(|error| open_error(file, error))?;
    Ok((artifact, source))
}

/// The bytes of what compiling `module` gives, and whether the cache had them.
pub(crate) fn compile_cached(
    file: &Path,
    module: &[u8],
    cache: Option<Cache>,
    options: &Options,
) -> Result<(Vec<u8>, bool), Error> {
    let Some(cache) = cache else {
        return Ok((compile(file, module, options, None)?, false));
    };
    let key = Key::new(module, options);
    let hit = fs::read(cache.path(&key)).ok().filter(|bytes| elf::is_intact_artifact(bytes));
    if let Some(bytes) = hit {
        return Ok((bytes, true));
    }
    let bytes = compile(file, module, options, None)?;
    // If that fails there was a warning, and the bytes are good all the same.
    cache.store(&key, &bytes);
    Ok((bytes, false))
}

/// Compiles `module`, known to the user as `file`, with a progress bar if it takes long. Its instances start from `start`,
/// or else as it says.
pub(crate) fn compile(
    file: &Path,
    module: &[u8],
    options: &Options,
    start: Option<&Initialised>,
) -> Result<Vec<u8>, Error> {
    let file = input::display_name(file);
    let bar = Bar::on_terminal(&file);
    let mut options = Options { progress: bar.as_ref().map(|bar| bar as _), ..options.clone() };
    // Made of the module, so the cache's key need not have it.
    options.wit = options.wit.or_else(|| wit_text(module));
    let compiled = match start {
        None => precast_compiler::compile(module, &options),
        Some(Initialised { snapshot, spent }) => {
            let spent: Vec<_> = spent.iter().map(String::as_str).collect();
            precast_compiler::compile_snapshot(module, &options, snapshot, &spent)
        }
    };
    compiled.map_err(|source| Error::Compile { file, source })
}

fn open_error(file: &Path, source: OpenError) -> Error {
    // Its own path may be that of a cache entry, which says nothing to the user.
    Error::context(format_args!("cannot open `{}`", input::display_name(file)), source.kind)
}
