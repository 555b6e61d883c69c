//! The thread that serves nobody: signals, metrics, and the end.
//!
//! SIGTERM and SIGINT begin the end: no new connections, requests under way are finished for as long as is left for
//! that. Another one ends the process at once. SIGUSR1 prints the metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::stats::{self, Stats};
use crate::error::Error;
use crate::output;

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Ending,
    Over,
}

/// What workers know of the end.
#[derive(Clone)]
pub(crate) struct End(watch::Receiver<Phase>);

impl End {
    /// Waits until nothing new is to be begun.
    pub(crate) async fn begun(&mut self) {
        self.reached(Phase::Ending).await;
    }

    /// Waits until nothing is waited for any more.
    pub(crate) async fn over(&mut self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&mut self, wanted: Phase) {
        // A sender that is gone counts as the end.
        _ = self.0.wait_for(|phase| *phase >= wanted).await;
    }
}

/// See the head of this file.
pub(crate) struct Control {
    runtime: Runtime,
    phase: watch::Sender<Phase>,
    stats: Arc<[Stats]>,
    metrics: Option<tokio::net::TcpListener>,
    grace: Duration,
    signals: Signals,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
}

impl Control {
    /// Takes the signals, and the address for metrics.
    pub(crate) fn new(stats: Arc<[Stats]>, metrics: Option<SocketAddr>, grace: Duration) -> Result<Self, Error> {
        let failed = |error| Error::context("cannot start", error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (signals, metrics) = runtime.block_on(async {
            let signals = Signals {
                terminate: signal(SignalKind::terminate()).map_err(failed)?,
                interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
                user: signal(SignalKind::user_defined1()).map_err(failed)?,
            };
            let metrics = match metrics {
                None => None,
                Some(addr) => {
                    let listener = tokio::net::TcpListener::bind(addr).await;
                    let failed = |error| Error::context(format_args!("cannot listen on {addr}"), error);
                    Some(listener.map_err(failed)?)
                }
            };
            Ok::<_, Error>((signals, metrics))
        })?;
        Ok(Self { runtime, phase: watch::Sender::new(Phase::Serving), stats, metrics, grace, signals })
    }

    /// For a worker.
    pub(crate) fn end(&self) -> End {
        End(self.phase.subscribe())
    }

    /// Returns when the end is over, or all workers are done.
    pub(crate) fn run(self) -> Result<(), Error> {
        let Self { runtime, phase, stats, metrics, grace, mut signals } = self;
        runtime.block_on(async {
            if let Some(listener) = metrics {
                if let Ok(addr) = listener.local_addr() {
                    output::tell(format_args!("precast: metrics on http://{addr}"));
                }
                tokio::spawn(serve_metrics(listener, stats.clone()));
            }
            loop {
                tokio::select! {
                    _ = signals.user.recv() => output::tell(stats::show(&stats).trim_end()),
                    _ = signals.terminate.recv() => break,
                    _ = signals.interrupt.recv() => break,
                }
            }
            output::tell(format_args!("precast: ending; requests under way have {grace:?}"));
            phase.send_replace(Phase::Ending);
            tokio::select! {
                () = phase.closed() => {}
                () = tokio::time::sleep(grace) => output::tell("precast: not all requests have ended in time"),
                _ = signals.terminate.recv() => {}
                _ = signals.interrupt.recv() => {}
            }
            phase.send_replace(Phase::Over);
        });
        Ok(())
    }
}

async fn serve_metrics(listener: tokio::net::TcpListener, stats: Arc<[Stats]>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let stats = stats.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let mut response = Response::new(Full::new(Bytes::from(stats::show(&stats))));
            let plain = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(header::CONTENT_TYPE, plain);
            async { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(async move {
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
