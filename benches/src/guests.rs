//! The programs that are measured, compiled for both.

use std::path::{Path, PathBuf};

use precast_compiler::{MemoryModel, Options};
use precast_loader::{Artifact, Policy};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::Result;

/// A module in both runtimes' form, as files.
pub(crate) struct Pair {
    pub artifact: PathBuf,
    pub serialized: PathBuf,
    _folder: tempfile::TempDir,
}

impl Pair {
    /// Compiles `wasm` (binary or text) for the native CPU, for both.
    pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<Pair> {
        let folder = tempfile::tempdir()?;
        let (artifact, serialized) = (folder.path().join("guest.so"), folder.path().join("guest.cwasm"));
        std::fs::write(&artifact, precast(wasm)?)?;
        std::fs::write(&serialized, Module::new(engine, wasm)?.serialize()?)?;
        settle();
        Ok(Pair { artifact, serialized, _folder: folder })
    }

    pub(crate) fn open_ours(&self) -> Result<Artifact> {
        Ok(Artifact::open(&self.artifact, Policy::Verify)?)
    }

    pub(crate) fn open_peers(&self, engine: &Engine) -> Result<Module> {
        open_peers(engine, &self.serialized)
    }
}

/// Opens a module that [`Pair::compile`] wrote, here or in the process that this is a child of.
pub(crate) fn open_peers(engine: &Engine, serialized: &Path) -> Result<Module> {
    // SAFETY: the file is what `Module::serialize` of the same engine settings returned.
    Ok(unsafe { Module::deserialize_file(engine, serialized)? })
}

/// Waits until it is certain that no change of the files goes unnoticed: before that `Policy::Verify` remembers nothing.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(50));
}

/// A component in both runtimes' form, as files.
pub(crate) struct ComponentPair {
    artifact: PathBuf,
    serialized: PathBuf,
    _folder: tempfile::TempDir,
}

impl ComponentPair {
    /// Compiles `wasm` (binary or text) for the native CPU, for both.
    pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<ComponentPair> {
        let folder = tempfile::tempdir()?;
        let (artifact, serialized) = (folder.path().join("guest.so"), folder.path().join("guest.cwasm"));
        std::fs::write(&artifact, precast(wasm)?)?;
        std::fs::write(&serialized, Component::new(engine, wasm)?.serialize()?)?;
        settle();
        Ok(ComponentPair { artifact, serialized, _folder: folder })
    }

    pub(crate) fn open_ours(&self) -> Result<Artifact> {
        Ok(Artifact::open(&self.artifact, Policy::Verify)?)
    }

    pub(crate) fn open_peers(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: the file is what `Component::serialize` of the same engine settings returned.
        Ok(unsafe { Component::deserialize_file(engine, &self.serialized)? })
    }
}

/// Compiles for the native CPU with precast.
pub(crate) fn precast(wasm: &[u8]) -> Result<Vec<u8>> {
    precast_with(wasm, MemoryModel::Guarded)
}

/// The same with memories laid out as `memory_model` says.
pub(crate) fn precast_with(wasm: &[u8], memory_model: MemoryModel) -> Result<Vec<u8>> {
    let mut options = Options { memory_model, ..Options::default() };
    options.set_target(None, Some("native"))?;
    Ok(precast_compiler::compile(wasm, &options)?)
}

/// Guests of at least 200 KB, for compile time: those of the repository and, where they lie beside it, larger ones.
pub(crate) fn large() -> Result<Vec<PathBuf>> {
    let names = ["cpp-stl.p1", "c-zstd.p1", "zig-simd.p1", "c-sqlite.p1", "rs-kernels.p1", "go-bench.p1"];
    Ok(names.iter().filter_map(|name| find(&format!("{name}.wasm"))).collect())
}

/// The kernels `kern-*`, with arguments that take about a tenth of a second natively.
pub(crate) const KERNELS: &[(&str, i32)] = &[
    ("gemm", 20),
    ("nbody", 2_000_000),
    ("fannkuch", 10),
    ("sha256", 40),
    ("json", 40),
    ("qsort", 2),
    ("mandel", 1500),
    ("vm", 300_000),
];

/// Components that answer requests: language and name.
pub(crate) const HTTP: &[(&str, &str)] =
    &[("C", "c-http.p2"), ("Rust", "rs-http.p2"), ("JavaScript", "js-http.p2"), ("Python", "py-http.p2")];

/// A guest's file in the repository, or beside it.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let folders = [repository.join("tests/guests/wasm"), repository.join("../shared/guests/wasm")];
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        println!("(left out: {name}, which is neither in tests/guests/wasm nor in ../shared/guests/wasm)");
    }
    found
}
