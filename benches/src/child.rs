//! What runs in a process of its own, so that its CPU time and peak memory can be told apart.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Result, cycle, density, guests, peer, plain};

/// What a child process used.
pub(crate) struct Usage {
    pub cpu_seconds: f64,
    pub peak_mib: f64,
}

/// Runs this program as a child and waits for it.
pub(crate) fn run(what: &str, path: &Path) -> Result<Usage> {
    let child = Command::new(std::env::current_exe()?).args(["--child", what]).arg(path).spawn()?;
    let (mut status, pid) = (0, child.id() as libc::pid_t);
    // SAFETY: `rusage` is plain data, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the child was spawned above and nobody else waits for it; both pointers are to live values.
    if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } != pid || status != 0 {
        return Err(format!("{what} {}: status {status}", path.display()).into());
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Usage {
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_mib: usage.ru_maxrss as f64 / 1024.0,
    })
}

/// What this program prints as a child.
pub(crate) fn output(what: &str, path: &Path) -> Result<String> {
    let output = Command::new(std::env::current_exe()?).args(["--child", what]).arg(path).output()?;
    if !output.status.success() {
        return Err(format!("{what} {}: {}", path.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time() -> Duration {
    // Linux has this clock since 2.6.12.
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// CPU time of a running process: of all its threads, also those that have ended.
pub(crate) fn cpu_time_of(process: u32) -> Result<Duration> {
    let mut clock = 0;
    // SAFETY: the pointer is to a live value of the type the call fills in.
    match unsafe { libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) } {
        0 => read_clock(clock),
        error => Err(std::io::Error::from_raw_os_error(error).into()),
    }
}

fn read_clock(clock: libc::clockid_t) -> Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live value of the type the call fills in.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// The child's side.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = match arguments[..] {
        ["compile-precast", path] => guests::precast(&std::fs::read(path)?)?,
        ["compile-wasmtime", path] => wasmtime::Module::new(&peer::engine()?, std::fs::read(path)?)?.serialize()?,
        ["density-precast", path] => return density::precast(path),
        ["density-wasmtime", path] => return density::wasmtime(path),
        ["new-slots-precast", path] => return cycle::new_slots_precast(path),
        ["new-slots-wasmtime", path] => return cycle::new_slots_wasmtime(path),
        ["hyper"] => return plain::serve(),
        _ => return Err(format!("not a child: {}", arguments.join(" ")).into()),
    };
    std::fs::write("/dev/null", output)?;
    Ok(())
}
