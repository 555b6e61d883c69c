//! Random modules on precast and on wasmtime: results, traps with their backtraces, calls of the host, and after each call
//! all globals, memories and tables must be equal. And random components: values, and whether there is a trap.
//!
//! `cargo run --release -p precast-differential -- --seconds 600 --seed 1` does it for ten minutes (with `--components`
//! for components), and `cargo test --release -p precast-differential` for a few hundred seeds of each. Both need minutes
//! to build wasmtime, so this package is none of the workspace's default members.
//!
//! [`check`] and [`components::check`] are the whole of it; what happens on precast's side, and how cases are made, is in
//! `precast_tests::smith` and `precast_tests::components`.

pub mod components;
mod peer;

use precast_tests::smith::play::without_trap_offsets;
use precast_tests::smith::{self, Failure, play};

/// What came of a case without a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether there was a case for the seed.
    pub checked: bool,
    /// Calls and other steps that were compared.
    pub steps: usize,
    /// How many of them trapped.
    pub traps: usize,
    /// How many exhausted the stack.
    pub overflows: usize,
    /// Whether a trap had another offset in its function. That may be: optimising moves traps, and not all modules are
    /// translated alike. But it is to be rare.
    pub elsewhere: bool,
    /// Calls of host functions.
    pub host_calls: usize,
}

/// Checks the case with this seed.
///
/// # Errors
/// What differs between precast and the peer, or between two ways to run it on precast.
pub fn check(seed: u64) -> Result<Outcome, Failure> {
    let Some(checked) = smith::check(seed)? else { return Ok(Outcome::default()) };
    let trace = peer::play(&checked)?;
    let difference = |one, other| play::difference(&checked.plan, one, other);
    let elsewhere = difference(&checked.trace, &trace).is_some();
    if elsewhere
        && let Some(difference) = difference(&without_trap_offsets(&checked.trace), &without_trap_offsets(&trace))
    {
        return Err(Failure(format!("precast is one, wasmtime the other: {difference}")));
    }
    let events = || trace.iter().flatten();
    let stops = || events().filter_map(|event| event.outcome.as_ref().err());
    Ok(Outcome {
        checked: true,
        steps: events().count(),
        traps: stops().filter(|stop| matches!(stop, play::Stop::Trap { .. })).count(),
        overflows: stops().filter(|stop| matches!(stop, play::Stop::StackOverflow)).count(),
        elsewhere,
        host_calls: events().map(|event| event.host_calls.len()).sum(),
    })
}
