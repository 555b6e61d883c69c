//! The command line: one definition for parsing, help and completions.
//!
//! The first paragraph of a doc comment is what `-h` shows; `--help` shows all of it and, after the options, examples
//! that run as they stand and the exit statuses.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use precast_abi::ABI_VERSION;

use crate::codegen::{CodegenArgs, MeteringArgs};
use crate::component::ComposeArgs;
use crate::init::InitArgs;
use crate::request::WarmUp;
use crate::serve::{Job, parse_duration};
use crate::size::parse_size;
use crate::wast::WastArgs;

/// Compiles WebAssembly ahead of time into native shared objects, and runs them
#[derive(Debug, Parser)]
#[command(name = "precast", version = version(), max_term_width = 100)]
#[command(after_long_help = "\
Examples:
  precast compile app.wasm -o app.so     compile a module or component
  precast run app.so input.txt           run it as a WASI command
  precast inspect app.so                 what it imports, and how large it is

Each command has its own examples: precast run --help")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `--version` prints after the name.
fn version() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{} (ABI {ABI_VERSION}; {})", env!("CARGO_PKG_VERSION"), precast_compiler::VERSION));
    &TEXT
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Compile(CompileArgs),
    Run(RunArgs),
    Serve(ServeArgs),
    Snapshot(SnapshotArgs),
    Inspect(InspectArgs),
    Bench(BenchArgs),
    Wast(WastArgs),
    Completions(CompletionsArgs),
}

impl Command {
    /// The exit status of a failure of ours: one that cannot be taken for a guest's where there is a guest.
    pub(crate) fn failure_status(&self) -> u8 {
        match self {
            Command::Run(_) => 125,
            _ => 1,
        }
    }

    /// The exit status where nobody reads standard output any more: no failure of a command that reports, as in
    /// `precast inspect app.so | head`, but of one whose status says that all of its work was done.
    pub(crate) fn closed_output_status(&self) -> u8 {
        match self {
            Command::Compile(_) | Command::Snapshot(_) | Command::Wast(_) => self.failure_status(),
            _ => 0,
        }
    }
}

/// Compile a module or component into a shared object
///
/// Takes a WebAssembly module or component, binary or text, and writes an ELF shared object that `precast run` and programs with
/// precast's loader start in microseconds. The same input with the same options gives the same bytes on every machine.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  precast compile app.wasm                        writes app.so next to it
  precast compile app.wasm --cpu native -o fast.so
  cat app.wat | precast compile - -o - > app.so
  precast compile app.wasm --emit asm -o - | less
  precast compile app.wasm --plug logger.wasm     app's imports are what logger exports
  precast compile app.wasm --link lib=lib.wasm    app imports the module `lib`
  precast compile app.wasm --fuel                 counts what is executed: precast run --fuel N app.so
  precast compile app.wasm --init=warm-up         starts from where `warm-up` got it
  precast compile app.wasm --profile app.profile  what a first request needs lies together

Exit status: 0 if the output was written, 1 if not, 2 if the command line makes no sense.")]
pub(crate) struct CompileArgs {
    /// The module or component, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Where to write, or - for standard output
    ///
    /// By default the input's name with another extension: .so, .o, .clif or .s. The file appears complete or not at
    /// all.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// What to write
    #[arg(long, value_enum, default_value_t = Emit::So)]
    pub(crate) emit: Emit,

    /// The machine to compile for: x86_64 or aarch64, or a triple [default: this one]
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,

    /// Lay the artifact out by what was recorded: what a first request needs is together, and known before
    ///
    /// FILE is what precast run or serve --record-profile wrote, with this program or an earlier version of it, for any
    /// target; a warning says how much of it was found, if not all was. Functions that ran come first, in their order;
    /// the pages that were written are given to each new instance at once.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,

    /// How many threads compile [default: one for each CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Look in a cache first, and keep the artifact there
    ///
    /// DIR is $XDG_CACHE_HOME/precast or ~/.cache/precast if not given; `precast run` uses the same entries.
    #[arg(long, value_name = "DIR", require_equals = true)]
    pub(crate) cache: Option<Option<PathBuf>>,

    /// How to tell errors and results
    ///
    /// json writes one object for each to standard error, with the keys kind, message, file and, where they apply,
    /// offset (in bytes from the start of the module), function (its index) and proposal.
    #[arg(long, value_enum, default_value_t = MessageFormat::Human)]
    pub(crate) message_format: MessageFormat,

    #[command(flatten)]
    pub(crate) compose: ComposeArgs,

    #[command(flatten)]
    pub(crate) init: InitArgs,

