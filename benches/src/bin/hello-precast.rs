//! The smallest host of precast: opens an artifact and runs it.

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
