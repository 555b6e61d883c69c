//! x86-64: which CPU features this machine has.
//!
//! The standard library knows too, but asks for everything at once, and in a virtual machine each `cpuid` instruction
//! leaves for the hypervisor: 9 µs where this was measured, ten times, of a cold start of less than a millisecond. So
//! here only those leaves are asked for that hold what is wanted: one for x86-64-v2.
//!
//! To add a feature: a line in [`has_feature`] with the place that Intel's manual (volume 2A, CPUID) or AMD's (volume
//! 3, appendix E) gives for it. The test compares with the standard library.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

/// Leaf 1, `ecx`: there is `xsave`, and with it a leaf 13, so leaf 7 too.
const XSAVE: u32 = 26;
/// Leaf 1, `ecx`: the system saves what [`xcr0`] says.
const OSXSAVE: u32 = 27;
/// State of vector registers in `xcr0`: of 16 and 32 bytes.
const YMM: u64 = 0x6;
/// The same, and of 64 bytes, and masks.
const ZMM: u64 = 0xe6;

/// Whether this machine has the feature that `precast_targets` calls `name`.
pub(crate) fn has_feature(name: &str) -> bool {
    match name {
        "sse3" => bit(leaf_1(), 0),
        "ssse3" => bit(leaf_1(), 9),
        "cmpxchg16b" => bit(leaf_1(), 13),
        "sse4.1" => bit(leaf_1(), 19),
        "sse4.2" => bit(leaf_1(), 20),
        "popcnt" => bit(leaf_1(), 23),
        "fma" => bit(leaf_1(), 12) && saves(YMM),
        "avx" => bit(leaf_1(), 28) && saves(YMM),
        "lzcnt" => bit(extended_leaf_1(), 5),
        "bmi1" => bit(leaf_7().0, 3),
        "bmi2" => bit(leaf_7().0, 8),
        "avx2" => bit(leaf_7().0, 5) && saves(YMM),
        "avx512f" => bit(leaf_7().0, 16) && saves(ZMM),
        "avx512dq" => bit(leaf_7().0, 17) && saves(ZMM),
        "avx512vl" => bit(leaf_7().0, 31) && saves(ZMM),
        "avx512vbmi" => bit(leaf_7().1, 1) && saves(ZMM),
        "avx512bitalg" => bit(leaf_7().1, 12) && saves(ZMM),
        _ => false,
    }
}

fn bit(register: u32, bit: u32) -> bool {
    register >> bit & 1 != 0
}

/// `ecx` of leaf 1.
fn leaf_1() -> u32 {
    static LEAF: OnceLock<u32> = OnceLock::new();
    *LEAF.get_or_init(|| __cpuid(1).ecx)
}

/// `ebx` and `ecx` of leaf 7; zeros if there is none.
fn leaf_7() -> (u32, u32) {
    static LEAF: OnceLock<(u32, u32)> = OnceLock::new();
    *LEAF.get_or_init(|| {
        if !bit(leaf_1(), XSAVE) {
            return (0, 0);
        }
        let leaf = __cpuid_count(7, 0);
        (leaf.ebx, leaf.ecx)
    })
}

/// `ecx` of leaf 0x80000001, which all 64-bit processors have.
fn extended_leaf_1() -> u32 {
    static LEAF: OnceLock<u32> = OnceLock::new();
    *LEAF.get_or_init(|| __cpuid(0x8000_0001).ecx)
}

/// Whether the system saves this state of each thread.
fn saves(state: u64) -> bool {
    saved_state() & state == state
}

/// Bits of the state that the system saves of each thread; none if it does not tell.
pub(crate) fn saved_state() -> u64 {
    if bit(leaf_1(), OSXSAVE) { xcr0() } else { 0 }
}

fn xcr0() -> u64 {
    #[target_feature(enable = "xsave")]
    fn read() -> u64 {
        // SAFETY: register 0 is there wherever the instruction is.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: `saves` found that the system has enabled the instruction.
    unsafe { read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_library_agrees() {
        macro_rules! compare {
            ($($name:tt)*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
        }
        let theirs = compare!("cmpxchg16b" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "bmi1" "bmi2"
            "lzcnt" "avx512f" "avx512dq" "avx512vl" "avx512bitalg" "avx512vbmi");
        for (name, there) in theirs {
            assert_eq!(has_feature(name), there, "{name}");
        }
        let known = precast_targets::Arch::X86_64.features();
        assert!(known.iter().all(|feature| theirs.iter().any(|(name, _)| *name == feature.name)));
        assert!(!has_feature("telepathy"));
    }
}
