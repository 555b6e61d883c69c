//! Requests that a guest makes: name lookup, connection, TLS, and one exchange on it.
//!
//! What comes in: a [`Request`], whose body may still be being written. What goes out: status, headers and a body that
//! is read as the guest reads it, or an [`ErrorCode`]. Whether the guest may reach the address is decided before. A
//! connection serves one request, so that no guest sees anything of another's.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::incoming::{BodyReader, Connection, IncomingBody, ReadTimeouts, connection_error, later};
use super::pipe::{Message, PipeBody};
use super::{DnsErrorPayload, ErrorCode, TlsAlertReceivedPayload};

/// How long a guest waits for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeouts {
    pub(crate) connect: Option<Duration>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) between_bytes: Option<Duration>,
}

/// A request that may be sent.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the guest wrote it: the field `host`.
    pub(crate) authority: HeaderValue,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: PipeBody,
    pub(crate) timeouts: Timeouts,
}

/// What came back.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: BodyReader,
}

/// TLS as browsers have it: the certificates that Mozilla trusts.
pub(crate) fn default_tls() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Arc::new(tls_with_roots(roots))
    });
    config.clone()
}

/// TLS that trusts `roots`.
pub(crate) fn tls_with_roots(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Sends the request and waits for the head of its response.
pub(crate) async fn send(request: Request) -> Result<Response, ErrorCode> {
    let timeout = request.timeouts.connect;
    let connected = within(timeout, ErrorCode::ConnectionTimeout, connect(&request.host, request.port)).await?;
    match &request.tls {
        None => exchange(connected, request).await,
        Some(config) => {
            let name = ServerName::try_from(request.host.clone()).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
            let handshake = tokio_rustls::TlsConnector::from(config.clone()).connect(name, connected);
            let secured = within(timeout, ErrorCode::ConnectionTimeout, async {
                handshake.await.map_err(|error| tls_error(&error))
            });
            exchange(secured.await?, request).await
        }
    }
}

async fn within<T>(
    timeout: Option<Duration>,
    late: ErrorCode,
    work: impl Future<Output = Result<T, ErrorCode>>,
) -> Result<T, ErrorCode> {
    match timeout {
        None => work.await,
        Some(timeout) => tokio::time::timeout_at(later(timeout), work).await.unwrap_or(Err(late)),
    }
}

/// Connects to the first address of the host that answers.
async fn connect(host: &str, port: u16) -> Result<TcpStream, ErrorCode> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| ErrorCode::DnsError(DnsErrorPayload { rcode: Some(error.to_string()), info_code: None }))?;
    let mut last = ErrorCode::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // What is written is written whole; a socket without the option works as well.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = connect_error(&error),
        }
    }
    Err(last)
}

fn connect_error(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
        io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorCode::DestinationIpUnroutable,
        io::ErrorKind::AddrNotAvailable => ErrorCode::DestinationUnavailable,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => ErrorCode::ConnectionTerminated,
        _ => ErrorCode::InternalError(Some(error.to_string())),
    }
}

fn tls_error(error: &io::Error) -> ErrorCode {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            ErrorCode::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        }),
        Some(_) => ErrorCode::TlsProtocolError,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => ErrorCode::ConnectionTerminated,
            _ => ErrorCode::TlsProtocolError,
        },
    }
}

/// Sends the request on a connection of its own.
async fn exchange<S>(stream: S, request: Request) -> Result<Response, ErrorCode>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Request { method, authority, path, headers, body, timeouts, .. } = request;
    let failed = |error: hyper::Error| connection_error(&error, Message::Response);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It moves both bodies, until the response's is at its end or nobody wants it any more.
    let driver = Connection(tokio::spawn(async move { drop(connection.await) }).abort_handle());

    let mut message = http::Request::new(body);
    *message.method_mut() = method;
    *message.uri_mut() = Uri::from(path);
    *message.headers_mut() = headers;
    message.headers_mut().insert(header::HOST, authority);
    let sent = async { sender.send_request(message).await.map_err(|error| request_error(&error)) };
    let response = within(timeouts.first_byte, ErrorCode::HttpResponseTimeout, sent).await?;
    let (head, body) = response.into_parts();
    let timeouts = ReadTimeouts { first: timeouts.first_byte, between: timeouts.between_bytes };
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body: BodyReader::of_connection(IncomingBody::from(body), Message::Response, timeouts, Some(driver)),
    })
}

/// Why no response came: the body of ours, if that is what failed.
fn request_error(error: &hyper::Error) -> ErrorCode {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(failure) = inner.downcast_ref::<super::Failure>() {
            return failure.0.clone();
        }
        cause = inner.source();
    }
    connection_error(error, Message::Response)
}
