//! What the tests of precast as a whole have in common: where things are, the built command, modules, random modules,
//! random numbers, hostile input, and processes of a test's own.

pub mod components;
pub mod hostile;
mod old_kernel;
mod process;
mod random;
pub mod smith;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use precast_compiler::Options;
use precast_loader::Artifact;

pub use old_kernel::pretend_old_kernel;
pub use process::{again, role, tool};
pub use random::Random;

/// The root of the workspace.
///
/// # Panics
/// If this package has been moved out of it.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// The folder `name` of the test data that is shared between repositories, beside this one. `None` if it is not there,
/// as in a plain checkout; [`say`] then what is left out. `PRECAST_SHARED` names another folder than `../shared`.
pub fn shared(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("PRECAST_SHARED").map(PathBuf::from);
    let folder = shared.unwrap_or_else(|| workspace_root().join("../shared")).join(name);
    folder.is_dir().then_some(folder)
}

/// The command `precast`, built with the profile that the tests are built with. The first call builds it.
///
/// # Panics
/// If it cannot be built.
pub fn precast_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // A test lies in `TARGET/PROFILE/deps`, wherever the target folder is.
        let test = std::env::current_exe().expect("the test has a path");
        let profile = test.ancestors().nth(2).expect("a test lies in `TARGET/PROFILE/deps`");
        let name = profile.file_name().and_then(|name| name.to_str()).expect("profiles have names");
        let status = Command::new(env!("CARGO"))
            // Without `--package`, so that features are those of a build of the whole workspace, which there mostly is.
            .args(["build", "--quiet", "--bin", "precast", "--profile"])
            .arg(if name == "debug" { "dev" } else { name })
            .arg("--target-dir")
            .arg(profile.parent().expect("a profile's folder lies in the target folder"))
            .current_dir(workspace_root())
            .status()
            .expect("cargo can be run");
        assert!(status.success(), "cannot build `precast`: {status}");
        profile.join("precast").with_extension(std::env::consts::EXE_EXTENSION)
    })
}

/// Prints a line past the test harness, which shows nothing of a test that passes.
///
/// # Panics
/// If standard output is closed.
pub fn say(line: impl std::fmt::Display) {
    writeln!(std::io::stdout(), "{line}").expect("standard output can be written");
}

/// Compiles a module in the text format with the default options.
///
/// # Panics
/// If it cannot be compiled.
pub fn compile(wat: &str) -> Vec<u8> {
    compile_with(wat, &Options::default())
}

/// Compiles a module in the text format.
///
/// # Panics
/// If it cannot be compiled.
pub fn compile_with(wat: &str, options: &Options<'_>) -> Vec<u8> {
    precast_compiler::compile(wat.as_bytes(), options).unwrap_or_else(|error| panic!("{error}\n{wat}"))
}

/// Compiles and opens a module in the text format.
///
/// # Panics
/// If it cannot be compiled or opened.
pub fn artifact(wat: &str) -> Artifact {
    Artifact::open_bytes(&compile(wat)).expect("what was just compiled can be opened")
}
