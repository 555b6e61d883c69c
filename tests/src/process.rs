//! Other processes: the test program again, for what needs a process of its own, and the tools of the system.

use std::process::{Command, Stdio};

use crate::say;

const ROLE: &str = "PRECAST_TEST_ROLE";

/// What this process is to do, if a test started it with [`again`].
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This test program, to run only `test`, which finds `role` in [`role`]. For what ends a process, or changes it.
///
/// # Panics
/// If the test program has no path.
pub fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test has a path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// A tool of the system. `None` if it is not installed, and says so.
pub fn tool(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(Command::new(name));
    }
    say(format_args!("left out: what needs `{name}`, which is not installed"));
    None
}
