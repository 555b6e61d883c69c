//! Values as the dynamic interface has them.
//!
//! What comes in: the 8-byte cells in which host and guest exchange values (v128 takes two). What goes out: [`Val`],
//! and back. References are cells whose meaning depends on the instance they are in, so both directions name it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use precast_abi::types::ValType;

use crate::externs::Func;
use crate::record::InstanceRecord;
use crate::references::{self, ForeignStore};

/// A WebAssembly value. Floats are bits, so that NaNs keep their payload and values can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Val {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// 128-bit vector, lane 0 in the lowest bits.
    V128(u128),
    /// Nullable function reference.
    FuncRef(Option<Func>),
    /// Nullable host reference.
    ExternRef(Option<ExternRef>),
}

impl Val {
    /// Its type.
    pub fn ty(&self) -> ValType {
        match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(_) => ValType::FuncRef,
            Val::ExternRef(_) => ValType::ExternRef,
        }
    }

    /// Zero, or null.
    pub fn zero(ty: ValType) -> Val {
        match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(0),
            ValType::FuncRef => Val::FuncRef(None),
            ValType::ExternRef => Val::ExternRef(None),
        }
    }

    /// The integer, if it is an `i32`.
    pub fn i32(&self) -> Option<i32> {
        if let Val::I32(value) = self { Some(*value) } else { None }
    }

    /// The integer, if it is an `i64`.
    pub fn i64(&self) -> Option<i64> {
        if let Val::I64(value) = self { Some(*value) } else { None }
    }

    /// The float, if it is an `f32`.
    pub fn f32(&self) -> Option<f32> {
        if let Val::F32(bits) = self { Some(f32::from_bits(*bits)) } else { None }
    }

    /// The float, if it is an `f64`.
    pub fn f64(&self) -> Option<f64> {
        if let Val::F64(bits) = self { Some(f64::from_bits(*bits)) } else { None }
    }

    /// Reads a value of type `ty` that instance `record` wrote.
    ///
    /// # Safety
    /// `cells` is readable for `ty.cells()` words, and `record` points to a live record.
    pub(crate) unsafe fn load(ty: ValType, cells: *const u64, record: *mut InstanceRecord) -> Val {
        // SAFETY: the caller says that the cell is readable.
        let cell = unsafe { cells.read_unaligned() };
        match ty {
            ValType::I32 => Val::I32(cell as i32),
            ValType::I64 => Val::I64(cell as i64),
            ValType::F32 => Val::F32(cell as u32),
            ValType::F64 => Val::F64(cell),
            ValType::V128 => {
                // SAFETY: a v128 has two cells, and the caller says that they are readable.
                let high = unsafe { cells.add(1).read_unaligned() };
                Val::V128(u128::from(cell) | u128::from(high) << 64)
            }
            // SAFETY: the caller says that the record is live.
            ValType::FuncRef => Val::FuncRef(unsafe { references::to_func(record, cell) }),
            // SAFETY: as above.
            ValType::ExternRef => Val::ExternRef(unsafe { references::to_extern(record, cell) }),
        }
    }

    /// Writes the value for instance `record`.
    ///
    /// # Safety
    /// `cells` is writable for `self.ty().cells()` words, and `record` points to a live record.
    pub(crate) unsafe fn store(&self, cells: *mut u64, record: *mut InstanceRecord) -> Result<(), ForeignStore> {
        let cell = match self {
            Val::I32(value) => u64::from(*value as u32),
            Val::I64(value) => *value as u64,
            Val::F32(bits) => u64::from(*bits),
            Val::F64(bits) => *bits,
            Val::V128(value) => {
                // SAFETY: a v128 has two cells, and the caller says that they are writable.
                unsafe { cells.add(1).write_unaligned((value >> 64) as u64) };
                *value as u64
            }
            // SAFETY: the caller says that the record is live.
            Val::FuncRef(func) => unsafe { references::from_func(record, *func)? },
            // SAFETY: as above.
            Val::ExternRef(reference) => unsafe { references::from_extern(record, reference.as_ref()) },
        };
        // SAFETY: the caller says that the cell is writable.
        unsafe { cells.write_unaligned(cell) };
        Ok(())
    }
}

macro_rules! conversions {
    ($($ty:ty, $variant:ident, $value:ident => $bits:expr;)*) => { $(
        impl From<$ty> for Val {
            fn from($value: $ty) -> Val {
                Val::$variant($bits)
            }
        }
    )* };
}
conversions! {
    i32, I32, value => value;
    u32, I32, value => value as i32;
    i64, I64, value => value;
    u64, I64, value => value as i64;
    f32, F32, value => value.to_bits();
    f64, F64, value => value.to_bits();
    u128, V128, value => value;
    Func, FuncRef, value => Some(value);
    Option<Func>, FuncRef, value => value;
    ExternRef, ExternRef, value => Some(value);
    Option<ExternRef>, ExternRef, value => value;
}

/// Something of the host's that the guest can hold, pass on and give back, but not look into. A store keeps what its
/// guests were given until it is dropped itself.
#[derive(Clone)]
pub struct ExternRef(Arc<dyn Any + Send + Sync>);

impl ExternRef {
    /// A reference to `value`, equal only to its own clones.
    pub fn new(value: impl Any + Send + Sync) -> Self {
        ExternRef(Arc::new(value))
    }

    /// The value, if it is an `X`.
    pub fn downcast_ref<X: Any>(&self) -> Option<&X> {
        self.0.downcast_ref()
    }

    /// Its address, which no other live reference has.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }
}

impl PartialEq for ExternRef {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}
impl Eq for ExternRef {}

impl fmt::Debug for ExternRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternRef({:#x})", self.identity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_types() {
        for (value, ty) in [
            (Val::from(-1i32), ValType::I32),
            (Val::from(1u64), ValType::I64),
            (Val::from(f32::NAN), ValType::F32),
            (Val::from(0.5f64), ValType::F64),
            (Val::from(u128::MAX), ValType::V128),
            (Val::from(None::<Func>), ValType::FuncRef),
            (Val::from(ExternRef::new(1)), ValType::ExternRef),
        ] {
            assert_eq!(value.ty(), ty);
            assert_eq!(Val::zero(ty).ty(), ty);
        }
        assert_eq!(Val::from(0.5f64).f64(), Some(0.5));
        assert_eq!(Val::from(u32::MAX).i32(), Some(-1));
    }

    #[test]
    fn extern_references_are_equal_by_identity() {
        let one = ExternRef::new(String::from("x"));
        assert_eq!(one, one.clone());
        assert_ne!(one, ExternRef::new(String::from("x")));
        assert_ne!(ExternRef::new(()), ExternRef::new(()));
        assert_eq!(one.downcast_ref::<String>().map(String::as_str), Some("x"));
        assert_eq!(one.downcast_ref::<u32>(), None);
    }
}