    #[command(flatten)]
    pub(crate) metering: MeteringArgs,

    #[command(flatten)]
    pub(crate) codegen: CodegenArgs,
}

/// What `compile` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emit {
    /// The shared object
    So,
    /// A relocatable object, for a linker
    Obj,
    /// The compiler's intermediate representation, as text
    Clif,
    /// Assembly, as text
    Asm,
}

/// How `compile` tells what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    /// Sentences
    Human,
    /// One JSON object per line
    Json,
}

/// Run an artifact, a module or a component
///
/// Takes a shared object made by `precast compile`, or a WebAssembly module or component, binary or text, which is
/// compiled first and kept in a cache. Without --invoke it is run as a WASI command: of a module `_start` is called, of
/// a component `wasi:cli/run`.
///
/// The guest has the standard streams and the arguments after FILE. Everything else has to be granted.
#[derive(Debug, Args)]
#[command(override_usage = "precast run [OPTIONS] <FILE> [ARG]...")]
#[command(after_long_help = "\
Grants:
  fs:HOST[=GUEST][:ro]   a directory, and under which name the guest sees it
  env[:NAME[=VALUE]]     the environment, or one variable of it
  clocks, random         time, random numbers
  net:HOST:PORT          connect there
  listen:HOST:PORT       accept connections there

Examples:
  precast run app.so --verbose input.txt          --verbose is the guest's
  precast run --allow=fs:./data=/data:ro,env:HOME,clocks app.so
  precast run --invoke add math.wat 2 -3
  precast run --fuel 1000000 --report-fuel app.wasm
  precast run --invoke greet app.wasm World '{polite: true}'

Exit status: the guest's; 134 after a trap or a denial that stops it; 125 if precast itself fails, 2 if the command line makes no sense.")]
pub(crate) struct RunArgs {
    /// Call this exported function instead of running a command, and print its results
    ///
    /// Each ARG is parsed by the type of the parameter: integers in decimal or as 0x…, floats, nan and inf, vectors as
    /// 0x with 32 hexadecimal digits. Results are printed one per line. `_initialize` is called first, if exported.
    ///
    /// Of a component, EXPORT is a function, or INTERFACE#FUNCTION; the interface's version may be left out. Values are
    /// written as in WAVE: 1, 'c', "text" (a string may be without quotes), [1, 2], (1, 2), {field: 1}, {flag},
    /// case(1), some(1), none, ok(1), err(1).
    #[arg(long, value_name = "EXPORT")]
    pub(crate) invoke: Option<String>,

    /// Grant the guest something: fs:DIR, env, clocks, random, net:HOST:PORT, ... (see --help)
    #[arg(long, value_name = "GRANT,...")]
    pub(crate) allow: Vec<String>,

    /// Grant the guest everything
    #[arg(short = 'A', long)]
    pub(crate) allow_all: bool,

    /// How large each memory may grow (K, M and G are understood)
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) max_memory: Option<u64>,

    /// Record what runs in a file, for precast compile --profile
    ///
    /// FILE names the functions that ran, in the order in which each first did, and the pages of memory that the guest
    /// wrote: text, for people and version control. Recording makes the first call of each function slower, and each
    /// instance new; nothing has to be compiled for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) record_profile: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) fuel: FuelArgs,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    /// The artifact, module or component; everything after it is the guest's
    #[arg(value_name = "FILE", required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,

    #[command(flatten)]
    pub(crate) codegen: CodegenArgs,
}

/// What a guest may execute.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FuelArgs {
    /// How much fuel the guest has: WebAssembly operators, more or less (see precast compile --help)
    ///
    /// A guest that uses more traps, always at the same place. An artifact has to be compiled with --fuel; a module or
    /// component is.
    #[arg(long, value_name = "N")]
    pub(crate) fuel: Option<u64>,

    /// Tell on standard error how much fuel the guest used
    #[arg(long)]
    pub(crate) report_fuel: bool,
}

/// Serve HTTP requests with a component
///
/// Takes a component that exports `wasi:http/incoming-handler`, or the artifact of one. Each request is answered by a
/// fresh instance; bodies stream both ways. A guest that traps costs its client a 500, one that takes too long a 504, and
/// nobody else anything.
///
/// SIGTERM and SIGINT let requests under way end; SIGUSR1 prints the metrics to standard error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Grants: as for precast run (see precast run --help). net:HOST:PORT also grants requests to there.

Examples:
  precast serve app.wasm --addr 127.0.0.1:8080
  precast serve app.so --timeout 500ms --max-memory 64M --access-log
  precast serve app.so --allow=net:api.example.org:443,clocks --env TOKEN

