//! Values that two runtimes can be given, and that can be compared.

use std::hash::{DefaultHasher, Hash, Hasher};

use precast_loader::ValType;

use crate::Random;

/// A value. References are named by what the host knows of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// An `i32`.
    I32(u32),
    /// An `i64`.
    I64(u64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A `v128`.
    V128(u128),
    /// Null, or a function: the first of the module's exported functions that it is, or `None` if it is none or an
    /// import. (Whether an imported function is the same as another is up to the runtime.)
    Func(Option<Option<usize>>),
    /// Null, or something of the host's with this number.
    Extern(Option<u32>),
}

impl Value {
    /// A random value; functions are among the first `functions` of the module's exported ones.
    pub fn random(ty: ValType, functions: usize, random: &mut Random) -> Value {
        match ty {
            ValType::I32 => Value::I32(bits(random) as u32),
            ValType::I64 => Value::I64(bits(random)),
            ValType::F32 => Value::F32(*random.pick(&F32)),
            ValType::F64 => Value::F64(*random.pick(&F64)),
            ValType::V128 => Value::V128(u128::from(bits(random)) << 64 | u128::from(bits(random))),
            ValType::FuncRef if functions > 0 && random.below(3) != 0 => {
                Value::Func(Some(Some(random.below(functions))))
            }
            ValType::FuncRef => Value::Func(None),
            ValType::ExternRef if random.below(3) == 0 => Value::Extern(None),
            ValType::ExternRef => Value::Extern(Some(random.below(100) as u32)),
        }
    }
}

/// Bits that are likely to matter: small, near a power of two, or random.
fn bits(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.below(17) as u64,
        1 => (random.below(17) as u64).wrapping_neg(),
        2 => (1u64 << random.below(64)).wrapping_add(random.below(3) as u64).wrapping_sub(1),
        _ => random.next(),
    }
}

const F32: [u32; 14] = [
    0,
    0x8000_0000,
    0x3f80_0000,
    0xbfc0_0000,
    0x4b00_0001,
    0x4f00_0000,
    0xcf00_0001,
    0x5f80_0000,
    0x0000_0001,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffa0_1234,
];

const F64: [u64; 14] = [
    0,
    0x8000_0000_0000_0000,
    0x3ff0_0000_0000_0000,
    0xbff8_0000_0000_0000,
    0x4330_0000_0000_0001,
    0x41e0_0000_0000_0000,
    0xc1e0_0000_0020_0000,
    0x43f0_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0xfff4_0000_0000_1234,
];

/// A hash for comparing within one process.
pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A hash of a memory's bytes, which are many: of their eight-byte words.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}
