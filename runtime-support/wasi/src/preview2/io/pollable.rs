//! The resource `wasi:io/poll.pollable`: a thing to wait for, found through the table that all resources lie in.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use precast_loader::HostError;
use precast_loader::component::{Resource, ResourceTable, ResourceTableError};

use super::Ready;

/// Something that a guest waits for.
pub struct Pollable(Source);

enum Source {
    /// What the pollable is of: its place in the table, and how to ask what lies there.
    Parent { place: u32, poll: PollParent },
    /// Nothing else has to do with it.
    Own(Box<dyn Ready>),
}

type PollParent = fn(&mut ResourceTable, u32, &mut Context<'_>) -> Result<Poll<()>, ResourceTableError>;

impl Pollable {
    /// A pollable of another resource, whose child it becomes.
    ///
    /// # Errors
    /// There is no such resource, or no room.
    pub fn of<R: Ready>(
        table: &mut ResourceTable,
        parent: &Resource<R>,
    ) -> Result<Resource<Pollable>, ResourceTableError> {
        let pollable = Self(Source::Parent { place: parent.rep(), poll: poll_parent::<R> });
        table.push_child(pollable, parent)
    }

    /// A pollable of something that is no resource itself: a time that will come.
    ///
    /// # Errors
    /// There is no room.
    pub fn new(table: &mut ResourceTable, ready: impl Ready) -> Result<Resource<Pollable>, ResourceTableError> {
        table.push(Self(Source::Own(Box::new(ready))))
    }

    /// Whether waiting is over; see [`Ready::poll_ready`].
    ///
    /// # Errors
    /// There is no such pollable, or what it was of is gone.
    pub fn poll(
        table: &mut ResourceTable,
        pollable: &Resource<Pollable>,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, ResourceTableError> {
        match &mut table.get_mut(pollable)?.0 {
            Source::Own(ready) => Ok(ready.poll_ready(cx)),
            Source::Parent { place, poll } => {
                let (place, poll) = (*place, *poll);
                poll(table, place, cx)
            }
        }
    }
}

fn poll_parent<R: Ready>(
    table: &mut ResourceTable,
    place: u32,
    cx: &mut Context<'_>,
) -> Result<Poll<()>, ResourceTableError> {
    Ok(table.get_mut(&Resource::<R>::new_borrow(place))?.poll_ready(cx))
}

/// Whether a pollable is ready, without waiting.
pub(crate) fn is_ready(table: &mut ResourceTable, pollable: &Resource<Pollable>) -> Result<bool, HostError> {
    let mut nobody = Context::from_waker(Waker::noop());
    Ok(Pollable::poll(table, pollable, &mut nobody)?.is_ready())
}

/// A guest waits for nothing at all, which would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest polls an empty list")]
pub struct PollsNothing;

/// Lets others have their turn from time to time. A guest that waits only for what is ready anyway must not keep the
/// thread, nor escape its deadline.
pub(super) async fn take_turns() {
    tokio::task::consume_budget().await;
}

/// Waits until one of the pollables is ready; the indices of all that are.
pub(crate) async fn poll(table: &mut ResourceTable, pollables: &[Resource<Pollable>]) -> Result<Vec<u32>, HostError> {
    if pollables.is_empty() {
        return Err(PollsNothing.into());
    }
    take_turns().await;
    poll_fn(|cx| {
        let mut ready = Vec::new();
        for (index, pollable) in (0..).zip(pollables) {
            if Pollable::poll(table, pollable, cx)?.is_ready() {
                ready.push(index);
            }
        }
        if ready.is_empty() { Poll::Pending } else { Poll::Ready(Ok(ready)) }
    })
    .await
}

/// Waits until a resource of the table is ready.
pub(crate) async fn until_ready<R: Ready>(
    table: &mut ResourceTable,
    resource: &Resource<R>,
) -> Result<(), ResourceTableError> {
    poll_fn(|cx| match table.get_mut(resource) {
        Ok(resource) => resource.poll_ready(cx).map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}
