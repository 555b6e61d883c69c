//! `precast serve` under load, for minutes: clients that behave beside clients and guests that do not.
//!
//! `cargo run --release -p precast-benches -- load [MINUTES]`. Each of the [`CLIENTS`] does the same again and again, to
//! one of the [`SERVERS`], which run side by side. When a minute is over all of them close their connections, and once the
//! servers have noticed, they are measured: resident memory, mappings, descriptors.
//!
//! It fails if anything ends otherwise than was expected, by what clients see or by what servers count, and if a server
//! grows from the end of the first minute to the end of the last: its resident memory by more than [`GROWTH`], or the
//! number of its mappings or descriptors at all.
//!
//! Mappings are only comparable after [`fill`]: a worker keeps a slot for each request that it ever had at once, and
//! with the kernel's dice on which worker gets which connection, that maximum would rise for hours. So each server is
//! first made to answer more requests at once than it has clients, so many that every worker gets more than there are
//! clients. These are as heavy as any that follow, because a slot also keeps the pages that its guests wrote.

use std::iter::Sum;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::Client;
use crate::server::{self, Server};
use crate::{Result, guests};

/// How much more memory may be resident at the end.
const GROWTH: f64 = 0.02;

/// How long any exchange may take on this side.
const PATIENCE: Duration = Duration::from_secs(60);

/// The servers: name, guest, flags.
const SERVERS: [(&str, Guest, &[&str]); 4] = [
    ("small", Guest::Rust, &["--timeout=3s", "--max-memory=64M"]),
    ("streams", Guest::Rust, &["--timeout=30s", "--max-memory=64M"]),
    ("spins", Guest::Core("(loop $again (br $again))"), &["--timeout=200ms"]),
    ("grows", Guest::Core(GROW), &["--max-memory=16M"]),
];

/// A server's guest.
enum Guest {
    Rust,
    /// Nothing but this code.
    Core(&'static str),
}

/// Grows by a MiB and writes it, until it may not.
const GROW: &str = "(local $old i32)
    (loop $again
        (if (i32.eq (local.tee $old (memory.grow (i32.const 16))) (i32.const -1)) (then unreachable))
        (memory.fill (i32.mul (local.get $old) (i32.const 65536)) (i32.const 1) (i32.const 0x100000))
        (br $again))";

/// What a client does in each turn. To add one: here, in [`CLIENTS`], and in the functions of `Kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Gets its body's hash.
    Echo,
    /// Gets a status without a body.
    Status,
    /// Has its guest trap: 500.
    Trap,
    /// Does not send its body, so that its guest waits until it is stopped: 504.
    Stall,
    /// Does not wait for its response.
    LeaveAtOnce,
    /// Is gone before its body is sent.
    LeaveInRequest,
    /// Sends slowly.
    SlowUp,
    /// Gets a large body, and reads it slowly.
    SlowDown,
    /// Is gone before it has read its response.
    LeaveInResponse,
    /// Has its guest compute until it is stopped: 504.
    Spin,
    /// Has its guest take more memory than it may: 500.
    Grow,
}

/// How many clients there are of each kind, and which server is theirs.
const CLIENTS: [(Kind, usize, &str); 11] = [
    (Kind::Echo, 16, "small"),
    (Kind::Status, 8, "small"),
    (Kind::Trap, 6, "small"),
    (Kind::Stall, 6, "small"),
    (Kind::LeaveAtOnce, 6, "small"),
    (Kind::LeaveInRequest, 6, "small"),
    (Kind::SlowUp, 4, "streams"),
    (Kind::SlowDown, 4, "streams"),
    (Kind::LeaveInResponse, 4, "streams"),
    (Kind::Spin, 2, "spins"),
    (Kind::Grow, 2, "grows"),
];

/// A request whose response is as large: 4 MiB.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| post("/echo", &format!("\"{}\"", "x".repeat(4 << 20))));

const LARGE_LENGTH: &str = "\"len\":4194306";

fn post(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes()
}

impl Kind {
    /// One turn, on the connection of the last one if there is one. Returns the connection if it is good for another.
    async fn turn(self, addr: SocketAddr, connection: Option<Client>, number: u64) -> Result<Option<Client>> {
        let mut client = match connection {
            Some(client) => client,
            None => Client::connect(addr).await?,
        };
        let stays = self.exchange(&mut client, Duration::from_millis(number % 20)).await?;
        Ok(stays.then_some(client))
    }

