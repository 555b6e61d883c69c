//! A request to an instance that is there and stays: to warm it up, before its state becomes what others start from.
//!
//! What comes in: an instance, and a request. What goes out: the whole response, when the guest has returned. Unlike a
//! [`Proxy`](super::Proxy), which answers with an instance that nobody needs afterwards, this leaves it between two calls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::BodyExt;
use precast_loader::component::Instance;

use super::bindings::Proxy as World;
use super::message::{AnswerSlot, IncomingRequest};
use super::proxy::{Error, handle};
use super::{Failure, IncomingBody};
use crate::preview2::Ctx;

/// Has an instance answer a request: calls its handler, and reads the response while that runs. In a tokio runtime. `get`
/// finds the context in the instance's data, and `scheme` is what the client is to have come by.
///
/// # Errors
/// The component has no handler, fails, or returns before its response is complete.
///
/// # Panics
/// With the panic of a host function that the guest called.
pub async fn answer<T: Send + 'static>(
    instance: &mut Instance<T>,
    get: fn(&mut T) -> &mut Ctx,
    request: Request<impl Into<IncomingBody>>,
    scheme: Scheme,
) -> Result<Response<Bytes>, Error> {
    let world = World::new(instance).map_err(Error::Export)?;
    let slot = AnswerSlot::default();
    let request = IncomingRequest::new(request.map(Into::into), scheme);
    let mut guest = pin!(handle(instance, get, &world, request, slot.clone()));
    let (answer, ended) = poll_fn(|cx| {
        let ended = match guest.as_mut().poll(cx) {
            Poll::Ready(outcome) => outcome.map(|()| true)?,
            Poll::Pending => false,
        };
        match slot.take() {
            None if !ended => Poll::Pending,
            answer => Poll::Ready(Ok((answer, ended))),
        }
    })
    .await?;
    let (head, body) = answer.ok_or(Error::NoResponse)?.map_err(Error::Answer)?.into_parts();
    let (mut body, mut read) = (pin!(body.collect()), None);
    // A guest writes no more than the pipe takes before somebody reads it.
    let go_on = poll_fn(|cx| {
        if read.is_none()
            && let Poll::Ready(all) = body.as_mut().poll(cx)
        {
            read = Some(all);
        }
        guest.as_mut().poll(cx)
    });
    if !ended {
        go_on.await?;
    }
    let read = read.or_else(|| body.now_or_never()).ok_or(Error::Incomplete)?;
    let bytes = read.map_err(|Failure(code)| Error::Answer(code))?.to_bytes();
    Ok(Response::from_parts(head, bytes))
}
