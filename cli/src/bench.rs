//! `precast bench`: what opening, instantiating and calling cost here.
//!
//! Each quantity is a list of samples of which median and 99th percentile are told. A sample costs two readings of the
//! clock (some 50 ns) more than what it measures; calls that take less than that are timed in batches.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use precast_loader::{Artifact, Bound, Func, Instance, Limits, Policy};
use precast_wasi::{Grant, Grants, OutputPipe, Stdin, Stdout, WasiCtx};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::args::BenchArgs;
use crate::artifact::{self, Source};
use crate::call::{COMMAND, Call};
use crate::error::Error;
use crate::guest::{self, Stop};
use crate::trap::Backtrace;

/// How long one quantity is sampled, unless that would give fewer than [`MIN_SAMPLES`].
const BUDGET: Duration = Duration::from_secs(2);
const MIN_SAMPLES: usize = 3;
/// How long the steady state may take to settle.
const WARM_UP: Duration = Duration::from_millis(200);
const WARM_UP_CYCLES: usize = 100;
/// A batch of calls takes about this long, so that reading the clock does not count.
const BATCH: Duration = Duration::from_micros(5);

pub(crate) fn run(args: BenchArgs) -> Result<ExitCode, Error> {
    let (artifact, source) = artifact::open(&args.file, &args.cache, &args.codegen)?;
    let (path, _temporary) = file(source)?;
    let bench = Bench::new(&args, &artifact, path)?;
    let measured = bench.measure(&artifact)?;
    let text = if args.json { format!("{:#}\n", to_json(&measured)) } else { to_text(&measured) };
    io::stdout().write_all(text.as_bytes()).map_err(Error::stdout)?;
    Ok(ExitCode::SUCCESS)
}

/// A quantity's name, and its samples in nanoseconds, sorted and not empty.
type Measured = (&'static str, Vec<u64>);

/// The artifact as a file, to open it again and again. One that is in no file is put into one for that long.
fn file(source: Source) -> Result<(PathBuf, Option<NamedTempFile>), Error> {
    match source {
        Source::File(path) => Ok((path, None)),
        Source::Bytes(bytes) => {
            let failed = |error| Error::context("cannot write a temporary file", error);
            let mut file = NamedTempFile::new().map_err(failed)?;
            file.write_all(&bytes).map_err(failed)?;
            Ok((file.path().to_owned(), Some(file)))
        }
    }
}

/// What is measured.
struct Bench {
    path: PathBuf,
    /// At most this many samples.
    samples: usize,
    /// What to call before a reactor's export.
    initializer: Option<Call>,
    call: Option<Call>,
}

impl Bench {
    fn new(args: &BenchArgs, artifact: &Artifact, path: PathBuf) -> Result<Self, Error> {
        let call = match &args.invoke {
            Some(export) => Some(Call::new(artifact, export, &args.args)?),
            None if !args.args.is_empty() => {
                return Err(Error::Usage("arguments are for the function that --invoke names".into()));
            }
            None => Call::without_params(artifact, COMMAND),
        };
        if call.is_none() {
            eprintln!("precast: no `{COMMAND}` is exported and no --invoke given: cycles are without a call");
        }
        let initializer = call.as_ref().and_then(|call| call.initializer(artifact));
        Ok(Bench { path, samples: args.iterations as usize, initializer, call })
    }

    fn measure(&self, artifact: &Artifact) -> Result<[Measured; 4], Error> {
        let opening = self.sample(|| timed(|| open(&self.path)).map(|(time, _)| time))?;
        let first = self.sample(|| {
            let bound = bind(&open(&self.path)?)?;
            timed(|| self.cycle(&bound)).map(|(time, ())| time)
        })?;
        let bound = bind(artifact)?;
        self.warm_up(&bound)?;
        let cycle = self.sample(|| timed(|| self.cycle(&bound)).map(|(time, ())| time))?;
        let call = self.calls(&bound)?;
        Ok([("open_ns", opening), ("first_cycle_ns", first), ("cycle_ns", cycle), ("call_ns", call)])
    }

    /// Instantiates, calls and drops.
    fn cycle(&self, bound: &Bound<WasiCtx>) -> Result<(), Error> {
        let mut instance = self.instantiate(bound)?;
        match &self.call {
            Some(call) => completed(guest::call(&mut instance, call)),
            None => Ok(()),
        }
    }

    fn instantiate(&self, bound: &Bound<WasiCtx>) -> Result<Instance<WasiCtx>, Error> {
        let mut instance = bound.instantiate(sink()?).map_err(|error| failed(error.into()))?;
        if let Some(initializer) = &self.initializer {
            completed(guest::call(&mut instance, initializer))?;
        }
        Ok(instance)
    }

    /// Lets slots learn what the guest writes.
    fn warm_up(&self, bound: &Bound<WasiCtx>) -> Result<(), Error> {
        let started = Instant::now();
        for _ in 0..WARM_UP_CYCLES {
            self.cycle(bound)?;
            if started.elapsed() > WARM_UP {
                break;
            }
        }
        Ok(())
    }

    /// The call alone. A command runs once in its life, so each call of `_start` has an instance of its own, whose
    /// making is not counted; anything else is called again and again in one instance.
    fn calls(&self, bound: &Bound<WasiCtx>) -> Result<Vec<u64>, Error> {
        let Some(call) = &self.call else { return Ok(vec![0]) };
        if call.export == COMMAND {
            return self.sample(|| {
                let mut instance = self.instantiate(bound)?;
                timed(|| completed(guest::call(&mut instance, call))).map(|(time, ())| time)
            });
        }
        let mut instance = self.instantiate(bound)?;
        let func = guest::function(&instance, call)?;
        let (once, ()) = timed(|| repeat(1, func, &mut instance, call))?;
        let batch = (BATCH.as_nanos() as u64 / once.max(1)).clamp(1, 1000);
        self.sample(|| timed(|| repeat(batch, func, &mut instance, call)).map(|(time, ())| time / batch))
    }

    /// Takes samples until there are enough or time is up.
    fn sample(&self, mut take: impl FnMut() -> Result<u64, Error>) -> Result<Vec<u64>, Error> {
        let started = Instant::now();
        let mut samples = Vec::new();
        while samples.len() < self.samples && (samples.len() < MIN_SAMPLES || started.elapsed() < BUDGET) {
            samples.push(take()?);
        }
        samples.sort_unstable();
        Ok(samples)
    }
}

/// How many nanoseconds `work` took; what it made is dropped afterwards.
fn timed<X>(work: impl FnOnce() -> Result<X, Error>) -> Result<(u64, X), Error> {
    let started = Instant::now();
    let made = work()?;
    let time = started.elapsed();
    Ok((u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), made))
}