    /// Whether the connection is good for another. Who leaves does so after `moment`.
    async fn exchange(self, client: &mut Client, moment: Duration) -> Result<bool> {
        let piece = "x".repeat(4096);
        match self {
            Kind::Echo => {
                client.send(&post("/echo", "the body")).await?;
                expect(client, 200, "fa8242e99f48966c").await?;
            }
            Kind::Status => {
                client.send(&get("/status/418")).await?;
                expect(client, 418, "").await?;
            }
            Kind::Trap => {
                client.send(&get("/trap")).await?;
                expect(client, 500, "failed").await?;
            }
            Kind::Stall => {
                client.send(&post("/echo", &piece)[..1000]).await?;
                expect(client, 504, "too long").await?;
                return Ok(false);
            }
            Kind::LeaveAtOnce => {
                client.send(&post("/echo", "the body")).await?;
                sleep(moment).await;
                return Ok(false);
            }
            Kind::LeaveInRequest => {
                client.send(&post("/echo", &piece)[..1000]).await?;
                sleep(moment).await;
                return Ok(false);
            }
            Kind::SlowUp => {
                for piece in post("/echo", &piece.repeat(16)).chunks(4096) {
                    client.send(piece).await?;
                    sleep(moment).await;
                }
                expect(client, 200, "\"len\":65536").await?;
            }
            Kind::SlowDown => {
                client.pause = moment;
                client.send(&LARGE).await?;
                expect(client, 200, LARGE_LENGTH).await?;
            }
            Kind::LeaveInResponse => {
                client.send(&LARGE).await?;
                client.read(100_000, &mut Vec::new()).await?;
                return Ok(false);
            }
            Kind::Spin => {
                client.send(&get("/")).await?;
                expect(client, 504, "too long").await?;
            }
            Kind::Grow => {
                client.send(&get("/")).await?;
                expect(client, 500, "failed").await?;
            }
        }
        Ok(true)
    }
}

/// Reads a response, which must have this status and this in its body.
async fn expect(client: &mut Client, status: u16, part: &str) -> Result<()> {
    let response = client.response().await?;
    let body = String::from_utf8_lossy(&response.body);
    if response.status == status && body.contains(part) {
        return Ok(());
    }
    Err(format!("answered with {}: {}", response.status, body.chars().take(100).collect::<String>()).into())
}

/// A server under load, and what was found when it last had nothing to do.
struct Site {
    name: &'static str,
    server: Server,
    rest: Vec<Rest>,
}

/// A server that has nothing to do, or one process of it.
#[derive(Clone, Copy, Default)]
struct Rest {
    resident_kib: u64,
    mappings: usize,
    descriptors: usize,
}

impl Sum for Rest {
    fn sum<I: Iterator<Item = Rest>>(processes: I) -> Rest {
        processes.fold(Rest::default(), |sum, one| Rest {
            resident_kib: sum.resident_kib + one.resident_kib,
            mappings: sum.mappings + one.mappings,
            descriptors: sum.descriptors + one.descriptors,
        })
    }
}

/// What came of the turns of one kind.
#[derive(Default)]
struct Tally {
    turns: u64,
    wrong: Vec<String>,
}

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let minutes = arguments.first().map_or(Ok(3), |minutes| minutes.parse())?;
    let folder = tempfile::tempdir()?;
    let mut sites = start(folder.path())?;
    let problems = Builder::new_current_thread().enable_all().build()?.block_on(load(&mut sites, minutes))?;
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

fn start(folder: &Path) -> Result<Vec<Site>> {
    let precast = server::product("precast")?;
    let start = |(name, guest, flags): (&'static str, Guest, &[&str])| {
        let wasm = match guest {
            Guest::Rust => std::fs::read(guests::find("rs-http.p2.wasm").ok_or("the guest is missing")?)?,
            Guest::Core(code) => core_guest(code).into_bytes(),
        };
        let artifact = folder.join(name).with_extension("so");
        std::fs::write(&artifact, guests::precast(&wasm)?)?;
        let mut command = Command::new(&precast);
        command.args(["serve", "--addr=127.0.0.1:0", "--metrics-addr=127.0.0.1:0", "--workers=2", "--allow=clocks"]);
        let server = Server::start(command.args(flags).arg(artifact), 2)?;
        Ok(Site { name, server, rest: Vec::new() })
    };
    SERVERS.into_iter().map(start).collect()
}

