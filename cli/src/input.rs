//! Reading what a command is given, and telling by its content what it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::Error;

/// Bytes that a module has at most: offsets in it are 32 bits wide.
const LONGEST: u64 = 1 << 32;

/// What a command was given.
pub(crate) enum Input {
    /// A regular file that is ELF, an artifact it is to be hoped, and still unread: artifacts are mapped where they lie.
    ElfFile,
    /// Everything else, read. Never empty.
    Bytes(Vec<u8>),
}

/// Whether `path` means standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The file's name in messages.
pub(crate) fn display_name(path: &Path) -> String {
    if is_stdin(path) { "standard input".into() } else { path.display().to_string() }
}

/// Whether this is the beginning of an ELF file.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Opens `path` and tells an artifact from what has to be compiled.
pub(crate) fn open(path: &Path) -> Result<Input, Error> {
    let read_error = |error| Error::read(path, error);
    if is_stdin(path) {
        return read_all(path, io::stdin().lock(), Vec::new()).map(Input::Bytes);
    }
    let mut file = File::open(path).map_err(read_error)?;
    let metadata = file.metadata().map_err(read_error)?;
    if metadata.is_dir() {
        return Err(read_error(io::ErrorKind::IsADirectory.into()));
    }
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start).map_err(read_error)?;
    if metadata.is_file() && is_elf(&start) {
        return Ok(Input::ElfFile);
    }
    if metadata.len() >= LONGEST {
        return Err(too_large(path));
    }
    start.reserve_exact(usize::try_from(metadata.len()).unwrap_or_default());
    read_all(path, file, start).map(Input::Bytes)
}

/// Reads a WebAssembly module, unless it can be seen at once not to be one.
pub(crate) fn read_module(path: &Path) -> Result<Vec<u8>, Error> {
    match open(path)? {
        Input::Bytes(bytes) if !is_elf(&bytes) => check_module(path, &bytes).map(|()| bytes),
        _ => Err(Error::Failed(format!("`{}` is an ELF file, not a WebAssembly module", display_name(path)))),
    }
}

/// Refuses what is neither the binary format nor text, which the text parser would tell less helpfully.
pub(crate) fn check_module(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if bytes.starts_with(b"\0asm") || std::str::from_utf8(bytes).is_ok() {
        Ok(())
    } else {
        Err(Error::Failed(format!("`{}` is neither a WebAssembly module nor text", display_name(path))))
    }
}

fn read_all(path: &Path, from: impl Read, mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    from.take(LONGEST).read_to_end(&mut bytes).map_err(|error| Error::read(path, error))?;
    if bytes.len() as u64 >= LONGEST {
        return Err(too_large(path));
    }
    if bytes.is_empty() {
        return Err(Error::Failed(format!("`{}` is empty", display_name(path))));
    }
    Ok(bytes)
}

fn too_large(path: &Path) -> Error {
    Error::Failed(format!("`{}` is too large: 4 GiB or more", display_name(path)))
}