fn repeat(times: u64, func: Func, instance: &mut Instance<WasiCtx>, call: &Call) -> Result<(), Error> {
    for _ in 0..times {
        completed(func.call(instance, &call.params).map_err(Stop::from))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Artifact, Error> {
    Artifact::open(path, Policy::Verify).map_err(|error| Error::context("cannot open the artifact", error))
}

fn bind(artifact: &Artifact) -> Result<Bound<WasiCtx>, Error> {
    guest::bind(artifact, Limits::default(), true)
}

/// A world for the guest in which it may tell the time and draw numbers, and nobody listens.
fn sink() -> Result<WasiCtx, Error> {
    let discard = || Stdout::Pipe(OutputPipe::new(usize::MAX));
    WasiCtx::builder()
        .grants(Grants::none().with(Grant::Clocks).with(Grant::Random))
        .stdin(Stdin::Bytes(Vec::new()))
        .stdout(discard())
        .stderr(discard())
        .build()
        .map_err(|error| Error::context("cannot make a WASI context", error))
}

/// A guest that ends itself has completed too.
fn completed<X>(result: Result<X, Stop>) -> Result<(), Error> {
    match result {
        Ok(_) | Err(Stop::Exit(_)) => Ok(()),
        Err(stop) => Err(failed(stop)),
    }
}

fn failed(stop: Stop) -> Error {
    match stop {
        Stop::Exit(status) => Error::Failed(format!("the guest exited with status {status} before it was called")),
        Stop::Trap(trap) => Error::Failed(format!("the guest trapped: {}", Backtrace(&trap))),
        Stop::Failed(error) => error,
    }
}

/// The sample that `percent` of them do not exceed. `samples` are sorted and not empty.
fn percentile(samples: &[u64], percent: usize) -> u64 {
    let rank = (samples.len() * percent).div_ceil(100).max(1);
    samples.get(rank - 1).copied().unwrap_or_default()
}

fn to_json(measured: &[Measured]) -> Value {
    let quantity = |(name, samples): &Measured| {
        (name.to_string(), json!({ "p50": percentile(samples, 50), "p99": percentile(samples, 99) }))
    };
    Value::Object(measured.iter().map(quantity).collect())
}

fn to_text(measured: &[Measured]) -> String {
    let mut text = format!("{:<16}{:>14}{:>14}{:>10}\n", "", "p50", "p99", "samples");
    for (name, samples) in measured {
        let name = name.trim_end_matches("_ns").replace('_', " ");
        let (median, high) = (percentile(samples, 50), percentile(samples, 99));
        text += &format!("{name:<16}{median:>11} ns{high:>11} ns{:>10}\n", samples.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&samples, 50), 100);
        assert_eq!(percentile(&samples, 99), 198);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[1, 2], 99), 2);
    }
}
