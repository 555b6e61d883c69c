//! Lists, of any length and of a fixed one, and maps.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use super::abi;
use super::context::{LiftContext, LowerContext};
use super::types::{Kind, Type};
use super::value::{ComponentType, FlatReader, FlatWriter, Lift, Lower};
use crate::HostError;

fn lower<T: Lower>(list: &[T], cx: &mut LowerContext<'_>) -> Result<(u32, u32), HostError> {
    let pointer = cx.alloc_list(list.len(), T::SIZE, T::ALIGN)?;
    T::store_list(list, cx, pointer)?;
    Ok((pointer, list.len() as u32))
}

fn lift<T: Lift>(cx: &mut LiftContext<'_>, pointer: u32, len: u32) -> Result<Vec<T>, HostError> {
    cx.list(pointer, len, T::SIZE, T::ALIGN, size_of::<T>())?;
    T::load_list(cx, pointer, len)
}

fn push(flat: &mut FlatWriter<'_>, (pointer, len): (u32, u32)) {
    flat.push(pointer.into());
    flat.push(len.into());
}

fn write(cx: &mut LowerContext<'_>, offset: u32, (pointer, len): (u32, u32)) {
    cx.write_u32(offset, pointer);
    cx.write_u32(offset + 4, len);
}

macro_rules! lists {
    ($([$($lifetime:lifetime,)?] $ty:ty;)*) => { $(
        // SAFETY: pointer and length, 32 bits each.
        unsafe impl<$($lifetime,)? T: ComponentType> ComponentType for $ty {
            const SIZE: u32 = 8;
            const ALIGN: u32 = 4;
            const FLAT: usize = 2;
            fn matches(ty: &Type<'_>) -> bool {
                matches!(ty.kind(), Kind::List(element) if T::matches(&element))
            }
            fn wit() -> String {
                format!("list<{}>", T::wit())
            }
        }

        // SAFETY: two cells, or eight bytes.
        unsafe impl<$($lifetime,)? T: Lower> Lower for $ty {
            fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
                lower(self, cx).map(|list| push(flat, list))
            }
            fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                lower(self, cx).map(|list| write(cx, offset, list))
            }
        }
    )* };
}
lists! {
    [] Vec<T>;
    [] Box<[T]>;
    ['a,] &'a [T];
}

macro_rules! owned_lists {
    ($($ty:ty;)*) => { $(
        // SAFETY: two cells, or eight bytes.
        unsafe impl<T: Lift> Lift for $ty {
            fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
                let (pointer, len) = (flat.next() as u32, flat.next() as u32);
                lift(cx, pointer, len).map(Into::into)
            }
            fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
                lift(cx, cx.u32(offset), cx.u32(offset + 4)).map(Into::into)
            }
        }
    )* };
}
owned_lists! {
    Vec<T>;
    Box<[T]>;
}

// SAFETY: the elements, one after the other: sizes are multiples of alignments.
unsafe impl<T: ComponentType, const N: usize> ComponentType for [T; N] {
    const SIZE: u32 = T::SIZE * N as u32;
    const ALIGN: u32 = T::ALIGN;
    const FLAT: usize = T::FLAT * N;
    fn matches(ty: &Type<'_>) -> bool {
        matches!(ty.kind(), Kind::FixedList(element, len) if len as usize == N && T::matches(&element))
    }
    fn wit() -> String {
        format!("list<{}, {N}>", T::wit())
    }
}

// SAFETY: as above.
unsafe impl<T: Lower, const N: usize> Lower for [T; N] {
    fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
        self.iter().try_for_each(|element| element.lower(cx, flat))
    }
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        T::store_list(self, cx, offset)
    }
}

// SAFETY: as above.
unsafe impl<T: Lift, const N: usize> Lift for [T; N] {
    fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        let elements = (0..N).map(|_| T::lift(cx, flat)).collect::<Result<Vec<_>, _>>()?;
        elements.try_into().map_err(|_| "a list of a fixed length has another".into())
    }
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        let elements = T::load_list(cx, offset, N as u32)?;
        elements.try_into().map_err(|_| "a list of a fixed length has another".into())
    }
}

fn matches_map<K: ComponentType, V: ComponentType>(ty: &Type<'_>) -> bool {
    matches!(ty.kind(), Kind::Map(key, value) if K::matches(&key) && V::matches(&value))
}

fn lower_map<'m, K: Lower + 'm, V: Lower + 'm>(
    len: usize,
    pairs: impl Iterator<Item = (&'m K, &'m V)>,
    cx: &mut LowerContext<'_>,
) -> Result<(u32, u32), HostError> {
    let fields = [(K::SIZE, K::ALIGN), (V::SIZE, V::ALIGN)];
    let (size, align) = abi::record_size(&fields);
    let pointer = cx.alloc_list(len, size, align)?;
    let mut at = pointer;
    for (key, value) in pairs {
        key.store(cx, at)?;
        value.store(cx, at + abi::record_offset(&fields, 1))?;
        at += size;
    }
    Ok((pointer, len as u32))
}

macro_rules! maps {
    ($([$($key:path),*] [$($hasher:ident: $bound:path)?] $ty:ty;)*) => { $(
        // SAFETY: pointer and length of a list of pairs, 32 bits each.
        unsafe impl<K: ComponentType, V: ComponentType $(, $hasher)?> ComponentType for $ty {
            const SIZE: u32 = 8;
            const ALIGN: u32 = 4;
            const FLAT: usize = 2;
            fn matches(ty: &Type<'_>) -> bool {
                matches_map::<K, V>(ty)
            }
            fn wit() -> String {
                format!("map<{}, {}>", K::wit(), V::wit())
            }
        }

        // SAFETY: two cells, or eight bytes.
        unsafe impl<K: Lower, V: Lower $(, $hasher)?> Lower for $ty {
            fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
                lower_map(self.len(), self.iter(), cx).map(|list| push(flat, list))
            }
            fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                lower_map(self.len(), self.iter(), cx).map(|list| write(cx, offset, list))
            }
        }

        // SAFETY: two cells, or eight bytes. If a key comes twice, its last value stays.
        unsafe impl<K: Lift $(+ $key)*, V: Lift $(, $hasher: $bound + Default)?> Lift for $ty {
            fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
                let (pointer, len) = (flat.next() as u32, flat.next() as u32);
                Ok(lift::<(K, V)>(cx, pointer, len)?.into_iter().collect())
            }
            fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
                Ok(lift::<(K, V)>(cx, cx.u32(offset), cx.u32(offset + 4))?.into_iter().collect())
            }
        }
    )* };
}
maps! {
    [Eq, Hash] [S: BuildHasher] HashMap<K, V, S>;
    [Ord] [] BTreeMap<K, V>;
}
