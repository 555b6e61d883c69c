//! What the tests of the command share: a folder of their own with a cache of its own, and outcomes to assert on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder that the command runs in, and its cache.
pub(crate) struct Folder {
    folder: TempDir,
}

/// What a run of the command came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Folder { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with one file.
    pub(crate) fn with(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let folder = Folder::new();
        folder.write(name, contents);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names of the files in the folder, without the cache.
    pub(crate) fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).filter(|name| name != "cache").collect();
        names.sort();
        names
    }

    /// The entries of the cache.
    pub(crate) fn cache_entries(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.path("cache"), &mut found);
        found
    }

    /// Runs the command with `args`, separated by spaces.
    pub(crate) fn precast(&self, args: &str) -> Outcome {
        self.precast_with(args, b"")
    }

    /// Runs the command with `args`, separated by spaces, and this standard input.
    pub(crate) fn precast_with(&self, args: &str, stdin: &[u8]) -> Outcome {
        run(self.command().args(args.split_whitespace()), stdin)
    }

    /// The command, in this folder, with a cache in it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_precast"));
        command.current_dir(self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}

/// Runs `command` with this standard input.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Outcome {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A child that does not read its input is no failure of the test.
    _ = child.stdin.take().unwrap().write_all(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let status = status.code().unwrap_or_else(|| panic!("killed: {status}"));
    Outcome { status, stdout, stderr: String::from_utf8(stderr).unwrap() }
}

impl Outcome {
    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Success that tells nothing on standard error.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!((self.status, &self.stderr[..]), (0, ""), "{self:?}");
        self
    }

    /// Failure with this status, where standard error contains each of `told`, and standard output nothing.
    #[track_caller]
    pub(crate) fn fails(self, status: i32, told: &[&str]) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        for text in told {
            assert!(self.stderr.contains(text), "`{text}` is not in: {}", self.stderr);
        }
        self
    }
}
