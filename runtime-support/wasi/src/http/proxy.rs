//! One request and its instance: from a request of hyper's to a response whose body is written while the guest runs.
//!
//! What comes in: a [`Proxy`] (a bound component that exports `wasi:http/incoming-handler`), the data of a fresh store,
//! and a request. What goes out: a response as soon as the guest gives one, or an [`Error`].
//!
//! The guest is a future that is polled by whoever waits for its answer, the [`Exchange`]. So a request needs no task and
//! no channel of its own, and most guests are done by then: their whole response is sent in one go. A guest that is not
//! becomes a task of its own. A client that hangs up drops the exchange, or the body, and with it the guest.
//!
//! Tried before: the body polls the guest, as the exchange does. But a connection polls no body while its client reads
//! nothing, and a guest that is not polled meets no deadline.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use precast_loader::component::{Bound, Instance};
use precast_loader::{CallError, InstantiateError, TrapCode, with_deadline};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use super::bindings::Proxy as World;
use super::message::{AnswerSlot, IncomingRequest, ResponseOutparam};
use super::pipe::PipeBody;
use super::{ErrorCode, Failure, IncomingBody};
use crate::preview2::Ctx;

/// Why a request has no response of the guest's, or none that is complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No instance could be made.
    #[error("no instance")]
    Instantiate(#[source] InstantiateError),
    /// The component does not export the handler.
    #[error("no handler")]
    Export(#[source] precast_loader::ExportError),
    /// The guest trapped, or a host function failed.
    #[error(transparent)]
    Guest(CallError),
    /// The guest has taken longer than it may.
    #[error("the guest has taken more than its {0:?}")]
    Timeout(Duration),
    /// The guest returned before it had written all of its response.
    #[error("the guest returned and its response is not complete")]
    Incomplete,
    /// The guest returned without an answer.
    #[error("the guest returned without a response")]
    NoResponse,
    /// The guest answered with an error.
    #[error("the guest answered with the error {0:?}")]
    Answer(ErrorCode),
    /// The host's context ran out of room.
    #[error("the request has no room")]
    Resources(#[source] precast_loader::component::ResourceTableError),
}

impl Error {
    fn is_interrupted(&self) -> bool {
        let call = match self {
            Error::Guest(error) | Error::Instantiate(InstantiateError::Start(error)) => error,
            _ => return false,
        };
        call.trap().is_some_and(|trap| trap.code() == TrapCode::Interrupted)
    }

    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Error::Instantiate(InstantiateError::Slot(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Who is told of guests that fail after their answer.
type Listener = Arc<dyn Fn(&Error) + Send + Sync>;

/// A component that answers requests, each with an instance of its own.
pub struct Proxy<T: 'static> {
    target: Arc<Target<T>>,
    timeout: Option<Duration>,
    on_failure: Listener,
}

/// What all requests share.
struct Target<T: 'static> {
    bound: Bound<T>,
    get: fn(&mut T) -> &mut Ctx,
    /// The handler, found by the first request.
    world: OnceLock<World>,
}

impl<T: Send + 'static> Proxy<T> {
    /// A component that is bound to what [`add_to_linker`](super::add_to_linker) and
    /// [`preview2`](crate::preview2) have. `get` finds the context in the data of a store.
    pub fn new(bound: Bound<T>, get: fn(&mut T) -> &mut Ctx) -> Self {
        let target = Arc::new(Target { bound, get, world: OnceLock::new() });
        Proxy { target, timeout: None, on_failure: Arc::new(|_| ()) }
    }

    /// How long a guest may take for a request, from its instantiation until it is done.
    #[must_use]
    pub fn timeout(self, timeout: Option<Duration>) -> Self {
        Proxy { timeout, ..self }
    }

    /// Sets who is told of guests that fail after their answer.
    #[must_use]
    pub fn on_failure(self, listener: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        Proxy { on_failure: Arc::new(listener), ..self }
    }

    /// Answers a request, in a tokio runtime: instantiates with `data` and calls the handler when the exchange is polled. `scheme` is what
    /// the client came by.
    pub fn handle(&self, data: T, request: Request<impl Into<IncomingBody>>, scheme: Scheme) -> Exchange {
        let answer = AnswerSlot::default();
        let request = IncomingRequest::new(request.map(Into::into), scheme);
        let run = Box::pin(run(self.target.clone(), data, request, answer.clone()));
        let deadline = self.timeout.map(|timeout| Deadline { timeout, end: Instant::now() + timeout, sleep: None });
        Exchange { guest: Some(Guest { run, deadline }), answer, on_failure: self.on_failure.clone() }
    }
}

/// The guest's side of a request, from beginning to end.
async fn run<T: Send + 'static>(
    target: Arc<Target<T>>,
    data: T,
    request: IncomingRequest,
    answer: AnswerSlot,
) -> Result<(), Error> {
    let mut instance = target.bound.instantiate_async(data).await.map_err(Error::Instantiate)?;
    let world = match target.world.get() {
        Some(world) => world,
        None => {
            let world = World::new(&instance).map_err(Error::Export)?;
            target.world.get_or_init(|| world)
        }
    };
    handle(&mut instance, target.get, world, request, answer).await
}

/// Calls the handler of an instance.
pub(super) async fn handle<T: Send + 'static>(
    instance: &mut Instance<T>,
    get: fn(&mut T) -> &mut Ctx,
    world: &World,
    request: IncomingRequest,
    answer: AnswerSlot,
) -> Result<(), Error> {
    let table = &mut get(instance.data_mut()).table;
    let request = table.push(request).map_err(Error::Resources)?;
    let out = table.push(ResponseOutparam(answer)).map_err(Error::Resources)?;
    world.wasi_http_incoming_handler().call_handle_async(instance, request, out).await.map_err(Error::Guest)
}

