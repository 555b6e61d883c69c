//! precast side by side with wasmtime, in one run.
//!
//! Every figure is measured in alternation, precast and wasmtime in each round, and reported as the median of the rounds
//! and the ratio of medians, because the machines this runs on drift. wasmtime runs at its best settings for the job
//! (see [`peer`], which prints them). `cargo run --release -p precast-benches [-- GROUP…] [--rounds N] [--json FILE]
//! [--svg FILE]`.
//!
//! `cargo run --release -p precast-benches -- load [MINUTES]` measures nothing: see [`load`].
#![allow(missing_docs, reason = "a program, not a library")]

mod calls;
mod child;
mod cold;
mod compile;
mod components;
mod cycle;
mod density;
mod guests;
mod host;
mod http;
mod kernels;
mod load;
mod open;
mod peer;
mod plain;
mod plot;
mod report;
mod serve;
mod server;

use std::path::PathBuf;

use report::Report;

/// What went wrong; a benchmark has nobody to handle it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A group of figures: its name, and what measures it.
type Group = (&'static str, fn(&mut Report) -> Result<()>);

/// In the order they run.
const GROUPS: &[Group] = &[
    ("open", open::run),
    ("cycle", cycle::run),
    ("calls", calls::run),
    ("components", components::run),
    ("cold", cold::run),
    ("density", density::run),
    ("compile", compile::run),
    ("kernels", kernels::run),
    ("serve", serve::run),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "--child").is_some() {
        return child::main(&arguments.collect::<Vec<_>>());
    }
    if arguments.next_if(|argument| argument == "load").is_some() {
        return load::main(&arguments.collect::<Vec<_>>());
    }
    let (mut rounds, mut json, mut svg, mut groups) = (15, None, None, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            "--json" => json = Some(PathBuf::from(arguments.next().ok_or("--json needs a file")?)),
            "--svg" => svg = Some(PathBuf::from(arguments.next().ok_or("--svg needs a file")?)),
            name if GROUPS.iter().any(|(known, _)| *known == name) => groups.push(argument),
            other => {
                let known: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
                return Err(format!("unknown argument `{other}` (groups: {})", known.join(", ")).into());
            }
        }
    }
    println!("{}", peer::describe_settings());
    let mut report = Report::new(rounds);
    for (name, run) in GROUPS {
        if groups.is_empty() || groups.iter().any(|wanted| wanted == name) {
            report.group(name, "wasmtime");
            run(&mut report)?;
        }
    }
    if let Some(svg) = svg {
        report.draw(&svg)?;
    }
    report.finish(json.as_deref())
}
