//! What the host calls: a struct for each exported interface, with its functions found and their types checked.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::Lifetime;
use wit_parser::{Function, InterfaceId};

use crate::generate::{Generator, docs};
use crate::imports::{method_name, param_names};
use crate::names;
use crate::place::{Interface, Scope};

/// Exported functions in Rust: the fields of a struct that has them.
#[derive(Default)]
pub(crate) struct Called {
    /// `name: TypedFunc<P, R>`
    pub(crate) fields: Vec<TokenStream>,
    /// `name: instance.func(…)?`
    pub(crate) values: Vec<TokenStream>,
    /// `call_name` and `call_name_async`.
    pub(crate) methods: Vec<TokenStream>,
}

impl Generator<'_> {
    /// The contents of an exported interface's module.
    pub(crate) fn exported(&self, id: InterfaceId, place: &Interface) -> syn::Result<TokenStream> {
        let interface = &self.resolve.interfaces[id];
        let scope = self.scope(id);
        let types = interface.types.values().map(|ty| self.definition(*ty, scope)).collect::<syn::Result<Vec<_>>>()?;
        let mut guest = Called::default();
        let mut resources = Vec::new();
        for resource in self.resources(interface.types.values()) {
            let functions = interface.functions.values().filter(|function| function.kind.resource() == Some(resource));
            let called = self.called(&place.name, functions, scope)?;
            if called.fields.is_empty() {
                continue;
            }
            let wit = self.resolve.types[resource].name.as_deref().unwrap_or_default();
            let name = format_ident!("Guest{}", names::camel(wit));
            let accessor = names::ident(&names::snake(wit));
            let field = format_ident!("resource_{accessor}");
            let doc = format!("Functions of `{wit}`.");
            resources.push(called.definition(&name, &doc));
            guest.fields.push(quote!(#field: #name));
            guest.values.push(quote!(#field: #name::new(instance)?));
            guest.methods.push(quote!(#[doc = #doc] pub fn #accessor(&self) -> &#name { &self.#field }));
        }
        let functions = interface.functions.values().filter(|function| function.kind.resource().is_none());
        let called = self.called(&place.name, functions, scope)?;
        guest.fields.extend(called.fields);
        guest.values.extend(called.values);
        guest.methods.extend(called.methods);
        let doc = format!("Functions of `{}`.", place.name);
        let guest = guest.definition(&names::ident("Guest"), &doc);
        Ok(quote!(#(#types)* #(#resources)* #guest))
    }

    /// Functions that are exported: of the interface of that name, or the world's own for an empty one.
    pub(crate) fn called<'f>(
        &self,
        interface: &str,
        functions: impl Iterator<Item = &'f Function>,
        scope: Scope,
    ) -> syn::Result<Called> {
        let mut called = Called::default();
        // The type of a function does not depend on how long its parameters live.
        let fixed = Lifetime::new("'static", Span::call_site());
        for function in functions {
            self.check(function)?;
            let name = method_name(function);
            let field = format_ident!("func_{name}");
            let (call, call_async) = (format_ident!("call_{name}"), format_ident!("call_{name}_async"));
            let params = param_names(function).into_iter().map(|name| match name == "instance" || name == "func" {
                true => format_ident!("{name}_"),
                false => name,
            });
            let params: Vec<Ident> = params.collect();
            let given = |lifetime: Option<&Lifetime>| {
                let types = function.params.iter().map(|param| self.given(&param.ty, scope, function.span, lifetime));
                types.collect::<syn::Result<Vec<_>>>()
            };
            let (types, static_types) = (given(None)?, given(Some(&fixed))?);
            let result = self.result(function, scope)?;
            let (docs, wit) = (docs(&function.docs), &function.name);
            let returned = quote!(::core::result::Result<#result, ::precast_loader::CallError>);
            called.fields.push(quote!(#field: ::precast_loader::component::TypedFunc<(#(#static_types,)*), #result>));
            called.values.push(quote!(#field: instance.func(#interface, #wit)?));
            called.methods.push(quote!(
                #docs
                pub fn #call<T: 'static>(
                    &self,
                    instance: &mut ::precast_loader::component::Instance<T>
                    #(, #params: #types)*
                ) -> #returned {
                    let func: &::precast_loader::component::TypedFunc<(#(#types,)*), #result> = &self.#field;
                    func.call(instance, (#(#params,)*))
                }
                #docs
                pub async fn #call_async<T: 'static>(
                    &self,
                    instance: &mut ::precast_loader::component::Instance<T>
                    #(, #params: #types)*
                ) -> #returned {
                    let func: &::precast_loader::component::TypedFunc<(#(#types,)*), #result> = &self.#field;
                    func.call_async(instance, (#(#params,)*)).await
                }
            ));
        }
        Ok(called)
    }
}

impl Called {
    /// The struct.
    pub(crate) fn definition(&self, name: &Ident, doc: &str) -> TokenStream {
        let Called { fields, values, methods } = self;
        quote!(
            #[doc = #doc]
            pub struct #name { #(#fields),* }
            impl #name {
                /// Finds the functions and checks their types.
                ///
                /// # Errors
                /// One is missing or of another type.
                pub fn new<T: 'static>(
                    instance: &::precast_loader::component::Instance<T>,
                ) -> ::core::result::Result<Self, ::precast_loader::ExportError> {
                    let _ = instance;
                    ::core::result::Result::Ok(Self { #(#values),* })
                }
                #(#methods)*
            }
        )
    }
}
