//! What the tests share: a guest without code, with captured streams and denials.

use std::sync::{Arc, Mutex};

use precast_loader::component::Resource;

use super::bindings::wasi::io::poll;
use super::bindings::wasi::io::streams::{self, StreamError};
use super::io::{Input, Output, Pollable};
use super::{Ctx, Descriptor};
use crate::{Denial, Grant, Grants, OutputPipe, Stdin, Stdout, WasiCtx};

pub(super) struct Guest {
    pub(super) ctx: Ctx,
    pub(super) stdout: OutputPipe,
    pub(super) stderr: OutputPipe,
    denials: Arc<Mutex<Vec<String>>>,
}

impl Guest {
    /// What the user has been told.
    pub(super) fn denials(&self) -> Vec<String> {
        self.denials.lock().unwrap().clone()
    }
}

/// A guest with these grants, whose standard input is `input`.
pub(super) fn context(grants: Grants) -> Guest {
    let (stdout, stderr) = (OutputPipe::new(1 << 20), OutputPipe::new(1 << 20));
    let denials: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&denials);
    let template = WasiCtx::builder()
        .args(["prog"])
        .grants(grants)
        .stdin(Stdin::Bytes(b"input".to_vec()))
        .stdout(Stdout::Pipe(stdout.clone()))
        .stderr(Stdout::Pipe(stderr.clone()))
        .on_denial(move |denial: &Denial| sink.lock().unwrap().push(denial.to_string()))
        .template()
        .unwrap();
    Guest { ctx: template.context(), stdout, stderr, denials }
}

/// A guest with a fresh directory as `/`, and its descriptor.
pub(super) fn with_directory(read_only: bool) -> (tempfile::TempDir, Guest, Resource<Descriptor>) {
    use super::bindings::wasi::filesystem::preopens::Host as _;
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), "0123456789").unwrap();
    std::fs::create_dir(temp.path().join("sub")).unwrap();
    let grant = Grant::Fs { host: temp.path().into(), guest: "/".into(), read_only };
    let mut guest = context(Grants::none().with(grant));
    let (root, name) = guest.ctx.get_directories().unwrap().remove(0);
    assert_eq!(name, "/");
    (temp, guest, root)
}

/// Another handle of the same resource, as one is lent for a call.
pub(super) fn lent<X>(resource: &Resource<X>) -> Resource<X> {
    Resource::new_borrow(resource.rep())
}

/// Reads without waiting.
pub(super) fn read(ctx: &mut Ctx, input: &Resource<Input>, len: u64) -> Result<Vec<u8>, StreamError> {
    streams::HostInputStream::read(ctx, lent(input), len).unwrap()
}

/// Reads, waiting for the first byte.
pub(super) async fn blocking_read(ctx: &mut Ctx, input: &Resource<Input>, len: u64) -> Result<Vec<u8>, StreamError> {
    streams::HostInputStream::blocking_read(ctx, lent(input), len).await.unwrap()
}

/// Writes and waits until that is done.
pub(super) async fn write(ctx: &mut Ctx, output: &Resource<Output>, bytes: &[u8]) -> Result<(), StreamError> {
    streams::HostOutputStream::blocking_write_and_flush(ctx, lent(output), bytes.to_vec()).await.unwrap()
}

/// Waits for a pollable, though not for ever, and drops it.
pub(super) async fn wait(ctx: &mut Ctx, pollable: Resource<Pollable>) {
    let waiting = poll::HostPollable::block(ctx, lent(&pollable));
    tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap();
    poll::HostPollable::drop(ctx, pollable).unwrap();
}
