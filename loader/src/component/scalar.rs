//! Numbers, booleans and characters.

use precast_abi::component::Primitive;
use precast_abi::trap::TrapCode;

use super::context::{LiftContext, LowerContext};
use super::fault::Fault;
use super::types::Type;
use super::value::{ComponentType, FlatReader, FlatWriter, Lift, Lower};
use crate::HostError;

macro_rules! numbers {
    ($($ty:ty, $primitive:ident, $bits:ident, $write:ident: $value:ident => $into:expr, $raw:ident => $from:expr;)*) => { $(
        // SAFETY: numbers are as large in memory as here.
        unsafe impl ComponentType for $ty {
            const SIZE: u32 = size_of::<$ty>() as u32;
            const ALIGN: u32 = size_of::<$ty>() as u32;
            const FLAT: usize = 1;
            fn matches(ty: &Type<'_>) -> bool {
                ty.is(Primitive::$primitive)
            }
            fn wit() -> String {
                Primitive::$primitive.name().into()
            }
        }

        // SAFETY: one cell, or `SIZE` bytes.
        unsafe impl Lower for $ty {
            #[inline]
            fn lower(&self, _: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
                let $value = *self;
                flat.push($into);
                Ok(())
            }
            #[inline]
            fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                let $value = *self;
                cx.$write(offset, ($into) as $bits);
                Ok(())
            }
            fn store_list(list: &[Self], cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                // SAFETY: numbers have no padding, and may be looked at as bytes.
                let bytes = unsafe { std::slice::from_raw_parts(list.as_ptr().cast::<u8>(), size_of_val(list)) };
                if cfg!(target_endian = "big") {
                    return Err("lists of numbers are for little-endian machines".into());
                }
                cx.write_bytes(offset, bytes);
                Ok(())
            }
        }

        // SAFETY: one cell, or `SIZE` bytes.
        unsafe impl Lift for $ty {
            #[inline]
            fn lift(_: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
                let $raw = flat.next() as $bits;
                Ok($from)
            }
            #[inline]
            fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
                let $raw = cx.$bits(offset);
                Ok($from)
            }
            fn load_list(cx: &mut LiftContext<'_>, offset: u32, len: u32) -> Result<Vec<Self>, HostError> {
                let bytes = cx.bytes(offset, len.saturating_mul(Self::SIZE))?;
                let chunks = bytes.chunks_exact(size_of::<$ty>());
                Ok(chunks.map(|chunk| <$ty>::from_le_bytes(chunk.try_into().unwrap_or_default())).collect())
            }
        }
    )* };
}
numbers! {
    u8, U8, u8, write_u8: value => u64::from(value), raw => raw;
    i8, S8, u8, write_u8: value => u64::from(value as i32 as u32), raw => raw as i8;
    u16, U16, u16, write_u16: value => u64::from(value), raw => raw;
    i16, S16, u16, write_u16: value => u64::from(i32::from(value) as u32), raw => raw as i16;
    u32, U32, u32, write_u32: value => u64::from(value), raw => raw;
    i32, S32, u32, write_u32: value => u64::from(value as u32), raw => raw as i32;
    u64, U64, u64, write_u64: value => value, raw => raw;
    i64, S64, u64, write_u64: value => value as u64, raw => raw as i64;
    f32, F32, u32, write_u32: value => u64::from(value.to_bits()), raw => f32::from_bits(raw);
    f64, F64, u64, write_u64: value => value.to_bits(), raw => f64::from_bits(raw);
}

// SAFETY: one byte, one core value.
unsafe impl ComponentType for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;
    const FLAT: usize = 1;
    fn matches(ty: &Type<'_>) -> bool {
        ty.is(Primitive::Bool)
    }
}

// SAFETY: as above.
unsafe impl Lower for bool {
    #[inline]
    fn lower(&self, _: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
        flat.push((*self).into());
        Ok(())
    }
    #[inline]
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        cx.write_u8(offset, (*self).into());
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl Lift for bool {
    #[inline]
    fn lift(_: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        Ok(flat.next() as u32 != 0)
    }
    #[inline]
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        Ok(cx.u8(offset) != 0)
    }
}

// SAFETY: a 32-bit number in memory, one core value.
unsafe impl ComponentType for char {
    const SIZE: u32 = 4;
    const ALIGN: u32 = 4;
    const FLAT: usize = 1;
    fn matches(ty: &Type<'_>) -> bool {
        ty.is(Primitive::Char)
    }
}

// SAFETY: as above.
unsafe impl Lower for char {
    fn lower(&self, _: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
        flat.push(u32::from(*self).into());
        Ok(())
    }
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        cx.write_u32(offset, (*self).into());
        Ok(())
    }
}

fn to_char(raw: u32) -> Result<char, HostError> {
    char::from_u32(raw).ok_or_else(|| Fault::new(TrapCode::InvalidChar).into())
}

// SAFETY: as above.
unsafe impl Lift for char {
    fn lift(_: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        to_char(flat.next() as u32)
    }
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        to_char(cx.u32(offset))
    }
}
