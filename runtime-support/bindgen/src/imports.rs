//! What the host implements: traits of imported interfaces, and the functions that add implementations to a linker.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use wit_parser::{Function, FunctionKind, InterfaceId, TypeDefKind, TypeId};

use crate::generate::{Generator, docs};
use crate::names;
use crate::place::{Interface, Scope};
use crate::types::MAX_TUPLE;

/// Functions and resources with their traits: those of an interface, or the world's own.
pub(crate) struct Hosted<'a> {
    /// The interface's name; empty for the world's own.
    pub(crate) interface: &'a str,
    /// Names of a function, by which options mean it.
    pub(crate) keys: &'a dyn Fn(&str) -> Vec<String>,
    /// Name of the trait.
    pub(crate) host: Ident,
    /// Prefix of the traits of resources.
    pub(crate) resource_host: &'a str,
    pub(crate) resources: Vec<TypeId>,
    pub(crate) functions: Vec<&'a Function>,
    pub(crate) scope: Scope,
}

/// Traits, and what adds them to a linker.
pub(crate) struct HostedItems {
    pub(crate) traits: TokenStream,
    /// Statements over `linker: &mut Linker<T>`, `get` and `U: Host + 'static`.
    pub(crate) additions: TokenStream,
}

/// One function in Rust.
struct Signature {
    name: Ident,
    params: Vec<Ident>,
    types: Vec<TokenStream>,
    result: TokenStream,
    asynchronous: bool,
}

