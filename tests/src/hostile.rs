//! Input that somebody made or damaged: what must come of it is an error, or what would have come anyway.
//!
//! Tests call these with random input, fuzz targets with input that looks for new paths.

use std::path::Path;

use precast_compiler::{Error, Options, compile};
use precast_loader::{Artifact, Linker};

/// A module with something of everything, to be damaged.
pub const MODULE: &str = r#"(module
    (import "env" "f" (func $f (param i32 funcref) (result i64)))
    (import "env" "g" (global $g i32))
    (memory (export "memory") 2 9) (table (export "table") 4 8 funcref)
    (global (export "counter") (mut i64) (i64.const 5)) (global v128 (v128.const i64x2 1 2))
    (elem (i32.const 1) $f $run) (elem funcref (ref.func $run) (ref.null func))
    (data (i32.const 100) "data") (data (global.get $g) "more") (data "passive")
    (func $run (export "run") (param i32) (result i32) (local f64)
        (memory.init 2 (i32.const 0) (i32.const 0) (i32.const 3))
        (block (result i32) (br_if 0 (i32.const 1) (local.get 0)) (drop) (i32.load offset=8 (local.get 0))
            (call_indirect (param i32) (result i32) (i32.const 2)))
        (i32.trunc_f64_s (f64.sqrt (local.get 1))) i32.add))"#;

/// Bytes at an artifact's start that [`damage_tables`] damages: the ELF headers.
pub const HEADERS: usize = 0x400;
/// Bytes from the start of its tables that [`damage_tables`] damages: up to the name index of [`MODULE`].
pub const TABLES: usize = 0x1000;

/// Compiles `bytes`, whatever they are, for this machine. Returns whether they are a module.
///
/// # Panics
/// If an error is a defect of the compiler.
pub fn compiles(bytes: &[u8]) -> bool {
    match compile(bytes, &Options { verify: true, ..Options::default() }) {
        Ok(_) => true,
        Err(Error::Internal { context, message }) => panic!("{context}: {message}"),
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error without a text");
            false
        }
    }
}

/// The artifact with bits flipped in what describes it. Each flip is a place (in the headers and tables, one after the
/// other) and the number of a bit.
///
/// # Panics
/// If `artifact` is none.
pub fn damage_tables(artifact: &[u8], flips: impl IntoIterator<Item = (usize, u8)>) -> Vec<u8> {
    let tables = artifact.windows(8).position(|window| window == b"PRECAST\0").expect("an artifact has tables");
    let len = TABLES.min(artifact.len() - tables);
    let mut damaged = artifact.to_vec();
    for (place, bit) in flips {
        let at = place % (HEADERS + len);
        let at = if at < HEADERS { at } else { tables + at - HEADERS };
        damaged[at] ^= 1 << (bit % 8);
    }
    damaged
}

/// Opens `bytes` as if they were trusted, describes and binds them; nothing of them is run. Returns whether they can be
/// opened.
///
/// # Panics
/// If the file at `path`, which is replaced, cannot be written.
pub fn opens(path: &Path, bytes: &[u8]) -> bool {
    std::fs::write(path, bytes).expect("the file can be written");
    // SAFETY: nothing of the artifact is run: it is opened, described and bound.
    match unsafe { Artifact::open_trusted(path) } {
        Ok(artifact) => {
            artifact.imports().for_each(drop);
            artifact.exports().for_each(drop);
            drop(Linker::<()>::new().trap_missing_functions().bind(&artifact));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error without a text");
            false
        }
    }
}
