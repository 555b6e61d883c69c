//! The same host functions for both runtimes: the part of WASI 0.1 that the kernels of `rs-kernels` use.
//!
//! Written once over [`Guest`], so that what is compared is the runtimes and not their WASI.

use std::time::Duration;

use crate::child::cpu_time;
use crate::{Error, Result};

/// Guest memory, whoever runs the guest.
pub(crate) trait Guest {
    fn read(&self, at: u32, bytes: &mut [u8]) -> Result<()>;
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()>;
}

fn read_u32(guest: &impl Guest, at: u32) -> Result<u32> {
    let mut bytes = [0; 4];
    guest.read(at, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// What the guest was given and what it said.
pub(crate) struct Host {
    pub args: Vec<String>,
    pub stderr: String,
    start: Duration,
}

impl Host {
    pub(crate) fn new(args: &[&str]) -> Self {
        Host { args: args.iter().map(|arg| (*arg).to_string()).collect(), stderr: String::new(), start: cpu_time() }
    }

    pub(crate) fn args_sizes_get(&self, guest: &mut impl Guest, count: u32, size: u32) -> Result<i32> {
        guest.write(count, &(self.args.len() as u32).to_le_bytes())?;
        let bytes: usize = self.args.iter().map(|arg| arg.len() + 1).sum();
        guest.write(size, &(bytes as u32).to_le_bytes())?;
        Ok(0)
    }

    pub(crate) fn args_get(&self, guest: &mut impl Guest, mut pointers: u32, mut buffer: u32) -> Result<i32> {
        for arg in &self.args {
            guest.write(pointers, &buffer.to_le_bytes())?;
            guest.write(buffer, arg.as_bytes())?;
            guest.write(buffer + arg.len() as u32, &[0])?;
            (pointers, buffer) = (pointers + 4, buffer + arg.len() as u32 + 1);
        }
        Ok(0)
    }

    pub(crate) fn clock_time_get(&self, guest: &mut impl Guest, result: u32) -> Result<i32> {
        guest.write(result, &((cpu_time() - self.start).as_nanos() as u64).to_le_bytes())?;
        Ok(0)
    }

    pub(crate) fn random_get(&self, guest: &mut impl Guest, buffer: u32, len: u32) -> Result<i32> {
        guest.write(buffer, &vec![7; len as usize])?;
        Ok(0)
    }

    pub(crate) fn fd_write(
        &mut self,
        guest: &mut impl Guest,
        fd: i32,
        vectors: u32,
        count: u32,
        result: u32,
    ) -> Result<i32> {
        let mut written = 0;
        for vector in 0..count {
            let (at, len) = (read_u32(guest, vectors + 8 * vector)?, read_u32(guest, vectors + 8 * vector + 4)?);
            let mut bytes = vec![0; len as usize];
            guest.read(at, &mut bytes)?;
            if fd == 2 {
                self.stderr.push_str(&String::from_utf8_lossy(&bytes));
            }
            written += len;
        }
        guest.write(result, &written.to_le_bytes())?;
        Ok(0)
    }
}

/// For precast.
pub(crate) mod ours {
    use precast_loader::{Caller, Linker, Memory};

    use super::{Error, Guest, Host, Result};

    struct View<'a, 'b>(&'a mut Caller<'b, Host>, Memory);

    impl Guest for View<'_, '_> {
        fn read(&self, at: u32, bytes: &mut [u8]) -> Result<()> {
            Ok(self.1.read(&*self.0, at.into(), bytes)?)
        }
        fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
            Ok(self.1.write(&mut *self.0, at.into(), bytes)?)
        }
    }

    /// Lends the host out of the caller, so that it and the guest's memory can be used together.
    fn with<R>(
        caller: &mut Caller<'_, Host>,
        call: impl FnOnce(&mut Host, &mut View<'_, '_>) -> Result<R>,
    ) -> Result<R> {
        let memory = caller.memory().ok_or("no memory")?;
        let mut host = std::mem::replace(caller.data_mut(), Host::new(&[]));
        let result = call(&mut host, &mut View(caller, memory));
        *caller.data_mut() = host;
        result
    }

    pub(crate) fn linker() -> Linker<Host> {
        const WASI: &str = "wasi_snapshot_preview1";
        type C<'a, 'b> = &'a mut Caller<'b, Host>;
        let mut linker = Linker::new();
        linker.func(WASI, "args_sizes_get", |c: C<'_, '_>, n: u32, size: u32| {
            with(c, |h, g| h.args_sizes_get(g, n, size))
        });
        linker.func(WASI, "args_get", |c: C<'_, '_>, argv: u32, buf: u32| with(c, |h, g| h.args_get(g, argv, buf)));
        linker.func(WASI, "environ_sizes_get", |c: C<'_, '_>, n: u32, size: u32| {
            with(c, |_, g| Host::new(&[]).args_sizes_get(g, n, size))
        });
        linker.func(WASI, "environ_get", |_: C<'_, '_>, _: u32, _: u32| 0i32);
        linker.func(WASI, "clock_time_get", |c: C<'_, '_>, _: i32, _: i64, out: u32| {
            with(c, |h, g| h.clock_time_get(g, out))
        });
        linker.func(WASI, "random_get", |c: C<'_, '_>, buf: u32, len: u32| with(c, |h, g| h.random_get(g, buf, len)));
        linker.func(WASI, "fd_write", |c: C<'_, '_>, fd: i32, iovs: u32, n: u32, out: u32| {
            with(c, |h, g| h.fd_write(g, fd, iovs, n, out))
        });
        linker.func(WASI, "proc_exit", |_: C<'_, '_>, code: i32| Err::<(), Error>(format!("exit {code}").into()));
        linker
    }
}

/// For wasmtime.
pub(crate) mod peers {
    use wasmtime::{AsContext, AsContextMut, Caller, Engine, Extern, Linker, Memory};

    use super::{Guest, Host, Result};

    struct View<'a, 'b>(&'a mut Caller<'b, Host>, Memory);

    impl Guest for View<'_, '_> {
        fn read(&self, at: u32, bytes: &mut [u8]) -> Result<()> {
            Ok(self.1.read(self.0.as_context(), at as usize, bytes)?)
        }
        fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
            Ok(self.1.write(self.0.as_context_mut(), at as usize, bytes)?)
        }
    }

    fn with<R>(
        mut caller: Caller<'_, Host>,
        call: impl FnOnce(&mut Host, &mut View<'_, '_>) -> Result<R>,
    ) -> wasmtime::Result<R> {
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else { wasmtime::bail!("no memory") };
        let mut host = std::mem::replace(caller.data_mut(), Host::new(&[]));
        let result = call(&mut host, &mut View(&mut caller, memory));
        *caller.data_mut() = host;
        result.map_err(|error| wasmtime::Error::msg(error.to_string()))
    }

    pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
        const WASI: &str = "wasi_snapshot_preview1";
        type C<'a> = Caller<'a, Host>;
        let mut linker = Linker::new(engine);
        linker.func_wrap(WASI, "args_sizes_get", |c: C<'_>, n: u32, size: u32| {
            with(c, |h, g| h.args_sizes_get(g, n, size))
        })?;
        linker.func_wrap(WASI, "args_get", |c: C<'_>, argv: u32, buf: u32| with(c, |h, g| h.args_get(g, argv, buf)))?;
        linker.func_wrap(WASI, "environ_sizes_get", |c: C<'_>, n: u32, size: u32| {
            with(c, |_, g| Host::new(&[]).args_sizes_get(g, n, size))
        })?;
        linker.func_wrap(WASI, "environ_get", |_: C<'_>, _: u32, _: u32| 0i32)?;
        linker.func_wrap(WASI, "clock_time_get", |c: C<'_>, _: i32, _: i64, out: u32| {
            with(c, |h, g| h.clock_time_get(g, out))
        })?;
        linker
            .func_wrap(WASI, "random_get", |c: C<'_>, buf: u32, len: u32| with(c, |h, g| h.random_get(g, buf, len)))?;
        linker.func_wrap(WASI, "fd_write", |c: C<'_>, fd: i32, iovs: u32, n: u32, out: u32| {
            with(c, |h, g| h.fd_write(g, fd, iovs, n, out))
        })?;
        linker.func_wrap(WASI, "proc_exit", |_: C<'_>, code: i32| -> wasmtime::Result<()> {
            wasmtime::bail!("exit {code}")
        })?;
        Ok(linker)
    }
}
