//! `precast serve` beside `wasmtime serve` and a plain server: what a request costs.
//!
//! A few connections ask the same again and again, of one server after the other, in rounds. The CPU time of the
//! server's process comes first: clients and servers share the machine's CPUs, so that requests per second and
//! latencies are of both. wasmtime is measured twice: with a fresh instance for each request, as precast always has, and
//! with instances that answer as many as come. Guests whose time goes to the host and not to computing are served with
//! checked memories too, which grow without a system call; those whose instances can start from a snapshot, warmed up by
//! the request that they are asked, in that way too. The first response is that of a process that has just begun to listen.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use precast_compiler::MemoryModel;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::http::Client;
use crate::report::{Report, median, milliseconds};
use crate::server::{self, Server};
use crate::{Result, guests, peer};

const CONNECTIONS: usize = 8;

/// How long a server is asked in each round.
const ROUND: Duration = Duration::from_secs(1);

/// What is measured: name and unit.
const FIGURES: [(&str, &str); 4] =
    [("CPU per request", "µs"), ("requests", "/s"), ("p99 latency", "ms"), ("first response", "ms")];

type Figures = [f64; FIGURES.len()];

/// A guest, and what it is asked.
struct Guest {
    language: &'static str,
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    /// Whether instances answer more than one request. The one in JavaScript fails at its second, those with Python now
    /// and then.
    reusable: bool,
    /// How `precast snapshot` warms it up, if it can.
    warmed_up: Option<&'static [&'static str]>,
}

const GUESTS: [Guest; 5] = [
    Guest { reusable: true, ..get("C", "c-http.p2") },
    Guest { reusable: true, warmed_up: Some(&[]), ..get("Rust", "rs-http.p2") },
    get("JavaScript", "js-http.p2"),
    Guest { warmed_up: Some(&["--allow-leaks"]), ..get("Python", "py-http.p2") },
    Guest {
        method: "POST",
        path: "/",
        body: "red 1 green 2 red 3.5",
        warmed_up: Some(&[]),
        ..get("Rust, Python and JavaScript", "polyglot-http.p2")
    },
];

const fn get(language: &'static str, name: &'static str) -> Guest {
    Guest { language, name, method: "GET", path: "/hello", body: "", reusable: false, warmed_up: None }
}

impl Guest {
    fn request(&self) -> Vec<u8> {
        let Guest { method, path, body, .. } = self;
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    /// The ways that precast serves it in, and what each is called.
    fn forms(&self) -> Vec<(String, Form)> {
        let mut forms = vec![(self.language.to_owned(), Form::Plain(MemoryModel::Guarded))];
        if self.reusable {
            let checked = MemoryModel::Checked { reservation: 256 << 20 };
            forms.push((format!("{}, checked", self.language), Form::Plain(checked)));
        }
        forms.extend(self.warmed_up.map(|flags| (format!("{}, from a snapshot", self.language), Form::Warm(flags))));
        forms
    }
}

/// What an artifact is made of.
#[derive(Clone, Copy)]
enum Form {
    Plain(MemoryModel),
    /// A snapshot, with these flags.
    Warm(&'static [&'static str]),
}

/// A server that runs, and how to start another.
struct Candidate<'a> {
    start: Box<dyn Fn() -> Result<Server> + 'a>,
    server: Server,
}

impl<'a> Candidate<'a> {
    fn new(start: impl Fn() -> Result<Server> + 'a) -> Result<Self> {
        Ok(Candidate { server: start()?, start: Box::new(start) })
    }
}

/// Beside what precast is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Fresh,
    Reused,
    Plain,
}

/// Peers, their tables and their columns.
const TABLES: [(Peer, &str, &str); 3] = [
    (Peer::Fresh, "serve", "wasmtime"),
    (Peer::Reused, "serve: wasmtime reuses instances", "wasmtime"),
    (Peer::Plain, "serve: a server without guests", "hyper"),
];

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let (precast, wasmtime, folder) = (server::product("precast")?, peer::Tool::find(), tempfile::tempdir()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut measured = Vec::new();
    for guest in &GUESTS {
        let Some(wasm) = guests::find(&format!("{}.wasm", guest.name)) else { continue };
        let compiled = folder.path().join("guest.cwasm");
        let (mut labels, mut candidates) = (Vec::new(), Vec::new());
        for (label, form) in guest.forms() {
            // Each its own: one that is mapped must not change.
            let artifact = folder.path().join(format!("{label}.so"));
            make(&precast, guest, &wasm, form, &artifact)?;
            labels.push(label);
            let precast = &precast;
            candidates.push(Candidate::new(move || start_ours(precast, &artifact))?);
        }
        let mut peers = vec![Peer::Plain];
        candidates.push(Candidate::new(start_plain)?);
        if let Some(wasmtime) = &wasmtime {
            wasmtime.compile(&wasm, &compiled)?;
            let compiled = &compiled;
            peers.push(Peer::Fresh);
            candidates.push(Candidate::new(|| wasmtime.serve(compiled, 1))?);
            if guest.reusable {
                peers.push(Peer::Reused);
                candidates.push(Candidate::new(|| wasmtime.serve(compiled, u64::MAX))?);
            }
        }
        let medians = measure(&runtime, &candidates, &guest.request(), report.rounds)?;
        let (our_medians, peer_medians) = medians.split_at(labels.len());
        for (label, ours) in labels.iter().zip(our_medians) {
            let peers = peers.iter().zip(peer_medians);
            measured.extend(peers.map(|(peer, theirs)| (*peer, label.clone(), *ours, *theirs)));
        }
    }
    for (peer, table, column) in TABLES {
        report.group(table, column);
        for (_, guest, ours, theirs) in measured.iter().filter(|row| row.0 == peer) {
            for (at, (name, unit)) in FIGURES.into_iter().enumerate() {
                report.add(&format!("{guest}: {name}"), unit, ours[at], theirs[at]);
            }
        }
    }
    Ok(())
}

