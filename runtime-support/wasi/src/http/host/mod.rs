//! `wasi:http` as guests call it: each function finds what its handles mean and asks that.

mod body;
mod fields;
mod outgoing;
mod request;
mod response;

use std::sync::Arc;

use precast_loader::HostError;
use precast_loader::component::{Linker, Resource};
use rustls::{ClientConfig, RootCertStore};

use super::bindings::wasi::http::{outgoing_handler, types};
use super::client::{default_tls, tls_with_roots};
use super::{ErrorCode, Failure};
use crate::preview2::Ctx;
use crate::preview2::io::Error;

/// How requests of guests are made.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    tls: Option<Arc<ClientConfig>>,
}

impl Settings {
    /// Trusts these certificates instead of those that browsers trust.
    #[must_use]
    pub fn roots(self, roots: RootCertStore) -> Self {
        Self { tls: Some(Arc::new(tls_with_roots(roots))) }
    }

    fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone().unwrap_or_else(default_tls)
    }
}

/// Adds `wasi:http/types` and `wasi:http/outgoing-handler` to a linker; `get` finds the context in the data of a store.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut Ctx + Send + Sync + Copy + 'static,
) {
    types::add_to_linker(linker, get);
    outgoing_handler::add_to_linker(linker, get);
}

impl types::Host for Ctx {
    fn http_error_code(&mut self, err: Resource<Error>) -> Result<Option<ErrorCode>, HostError> {
        Ok(self.table.get(&err)?.downcast_ref::<Failure>().map(|failure| failure.0.clone()))
    }
}
