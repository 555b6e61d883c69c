//! A server on loopback for requests of guests, in plain or over TLS.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// Made by `openssl req -x509` for `localhost`; trusted by nobody but these tests.
const CERTIFICATE: &[u8] = include_bytes!("localhost.cert.der");
const KEY: &[u8] = include_bytes!("localhost.key.der");

/// Who trusts the server.
pub(super) fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CERTIFICATE.into()).unwrap();
    roots
}

/// Starts a server; its port.
pub(super) async fn start(tls: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                match tls {
                    false => serve(stream).await,
                    true => {
                        if let Ok(stream) = acceptor().accept(stream).await {
                            serve(stream).await;
                        }
                    }
                }
            });
        }
    });
    port
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.into()], rustls::pki_types::PrivatePkcs8KeyDer::from(KEY).into())
        .unwrap();
    Arc::new(config).into()
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    // Clients that go away are what some tests are about.
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

/// `/echo`: method, host and body. `/trailers`: a body with trailers. `/slow`: nothing, for a long time.
async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Response::new(Full::default().boxed())
        }
        "/trailers" => {
            let trailers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("sum"))]);
            let frames = [Ok(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(trailers))];
            let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
            Response::builder().header(header::TRAILER, "etag").body(body).unwrap()
        }
        _ => {
            let (method, host) = (request.method().clone(), request.headers().get(header::HOST).cloned());
            let length = request.headers().get(header::CONTENT_LENGTH).cloned();
            let mut response = match request.into_body().collect().await {
                Ok(body) => {
                    let text = format!("{method} {path} {}", String::from_utf8_lossy(&body.to_bytes()));
                    Response::new(Full::from(text).boxed())
                }
                Err(_) => Response::new(Full::from("broken").boxed()),
            };
            let seen = |value: Option<HeaderValue>| value.unwrap_or(HeaderValue::from_static("none"));
            response.headers_mut().insert("x-host", seen(host));
            response.headers_mut().insert("x-length", seen(length));
            response.headers_mut().insert("x-list", HeaderValue::from_static("1"));
            response.headers_mut().append("x-list", HeaderValue::from_static("2"));
            response
        }
    })
}
