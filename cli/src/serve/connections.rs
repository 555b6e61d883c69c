//! The thread of a worker that serves: one listening socket, one runtime, and a task for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::service::Service;
use super::worker::End;
use crate::error::Error;

/// Connections that may wait to be accepted, of each worker.
const BACKLOG: i32 = 1024;

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a worker waits when the process has no descriptors left.
const BREATH: Duration = Duration::from_millis(50);

/// A socket at an address, where nobody can connect yet.
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// At an address that nobody listens at. The system chooses a port for port 0.
    pub(crate) fn first(addr: SocketAddr) -> Result<Self, Error> {
        // Who else listens there is refused, which sockets that share their address are not.
        if addr.port() != 0 {
            drop(bind(addr, false).map_err(|error| cannot_listen(addr, error))?);
        }
        Listener::shared(addr)
    }

    /// At an address that other workers listen at too.
    pub(crate) fn shared(addr: SocketAddr) -> Result<Self, Error> {
        bind(addr, true).map(Listener).map_err(|error| cannot_listen(addr, error))
    }

    pub(crate) fn addr(&self) -> Result<SocketAddr, Error> {
        self.0.local_addr().map_err(|error| Error::context("the listening socket has no address", error))
    }

    /// From now on clients can connect.
    pub(crate) fn listen(&self) -> Result<(), Error> {
        let listening = rustix::net::listen(&self.0, BACKLOG);
        listening.map_err(|error| Error::context("cannot listen", io::Error::from(error)))
    }
}

fn cannot_listen(addr: SocketAddr, error: io::Error) -> Error {
    Error::context(format_args!("cannot listen on {addr}"), error)
}

fn bind(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    rustix::net::bind(&socket, &addr)?;
    Ok(TcpListener::from(socket))
}

/// Serves until the end, and then what is under way, for as long as is left for that. Says when it begins.
pub(crate) fn run(listener: Listener, service: Service, end: End, begins: oneshot::Sender<()>) -> Result<(), Error> {
    let failed = |error| Error::context("a worker cannot start", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener.0).map_err(failed)?;
        _ = begins.send(());
        accept_all(listener, service, end).await;
        Ok(())
    });
    // Connections that are still open, with the guests that work for them, go with the runtime. What it has other threads
    // wait for, such as the address of a name, is not waited for.
    runtime.shutdown_background();
    served
}

async fn accept_all(listener: tokio::net::TcpListener, service: Service, mut end: End) {
    // Each connection holds a sender: the receiver ends with the last of them.
    let (open, mut closed) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.begun() => break,
        };
        match accepted {
            Ok((stream, peer)) => spawn(stream, peer, service.clone(), end.clone(), open.clone()),
            Err(error) if is_of_the_connection(&error) => {}
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
    // What the kernel has accepted for us would be cut off.
    while let Some(Ok((stream, peer))) = futures_util::FutureExt::now_or_never(listener.accept()) {
        spawn(stream, peer, service.clone(), end.clone(), open.clone());
    }
    drop((listener, open));
    tokio::select! {
        _ = closed.recv() => {}
        () = end.over() => {}
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn spawn(stream: TcpStream, peer: SocketAddr, service: Service, end: End, open: mpsc::Sender<()>) {
    tokio::spawn(async move {
        connection(stream, peer, service, end).await;
        drop(open);
    });
}

async fn connection(stream: TcpStream, peer: SocketAddr, service: Service, mut end: End) {
    let stats = service.clone();
    stats.stats().connect();
    // Responses are written whole. A socket without the option works as well.
    _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| service.clone().answer(peer, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // What goes wrong on a connection is the client's business.
        _ = connection.as_mut() => {}
        () = end.begun() => {
            connection.as_mut().graceful_shutdown();
            _ = connection.await;
        }
    }
    stats.stats().disconnect();
}
