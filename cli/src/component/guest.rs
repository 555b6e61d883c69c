//! A component with WASI, from binding to what ended it: what `run` and `bench` have in common.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use precast_loader::Artifact;
use precast_loader::component::{Bound, Func, Instance, Linker, Val};
use precast_wasi::preview2::Ctx;
use precast_wasi::{http, preview2};
use tokio::runtime::{Builder, Runtime};

use super::call::Call;
use crate::error::Error;
use crate::guest::Stop;

/// A linker with WASI 0.2, over stores that hold its context.
pub(crate) fn wasi_linker() -> Linker<Ctx> {
    let mut linker = Linker::new();
    preview2::add_to_linker(&mut linker, |context: &mut Ctx| context);
    http::add_to_linker(&mut linker, |context: &mut Ctx| context);
    linker
}

/// Binds the artifact's imports.
pub(crate) fn bind(linker: &Linker<Ctx>, artifact: &Artifact) -> Result<Bound<Ctx>, Error> {
    linker.bind(artifact).map_err(|error| Error::context("cannot bind the imports", error))
}

/// The function that `call` calls.
pub(crate) fn function(instance: &Instance<Ctx>, call: &Call) -> Result<Func, Error> {
    let found = instance.func_dynamic(&call.interface, &call.name);
    found.map_err(|error| Error::context(format_args!("cannot call `{}`", call.name), error))
}

/// Calls an export of `instance`.
pub(crate) async fn call(instance: &mut Instance<Ctx>, call: &Call) -> Result<Option<Val>, Stop> {
    let func = function(instance, call)?;
    Ok(func.call_async(instance, &call.params).await?)
}

/// What guests wait with.
pub(crate) struct Driver(Runtime);

impl Driver {
    /// One thread, which runs the guest and waits for it.
    pub(crate) fn new() -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map(Driver).map_err(|error| Error::context("cannot wait for guests", error))
    }

    /// Completes `future`. One that never waits costs no more than what it does.
    pub(crate) fn complete<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let first = {
            let _entered = self.0.enter();
            future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        match first {
            Poll::Ready(output) => output,
            // Polled again at once, so that nothing it waits for is missed.
            Poll::Pending => self.0.block_on(future),
        }
    }
}
