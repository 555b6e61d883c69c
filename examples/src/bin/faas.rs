//! A small FaaS host: `/NAME/…` is answered by the component `NAME.so` of a folder, each request in a fresh instance.
//!
//! ```text
//! mkdir functions
//! cargo run --release --bin precast -- compile tests/guests/wasm/rs-http.p2.wasm -o functions/hello.so
//! cargo run --release --bin faas -- functions 127.0.0.1:8080
//! curl http://127.0.0.1:8080/hello/there
//! ```
//!
//! The guest sees the path without its own name. Functions are opened and bound once; a file that is replaced is served
//! from its next start. What a function may reach is a decision of the host: here the clock and random numbers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use precast_loader::component::Linker;
use precast_loader::{Artifact, HostError, Limits, Policy};
use precast_wasi::http::{Failure, Proxy};
use precast_wasi::preview2::{self, Ctx, Template};
use precast_wasi::{Grants, WasiCtx};

/// The functions of a folder, and what their guests may reach.
struct Faas {
    functions: HashMap<String, Proxy<Ctx>>,
    template: Template,
}

impl Faas {
    fn open(folder: &Path) -> Result<Self, HostError> {
        let mut linker = Linker::<Ctx>::new();
        preview2::add_to_linker(&mut linker, |ctx| ctx);
        precast_wasi::http::add_to_linker(&mut linker, |ctx| ctx);
        let limits = Limits { memory_bytes: Some(256 << 20), ..Limits::default() };
        let mut functions = HashMap::new();
        let entries = folder.read_dir().map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let (Some(name), Some("so")) = (path.file_stem(), path.extension().and_then(|end| end.to_str())) else {
                continue;
            };
            let bound = linker.bind(&Artifact::open(&path, Policy::Verify)?)?.limits(limits);
            let name = name.to_string_lossy().into_owned();
            let proxy = Proxy::new(bound, |ctx| ctx).timeout(Some(Duration::from_secs(10)));
            functions.insert(name.clone(), proxy.on_failure(move |error| eprintln!("{name}: {error}")));
        }
        let grants = Grants::parse("clocks,random")?.into_iter().collect();
        Ok(Faas { functions, template: WasiCtx::builder().grants(grants).template()? })
    }

    fn names(&self) -> String {
        let mut names: Vec<_> = self.functions.keys().map(String::as_str).collect();
        names.sort();
        names.join(", ")
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<BoxBody<Bytes, Failure>> {
        let Some((name, rest)) = split(request.uri()) else { return text(StatusCode::NOT_FOUND, "no such function\n") };
        let Some(function) = self.functions.get(&name) else {
            return text(StatusCode::NOT_FOUND, "no such function\n");
        };
        *request.uri_mut() = Uri::from(rest);
        match function.handle(self.template.context(), request, Scheme::HTTP).await {
            Ok(response) => response.map(BodyExt::boxed),
            Err(error) => {
                eprintln!("{name}: {error}");
                text(error.status(), "the function failed\n")
            }
        }
    }
}

/// `/name/rest?query` as `name` and `/rest?query`.
fn split(uri: &Uri) -> Option<(String, PathAndQuery)> {
    let path = uri.path_and_query()?.as_str().strip_prefix('/')?;
    let end = path.find(['/', '?']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    Some((name.to_owned(), rest.parse().ok()?))
}

fn text(status: StatusCode, text: &'static str) -> Response<BoxBody<Bytes, Failure>> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = serve().await else { return ExitCode::SUCCESS };
    eprintln!("faas: {error}");
    ExitCode::FAILURE
}

async fn serve() -> Result<(), HostError> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: faas FOLDER [ADDRESS]")?;
    let addr = args.next().unwrap_or("127.0.0.1:8080".into());
    let faas = Arc::new(Faas::open(Path::new(&folder))?);
    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("{addr}: {error}"))?;
    eprintln!("functions on http://{}: {}", listener.local_addr()?, faas.names());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The connection's own failure, or no descriptors left: neither ends the others.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let faas = faas.clone();
        let answer = service_fn(move |request| {
            let faas = faas.clone();
            async move { Ok::<_, Infallible>(faas.answer(request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
