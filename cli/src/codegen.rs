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
        options.stack_size = self.stack_size.unwrap_or(options.stack_size);
        Ok(options)
    }
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
