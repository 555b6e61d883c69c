//! Types: how they are written in Rust, and the definitions of those that have a name.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::Lifetime;
use wit_parser::{Enum, Handle, Record, Span, Type, TypeDefKind, TypeId, TypeOwner, Variant};

use crate::generate::{Generator, docs};
use crate::names;
use crate::place::Scope;

/// Rust's tuples of component values end here, the parameters of a function with them.
pub(crate) const MAX_TUPLE: usize = 16;

impl Generator<'_> {
    /// A type as it is written in `scope`. `at` is where the WIT mentions it.
    pub(crate) fn ty(&self, ty: &Type, scope: Scope, at: Span) -> syn::Result<TokenStream> {
        Ok(match ty {
            Type::Bool => quote!(bool),
            Type::U8 => quote!(u8),
            Type::U16 => quote!(u16),
            Type::U32 => quote!(u32),
            Type::U64 => quote!(u64),
            Type::S8 => quote!(i8),
            Type::S16 => quote!(i16),
            Type::S32 => quote!(i32),
            Type::S64 => quote!(i64),
            Type::F32 => quote!(f32),
            Type::F64 => quote!(f64),
            Type::Char => quote!(char),
            Type::String => quote!(::std::string::String),
            Type::ErrorContext => return Err(self.error(at, "error-context is not supported")),
            Type::Id(id) => self.defined(*id, scope, at)?,
        })
    }

    fn defined(&self, id: TypeId, scope: Scope, at: Span) -> syn::Result<TokenStream> {
        let def = &self.resolve.types[id];
        if def.name.is_some() { Ok(self.type_path(id, scope)) } else { self.kind(&def.kind, scope, at) }
    }

    /// A type that has no name, or what one with a name is made of.
    fn kind(&self, kind: &TypeDefKind, scope: Scope, at: Span) -> syn::Result<TokenStream> {
        let optional = |ty: &Option<Type>| match ty {
            Some(ty) => self.ty(ty, scope, at),
            None => Ok(quote!(())),
        };
        Ok(match kind {
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => self.handle(*id, scope),
            TypeDefKind::Option(ty) => {
                let ty = self.ty(ty, scope, at)?;
                quote!(::core::option::Option<#ty>)
            }
            TypeDefKind::Result(result) => {
                let (ok, err) = (optional(&result.ok)?, optional(&result.err)?);
                quote!(::core::result::Result<#ok, #err>)
            }
            TypeDefKind::List(ty) => {
                let ty = self.ty(ty, scope, at)?;
                quote!(::std::vec::Vec<#ty>)
            }
            TypeDefKind::FixedLengthList(ty, len) => {
                let (ty, len) = (self.ty(ty, scope, at)?, *len as usize);
                quote!([#ty; #len])
            }
            TypeDefKind::Tuple(tuple) => {
                if tuple.types.len() > MAX_TUPLE {
                    return Err(self.error(at, &format!("tuples of more than {MAX_TUPLE} values are not supported")));
                }
                let types = tuple.types.iter().map(|ty| self.ty(ty, scope, at)).collect::<syn::Result<Vec<_>>>()?;
                quote!((#(#types,)*))
            }
            TypeDefKind::Type(ty) => self.ty(ty, scope, at)?,
            TypeDefKind::Map(key, value) => {
                let (key, value) = (self.ty(key, scope, at)?, self.ty(value, scope, at)?);
                quote!(::std::collections::BTreeMap<#key, #value>)
            }
            kind => return Err(self.error(at, &format!("a {} is not supported here", kind.as_str()))),
        })
    }

    /// A parameter that the host gives to a guest. What owns memory is borrowed, with this lifetime or an elided one; what
    /// has handles of the host's is given away.
    pub(crate) fn given(
        &self,
        ty: &Type,
        scope: Scope,
        at: Span,
        lifetime: Option<&Lifetime>,
    ) -> syn::Result<TokenStream> {
        let given = |ty: &Type| self.given(ty, scope, at, lifetime);
        let optional = |ty: &Option<Type>| ty.as_ref().map_or_else(|| Ok(quote!(())), given);
        let id = match ty {
            Type::String => return Ok(quote!(&#lifetime str)),
            Type::Id(id) => *id,
            _ => return self.ty(ty, scope, at),
        };
        Ok(match &self.resolve.types[id].kind {
            TypeDefKind::Type(ty) => given(ty)?,
            TypeDefKind::List(element) => {
                let element = self.ty(element, scope, at)?;
                quote!(&#lifetime [#element])
            }
            TypeDefKind::Option(ty) => {
                let ty = given(ty)?;
                quote!(::core::option::Option<#ty>)
            }
            TypeDefKind::Result(result) => {
                let (ok, err) = (optional(&result.ok)?, optional(&result.err)?);
                quote!(::core::result::Result<#ok, #err>)
            }
            TypeDefKind::Tuple(tuple) if tuple.types.len() <= MAX_TUPLE => {
                let types = tuple.types.iter().map(given).collect::<syn::Result<Vec<_>>>()?;
                quote!((#(#types,)*))
            }
            _ => {
                let owned = self.ty(ty, scope, at)?;
                let borrowed = self.any(ty, &|ty| self.is_on_heap(ty)) && !self.any(ty, &|ty| self.is_host_handle(ty));
                if borrowed { quote!(&#lifetime #owned) } else { owned }
            }
        })
    }

    /// A handle of a resource: of the host's if the world imports it, of the component's if it exports it.
    fn handle(&self, id: TypeId, scope: Scope) -> TokenStream {
        let id = self.resource(id);
        if self.is_exported_resource(id) {
            return quote!(::precast_loader::component::ResourceAny);
        }
        let path = self.type_path(id, scope);
        quote!(::precast_loader::component::Resource<#path>)
    }

    /// The resource behind an alias.
    pub(crate) fn resource(&self, mut id: TypeId) -> TypeId {
        while let TypeDefKind::Type(Type::Id(of)) = self.resolve.types[id].kind {
            id = of;
        }
        id
    }

    pub(crate) fn is_exported_resource(&self, id: TypeId) -> bool {
        matches!(self.resolve.types[id].owner, TypeOwner::Interface(interface) if self.places.is_exported(interface))
    }

    /// The definition of a type, in `scope`, which is that of its owner.
    pub(crate) fn definition(&self, id: TypeId, scope: Scope) -> syn::Result<TokenStream> {
        let def = &self.resolve.types[id];
        let name = self.type_name(id);
        let docs = docs(&def.docs);
        Ok(match &def.kind {
            TypeDefKind::Record(record) => self.record(id, &name, &docs, record, scope)?,
            TypeDefKind::Variant(variant) => self.variant(id, &name, &docs, variant, scope)?,
            TypeDefKind::Enum(cases) => self.enumeration(id, &name, &docs, cases),
            TypeDefKind::Flags(flags) => self.flags(id, &name, &docs, flags),
            TypeDefKind::Resource => self.resource_type(id, &name, &docs),
            TypeDefKind::Type(Type::Id(of)) => self.alias(&name, &docs, *of, scope, def.span)?,
            _ => {
                let ty = self.kind(&def.kind, scope, def.span)?;
                quote!(#docs pub type #name = #ty;)
            }
        })
    }

    fn alias(&self, name: &Ident, docs: &TokenStream, of: TypeId, scope: Scope, at: Span) -> syn::Result<TokenStream> {
        let is_resource = matches!(self.resolve.types[self.resource(of)].kind, TypeDefKind::Resource);
        let path = if is_resource { self.type_path(of, scope) } else { self.ty(&Type::Id(of), scope, at)? };
        // Another macro has made a reused type, of another text perhaps.
        let reused = match self.resolve.types[of].owner {
            TypeOwner::Interface(interface) => self.places.of(interface).is_some_and(|place| place.reused.is_some()),
            TypeOwner::World(_) | TypeOwner::None => false,
        };
        let check = (reused && !is_resource).then(|| {
            let layout = self.layouts.of(self.resolve, &Type::Id(of));
            let (size, align, flat) = (layout.size, layout.align, layout.flat);
            quote!(
                const _: () = ::core::assert!(
                    <#path as ::precast_loader::component::ComponentType>::SIZE == #size
                        && <#path as ::precast_loader::component::ComponentType>::ALIGN == #align
                        && <#path as ::precast_loader::component::ComponentType>::FLAT == #flat,
                    "the type that `with` reuses is laid out in another way than the WIT says"
                );
            )
        });
        Ok(quote!(#docs pub type #name = #path; #check))
    }

    fn resource_type(&self, id: TypeId, name: &Ident, docs: &TokenStream) -> TokenStream {
        if self.is_exported_resource(id) {
            return quote!(#docs pub type #name = ::precast_loader::component::ResourceAny;);
        }
        match self.options.with(&self.resource_keys(id)) {
            Some(path) => quote!(#docs pub type #name = #path;),
            None => quote!(#docs #[derive(Debug)] pub enum #name {}),
        }
    }

    fn resource_keys(&self, id: TypeId) -> Vec<String> {
        let def = &self.resolve.types[id];
        let name = def.name.as_deref().unwrap_or_default();
        match def.owner {
            TypeOwner::Interface(interface) => {
                self.places.of(interface).map_or_else(Vec::new, |place| place.member("/", name))
            }
            TypeOwner::World(_) | TypeOwner::None => vec![name.to_owned()],
        }
    }

    fn record(
        &self,
        id: TypeId,
        name: &Ident,
        docs: &TokenStream,
        record: &Record,
        scope: Scope,
    ) -> syn::Result<TokenStream> {
        let derives = self.derives(id);
        let mut fields = Vec::new();
        for field in &record.fields {
            let docs = crate::generate::docs(&field.docs);
            let name = names::ident(&names::snake(&field.name));
            let ty = self.ty(&field.ty, scope, field.span)?;
            fields.push(quote!(#docs pub #name: #ty));
        }
        let values = self.record_values(id, name, record, scope)?;
        Ok(quote!(#docs #derives pub struct #name { #(#fields),* } #values))
    }

    fn variant(
        &self,
        id: TypeId,
        name: &Ident,
        docs: &TokenStream,
        variant: &Variant,
        scope: Scope,
    ) -> syn::Result<TokenStream> {
        let derives = self.derives(id);
        let mut cases = Vec::new();
        for case in &variant.cases {
            let docs = crate::generate::docs(&case.docs);
            let name = names::ident(&names::camel(&case.name));
            cases.push(match &case.ty {
                Some(ty) => {
                    let ty = self.ty(ty, scope, case.span)?;
                    quote!(#docs #name(#ty))
                }
                None => quote!(#docs #name),
            });
        }
        let values = self.variant_values(id, name, variant, scope)?;
        Ok(quote!(#docs #derives pub enum #name { #(#cases),* } #values))
    }

    fn enumeration(&self, id: TypeId, name: &Ident, docs: &TokenStream, cases: &Enum) -> TokenStream {
        let items = cases.cases.iter().map(|case| {
            let docs = crate::generate::docs(&case.docs);
            let name = names::ident(&names::camel(&case.name));
            quote!(#docs #name)
        });
        let values = self.enum_values(id, name, cases);
        quote!(
            #docs
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum #name { #(#items),* }
            #values
        )
    }

    /// What can be derived: nothing that copies for owners of resources.
    fn derives(&self, id: TypeId) -> TokenStream {
        let ty = Type::Id(id);
        if self.any(&ty, &|ty| self.is_host_handle(ty)) {
            return quote!(#[derive(Debug)]);
        }
        let eq = (!self.any(&ty, &|ty| matches!(ty, Type::F32 | Type::F64))).then(|| quote!(, Eq));
        let copy = (!self.any(&ty, &|ty| self.is_on_heap(ty))).then(|| quote!(, Copy));
        quote!(#[derive(Clone #copy, Debug, PartialEq #eq)])
    }

    fn is_on_heap(&self, ty: &Type) -> bool {
        match ty {
            Type::String => true,
            Type::Id(id) => matches!(self.resolve.types[*id].kind, TypeDefKind::List(_) | TypeDefKind::Map(..)),
            _ => false,
        }
    }

    fn is_host_handle(&self, ty: &Type) -> bool {
        let Type::Id(id) = ty else { return false };
        match self.resolve.types[*id].kind {
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => !self.is_exported_resource(self.resource(id)),
            _ => false,
        }
    }

    /// Whether a type or one that it is made of is such a one.
    fn any(&self, ty: &Type, such: &dyn Fn(&Type) -> bool) -> bool {
        if such(ty) {
            return true;
        }
        let Type::Id(id) = ty else { return false };
        let any = |ty: &Type| self.any(ty, such);
        match &self.resolve.types[*id].kind {
            TypeDefKind::Record(record) => record.fields.iter().any(|field| any(&field.ty)),
            TypeDefKind::Tuple(tuple) => tuple.types.iter().any(any),
            TypeDefKind::Variant(variant) => variant.cases.iter().filter_map(|case| case.ty.as_ref()).any(any),
            TypeDefKind::Option(ty)
            | TypeDefKind::List(ty)
            | TypeDefKind::FixedLengthList(ty, _)
            | TypeDefKind::Type(ty) => any(ty),
            TypeDefKind::Result(result) => [&result.ok, &result.err].into_iter().flatten().any(any),
            TypeDefKind::Map(key, value) => any(key) || any(value),
            _ => false,
        }
    }
}
