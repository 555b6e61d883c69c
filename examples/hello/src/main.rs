//! The smallest host of precast: opens an artifact and runs it. It depends on nothing but the loader.
//!
//! ```text
//! cargo build --profile smallest -p hello-precast
//! ```
//!
//! Most of it is then the standard library, and most of that prints backtraces of panics. A nightly toolchain that has the
//! library's sources (`rustup component add rust-src`) builds it without:
//!
//! ```text
//! cargo +nightly build --profile smallest -p hello-precast --target x86_64-unknown-linux-gnu \
//!     -Z build-std=std,panic_abort -Z build-std-features=
//! ```

use std::io::Write;

use precast_loader::{Artifact, Caller, HostError, Linker, Policy};

fn main() -> Result<(), HostError> {
    let path = std::env::args().nth(1).ok_or("usage: hello-precast ARTIFACT")?;
    let mut linker = Linker::<()>::new();
    linker.func("host", "print", |caller: &mut Caller<'_, ()>, at: u32, len: u32| -> Result<(), HostError> {
        let memory = caller.memory().ok_or("no memory")?;
        let bytes = memory.read_vec(&*caller, at.into(), len.into())?;
        Ok(std::io::stdout().write_all(&bytes)?)
    });
    let mut instance = linker.bind(&Artifact::open(path, Policy::Verify)?)?.instantiate(())?;
    instance.func::<(), ()>("run")?.call(&mut instance, ())?;
    Ok(())
}
