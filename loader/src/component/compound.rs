//! Options, results, tuples (which parameters are too), boxes.

use super::abi;
use super::context::{LiftContext, LowerContext};
use super::types::{Kind, Members, Type};
use super::value::{ComponentType, FlatReader, FlatWriter, Lift, LiftParams, Lower, LowerParams};
use crate::HostError;
use crate::typed::for_each_tuple;

// SAFETY: the layout of a variant of two cases, of which the second has a payload.
unsafe impl<T: ComponentType> ComponentType for Option<T> {
    const SIZE: u32 = abi::variant_layout(2, &[(T::SIZE, T::ALIGN)]).0;
    const ALIGN: u32 = abi::variant_layout(2, &[(T::SIZE, T::ALIGN)]).1;
    const FLAT: usize = 1 + T::FLAT;
    fn matches(ty: &Type<'_>) -> bool {
        matches!(ty.kind(), Kind::Option(payload) if T::matches(&payload))
    }
    fn wit() -> String {
        format!("option<{}>", T::wit())
    }
}

const fn option_payload<T: ComponentType>() -> u32 {
    abi::variant_layout(2, &[(T::SIZE, T::ALIGN)]).2
}

// SAFETY: as above.
unsafe impl<T: Lower> Lower for Option<T> {
    fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
        let end = flat.len() + Self::FLAT;
        flat.push(self.is_some().into());
        if let Some(payload) = self {
            payload.lower(cx, flat)?;
        }
        flat.pad_to(end);
        Ok(())
    }
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        cx.write_u8(offset, self.is_some().into());
        self.as_ref().map_or(Ok(()), |payload| payload.store(cx, offset + option_payload::<T>()))
    }
}

// SAFETY: as above.
unsafe impl<T: Lift> Lift for Option<T> {
    fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        let end = flat.position() + Self::FLAT;
        let some = abi::discriminant(flat.next(), 2)? == 1;
        let payload = if some { Some(T::lift(cx, flat)?) } else { None };
        flat.skip_to(end);
        Ok(payload)
    }
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        match abi::discriminant(cx.u8(offset).into(), 2)? {
            0 => Ok(None),
            _ => T::load(cx, offset + option_payload::<T>()).map(Some),
        }
    }
}

const fn result_layout<A: ComponentType, B: ComponentType>() -> (u32, u32, u32) {
    abi::variant_layout(2, &[(A::SIZE, A::ALIGN), (B::SIZE, B::ALIGN)])
}

// SAFETY: the layout of a variant of two cases. A payload `()` is none: it has no bytes.
unsafe impl<A: ComponentType, B: ComponentType> ComponentType for Result<A, B> {
    const SIZE: u32 = result_layout::<A, B>().0;
    const ALIGN: u32 = result_layout::<A, B>().1;
    const FLAT: usize = 1 + abi::max_flat(&[A::FLAT, B::FLAT]);
    fn matches(ty: &Type<'_>) -> bool {
        let Kind::Result(ok, err) = ty.kind() else { return false };
        super::value::matches_result::<A>(ok) && super::value::matches_result::<B>(err)
    }
    fn wit() -> String {
        match (A::is_nothing(), B::is_nothing()) {
            (true, true) => "result".into(),
            (false, true) => format!("result<{}>", A::wit()),
            (true, false) => format!("result<_, {}>", B::wit()),
            (false, false) => format!("result<{}, {}>", A::wit(), B::wit()),
        }
    }
}

// SAFETY: as above.
unsafe impl<A: Lower, B: Lower> Lower for Result<A, B> {
    fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
        let end = flat.len() + Self::FLAT;
        flat.push(self.is_err().into());
        match self {
            Ok(payload) => payload.lower(cx, flat)?,
            Err(payload) => payload.lower(cx, flat)?,
        }
        flat.pad_to(end);
        Ok(())
    }
    fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
        cx.write_u8(offset, self.is_err().into());
        let payload = offset + result_layout::<A, B>().2;
        match self {
            Ok(value) => value.store(cx, payload),
            Err(value) => value.store(cx, payload),
        }
    }
}

// SAFETY: as above.
unsafe impl<A: Lift, B: Lift> Lift for Result<A, B> {
    fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        let end = flat.position() + Self::FLAT;
        let value = match abi::discriminant(flat.next(), 2)? {
            0 => Ok(A::lift(cx, flat)?),
            _ => Err(B::lift(cx, flat)?),
        };
        flat.skip_to(end);
        Ok(value)
    }
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        let payload = offset + result_layout::<A, B>().2;
        Ok(match abi::discriminant(cx.u8(offset).into(), 2)? {
            0 => Ok(A::load(cx, payload)?),
            _ => Err(B::load(cx, payload)?),
        })
    }
}

macro_rules! pointers {
    ($([$($lifetime:lifetime)?] $ty:ty;)*) => { $(
        // SAFETY: it is what it points to.
        unsafe impl<$($lifetime,)? T: ComponentType> ComponentType for $ty {
            const SIZE: u32 = T::SIZE;
            const ALIGN: u32 = T::ALIGN;
            const FLAT: usize = T::FLAT;
            fn matches(ty: &Type<'_>) -> bool {
                T::matches(ty)
            }
            fn wit() -> String {
                T::wit()
            }
            fn is_nothing() -> bool {
                T::is_nothing()
            }
        }

        // SAFETY: as above.
        unsafe impl<$($lifetime,)? T: Lower> Lower for $ty {
            fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
                (**self).lower(cx, flat)
            }
            fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                (**self).store(cx, offset)
            }
        }
    )* };
}
pointers! {
    [] Box<T>;
    ['a] &'a T;
}

// SAFETY: as above.
unsafe impl<T: Lift> Lift for Box<T> {
    fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
        T::lift(cx, flat).map(Box::new)
    }
    fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
        T::load(cx, offset).map(Box::new)
    }
}

