//! `proc_*` and `sched_yield`.

use super::errno::Errno;
use super::memory::GuestMemory;
use crate::{Exit, WasiCtx};

/// Ends the guest with a status.
pub(crate) fn proc_exit(status: u32) -> Exit {
    Exit(status.cast_signed())
}

// Numbers of `signal` in `typenames.witx`; those left out end the guest.
const NONE: u32 = 0;
const CHLD: u32 = 16;
const CONT: u32 = 17;
const STOP: u32 = 18;
const TTOU: u32 = 21;
const URG: u32 = 22;
const WINCH: u32 = 27;
const SYS: u32 = 30;

/// What a raised signal does: ends the guest, or not.
pub(crate) enum Raised {
    Exit(Exit),
    Errno(Result<(), Errno>),
}

/// Sends the guest a signal. It cannot have a handler, so what POSIX does by default happens: the signal is ignored,
/// or the guest ends with the status that a shell shows for it. Stopping is not supported: nobody could continue it.
pub(crate) fn proc_raise(signal: u32) -> Raised {
    match signal {
        NONE | CHLD | CONT | URG | WINCH => Raised::Errno(Ok(())),
        STOP..=TTOU => Raised::Errno(Err(Errno::NotSup)),
        _ if signal <= SYS => Raised::Exit(Exit(128 + signal.cast_signed())),
        _ => Raised::Errno(Err(Errno::Inval)),
    }
}

pub(crate) fn sched_yield(_ctx: &mut WasiCtx, _memory: &mut dyn GuestMemory) -> Result<(), Errno> {
    std::thread::yield_now();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, memory};
    use super::*;
    use crate::Grants;

    #[test]
    fn exiting_carries_the_status() {
        assert_eq!(proc_exit(7), Exit(7));
        assert_eq!(proc_exit(u32::MAX), Exit(-1));
    }

    #[test]
    fn signals_do_what_they_do_by_default() {
        let status = |signal| match proc_raise(signal) {
            Raised::Exit(Exit(status)) => Ok(status),
            Raised::Errno(errno) => Err(errno),
        };
        assert_eq!(status(0), Err(Ok(())));
        assert_eq!(status(6), Ok(134), "abrt");
        assert_eq!(status(9), Ok(137), "kill");
        assert_eq!(status(16), Err(Ok(())), "chld");
        assert_eq!(status(18), Err(Err(Errno::NotSup)), "stop");
        assert_eq!(status(31), Err(Err(Errno::Inval)));
    }

    #[test]
    fn yielding_comes_back() {
        assert_eq!(sched_yield(&mut context(Grants::none()).ctx, &mut memory()), Ok(()));
    }
}
