//! The body of an incoming message, on its way from the connection to the guest.
//!
//! What comes in: hyper's body, a frame at a time and only when the guest wants one, so that a peer that sends faster
//! than the guest reads has to wait. What goes out: bytes, then trailers, or an error. The guest's body, its stream and
//! its future trailers share one [`BodyReader`].

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use super::fields::without_forbidden;
use super::pipe::Message;
use super::{ErrorCode, Failure};
use crate::preview2::io::{InputStream, Ready, StreamError};

/// Where a body comes from.
pub struct IncomingBody {
    source: Source,
}

enum Source {
    Hyper(Incoming),
    Boxed(UnsyncBoxBody<Bytes, ErrorCode>),
}

impl From<Incoming> for IncomingBody {
    fn from(body: Incoming) -> Self {
        Self { source: Source::Hyper(body) }
    }
}

impl IncomingBody {
    /// A body made by the embedder.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let body = body.map_err(|error| ErrorCode::InternalError(Some(error.to_string())));
        Self { source: Source::Boxed(body.boxed_unsync()) }
    }
}

/// How long a guest waits for parts of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadTimeouts {
    pub(crate) first: Option<Duration>,
    pub(crate) between: Option<Duration>,
}

/// A connection that is given up when this is dropped.
pub(crate) struct Connection(pub(crate) AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How far a body has come.
enum State {
    Reading(Source),
    /// The end, perhaps with trailers.
    Ended(Option<HeaderMap>),
    Failed(ErrorCode),
}

struct Inner {
    state: State,
    /// Taken from the source and not read yet.
    buffer: Bytes,
    message: Message,
    timeouts: ReadTimeouts,
    started: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// Kept until the end of the body.
    connection: Option<Connection>,
}

/// The reading end of a body; clones share it.
#[derive(Clone)]
pub(crate) struct BodyReader(Arc<Mutex<Inner>>);

impl BodyReader {
    pub(crate) fn new(body: IncomingBody, message: Message) -> Self {
        Self::of_connection(body, message, ReadTimeouts::default(), None)
    }

    pub(crate) fn of_connection(
        body: IncomingBody,
        message: Message,
        timeouts: ReadTimeouts,
        connection: Option<Connection>,
    ) -> Self {
        let state = State::Reading(body.source);
        let inner = Inner { state, buffer: Bytes::new(), message, timeouts, started: false, timer: None, connection };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, max: usize) -> Result<Bytes, StreamError> {
        let mut inner = self.lock();
        // Nobody waits: who wants to is told by `ready`.
        let _ = inner.poll_fill(&mut Context::from_waker(Waker::noop()));
        if !inner.buffer.is_empty() {
            let take = max.min(inner.buffer.len());
            return Ok(inner.buffer.split_to(take));
        }
        match &inner.state {
            State::Reading(_) => Ok(Bytes::new()),
            State::Ended(_) => Err(StreamError::Closed),
            State::Failed(code) => Err(StreamError::failed(Failure(code.clone()))),
        }
    }

    /// Waits for the end; what is left of the body is thrown away.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        while matches!(inner.state, State::Reading(_)) {
            inner.buffer = Bytes::new();
            std::task::ready!(inner.poll_fill(cx));
        }
        Poll::Ready(())
    }

    /// The trailers, once the body has [ended](Self::poll_ended). They are given once.
    pub(crate) fn trailers(&self) -> Option<Result<Option<HeaderMap>, ErrorCode>> {
        match &mut self.lock().state {
            State::Reading(_) => None,
            State::Ended(trailers) => Some(Ok(trailers.take())),
            State::Failed(code) => Some(Err(code.clone())),
        }
    }
}

impl Ready for BodyReader {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_fill(cx)
    }
}

impl InputStream for BodyReader {
    fn read(&mut self, max: usize) -> Result<Bytes, StreamError> {
        self.take(max)
    }
}

