//! Rounds, medians, ratios, and the table they end in.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::plot::{self, Bars};

/// Collects figures; prints each as it comes.
pub(crate) struct Report {
    /// How often each pair is measured.
    pub rounds: usize,
    group: String,
    peer: &'static str,
    rows: Vec<Row>,
}

struct Row {
    group: String,
    peer: &'static str,
    name: String,
    unit: &'static str,
    ours: f64,
    peers: f64,
}

impl Report {
    pub(crate) fn new(rounds: usize) -> Self {
        Report { rounds, group: String::new(), peer: "", rows: Vec::new() }
    }

    /// Begins a table whose second column is `peer`. Its head is printed with its first row.
    pub(crate) fn group(&mut self, name: &str, peer: &'static str) {
        (self.group, self.peer) = (name.into(), peer);
    }

    /// Measures both in alternation and reports the medians. A measurement returns its figure in `unit`.
    pub(crate) fn compare(
        &mut self,
        name: &str,
        unit: &'static str,
        mut ours: impl FnMut() -> Result<f64>,
        mut peers: impl FnMut() -> Result<f64>,
    ) -> Result<()> {
        let (mut our_figures, mut peer_figures) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            our_figures.push(ours()?);
            peer_figures.push(peers()?);
        }
        self.add(name, unit, median(&mut our_figures), median(&mut peer_figures));
        Ok(())
    }

    /// Reports a pair of medians.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, ours: f64, peers: f64) {
        if self.rows.last().is_none_or(|row| row.group != self.group) {
            println!("\n{:<34} {:>12} {:>12} {:>8}", self.group, "precast", self.peer, "ratio");
        }
        println!("{name:<34} {ours:>9.2} {unit:<2} {peers:>9.2} {unit:<2} {:>8.3}", ours / peers);
        self.rows.push(Row { group: self.group.clone(), peer: self.peer, name: name.into(), unit, ours, peers });
    }

    /// Prints a figure that has nothing to compare with.
    pub(crate) fn note(&self, name: &str, figure: f64) {
        println!("{name:<34} {figure:>9.2}");
    }

    /// Prints the geometric mean of the ratios of the current group's rows that have `unit`.
    pub(crate) fn geometric_mean(&self, label: &str, unit: &str) {
        let rows = self.rows.iter().filter(|row| row.group == self.group && row.unit == unit);
        let logs: Vec<f64> = rows.map(|row| (row.ours / row.peers).ln()).collect();
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        println!("{label:<34} {:>34.3}  (geometric mean)", mean);
    }

    /// Draws the times of making and calling instances, and what they take.
    pub(crate) fn draw(&self, path: &Path) -> Result<()> {
        let rows = self.rows.iter().filter(|row| row.unit == "ns" && matches!(&*row.group, "cycle" | "components"));
        let bars: Vec<_> = rows
            .map(|row| Bars {
                label: format!("{}: {}", row.group, row.name),
                unit: row.unit,
                ours: row.ours,
                peers: row.peers,
            })
            .collect();
        std::fs::write(path, plot::draw("Fresh instances and calls, beside wasmtime 48 (logarithmic)", &bars))?;
        Ok(())
    }

    /// Writes the rows as JSON if a file is given.
    pub(crate) fn finish(self, json: Option<&Path>) -> Result<()> {
        let Some(path) = json else { return Ok(()) };
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "group": row.group, "name": row.name, "unit": row.unit,
                    "precast": row.ours, (row.peer): row.peers, "ratio": row.ours / row.peers,
                })
            })
            .collect();
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
        Ok(())
    }
}

/// The median of the figures.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Nanoseconds of one of `times` calls.
pub(crate) fn nanoseconds<T>(times: u32, mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        drop(call()?);
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(times))
}

/// As [`nanoseconds`], without the time that it takes to drop what the calls make.
pub(crate) fn nanoseconds_kept<T>(times: u32, mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut kept = Vec::with_capacity(times as usize);
    nanoseconds(times, || {
        kept.push(call()?);
        Ok(())
    })
}

/// Nanoseconds of a call, the median of `times`: what the first finds is cold by what was measured before. Without the time
/// that it takes to drop what the calls make.
pub(crate) fn nanoseconds_each<T>(times: u32, mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut kept = Vec::with_capacity(times as usize);
    let figures = (0..times).map(|_| {
        let start = Instant::now();
        kept.push(call()?);
        Ok(start.elapsed().as_nanos() as f64)
    });
    Ok(median(&mut figures.collect::<Result<Vec<_>>>()?))
}

/// As [`nanoseconds`], with so many threads that each make `times` calls, all at once and after some that do not count.
pub(crate) fn nanoseconds_on<T>(threads: u32, times: u32, call: impl Fn() -> Result<T> + Sync) -> Result<f64> {
    let together = std::sync::Barrier::new(threads as usize);
    let run = || {
        let warm = (0..times / 10 + 1).try_for_each(|_| call().map(drop));
        together.wait();
        let start = Instant::now();
        warm.and_then(|()| (0..times).try_for_each(|_| call().map(drop)))?;
        Ok::<_, crate::Error>(start.elapsed().as_nanos() as f64)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut slowest = run()?;
        for thread in others {
            slowest = slowest.max(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok(slowest / f64::from(threads * times))
    })
}

/// By how much more two threads do than one, as `on` says for a number of threads: the median of some rounds.
pub(crate) fn scaling(on: impl Fn(u32) -> Result<f64>) -> Result<f64> {
    let rounds = (0..11).map(|_| Ok(on(1)? / on(2)?));
    Ok(median(&mut rounds.collect::<Result<Vec<_>>>()?))
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
