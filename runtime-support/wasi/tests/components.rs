//! Compiled components that call WASI 0.2, end to end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use precast_loader::component::{Instance, Linker};
use precast_loader::{Artifact, CallError};
use precast_wasi::preview2::{self, Ctx, Template};
use precast_wasi::{Denial, Exit, Grant, Grants, OutputPipe, Stdin, Stdout, WasiCtx};

/// A command and what it has done so far.
struct Command {
    instance: Instance<Ctx>,
    stdout: OutputPipe,
    stderr: OutputPipe,
    denials: Arc<Mutex<Vec<String>>>,
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/wasm").join(name)
}

fn artifact(name: &str) -> Artifact {
    let bytes = std::fs::read(guest(name)).unwrap();
    let compiled = precast_compiler::compile(&bytes, &precast_compiler::Options::default()).unwrap();
    Artifact::open_bytes(&compiled).unwrap()
}

fn command(artifact: &Artifact, args: &[&str], grants: Grants) -> Command {
    let (stdout, stderr) = (OutputPipe::new(1 << 20), OutputPipe::new(1 << 20));
    let denials: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&denials);
    let template: Template = WasiCtx::builder()
        .args(std::iter::once("guest").chain(args.iter().copied()))
        .grants(grants)
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

    fn text(&self) -> String {
        String::from_utf8(self.stdout.contents()).unwrap()
    }
}

#[tokio::test]
async fn a_rust_command_runs() {
    let artifact = artifact("rs-std-cli.p2.wasm");
    let mut command = command(&artifact, &[], Grants::none().with(Grant::Clocks).with(Grant::Random));
    let status = command.run().await;
    println!("{status:?}\n{}\n{}", command.text(), String::from_utf8_lossy(&command.stderr.contents()));
    println!("{:?}", command.denials);
}
