//! `poll_oneoff`: waits until a time has come or a descriptor is ready.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::clock::{host_monotonic, now, require_clocks};
use super::errno::Errno;
use super::memory::{GuestMemory, count};
use super::table::Object;
use super::types::{
    ClockId, EVENT_SIZE, EventRwFlags, EventType, Rights, SUBSCRIPTION_SIZE, Subscription, Wanted, event,
};
use crate::WasiCtx;

/// Most subscriptions in one call: more than there can be descriptors, and a few clocks.
const MOST_SUBSCRIPTIONS: u32 = 4096;

/// What is told of how much can be written where the system does not say: something.
const SOME: u64 = 1;

/// What a subscription is waiting for, in the host's terms.
enum Waiting<'ctx> {
    /// Nothing any more: this many bytes can be moved, or it failed.
    Ended(Result<u64, Errno>),
    /// A time of the host's monotonic clock.
    Until(u64),
    /// A descriptor of the host.
    On(BorrowedFd<'ctx>, PollFlags),
}

type Event = [u8; EVENT_SIZE as usize];

pub(crate) fn poll_oneoff(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    subscriptions: u32,
    events: u32,
    subscription_count: u32,
    stored: u32,
) -> Result<(), Errno> {
    if subscription_count == 0 || subscription_count > MOST_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    memory.check(subscriptions, subscription_count * SUBSCRIPTION_SIZE)?;
    memory.check(events, subscription_count * EVENT_SIZE)?;
    memory.check(stored, 4)?;
    let mut wanted = Vec::with_capacity(subscription_count as usize);
    for index in 0..subscription_count {
        let subscription = Subscription::decode(&memory.load(subscriptions + index * SUBSCRIPTION_SIZE)?)?;
        if let Wanted::Clock { id, .. } = subscription.wanted {
            require_clocks(ctx, id)?;
        }
        wanted.push(subscription);
    }
    let happened = wait(ctx, &wanted)?;
    for (index, event) in (0..).zip(&happened) {
        memory.store(events + index * EVENT_SIZE, event)?;
    }
    memory.store_u32(stored, count(happened.len()))
}

/// Waits until something has happened, and says all that has.
fn wait(ctx: &WasiCtx, wanted: &[Subscription]) -> Result<Vec<Event>, Errno> {
    let waiting: Vec<Waiting<'_>> = wanted.iter().map(|subscription| begin(ctx, subscription.wanted)).collect();
    let mut polled: Vec<PollFd<'_>> = Vec::new();
    for wait in &waiting {
        if let Waiting::On(fd, flags) = wait {
            polled.push(PollFd::from_borrowed_fd(*fd, *flags));
        }
    }
    loop {
        match rustix::event::poll(&mut polled, timeout(&waiting).as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let events = happened(wanted, &waiting, &polled);
        if !events.is_empty() {
            return Ok(events);
        }
    }
}

fn begin(ctx: &WasiCtx, wanted: Wanted) -> Waiting<'_> {
    match wanted {
        Wanted::Clock { id: ClockId::ProcessCpuTime | ClockId::ThreadCpuTime, .. } => {
            Waiting::Ended(Err(Errno::NotSup))
        }
        Wanted::Clock { id, timeout, absolute } => {
            let delay = if absolute { timeout.saturating_sub(now(ctx, id)) } else { timeout };
            Waiting::Until(host_monotonic().saturating_add(delay))
        }
        Wanted::Read(fd) => begin_read(ctx, fd).unwrap_or_else(|errno| Waiting::Ended(Err(errno))),
        Wanted::Write(fd) => begin_write(ctx, fd).unwrap_or_else(|errno| Waiting::Ended(Err(errno))),
    }
}

