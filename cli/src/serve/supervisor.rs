//! The process that serves nobody: it starts the workers, and has the signals, the metrics and the end.
//!
//! SIGTERM and SIGINT begin the end: no new connections, requests under way are finished for as long as is left for
//! that. After another one they are given up. SIGUSR1 prints the metrics. A worker that ends by itself is the end too: what
//! can make one crash can make all.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::FdFlags;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::channel::{Channel, Order, Report};
use super::stats::{self, Counts};
use super::worker::Job;
use crate::args::ServeArgs;
use crate::artifact::Source;
use crate::error::Error;
use crate::output;

/// How long workers may take to end when they need not wait for anything: they give up their guests sooner.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// How long a worker may take to say what it counted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves `source` at `addr` until the end.
pub(super) fn run(args: &ServeArgs, source: Source, addr: SocketAddr) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    LocalSet::new().block_on(&runtime, supervise(args, source, addr))
}

fn cannot_start(error: io::Error) -> Error {
    Error::context("cannot start", error)
}

async fn supervise(args: &ServeArgs, source: Source, addr: SocketAddr) -> Result<ExitCode, Error> {
    let mut signals = Signals::new().map_err(cannot_start)?;
    let metrics = match args.metrics_addr {
        None => None,
        Some(addr) => {
            let listener = TcpListener::bind(addr).await;
            Some(listener.map_err(|error| Error::context(format_args!("cannot listen on {addr}"), error))?)
        }
    };
    let started = tokio::select! {
        started = start(args, source, addr) => Some(started?),
        _ = signals.terminate.recv() => None,
        _ = signals.interrupt.recv() => None,
    };
    let Some((workers, mut attended)) = started else {
        return Err(Error::Failed("told to end before it served".into()));
    };
    output::tell(format_args!("precast: listening on http://{addr}"));
    if let Some(listener) = metrics {
        if let Ok(addr) = listener.local_addr() {
            output::tell(format_args!("precast: metrics on http://{addr}"));
        }
        tokio::task::spawn_local(serve_metrics(listener, workers.clone()));
    }

    let mut failed = false;
    loop {
        tokio::select! {
            _ = signals.user.recv() => drop(tokio::task::spawn_local(print_metrics(workers.clone()))),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            Some(ended) = attended.join_next() => {
                failed = true;
                if ended_well(ended) {
                    Error::Failed("a worker has ended".into()).report();
                }
                break;
            }
        }
    }
    let grace = args.grace;
    output::tell(format_args!("precast: ending; requests under way have {grace:?}"));
    workers.ask_all(|| Ask::Tell(Order::End));
    let mut all_ended = async |attended: &mut JoinSet<_>| {
        while let Some(ended) = attended.join_next().await {
            failed |= !ended_well(ended);
        }
    };
    tokio::select! {
        () = all_ended(&mut attended) => {}
        () = sleep(grace) => output::tell("precast: not all requests have ended in time"),
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
    }
    workers.ask_all(|| Ask::Tell(Order::Stop));
    _ = timeout(LAST_MOMENT, all_ended(&mut attended)).await;
    workers.ask_all(|| Ask::Kill);
    all_ended(&mut attended).await;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether a worker ended as it should. Says so if not.
fn ended_well(ended: Result<io::Result<ExitStatus>, JoinError>) -> bool {
    let how = match ended.map_err(io::Error::from).flatten() {
        Ok(status) if status.success() => return true,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Error::Failed(format!("a worker has ended: {how}")).report();
    false
}

async fn print_metrics(workers: Workers) {
    output::tell(stats::show(&workers.counts().await).trim_end());
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }
}

/// What the task that attends to a worker is asked.
enum Ask {
    /// To ask what it counted, and to drop this when that is known, or never will be.
    Count(oneshot::Sender<()>),
    Tell(Order),
    Kill,
}

/// All workers. Clones are the same ones.
#[derive(Clone)]
struct Workers {
    asks: Rc<[mpsc::UnboundedSender<Ask>]>,
    told: Rc<Told>,
}

/// What workers have told.
#[derive(Default)]
struct Told {
    /// What each counted, when it last said so.
    counts: RefCell<Vec<Counts>>,
    /// What guests went without: those in other workers go without the same.
    denials: RefCell<BTreeSet<String>>,
}

impl Workers {
    // One that is gone is asked in vain: the task that attended to it has told.
    fn ask_all(&self, ask: impl Fn() -> Ask) {
        self.asks.iter().for_each(|worker| _ = worker.send(ask()));
    }

    /// What they counted so far, together: of one that is gone, or was stopped by a debugger, what it last said.
    async fn counts(&self) -> Counts {
        let ask = |worker: &mpsc::UnboundedSender<Ask>| {
            let (answer, answered) = oneshot::channel();
            _ = worker.send(Ask::Count(answer));
            answered
        };
        let answers: Vec<_> = self.asks.iter().map(ask).collect();
        let until = Instant::now() + PATIENCE;
        for answered in answers {
            _ = timeout_at(until, answered).await;
        }
        self.told.counts.borrow().iter().sum()
    }
}

/// Starts the workers, and returns when all of them accept connections. How each ends is what its task returns.
async fn start(
    args: &ServeArgs,
    source: Source,
    addr: SocketAddr,
) -> Result<(Workers, JoinSet<io::Result<ExitStatus>>), Error> {
    let artifact = inherited(source)?;
    let job = Job { addr, artifact: artifact.as_raw_fd() };
    let spawn = || spawn(&job).map_err(|error| Error::context("cannot start a worker", error));
    let started: Vec<_> = (0..args.workers()).map(|_| spawn()).collect::<Result<_, _>>()?;
    let mut ready = Vec::new();
    for (process, mut channel) in started {
        if channel.next().await != Some(Report::Ready) {
            // It says why.
            reap(process).await.map_err(cannot_start)?;
            return Err(Error::Failed("a worker has not started".into()));
        }
        ready.push((process, channel));
    }
    let (mut asks, mut attended, told) = (Vec::new(), JoinSet::new(), Rc::<Told>::default());
    for (index, (process, channel)) in ready.into_iter().enumerate() {
        let (ask, asked) = mpsc::unbounded_channel();
        asks.push(ask);
        told.counts.borrow_mut().push(Counts::default());
        attended.spawn_local(attend(index, process, channel, asked, Rc::clone(&told)));
    }
    Ok((Workers { asks: asks.into(), told }, attended))
}

/// The artifact as a file that workers have too: from here on it is the same one for all, whatever becomes of its name.
fn inherited(source: Source) -> Result<File, Error> {
    let file = match source {
        Source::File(path) => File::open(&path).map_err(|error| Error::read(&path, error))?,
        Source::Bytes(bytes) => sealed(&bytes).map_err(cannot_start)?,
    };
    rustix::io::fcntl_setfd(&file, FdFlags::empty()).map_err(|error| cannot_start(error.into()))?;
    Ok(file)
}

/// A file in memory that nobody can change.
fn sealed(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("precast", flags)?);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}

