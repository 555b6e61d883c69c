//! A server without guests: what hyper and the system take of each request, whoever answers it.
//!
//! Made as `precast serve` is: a thread, a listening socket and a runtime for each CPU.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;

use crate::Result;

const ANSWER: &str = "{\"lang\":\"none\",\"path\":\"/hello\",\"fnv\":1674238127}\n";

/// Serves until the process is killed.
pub(crate) fn serve() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(async { listen(([127, 0, 0, 1], 0).into()) })?;
    let addr = listener.local_addr()?;
    for _ in 1..thread::available_parallelism()?.get() {
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { accept_all(listen(addr)?).await })
        });
    }
    eprintln!("listening on http://{addr}");
    runtime.block_on(accept_all(listener))
}

fn listen(addr: SocketAddr) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(addr)?;
    Ok(socket.listen(1024)?)
}

async fn accept_all(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes()))))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