impl Inner {
    /// Takes frames from the source until there is something to read.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.buffer.is_empty()
            && let State::Reading(source) = &mut self.state
        {
            let frame = match source.poll(cx, self.message) {
                Poll::Ready(frame) => frame,
                Poll::Pending => match self.poll_timeout(cx) {
                    Poll::Ready(()) => Some(Err(ErrorCode::ConnectionReadTimeout)),
                    Poll::Pending => return Poll::Pending,
                },
            };
            self.timer = None;
            self.started = true;
            match frame {
                None => self.end(State::Ended(None)),
                Some(Err(code)) => self.end(State::Failed(code)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.buffer = bytes,
                    Err(frame) => self.end(State::Ended(frame.into_trailers().ok().map(without_forbidden))),
                },
            }
        }
        Poll::Ready(())
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.connection = None;
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = if self.started { self.timeouts.between } else { self.timeouts.first };
        let Some(timeout) = timeout else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(later(timeout))));
        timer.as_mut().poll(cx)
    }
}

/// A moment `timeout` from now, or as far in the future as makes no difference.
pub(crate) fn later(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365);
    Instant::now() + timeout.min(FAR)
}

impl Source {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        message: Message,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, ErrorCode>>> {
        match self {
            Source::Hyper(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|e| connection_error(&e, message)))),
            Source::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

/// What the guest is told of an error of hyper's.
pub(crate) fn connection_error(error: &hyper::Error, message: Message) -> ErrorCode {
    if error.is_incomplete_message() || error.is_body_write_aborted() || error.is_closed() || error.is_canceled() {
        return match message {
            Message::Request => ErrorCode::ConnectionTerminated,
            Message::Response => ErrorCode::HttpResponseIncomplete,
        };
    }
    if error.is_timeout() {
        return ErrorCode::ConnectionReadTimeout;
    }
    if error.is_parse() {
        return ErrorCode::HttpProtocolError;
    }
    // The body of ours that failed, if that is why.
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<Failure>() {
            return code.0.clone();
        }
        if error.is::<std::io::Error>() {
            return ErrorCode::ConnectionTerminated;
        }
        cause = error.source();
    }
    ErrorCode::InternalError(Some(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    fn frames(frames: Vec<Result<Frame<Bytes>, String>>) -> IncomingBody {
        IncomingBody::new(StreamBody::new(stream::iter(frames)))
    }

    /// Why nothing more comes: `None` is the end.
    fn why(read: Result<Bytes, StreamError>) -> Option<ErrorCode> {
        match read {
            Err(StreamError::Closed) => None,
            Err(StreamError::Failed(error)) => Some(error.downcast_ref::<Failure>().unwrap().0.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_come_in_the_pieces_that_are_wanted() {
        let mut reader = BodyReader::new(frames(vec![Ok(Frame::data("abc".into()))]), Message::Request);
        assert_eq!(reader.read(2).unwrap(), "ab");
        assert_eq!(reader.read(2).unwrap(), "c");
        assert_eq!(why(reader.read(2)), None);
        assert_eq!(reader.trailers(), Some(Ok(None)));
    }

    #[tokio::test]
    async fn trailers_come_after_the_rest_is_thrown_away() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let body = frames(vec![Ok(Frame::data("abc".into())), Ok(Frame::trailers(trailers.clone()))]);
        let reader = BodyReader::new(body, Message::Request);
        assert_eq!(reader.trailers(), None);
        poll_fn(|cx| reader.poll_ended(cx)).await;
        assert_eq!(reader.trailers(), Some(Ok(Some(trailers))));
        assert_eq!(reader.trailers(), Some(Ok(None)));
    }

    #[test]
    fn an_error_stays() {
        let mut reader = BodyReader::new(frames(vec![Err("broken".into())]), Message::Request);
        let failed = ErrorCode::InternalError(Some("broken".into()));
        assert_eq!(why(reader.read(1)), Some(failed.clone()));
        assert_eq!(reader.trailers(), Some(Err(failed)));
    }

    #[tokio::test]
    async fn a_silent_peer_is_given_up() {
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, String>>());
        let timeouts = ReadTimeouts { first: Some(Duration::from_millis(1)), between: None };
        let mut reader = BodyReader::of_connection(IncomingBody::new(never), Message::Response, timeouts, None);
        poll_fn(|cx| reader.poll_ready(cx)).await;
        assert_eq!(why(reader.read(1)), Some(ErrorCode::ConnectionReadTimeout));
    }
}
