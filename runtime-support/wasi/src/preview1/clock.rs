//! `clock_*`: times in nanoseconds.

use rustix::time::Timespec;

use super::errno::Errno;
use super::memory::GuestMemory;
use super::types::ClockId;
use crate::{Denial, WasiCtx};

pub(crate) fn clock_res_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    id: u32,
    resolution: u32,
) -> Result<(), Errno> {
    let id = ClockId::from_guest(id)?;
    require_clocks(ctx, id)?;
    memory.store_u64(resolution, nanoseconds(rustix::time::clock_getres(host_clock(id))))
}

/// The precision that the guest would be content with is not used: a precise time costs no more.
pub(crate) fn clock_time_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    id: u32,
    _precision: u64,
    time: u32,
) -> Result<(), Errno> {
    let id = ClockId::from_guest(id)?;
    require_clocks(ctx, id)?;
    memory.store_u64(time, now(ctx, id))
}

/// Fails, and tells the user, unless the guest may know the time.
pub(super) fn require_clocks(ctx: &mut WasiCtx, id: ClockId) -> Result<(), Errno> {
    let what = match id {
        ClockId::Realtime => "the wall clock",
        ClockId::Monotonic => "the monotonic clock",
        ClockId::ProcessCpuTime | ClockId::ThreadCpuTime => "its CPU time",
    };
    if ctx.clocks {
        ctx.reads.report(|| what);
        return Ok(());
    }
    ctx.denials.report(Denial::new(what, "clocks"));
    Err(Errno::NotCapable)
}

/// The guest's time on a clock.
pub(super) fn now(ctx: &WasiCtx, id: ClockId) -> u64 {
    let time = nanoseconds(rustix::time::clock_gettime(host_clock(id)));
    match id {
        ClockId::Monotonic => time.saturating_sub(ctx.monotonic_origin),
        ClockId::Realtime | ClockId::ProcessCpuTime | ClockId::ThreadCpuTime => time,
    }
}

/// The host's monotonic clock.
pub(crate) fn host_monotonic() -> u64 {
    nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

fn host_clock(id: ClockId) -> rustix::time::ClockId {
    match id {
        ClockId::Realtime => rustix::time::ClockId::Realtime,
        ClockId::Monotonic => rustix::time::ClockId::Monotonic,
        ClockId::ProcessCpuTime => rustix::time::ClockId::ProcessCPUTime,
        ClockId::ThreadCpuTime => rustix::time::ClockId::ThreadCPUTime,
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, memory, u64_at};
    use super::*;
    use crate::{Grant, Grants};

    #[test]
    fn granted_clocks_run() {
        let (mut ctx, mut memory) = (context(Grants::none().with(Grant::Clocks)).ctx, memory());
        for id in 0..4 {
            clock_res_get(&mut ctx, &mut memory, id, 0).unwrap();
            assert!((1..1_000_000_000).contains(&u64_at(&memory, 0)));
            clock_time_get(&mut ctx, &mut memory, id, 0, 0).unwrap();
            clock_time_get(&mut ctx, &mut memory, id, 1, 8).unwrap();
            assert!(u64_at(&memory, 0) <= u64_at(&memory, 8));
        }
        clock_time_get(&mut ctx, &mut memory, 0, 0, 0).unwrap();
        assert!(u64_at(&memory, 0) > 1_700_000_000_000_000_000, "later than 2023");
        clock_time_get(&mut ctx, &mut memory, 1, 0, 0).unwrap();
        assert!(u64_at(&memory, 0) < 60_000_000_000, "counts from the guest's start");
    }

    #[test]
    fn without_a_grant_there_is_no_time() {
        let (mut guest, mut memory) = (context(Grants::none()), memory());
        assert_eq!(clock_time_get(&mut guest.ctx, &mut memory, 0, 0, 0), Err(Errno::NotCapable));
        assert_eq!(clock_res_get(&mut guest.ctx, &mut memory, 1, 0), Err(Errno::NotCapable));
        assert_eq!(guest.denials(), ["denied: the guest asked for the wall clock; grant it with --allow=clocks"]);
    }

    #[test]
    fn unknown_clocks_and_bad_addresses_are_refused() {
        let (mut ctx, mut memory) = (context(Grants::none().with(Grant::Clocks)).ctx, memory());
        assert_eq!(clock_time_get(&mut ctx, &mut memory, 4, 0, 0), Err(Errno::Inval));
        assert_eq!(clock_res_get(&mut ctx, &mut memory, u32::MAX, 0), Err(Errno::Inval));
        assert_eq!(clock_time_get(&mut ctx, &mut memory, 0, 0, u32::MAX), Err(Errno::Fault));
        assert_eq!(clock_res_get(&mut ctx, &mut memory, 0, u32::MAX - 6), Err(Errno::Fault));
    }
}
