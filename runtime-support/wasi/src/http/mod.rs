//! `wasi:http`: requests that come in, requests that go out, and their bodies.
mod code;
mod fields;
mod incoming;
mod pipe;
pub use code::{ErrorCode, DnsErrorPayload, Failure};
pub use incoming::IncomingBody;
