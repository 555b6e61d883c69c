//! `precast-differential`: checks random modules, or components, for a while.
//!
//! The cases run in a child process, which tells the seed before it checks each: so a crash or a hang has a seed too.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use precast_differential::{Outcome, check, components};
use precast_tests::smith::Case;

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Checks random modules on precast and on wasmtime; the exit status is 1 if they did not always agree.
#[derive(Parser)]
struct Arguments {
    /// Check components instead.
    #[arg(long)]
    components: bool,
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// For how many seeds at most.
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// Where the module of a failure is written, as SEED.wasm and SEED.wat.
    #[arg(long, default_value = ".")]
    failures: PathBuf,
    /// Check in this process, and report in lines for the other.
    #[arg(long, hide = true)]
    worker: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.worker {
        work(&arguments);
    }
    match supervise(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Checks seeds until killed. A line for each: `seed N`, then `ok` with counts, or `failed` and the failure.
fn work(arguments: &Arguments) -> ! {
    let check = if arguments.components { components::check } else { check };
    let mut seed = arguments.seed;
    loop {
        println!("seed {seed}");
        match check(seed) {
            Ok(Outcome { checked, steps, traps, overflows, elsewhere, host_calls }) => {
                let (checked, elsewhere) = (u8::from(checked), u8::from(elsewhere));
                println!("ok {checked} {steps} {traps} {overflows} {elsewhere} {host_calls}");
            }
            Err(failure) => println!("failed {:?}", failure.0),
        }
        seed = seed.wrapping_add(1);
    }
}

/// A worker and its lines; killed when dropped.
struct Worker {
    child: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(seed: u64, components: bool) -> std::io::Result<Worker> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--worker", "--seed", &seed.to_string()]).stdout(Stdio::piped());
        if components {
            command.arg("--components");
        }
        let mut child = command.spawn()?;
        let (sender, lines) = channel();
        let output = child.stdout.take().map(BufReader::new);
        std::thread::spawn(move || {
            let lines = output.into_iter().flat_map(|output| output.lines().map_while(Result::ok));
            lines.map_while(|line| sender.send(line).ok()).for_each(drop);
        });
        Ok(Worker { child, lines })
    }

    /// What came of the seed that the worker is at.
    fn outcome(&mut self) -> Result<Outcome, String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match line.split_once(' ') {
                    Some(("seed", _)) => {}
                    Some(("ok", counts)) => return Ok(counted(counts)),
                    _ => return Err(line),
                },
                Err(RecvTimeoutError::Timeout) => return Err(format!("it hangs for {} seconds", PATIENCE.as_secs())),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(match self.child.wait() {
                        Ok(status) => format!("it crashed: {status}"),
                        Err(error) => error.to_string(),
                    });
                }
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn counted(counts: &str) -> Outcome {
    let mut counts = counts.split(' ').map(|count| count.parse::<usize>().unwrap_or_default());
    let mut next = || counts.next().unwrap_or_default();
    Outcome {
        checked: next() == 1,
        steps: next(),
        traps: next(),
        overflows: next(),
        elsewhere: next() == 1,
        host_calls: next(),
    }
}

/// Runs workers until the time is over. Returns whether there was no failure.
fn supervise(arguments: &Arguments) -> std::io::Result<bool> {
    let start = Instant::now();
    let last = arguments.seed.saturating_add(arguments.count);
    let (mut worker, mut seed) = (Worker::start(arguments.seed, arguments.components)?, arguments.seed);
    let (mut total, mut modules, mut elsewhere, mut failures) = (Outcome::default(), 0u64, 0u64, 0u64);
    while start.elapsed().as_secs() < arguments.seconds && seed < last {
        match worker.outcome() {
            Ok(outcome) => {
                modules += u64::from(outcome.checked);
                elsewhere += u64::from(outcome.elsewhere);
                total.steps += outcome.steps;
                total.traps += outcome.traps;
                total.overflows += outcome.overflows;
                total.host_calls += outcome.host_calls;
            }
            Err(what) => {
                failures += 1;
                println!("seed {seed}: {}", what.replace("\\n", "\n").replace("\\\"", "\""));
                if !arguments.components {
                    save(seed, &arguments.failures)?;
                }
                if !what.starts_with("failed") {
                    worker = Worker::start(seed.wrapping_add(1), arguments.components)?;
                }
            }
        }
        seed = seed.wrapping_add(1);
    }
    let Outcome { steps, traps, overflows, host_calls, .. } = total;
    let what = if arguments.components { "components" } else { "modules" };
    println!(
        "seeds {}..{seed} in {} s: {modules} {what}, {steps} steps ({traps} trapped, {overflows} exhausted the stack), \
         {host_calls} calls of the host; {elsewhere} {what} trapped elsewhere in a function; {failures} failures",
        arguments.seed,
        start.elapsed().as_secs(),
    );
    Ok(failures == 0)
}

/// Writes the module with this seed.
fn save(seed: u64, folder: &Path) -> std::io::Result<()> {
    if let Some(case) = Case::new(seed) {
        std::fs::write(folder.join(format!("{seed}.wasm")), &case.module)?;
        let path = folder.join(format!("{seed}.wat"));
        std::fs::write(&path, case.text())?;
        println!("  the module is {}", path.display());
    }
    Ok(())
}
