//! A worker: a process with a thread that serves, and one that hears what the first process says.
//!
//! It is a process and not a thread because threads have one address space: whenever a guest gives memory back, all
//! processors that run the process have to be told, which takes longer than everything else that a small guest does.
//! It serves with an artifact, grants and counters of its own, so that nothing that changes is another worker's.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use precast_wasi::http::Proxy;
use precast_wasi::preview2::Ctx;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::channel::{Channel, Order, Report};
use super::connections::{self, Listener};
use super::log::AccessLog;
use super::service::Service;
use super::stats::Stats;
use super::{bind, grants, template};
use crate::args::ServeArgs;
use crate::artifact::Source;
use crate::error::Error;
use crate::{input, output, profile};

/// How long a guest may take to notice that it is given up.
const NOTICE: Duration = Duration::from_millis(500);

/// What a worker is for, as the first process says it on the command line: `ADDRESS,DESCRIPTOR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// Where it listens.
    pub(super) addr: SocketAddr,
    /// What it serves: the artifact that this inherited descriptor is of.
    pub(super) artifact: RawFd,
}

impl Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.addr, self.artifact)
    }
}

impl FromStr for Job {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Job, Self::Err> {
        let parse = || {
            let (addr, artifact) = text.rsplit_once(',')?;
            Some(Job { addr: addr.parse().ok()?, artifact: artifact.parse().ok()? })
        };
        parse().ok_or(NOT_BY_HAND)
    }
}

const NOT_BY_HAND: &str = "precast serve starts its own processes with this";

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Ending,
    Over,
}

/// What is known of the end.
#[derive(Clone)]
pub(super) struct End(watch::Receiver<Phase>);

impl End {
    /// Waits until nothing new is to be begun.
    pub(super) async fn begun(&mut self) {
        self.reached(Phase::Ending).await;
    }

    /// Waits until nothing is waited for any more.
    pub(super) async fn over(&mut self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&mut self, wanted: Phase) {
        // A sender that is gone counts as the end.
        _ = self.0.wait_for(|phase| *phase >= wanted).await;
    }
}

/// Serves as the first process says, which has checked the arguments.
pub(super) fn run(args: &ServeArgs, job: &Job) -> Result<ExitCode, Error> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    runtime.block_on(obey(args, job))
}

fn cannot_start(error: std::io::Error) -> Error {
    Error::context("a worker cannot start", error)
}

async fn obey(args: &ServeArgs, job: &Job) -> Result<ExitCode, Error> {
    // These are the first process's, even if all processes have them, of a terminal or a service manager. What they do
    // by default is off from now on.
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::user_defined1()] {
        drop(signal(kind).map_err(cannot_start)?);
    }
    let mut channel = Channel::inherited().map_err(|_| Error::Usage(format!("--worker: {NOT_BY_HAND}")))?;
    let source = Source::File(format!("/proc/self/fd/{}", job.artifact).into());
    let artifact = match args.record_profile {
        Some(_) => profile::open(&source)?,
        None => source.open().map_err(|error| {
            Error::context(format_args!("cannot open `{}`", input::display_name(&args.file)), error.kind)
        })?,
    };
    artifact.limit_idle_memory(args.idle_memory / args.workers() as u64);

    let (tell, mut denials) = mpsc::unbounded_channel();
    let told = Mutex::new(BTreeSet::new());
    let template = template(&grants(args)?, &args.file, move |denial| {
        if told.lock().unwrap_or_else(PoisonError::into_inner).insert(denial.grant.clone()) {
            let (grant, text) = (output::printable(&denial.grant), output::printable(&denial.to_string()));
            _ = tell.send(Report::Denied { grant, text });
        }
    })?;
    let proxy = Proxy::new(bind(&artifact, args)?, |ctx: &mut Ctx| ctx).timeout(Some(args.timeout));
    let (log, stats) = (AccessLog::open(args.access_log.as_ref())?, Arc::new(Stats::default()));
    let service = Service::new(proxy, template, log, stats.clone());

    let listener = Listener::shared(job.addr)?;
    listener.listen()?;
    let phase = watch::Sender::new(Phase::Serving);
    let end = End(phase.subscribe());
    let (begins, begun) = oneshot::channel();
    let serve = move || connections::run(listener, service, end, begins);
    let thread = std::thread::Builder::new().name("precast-worker".into()).spawn(serve).map_err(cannot_start)?;
    if begun.await.is_ok() {
        channel.tell(Report::Ready).await;
    }
    loop {
        tokio::select! {
            order = channel.next() => match order {
                Some(Order::Count) => channel.tell(Report::Counted(stats.counts())).await,
                Some(Order::End) => _ = phase.send_replace(Phase::Ending),
                Some(Order::Stop) => {
                    phase.send_replace(Phase::Over);
                    break;
                }
                // There is no server any more that this is a part of. The guest at work may need long to notice.
                None => std::process::exit(1),
            },
            Some(denied) = denials.recv() => channel.tell(denied).await,
            () = phase.closed() => break,
        }
    }
    // A guest that computes on is not waited for: the process ends.
    if timeout(NOTICE, phase.closed()).await.is_ok() {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    while let Ok(denied) = denials.try_recv() {
        channel.tell(denied).await;
    }
    channel.tell(Report::Counted(stats.counts())).await;
    if let Some(path) = &args.record_profile {
        profile::write(path, &artifact)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_understood() {
        let job = Job { addr: "[::1]:80".parse().unwrap(), artifact: 7 };
        assert_eq!(job.to_string().parse(), Ok(job));
        assert!(["", "7", "[::1]:80", "[::1]:80,x", "here,7"].iter().all(|text| text.parse::<Job>().is_err()));
    }
}
