//! `wasi:clocks`: the time, and waiting for it.
//!
//! No function of it can fail, so a guest that was not granted clocks is stopped when it asks for the time, as most
//! would stop themselves with WASI 0.1. A clock that stands still would hang those that wait in a loop.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use precast_loader::HostError;
use precast_loader::component::Resource;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use tokio::time::Sleep;

use super::Ctx;
use super::bindings::wasi::clocks::{monotonic_clock, timezone, wall_clock};
use super::io::{Pollable, Ready};

impl monotonic_clock::Host for Ctx {
    fn now(&mut self) -> Result<u64, HostError> {
        self.require_monotonic()?;
        let elapsed = self.started().elapsed();
        Ok(u64::try_from(elapsed.as_nanos())?)
    }

    fn resolution(&mut self) -> Result<u64, HostError> {
        self.require_monotonic()?;
        let resolution = datetime(clock_getres(ClockId::Monotonic));
        Ok(resolution.seconds * 1_000_000_000 + u64::from(resolution.nanoseconds))
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<Pollable>, HostError> {
        self.require_monotonic()?;
        let deadline = self.started().checked_add(Duration::from_nanos(when));
        Ok(Pollable::new(&mut self.table, Timer::new(deadline))?)
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<Pollable>, HostError> {
        self.require_monotonic()?;
        let deadline = Instant::now().checked_add(Duration::from_nanos(when));
        Ok(Pollable::new(&mut self.table, Timer::new(deadline))?)
    }
}

impl wall_clock::Host for Ctx {
    fn now(&mut self) -> Result<wall_clock::Datetime, HostError> {
        self.require(self.shared.clocks, "the wall clock", "clocks")?;
        Ok(datetime(clock_gettime(ClockId::Realtime)))
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime, HostError> {
        self.require(self.shared.clocks, "the wall clock", "clocks")?;
        Ok(datetime(clock_getres(ClockId::Realtime)))
    }
}

/// The host's time zone is not shown: guests live in UTC, which the interface names for that.
impl timezone::Host for Ctx {
    fn display(&mut self, _: wall_clock::Datetime) -> Result<timezone::TimezoneDisplay, HostError> {
        Ok(timezone::TimezoneDisplay { utc_offset: 0, name: "UTC".into(), in_daylight_saving_time: false })
    }

    fn utc_offset(&mut self, _: wall_clock::Datetime) -> Result<i32, HostError> {
        Ok(0)
    }
}

impl Ctx {
    fn require_monotonic(&self) -> Result<(), HostError> {
        self.require(self.shared.clocks, "the monotonic clock", "clocks")
    }

    /// When the guest's monotonic clock was zero: a moment ago if it has not asked before.
    fn started(&mut self) -> Instant {
        *self.started.get_or_insert_with(Instant::now)
    }
}

/// A time as the interface has it; what lies before 1970 is moved there.
pub(super) fn datetime(time: Timespec) -> wall_clock::Datetime {
    match u64::try_from(time.tv_sec) {
        Ok(seconds) => {
            let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0).min(999_999_999);
            wall_clock::Datetime { seconds, nanoseconds }
        }
        Err(_) => wall_clock::Datetime { seconds: 0, nanoseconds: 0 },
    }
}

/// A time that will come, or never does if it is beyond what the host's clock counts.
struct Timer {
    deadline: Option<Instant>,
    /// Made when the guest waits: most timers are polled together with something that is ready first.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, sleep: None }
    }
}

impl Ready for Timer {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::monotonic_clock::Host as _;
    use super::*;
    use crate::preview2::Denied;
    use crate::preview2::bindings::wasi::io::poll::{Host as _, HostPollable as _};
    use crate::{Grant, Grants};

    #[tokio::test]
    async fn time_passes() {
        let mut guest = context(Grants::none().with(Grant::Clocks));
        let ctx = &mut guest.ctx;
        let start = monotonic_clock::Host::now(ctx).unwrap();
        assert!(start < 1_000_000_000 && monotonic_clock::Host::resolution(ctx).unwrap() > 0);
        let soon = ctx.subscribe_duration(20_000_000).unwrap();
        let later = ctx.subscribe_instant(start + 3_600_000_000_000).unwrap();
        let never = ctx.subscribe_instant(u64::MAX).unwrap();
        let again = |resource: &Resource<Pollable>| Resource::new_borrow(resource.rep());
        assert!(!ctx.ready(again(&soon)).unwrap());
        assert_eq!(ctx.poll(vec![again(&later), again(&soon), again(&never)]).await.unwrap(), [1]);
        assert!(ctx.ready(again(&soon)).unwrap() && !ctx.ready(again(&later)).unwrap());
        assert!(monotonic_clock::Host::now(ctx).unwrap() >= start + 20_000_000);
        let past = ctx.subscribe_instant(0).unwrap();
        ctx.block(past).await.unwrap();
        assert!(ctx.poll(Vec::new()).await.unwrap_err().is::<super::super::io::PollsNothing>());
        let now = wall_clock::Host::now(ctx).unwrap();
        assert!(now.seconds > 1_700_000_000 && now.nanoseconds < 1_000_000_000);
    }

    #[test]
    fn without_a_grant_there_is_no_time() {
        let mut guest = context(Grants::none());
        assert!(monotonic_clock::Host::now(&mut guest.ctx).unwrap_err().is::<Denied>());
        let stopped = wall_clock::Host::now(&mut guest.ctx).unwrap_err();
        let text = "denied: the guest asked for the wall clock; grant it with --allow=clocks";
        assert_eq!(stopped.to_string(), text);
        let told = "denied: the guest asked for the monotonic clock; grant it with --allow=clocks";
        assert_eq!(guest.denials(), [told]);
    }
}
