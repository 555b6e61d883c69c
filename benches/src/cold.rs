//! Process start to process end of a hello world, in the smallest embedding of each runtime (`examples/hello` and
//! `src/bin/`): built as this program is, and, where that has been done, as small as it gets, with
//!
//! ```text
//! RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile smallest --target x86_64-unknown-linux-gnu \
//!     -p hello-precast -p precast-benches --bin hello-precast --bin hello-wasmtime
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::guests::Pair;
use crate::report::{Report, milliseconds};
use crate::{Result, peer, server};

const GUEST: &str = r#"(module
    (import "host" "print" (func $print (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "hello, world\n")
    (func (export "run") (call $print (i32.const 8) (i32.const 13))))"#;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let pair = Pair::compile(&peer::engine()?, GUEST.as_bytes())?;
    let mut compare = |name: &str, ours: &Path, peers: &Path| {
        report.compare(
            name,
            "ms",
            || (0..10).try_fold(0.0, |sum, _| Ok::<_, crate::Error>(sum + time(ours, &pair.artifact)? / 10.0)),
            || (0..10).try_fold(0.0, |sum, _| Ok::<_, crate::Error>(sum + time(peers, &pair.serialized)? / 10.0)),
        )
    };
    let (ours, peers) = (server::product("hello-precast")?, sibling("hello-wasmtime")?);
    compare("process cold start of hello", &ours, &peers)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/x86_64-unknown-linux-gnu/smallest");
    let (ours, peers) = (folder.join("hello-precast"), folder.join("hello-wasmtime"));
    if ours.exists() && peers.exists() {
        compare("the same, static and small", &ours, &peers)?;
    } else {
        println!("(left out: hello worlds built with the profile `smallest`: see benches/src/cold.rs)");
    }
    Ok(())
}

/// The program of that name, built with this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        return Err(format!(
            "{} is missing: build all of the package with `cargo build --release -p precast-benches`",
            path.display()
        )
        .into());
    }
    Ok(path)
}

fn time(program: &Path, guest: &Path) -> Result<f64> {
    let start = Instant::now();
    let output = Command::new(program).arg(guest).output()?;
    let time = milliseconds(start.elapsed());
    if output.stdout != b"hello, world\n" {
        return Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(time)
}