Exit status: 0 after SIGTERM or SIGINT, 1 if it cannot serve or a worker fails, or 2 if the command line makes no sense.")]
pub(crate) struct ServeArgs {
    /// The component or its artifact
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Where to listen; with port 0 the system chooses one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,

    /// How many processes serve [default: one for each CPU]
    ///
    /// While a profile is recorded, one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,

    /// How long a request may take, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    pub(crate) timeout: Duration,

    /// How large each memory of an instance may grow (K, M and G are understood)
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) max_memory: Option<u64>,

    /// How much memory instances that have ended may keep, for those that come (K, M and G are understood)
    ///
    /// For all workers together. Less is slower, where many requests are under way at once.
    #[arg(long, value_name = "BYTES", value_parser = parse_size, default_value = "256M")]
    pub(crate) idle_memory: u64,

    /// How much fuel a request has: WebAssembly operators, more or less (see precast compile --help)
    ///
    /// One that uses more traps. An artifact has to be compiled with --fuel; a component is.
    #[arg(long, value_name = "N")]
    pub(crate) fuel: Option<u64>,

    /// How long requests under way may take once the process is told to end
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    pub(crate) grace: Duration,

    /// Log each request to a file, or to standard error
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(crate) access_log: Option<PathBuf>,

    /// Where to serve metrics, in the format of Prometheus
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// Grant the guest something: net:HOST:PORT, fs:DIR, clocks, random, ... (see --help)
    #[arg(long, value_name = "GRANT,...")]
    pub(crate) allow: Vec<String>,

    /// Grant the guest everything
    #[arg(short = 'A', long)]
    pub(crate) allow_all: bool,

    /// Give the guest a variable: the host's, or with this value
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// Record what runs in a file, for precast compile --profile
    ///
    /// Written when the server ends. FILE names the functions that ran, in the order in which each first did, and the
    /// pages of memory that at least half of the instances wrote: text, for people and version control. Recording makes
    /// the first call of each function slower, and each instance new; nothing has to be compiled for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) record_profile: Option<PathBuf>,

    /// To be one of these processes: what the first one starts them with
    #[arg(long, hide = true)]
    pub(crate) worker: Option<Job>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) codegen: CodegenArgs,
}

impl ServeArgs {
    /// How many processes serve.
    pub(crate) fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.record_profile.is_some() { 1 } else { self.workers.map_or_else(cores, usize::from) }
    }
}

/// Call a function or make requests, and compile an artifact that starts from there
///
/// Takes a module or component, calls one of its functions with arguments, and writes a shared object each of whose
/// instances starts in the state that the call led to: with what was loaded, parsed or computed. The function is still
/// there; of a reactor, `_initialize` is called first and is not. `precast compile --init` is for programs that have an
/// initialiser.
///
/// Of a component for `precast serve`, requests do the same (--request): its instances start warm.
///
/// What the function reads becomes part of the artifact, and is told on standard error. So is what it prints.
#[derive(Debug, Args)]
#[command(override_usage = "precast snapshot [OPTIONS] --invoke <EXPORT> --output <OUT> <FILE> [ARG]...
       precast snapshot [OPTIONS] --request <REQUEST> --output <OUT> <FILE>")]
#[command(after_long_help = "\
Grants: as for precast run (see precast run --help).

Examples:
  precast snapshot --invoke warm-up -o app.so app.wasm
  precast snapshot --invoke load --allow=fs:./data:ro -o app.so app.wasm 42
  precast snapshot --request 'GET /' --allow=clocks -o app.so app.wasm

Exit status: 0 if the output was written, 1 if not, 2 if the command line makes no sense.")]
pub(crate) struct SnapshotArgs {
    /// The exported function to call, as for precast run
    #[arg(long, value_name = "EXPORT", required_unless_present = "request", conflicts_with = "request")]
    pub(crate) invoke: Option<String>,

    /// Make this HTTP request, such as 'GET /' or 'POST /echo text'; several are made in their order
    ///
    /// The component exports `wasi:http/incoming-handler`. Each request is answered by the same instance, to its end and
    /// with a status below 500. The first is then made once more, to an instance that starts from there: programs that
    /// answer a single request in their life have no use for this, and are refused.
    #[arg(long, value_name = "REQUEST")]
    pub(crate) request: Vec<WarmUp>,

    /// Keep handles that requests left behind, of resources that are gone
    ///
    /// Programs that leave dropping to a garbage collector have such handles, and without this they are refused. An
    /// instance may drop them, and is stopped if it uses one. Each is told on standard error.
    #[arg(long, requires = "request")]
    pub(crate) allow_leaks: bool,

