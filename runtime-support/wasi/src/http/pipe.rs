//! The body of an outgoing message, on its way from the guest to the connection.
//!
//! What comes in: what the guest writes to a [`BodyStream`], and how its [`BodyWriter`] ends. What goes out: [`PipeBody`], which
//! hyper takes frames from. Between them lie at most [`CAPACITY`] bytes: a guest that writes faster than the peer reads
//! has to wait. Both ends may be polled by one task or by two.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{ErrorCode, Failure};
use crate::preview2::io::{OutputStream, Ready, StreamError};

/// Bytes that may lie between guest and connection.
pub(crate) const CAPACITY: usize = 64 << 10;

/// Writes of fewer bytes are put together.
const SMALL: usize = 2 << 10;

/// Whose body it is, which decides what a wrong length is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Request,
    Response,
}

impl Message {
    fn wrong_size(self, size: u64) -> ErrorCode {
        match self {
            Message::Request => ErrorCode::HttpRequestBodySize(Some(size)),
            Message::Response => ErrorCode::HttpResponseBodySize(Some(size)),
        }
    }
}

/// How a body ends.
enum End {
    /// Not yet.
    Open,
    /// Complete, perhaps with trailers, which are still to be sent.
    Finished(Option<HeaderMap>),
    /// Incomplete; the error is still to be told.
    Failed(Option<ErrorCode>),
}

/// What lies between both ends.
struct Shared {
    chunks: VecDeque<Bytes>,
    /// Follows the chunks.
    tail: BytesMut,
    /// Bytes in both.
    queued: usize,
    end: End,
    reader: Option<Waker>,
    writer: Option<Waker>,
    reader_gone: bool,
    message: Message,
    length: Option<u64>,
    written: u64,
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.reader_gone || !matches!(self.end, End::Open)
    }

    fn end(&mut self, end: End) {
        self.end = end;
        self.wake_reader();
    }

    fn push(&mut self, bytes: Bytes) {
        self.queued += bytes.len();
        if bytes.len() < SMALL {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(bytes);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let bytes = match self.chunks.pop_front() {
            Some(bytes) => bytes,
            None if self.tail.is_empty() => return None,
            None => self.tail.split().freeze(),
        };
        self.queued -= bytes.len();
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Some(bytes)
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Both ends of a body. `length` is that of the message's `content-length`, which is then enforced.
pub(crate) fn pipe(message: Message, length: Option<u64>) -> (BodyWriter, PipeBody) {
    let shared = Arc::new(Mutex::new(Shared {
        chunks: VecDeque::new(),
        tail: BytesMut::new(),
        queued: 0,
        end: End::Open,
        reader: None,
        writer: None,
        reader_gone: false,
        message,
        length,
        written: 0,
    }));
    (BodyWriter(shared.clone()), PipeBody(shared))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Nothing under the lock panics half-way.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guest's end. Dropped without [`Self::finish`], it leaves the body incomplete, and the peer is not told that it
/// was complete.
pub(crate) struct BodyWriter(Arc<Mutex<Shared>>);

impl BodyWriter {
    /// The stream that the guest writes.
    pub(crate) fn stream(&self) -> BodyStream {
        BodyStream(self.0.clone())
    }

    /// Ends the body. Fails if it is shorter than its message said.
    pub(crate) fn finish(self, trailers: Option<HeaderMap>) -> Result<(), ErrorCode> {
        let mut shared = lock(&self.0);
        // A response may say how long its body would be and have none, as an answer to HEAD does.
        let may_be_absent = shared.message == Message::Response && shared.written == 0;
        let short = shared.length.is_some_and(|length| shared.written < length) && !may_be_absent;
        let failed = match &shared.end {
            End::Failed(Some(code)) => Some(code.clone()),
            End::Failed(None) => Some(shared.message.wrong_size(shared.written)),
            _ if short => Some(shared.message.wrong_size(shared.written)),
            _ => None,
        };
        match failed {
            Some(code) => {
                shared.end(End::Failed(Some(code.clone())));
                Err(code)
            }
            None => {
                shared.end(End::Finished(trailers));
                Ok(())
            }
        }
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        if matches!(shared.end, End::Open) {
            let code = match shared.message {
                Message::Request => ErrorCode::ConnectionTerminated,
                Message::Response => ErrorCode::HttpResponseIncomplete,
            };
            shared.end(End::Failed(Some(code)));
        }
    }
}

/// The stream of a body's bytes.
pub(crate) struct BodyStream(Arc<Mutex<Shared>>);

impl Ready for BodyStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.0);
        if shared.is_closed() || shared.queued < CAPACITY {
            return Poll::Ready(());
        }
        shared.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl OutputStream for BodyStream {
    fn check_write(&mut self) -> Result<usize, StreamError> {
        let shared = lock(&self.0);
        if shared.is_closed() {
            return Err(StreamError::Closed);
        }
        Ok(CAPACITY.saturating_sub(shared.queued))
    }

    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let mut shared = lock(&self.0);
        if shared.is_closed() {
            return Err(StreamError::Closed);
        }
        let written = shared.written + bytes.len() as u64;
        if shared.length.is_some_and(|length| written > length) {
            let code = shared.message.wrong_size(written);
            shared.end(End::Failed(Some(code.clone())));
            return Err(StreamError::failed(Failure(code)));
        }
        shared.written = written;
        shared.push(bytes);
        shared.wake_reader();
        Ok(())
    }

    /// The connection takes what there is as soon as it can, so there is nothing to do.
    fn flush(&mut self) -> Result<(), StreamError> {
        if lock(&self.0).is_closed() { Err(StreamError::Closed) } else { Ok(()) }
    }
}

/// The connection's end.
pub(crate) struct PipeBody(Arc<Mutex<Shared>>);

impl PipeBody {
    /// A body without bytes.
    pub(crate) fn empty() -> Self {
        let (writer, body) = pipe(Message::Response, None);
        // Without a length there is nothing to fail at.
        let _ = writer.finish(None);
        body
    }

    /// Whether what is there is the whole rest.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(lock(&self.0).end, End::Finished(_))
    }
}

