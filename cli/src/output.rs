//! Writing: files complete or not at all, and standard output with its failures told apart.

use std::fmt::Display;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::Error;

/// Permissions of what we write, before the umask.
const MODE: u32 = 0o644;

/// Writes `bytes` to standard output, at once.
pub(crate) fn print(bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes.as_ref()).and_then(|()| stdout.flush()).map_err(Error::stdout)
}

/// Writes a line to standard error, at once. If that cannot be written to there is nobody to tell it: no failure, and no
/// panic, which is what `eprintln!` makes of it.
pub(crate) fn tell(line: impl Display) {
    _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// `text`, which is somebody else's, without what could drive a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Writes `bytes` to `path`. A regular file is written under a temporary name in the same folder and renamed, so that
/// nobody sees half of it and whoever has the old one mapped keeps it. Where `path` is something else, such as a device
/// or a pipe, it is written to as it stands.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => File::options().write(true).open(path)?.write_all(bytes),
        _ => replace(path, bytes),
    }
}

/// Writes `bytes` under a temporary name in the folder of `path`, and renames it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A folder that is not there is told best by the system's own words.
    fs::metadata(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".precast-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)
        // The temporary name in the message would only puzzle.
        .map_err(|error| io::Error::from(error.kind()))?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_ordinary_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.so");
        write(&path, b"one").unwrap();
        let old = File::open(&path).unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(io::read_to_string(old).unwrap(), "one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7133, 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_cannot_drive_a_terminal() {
        assert_eq!(printable("größe\u{1b}[2J\n"), "größe\\u{1b}[2J\\n");
    }

    #[test]
    fn links_stay_and_devices_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&file, b"one").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"two");

        write(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert_eq!(write(folder.path(), b"x").unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