/// Writes an artifact of a guest.
fn make(precast: &Path, guest: &Guest, wasm: &Path, form: Form, artifact: &Path) -> Result<()> {
    let flags = match form {
        Form::Plain(model) => {
            std::fs::write(artifact, guests::precast_with(&std::fs::read(wasm)?, model)?)?;
            return Ok(());
        }
        Form::Warm(flags) => flags,
    };
    let request = format!("{} {} {}", guest.method, guest.path, guest.body);
    let mut command = Command::new(precast);
    command.args(["snapshot", "--cpu=native", "--allow=clocks,random", "--request"]).arg(request).args(flags);
    let output = command.arg("-o").arg(artifact).arg(wasm).output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

fn start_ours(precast: &Path, artifact: &Path) -> Result<Server> {
    let mut command = Command::new(precast);
    command.args(["serve", "--addr=127.0.0.1:0", "--allow=clocks,random"]).arg(artifact);
    Server::start(&mut command, 1)
}

fn start_plain() -> Result<Server> {
    Server::start(Command::new(std::env::current_exe()?).args(["--child", "hyper"]), 1)
}

/// The medians of each server's [`FIGURES`].
fn measure(runtime: &Runtime, candidates: &[Candidate<'_>], request: &[u8], rounds: usize) -> Result<Vec<Figures>> {
    let mut figures = vec![[const { Vec::new() }; FIGURES.len()]; candidates.len()];
    for _ in 0..rounds {
        for (candidate, figures) in candidates.iter().zip(&mut figures) {
            for (figures, figure) in figures.iter_mut().zip(runtime.block_on(round(candidate, request))?) {
                figures.push(figure);
            }
        }
    }
    Ok(figures.into_iter().map(|figures| figures.map(|mut figures| median(&mut figures))).collect())
}

async fn round(candidate: &Candidate<'_>, request: &[u8]) -> Result<Figures> {
    let first = first_response(&(candidate.start)()?, request).await?;
    let (mut clients, server) = (Vec::new(), &candidate.server);
    for _ in 0..CONNECTIONS {
        let mut client = Client::connect(server.addrs[0]).await?;
        ask(&mut client, request).await?;
        clients.push(client);
    }
    let (cpu, begin) = (server.cpu_time()?, Instant::now());
    let ask = |client| ask_until(client, request.to_vec(), begin + ROUND);
    let tasks: JoinSet<_> = clients.into_iter().map(ask).collect();
    let latencies: Result<Vec<_>> = tasks.join_all().await.into_iter().collect();
    let (cpu, time) = (server.cpu_time()? - cpu, begin.elapsed());
    let mut latencies = latencies?.concat();
    latencies.sort();
    let requests = latencies.len();
    let p99 = milliseconds(latencies[(requests * 99).div_ceil(100) - 1]);
    Ok([cpu.as_secs_f64() * 1e6 / requests as f64, requests as f64 / time.as_secs_f64(), p99, milliseconds(first)])
}

/// How long the first answer of a server takes, from connecting on.
async fn first_response(server: &Server, request: &[u8]) -> Result<Duration> {
    let begin = Instant::now();
    let mut client = Client::connect(server.addrs[0]).await?;
    ask(&mut client, request).await?;
    Ok(begin.elapsed())
}

/// How long each answer took.
async fn ask_until(mut client: Client, request: Vec<u8>, end: Instant) -> Result<Vec<Duration>> {
    let (mut latencies, mut begin) = (Vec::new(), Instant::now());
    while begin < end {
        ask(&mut client, &request).await?;
        let now = Instant::now();
        latencies.push(now - begin);
        begin = now;
    }
    Ok(latencies)
}

async fn ask(client: &mut Client, request: &[u8]) -> Result<()> {
    client.send(request).await?;
    match client.response().await?.status {
        200 => Ok(()),
        status => Err(format!("answered with {status}").into()),
    }
}
