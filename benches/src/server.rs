//! Servers, each a process of its own, or several: `precast serve` and its peers.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Result, child};

/// A process that serves; killed when dropped.
pub(crate) struct Server {
    process: Child,
    /// The addresses that it has told, in that order.
    pub addrs: Vec<SocketAddr>,
}

impl Server {
    /// Starts it and waits until it has told so many addresses (as `http://IP:PORT`) on standard error.
    pub(crate) fn start(command: &mut Command, addrs: usize) -> Result<Server> {
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut stderr = BufReader::new(process.stderr.take().ok_or("standard error is not piped")?);
        let mut server = Server { process, addrs: Vec::new() };
        let mut told = String::new();
        while server.addrs.len() < addrs {
            let from = told.len();
            if stderr.read_line(&mut told)? == 0 {
                return Err(format!("{command:?} does not serve: {told}").into());
            }
            if let Some((_, addr)) = told[from..].split_once("http://") {
                server.addrs.push(addr.trim_end().trim_end_matches('/').parse()?);
            }
        }
        // A pipe that nobody reads fills up, and then the server waits.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Ok(server)
    }

    /// CPU time so far, of all its processes.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(child::cpu_time_of).sum()
    }

    /// The folders of its processes in `/proc`.
    pub(crate) fn folders(&self) -> Result<Vec<PathBuf>> {
        Ok(self.processes()?.into_iter().map(|id| format!("/proc/{id}").into()).collect())
    }

    /// The process that was started, and those that it started.
    fn processes(&self) -> Result<Vec<u32>> {
        let first = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        let children = children.split_whitespace().map(str::parse);
        Ok(std::iter::once(Ok(first)).chain(children).collect::<std::result::Result<_, _>>()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A program of the product, built if it is not up to date: what lies about may be older than the sources.
pub(crate) fn product(name: &str) -> Result<PathBuf> {
    let target = std::env::current_exe()?.ancestors().nth(2).ok_or("no target folder")?.to_owned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    // Without `--package`, so that features are those of a build of the whole workspace, which there mostly is.
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--release", "--bin", name, "--target-dir"]).arg(&target).current_dir(root);
    let status = build.status()?;
    if status.success() { Ok(target.join("release").join(name)) } else { Err(format!("{build:?}: {status}").into()) }
}