fn begin_read(ctx: &WasiCtx, fd: u32) -> Result<Waiting<'_>, Errno> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::POLL_FD_READWRITE)?;
    match &descriptor.object {
        Object::Input(input) => Ok(match input.pollable() {
            Some(fd) => Waiting::On(fd, PollFlags::IN),
            None => Waiting::Ended(Ok(input.available())),
        }),
        Object::File(file) => Ok(Waiting::Ended(Ok(file.remaining()?))),
        Object::Listener(socket) => Ok(Waiting::On(socket.as_fd(), PollFlags::IN)),
        Object::Connection(socket) => Ok(Waiting::On(socket.as_fd(), PollFlags::IN)),
        Object::Output(_) | Object::Dir(_) | Object::Ungranted => Err(Errno::BadF),
    }
}

fn begin_write(ctx: &WasiCtx, fd: u32) -> Result<Waiting<'_>, Errno> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::POLL_FD_READWRITE)?;
    match &descriptor.object {
        Object::Output(output) => Ok(match output.pollable() {
            Some(fd) => Waiting::On(fd, PollFlags::OUT),
            None => Waiting::Ended(Ok(SOME)),
        }),
        Object::File(_) => Ok(Waiting::Ended(Ok(SOME))),
        Object::Connection(socket) => Ok(Waiting::On(socket.as_fd(), PollFlags::OUT)),
        Object::Input(_) | Object::Listener(_) | Object::Dir(_) | Object::Ungranted => Err(Errno::BadF),
    }
}

/// How long to wait: not at all if something has happened already, at most until the first of the times.
fn timeout(waiting: &[Waiting<'_>]) -> Option<Timespec> {
    let now = host_monotonic();
    let delays = waiting.iter().filter_map(|wait| match wait {
        Waiting::Ended(_) => Some(0),
        Waiting::Until(time) => Some(time.saturating_sub(now)),
        Waiting::On(..) => None,
    });
    let delay = delays.min()?;
    Some(Timespec { tv_sec: (delay / 1_000_000_000).cast_signed(), tv_nsec: (delay % 1_000_000_000).cast_signed() })
}

/// The events of all that has happened, in the order of the subscriptions.
fn happened(wanted: &[Subscription], waiting: &[Waiting<'_>], polled: &[PollFd<'_>]) -> Vec<Event> {
    let now = host_monotonic();
    let mut polled = polled.iter();
    let mut events = Vec::new();
    for (subscription, wait) in wanted.iter().zip(waiting) {
        let kind = match subscription.wanted {
            Wanted::Clock { .. } => EventType::Clock,
            Wanted::Read(_) => EventType::FdRead,
            Wanted::Write(_) => EventType::FdWrite,
        };
        let outcome = match wait {
            Waiting::Ended(outcome) => Some((*outcome, EventRwFlags::default())),
            Waiting::Until(time) => (*time <= now).then_some((Ok(0), EventRwFlags::default())),
            Waiting::On(fd, _) => polled.next().and_then(|polled| readiness(*fd, kind, polled.revents())),
        };
        if let Some((outcome, flags)) = outcome {
            let bytes = outcome.unwrap_or(0);
            events.push(event(subscription.userdata, outcome.err(), kind, bytes, flags));
        }
    }
    events
}

/// What the system says of a descriptor; `None` if nothing has happened. An error on it is left to be found by the read
/// or write that will not wait.
fn readiness(fd: BorrowedFd<'_>, kind: EventType, found: PollFlags) -> Option<(Result<u64, Errno>, EventRwFlags)> {
    if found.is_empty() {
        return None;
    }
    if found.contains(PollFlags::NVAL) {
        return Some((Err(Errno::BadF), EventRwFlags::default()));
    }
    let bytes = match kind {
        EventType::FdRead => rustix::io::ioctl_fionread(fd).unwrap_or(SOME),
        EventType::FdWrite | EventType::Clock => SOME,
    };
    let hung_up = found.intersects(PollFlags::HUP | PollFlags::RDHUP);
    Some((Ok(bytes), if hung_up { EventRwFlags::HANGUP } else { EventRwFlags::default() }))
}

#[cfg(test)]
mod tests;