impl Body for PipeBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut shared = lock(&self.0);
        if let Some(bytes) = shared.pop() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut shared.end {
            End::Open => {
                shared.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            End::Finished(trailers) => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            End::Failed(code) => Poll::Ready(code.take().map(|code| Err(Failure(code)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.0);
        shared.queued == 0 && matches!(shared.end, End::Finished(None))
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.0);
        match (&shared.end, shared.length) {
            (End::Finished(None), _) => SizeHint::with_exact(shared.queued as u64),
            (End::Open, Some(length)) => SizeHint::with_exact(length - shared.written + shared.queued as u64),
            _ => {
                let mut hint = SizeHint::new();
                hint.set_lower(shared.queued as u64);
                hint
            }
        }
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.reader_gone = true;
        if let Some(writer) = shared.writer.take() {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

    fn poll<B: Body + Unpin>(body: &mut B) -> Polled<B> {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn data(body: &mut PipeBody) -> Bytes {
        match poll(body) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap(),
            other => panic!("no data: {}", other.is_pending()),
        }
    }

    #[test]
    fn bytes_and_trailers_come_out_in_order() {
        let (writer, mut body) = pipe(Message::Response, None);
        assert!(poll(&mut body).is_pending());
        let mut stream = writer.stream();
        stream.write(Bytes::from_static(b"a")).unwrap();
        stream.write(Bytes::from_static(b"b")).unwrap();
        stream.write(Bytes::from(vec![b'c'; SMALL])).unwrap();
        assert_eq!(data(&mut body), "ab");
        let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
        writer.finish(Some(trailers.clone())).unwrap();
        assert_eq!(data(&mut body).len(), SMALL);
        let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else { panic!("no trailers") };
        assert_eq!(frame.into_trailers().unwrap(), trailers);
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }

    #[test]
    fn a_full_pipe_holds_the_writer_up() {
        let (writer, mut body) = pipe(Message::Response, None);
        let mut stream = writer.stream();
        stream.write(Bytes::from(vec![0; CAPACITY])).unwrap();
        assert_eq!(stream.check_write().unwrap(), 0);
        assert!(stream.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
        data(&mut body);
        assert_eq!(stream.check_write().unwrap(), CAPACITY);
        assert!(stream.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn the_length_is_enforced() {
        let (writer, mut body) = pipe(Message::Response, Some(3));
        assert_eq!(body.size_hint().exact(), Some(3));
        writer.stream().write(Bytes::from_static(b"ab")).unwrap();
        let error = ErrorCode::HttpResponseBodySize(Some(4));
        let failed = writer.stream().write(Bytes::from_static(b"cd"));
        let cause = |failed: &crate::preview2::io::Error| failed.downcast_ref::<Failure>().cloned();
        assert!(matches!(failed, Err(StreamError::Failed(failed)) if cause(&failed) == Some(Failure(error.clone()))));
        assert_eq!(data(&mut body), "ab");
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(Failure(code)))) if code == error));

        let (writer, _body) = pipe(Message::Request, Some(3));
        writer.stream().write(Bytes::from_static(b"ab")).unwrap();
        assert_eq!(writer.finish(None), Err(ErrorCode::HttpRequestBodySize(Some(2))));
    }

    #[test]
    fn a_finished_body_knows_its_size() {
        let (writer, body) = pipe(Message::Response, None);
        writer.stream().write(Bytes::from_static(b"abc")).unwrap();
        writer.finish(None).unwrap();
        assert!(body.is_complete());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(PipeBody::empty().is_end_stream());
    }

    #[test]
    fn who_drops_an_end_is_noticed() {
        let (writer, mut body) = pipe(Message::Response, None);
        drop(writer);
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(Failure(ErrorCode::HttpResponseIncomplete))))));
        let (writer, body) = pipe(Message::Response, None);
        drop(body);
        assert!(matches!(writer.stream().write(Bytes::from_static(b"a")), Err(StreamError::Closed)));
        assert!(matches!(writer.stream().check_write(), Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let (writer, body) = pipe(Message::Response, None);
        let reader = tokio::spawn(body.collect());
        tokio::task::yield_now().await;
        writer.stream().write(Bytes::from_static(b"late")).unwrap();
        writer.finish(None).unwrap();
        assert_eq!(reader.await.unwrap().unwrap().to_bytes(), "late");
    }
}
