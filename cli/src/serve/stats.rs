//! What a worker counts, and how it is shown.
//!
//! Each worker writes its own counters, on cache lines of their own; who shows them adds them up.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What came of a request. To add one: here, in [`Outcome::ALL`] and in [`Outcome::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A complete response of the guest's, whatever its status.
    Answered,
    /// The guest trapped.
    Trap,
    /// It took longer than it may.
    Timeout,
    /// There was no slot for it.
    NoSlot,
    /// It returned without an answer, or with an error, or ended itself.
    NoResponse,
    /// Something else of the host's failed.
    Host,
    /// The client did not wait for the end of its response.
    HungUp,
    /// The guest did not complete the body.
    Incomplete,
}

impl Outcome {
    const ALL: [Outcome; 8] = [
        Outcome::Answered,
        Outcome::Trap,
        Outcome::Timeout,
        Outcome::NoSlot,
        Outcome::NoResponse,
        Outcome::Host,
        Outcome::HungUp,
        Outcome::Incomplete,
    ];

    /// As logs and metrics have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Trap => "trap",
            Outcome::Timeout => "timeout",
            Outcome::NoSlot => "no-slot",
            Outcome::NoResponse => "no-response",
            Outcome::Host => "host-error",
            Outcome::HungUp => "hung-up",
            Outcome::Incomplete => "incomplete",
        }
    }
}

/// Upper bounds of the latencies that are counted apart, in microseconds: powers of two.
const BUCKETS: usize = 26;

/// A worker's counters.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Stats {
    started: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    connections: AtomicU64,
    closed: AtomicU64,
    /// After the answer: nobody's request fails by it.
    late_failures: AtomicU64,
    microseconds: AtomicU64,
    latencies: [AtomicU64; BUCKETS + 1],
}

impl Stats {
    pub(crate) fn begin(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self, outcome: Outcome, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - microseconds.leading_zeros()) as usize;
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        self.microseconds.fetch_add(microseconds, Relaxed);
        self.latencies[bucket.min(BUCKETS)].fetch_add(1, Relaxed);
    }

    pub(crate) fn connect(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn disconnect(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    pub(crate) fn fail_late(&self) {
        self.late_failures.fetch_add(1, Relaxed);
    }
}

/// All workers' counters as text, one number per line, in the format that Prometheus reads.
pub(crate) fn show(all: &[Stats]) -> String {
    let sum =
        |counter: &dyn Fn(&Stats) -> &AtomicU64| all.iter().map(|stats| counter(stats).load(Relaxed)).sum::<u64>();
    let mut text = String::new();
    let mut line = |name: &str, value: u64| writeln!(text, "precast_{name} {value}").unwrap_or_default();
    let ended: u64 = (0..Outcome::ALL.len()).map(|at| sum(&|stats| &stats.outcomes[at])).sum();
    let started = sum(&|stats| &stats.started);
    line("requests_total", started);
    line("requests_in_flight", started.saturating_sub(ended));
    for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
        line(&format!("requests_ended_total{{outcome=\"{}\"}}", outcome.name()), sum(&|stats| &stats.outcomes[at]));
    }
    line("failures_after_answer_total", sum(&|stats| &stats.late_failures));
    let connections = sum(&|stats| &stats.connections);
    line("connections_total", connections);
    line("connections_open", connections.saturating_sub(sum(&|stats| &stats.closed)));
    let mut below = 0;
    for bucket in 0..=BUCKETS {
        below += sum(&|stats| &stats.latencies[bucket]);
        let bound = if bucket == BUCKETS { "+Inf".into() } else { ((1u64 << bucket) as f64 / 1e6).to_string() };
        line(&format!("request_seconds_bucket{{le=\"{bound}\"}}"), below);
    }
    let seconds = sum(&|stats| &stats.microseconds) as f64 / 1e6;
    writeln!(text, "precast_request_seconds_sum {seconds}").unwrap_or_default();
    writeln!(text, "precast_request_seconds_count {ended}").unwrap_or_default();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up() {
        let all = [Stats::default(), Stats::default()];
        for stats in &all {
            stats.begin();
            stats.begin();
            stats.end(Outcome::Trap, Duration::from_micros(3));
        }
        let text = show(&all);
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        has("precast_requests_total 4");
        has("precast_requests_in_flight 2");
        has("precast_requests_ended_total{outcome=\"trap\"} 2");
        has("precast_request_seconds_bucket{le=\"0.000002\"} 0");
        has("precast_request_seconds_bucket{le=\"0.000004\"} 2");
        has("precast_request_seconds_bucket{le=\"+Inf\"} 2");
        has("precast_request_seconds_sum 0.000006");
    }

    #[test]
    fn outcomes_are_numbered_in_order() {
        assert!(Outcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
    }
}
