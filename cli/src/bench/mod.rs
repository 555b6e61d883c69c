//! `precast bench`: what opening, instantiating and calling cost here.
//!
//! Each quantity is a list of samples of which median and 99th percentile are told. A sample costs two readings of the
//! clock (some 50 ns) more than what it measures; calls that take less than that are timed in batches.

mod component;
mod module;
mod repeat;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use precast_loader::{Artifact, Linker, Policy};
use precast_wasi::{Grant, Grants, OutputPipe, Stdin, Stdout, WasiCtx, WasiCtxBuilder};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::args::BenchArgs;
use crate::artifact::{self, Source};
use crate::error::Error;
use crate::guest::{self, Stop};
use crate::output;
use crate::trap::Backtrace;
use component::Component;
use module::Module;

/// How long one quantity is sampled, unless that would give fewer than [`MIN_SAMPLES`].
const BUDGET: Duration = Duration::from_secs(2);
const MIN_SAMPLES: usize = 3;
/// How long the steady state may take to settle.
const WARM_UP: Duration = Duration::from_millis(200);
const WARM_UP_CYCLES: usize = 100;
/// A batch of calls takes about this many nanoseconds, so that reading the clock does not count.
const BATCH: u64 = 5000;
const LARGEST_BATCH: u64 = 1024;

pub(crate) fn run(mut args: BenchArgs) -> Result<ExitCode, Error> {
    find_file(&mut args);
    args.codegen.metered = args.metering.fuel;
    let (artifact, source) = artifact::open(&args.file, &args.cache, &args.codegen)?;
    let (path, _temporary) = file(source)?;
    let samples = args.iterations as usize;
    let measured = if artifact.is_component() {
        let subject = Component::new(&args, &artifact)?;
        Bench { path, samples, subject }.measure(&artifact)?
    } else if guest::imports_wasi(&artifact) {
        let subject = Module::new(&args, &artifact, guest::wasi_linker(), || sink().build().map_err(no_context))?;
        Bench { path, samples, subject }.measure(&artifact)?
    } else {
        // A context is part of a cycle for those that use one only.
        let subject = Module::new(&args, &artifact, Linker::new(), || Ok(()))?;
        Bench { path, samples, subject }.measure(&artifact)?
    };
    let text = if args.json { format!("{:#}\n", to_json(&measured)) } else { to_text(&measured) };
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// `--invoke add 2 3 math.wat` is as natural as `--invoke add math.wat 2 3`: if there is no file of the first name, and
/// one of the last, that one is meant.
fn find_file(args: &mut BenchArgs) {
    if args.args.last().is_some_and(|last| !args.file.exists() && Path::new(last).exists())
        && let Some(first) = args.file.to_str().map(str::to_owned)
        && let Some(last) = args.args.pop()
    {
        args.args.insert(0, first);
        args.file = last.into();
    }
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

/// A guest of some kind: how it is bound, instantiated and called.
trait Subject {
    type Bound;
    type Instance;

    fn bind(&self, artifact: &Artifact) -> Result<Self::Bound, Error>;

    /// Instantiates; of a reactor, its initialiser is called too.
    fn instantiate(&self, bound: &Self::Bound) -> Result<Self::Instance, Error>;

    /// Makes the call that is measured, if there is one.
    fn call(&self, instance: &mut Self::Instance) -> Result<(), Error>;

    /// Whether there is a call, and whether it can be made again in the same instance.
    fn calls(&self) -> Calls;

    /// The call, prepared to be made again and again.
    fn repeat(&self, instance: &Self::Instance) -> Result<Repeat<'_, Self::Instance>, Error>;
}

/// Makes a call so many times.
type Repeat<'s, I> = Box<dyn Fn(&mut I, u64) -> Result<(), Error> + 's>;

/// How often the call can be made in an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    None,
    /// It is that of a command, which runs once in its life.
    Once,
    Often,
}

/// What is measured.
struct Bench<S> {
    path: PathBuf,
    /// At most this many samples.
    samples: usize,
    subject: S,
}

impl<S: Subject> Bench<S> {
    fn measure(&self, artifact: &Artifact) -> Result<[Measured; 4], Error> {
        let opening = self.sample(|| timed(|| open(&self.path)).map(|(time, _)| time))?;
        let first = self.sample(|| {
            let bound = self.subject.bind(&open(&self.path)?)?;
            timed(|| self.cycle(&bound)).map(|(time, ())| time)
        })?;
        let bound = self.subject.bind(artifact)?;
        self.warm_up(&bound)?;
        let cycle = self.sample(|| timed(|| self.cycle(&bound)).map(|(time, ())| time))?;
        let call = self.call_alone(&bound)?;
        Ok([("open_ns", opening), ("first_cycle_ns", first), ("cycle_ns", cycle), ("call_ns", call)])
    }

    /// Instantiates, calls and drops.
    fn cycle(&self, bound: &S::Bound) -> Result<(), Error> {
        let mut instance = self.subject.instantiate(bound)?;
        self.subject.call(&mut instance)
    }

    /// Lets slots learn what the guest writes.
    fn warm_up(&self, bound: &S::Bound) -> Result<(), Error> {
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
    fn call_alone(&self, bound: &S::Bound) -> Result<Vec<u64>, Error> {
        match self.subject.calls() {
            Calls::None => return Ok(vec![0]),
            Calls::Once => {
                return self.sample(|| {
                    let mut instance = self.subject.instantiate(bound)?;
                    timed(|| self.subject.call(&mut instance)).map(|(time, ())| time)
                });
            }
            Calls::Often => {}
        }
        let mut instance = self.subject.instantiate(bound)?;
        let repeat = self.subject.repeat(&instance)?;
        let mut time = |count| timed(|| repeat(&mut instance, count)).map(|(time, ())| time);
        let mut batch = 1;
        // The better of two, since the first call finds everything cold.
        while batch < LARGEST_BATCH && time(batch)?.min(time(batch)?) < BATCH {
            batch *= 2;
        }
        self.sample(|| Ok(time(batch)? / batch))
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

fn open(path: &Path) -> Result<Artifact, Error> {
    Artifact::open(path, Policy::Verify).map_err(|error| Error::context("cannot open the artifact", error))
}

/// A world for the guest in which it may tell the time and draw numbers, and nobody listens.
fn sink() -> WasiCtxBuilder {
    let discard = || Stdout::Pipe(OutputPipe::new(usize::MAX));
    WasiCtx::builder()
        .grants(Grants::none().with(Grant::Clocks).with(Grant::Random))
        .stdin(Stdin::Bytes(Vec::new()))
        .stdout(discard())
        .stderr(discard())
}

fn no_context(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::context("cannot make a WASI context", error)
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
        Stop::Denied(denied) => Error::Failed(format!("the guest was stopped: {denied}")),
        Stop::Failed(error) => error,
    }
}

fn arguments_without_function() -> Error {
    Error::Usage("arguments are for the function that --invoke names".into())
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