/// A component whose handler is this code.
fn core_guest(code: &str) -> String {
    format!(
        r#"(component
            (import "wasi:http/types@0.2.12" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            (core module $m (memory 1) (func (export "handle") (param i32 i32) {code}))
            (core instance $i (instantiate $m))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.12" (instance $handler)))"#
    )
}

/// Returns what was not as it should be.
async fn load(sites: &mut [Site], minutes: u32) -> Result<Vec<String>> {
    let mut tallies = CLIENTS.map(|_| Tally::default());
    let mut filled = Vec::new();
    for site in &*sites {
        filled.push(fill(site).await.map_err(|error| format!("filling {}: {error}", site.name))?);
    }
    println!("{:<8} {:<8} {:>12} {:>9} {:>12}", "minute", "server", "resident", "mappings", "descriptors");
    rest(sites, 0).await?;
    for minute in 1..=minutes {
        run_clients(sites, Instant::now() + Duration::from_secs(60), &mut tallies).await?;
        rest(sites, minute).await?;
    }
    println!("\n{:<16} {:>7} {:>9} {:>6}", "kind", "clients", "turns", "wrong");
    for ((kind, clients, _), tally) in CLIENTS.into_iter().zip(&tallies) {
        println!("{:<16} {clients:>7} {:>9} {:>6}", format!("{kind:?}"), tally.turns, tally.wrong.len());
    }
    let mut problems = wrong_turns(&tallies);
    for (site, filled) in sites.iter().zip(filled) {
        problems.extend(growth(site));
        problems.extend(wrong_counts(site, &tallies, filled).await?);
    }
    Ok(problems)
}

/// Has every worker of a server make as many slots as it can ever need: see the head of this file. Returns how many
/// requests each wave had.
async fn fill(site: &Site) -> Result<u64> {
    let clients: usize = CLIENTS.iter().filter(|client| client.2 == site.name).map(|client| client.1).sum();
    // All that guests do at length, since each leaves other pages behind. Each has a body, whose end is held back.
    let small =
        [(post("/echo", "the body"), 200, ""), (post("/status/418", "x"), 418, ""), (post("/trap", "x"), 500, "")];
    let waves = match site.name {
        "small" => small.to_vec(),
        "streams" => vec![(LARGE.clone(), 200, LARGE_LENGTH)],
        "spins" => vec![(post("/", "x"), 504, "")],
        _ => vec![(post("/", "x"), 500, "")],
    };
    // Half of a wave is one worker's, give or take a few: never fewer than there are clients.
    let requests = 2 * clients + 60;
    for (request, status, part) in waves {
        let (last, first) = request.split_last().ok_or("no request")?;
        let mut waiting = Vec::new();
        for _ in 0..requests {
            let mut client = Client::connect(site.server.addrs[0]).await?;
            client.send(first).await?;
            waiting.push(client);
        }
        sleep(Duration::from_secs(1)).await;
        for mut client in waiting {
            client.send(&[*last]).await?;
            expect(&mut client, status, part).await?;
        }
    }
    Ok(requests as u64)
}

/// Runs all clients until `end` and adds up what came of it.
async fn run_clients(sites: &[Site], end: Instant, tallies: &mut [Tally]) -> Result<()> {
    let mut tasks = JoinSet::new();
    for (at, (kind, clients, name)) in CLIENTS.into_iter().enumerate() {
        let site = sites.iter().find(|site| site.name == name).ok_or("no such server")?;
        for _ in 0..clients {
            let turns = take_turns(kind, site.server.addrs[0], end);
            tasks.spawn(async move { (at, turns.await) });
        }
    }
    for (at, tally) in tasks.join_all().await {
        tallies[at].turns += tally.turns;
        tallies[at].wrong.extend(tally.wrong);
    }
    Ok(())
}

async fn take_turns(kind: Kind, addr: SocketAddr, end: Instant) -> Tally {
    let (mut tally, mut connection) = (Tally::default(), None);
    while Instant::now() < end {
        tally.turns += 1;
        let turn = timeout(PATIENCE, kind.turn(addr, connection.take(), tally.turns)).await;
        match turn.unwrap_or_else(|_| Err("no end in sight".into())) {
            Ok(kept) => connection = kept,
            Err(error) => tally.wrong.push(error.to_string()),
        }
    }
    tally
}

/// Waits until the servers have noticed that all connections are closed, and measures them.
async fn rest(sites: &mut [Site], minute: u32) -> Result<()> {
    for site in sites {
        let begin = Instant::now();
        while counter(site, "requests_in_flight").await? + counter(site, "connections_open").await? > 0 {
            if begin.elapsed() > PATIENCE {
                return Err(format!("{} still has connections", site.name).into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        // The connection that asked is still to be closed.
        sleep(Duration::from_millis(200)).await;
        let rest = site.server.folders()?.iter().map(|folder| measure(folder)).sum::<Result<Rest>>()?;
        let Rest { resident_kib, mappings, descriptors } = rest;
        println!("{minute:<8} {:<8} {resident_kib:>8} KiB {mappings:>9} {descriptors:>12}", site.name);
        site.rest.push(rest);
    }
    Ok(())
}

fn measure(proc: &Path) -> Result<Rest> {
    // The sum over all mappings is exact; `status` may be behind by some pages for each CPU.
    let rollup = std::fs::read_to_string(proc.join("smaps_rollup"))?;
    // What processes share is divided among them.
    let resident = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
    Ok(Rest {
        resident_kib: resident.ok_or("no Pss in smaps_rollup")?.parse()?,
        mappings: std::fs::read_to_string(proc.join("maps"))?.lines().count(),
        descriptors: proc.join("fd").read_dir()?.count(),
    })
}

/// One of a server's metrics.
async fn counter(site: &Site, name: &str) -> Result<u64> {
    let mut client = Client::connect(site.server.addrs[1]).await?;
    client.send(&get("/")).await?;
    let text = String::from_utf8(client.response().await?.body)?;
    let value = text.lines().find_map(|line| line.strip_prefix("precast_")?.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or_else(|| format!("no {name} among the metrics"))?.parse()?)
}

/// The first few of each kind.
fn wrong_turns(tallies: &[Tally]) -> Vec<String> {
    let wrong = CLIENTS
        .iter()
        .zip(tallies)
        .flat_map(|((kind, ..), tally)| tally.wrong.iter().take(5).map(move |error| format!("{kind:?}: {error}")));
    wrong.collect()
}

fn growth(site: &Site) -> Vec<String> {
    let (name, first, last) = (site.name, site.rest[1.min(site.rest.len() - 1)], site.rest[site.rest.len() - 1]);
    let mut problems = Vec::new();
    if last.resident_kib as f64 > first.resident_kib as f64 * (1.0 + GROWTH) {
        problems.push(format!("{name}: resident memory grew from {} to {} KiB", first.resident_kib, last.resident_kib));
    }
    for (what, first, last) in
        [("mappings", first.mappings, last.mappings), ("descriptors", first.descriptors, last.descriptors)]
    {
        if first != last {
            problems.push(format!("{name}: {first} {what} became {last}"));
        }
    }
    problems
}

/// What a server counted against what its clients wanted.
async fn wrong_counts(site: &Site, tallies: &[Tally], filled: u64) -> Result<Vec<String>> {
    let turns = |kinds: &[Kind]| -> u64 {
        let of_site =
            CLIENTS.iter().zip(tallies).filter(|((kind, _, name), _)| *name == site.name && kinds.contains(kind));
        of_site.map(|(_, tally)| tally.turns).sum()
    };
    let filled_by = |names: &[&str]| if names.contains(&site.name) { filled } else { 0 };
    let mut expected = vec![
        ("trap", turns(&[Kind::Trap, Kind::Grow]) + filled_by(&["small", "grows"])),
        ("timeout", turns(&[Kind::Stall, Kind::Spin]) + filled_by(&["spins"])),
    ];
    expected.extend(["no-slot", "no-response", "host-error", "incomplete"].map(|outcome| (outcome, 0)));
    let mut problems = Vec::new();
    for (outcome, expected) in expected {
        let counted = counter(site, &format!("requests_ended_total{{outcome=\"{outcome}\"}}")).await?;
        if counted != expected {
            problems.push(format!("{}: {counted} requests ended by {outcome}, and not {expected}", site.name));
        }
    }
    Ok(problems)
}
