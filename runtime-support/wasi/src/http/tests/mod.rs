//! Requests that a guest makes, without a guest: its calls are made by the tests.

mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use precast_loader::component::Resource;

use super::bindings::wasi::http::outgoing_handler::Host as _;
use super::bindings::wasi::http::types::{
    Host as _, HostFields, HostFutureIncomingResponse, HostFutureTrailers, HostIncomingBody, HostIncomingResponse,
    HostOutgoingBody, HostOutgoingRequest, HostRequestOptions, Method, Scheme,
};
use super::message::{FutureIncomingResponse, IncomingResponse, Outgoing, OutgoingRequest};
use super::{ErrorCode, Settings};
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::io::streams::{HostInputStream, HostOutputStream, StreamError};
use crate::preview2::io::Pollable;
use crate::{Grants, WasiCtx};

/// A guest with grants, and what the user has been told.
fn guest(grants: &str, settings: Settings) -> (Ctx, Arc<Mutex<Vec<String>>>) {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = told.clone();
    let grants = Grants::parse(grants).unwrap().into_iter().collect();
    let template = WasiCtx::builder()
        .grants(grants)
        .http(settings)
        .on_denial(move |denial| sink.lock().unwrap().push(denial.to_string()))
        .template()
        .unwrap();
    (template.context(), told)
}

fn lent<X>(resource: &Resource<X>) -> Resource<X> {
    Resource::new_borrow(resource.rep())
}

/// A request to a server of the tests.
fn request(ctx: &mut Ctx, scheme: Scheme, authority: &str, path: &str) -> Resource<OutgoingRequest> {
    let fields = ctx.new_fields();
    let request = HostOutgoingRequest::new(ctx, fields).unwrap();
    ctx.set_scheme(lent(&request), Some(scheme)).unwrap().unwrap();
    ctx.set_authority(lent(&request), Some(authority.into())).unwrap().unwrap();
    ctx.set_path_with_query(lent(&request), Some(path.into())).unwrap().unwrap();
    request
}

impl Ctx {
    fn new_fields(&mut self) -> Resource<super::fields::Fields> {
        HostFields::new(self).unwrap()
    }
}

/// Waits as guests do, and takes the response.
async fn receive(
    ctx: &mut Ctx,
    future: &Resource<FutureIncomingResponse>,
) -> Result<Resource<IncomingResponse>, ErrorCode> {
    let pollable = HostFutureIncomingResponse::subscribe(ctx, lent(future)).unwrap();
    std::future::poll_fn(|cx| Pollable::poll(&mut ctx.table, &pollable, cx).unwrap()).await;
    let taken = HostFutureIncomingResponse::get(ctx, lent(future));
    taken.unwrap().unwrap().unwrap()
}

