//! What a worker counts, and how it is shown.
//!
//! Each worker has its own counters; who shows them asks all for [`Counts`] and adds these up.

use std::array;
use std::fmt::{self, Display, Write};
use std::iter::Sum;
use std::str::FromStr;
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

/// Where each counter is. Of requests: begun.
const STARTED: usize = 0;

/// Of connections: opened, and closed.
const CONNECTIONS: usize = 1;
const CLOSED: usize = 2;

/// After the answer: nobody's request fails by it.
const LATE_FAILURES: usize = 3;

/// The sum of all requests' latencies.
const MICROSECONDS: usize = 4;

/// One for each [`Outcome`].
const OUTCOMES: usize = 5;

/// One for each bucket, and one for what is beyond.
const LATENCIES: usize = OUTCOMES + Outcome::ALL.len();

const COUNTERS: usize = LATENCIES + BUCKETS + 1;

/// A worker's counters.
pub(crate) struct Stats([AtomicU64; COUNTERS]);

impl Default for Stats {
    fn default() -> Self {
        Stats(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Stats {
    pub(crate) fn begin(&self) {
        self.add(STARTED, 1);
    }

    pub(crate) fn end(&self, outcome: Outcome, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - microseconds.leading_zeros()) as usize;
        self.add(OUTCOMES + outcome as usize, 1);
        self.add(MICROSECONDS, microseconds);
        self.add(LATENCIES + bucket.min(BUCKETS), 1);
    }

    pub(crate) fn connect(&self) {
        self.add(CONNECTIONS, 1);
    }

    pub(crate) fn disconnect(&self) {
        self.add(CLOSED, 1);
    }

    pub(crate) fn fail_late(&self) {
        self.add(LATE_FAILURES, 1);
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts(Box::new(array::from_fn(|at| self.0[at].load(Relaxed))))
    }

    fn add(&self, counter: usize, more: u64) {
        self.0[counter].fetch_add(more, Relaxed);
    }
}

/// What was counted, by one worker or several.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts(Box<[u64; COUNTERS]>);

impl Default for Counts {
    fn default() -> Self {
        Counts(Box::new([0; COUNTERS]))
    }
}

impl<'a> Sum<&'a Counts> for Counts {
    fn sum<I: Iterator<Item = &'a Counts>>(all: I) -> Counts {
        all.fold(Counts::default(), |sum, one| Counts(Box::new(array::from_fn(|at| sum.0[at] + one.0[at]))))
    }
}

/// The numbers, each after a space but the first.
impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = &*self.0;
        write!(f, "{first}")?;
        rest.iter().try_for_each(|count| write!(f, " {count}"))
    }
}

impl FromStr for Counts {
    type Err = ();

    fn from_str(text: &str) -> Result<Counts, ()> {
        let counts: Result<Vec<u64>, _> = text.split(' ').map(str::parse).collect();
        Ok(Counts(counts.map_err(|_| ())?.try_into().map_err(|_| ())?))
    }
}

/// Counts as text, one number per line, in the format that Prometheus reads.
pub(crate) fn show(Counts(counts): &Counts) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: u64| writeln!(text, "precast_{name} {value}").unwrap_or_default();
    let outcomes = &counts[OUTCOMES..LATENCIES];
    let ended: u64 = outcomes.iter().sum();
    line("requests_total", counts[STARTED]);
    line("requests_in_flight", counts[STARTED].saturating_sub(ended));
    for (outcome, count) in Outcome::ALL.into_iter().zip(outcomes) {
        line(&format!("requests_ended_total{{outcome=\"{}\"}}", outcome.name()), *count);
    }
    line("failures_after_answer_total", counts[LATE_FAILURES]);
    line("connections_total", counts[CONNECTIONS]);
    line("connections_open", counts[CONNECTIONS].saturating_sub(counts[CLOSED]));
    let mut below = 0;
    for (bucket, count) in counts[LATENCIES..].iter().enumerate() {
        below += count;
        let bound = if bucket == BUCKETS { "+Inf".into() } else { ((1u64 << bucket) as f64 / 1e6).to_string() };
        line(&format!("request_seconds_bucket{{le=\"{bound}\"}}"), below);
    }
    let seconds = counts[MICROSECONDS] as f64 / 1e6;
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
        let text = show(&all.map(|stats| stats.counts()).iter().sum());
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
