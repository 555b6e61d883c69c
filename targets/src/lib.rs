//! The targets precast compiles for, as plain data: triples, CPU levels and features, page sizes, ELF facts.
//!
//! What comes in: a name from the command line. What goes out: constants that compiler and loader agree on. A feature's
//! bit is part of the artifact format: never reuse one.
#![no_std]
#![forbid(unsafe_code)]

/// An instruction set with everything that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// AArch64, little-endian.
    Aarch64,
}

impl Arch {
    /// Every architecture.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// The architecture this code runs on, if it is one of ours.
    pub const HOST: Option<Arch> = if cfg!(target_arch = "x86_64") {
        Some(Arch::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Arch::Aarch64)
    } else {
        None
    };

    /// The target triple, as Cranelift and `--target` have it.
    pub const fn triple(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-linux-gnu",
            Arch::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The architecture called `name`: a triple, or the first part of one.
    pub fn from_name(name: &str) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| {
            let short = arch.triple().split('-').next();
            arch.triple() == name || short == Some(name)
        })
    }

    /// `e_machine` (ELF psABI of the architecture).
    pub const fn elf_machine(self) -> u16 {
        match self {
            Arch::X86_64 => 62,
            Arch::Aarch64 => 183,
        }
    }

    /// The architecture with this `e_machine`.
    pub fn from_elf_machine(machine: u32) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| u32::from(arch.elf_machine()) == machine)
    }

    /// The largest page size in bytes that Linux uses there: segments and slots are aligned to it.
    pub const fn max_page_size(self) -> u64 {
        match self {
            Arch::X86_64 => 4 << 10,
            Arch::Aarch64 => 64 << 10,
        }
    }

    /// The features that bits of an artifact's feature word stand for.
    pub const fn features(self) -> &'static [Feature] {
        match self {
            Arch::X86_64 => X86_64_FEATURES,
            Arch::Aarch64 => AARCH64_FEATURES,
        }
    }

    /// The feature levels `--cpu` knows, the default first.
    pub const fn levels(self) -> &'static [Level] {
        match self {
            Arch::X86_64 => X86_64_LEVELS,
            Arch::Aarch64 => AARCH64_LEVELS,
        }
    }

    /// The level called `name`.
    pub fn level(self, name: &str) -> Option<&'static Level> {
        self.levels().iter().find(|level| level.name == name)
    }
}

/// An optional part of an instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Bit in an artifact's feature word.
    pub bit: u32,
    /// Cranelift's setting.
    pub setting: &'static str,
    /// The name as `is_x86_feature_detected!` and `/proc/cpuinfo` have it.
    pub name: &'static str,
}

/// A named set of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Name for `--cpu`.
    pub name: &'static str,
    /// Feature word.
    pub features: u64,
}

const fn feature(bit: u32, setting: &'static str, name: &'static str) -> Feature {
    Feature { bit, setting, name }
}

const X86_64_FEATURES: &[Feature] = &[
    feature(0, "has_cmpxchg16b", "cmpxchg16b"),
    feature(1, "has_sse3", "sse3"),
    feature(2, "has_ssse3", "ssse3"),
    feature(3, "has_sse41", "sse4.1"),
    feature(4, "has_sse42", "sse4.2"),
    feature(5, "has_popcnt", "popcnt"),
    feature(6, "has_avx", "avx"),
    feature(7, "has_avx2", "avx2"),
    feature(8, "has_fma", "fma"),
    feature(9, "has_bmi1", "bmi1"),
    feature(10, "has_bmi2", "bmi2"),
    feature(11, "has_lzcnt", "lzcnt"),
    feature(12, "has_avx512f", "avx512f"),
    feature(13, "has_avx512dq", "avx512dq"),
    feature(14, "has_avx512vl", "avx512vl"),
    feature(15, "has_avx512bitalg", "avx512bitalg"),
    feature(16, "has_avx512vbmi", "avx512vbmi"),
];

/// The microarchitecture levels of the x86-64 psABI. Cranelift's presets of the same names leave out `has_avx`, without
/// which it emits no AVX code at all, so the levels are spelt out here.
const X86_64_LEVELS: &[Level] = &[
    Level { name: "x86-64-v2", features: 0x3f },
    Level { name: "x86-64-v3", features: 0xfff },
    Level { name: "x86-64-v4", features: 0x7fff },
];

const AARCH64_FEATURES: &[Feature] = &[
    feature(0, "has_lse", "lse"),
    feature(1, "has_fp16", "fp16"),
    feature(2, "has_dotprod", "dotprod"),
    feature(3, "has_i8mm", "i8mm"),
];

const AARCH64_LEVELS: &[Level] =
    &[Level { name: "armv8.0-a", features: 0 }, Level { name: "armv8.2-a", features: 0b001 }];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_bits_are_their_position() {
        for arch in Arch::ALL {
            for (position, feature) in arch.features().iter().enumerate() {
                assert_eq!(feature.bit as usize, position, "{}", feature.name);
            }
            let known = (1u64 << arch.features().len()) - 1;
            assert!(arch.levels().iter().all(|level| level.features & !known == 0));
            assert_eq!(Arch::from_name(arch.triple()), Some(arch));
            assert_eq!(Arch::from_elf_machine(arch.elf_machine().into()), Some(arch));
        }
        assert_eq!(Arch::from_name("x86_64"), Some(Arch::X86_64));
        assert_eq!(Arch::from_name("riscv64"), None);
    }
}
