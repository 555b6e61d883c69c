//! Strings, in the three encodings of the Canonical ABI.

use std::borrow::Cow;
use std::sync::Arc;

use precast_abi::component::{MAX_BYTE_LENGTH, Primitive, StringEncoding};
use precast_abi::trap::TrapCode;

use super::context::{LiftContext, LowerContext};
use super::fault::Fault;
use super::types::Type;
use super::value::{ComponentType, FlatReader, FlatWriter, Lift, Lower};
use crate::HostError;

/// Copies a string into the guest's memory: pointer and length.
fn lower(string: &str, cx: &mut LowerContext<'_>) -> Result<(u32, u32), HostError> {
    match cx.encoding() {
        StringEncoding::Utf8 => {
            let pointer = cx.alloc_list(string.len(), 1, 1)?;
            cx.write_bytes(pointer, string.as_bytes());
            Ok((pointer, string.len() as u32))
        }
        StringEncoding::Utf16 => lower_utf16(string, cx),
        StringEncoding::Latin1OrUtf16 => {
            if let Some(latin1) = to_latin1(string) {
                if latin1.len() > MAX_BYTE_LENGTH as usize {
                    return Err(Fault::new(TrapCode::TooLong).into());
                }
                let pointer = cx.realloc(latin1.len() as u32, 2)?;
                cx.write_bytes(pointer, &latin1);
                return Ok((pointer, latin1.len() as u32));
            }
            let (pointer, units) = lower_utf16(string, cx)?;
            Ok((pointer, units | StringEncoding::UTF16_TAG))
        }
    }
}

fn lower_utf16(string: &str, cx: &mut LowerContext<'_>) -> Result<(u32, u32), HostError> {
    let units = string.encode_utf16().count();
    let pointer = cx.alloc_list(units, 2, 2)?;
    let bytes: Vec<u8> = string.encode_utf16().flat_map(u16::to_le_bytes).collect();
    cx.write_bytes(pointer, &bytes);
    Ok((pointer, units as u32))
}

/// The string in Latin-1, if all its characters are there.
fn to_latin1(string: &str) -> Option<Cow<'_, [u8]>> {
    if string.is_ascii() {
        return Some(string.as_bytes().into());
    }
    string.chars().map(|char| u8::try_from(char).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}

/// The string that a guest has at `pointer`.
fn lift(cx: &mut LiftContext<'_>, pointer: u32, len: u32) -> Result<String, HostError> {
    match cx.encoding() {
        StringEncoding::Utf8 => {
            let bytes = cx.string_bytes(pointer, len, 1, 1)?;
            std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Fault::new(TrapCode::InvalidUtf8).into())
        }
        StringEncoding::Utf16 => lift_utf16(cx, pointer, len),
        StringEncoding::Latin1OrUtf16 if len & StringEncoding::UTF16_TAG != 0 => {
            lift_utf16(cx, pointer, len & !StringEncoding::UTF16_TAG)
        }
        StringEncoding::Latin1OrUtf16 => {
            Ok(cx.string_bytes(pointer, len, 1, 2)?.iter().copied().map(char::from).collect())
        }
    }
}

fn lift_utf16(cx: &mut LiftContext<'_>, pointer: u32, units: u32) -> Result<String, HostError> {
    let bytes = cx.string_bytes(pointer, units, 2, 2)?;
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let string = char::decode_utf16(units).collect::<Result<_, _>>();
    string.map_err(|_| Fault::new(TrapCode::InvalidUtf16).into())
}

macro_rules! strings {
    ($($ty:ty),*) => { $(
        // SAFETY: pointer and length, 32 bits each.
        unsafe impl ComponentType for $ty {
            const SIZE: u32 = 8;
            const ALIGN: u32 = 4;
            const FLAT: usize = 2;
            fn matches(ty: &Type<'_>) -> bool {
                ty.is(Primitive::String)
            }
            fn wit() -> String {
                Primitive::String.name().into()
            }
        }

        // SAFETY: two cells, or eight bytes.
        unsafe impl Lower for $ty {
            fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
                let (pointer, len) = lower(self, cx)?;
                flat.push(pointer.into());
                flat.push(len.into());
                Ok(())
            }
            fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                let (pointer, len) = lower(self, cx)?;
                cx.write_u32(offset, pointer);
                cx.write_u32(offset + 4, len);
                Ok(())
            }
        }
    )* };
}
strings!(String, &str, Box<str>, Arc<str>, Cow<'_, str>);

macro_rules! owned_strings {
    ($($ty:ty),*) => { $(
        // SAFETY: two cells, or eight bytes.
        unsafe impl Lift for $ty {
            fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
                let (pointer, len) = (flat.next() as u32, flat.next() as u32);
                lift(cx, pointer, len).map(Into::into)
            }
            fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
                let (pointer, len) = (cx.u32(offset), cx.u32(offset + 4));
                lift(cx, pointer, len).map(Into::into)
            }
        }
    )* };
}
owned_strings!(String, Box<str>, Arc<str>);
