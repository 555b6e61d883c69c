//! `wasi:http`: requests that come in, requests that go out, and their bodies.
//!
//! What comes in: hyper's requests, with the instance that is to answer them, and the grants for requests that a guest
//! makes. What goes out: responses whose bodies are written while the guest runs. Bodies stream both ways and hold up
//! whoever is faster: nothing but `pipe::CAPACITY` bytes lies between guest and connection.
//!
//! ```text
//! proxy     one request: a fresh instance, its answer, its body, its end    (server side)
//! warm      one request to an instance that is to be kept
//! client    one request of a guest's: lookup, connection, TLS, exchange
//! host/     the functions of wasi:http/types and wasi:http/outgoing-handler
//! message   what lies behind the handles        fields    header and trailer fields
//! pipe      bodies that guests write            incoming  bodies that guests read
//! ```

pub(crate) mod bindings;
mod client;
pub(crate) mod fields;
mod host;
mod incoming;
pub(crate) mod message;
mod pipe;
mod proxy;
mod warm;

pub use bindings::wasi::http::types::{DnsErrorPayload, ErrorCode, FieldSizePayload, TlsAlertReceivedPayload};
pub use host::{Settings, add_to_linker};
pub use incoming::IncomingBody;
pub use proxy::{Error, Exchange, GuestBody, Proxy};
pub use warm::answer;

/// An [`ErrorCode`] as an error.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0:?}")]
pub struct Failure(pub ErrorCode);

#[cfg(test)]
mod tests;
