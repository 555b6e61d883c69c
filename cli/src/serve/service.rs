//! One request: from hyper to the guest and back, and its record.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use precast_loader::CallError;
use precast_wasi::http::{Error, Failure, GuestBody, Proxy};
use precast_wasi::preview2::{Ctx, Template};

use super::log::{AccessLog, Entry, Failures};
use super::stats::{Outcome, Stats};

/// What a worker answers requests with. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    proxy: Proxy<Ctx>,
    template: Template,
    log: AccessLog,
    failures: Arc<Failures>,
    stats: Arc<Stats>,
}

impl Service {
    pub(crate) fn new(proxy: Proxy<Ctx>, template: Template, log: AccessLog, stats: Arc<Stats>) -> Self {
        let failures = Arc::new(Failures::default());
        let (told, counted) = (failures.clone(), stats.clone());
        let proxy = proxy.on_failure(move |error| {
            counted.fail_late();
            told.tell(error);
        });
        Self(Arc::new(Inner { proxy, template, log, failures, stats }))
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// Answers a request. Whatever goes wrong is an answer too.
    pub(crate) async fn answer(
        self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        let mut record = Record::begin(self, peer, &request);
        let service = &record.service.0;
        let exchange = service.proxy.handle(service.template.context(), request, Scheme::HTTP);
        Ok(match exchange.await {
            Ok(response) => {
                record.status = response.status();
                response.map(|body| Reply { body: ReplyBody::Guest(body), record })
            }
            Err(error) => {
                record.outcome = outcome(&error);
                record.status = error.status();
                record.service.0.failures.tell(&error);
                failure(record)
            }
        })
    }
}

fn outcome(error: &Error) -> Outcome {
    match error {
        Error::Guest(CallError::Trap(_)) => Outcome::Trap,
        Error::Timeout(_) => Outcome::Timeout,
        Error::NoResponse | Error::Answer(_) => Outcome::NoResponse,
        Error::Guest(CallError::Host(error)) if error.is::<precast_wasi::Exit>() => Outcome::NoResponse,
        error if error.status() == StatusCode::SERVICE_UNAVAILABLE => Outcome::NoSlot,
        _ => Outcome::Host,
    }
}

/// What the client gets when the guest has no answer for it.
fn failure(record: Record) -> Response<Reply> {
    let status = record.status;
    let text = match status {
        StatusCode::GATEWAY_TIMEOUT => "the request took too long\n",
        StatusCode::SERVICE_UNAVAILABLE => "too many requests at once\n",
        _ => "the request failed\n",
    };
    let body = ReplyBody::Text(Full::new(Bytes::from_static(text.as_bytes())));
    let mut response = Response::new(Reply { body, record });
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A request that is under way; counted and logged when it is dropped.
struct Record {
    service: Service,
    begin: Instant,
    peer: SocketAddr,
    /// For the log, if there is one.
    head: Option<(Method, Uri)>,
    status: StatusCode,
    bytes: u64,
    /// What it counts as if nothing else is found.
    outcome: Outcome,
}

impl Record {
    fn begin(service: Service, peer: SocketAddr, request: &Request<Incoming>) -> Self {
        service.stats().begin();
        let head = service.0.log.is_on().then(|| (request.method().clone(), request.uri().clone()));
        // The status that is customary for a client that did not wait.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::OK);
        Self { service, begin: Instant::now(), peer, head, status, bytes: 0, outcome: Outcome::HungUp }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (took, outcome) = (self.begin.elapsed(), self.outcome);
        self.service.stats().end(outcome, took);
        if let Some((method, uri)) = &self.head {
            let (peer, status, bytes) = (self.peer, self.status, self.bytes);
            self.service.0.log.write(&Entry { peer, method, uri, status, bytes, took, outcome });
        }
    }
}

/// The body of a response, with the record that ends when it does.
pub(crate) struct Reply {
    body: ReplyBody,
    record: Record,
}

enum ReplyBody {
    Guest(GuestBody),
    Text(Full<Bytes>),
}

impl Reply {
    /// Notes that nothing more will come. What failed before is not forgotten.
    fn ended(&mut self) {
        if self.record.outcome == Outcome::HungUp {
            self.record.outcome = Outcome::Answered;
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = std::task::ready!(match &mut self.body {
            ReplyBody::Guest(body) => Pin::new(body).poll_frame(cx),
            ReplyBody::Text(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        });
        match &frame {
            Some(Ok(frame)) => self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => self.record.outcome = Outcome::Incomplete,
            None => self.ended(),
        }
        if self.is_end_stream() {
            self.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            ReplyBody::Guest(body) => body.is_end_stream(),
            ReplyBody::Text(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            ReplyBody::Guest(body) => body.size_hint(),
            ReplyBody::Text(body) => body.size_hint(),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // A body without bytes is never polled.
        if self.is_end_stream() {
            self.ended();
        }
    }
}