/// A guest that runs when it is polled, until its deadline.
struct Guest {
    run: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
    deadline: Option<Deadline>,
}

struct Deadline {
    timeout: Duration,
    end: Instant,
    /// Made when the guest waits for the first time: most never do.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Guest {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let guest = &mut *self;
        let Some(deadline) = &mut guest.deadline else { return guest.run.as_mut().poll(cx) };
        let end = deadline.end;
        match with_deadline(end.into_std(), || guest.run.as_mut().poll(cx)) {
            Poll::Ready(Err(error)) if error.is_interrupted() => {
                return Poll::Ready(Err(Error::Timeout(deadline.timeout)));
            }
            Poll::Ready(end) => return Poll::Ready(end),
            Poll::Pending => {}
        }
        let sleep = deadline.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        std::task::ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(Error::Timeout(deadline.timeout)))
    }
}

/// A request that waits for its response. Dropping it abandons the guest.
pub struct Exchange {
    /// None once it ended.
    guest: Option<Guest>,
    answer: AnswerSlot,
    on_failure: Listener,
}

impl Future for Exchange {
    type Output = Result<Response<GuestBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let ended = match &mut this.guest {
            Some(guest) => Pin::new(guest).poll(cx),
            None => panic!("an exchange was polled after its end"),
        };
        let end = match ended {
            Poll::Ready(end) => {
                this.guest = None;
                Some(end)
            }
            Poll::Pending => None,
        };
        match (this.answer.take(), end) {
            (None, None) => Poll::Pending,
            (None, Some(Ok(()))) => Poll::Ready(Err(Error::NoResponse)),
            (None, Some(Err(error))) => Poll::Ready(Err(error)),
            (Some(Err(code)), _) => Poll::Ready(Err(Error::Answer(code))),
            // Nothing has been sent yet, so that the client can still be told.
            (Some(Ok(response)), Some(Err(error))) if !response.body().is_complete() => Poll::Ready(Err(error)),
            (Some(Ok(response)), end) => {
                if let Some(Err(error)) = end {
                    (this.on_failure)(&error);
                }
                let guest = this.guest.take().map(|guest| go_on(guest, this.on_failure.clone()));
                Poll::Ready(Ok(response.map(|body| GuestBody { body, guest })))
            }
        }
    }
}

/// Makes a task of a guest that is not done with its answer. It goes on, and its deadline counts, also while the client
/// reads nothing.
fn go_on(guest: Guest, on_failure: Listener) -> AbortHandle {
    let task = tokio::spawn(async move {
        if let Err(error) = guest.await {
            on_failure(&error);
        }
    });
    task.abort_handle()
}

/// The body of a guest's response, which the guest may still be writing. Dropping it before its end abandons the guest.
pub struct GuestBody {
    body: PipeBody,
    guest: Option<AbortHandle>,
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if let Some(guest) = &self.guest
            && !self.body.is_complete()
        {
            guest.abort();
        }
    }
}
