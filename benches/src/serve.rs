//! `precast serve` beside `wasmtime serve` and a plain server: what a request costs.
//!
//! A few connections ask the same again and again, of one server after the other, in rounds. The CPU time of the
//! server's process comes first: clients and servers share the machine's CPUs, so that requests per second and
//! latencies are of both. wasmtime is measured twice: with a fresh instance for each request, as precast always has, and
//! with instances that answer as many as come. Guests whose time goes to the host and not to computing are served with
//! checked memories too, which grow without a system call.

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

const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// What is measured: name and unit.
const FIGURES: [(&str, &str); 3] = [("CPU per request", "µs"), ("requests", "/s"), ("p99 latency", "ms")];

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

/// Guests that answer more than one request. The one in JavaScript fails at its second, the one in Python now and then.
const REUSABLE: [&str; 2] = ["C", "Rust"];

/// How memories are laid out, and what that is called.
const MODELS: [(&str, MemoryModel); 2] =
    [("", MemoryModel::Guarded), (", checked", MemoryModel::Checked { reservation: 256 << 20 })];

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let (precast, wasmtime, folder) = (server::precast()?, peer::Tool::find(), tempfile::tempdir()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut measured = Vec::new();
    for &(language, name) in guests::HTTP {
        let Some(wasm) = guests::find(&format!("{name}.wasm")) else { continue };
        let models = if REUSABLE.contains(&language) { &MODELS[..] } else { &MODELS[..1] };
        let mut ours = Vec::new();
        for (label, model) in models {
            // Each its own: one that is mapped must not change.
            let artifact = folder.path().join(format!("{language}{label}.so"));
            ours.push((format!("{language}{label}"), start_ours(&precast, &wasm, &artifact, *model)?));
        }
        let mut peers = vec![(Peer::Plain, start_plain()?)];
        if let Some(wasmtime) = &wasmtime {
            let compiled = folder.path().join("guest.cwasm");
            wasmtime.compile(&wasm, &compiled)?;
            peers.push((Peer::Fresh, wasmtime.serve(&compiled, 1)?));
            if REUSABLE.contains(&language) {
                peers.push((Peer::Reused, wasmtime.serve(&compiled, u64::MAX)?));
            }
        }
        let servers: Vec<_> =
            ours.iter().map(|(_, server)| server).chain(peers.iter().map(|(_, server)| server)).collect();
        let medians = measure(&runtime, &servers, report.rounds)?;
        let (our_medians, peer_medians) = medians.split_at(ours.len());
        for ((label, _), ours) in ours.iter().zip(our_medians) {
            let peers = peers.iter().zip(peer_medians);
            measured.extend(peers.map(|((peer, _), theirs)| (*peer, label.clone(), *ours, *theirs)));
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

fn start_ours(precast: &Path, wasm: &Path, artifact: &Path, model: MemoryModel) -> Result<Server> {
    std::fs::write(artifact, guests::precast_with(&std::fs::read(wasm)?, model)?)?;
    let mut command = Command::new(precast);
    command.args(["serve", "--addr=127.0.0.1:0", "--allow=clocks,random"]).arg(artifact);
    Server::start(&mut command, 1)
}

fn start_plain() -> Result<Server> {
    Server::start(Command::new(std::env::current_exe()?).args(["--child", "hyper"]), 1)
}

/// The medians of each server's [`FIGURES`].
fn measure(runtime: &Runtime, servers: &[&Server], rounds: usize) -> Result<Vec<[f64; 3]>> {
    let mut figures = vec![[const { Vec::new() }; 3]; servers.len()];
    for _ in 0..rounds {
        for (&server, figures) in servers.iter().zip(&mut figures) {
            for (figures, figure) in figures.iter_mut().zip(runtime.block_on(round(server))?) {
                figures.push(figure);
            }
        }
    }
    Ok(figures.into_iter().map(|figures| figures.map(|mut figures| median(&mut figures))).collect())
}

async fn round(server: &Server) -> Result<[f64; 3]> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::connect(server.addrs[0]).await?;
        ask(&mut client).await?;
        clients.push(client);
    }
    let (cpu, begin) = (server.cpu_time()?, Instant::now());
    let tasks: JoinSet<_> = clients.into_iter().map(|client| ask_until(client, begin + ROUND)).collect();
    let latencies: Result<Vec<_>> = tasks.join_all().await.into_iter().collect();
    let (cpu, time) = (server.cpu_time()? - cpu, begin.elapsed());
    let mut latencies = latencies?.concat();
    latencies.sort();
    let requests = latencies.len();
    let p99 = latencies[(requests * 99).div_ceil(100) - 1];
    Ok([cpu.as_secs_f64() * 1e6 / requests as f64, requests as f64 / time.as_secs_f64(), milliseconds(p99)])
}

/// How long each answer took.
async fn ask_until(mut client: Client, end: Instant) -> Result<Vec<Duration>> {
    let (mut latencies, mut begin) = (Vec::new(), Instant::now());
    while begin < end {
        ask(&mut client).await?;
        let now = Instant::now();
        latencies.push(now - begin);
        begin = now;
    }
    Ok(latencies)
}

async fn ask(client: &mut Client) -> Result<()> {
    client.send(REQUEST).await?;
    match client.response().await?.status {
        200 => Ok(()),
        status => Err(format!("answered with {status}").into()),
    }
}