    /// How long that may take, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    pub(crate) init_timeout: Duration,

    /// Where to write, or - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// The machine to compile for: x86_64 or aarch64, or a triple [default: this one]
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,

    /// Grant the function something: fs:DIR, env, clocks, random, ... (see precast run --help)
    #[arg(long, value_name = "GRANT,...")]
    pub(crate) allow: Vec<String>,

    /// Grant the function everything
    #[arg(short = 'A', long)]
    pub(crate) allow_all: bool,

    /// The module or component; everything after it is the function's
    #[arg(value_name = "FILE", required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,

    #[command(flatten)]
    pub(crate) compose: ComposeArgs,

    #[command(flatten)]
    pub(crate) metering: MeteringArgs,

    #[command(flatten)]
    pub(crate) codegen: CodegenArgs,
}

/// Where compiled modules are kept.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Where compiled modules are kept [default: $XDG_CACHE_HOME/precast or ~/.cache/precast]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// Compile anew, and keep nothing
    #[arg(long, conflicts_with = "cache")]
    pub(crate) no_cache: bool,
}

/// Show what is in an artifact
///
/// Prints target and CPU features, exports and imports with their types (the imports are everything the guest can ever
/// ask for), limits, the layout of an instance, the size of each part and the biggest functions. Nothing is run, so
/// artifacts of any architecture will do. A module or component is compiled first, as `precast run` does. Of a component
/// its WIT is printed too.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  precast inspect app.so
  precast inspect app.so --functions 50
  precast inspect --json app.so | jq '.imports[].name'
  precast inspect --json component.so | jq -r .component.wit

Exit status: 0, or 1 if the file is no artifact or its digest does not match, or 2 if the command line makes no sense.")]
pub(crate) struct InspectArgs {
    /// The artifact, module or component
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// How many of the biggest functions to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) functions: usize,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Measure opening, instantiating and calling
///
/// Prints median and 99th percentile, in nanoseconds, of opening the artifact when its digest is known already; of the
/// first cycle of instantiate, call and drop after opening; of that cycle in the steady state; and of the call alone.
/// Imports that are not WASI's trap when called; the guest's output is discarded.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  precast bench app.so
  precast bench --invoke add math.wat 2 3
  precast bench --json app.so | jq .cycle_ns.p50

Exit status: 0, or 1 if something failed, or 2 if the command line makes no sense.")]
pub(crate) struct BenchArgs {
    /// The exported function to call [default: `_start`]
    #[arg(long, value_name = "EXPORT")]
    pub(crate) invoke: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// How many samples to take of each, at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) iterations: u32,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    /// The artifact, module or component
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The arguments of the call, as for `precast run --invoke`
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    pub(crate) args: Vec<String>,

    #[command(flatten)]
    pub(crate) metering: MeteringArgs,

    #[command(flatten)]
    pub(crate) codegen: CodegenArgs,
}

/// Print a shell's completion script
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  precast completions bash > ~/.local/share/bash-completion/completions/precast
  precast completions zsh > ~/.zfunc/_precast
  precast completions fish > ~/.config/fish/completions/precast.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run_args(line: &[&str]) -> RunArgs {
        match Cli::try_parse_from(line).unwrap().command {
            Command::Run(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_after_the_file_is_the_guests() {
        let args = run_args(&["precast", "run", "--invoke", "f", "a.so", "--invoke", "g", "-A", "--", "-3", "--help"]);
        assert_eq!(args.invoke.as_deref(), Some("f"));
        assert!(!args.allow_all);
        assert_eq!(args.command, ["a.so", "--invoke", "g", "-A", "--", "-3", "--help"]);
    }

    #[test]
    fn unknown_flags_before_the_file_are_refused() {
        assert!(Cli::try_parse_from(["precast", "run", "--bogus", "a.so"]).is_err());
        assert!(Cli::try_parse_from(["precast", "run"]).is_err());
        assert!(Cli::try_parse_from(["precast", "run", "--no-cache", "--cache=x", "a.so"]).is_err());
    }

    #[test]
    fn cache_of_compile_may_have_a_folder() {
        let cache = |flag: &str| match Cli::try_parse_from(["precast", "compile", flag, "a.wasm"]).unwrap().command {
            Command::Compile(args) => args.cache,
            other => panic!("{other:?}"),
        };
        assert_eq!(cache("--cache"), Some(None));
        assert_eq!(cache("--cache=x"), Some(Some(PathBuf::from("x"))));
        assert_eq!(cache("--threads=2"), None);
    }
}
