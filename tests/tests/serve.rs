//! `precast serve` as its clients see it: real guests, and clients and guests that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use precast_tests::{precast_binary, say, shared, workspace_root};

/// A guest's file: in the repository, or beside it. Says so if it is in neither.
fn guest(name: &str) -> Option<PathBuf> {
    let own = workspace_root().join("tests/guests/wasm").join(name);
    if own.exists() {
        return Some(own);
    }
    let other = shared("guests").map(|folder| folder.join("wasm").join(name)).filter(|path| path.exists());
    if other.is_none() {
        say(format_args!("left out: guest {name}, which needs ../shared/guests"));
    }
    other
}

/// A server, killed when dropped.
struct Server {
    child: Child,
    port: u16,
    metrics: Option<u16>,
    /// What it says on standard error after it is ready.
    told: mpsc::Receiver<String>,
    _cache: tempfile::TempDir,
}

impl Server {
    fn start(guest: &Path, flags: &[&str]) -> Server {
        let cache = tempfile::tempdir().unwrap();
        let mut child = Command::new(precast_binary())
            .arg("serve")
            .arg(guest)
            .args(["--addr=127.0.0.1:0", "--workers=2"])
            .arg(format!("--cache={}", cache.path().display()))
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("precast can be run");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut server = Server { child, port: 0, metrics: None, told, _cache: cache };
        let wants_metrics = flags.iter().any(|flag| flag.starts_with("--metrics-addr"));
        while server.port == 0 || (wants_metrics && server.metrics.is_none()) {
            let line = server.told.recv_timeout(Duration::from_secs(300)).expect("the server gets ready");
            let port = |line: &str| line.rsplit(':').next().and_then(|port| port.parse().ok());
            if line.starts_with("precast: listening on http://") {
                server.port = port(&line).unwrap();
            } else if line.starts_with("precast: metrics on http://") {
                server.metrics = port(&line);
            }
        }
        server
    }

    /// A server of a component in text, which it no longer needs when it is ready.
    fn of(component: &str, flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.wat");
        std::fs::write(&path, component).unwrap();
        Server::start(&path, flags)
    }

    fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    /// A request on a connection of its own.
    fn request(&self, method: &str, path: &str, body: &str) -> Response {
        self.connect().request(method, path, body)
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child has not been waited for, so that the number is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    /// The processes that it started.
    fn workers(&self) -> Vec<libc::pid_t> {
        let first = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        children.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    /// A line that it says and that contains `part`.
    fn says(&self, part: &str) -> String {
        loop {
            let line = self.told.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{part} is not said"));
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Response {
    status: u16,
    body: String,
}

/// A connection to a server.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn request(&mut self, method: &str, path: &str, body: &str) -> Response {
        let length = body.len();
        self.send(&format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"));
        self.response()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn response(&mut self) -> Response {
        let mut head = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the connection ended in the head: {head:?}");
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_ascii_lowercase());
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                self.0.read_exact(&mut body).unwrap();
            }
            None if head.contains("transfer-encoding: chunked") => loop {
                let length = usize::from_str_radix(self.line().trim_end(), 16).unwrap();
                let mut chunk = vec![0; length + 2];
                self.0.read_exact(&mut chunk).unwrap();
                if length == 0 {
                    break;
                }
                body.extend(&chunk[..length]);
            },
            None => {}
        }
        Response { status, body: String::from_utf8(body).unwrap() }
    }
}

#[test]
fn guests_of_all_languages_answer() {
    // File, what it is granted, method, path, body; status and body of the response.
    type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, u16, &'static str);
    let rows: &[Row] = &[
        (
            "c-http.p2.wasm",
            "clocks",
            "GET",
            "/hello?x=1",
            "",
            200,
            "{\"lang\":\"c\",\"path\":\"/hello?x=1\",\"fnv\":1674238127}\n",
        ),
        (
            "rs-http.p2.wasm",
            "clocks",
            "POST",
            "/echo",
            "the body",
            200,
            r#"{"json":null,"lang":"rust","len":8,"path":"/echo","sha256":"fa8242e99f48966c"}"#,
        ),
        (
            "js-http.p2.wasm",
            "clocks,random",
            "POST",
            "/echo",
            "the body",
            200,
            "{\"lang\":\"js-starlingmonkey\",\"path\":\"/echo\",\"words\":[\"THE\",\"BODY\"],\"re\":null}\n",
        ),
        (
            "py-http.p2.wasm",
            "clocks,random",
            "POST",
            "/echo",
            "the body",
            200,
            r#"{"lang": "python", "path": "/echo", "len": 8, "sha256": "fa8242e99f48966c"}"#,
        ),
        (
            "polyglot-http.p2.wasm",
            "clocks,random",
            "POST",
            "/",
            "red 1 green 2 red 3.5",
            200,
            r#"{"title":"STATS","items":{"n":"3","sum":"6.5","red":"2","green":"1"}}"#,
        ),
    ];
    for (name, grants, method, path, body, status, expected) in rows {
        let Some(guest) = guest(name) else { continue };
        let server = Server::start(&guest, &[&format!("--allow={grants}")]);
        let mut client = server.connect();
        // A fresh instance each time, on one connection.
        for _ in 0..3 {
            let response = client.request(method, path, body);
            assert_eq!(
                (response.status, response.body.trim_end()),
                (*status, expected.trim_end()),
                "{name}: {response:?}"
            );
        }
        if *name == "polyglot-http.p2.wasm" {
            assert_eq!(server.request("POST", "/", "").status, 400);
            assert_eq!(server.request("POST", "/", "no digits").status, 422);
        }
    }
}

/// `precast snapshot` of a guest that was warmed up.
fn snapshot(guest: &Path, flags: &[&str], artifact: &Path) -> std::process::Output {
    Command::new(precast_binary())
        .args(["snapshot", "--allow=clocks,random"])
        .args(flags)
        .args([Path::new("-o"), artifact, guest])
        .output()
        .expect("precast can be run")
}

#[test]
fn guests_that_start_warm_answer_as_fresh_ones_do() {
    // File, how it is warmed up, path and body of a request, and the body of its response.
    type Row = (&'static str, &'static [&'static str], &'static str, &'static str, &'static str);
    let rows: &[Row] = &[
        (
            "c-http.p2.wasm",
            &["--request=GET /"],
            "/hello?x=1",
            "",
            "{\"lang\":\"c\",\"path\":\"/hello?x=1\",\"fnv\":1674238127}",
        ),
        (
            "rs-http.p2.wasm",
            &["--request=POST /echo {}", "--request=GET /status/404"],
            "/echo",
            "the body",
            r#"{"json":null,"lang":"rust","len":8,"path":"/echo","sha256":"fa8242e99f48966c"}"#,
        ),
        (
            "py-http.p2.wasm",
            &["--request=POST /warm up", "--allow-leaks"],
            "/echo",
            "the body",
            r#"{"lang": "python", "path": "/echo", "len": 8, "sha256": "fa8242e99f48966c"}"#,
        ),
        (
            "polyglot-http.p2.wasm",
            &["--request=POST / blue 2 yellow 5"],
            "/",
            "red 1 green 2 red 3.5",
            r#"{"title":"STATS","items":{"n":"3","sum":"6.5","red":"2","green":"1"}}"#,
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("warm.so");
    for (name, flags, path, body, expected) in rows {
        let Some(guest) = guest(name) else { continue };
        let made = snapshot(&guest, flags, &artifact);
        let stderr = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success() && stderr.contains("is answered with 200"), "{name}: {stderr}");
        let server = Server::start(&artifact, &["--allow=clocks,random"]);
        let mut client = server.connect();
        for _ in 0..3 {
            let response = client.request("POST", path, body);
            assert_eq!((response.status, response.body.trim_end()), (200, *expected), "{name}");
        }
    }
}

/// The one leaves dropping to its garbage collector; programs of the other's engine answer a single request in their life.
#[test]
fn guests_that_cannot_start_warm_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("warm.so");
    let rows: [(&str, &[&str], &str); 3] = [
        ("py-http.p2.wasm", &["--request=GET /"], "of `wasi:http/types@0.2.12#incoming-request`"),
        ("js-http.p2.wasm", &["--request=GET /", "--allow-leaks"], "does not answer `GET /` again"),
        ("rs-http.p2.wasm", &["--request=GET /status/503"], "`GET /status/503` has failed in the program"),
    ];
    for (name, flags, told) in rows {
        let Some(guest) = guest(name) else { continue };
        let made = snapshot(&guest, flags, &artifact);
        let stderr = String::from_utf8_lossy(&made.stderr);
        assert_eq!(made.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.contains(told), "{name}: {stderr}");
        assert!(!artifact.exists());
    }
}

#[test]
fn a_guest_that_traps_harms_nobody_else() {
    let Some(guest) = guest("rs-http.p2.wasm") else { return };
    let server = Server::start(&guest, &["--access-log"]);
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.request("GET", "/trap", "").status, 500);
        assert_eq!(client.request("GET", "/status/204", "").status, 204);
        assert_eq!(client.request("GET", "/status/418", "").status, 418);
    }
    assert!(server.says("\"GET /trap\" 500").ends_with(" trap"));
    // Requests sent at once are answered in order.
    client.send(&"GET /status/201 HTTP/1.1\r\nhost: a\r\n\r\nGET /status/202 HTTP/1.1\r\nhost: a\r\n\r\n".repeat(10));
    for _ in 0..10 {
        assert_eq!((client.response().status, client.response().status), (201, 202));
    }
    // Nonsense ends its connection only.
    let mut bad = server.connect();
    bad.send("NONSENSE\r\n\r\n");
    assert_eq!(bad.response().status, 400);
    assert_eq!(client.request("GET", "/status/200", "").status, 200);
}

/// What requests do is recorded, and a server that is laid out by it answers the same.
#[test]
fn a_profile_is_recorded_until_the_server_ends() {
    let Some(guest) = guest("rs-http.p2.wasm") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (profile, artifact) = (folder.path().join("a.profile"), folder.path().join("a.so"));
    let mut server = Server::start(&guest, &[&format!("--record-profile={}", profile.display())]);
    for _ in 0..4 {
        assert_eq!(server.request("GET", "/status/204", "").status, 204);
        assert_eq!(server.request("GET", "/trap", "").status, 500);
    }
    assert!(!profile.exists());
    server.signal(libc::SIGTERM);
    server.says("precast: recorded ");
    assert!(server.child.wait().unwrap().success());
    let text = std::fs::read_to_string(&profile).unwrap();
    let count = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    assert!(count("wasm ") > 20 && count("host ") > 3 && count("memory ") > 0 && count("block ") > 0, "{text}");

    let compiled = Command::new(precast_binary())
        .args([Path::new("compile"), &guest, Path::new("--profile"), &profile, Path::new("-o"), &artifact])
        .output()
        .unwrap();
    assert!(compiled.status.success() && compiled.stderr.is_empty(), "{compiled:?}");
    let server = Server::start(&artifact, &[]);
    for _ in 0..20 {
        assert_eq!(server.request("GET", "/status/204", "").status, 204);
        assert_eq!(server.request("GET", "/trap", "").status, 500);
        assert!(server.request("POST", "/echo", "the body").body.contains("fa8242e99f48966c"));
    }
}

#[test]
fn bodies_stream_and_a_slow_client_is_served() {
    let Some(guest) = guest("rs-http.p2.wasm") else { return };
    let server = Server::start(&guest, &[]);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in ["4\r\nthe \r\n", "4\r\nbody\r\n", "0\r\n\r\n"] {
        std::thread::sleep(Duration::from_millis(20));
        client.send(chunk);
    }
    assert!(client.response().body.contains("fa8242e99f48966c"));
    // Much larger than any buffer between client and guest.
    let large = "x".repeat(8 << 20);
    let response = client.request("POST", "/echo", &large);
    assert!(response.body.contains("\"len\":8388608"), "{response:?}");
}

#[test]
fn a_guest_that_waits_too_long_is_given_up() {
    let Some(guest) = guest("rs-http.p2.wasm") else { return };
    let server = Server::start(&guest, &["--timeout=300ms", "--metrics-addr=127.0.0.1:0"]);
    let mut client = server.connect();
    // The guest waits for a body that never comes.
    let begin = Instant::now();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    assert_eq!(client.response().status, 504);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    // The guest of a client that hangs up ends with it, long before it would be given up.
    for _ in 0..10 {
        let mut other = server.connect();
        other.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
        std::thread::sleep(Duration::from_millis(20));
    }
    let metrics = || {
        let mut client = Client::connect(server.metrics.unwrap());
        client.request("GET", "/", "").body
    };
    let begin = Instant::now();
    while !metrics().contains("precast_requests_in_flight 0\n") || !metrics().contains("precast_requests_total 11\n") {
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", metrics());
        std::thread::sleep(Duration::from_millis(10));
    }
    let metrics = metrics();
    assert!(metrics.contains("precast_requests_ended_total{outcome=\"timeout\"} 1\n"), "{metrics}");
}

/// A component whose handler runs this code, after what else it has.
fn handler(rest: &str, code: &str, with: &str) -> String {
    format!(
        r#"(component
            (import "wasi:http/types@0.2.12" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            {rest}
            (core module $m {code})
            (core instance $i (instantiate $m {with}))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.12" (instance $handler)))"#
    )
}

/// One that spins for ever.
fn spins() -> String {
    handler("", r#"(func (export "handle") (param i32 i32) (loop $again (br $again)))"#, "")
}

/// One that asks for a random number, and does not answer.
fn draws() -> String {
    handler(
        r#"(import "wasi:random/random@0.2.12" (instance $random (export "get-random-u64" (func (result u64)))))
        (core func $draw (canon lower (func $random "get-random-u64")))"#,
        r#"(import "random" "draw" (func $draw (result i64)))
        (func (export "handle") (param i32 i32) (drop (call $draw)))"#,
        r#"(with "random" (instance (export "draw" (func $draw))))"#,
    )
}

#[test]
fn a_guest_that_spins_is_stopped() {
    let server = Server::of(&spins(), &["--timeout=100ms"]);
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(server.request("GET", "/", "").status, 504);
        assert!(begin.elapsed() >= Duration::from_millis(100) && begin.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_guest_without_fuel_is_stopped() {
    let server = Server::of(&spins(), &["--fuel=1000000", "--access-log"]);
    for _ in 0..3 {
        assert_eq!(server.request("GET", "/", "").status, 500);
        server.says("out of fuel");
    }
    assert!(server.says("\"GET /\" 500").ends_with(" trap"));
}

#[test]
fn requests_under_way_are_finished_at_the_end() {
    let Some(guest) = guest("rs-http.p2.wasm") else { return };
    let mut server = Server::start(&guest, &["--grace=20s"]);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nthe ");
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/status/200", "").status, 200);
    std::thread::sleep(Duration::from_millis(100));
    // A service manager tells all processes, a terminal too.
    for worker in server.workers() {
        // SAFETY: the worker is its parent's to wait for, so that the number is still its own.
        assert!([libc::SIGTERM, libc::SIGINT].iter().all(|signal| unsafe { libc::kill(worker, *signal) } == 0));
    }
    server.signal(libc::SIGTERM);
    server.says("ending");
    std::thread::sleep(Duration::from_millis(100));
    assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err(), "nothing new is accepted");
    client.send("body");
    assert!(client.response().body.contains("fa8242e99f48966c"));
    // An idle connection holds nobody up.
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_worker_that_dies_ends_the_server() {
    let mut server = Server::of(&spins(), &["--timeout=100ms"]);
    assert_eq!(server.request("GET", "/", "").status, 504);
    let workers = server.workers();
    assert_eq!(workers.len(), 2);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(workers[1], libc::SIGABRT) }, 0);
    server.says("error: a worker has ended: signal: 6");
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
}

#[test]
fn metrics_do_not_wait_for_guests() {
    let mut server = Server::of(&spins(), &["--timeout=60s", "--grace=0s", "--metrics-addr=127.0.0.1:0"]);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            client
        })
        .collect();
    let begin = Instant::now();
    // One guest computes in each worker at least.
    loop {
        let metrics = Client::connect(server.metrics.unwrap()).request("GET", "/", "").body;
        let count = |line: &str| line.strip_prefix("precast_requests_in_flight ")?.parse().ok();
        if metrics.lines().find_map(count) >= Some(2u32) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{metrics}");
    }
    server.signal(libc::SIGTERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    drop(clients);
}

/// With too few descriptors for whatever is to be opened next: the first process's files, its workers, or theirs.
#[test]
fn a_server_that_cannot_start_says_so_and_leaves_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (text, artifact) = (folder.path().join("spins.wat"), folder.path().join("spins.so"));
    std::fs::write(&text, spins()).unwrap();
    let compiled =
        Command::new(precast_binary()).args([Path::new("compile"), &text, Path::new("-o"), &artifact]).status();
    assert!(compiled.unwrap().success());
    let mut failures = std::collections::BTreeSet::new();
    for descriptors in 9..200 {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {descriptors}; exec \"$@\"")).arg("sh").arg(precast_binary());
        command.args(["serve", "--addr=127.0.0.1:0", "--workers=2"]).arg(&artifact);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let first = told.next().unwrap_or_default();
        if !first.starts_with("precast: ") {
            // Too few for the program itself.
            child.wait().unwrap();
            continue;
        }
        if first.starts_with("precast: listening") {
            child.kill().unwrap();
            child.wait().unwrap();
            break;
        }
        // Standard error ends when the last process has.
        let rest: Vec<_> = told.collect();
        assert!(!rest.iter().any(|line| line.contains("listening")), "{first}: {rest:?}");
        assert_eq!(child.wait().unwrap().code(), Some(1), "{first}: {rest:?}");
        failures.insert(first);
    }
    let workers = ["precast: error: cannot start a worker", "precast: error: a worker cannot start"];
    assert!(workers.iter().all(|failure| failures.contains(*failure)), "{failures:?}");
}

