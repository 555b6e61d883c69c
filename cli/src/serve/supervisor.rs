//! The process that serves nobody: it starts the workers, and has the signals, the metrics and the end.
//!
//! SIGTERM and SIGINT begin the end: no new connections, requests under way are finished for as long as is left for
//! that. Another one ends the process at once. SIGUSR1 prints the metrics. A worker that ends by itself is the end too: what
//! can make one crash can make all.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
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
use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use super::channel::{Channel, Order, Report};
use super::stats::{self, Counts};
use crate::args::ServeArgs;
use crate::artifact::Source;
use crate::error::Error;
use crate::output;

/// How long workers may take to end when they need not wait for anything: they give up their guests sooner.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// Serves `source` at `addr` until the end.
pub(super) fn run(args: &ServeArgs, source: &Source, addr: SocketAddr) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    LocalSet::new().block_on(&runtime, supervise(args, source, addr))
}

fn cannot_start(error: io::Error) -> Error {
    Error::context("cannot start", error)
}

async fn supervise(args: &ServeArgs, source: &Source, addr: SocketAddr) -> Result<ExitCode, Error> {
    let mut signals = Signals::new().map_err(cannot_start)?;
    let metrics = match args.metrics_addr {
        None => None,
        Some(addr) => {
            let listener = TcpListener::bind(addr).await;
            Some(listener.map_err(|error| Error::context(format_args!("cannot listen on {addr}"), error))?)
        }
    };
    let (workers, mut attended) = start(args, source, addr).await?;
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
            _ = signals.user.recv() => output::tell(stats::show(&workers.counts().await).trim_end()),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            Some(ended) = attended.join_next() => {
                let ended = ended.map_err(io::Error::from).flatten();
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                Error::Failed(format!("a worker has ended: {how}")).report();
                failed = true;
                break;
            }
        }
    }
    let grace = args.grace;
    output::tell(format_args!("precast: ending; requests under way have {grace:?}"));
    workers.ask_all(|| Ask::Tell(Order::End));
    let mut all_ended = async |attended: &mut JoinSet<_>| {
        while let Some(ended) = attended.join_next().await {
            // A worker that fails says why.
            failed |= !ended.map_err(io::Error::from).flatten().is_ok_and(|status: ExitStatus| status.success());
        }
    };
    tokio::select! {
        () = all_ended(&mut attended) => {}
        () = sleep(grace) => output::tell("precast: not all requests have ended in time"),
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
    }
    workers.ask_all(|| Ask::Tell(Order::Stop));
    _ = tokio::time::timeout(LAST_MOMENT, all_ended(&mut attended)).await;
    workers.ask_all(|| Ask::Kill);
    attended.join_all().await;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
    Count(oneshot::Sender<Counts>),
    Tell(Order),
    Kill,
}

/// All workers. Clones are the same ones.
#[derive(Clone)]
struct Workers(Rc<[mpsc::UnboundedSender<Ask>]>);

impl Workers {
    // One that is gone is asked in vain: the task that attended to it has told.
    fn ask_all(&self, ask: impl Fn() -> Ask) {
        self.0.iter().for_each(|worker| _ = worker.send(ask()));
    }

    /// What they counted so far, together.
    async fn counts(&self) -> Counts {
        let mut counts = Vec::new();
        for worker in &*self.0 {
            let (answer, answered) = oneshot::channel();
            _ = worker.send(Ask::Count(answer));
            counts.extend(answered.await.ok());
        }
        counts.into_iter().sum()
    }
}

/// Starts the workers, and returns when all of them accept connections. How each ends is what its task returns.
async fn start(
    args: &ServeArgs,
    source: &Source,
    addr: SocketAddr,
) -> Result<(Workers, JoinSet<io::Result<ExitStatus>>), Error> {
    let artifact = inherited(source).map_err(cannot_start)?;
    let mut started = Vec::new();
    for _ in 0..args.workers() {
        let (process, mut channel) = spawn().map_err(|error| Error::context("cannot start a worker", error))?;
        channel.tell(Order::Begin { addr, artifact: artifact.as_raw_fd() }).await;
        started.push((process, channel));
    }
    let (mut asks, mut attended, denials) = (Vec::new(), JoinSet::new(), Rc::default());
    for (process, mut channel) in started {
        if channel.next().await != Some(Report::Ready) {
            // It says why.
            reap(process).await.map_err(cannot_start)?;
            return Err(Error::Failed("a worker has not started".into()));
        }
        let (ask, asked) = mpsc::unbounded_channel();
        asks.push(ask);
        attended.spawn_local(attend(process, channel, asked, Rc::clone(&denials)));
    }
    Ok((Workers(asks.into()), attended))
}

/// The artifact as a file that workers have too: all of them the same one, whatever becomes of its name.
fn inherited(source: &Source) -> io::Result<File> {
    let file = match source {
        Source::File(path) => File::open(path)?,
        Source::Bytes(bytes) => {
            let mut file = File::from(rustix::fs::memfd_create("precast", MemfdFlags::CLOEXEC)?);
            file.write_all(bytes)?;
            file
        }
    };
    rustix::io::fcntl_setfd(&file, FdFlags::empty())?;
    Ok(file)
}

/// Starts a worker: this program, with the same arguments.
fn spawn() -> io::Result<(Child, Channel)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut arguments = env::args_os();
    let (name, subcommand) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let mut command = Command::new(env::current_exe()?);
    command.arg0(name).arg(subcommand).arg("--worker").args(arguments).stdin(OwnedFd::from(theirs));
    Ok((command.spawn()?, Channel::new(ours)?))
}

/// Denials that were told: guests in each worker go without the same.
type Denials = Rc<RefCell<BTreeSet<String>>>;

/// Speaks with a worker until it is gone. Returns how it ended.
async fn attend(
    mut process: Child,
    mut channel: Channel,
    mut asked: mpsc::UnboundedReceiver<Ask>,
    denials: Denials,
) -> io::Result<ExitStatus> {
    let mut counting = VecDeque::new();
    loop {
        tokio::select! {
            Some(ask) = asked.recv() => match ask {
                Ask::Count(answer) => {
                    counting.push_back(answer);
                    channel.tell(Order::Count).await;
                }
                Ask::Tell(order) => channel.tell(order).await,
                Ask::Kill => process.kill()?,
            },
            report = channel.next() => match report {
                Some(Report::Counted(counts)) => _ = counting.pop_front().map(|answer| answer.send(counts)),
                Some(Report::Denied { grant, text }) => {
                    if denials.borrow_mut().insert(grant) {
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
async fn reap(mut process: Child) -> io::Result<ExitStatus> {
    let until = tokio::time::Instant::now() + LAST_MOMENT;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        if tokio::time::Instant::now() > until {
            process.kill()?;
            return process.wait();
        }
        sleep(Duration::from_millis(1)).await;
    }
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
