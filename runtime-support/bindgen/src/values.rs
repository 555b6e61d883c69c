//! How values of types that have a name go over the border: implementations of `ComponentType`, `Lower` and `Lift`.
//!
//! Offsets are numbers, and each part of a value is one call that is inlined: a record of numbers becomes one load and
//! store for each.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use wit_parser::{Enum, Int, Record, Type, TypeId, Variant};

use crate::generate::Generator;
use crate::names;
use crate::place::Scope;

/// The bodies of a type's functions.
pub(crate) struct Bodies {
    pub(crate) matches: TokenStream,
    pub(crate) lower: TokenStream,
    pub(crate) store: TokenStream,
    pub(crate) lift: TokenStream,
    pub(crate) load: TokenStream,
}

/// How a discriminant is written and read.
pub(crate) struct Tag {
    pub(crate) write: Ident,
    pub(crate) read: Ident,
    pub(crate) ty: Ident,
}

impl Tag {
    pub(crate) fn new(tag: Int) -> Tag {
        let (write, ty) = match tag {
            Int::U8 => ("write_u8", "u8"),
            Int::U16 => ("write_u16", "u16"),
            Int::U32 | Int::U64 => ("write_u32", "u32"),
        };
        Tag { write: names::ident(write), read: names::ident(ty), ty: names::ident(ty) }
    }
}

