//! What the caller of the compiler may choose.

use precast_targets::Arch;

use crate::{Error, Profile};

/// How hard to optimise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OptLevel {
    /// Quick to compile.
    None,
    /// Quick to run.
    #[default]
    Speed,
    /// Quick to run, but small.
    SpeedAndSize,
}

/// What to produce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Emit {
    /// The artifact: an ELF shared object.
    #[default]
    So,
    /// A relocatable ELF object.
    Obj,
    /// Cranelift's intermediate representation, as text.
    Clif,
    /// Assembly, as text.
    Asm,
}

/// Told how far a compilation is; called from several threads.
pub trait Progress: Sync {
    /// `done` of `total` functions are compiled.
    fn functions(&self, done: usize, total: usize);
}

/// How memories are laid out, and accesses beyond their sizes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MemoryModel {
    /// By the processor: each memory has 6 GiB of addresses, and accesses are not checked.
    #[default]
    Guarded,
    /// By compiled checks: a memory has only as many addresses as it may grow to, at most `reservation` bytes if its
    /// minimum is not more.
    Checked {
        /// In bytes.
        reservation: u64,
    },
}

/// Options of [`crate::compile`].
#[derive(Clone)]
pub struct Options<'a> {
    /// Instruction set.
    pub arch: Arch,
    /// CPU features the code may use: bits of `precast_targets`.
    pub features: u64,
    /// How hard to optimise.
    pub opt_level: OptLevel,
    /// Whether every NaN a float operation makes is the canonical one.
    pub canonicalize_nans: bool,
    /// Whether code counts what it executes, against the fuel that the host gives it, and traps when that is used up. The
    /// amount does not depend on any of the other options.
    pub fuel: bool,
    /// Bytes of guest stack; rounded up to whole pages.
    pub stack_size: u64,
    /// How memories are laid out.
    pub memory_model: MemoryModel,
    /// Run Cranelift's verifier on each function.
    pub verify: bool,
    /// What to produce.
    pub emit: Emit,
    /// Modules and components for those that a component's root imports: the import's name (`instance/name` for one of
    /// an imported instance), and the bytes.
    pub links: Vec<(String, Vec<u8>)>,
    /// A component's interface as WIT text, kept in the artifact.
    pub wit: Option<String>,
    /// A run of the program to lay the artifact out by: functions that ran are the first of the text, in the order in which
    /// they did, and pages that were written are known to be before any instance has written them.
    pub profile: Option<Profile>,
    /// Whom to tell about progress.
    pub progress: Option<&'a dyn Progress>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        let arch = Arch::HOST.unwrap_or(Arch::X86_64);
        Options {
            arch,
            features: arch.levels()[0].features,
            opt_level: OptLevel::default(),
            canonicalize_nans: false,
            fuel: false,
            stack_size: 1 << 20,
            memory_model: MemoryModel::default(),
            verify: cfg!(debug_assertions),
            emit: Emit::default(),
            links: Vec::new(),
            wit: None,
            profile: None,
            progress: None,
        }
    }
}

impl Options<'_> {
    /// Smallest and largest guest stack in bytes.
    pub const STACK_SIZES: std::ops::RangeInclusive<u64> = 16 << 10..=256 << 20;

    /// # Errors
    /// [`Error::Option`] for a value out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (sizes, size) = (Self::STACK_SIZES, self.stack_size);
        if !sizes.contains(&size) {
            let (min, max) = (sizes.start(), sizes.end());
            return Err(Error::Option(format!("the stack size is {size} bytes, it must be from {min} to {max}")));
        }
        Ok(())
    }

    /// Sets target and CPU by name: `target` a triple or architecture (`None`: this machine's), `cpu` a level of it or
    /// `native` (`None`: the portable default).
    ///
    /// # Errors
    /// [`Error::Option`] for a name that is not known, listing those that are, and for `native` of another architecture.
    pub fn set_target(&mut self, target: Option<&str>, cpu: Option<&str>) -> Result<(), Error> {
        let arch = match target {
            Some(name) => Arch::from_name(name).ok_or_else(|| {
                let known = Arch::ALL.map(Arch::triple).join(", ");
                Error::Option(format!("unknown target `{name}` (known: {known})"))
            })?,
            None => Arch::HOST.ok_or_else(|| Error::Option("this machine is no known target: name one".into()))?,
        };
        let features = match cpu {
            None => arch.levels()[0].features,
            Some("native") => native_features(arch)?,
            Some(name) => {
                let level = arch.level(name).ok_or_else(|| {
                    let known: Vec<_> = arch.levels().iter().map(|level| level.name).collect();
                    Error::Option(format!("unknown CPU `{name}` (known: {}, native)", known.join(", ")))
                })?;
                level.features
            }
        };
        (self.arch, self.features) = (arch, features);
        Ok(())
    }
}

/// The features Cranelift finds on this machine, of those the artifact format knows.
fn native_features(arch: Arch) -> Result<u64, Error> {
    if Arch::HOST != Some(arch) {
        return Err(Error::Option(format!("`native` is this machine, which is no {}", arch.triple())));
    }
    let builder = cranelift_native::builder().map_err(|message| Error::Option(message.into()))?;
    let flags = cranelift_codegen::settings::Flags::new(cranelift_codegen::settings::builder());
    let isa = builder.finish(flags).map_err(|error| Error::internal("native CPU detection", error))?;
    let has = |setting| isa.isa_flags().iter().any(|value| value.name == setting && value.as_bool() == Some(true));
    Ok(arch.features().iter().filter(|feature| has(feature.setting)).map(|feature| 1 << feature.bit).sum())
}
