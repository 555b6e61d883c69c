//! The functions as imports of `wasi_snapshot_preview1`: guest values in, error numbers out.

use precast_loader::{Caller, HostError, Linker, Memory};

use super::errno::Errno;
use super::memory::{Fault, GuestMemory};
use super::proc::Raised;
use super::{args_env, clock, fd, io, path, poll, proc, random, readdir, sock};
use crate::WasiCtx;

/// The module that guests import the functions from.
const MODULE: &str = "wasi_snapshot_preview1";

/// A guest that calls a function of WASI exports no memory named `memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest exports no memory named `memory`, which WASI 0.1 needs")]
pub struct NoMemory;

/// The guest's memory during a host call.
struct Linked<'call, 'caller, T> {
    caller: &'call mut Caller<'caller, T>,
    memory: Memory,
}

impl<T> GuestMemory for Linked<'_, '_, T> {
    fn size(&self) -> u64 {
        self.memory.size_bytes(self.caller)
    }

    fn read(&self, address: u32, into: &mut [u8]) -> Result<(), Fault> {
        self.memory.read(self.caller, u64::from(address), into).map_err(|_| Fault)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.memory.write(self.caller, u64::from(address), bytes).map_err(|_| Fault)
    }
}

/// Calls a function with the guest's context and memory, and makes its result the guest's.
///
/// The context is lent out of the store for the call, since the memory is reached through the same store.
fn call<T>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
    function: impl FnOnce(&mut WasiCtx, &mut dyn GuestMemory) -> Result<(), Errno>,
) -> Result<i32, HostError> {
    let memory = caller.memory().ok_or(NoMemory)?;
    let mut ctx = std::mem::replace(get(caller.data_mut()), WasiCtx::stand_in());
    let result = function(&mut ctx, &mut Linked { caller, memory });
    *get(caller.data_mut()) = ctx;
    Ok(result.map_or_else(|errno| i32::from(errno as u16), |()| 0))
}

/// Adds functions to a linker: `family::name(parameters)`, each parameter with its type in the ABI.
macro_rules! functions {
    ($linker:ident, $get:ident: $($family:ident :: $name:ident($($parameter:ident: $ty:ty),*);)*) => {
        $($linker.func(
            MODULE,
            stringify!($name),
            move |caller: &mut Caller<'_, T>, $($parameter: $ty),*| -> Result<i32, HostError> {
                call(caller, $get, |ctx, memory| $family::$name(ctx, memory, $($parameter.cast_unsigned()),*))
            },
        );)*
    };
}

/// Adds all of WASI 0.1 to a linker. `get` finds the context in the store's data.
///
/// A guest that ends itself makes its call fail with [`Exit`](crate::Exit).
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
) {
    functions! { linker, get:
        args_env::args_get(argv: i32, argv_buf: i32);
        args_env::args_sizes_get(argc: i32, argv_buf_size: i32);
        args_env::environ_get(environ: i32, environ_buf: i32);
        args_env::environ_sizes_get(environc: i32, environ_buf_size: i32);
        clock::clock_res_get(id: i32, resolution: i32);
        clock::clock_time_get(id: i32, precision: i64, time: i32);
        fd::fd_advise(fd: i32, offset: i64, len: i64, advice: i32);
        fd::fd_allocate(fd: i32, offset: i64, len: i64);
        fd::fd_close(fd: i32);
        fd::fd_datasync(fd: i32);
        fd::fd_fdstat_get(fd: i32, stat: i32);
        fd::fd_fdstat_set_flags(fd: i32, flags: i32);
        fd::fd_fdstat_set_rights(fd: i32, fs_rights_base: i64, fs_rights_inheriting: i64);
        fd::fd_filestat_get(fd: i32, stat: i32);
        fd::fd_filestat_set_size(fd: i32, size: i64);
        fd::fd_filestat_set_times(fd: i32, atim: i64, mtim: i64, fst_flags: i32);
        io::fd_pread(fd: i32, iovs: i32, iovs_len: i32, offset: i64, nread: i32);
        fd::fd_prestat_get(fd: i32, prestat: i32);
        fd::fd_prestat_dir_name(fd: i32, path: i32, path_len: i32);
        io::fd_pwrite(fd: i32, iovs: i32, iovs_len: i32, offset: i64, nwritten: i32);
        io::fd_read(fd: i32, iovs: i32, iovs_len: i32, nread: i32);
        readdir::fd_readdir(fd: i32, buf: i32, buf_len: i32, cookie: i64, bufused: i32);
        fd::fd_renumber(fd: i32, to: i32);
        fd::fd_seek(fd: i32, offset: i64, whence: i32, newoffset: i32);
        fd::fd_sync(fd: i32);
        fd::fd_tell(fd: i32, offset: i32);
        io::fd_write(fd: i32, iovs: i32, iovs_len: i32, nwritten: i32);
        path::path_create_directory(fd: i32, path: i32, path_len: i32);
        path::path_filestat_get(fd: i32, flags: i32, path: i32, path_len: i32, stat: i32);
        path::path_filestat_set_times(
            fd: i32, flags: i32, path: i32, path_len: i32, atim: i64, mtim: i64, fst_flags: i32
        );
        path::path_link(
            old_fd: i32, old_flags: i32, old_path: i32, old_path_len: i32, new_fd: i32, new_path: i32, new_path_len: i32
        );
        path::path_open(
            fd: i32, dirflags: i32, path: i32, path_len: i32, oflags: i32, fs_rights_base: i64,
            fs_rights_inheriting: i64, fdflags: i32, opened: i32
        );
        path::path_readlink(fd: i32, path: i32, path_len: i32, buf: i32, buf_len: i32, bufused: i32);
        path::path_remove_directory(fd: i32, path: i32, path_len: i32);
        path::path_rename(fd: i32, old_path: i32, old_path_len: i32, new_fd: i32, new_path: i32, new_path_len: i32);
        path::path_symlink(old_path: i32, old_path_len: i32, fd: i32, new_path: i32, new_path_len: i32);
        path::path_unlink_file(fd: i32, path: i32, path_len: i32);
        poll::poll_oneoff(subscriptions: i32, events: i32, nsubscriptions: i32, nevents: i32);
        proc::sched_yield();
        random::random_get(buf: i32, buf_len: i32);
        sock::sock_accept(fd: i32, flags: i32, accepted: i32);
        sock::sock_recv(fd: i32, ri_data: i32, ri_data_len: i32, ri_flags: i32, ro_datalen: i32, ro_flags: i32);
        sock::sock_send(fd: i32, si_data: i32, si_data_len: i32, si_flags: i32, so_datalen: i32);
        sock::sock_shutdown(fd: i32, how: i32);
    }
    linker.func(MODULE, "proc_exit", |_: &mut Caller<'_, T>, status: i32| -> Result<(), HostError> {
        Err(proc::proc_exit(status.cast_unsigned()).into())
    });
    linker.func(MODULE, "proc_raise", |_: &mut Caller<'_, T>, signal: i32| -> Result<i32, HostError> {
        match proc::proc_raise(signal.cast_unsigned()) {
            Raised::Exit(exit) => Err(exit.into()),
            Raised::Errno(result) => Ok(result.map_or_else(|errno| i32::from(errno as u16), |()| 0)),
        }
    });
}