#[test]
fn a_worker_that_is_stopped_holds_up_nobody_for_long() {
    let mut server = Server::of(&spins(), &["--timeout=100ms", "--grace=0s", "--metrics-addr=127.0.0.1:0"]);
    assert_eq!(server.request("GET", "/", "").status, 504);
    let metrics = || Client::connect(server.metrics.unwrap()).request("GET", "/", "").body;
    assert!(metrics().contains("precast_requests_total 1\n"));
    for worker in server.workers() {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::kill(worker, libc::SIGSTOP) }, 0);
    }
    // What they said before.
    assert!(metrics().contains("precast_requests_total 1\n"));
    server.signal(libc::SIGUSR1);
    server.signal(libc::SIGTERM);
    server.says("error: a worker has ended: signal: 9");
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
}

/// Whatever its guest does.
#[test]
fn no_worker_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let wait_for_all = |workers: Vec<libc::pid_t>| {
        let begin = Instant::now();
        // One that nobody has waited for is there, but runs no program.
        let runs =
            |worker: &_| std::fs::read_to_string(format!("/proc/{worker}/cmdline")).is_ok_and(|of| !of.is_empty());
        while workers.iter().any(runs) {
            assert!(begin.elapsed() < Duration::from_secs(20), "a worker goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let spin = |server: &Server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        std::thread::sleep(Duration::from_millis(100));
        client
    };
    let mut server = Server::of(&spins(), &["--timeout=60s"]);
    let (workers, _client) = (server.workers(), spin(&server));
    server.child.kill().unwrap();
    wait_for_all(workers);

    let profile = folder.path().join("a.profile");
    let record = format!("--record-profile={}", profile.display());
    let mut server = Server::of(&spins(), &["--timeout=60s", "--grace=100ms", &record]);
    let (workers, _client) = (server.workers(), spin(&server));
    assert_eq!(workers.len(), 1);
    server.signal(libc::SIGTERM);
    server.says("not all requests have ended in time");
    server.says("precast: recorded ");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    wait_for_all(workers);
    assert!(std::fs::read_to_string(profile).unwrap().contains("wasm "));
}

#[test]
fn what_guests_go_without_is_told_once() {
    let mut server = Server::of(&draws(), &[]);
    // Some for each worker.
    for _ in 0..20 {
        assert_eq!(server.request("GET", "/", "").status, 500);
    }
    server.signal(libc::SIGTERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let told: Vec<_> = server.told.iter().filter(|line| line.starts_with("precast: denied")).collect();
    assert_eq!(told, ["precast: denied: the guest asked for random numbers; grant it with --allow=random"]);
}

#[test]
fn what_cannot_be_served_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("module.wat");
    std::fs::write(&path, "(module)").unwrap();
    let refused = |path: &Path| {
        let output =
            Command::new(precast_binary()).args(["serve", "--no-cache", "--addr=127.0.0.1:0"]).arg(path).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, stderr) = refused(&path);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("is a module, and only components"), "{stderr}");
    std::fs::write(&path, "(component)").unwrap();
    let (status, stderr) = refused(&path);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("does not export wasi:http/incoming-handler"), "{stderr}");
    // What workers are started with makes nobody a worker.
    let output = Command::new(precast_binary())
        .args(["serve", "--worker=127.0.0.1:1,0"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("starts its own processes with this"), "{output:?}");
}
