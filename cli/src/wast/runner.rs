//! One process for each script: started, listened to, and ended when its time is over. Several run at once, and their
//! reports come back in the order of the scripts.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::report::{Event, Report};
use crate::codegen::ScriptArgs;
use crate::error::Error;

/// How much of a process's standard error is kept to explain its death: the last bytes.
const STDERR_LIMIT: usize = 2000;

/// Starts processes of this program.
pub(super) struct Runner {
    program: PathBuf,
    /// Removed with the runner. It is not the processes' own, since one that crashes cannot clean up.
    artifacts: tempfile::TempDir,
    timeout: Duration,
    codegen: ScriptArgs,
}

impl Runner {
    /// A runner that gives each script `timeout`, and compiles modules as `codegen` says.
    pub(super) fn new(timeout: Duration, codegen: ScriptArgs) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(|error| Error::context("cannot find this program", error))?;
        let artifacts = tempfile::tempdir().map_err(|error| Error::context("cannot make a temporary folder", error))?;
        Ok(Runner { program, artifacts, timeout, codegen })
    }

    /// Runs `scripts`, `jobs` at once, and hands their reports to `told` in their order.
    ///
    /// # Errors
    /// The first process that cannot be started, or what `told` fails with.
    pub(super) fn run_all<'a>(
        &self,
        scripts: &'a [PathBuf],
        jobs: usize,
        mut told: impl FnMut(Report<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let (sender, reports) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..jobs.min(scripts.len()) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        // Nobody listens any more after an error.
                        let Some(path) = scripts.get(index) else { return };
                        if sender.send((index, self.run(index, path))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            // Dropped on an early return, which is what stops the threads.
            let reports = reports;
            let mut waiting: Vec<Option<Report<'a>>> = scripts.iter().map(|_| None).collect();
            let mut first = 0;
            for (index, report) in &reports {
                waiting[index] = Some(report?);
                while let Some(report) = waiting.get_mut(first).and_then(Option::take) {
                    told(report)?;
                    first += 1;
                }
            }
            Ok(())
        })
    }

    /// Runs script number `index` to its end.
    fn run<'a>(&self, index: usize, path: &'a Path) -> Result<Report<'a>, Error> {
        let artifacts = self.artifacts.path().join(index.to_string());
        std::fs::create_dir(&artifacts).map_err(|error| Error::write(&artifacts, error))?;
        let mut child = Command::new(&self.program)
            .arg("wast")
            .arg("--artifacts")
            .arg(&artifacts)
            .args(self.codegen.as_args())
            .arg("--")
            .arg(path)
            // The scripts are run in parallel, so their modules need not be compiled so.
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::context("cannot start a process for a script", error))?;
        let report = self.listen(&mut child, path);
        // What is left of a folder is removed with the runner, so that failing to here is no loss.
        let _ = std::fs::remove_dir_all(&artifacts);
        Ok(report)
    }

    /// Takes in what `child` tells until it ends or its time is over.
    fn listen<'a>(&self, child: &mut Child, path: &'a Path) -> Report<'a> {
        let mut report = Report::new(path);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let deadline = Instant::now() + self.timeout;
        thread::scope(|scope| {
            let (sender, events) = mpsc::channel();
            scope.spawn(move || stdout.map(|stdout| send_events(stdout, &sender)));
            let complaint = scope.spawn(move || stderr.map(last_words).unwrap_or_default());
            let in_time = loop {
                match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(event) => report.record(event),
                    Err(RecvTimeoutError::Disconnected) => break true,
                    Err(RecvTimeoutError::Timeout) => break false,
                }
            };
            if !in_time {
                // It can only fail if the process has ended by now, and then there is nothing to do.
                let _ = child.kill();
            }
            let status = child.wait();
            let complaint = complaint.join().unwrap_or_default();
            match status {
                Ok(status) if in_time && status.success() && report.is_complete() => {}
                _ if !in_time => report.cut_short(&format!("ran for more than {} s", self.timeout.as_secs()), ""),
                Ok(status) => report.cut_short(&cause_of_death(status), &complaint),
                Err(error) => report.cut_short(&format!("the script's process is lost: {error}"), ""),
            }
        });
        report
    }
}

fn send_events(stdout: ChildStdout, events: &mpsc::Sender<Event>) {
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    for event in lines.filter_map(|line| Event::parse(&line)) {
        if events.send(event).is_err() {
            return;
        }
    }
}

/// The end of what a process wrote to standard error, on lines of its own, or nothing.
fn last_words(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(STDERR_LIMIT));
    }
    match String::from_utf8_lossy(&kept).trim() {
        "" => String::new(),
        text => format!("\n{text}"),
    }
}

fn cause_of_death(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("crashed: the script's process was killed by {}", signal_name(signal)),
        (None, Some(0)) => "the script's process ended without reporting every directive".into(),
        (None, code) => format!("crashed: the script's process ended with status {}", code.unwrap_or(-1)),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGABRT => "SIGABRT",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGKILL => "SIGKILL",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runner whose process is a shell script instead of this program.
    fn listen(script: &str, timeout: Duration) -> String {
        let runner = Runner::new(timeout, ScriptArgs::default()).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let report = runner.listen(&mut child, Path::new("x.wast"));
        let mut out = Vec::new();
        report.print(super::super::expectations::Verdict::Failed, &mut out).unwrap();
        format!("{} {}\n{}", report.passed, report.failed, String::from_utf8(out).unwrap())
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_process_that_tells_everything_is_believed() {
        assert_eq!(listen("echo total 2; echo noise; echo pass; echo pass; echo end", MINUTE), "2 0\n");
    }

    #[test]
    fn a_process_that_dies_fails_its_script() {
        let told = listen("echo total 3; echo pass; echo at 4:2; echo why >&2; kill -SEGV $$", MINUTE);
        let reason = "crashed: the script's process was killed by signal 11 (SIGSEGV)";
        assert_eq!(told, format!("1 2\nx.wast:4:2: {reason} (1 more not reached)\n    why\n"));
        assert!(listen("echo total 1; exit 3", MINUTE).contains("ended with status 3"));
        assert!(listen("echo total 1; echo pass; echo end; kill -ABRT $$", MINUTE).contains("SIGABRT"));
        assert!(listen("echo total 1; echo pass", MINUTE).contains("without reporting every directive"));
    }

    #[test]
    fn a_process_that_hangs_is_ended() {
        let told = listen("echo total 1; echo at 7:1; exec sleep 100", Duration::from_millis(300));
        assert_eq!(told, "0 1\nx.wast:7:1: ran for more than 0 s\n");
    }
}
