//! Error codes of `wasi:http/types`.

/// Placeholder until the bindings are merged.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum ErrorCode {
    DnsTimeout,
    DnsError(DnsErrorPayload),
    DestinationNotFound,
    DestinationUnavailable,
    ConnectionRefused,
    DestinationIpUnroutable,
    TlsAlertReceived(TlsAlertReceivedPayload),
    ConnectionTerminated,
    ConnectionTimeout,
    ConnectionReadTimeout,
    ConnectionWriteTimeout,
    TlsProtocolError,
    TlsCertificateError,
    HttpRequestDenied,
    HttpRequestBodySize(Option<u64>),
    HttpRequestMethodInvalid,
    HttpRequestUriInvalid,
    HttpResponseIncomplete,
    HttpResponseBodySize(Option<u64>),
    HttpResponseTimeout,
    HttpProtocolError,
    InternalError(Option<String>),
}
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct DnsErrorPayload {
    pub rcode: Option<String>,
    pub info_code: Option<u16>,
}

/// An [`ErrorCode`] as an error.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0:?}")]
pub struct Failure(pub ErrorCode);
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TlsAlertReceivedPayload {
    pub alert_id: Option<u8>,
    pub alert_message: Option<String>,
}