impl Generator<'_> {
    pub(crate) fn values(&self, id: TypeId, name: &Ident, bodies: &Bodies) -> TokenStream {
        let layout = self.layouts.of(self.resolve, &Type::Id(id));
        let (size, align) = (Literal::u32_unsuffixed(layout.size), Literal::u32_unsuffixed(layout.align));
        let flat = Literal::usize_unsuffixed(layout.flat);
        let wit = self.resolve.types[id].name.as_deref().unwrap_or_default();
        let Bodies { matches, lower, store, lift, load } = bodies;
        quote!(
            // SAFETY: the constants are those of the type that `matches` accepts, computed from the same WIT.
            unsafe impl ::precast_loader::component::ComponentType for #name {
                const SIZE: u32 = #size;
                const ALIGN: u32 = #align;
                const FLAT: usize = #flat;
                fn matches(ty: &::precast_loader::component::Type<'_>) -> bool { #matches }
                fn wit() -> ::std::string::String { ::std::string::String::from(#wit) }
            }
            // SAFETY: each part is written once, where the layout has it.
            unsafe impl ::precast_loader::component::Lower for #name {
                #[inline]
                fn lower(
                    &self,
                    cx: &mut ::precast_loader::component::LowerContext<'_>,
                    flat: &mut ::precast_loader::component::FlatWriter<'_>,
                ) -> ::core::result::Result<(), ::precast_loader::HostError> { #lower ::core::result::Result::Ok(()) }
                #[inline]
                fn store(
                    &self,
                    cx: &mut ::precast_loader::component::LowerContext<'_>,
                    offset: u32,
                ) -> ::core::result::Result<(), ::precast_loader::HostError> { #store ::core::result::Result::Ok(()) }
            }
            // SAFETY: each part is read once, where the layout has it.
            unsafe impl ::precast_loader::component::Lift for #name {
                #[inline]
                fn lift(
                    cx: &mut ::precast_loader::component::LiftContext<'_>,
                    flat: &mut ::precast_loader::component::FlatReader<'_>,
                ) -> ::core::result::Result<Self, ::precast_loader::HostError> { #lift }
                #[inline]
                fn load(
                    cx: &mut ::precast_loader::component::LiftContext<'_>,
                    offset: u32,
                ) -> ::core::result::Result<Self, ::precast_loader::HostError> { #load }
            }
        )
    }

    pub(crate) fn record_values(
        &self,
        id: TypeId,
        name: &Ident,
        record: &Record,
        scope: Scope,
    ) -> syn::Result<TokenStream> {
        let offsets = self.layouts.field_offsets(record.fields.iter().map(|field| &field.ty));
        let offsets: Vec<Literal> = offsets.iter().map(|offset| Literal::u32_unsuffixed(*offset)).collect();
        let fields: Vec<Ident> = record.fields.iter().map(|field| names::ident(&names::snake(&field.name))).collect();
        let wit = record.fields.iter().map(|field| &field.name);
        let types = record.fields.iter().map(|field| self.ty(&field.ty, scope, field.span));
        let types = types.collect::<syn::Result<Vec<_>>>()?;
        let bodies = Bodies {
            matches: quote!(
                ty.is_record(&[#((#wit, <#types as ::precast_loader::component::ComponentType>::matches)),*])
            ),
            lower: quote!(#(::precast_loader::component::Lower::lower(&self.#fields, cx, flat)?;)*),
            store: quote!(#(::precast_loader::component::Lower::store(&self.#fields, cx, offset + #offsets)?;)*),
            lift: quote!(::core::result::Result::Ok(Self {
                #(#fields: ::precast_loader::component::Lift::lift(cx, flat)?),*
            })),
            load: quote!(::core::result::Result::Ok(Self {
                #(#fields: ::precast_loader::component::Lift::load(cx, offset + #offsets)?),*
            })),
        };
        Ok(self.values(id, name, &bodies))
    }

    pub(crate) fn variant_values(
        &self,
        id: TypeId,
        name: &Ident,
        variant: &Variant,
        scope: Scope,
    ) -> syn::Result<TokenStream> {
        let payload = self.layouts.payload_offset(variant.tag(), variant.cases.iter().map(|case| case.ty.as_ref()));
        let payload = Literal::u32_unsuffixed(payload);
        let Tag { write, read, ty: _ } = Tag::new(variant.tag());
        let (mut matches, mut lower, mut store) = (Vec::new(), Vec::new(), Vec::new());
        let (mut lift, mut load) = (Vec::new(), Vec::new());
        for (at, case) in variant.cases.iter().enumerate() {
            let wit = &case.name;
            let name = names::ident(&names::camel(wit));
            let tag = Literal::usize_unsuffixed(at);
            match &case.ty {
                Some(ty) => {
                    let ty = self.ty(ty, scope, case.span)?;
                    matches.push(quote!((#wit, ::core::option::Option::Some(
                        <#ty as ::precast_loader::component::ComponentType>::matches
                    ))));
                    lower.push(quote!(Self::#name(value) => {
                        flat.push(#tag);
                        ::precast_loader::component::Lower::lower(value, cx, flat)?;
                    }));
                    store.push(quote!(Self::#name(value) => {
                        cx.#write(offset, #tag);
                        ::precast_loader::component::Lower::store(value, cx, offset + #payload)?;
                    }));
                    lift.push(quote!(#tag => Self::#name(::precast_loader::component::Lift::lift(cx, flat)?)));
                    load.push(quote!(
                        #tag => Self::#name(::precast_loader::component::Lift::load(cx, offset + #payload)?)
                    ));
                }
                None => {
                    matches.push(quote!((#wit, ::core::option::Option::None)));
                    lower.push(quote!(Self::#name => flat.push(#tag)));
                    store.push(quote!(Self::#name => cx.#write(offset, #tag)));
                    lift.push(quote!(#tag => Self::#name));
                    load.push(quote!(#tag => Self::#name));
                }
            }
        }
        let flat = Literal::usize_unsuffixed(self.layouts.of(self.resolve, &Type::Id(id)).flat);
        let invalid = invalid();
        let bodies = Bodies {
            matches: quote!(ty.is_variant(&[#(#matches),*])),
            lower: quote!(
                let end = flat.len() + #flat;
                match self { #(#lower),* }
                flat.pad_to(end);
            ),
            store: quote!(match self { #(#store),* }),
            lift: quote!(
                let end = flat.position() + #flat;
                let value = match flat.next() as u32 { #(#lift,)* _ => #invalid };
                flat.skip_to(end);
                ::core::result::Result::Ok(value)
            ),
            load: quote!(::core::result::Result::Ok(match cx.#read(offset) { #(#load,)* _ => #invalid })),
        };
        Ok(self.values(id, name, &bodies))
    }

    pub(crate) fn enum_values(&self, id: TypeId, name: &Ident, cases: &Enum) -> TokenStream {
        let Tag { write, read, ty } = Tag::new(cases.tag());
        let wit = cases.cases.iter().map(|case| &case.name);
        let arms: Vec<TokenStream> = cases
            .cases
            .iter()
            .enumerate()
            .map(|(at, case)| {
                let (tag, name) = (Literal::usize_unsuffixed(at), names::ident(&names::camel(&case.name)));
                quote!(#tag => Self::#name)
            })
            .collect();
        let invalid = invalid();
        let bodies = Bodies {
            matches: quote!(ty.is_enum(&[#(#wit),*])),
            lower: quote!(flat.push(*self as u64);),
            store: quote!(cx.#write(offset, *self as #ty);),
            lift: quote!(::core::result::Result::Ok(match flat.next() as u32 { #(#arms,)* _ => #invalid })),
            load: quote!(::core::result::Result::Ok(match cx.#read(offset) { #(#arms,)* _ => #invalid })),
        };
        self.values(id, name, &bodies)
    }
}

/// The arm of a discriminant that there is no case for.
fn invalid() -> TokenStream {
    quote!(return ::core::result::Result::Err(::precast_loader::component::abi::invalid_discriminant()))
}
