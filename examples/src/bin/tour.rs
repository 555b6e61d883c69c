//! The main job on a real program, with what each step took: compile a component, open it, and serve a request over
//! HTTP in a fresh instance; then what the next instance takes.
//!
//! `cargo run --release --bin tour [COMPONENT.wasm]`

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::uri::Scheme;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use precast_compiler::{Options, compile};
use precast_loader::component::{Bound, Linker};
use precast_loader::{Artifact, HostError, Policy};
use precast_wasi::http::Proxy;
use precast_wasi::preview2::{self, Ctx, Template};
use precast_wasi::{Grants, WasiCtx};

fn main() -> Result<(), HostError> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/wasm/rs-http.p2.wasm");
    let default = std::fs::canonicalize(default)?.display().to_string();
    let guest = std::env::args().nth(1).unwrap_or(default);
    let wasm = std::fs::read(&guest)?;

    let (artifact, time) = timed(|| compile(&wasm, &Options::default()));
    let artifact = artifact?;
    step(
        "compile",
        time,
        &format!("{} KiB of WebAssembly, {} KiB of artifact", wasm.len() >> 10, artifact.len() >> 10),
    );

    let path = std::env::temp_dir().join(format!("precast-tour-{}.so", std::process::id()));
    std::fs::write(&path, artifact)?;
    // A file that has only just been written could still change without its times telling.
    std::thread::sleep(Duration::from_millis(50));
    let (opened, time) = timed(|| Artifact::open(&path, Policy::Verify));
    let opened = opened?;
    step("open, first time", time, "the whole file is hashed");
    let (again, time) = timed(|| Artifact::open(&path, Policy::Verify));
    drop(again?);
    step("open, again", time, "nothing is");
    std::fs::remove_file(&path)?;

    let mut linker = Linker::<Ctx>::new();
    preview2::add_to_linker(&mut linker, |ctx| ctx);
    precast_wasi::http::add_to_linker(&mut linker, |ctx| ctx);
    let (bound, time) = timed(|| linker.bind(&opened));
    let bound = bound?;
    step("bind WASI", time, "once for each artifact");
    let template = WasiCtx::builder().grants(Grants::default()).template()?;

    for note in ["a cold slot is mapped", "its slot was reset when the first was dropped"] {
        let context = template.context();
        let (instance, time) = timed(|| bound.instantiate(context));
        step("instantiate", time, note);
        drop(instance?);
    }
    serve(bound, template)?;
    println!(
        "inspect what was made: cargo run --release -p precast -- compile {guest} -o guest.so && readelf -a guest.so"
    );
    Ok(())
}

/// Serves one connection on a port of the system's choice, and makes two requests on it.
fn serve(bound: Bound<Ctx>, template: Template) -> Result<(), HostError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let proxy = Proxy::new(bound, |ctx| ctx);
    let server = std::thread::spawn(move || -> Result<(), HostError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            let answer = service_fn(|request: http::Request<Incoming>| {
                let exchange = proxy.handle(template.context(), request, Scheme::HTTP);
                async move { Ok::<_, Infallible>(exchange.await.unwrap_or_else(|error| panic!("{error}"))) }
            });
            let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
            Ok(http1::Builder::new().serve_connection(stream, answer).await?)
        })
    });
    let mut client = TcpStream::connect(addr)?;
    client.set_nodelay(true)?;
    for (method, rest) in [("GET", "\r\n"), ("POST", "connection: close\r\ncontent-length: 8\r\n\r\nthe body")] {
        let (response, time) =
            timed(|| request(&mut client, &format!("{method} /tour HTTP/1.1\r\nhost: {addr}\r\n{rest}")));
        step(method, time, response?.lines().last().unwrap_or_default());
    }
    server.join().map_err(|_| "the server panicked")?
}

/// Sends a request and reads until the body of the response seems to be there.
fn request(client: &mut TcpStream, text: &str) -> Result<String, HostError> {
    client.write_all(text.as_bytes())?;
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    while !response.ends_with(b"}") && !response.ends_with(b"0\r\n\r\n") {
        match client.read(&mut buffer)? {
            0 => break,
            len => response.extend_from_slice(&buffer[..len]),
        }
    }
    Ok(String::from_utf8_lossy(&response).trim_end_matches("\r\n0\r\n\r\n").trim_end().to_owned())
}

fn timed<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed())
}

fn step(name: &str, time: Duration, note: &str) {
    println!("{name:<22} {:>10.1} µs   {note}", time.as_nanos() as f64 / 1e3);
}
