//! Hashes the sources that decide what the compiler emits, as part of every cache key: an entry that another state of
//! the compiler made is never taken for its own, also between two builds of the same version.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const SOURCES: [&str; 5] =
    ["compiler/src", "runtime-support/abi/src", "runtime-support/builtins/src", "targets/src", "Cargo.lock"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    let mut hasher = DefaultHasher::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed=../{source}");
        hash(&root.join(source), &mut hasher)?;
    }
    println!("cargo::rustc-env=PRECAST_SOURCE_HASH={:016x}", hasher.finish());
    Ok(())
}

/// Hashes a file, or what is in a folder in the order of names.
fn hash(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    if !path.is_dir() {
        fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        entry.file_name().hash(hasher);
        hash(&entry, hasher)?;
    }
    Ok(())
}
