//! Compiled components that call WASI 0.2, end to end.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use precast_loader::component::{Instance, Linker};
use precast_loader::{Artifact, CallError};
use precast_wasi::preview2::{self, Ctx, Denied, Template};
use precast_wasi::{Denial, Exit, Grants, OutputPipe, Stdin, Stdout, WasiCtx};

/// A command and what it has done so far.
struct Command {
    instance: Instance<Ctx>,
    stdout: OutputPipe,
    stderr: OutputPipe,
    denials: Arc<Mutex<Vec<String>>>,
}

static CLI: LazyLock<Artifact> = LazyLock::new(|| artifact("rs-std-cli.p2.wasm"));
static TCP: LazyLock<Artifact> = LazyLock::new(|| artifact("rs-tcp.p2.wasm"));

/// The artifact of a guest; see `tests/guests/README.md`.
fn artifact(name: &str) -> Artifact {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/wasm").join(name);
    let bytes = std::fs::read(path).unwrap();
    let compiled = precast_compiler::compile(&bytes, &precast_compiler::Options::default()).unwrap();
    Artifact::open_bytes(&compiled).unwrap()
}

fn command(artifact: &Artifact, args: &[&str], allow: &str) -> Command {
    let (stdout, stderr) = (OutputPipe::new(1 << 20), OutputPipe::new(1 << 20));
    let denials: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&denials);
    let template: Template = WasiCtx::builder()
        .args(std::iter::once("guest").chain(args.iter().copied()))
        .grants(if allow.is_empty() { Grants::none() } else { Grants::from_iter(Grants::parse(allow).unwrap()) })
        .stdin(Stdin::Bytes(b"one\ntwo\n".to_vec()))
        .stdout(Stdout::Pipe(stdout.clone()))
        .stderr(Stdout::Pipe(stderr.clone()))
        .on_denial(move |denial: &Denial| sink.lock().unwrap().push(denial.to_string()))
        .template()
        .unwrap();
    let mut linker = Linker::new();
    preview2::add_to_linker(&mut linker, |ctx: &mut Ctx| ctx);
    let instance = linker.bind(artifact).unwrap().instantiate(template.context()).unwrap();
    Command { instance, stdout, stderr, denials }
}

impl Command {
    /// Runs the command: the status it ends with.
    async fn run(&mut self) -> Result<i32, CallError> {
        let run = self.instance.func::<(), Result<(), ()>>("wasi:cli/run@0.2.12", "run").unwrap();
        match run.call_async(&mut self.instance, ()).await {
            Ok(result) => Ok(result.map_or(1, |()| 0)),
            Err(CallError::Host(error)) => match error.downcast::<Exit>() {
                Ok(exit) => Ok(exit.0),
                Err(error) => Err(CallError::Host(error)),
            },
            Err(error) => Err(error),
        }
    }

    /// What the guest has written.
    fn written(&self) -> String {
        String::from_utf8(self.stdout.contents()).unwrap()
    }

    /// What the guest has written to standard error.
    fn complaint(&self) -> String {
        String::from_utf8(self.stderr.contents()).unwrap()
    }

