//! Value types and function types as the artifact stores them.

use alloc::vec::Vec;

/// A value type. The number is the type's byte in the WebAssembly binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValType {
    /// 32-bit integer.
    I32 = 0x7f,
    /// 64-bit integer.
    I64 = 0x7e,
    /// 32-bit float.
    F32 = 0x7d,
    /// 64-bit float.
    F64 = 0x7c,
    /// 128-bit vector.
    V128 = 0x7b,
    /// Nullable function reference.
    FuncRef = 0x70,
    /// Nullable host reference.
    ExternRef = 0x6f,
}

impl ValType {
    /// The type stored as `raw`.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0x7f => ValType::I32,
            0x7e => ValType::I64,
            0x7d => ValType::F32,
            0x7c => ValType::F64,
            0x7b => ValType::V128,
            0x70 => ValType::FuncRef,
            0x6f => ValType::ExternRef,
            _ => return None,
        })
    }

    /// The type's name in the text format.
    pub fn name(self) -> &'static str {
        match self {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::FuncRef => "funcref",
            ValType::ExternRef => "externref",
        }
    }

    /// Whether this is a reference type.
    pub fn is_ref(self) -> bool {
        matches!(self, ValType::FuncRef | ValType::ExternRef)
    }

    /// Number of 8-byte cells a value takes where host and guest exchange values.
    pub fn cells(self) -> usize {
        if self == ValType::V128 { 2 } else { 1 }
    }
}

/// A function type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FuncType {
    /// Parameter types.
    pub params: Vec<ValType>,
    /// Result types.
    pub results: Vec<ValType>,
}

impl FuncType {
    /// Number of 8-byte cells that hold the parameters, and later the results, at the host's border.
    pub fn cells(&self) -> usize {
        let cells = |types: &[ValType]| types.iter().map(|ty| ty.cells()).sum::<usize>();
        cells(&self.params).max(cells(&self.results))
    }

    /// `len params, params…, results…`, one byte each but the length, which is four.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.params.len() + self.results.len());
        out.extend_from_slice(&(self.params.len() as u32).to_le_bytes());
        out.extend(self.params.iter().chain(&self.results).map(|ty| *ty as u8));
        out
    }

    /// The inverse of [`Self::encode`]; `None` if the bytes are not a function type.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (len, types) = bytes.split_first_chunk::<4>()?;
        let (params, results) = types.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let decode = |raw: &[u8]| raw.iter().map(|raw| ValType::from_raw(*raw)).collect::<Option<Vec<_>>>();
        Some(FuncType { params: decode(params)?, results: decode(results)? })
    }
}

/// How compiled functions return: whether the results fit in registers on every target, or go through a return area
/// whose address is the parameter after the base.
///
/// Cranelift's `tail` convention returns eight integers on x86-64, six on AArch64 and eight floats or vectors on both.
/// We take the smaller of each, so that a type's convention does not depend on the target.
pub fn returns_in_registers(results: &[ValType]) -> bool {
    let floats = results.iter().filter(|ty| matches!(ty, ValType::F32 | ValType::F64 | ValType::V128)).count();
    results.len() - floats <= 6 && floats <= 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_types_round_trip() {
        use ValType::*;
        let ty = FuncType { params: [I32, V128, FuncRef].into(), results: [F64, ExternRef, I64, F32].into() };
        assert_eq!(FuncType::decode(&ty.encode()), Some(ty.clone()));
        assert_eq!(ty.cells(), 4);
        assert_eq!(FuncType::decode(&[1, 0, 0]), None);
        assert_eq!(FuncType::decode(&[9, 0, 0, 0, 0x7f]), None);
        assert_eq!(FuncType::decode(&[1, 0, 0, 0, 0x40]), None);
    }
}
