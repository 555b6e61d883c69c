//! `wasi:http`: requests that come in, requests that go out, and their bodies.
mod client;
mod code;
mod fields;
mod incoming;
mod pipe;
pub use code::{DnsErrorPayload, ErrorCode, Failure, TlsAlertReceivedPayload};
pub use incoming::IncomingBody;