macro_rules! tuples {
    ($($n:literal: $($value:ident)*;)*) => { $(
        // SAFETY: the layout of a record of the elements.
        unsafe impl<$($value: ComponentType),*> ComponentType for ($($value,)*) {
            const SIZE: u32 = abi::record_size(&[$(($value::SIZE, $value::ALIGN)),*]).0;
            const ALIGN: u32 = abi::record_size(&[$(($value::SIZE, $value::ALIGN)),*]).1;
            const FLAT: usize = 0 $(+ $value::FLAT)*;
            fn matches(ty: &Type<'_>) -> bool {
                matches!(ty.kind(), Kind::Tuple(members) if matches_all(members, &[$($value::matches),*]))
            }
            fn wit() -> String {
                let names: [String; $n] = [$($value::wit()),*];
                format!("tuple<{}>", names.join(", "))
            }
            fn is_nothing() -> bool {
                $n == 0
            }
        }

        // SAFETY: as above.
        #[allow(non_snake_case, unused_variables, unused_mut, unused_assignments, reason = "names of the types; the unit")]
        unsafe impl<$($value: Lower),*> Lower for ($($value,)*) {
            #[inline]
            fn lower(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
                let ($($value,)*) = self;
                $($value.lower(cx, flat)?;)*
                Ok(())
            }
            fn store(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                let ($($value,)*) = self;
                let mut at = offset;
                $(
                    at = abi::align_to(at, $value::ALIGN);
                    $value.store(cx, at)?;
                    at += $value::SIZE;
                )*
                Ok(())
            }
        }

        // SAFETY: as above.
        #[allow(non_snake_case, unused_variables, unused_mut, unused_assignments, clippy::unused_unit, reason = "as above")]
        unsafe impl<$($value: Lift),*> Lift for ($($value,)*) {
            #[inline]
            fn lift(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
                $(let $value = $value::lift(cx, flat)?;)*
                Ok(($($value,)*))
            }
            fn load(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
                let mut at = offset;
                $(
                    at = abi::align_to(at, $value::ALIGN);
                    let $value = $value::load(cx, at)?;
                    at += $value::SIZE;
                )*
                Ok(($($value,)*))
            }
        }

        // SAFETY: as above: parameters in memory are a tuple.
        #[allow(non_snake_case, unused_variables, unused_mut, unused_assignments, reason = "as above")]
        unsafe impl<$($value: Lower),*> LowerParams for ($($value,)*) {
            fn matches_params(params: Members<'_>) -> bool {
                matches_all(params, &[$($value::matches),*])
            }
            #[inline]
            fn lower_params(&self, cx: &mut LowerContext<'_>, flat: &mut FlatWriter<'_>) -> Result<(), HostError> {
                let ($($value,)*) = self;
                let mut index = 0;
                $(
                    cx.at_param(index);
                    $value.lower(cx, flat)?;
                    index += 1;
                )*
                Ok(())
            }
            fn store_params(&self, cx: &mut LowerContext<'_>, offset: u32) -> Result<(), HostError> {
                let ($($value,)*) = self;
                let (mut at, mut index) = (offset, 0);
                $(
                    at = abi::align_to(at, $value::ALIGN);
                    cx.at_param(index);
                    $value.store(cx, at)?;
                    at += $value::SIZE;
                    index += 1;
                )*
                Ok(())
            }
            fn wit_params() -> String {
                let names: [String; $n] = [$($value::wit()),*];
                names.join(", ")
            }
        }

        // SAFETY: as above.
        #[allow(non_snake_case, unused_variables, unused_mut, unused_assignments, clippy::unused_unit, reason = "as above")]
        unsafe impl<$($value: Lift),*> LiftParams for ($($value,)*) {
            fn matches_params(params: Members<'_>) -> bool {
                matches_all(params, &[$($value::matches),*])
            }
            #[inline]
            fn lift_params(cx: &mut LiftContext<'_>, flat: &mut FlatReader<'_>) -> Result<Self, HostError> {
                let mut index = 0;
                $(
                    cx.at_param(index);
                    let $value = $value::lift(cx, flat)?;
                    index += 1;
                )*
                Ok(($($value,)*))
            }
            fn load_params(cx: &mut LiftContext<'_>, offset: u32) -> Result<Self, HostError> {
                let (mut at, mut index) = (offset, 0);
                $(
                    at = abi::align_to(at, $value::ALIGN);
                    cx.at_param(index);
                    let $value = $value::load(cx, at)?;
                    at += $value::SIZE;
                    index += 1;
                )*
                Ok(($($value,)*))
            }
            fn wit_params() -> String {
                let names: [String; $n] = [$($value::wit()),*];
                names.join(", ")
            }
        }
    )* };
}
for_each_tuple!(tuples);

fn matches_all(members: Members<'_>, matches: &[fn(&Type<'_>) -> bool]) -> bool {
    members.len() == matches.len() && members.types().zip(matches).all(|(ty, matches)| matches(&ty))
}