async fn read_all(ctx: &mut Ctx, response: &Resource<IncomingResponse>) -> (String, Option<Vec<(String, Vec<u8>)>>) {
    let body = ctx.consume(lent(response)).unwrap().unwrap();
    assert!(ctx.consume(lent(response)).unwrap().is_err());
    let stream = ctx.stream(lent(&body)).unwrap().unwrap();
    assert!(ctx.stream(lent(&body)).unwrap().is_err());
    let mut text = Vec::new();
    loop {
        match ctx.blocking_read(lent(&stream), 2).await.unwrap() {
            Ok(bytes) => text.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    HostInputStream::drop(ctx, stream).unwrap();
    let future = HostIncomingBody::finish(ctx, body).unwrap();
    let trailers = HostFutureTrailers::get(ctx, lent(&future)).unwrap();
    let trailers = trailers.unwrap().unwrap().unwrap().map(|trailers| ctx.entries(trailers).unwrap());
    let again = HostFutureTrailers::get(ctx, future).unwrap();
    assert!(matches!(again, Some(Err(()))));
    (String::from_utf8(text).unwrap(), trailers)
}

/// Writes to a body and ends it.
async fn write_all(ctx: &mut Ctx, body: Resource<Outgoing>, bytes: &[u8]) -> Result<(), ErrorCode> {
    let stream = ctx.write_stream(&body);
    ctx.blocking_write_and_flush(lent(&stream), bytes.to_vec()).await.unwrap().unwrap();
    HostOutputStream::drop(ctx, stream).unwrap();
    HostOutgoingBody::finish(ctx, body, None).unwrap()
}

impl Ctx {
    fn write_stream(&mut self, body: &Resource<Outgoing>) -> Resource<crate::preview2::io::Output> {
        HostOutgoingBody::write(self, lent(body)).unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_request_with_a_body_goes_there_and_back() {
    let authority = format!("127.0.0.1:{}", server::start(false).await);
    let (mut ctx, told) = guest(&format!("net:{authority}"), Settings::default());
    let request = request(&mut ctx, Scheme::Http, &authority, "/echo?q");
    ctx.set_method(lent(&request), Method::Post).unwrap().unwrap();
    let body = HostOutgoingRequest::body(&mut ctx, lent(&request)).unwrap().unwrap();
    assert!(HostOutgoingRequest::body(&mut ctx, lent(&request)).unwrap().is_err());
    let future = ctx.handle(request, None).unwrap().unwrap();
    assert!(HostFutureIncomingResponse::get(&mut ctx, lent(&future)).unwrap().is_none());
    write_all(&mut ctx, body, b"the body").await.unwrap();
    let response = receive(&mut ctx, &future).await.unwrap();
    let again = HostFutureIncomingResponse::get(&mut ctx, future).unwrap();
    assert!(matches!(again, Some(Err(()))));
    assert_eq!(ctx.status(lent(&response)).unwrap(), 200);
    let headers = HostIncomingResponse::headers(&mut ctx, lent(&response)).unwrap();
    assert_eq!(HostFields::get(&mut ctx, lent(&headers), "X-Host".into()).unwrap(), [authority.as_bytes()]);
    assert_eq!(HostFields::get(&mut ctx, lent(&headers), "x-list".into()).unwrap(), [b"1", b"2"]);
    // A child: its parent cannot go first.
    assert!(HostIncomingResponse::drop(&mut ctx, lent(&response)).is_err());
    HostFields::drop(&mut ctx, headers).unwrap();
    assert_eq!(read_all(&mut ctx, &response).await, ("POST /echo the body".into(), None));
    HostIncomingResponse::drop(&mut ctx, response).unwrap();
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn trailers_are_read() {
    let authority = format!("localhost:{}", server::start(false).await);
    let (mut ctx, _) = guest("net", Settings::default());
    let request = request(&mut ctx, Scheme::Http, &authority, "/trailers");
    let headers = HostOutgoingRequest::headers(&mut ctx, lent(&request)).unwrap();
    assert!(HostFields::append(&mut ctx, lent(&headers), "te".into(), b"trailers".to_vec()).unwrap().is_err());
    HostFields::drop(&mut ctx, headers).unwrap();
    HostOutgoingRequest::drop(&mut ctx, request).unwrap();

    let fields = ctx.new_fields();
    ctx.append(lent(&fields), "te".into(), b"trailers".to_vec()).unwrap().unwrap();
    let request = HostOutgoingRequest::new(&mut ctx, fields).unwrap();
    ctx.set_scheme(lent(&request), Some(Scheme::Http)).unwrap().unwrap();
    ctx.set_authority(lent(&request), Some(authority)).unwrap().unwrap();
    ctx.set_path_with_query(lent(&request), Some("/trailers".into())).unwrap().unwrap();
    let future = ctx.handle(request, None).unwrap().unwrap();
    let response = receive(&mut ctx, &future).await.unwrap();
    let (text, trailers) = read_all(&mut ctx, &response).await;
    assert_eq!((text.as_str(), trailers), ("abc", Some(vec![("etag".into(), b"sum".to_vec())])));
}

#[tokio::test]
async fn a_request_that_is_not_granted_is_denied() {
    let (mut ctx, told) = guest("net:localhost:1,net:10.0.0.1:443", Settings::default());
    for (scheme, authority, grant) in [
        (Scheme::Http, "localhost", "net:localhost:80"),
        (Scheme::Https, "localhost", "net:localhost:443"),
        (Scheme::Https, "[::1]:8443", "net:[::1]:8443"),
    ] {
        let request = request(&mut ctx, scheme, authority, "/");
        assert!(matches!(ctx.handle(request, None).unwrap(), Err(ErrorCode::HttpRequestDenied)));
        let last = told.lock().unwrap().last().cloned().unwrap();
        assert!(last.ends_with(&format!("grant it with --allow={grant}")), "{last}");
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let (mut ctx, _) = guest("net", Settings::default());
    let refused = |ctx: &mut Ctx, change: &dyn Fn(&mut Ctx, Resource<OutgoingRequest>)| {
        let request = request(ctx, Scheme::Http, "localhost:1", "/");
        change(ctx, lent(&request));
        ctx.handle(request, None).unwrap().err()
    };
    let code = refused(&mut ctx, &|ctx, it| ctx.set_authority(it, None).unwrap().unwrap());
    assert_eq!(code, Some(ErrorCode::HttpRequestUriInvalid));
    let code =
        refused(&mut ctx, &|ctx, it| ctx.set_authority(it, Some("me:secret@localhost".into())).unwrap().unwrap());
    assert_eq!(code, Some(ErrorCode::HttpRequestUriInvalid));
    let code = refused(&mut ctx, &|ctx, it| ctx.set_method(it, Method::Connect).unwrap().unwrap());
    assert_eq!(code, Some(ErrorCode::HttpRequestMethodInvalid));
    let code = refused(&mut ctx, &|ctx, it| ctx.set_scheme(it, Some(Scheme::Other("ftp".into()))).unwrap().unwrap());
    assert_eq!(code, Some(ErrorCode::HttpRequestUriInvalid));
    let request = request(&mut ctx, Scheme::Http, "localhost:1", "/");
    assert!(ctx.set_method(lent(&request), Method::Other("a b".into())).unwrap().is_err());
    assert!(ctx.set_authority(lent(&request), Some("a b".into())).unwrap().is_err());
    assert!(ctx.set_path_with_query(lent(&request), Some("/a b".into())).unwrap().is_err());
}

#[tokio::test]
async fn failures_have_their_codes() {
    let (mut ctx, _) = guest("net", Settings::default());
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let refused = request(&mut ctx, Scheme::Http, &free, "/");
    let future = ctx.handle(refused, None).unwrap().unwrap();
    assert_eq!(receive(&mut ctx, &future).await.err(), Some(ErrorCode::ConnectionRefused));

    let authority = format!("localhost:{}", server::start(false).await);
    let slow = request(&mut ctx, Scheme::Http, &authority, "/slow");
    let options = HostRequestOptions::new(&mut ctx).unwrap();
    let timeout = Duration::from_millis(20).as_nanos() as u64;
    ctx.set_first_byte_timeout(lent(&options), Some(timeout)).unwrap().unwrap();
    assert_eq!(ctx.first_byte_timeout(lent(&options)).unwrap(), Some(timeout));
    let future = ctx.handle(slow, Some(options)).unwrap().unwrap();
    assert_eq!(receive(&mut ctx, &future).await.err(), Some(ErrorCode::HttpResponseTimeout));
}

#[tokio::test]
async fn a_length_that_is_not_kept_to_is_an_error() {
    let authority = format!("localhost:{}", server::start(false).await);
    let (mut ctx, _) = guest("net", Settings::default());
    let entries = vec![("content-length".to_owned(), b"9".to_vec())];
    let fields = ctx.from_list(entries).unwrap().unwrap();
    let request = HostOutgoingRequest::new(&mut ctx, fields).unwrap();
    ctx.set_scheme(lent(&request), Some(Scheme::Http)).unwrap().unwrap();
    ctx.set_authority(lent(&request), Some(authority)).unwrap().unwrap();
    ctx.set_method(lent(&request), Method::Put).unwrap().unwrap();
    let body = HostOutgoingRequest::body(&mut ctx, lent(&request)).unwrap().unwrap();
    let future = ctx.handle(request, None).unwrap().unwrap();
    let short = write_all(&mut ctx, body, b"too short").await;
    assert_eq!(short, Ok(()));
    let response = receive(&mut ctx, &future).await.unwrap();
    assert_eq!(read_all(&mut ctx, &response).await.0, "PUT / too short");
}

#[tokio::test]
async fn a_body_that_is_too_short_fails_the_request() {
    let authority = format!("localhost:{}", server::start(false).await);
    let (mut ctx, _) = guest("net", Settings::default());
    let fields = ctx.from_list(vec![("content-length".to_owned(), b"99".to_vec())]).unwrap().unwrap();
    let request = HostOutgoingRequest::new(&mut ctx, fields).unwrap();
    ctx.set_scheme(lent(&request), Some(Scheme::Http)).unwrap().unwrap();
    ctx.set_authority(lent(&request), Some(authority)).unwrap().unwrap();
    ctx.set_method(lent(&request), Method::Put).unwrap().unwrap();
    let body = HostOutgoingRequest::body(&mut ctx, lent(&request)).unwrap().unwrap();
    let future = ctx.handle(request, None).unwrap().unwrap();
    let short = write_all(&mut ctx, body, b"short").await;
    assert_eq!(short, Err(ErrorCode::HttpRequestBodySize(Some(5))));
    assert_eq!(receive(&mut ctx, &future).await.err(), Some(ErrorCode::HttpRequestBodySize(Some(5))));
}

#[tokio::test]
async fn tls_is_spoken_with_who_is_trusted() {
    let authority = format!("localhost:{}", server::start(true).await);
    let (mut ctx, _) = guest("net", Settings::default().roots(server::roots()));
    let there = request(&mut ctx, Scheme::Https, &authority, "/echo");
    let future = ctx.handle(there, None).unwrap().unwrap();
    let response = receive(&mut ctx, &future).await.unwrap();
    assert_eq!(read_all(&mut ctx, &response).await.0, "GET /echo ");

    // Nobody else has a reason to trust it.
    let (mut ctx, _) = guest("net", Settings::default());
    let there = request(&mut ctx, Scheme::Https, &authority, "/echo");
    let future = ctx.handle(there, None).unwrap().unwrap();
    assert_eq!(receive(&mut ctx, &future).await.err(), Some(ErrorCode::TlsCertificateError));
}

#[tokio::test]
async fn an_error_of_a_stream_tells_its_code() {
    let (mut ctx, _) = guest("net", Settings::default());
    let (writer, _body) = super::pipe::pipe(super::pipe::Message::Request, Some(1));
    let stream = ctx.table.push(crate::preview2::io::Output::new(writer.stream())).unwrap();
    let failed = ctx.blocking_write_and_flush(stream, Bytes::from_static(b"ab").to_vec()).await.unwrap();
    let Err(StreamError::LastOperationFailed(error)) = failed else { panic!("{failed:?}") };
    let code = ctx.http_error_code(lent(&error)).unwrap();
    assert_eq!(code, Some(ErrorCode::HttpRequestBodySize(Some(2))));
}
