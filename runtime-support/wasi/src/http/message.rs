//! Messages and their parts, as they lie behind the handles that guests have.
//!
//! What comes in: hyper's requests and responses, or what a guest puts together. What goes out: what the functions of
//! `wasi:http/types` ask of them. A body can be had once; the fields of a message are shared with the handles of them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode};
use tokio::task::JoinHandle;

use super::ErrorCode;
use super::client::{self, Timeouts};
use super::fields::{FieldsError, content_length, without_forbidden};
use super::incoming::{BodyReader, IncomingBody};
use super::pipe::{BodyWriter, Message, PipeBody, pipe};
use crate::preview2::io::Ready;

/// A request that the guest is to answer.
pub(crate) struct IncomingRequest {
    pub(crate) method: Method,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Option<String>,
    pub(crate) path: Option<PathAndQuery>,
    headers: Headers,
    pub(crate) body: Option<BodyReader>,
}

/// Fields that are shared once somebody asks for them.
enum Headers {
    Own(HeaderMap),
    Shared(Arc<HeaderMap>),
}

impl Headers {
    fn share(&mut self) -> Arc<HeaderMap> {
        let shared = match self {
            Headers::Own(map) => Arc::new(std::mem::take(map)),
            Headers::Shared(map) => return map.clone(),
        };
        *self = Headers::Shared(shared.clone());
        shared
    }
}

impl IncomingRequest {
    /// A request of a server's.
    pub(crate) fn new(request: http::Request<IncomingBody>, scheme: Scheme) -> Self {
        let (head, body) = request.into_parts();
        let uri = head.uri.into_parts();
        let scheme = uri.scheme.unwrap_or(scheme);
        let authority = match uri.authority {
            Some(authority) => Some(authority.as_str().to_owned()),
            None => head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned),
        };
        let headers = Headers::Own(without_forbidden(head.headers));
        let body = Some(BodyReader::new(body, Message::Request));
        Self { method: head.method, scheme, authority, path: uri.path_and_query, headers, body }
    }

    pub(crate) fn headers(&mut self) -> Arc<HeaderMap> {
        self.headers.share()
    }
}

/// A response to a request of the guest's.
pub(crate) struct IncomingResponse {
    pub(crate) status: StatusCode,
    headers: Headers,
    pub(crate) body: Option<BodyReader>,
}

impl From<client::Response> for IncomingResponse {
    fn from(response: client::Response) -> Self {
        let headers = Headers::Own(without_forbidden(response.headers));
        Self { status: response.status, headers, body: Some(response.body) }
    }
}

impl IncomingResponse {
    pub(crate) fn headers(&mut self) -> Arc<HeaderMap> {
        self.headers.share()
    }
}

/// Whether a message's body was asked for: it can be once.
enum OwnBody {
    Untouched,
    Asked(PipeBody),
}

impl OwnBody {
    fn ask(&mut self, headers: &HeaderMap, message: Message) -> Option<Outgoing> {
        let OwnBody::Untouched = self else { return None };
        // A length that cannot be read fails when the message is sent.
        let length = content_length(headers).ok().flatten();
        let (writer, body) = pipe(message, length);
        *self = OwnBody::Asked(body);
        Some(Outgoing { writer, written: false })
    }

    fn into_body(self) -> PipeBody {
        match self {
            OwnBody::Untouched => PipeBody::empty(),
            OwnBody::Asked(body) => body,
        }
    }
}

/// A request that the guest puts together.
pub(crate) struct OutgoingRequest {
    pub(crate) method: Method,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Option<Authority>,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) headers: Arc<HeaderMap>,
    body: OwnBody,
}

impl OutgoingRequest {
    pub(crate) fn new(headers: Arc<HeaderMap>) -> Self {
        let body = OwnBody::Untouched;
        Self { method: Method::GET, scheme: None, authority: None, path: None, headers, body }
    }

    pub(crate) fn body(&mut self) -> Option<Outgoing> {
        self.body.ask(&self.headers, Message::Request)
    }

    /// The fields and the body, to be sent.
    pub(crate) fn take(&mut self) -> Result<(HeaderMap, PipeBody), FieldsError> {
        content_length(&self.headers)?;
        let body = std::mem::replace(&mut self.body, OwnBody::Untouched);
        Ok((Arc::unwrap_or_clone(std::mem::take(&mut self.headers)), body.into_body()))
    }
}

/// A response that the guest puts together.
pub(crate) struct OutgoingResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: Arc<HeaderMap>,
    body: OwnBody,
}

impl OutgoingResponse {
    pub(crate) fn new(headers: Arc<HeaderMap>) -> Self {
        Self { status: StatusCode::OK, headers, body: OwnBody::Untouched }
    }

    pub(crate) fn body(&mut self) -> Option<Outgoing> {
        self.body.ask(&self.headers, Message::Response)
    }

    /// What the server sends.
    pub(crate) fn into_response(self) -> Result<http::Response<PipeBody>, FieldsError> {
        content_length(&self.headers)?;
        let mut response = http::Response::new(self.body.into_body());
        *response.status_mut() = self.status;
        *response.headers_mut() = Arc::unwrap_or_clone(self.headers);
        Ok(response)
    }
}

/// A body that the guest writes.
pub(crate) struct Outgoing {
    pub(crate) writer: BodyWriter,
    /// Whether its stream was given away.
    pub(crate) written: bool,
}

/// A body that the guest reads.
pub(crate) struct Incoming {
    pub(crate) reader: BodyReader,
    /// Whether its stream was given away.
    pub(crate) read: bool,
}

/// What comes after a body.
pub(crate) struct FutureTrailers {
    pub(crate) reader: BodyReader,
    /// Whether they were given away.
    pub(crate) taken: bool,
}

impl Ready for FutureTrailers {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_ended(cx)
    }
}

/// How long the guest wants to wait for what.
#[derive(Default)]
pub(crate) struct RequestOptions(pub(crate) Timeouts);

/// What a guest answers.
pub(crate) type Answer = Result<http::Response<PipeBody>, ErrorCode>;

/// Where an answer appears.
#[derive(Clone, Default)]
pub(crate) struct AnswerSlot(Arc<Mutex<Option<Answer>>>);

impl AnswerSlot {
    /// Gives the answer.
    pub(crate) fn set(&self, answer: Answer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    /// The answer, if it has been given.
    pub(crate) fn take(&self) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where the guest puts its answer.
pub(crate) struct ResponseOutparam(pub(crate) AnswerSlot);

/// A response that may not be there yet.
pub(crate) enum FutureIncomingResponse {
    Waiting(Task),
    Ready(Result<client::Response, ErrorCode>),
    Taken,
}

/// A request that is under way, and given up when this is dropped.
pub(crate) struct Task(pub(crate) JoinHandle<Result<client::Response, ErrorCode>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FutureIncomingResponse {
    /// The response, if it is there. `None` in it if it was given away before.
    pub(crate) fn take(&mut self) -> Option<Option<Result<client::Response, ErrorCode>>> {
        if self.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return None;
        }
        match std::mem::replace(self, Self::Taken) {
            Self::Ready(response) => Some(Some(response)),
            _ => Some(None),
        }
    }
}

impl Ready for FutureIncomingResponse {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Waiting(task) = self {
            let joined = std::task::ready!(Pin::new(&mut task.0).poll(cx));
            // The task is never aborted while this lives: if it ended otherwise, it panicked.
            let response = joined.unwrap_or_else(|error| Err(ErrorCode::InternalError(Some(error.to_string()))));
            *self = Self::Ready(response);
        }
        Poll::Ready(())
    }
}
