//! The options of code generation that several commands share, and the compiler's options made from them.

use clap::{Args, ValueEnum};
use precast_compiler::Options;

use crate::error::Error;
use crate::size::parse_size;

/// How code is generated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Code generation")]
pub(crate) struct CodegenArgs {
    /// How hard to optimise
    #[arg(long, value_enum, default_value_t = OptLevel::Speed)]
    pub(crate) opt_level: OptLevel,

    /// The CPU to compile for [default: x86-64-v2, or armv8.0-a]
    ///
    /// x86-64-v2, x86-64-v3, x86-64-v4; armv8.0-a, armv8.2-a; or native for what this machine has.
    #[arg(long, value_name = "CPU")]
    pub(crate) cpu: Option<String>,

    /// Make every NaN the canonical one, so that results do not depend on the machine
    #[arg(long)]
    pub(crate) canonicalize_nans: bool,

    /// How large the guest's stack is (K, M and G are understood) [default: 1M]
    #[arg(long, value_name = "BYTES", value_parser = parse_stack_size)]
    pub(crate) stack_size: Option<u64>,

    #[command(flatten)]
    pub(crate) memory: MemoryArgs,

    /// Whether code counts what it executes: each command has its own way to ask for that.
    #[arg(skip)]
    pub(crate) metered: bool,
}

/// Whether code counts what it executes, for commands that give no fuel.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Code generation")]
pub(crate) struct MeteringArgs {
    /// Have code count what it executes, so that its fuel can be limited
    ///
    /// Each WebAssembly operator takes one unit, except those that only say where blocks begin and end; what moves many
    /// bytes or elements takes more. The amount is the same on every machine and with all other options.
    #[arg(long)]
    pub(crate) fuel: bool,
}

/// How memories are laid out.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct MemoryArgs {
    /// How accesses beyond a memory's size are found
    #[arg(long, value_enum, default_value_t = MemoryModel::Guarded)]
    memory_model: MemoryModel,

    /// What a checked memory has room to grow to, unless its minimum is more (K, M and G are understood)
    #[arg(long, value_name = "BYTES", value_parser = parse_memory_size, default_value = "256M")]
    memory_reservation: u64,
}

impl MemoryArgs {
    /// The compiler's option.
    pub(crate) fn model(self) -> precast_compiler::MemoryModel {
        match self.memory_model {
            MemoryModel::Guarded => precast_compiler::MemoryModel::Guarded,
            MemoryModel::Checked => precast_compiler::MemoryModel::Checked { reservation: self.memory_reservation },
        }
    }

    /// The same as arguments.
    pub(crate) fn as_args(self) -> Vec<String> {
        let name = self.memory_model.to_possible_value().map(|value| value.get_name().to_owned());
        let model = format!("--memory-model={}", name.unwrap_or_default());
        vec![model, format!("--memory-reservation={}", self.memory_reservation)]
    }
}

/// How memories are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MemoryModel {
    /// By the processor, at no cost: 6 GiB of addresses for each
    #[default]
    Guarded,
    /// By compiled checks: few addresses, for many instances at once
    Checked,
}

/// How the modules of scripts are compiled.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ScriptArgs {
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,

    #[command(flatten)]
    pub(crate) metering: MeteringArgs,
}

impl ScriptArgs {
    /// The same as arguments.
    pub(crate) fn as_args(self) -> Vec<String> {
        let mut args = self.memory.as_args();
        args.extend(self.metering.fuel.then(|| "--fuel".into()));
        args
    }
}

/// How hard to optimise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptLevel {
    /// Quick to compile
    None,
    /// Quick to run
    Speed,
    /// Quick to run, but small
    SpeedAndSize,
}

impl CodegenArgs {
    /// The compiler's options for `target`, or else this machine.
    ///
    /// # Errors
    /// Usage, for a target or CPU that is not known.
    pub(crate) fn options(&self, target: Option<&str>) -> Result<Options<'static>, Error> {
        let mut options = Options::default();
        options.set_target(target, self.cpu.as_deref()).map_err(|error| Error::Usage(error.to_string()))?;
        options.opt_level = match self.opt_level {
            OptLevel::None => precast_compiler::OptLevel::None,
            OptLevel::Speed => precast_compiler::OptLevel::Speed,
            OptLevel::SpeedAndSize => precast_compiler::OptLevel::SpeedAndSize,
        };
        options.canonicalize_nans = self.canonicalize_nans;
        options.fuel = self.metered;
        options.memory_model = self.memory.model();
        options.stack_size = self.stack_size.unwrap_or(options.stack_size);
        Ok(options)
    }
}

fn parse_memory_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if size <= 4 << 30 { Ok(size) } else { Err("a memory has 4G at most".into()) }
}

fn parse_stack_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if Options::STACK_SIZES.contains(&size) {
        Ok(size)
    } else {
        let (min, max) = (Options::STACK_SIZES.start() >> 10, Options::STACK_SIZES.end() >> 20);
        Err(format!("a stack has {min}K to {max}M"))
    }
}