/// The process of a worker, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Starts a worker: this program, with the same arguments.
fn spawn(job: &Job) -> io::Result<(Process, Channel)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut arguments = env::args_os();
    let (name, subcommand) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let mut command = Command::new(env::current_exe()?);
    command.arg0(name).arg(subcommand).arg(format!("--worker={job}")).args(arguments).stdin(OwnedFd::from(theirs));
    Ok((Process(command.spawn()?), Channel::new(ours)?))
}

/// Speaks with a worker until it is gone. Returns how it ended.
async fn attend(
    index: usize,
    mut process: Process,
    mut channel: Channel,
    mut asked: mpsc::UnboundedReceiver<Ask>,
    told: Rc<Told>,
) -> io::Result<ExitStatus> {
    // Who waits for what it counted. It is asked once for all of them, so that the socket never fills up.
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            Some(ask) = asked.recv() => match ask {
                Ask::Count(answer) => {
                    waiting.push(answer);
                    if waiting.len() == 1 {
                        channel.tell(Order::Count).await;
                    }
                }
                Ask::Tell(order) => channel.tell(order).await,
                Ask::Kill => process.0.kill()?,
            },
            report = channel.next() => match report {
                Some(Report::Counted(counts)) => {
                    told.counts.borrow_mut()[index] = counts;
                    waiting.clear();
                }
                Some(Report::Denied { grant, text }) => {
                    if told.denials.borrow_mut().insert(grant) {
                        output::tell(format_args!("precast: {text}"));
                    }
                }
                Some(Report::Ready) => {}
                None => return reap(process).await,
            },
        }
    }
}

/// How a process ends that has nothing more to say.
async fn reap(mut process: Process) -> io::Result<ExitStatus> {
    let until = Instant::now() + LAST_MOMENT;
    while Instant::now() < until {
        if let Some(status) = process.0.try_wait()? {
            return Ok(status);
        }
        sleep(Duration::from_millis(1)).await;
    }
    process.0.kill()?;
    process.0.wait()
}

async fn serve_metrics(listener: TcpListener, workers: Workers) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let workers = workers.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let workers = workers.clone();
            async move {
                let mut response = Response::new(Full::new(Bytes::from(stats::show(&workers.counts().await))));
                let plain = HeaderValue::from_static("text/plain; version=0.0.4");
                response.headers_mut().insert(header::CONTENT_TYPE, plain);
                Ok::<_, Infallible>(response)
            }
        });
        tokio::task::spawn_local(async move {
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