    /// What the user was told.
    fn denials(&self) -> Vec<String> {
        self.denials.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn arguments_clocks_and_output() {
    let mut command = command(&CLI, &["hello", "world"], "clocks,random,env:NAME=value");
    assert_eq!(command.run().await.unwrap(), 0);
    let expected = "args [\"hello\", \"world\"]\nenv [(\"NAME\", \"value\")]\n\
                    map [(' ', 27), ('b', 10), ('c', 7)]\nwall true mono true\n";
    assert_eq!((command.written().as_str(), command.complaint().as_str()), (expected, "to stderr\n"));
    assert!(command.denials().is_empty());
}

#[tokio::test]
async fn input_and_statuses() {
    let mut cat = command(&CLI, &["cat"], "");
    assert_eq!(cat.run().await.unwrap(), 0);
    assert!(cat.written().ends_with("> one\n> two\n"), "{}", cat.written());
    // The adapter that makes it a component knows success and failure only.
    assert_eq!(command(&CLI, &["exit", "7"], "").run().await.unwrap(), 1);
    assert_eq!(command(&CLI, &["exit", "0"], "").run().await.unwrap(), 0);
    let mut panic = command(&CLI, &["panic"], "");
    assert!(panic.run().await.unwrap_err().trap().is_some());
    assert!(panic.complaint().contains("asked to"), "{}", panic.complaint());
    // Its data is gone for good: the component has trapped.
    assert!(panic.run().await.is_err());
    let mut alloc = command(&CLI, &["alloc", "64"], "");
    assert_eq!(alloc.run().await.unwrap(), 0);
    assert!(alloc.written().contains("alloc 64 MiB, sum 2016"), "{}", alloc.written());
}

#[tokio::test]
async fn files_below_a_granted_directory() {
    let temp = tempfile::tempdir().unwrap();
    let mut command = command(&CLI, &["fs"], &format!("fs:{}=/data", temp.path().display()));
    assert_eq!(command.run().await.unwrap(), 0, "{}", command.complaint());
    let expected = "tail \"one\\nline two\\n\"\nlen 8 file true mtime true\n\
                    dir [(\"b\", true), (\"g.txt\", false), (\"h.txt\", false)]\n\
                    missing NotFound\nescape PermissionDenied\ngone true\n";
    assert!(command.written().ends_with(expected), "{}", command.written());
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn denials_name_the_grant() {
    let mut files = command(&CLI, &["fs"], "");
    assert!(files.run().await.is_err());
    assert_eq!(files.denials()[0], "denied: the guest asked for \"/data/a/b\"; grant it with --allow=fs:HOST=/data/a");
    let mut clocks = command(&CLI, &[], "");
    let error = clocks.run().await.unwrap_err();
    let CallError::Host(error) = error else { panic!("{error}") };
    assert_eq!(
        error.downcast_ref::<Denied>().unwrap().to_string(),
        "denied: the guest asked for the monotonic clock; grant it with --allow=clocks"
    );
    let mut sockets = command(&TCP, &[], "");
    assert!(sockets.run().await.is_err());
    assert_eq!(
        sockets.denials(),
        ["denied: the guest asked for listening on 127.0.0.1:0; grant it with --allow=listen:127.0.0.1:0"]
    );
}

#[tokio::test]
async fn guests_that_wait_share_a_thread() {
    let start = Instant::now();
    let sleeper = |_| async {
        let mut command = command(&CLI, &["sleep", "300"], "clocks");
        assert_eq!(command.run().await.unwrap(), 0);
        assert!(command.written().ends_with("slept true\n"));
    };
    futures_util::future::join_all((0..16).map(sleeper)).await;
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(start.elapsed() < Duration::from_millis(16 * 300 / 2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn sockets_by_themselves() {
    let mut command = command(&TCP, &[], "net");
    assert_eq!(command.run().await.unwrap(), 0, "{}", command.complaint());
    assert_eq!(command.written(), "tcp loop \"olleh\"\nudp loop \"dgram\"\n");
}

#[tokio::test]
async fn one_guest_serves_another() {
    // Free when asked for: taken by the guest a moment later.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut server = command(&TCP, &["serve", &port, "1"], &format!("listen:127.0.0.1:{port}"));
    let mut client = command(&TCP, &["client", &port], &format!("net:127.0.0.1:{port}"));
    // Both on this thread: neither ends unless the other runs while it waits.
    let both = async { tokio::join!(server.run(), client.run()) };
    let (served, called) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!((served.unwrap(), called.unwrap()), (0, 0));
    assert_eq!(client.written(), "client got \"ping over tcp\"\n");
    assert_eq!(server.written(), format!("listening {port}\nechoed 13\n"));
}
