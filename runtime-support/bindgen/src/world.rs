//! The world: modules of its interfaces, its own types and functions, and the struct that stands for it.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use wit_parser::{Function, TypeId, WorldItem};

use crate::exports::Called;
use crate::generate::{Generator, allowed, docs};
use crate::imports::{Hosted, HostedItems};
use crate::names;
use crate::place::Scope;

/// A tree of modules.
#[derive(Default)]
struct Modules {
    contents: TokenStream,
    children: Vec<(Ident, Modules)>,
}

impl Modules {
    fn add(&mut self, path: &[Ident], contents: TokenStream) {
        let Some((first, rest)) = path.split_first() else {
            self.contents.extend(contents);
            return;
        };
        let at = self.children.iter().position(|(name, _)| name == first).unwrap_or_else(|| {
            self.children.push((first.clone(), Modules::default()));
            self.children.len() - 1
        });
        self.children[at].1.add(rest, contents);
    }

    fn items(&self) -> TokenStream {
        let Modules { contents, children } = self;
        let children = children.iter().map(|(name, modules)| {
            let items = modules.items();
            quote!(pub mod #name { #items })
        });
        quote!(#contents #(#children)*)
    }
}

impl Generator<'_> {
    /// All of it.
    pub(crate) fn world(&self) -> syn::Result<TokenStream> {
        let world = &self.resolve.worlds[self.world];
        let name = names::camel(&world.name);
        let host = format_ident!("{name}Imports");
        let hosted = self.own_imports(&host);
        let HostedItems { traits, additions } = if hosted.is_empty() {
            HostedItems { traits: TokenStream::new(), additions: TokenStream::new() }
        } else {
            self.hosted(&hosted)?
        };
        let types = self.own_types().into_iter().map(|id| self.definition(id, Scope::ROOT));
        let types = types.collect::<syn::Result<Vec<_>>>()?;

        let mut modules = Modules::default();
        let mut bounds: Vec<TokenStream> = (!hosted.is_empty()).then(|| quote!(#host)).into_iter().collect();
        let mut adds = Vec::new();
        for (id, place) in &self.places.imports {
            if place.reused.is_some() {
                continue;
            }
            modules.add(&place.module, self.imported(*id, place)?);
            let interface = &self.resolve.interfaces[*id];
            if !interface.functions.is_empty() || !self.resources(interface.types.values()).is_empty() {
                let module = &place.module;
                bounds.push(quote!(self::#(#module)::*::Host));
                adds.push(quote!(self::#(#module)::*::add_to_linker(linker, get);));
            }
        }
        let mut called = self.called("", self.own_exports(), Scope::ROOT)?;
        for (id, place) in &self.places.exports {
            modules.add(&place.module, self.exported(*id, place)?);
            if self.resolve.interfaces[*id].functions.is_empty() {
                continue;
            }
            let (module, accessor) = (&place.module, place.accessor());
            let field = format_ident!("interface_{accessor}");
            let doc = format!("The exported interface `{}`.", place.name);
            called.fields.push(quote!(#field: self::#(#module)::*::Guest));
            called.values.push(quote!(#field: self::#(#module)::*::Guest::new(instance)?));
            called.methods.push(quote!(
                #[doc = #doc]
                pub fn #accessor(&self) -> &self::#(#module)::*::Guest { &self.#field }
            ));
        }
        called.methods.push(add_to_linker(&bounds, &additions, &adds));
        let allowed = allowed();
        let modules = modules.children.iter().map(|(name, modules)| {
            let items = modules.items();
            quote!(#allowed pub mod #name { #items })
        });
        let world = self.world_struct(&names::ident(&name), &called);
        let own = [traits, world].into_iter().chain(types);
        let own = own.filter(|items| !items.is_empty()).map(|items| allow_each(&allowed, items));
        Ok(quote!(#(#modules)* #(#own)*))
    }

    fn world_struct(&self, name: &Ident, called: &Called) -> TokenStream {
        let world = &self.resolve.worlds[self.world];
        let doc = format!("The exports of the world `{}`, found in an instance.", world.name);
        let definition = called.definition(name, &doc);
        let docs = docs(&world.docs);
        quote!(#docs #definition)
    }

    fn own_types(&self) -> Vec<TypeId> {
        let world = &self.resolve.worlds[self.world];
        let types = world.imports.values().chain(world.exports.values()).filter_map(|item| match item {
            WorldItem::Type { id, .. } => Some(*id),
            WorldItem::Interface { .. } | WorldItem::Function(_) => None,
        });
        types.collect()
    }

    fn own_imports(&self, host: &Ident) -> Hosted<'_> {
        let world = &self.resolve.worlds[self.world];
        Hosted {
            interface: "",
            keys: &|name| vec![name.to_owned()],
            host: host.clone(),
            resource_host: "Host",
            resources: self.resources(self.own_types().iter()),
            functions: functions(world.imports.values()).collect(),
            scope: Scope::ROOT,
        }
    }

    fn own_exports(&self) -> impl Iterator<Item = &Function> {
        functions(self.resolve.worlds[self.world].exports.values())
    }
}

fn functions<'a>(items: impl Iterator<Item = &'a WorldItem>) -> impl Iterator<Item = &'a Function> {
    items.filter_map(|item| match item {
        WorldItem::Function(function) => Some(function),
        WorldItem::Interface { .. } | WorldItem::Type { .. } => None,
    })
}

/// The associated function of the world's struct that adds everything.
fn add_to_linker(bounds: &[TokenStream], own: &TokenStream, interfaces: &[TokenStream]) -> TokenStream {
    quote!(
        /// Adds all that the world imports to a linker, but for interfaces that were reused: `get` finds who implements
        /// it in the data of a store.
        pub fn add_to_linker<T: 'static, U: #(#bounds +)* 'static>(
            linker: &mut ::precast_loader::component::Linker<T>,
            get: impl ::core::ops::Fn(&mut T) -> &mut U
                + ::core::marker::Send + ::core::marker::Sync + ::core::marker::Copy + 'static,
        ) {
            let _ = (&linker, &get);
            #own
            #(#interfaces)*
        }
    )
}

/// Puts attributes before each item.
fn allow_each(allowed: &TokenStream, items: TokenStream) -> TokenStream {
    match syn::parse2::<syn::File>(items) {
        Ok(file) => {
            let items = file.items;
            quote!(#(#allowed #items)*)
        }
        Err(error) => error.into_compile_error(),
    }
}