impl Generator<'_> {
    /// The contents of an imported interface's module.
    pub(crate) fn imported(&self, id: InterfaceId, place: &Interface) -> syn::Result<TokenStream> {
        let interface = &self.resolve.interfaces[id];
        let scope = self.scope(id);
        let types = interface.types.values().map(|ty| self.definition(*ty, scope)).collect::<syn::Result<Vec<_>>>()?;
        let hosted = Hosted {
            interface: &place.name,
            keys: &|name| place.member("#", name),
            host: names::ident("Host"),
            resource_host: "Host",
            resources: self.resources(interface.types.values()),
            functions: interface.functions.values().collect(),
            scope,
        };
        let types = quote!(#(#types)*);
        if hosted.is_empty() {
            return Ok(types);
        }
        let HostedItems { traits, additions } = self.hosted(&hosted)?;
        Ok(quote!(
            #types
            #traits
            /// Adds the interface to a linker; `get` finds who implements it in the data of a store.
            pub fn add_to_linker<T: 'static, U: Host + 'static>(
                linker: &mut ::precast_loader::component::Linker<T>,
                get: impl ::core::ops::Fn(&mut T) -> &mut U
                    + ::core::marker::Send + ::core::marker::Sync + ::core::marker::Copy + 'static,
            ) { #additions }
        ))
    }

    /// The resources among types: not their aliases.
    pub(crate) fn resources<'t>(&self, types: impl Iterator<Item = &'t TypeId>) -> Vec<TypeId> {
        types.copied().filter(|id| matches!(self.resolve.types[*id].kind, TypeDefKind::Resource)).collect()
    }

    /// Traits for the host, and their way to the linker.
    pub(crate) fn hosted(&self, hosted: &Hosted<'_>) -> syn::Result<HostedItems> {
        let mut traits = Vec::new();
        let mut supertraits = Vec::new();
        let mut additions = Vec::new();
        let interface = hosted.interface;
        for resource in &hosted.resources {
            let def = &self.resolve.types[*resource];
            let wit = def.name.as_deref().unwrap_or_default();
            let host = format_ident!("{}{}", hosted.resource_host, names::camel(wit));
            let ty = self.type_path(*resource, hosted.scope);
            let functions = hosted.functions.iter().filter(|function| function.kind.resource() == Some(*resource));
            let methods = self.methods(hosted, &host, functions.copied(), &mut additions)?;
            let doc = format!("What a host does for `{wit}`.");
            traits.push(quote!(
                #[doc = #doc]
                pub trait #host {
                    #methods
                    /// Drops a resource that a guest owned.
                    fn drop(
                        &mut self,
                        rep: ::precast_loader::component::Resource<#ty>,
                    ) -> ::core::result::Result<(), ::precast_loader::HostError>;
                }
            ));
            additions.push(quote!(
                linker.resource::<#ty>(#interface, #wit, move |caller, rep| {
                    <U as #host>::drop(
                        get(caller.data_mut()),
                        ::precast_loader::component::Resource::new_own(rep),
                    )
                });
            ));
            supertraits.push(host);
        }
        let host = &hosted.host;
        let functions = hosted.functions.iter().filter(|function| function.kind.resource().is_none());
        let methods = self.methods(hosted, host, functions.copied(), &mut additions)?;
        let supertraits = (!supertraits.is_empty()).then(|| quote!(: #(#supertraits)+*));
        let doc = match interface {
            "" => "What a host does for the world's own imports.".to_owned(),
            _ => format!("What a host does for `{interface}`."),
        };
        Ok(HostedItems {
            traits: quote!(#(#traits)* #[doc = #doc] pub trait #host #supertraits { #methods }),
            additions: quote!(#(#additions)*),
        })
    }

    /// Methods of a trait.
    fn methods<'f>(
        &self,
        hosted: &Hosted<'_>,
        host: &Ident,
        functions: impl Iterator<Item = &'f Function>,
        additions: &mut Vec<TokenStream>,
    ) -> syn::Result<TokenStream> {
        let mut methods = Vec::new();
        for function in functions {
            let signature = self.signature(hosted, function)?;
            let Signature { name, params, types, result, asynchronous } = &signature;
            let docs = docs(&function.docs);
            let output = quote!(::core::result::Result<#result, ::precast_loader::HostError>);
            let returned = if *asynchronous {
                quote!(impl ::core::future::Future<Output = #output> + ::core::marker::Send)
            } else {
                output
            };
            methods.push(quote!(#docs fn #name(&mut self #(, #params: #types)*) -> #returned;));
            let (interface, wit) = (hosted.interface, &function.name);
            let numbered: Vec<Ident> = (0..params.len()).map(|at| format_ident!("p{at}")).collect();
            let call = quote!(<U as #host>::#name(get(caller.data_mut()) #(, #numbered)*));
            let typed = quote!(::<(#(#types,)*), #result>);
            let (add, call) = if *asynchronous {
                (quote!(func_async), quote!(::std::boxed::Box::pin(#call)))
            } else {
                (quote!(func), call)
            };
            additions.push(quote!(
                linker.#add #typed(#interface, #wit, move |caller, (#(#numbered,)*)| #call);
            ));
        }
        Ok(quote!(#(#methods)*))
    }

    fn signature(&self, hosted: &Hosted<'_>, function: &Function) -> syn::Result<Signature> {
        self.check(function)?;
        let asynchronous = self.options.is_async(&(hosted.keys)(&function.name));
        let mut name = method_name(function);
        // The trait of a resource has methods of its own.
        let is_constructor = matches!(function.kind, FunctionKind::Constructor(_));
        if function.kind.resource().is_some() && (name == "drop" || name == "new" && !is_constructor) {
            name.push('_');
        }
        Ok(Signature {
            name: names::ident(&name),
            params: param_names(function),
            types: self.param_types(function, hosted.scope)?,
            result: self.result(function, hosted.scope)?,
            asynchronous,
        })
    }

    /// Refuses functions that cannot be called so.
    pub(crate) fn check(&self, function: &Function) -> syn::Result<()> {
        if function.kind.is_async() {
            let message = format!("`{}` is an async function of WASI 0.3, which is not supported", function.name);
            return Err(self.error(function.span, &message));
        }
        if function.params.len() > MAX_TUPLE {
            let message = format!("`{}` has more than {MAX_TUPLE} parameters, which is not supported", function.name);
            return Err(self.error(function.span, &message));
        }
        Ok(())
    }

    pub(crate) fn param_types(&self, function: &Function, scope: Scope) -> syn::Result<Vec<TokenStream>> {
        function.params.iter().map(|param| self.ty(&param.ty, scope, function.span)).collect()
    }

    pub(crate) fn result(&self, function: &Function, scope: Scope) -> syn::Result<TokenStream> {
        match &function.result {
            Some(ty) => self.ty(ty, scope, function.span),
            None => Ok(quote!(())),
        }
    }
}

impl Hosted<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.functions.is_empty()
    }
}

/// Name of a function among those of its resource or interface.
pub(crate) fn method_name(function: &Function) -> String {
    match function.kind {
        FunctionKind::Constructor(_) => "new".to_owned(),
        _ => names::snake(function.item_name()),
    }
}

/// Names of the parameters, in Rust.
pub(crate) fn param_names(function: &Function) -> Vec<Ident> {
    function.params.iter().map(|param| names::ident(&names::snake(&param.name))).collect()
}
