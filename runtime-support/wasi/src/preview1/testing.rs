//! What the tests of the functions share: a guest with captured streams and denials, and a memory to point into.

use std::sync::{Arc, Mutex};

use super::errno::Errno;
use super::memory::GuestMemory;
use crate::{Denial, Grant, Grants, OutputPipe, Stdin, Stdout, WasiCtx};

/// A guest without code.
pub(super) struct Guest {
    pub(super) ctx: WasiCtx,
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
    let ctx = WasiCtx::builder()
        .args(["prog"])
        .grants(grants)
        .stdin(Stdin::Bytes(b"input".to_vec()))
        .stdout(Stdout::Pipe(stdout.clone()))
        .stderr(Stdout::Pipe(stderr.clone()))
        .on_denial(move |denial: &Denial| sink.lock().unwrap().push(denial.to_string()))
        .build()
        .unwrap();
    Guest { ctx, stdout, stderr, denials }
}

/// The descriptor of the only granted directory.
pub(super) const DIR: u32 = 3;

/// A guest with a fresh directory as `/` at descriptor [`DIR`].
pub(super) fn with_directory(read_only: bool) -> (tempfile::TempDir, Guest) {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), "0123456789").unwrap();
    std::fs::create_dir(temp.path().join("sub")).unwrap();
    let grant = Grant::Fs { host: temp.path().into(), guest: "/".into(), read_only };
    let guest = context(Grants::none().with(grant));
    (temp, guest)
}

/// A page of zeros.
pub(super) fn memory() -> Vec<u8> {
    vec![0; 1 << 16]
}

/// Writes a string and gives its address and length.
pub(super) fn put(memory: &mut Vec<u8>, address: u32, text: &str) -> (u32, u32) {
    memory.write(address, text.as_bytes()).unwrap();
    (address, text.len() as u32)
}

/// Writes an array of one buffer at 0x100.
pub(super) fn buffer(memory: &mut Vec<u8>, address: u32, length: u32) -> u32 {
    memory.write(0x100, &address.to_le_bytes()).unwrap();
    memory.write(0x104, &length.to_le_bytes()).unwrap();
    0x100
}

pub(super) fn u16_at(memory: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(memory[at..at + 2].try_into().unwrap())
}

pub(super) fn u32_at(memory: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(memory[at..at + 4].try_into().unwrap())
}

pub(super) fn u64_at(memory: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(memory[at..at + 8].try_into().unwrap())
}

/// Opens a path with rights to read and write; the new descriptor's number.
pub(super) fn open(
    ctx: &mut WasiCtx,
    memory: &mut Vec<u8>,
    path: &str,
    oflags: u32,
    rights: u64,
) -> Result<u32, Errno> {
    let (path, length) = put(memory, 0x800, path);
    super::path::path_open(ctx, memory, DIR, 0, path, length, oflags, rights, 0, 0, 0x40)?;
    Ok(u32_at(memory, 0x40))
}
