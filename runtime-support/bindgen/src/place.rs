//! Where everything goes: the modules of interfaces, and the names of types.
//!
//! An imported interface `wasi:io/streams` becomes the module `wasi::io::streams`, an exported one
//! `exports::wasi::http::incoming_handler`; ones named in the world become modules by that name. What the world itself
//! has is beside them. Interfaces that `with` names have their modules elsewhere.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use wit_parser::{InterfaceId, PackageName, Resolve, TypeId, TypeOwner, WorldId, WorldItem, WorldKey};

use crate::generate::Generator;
use crate::names;
use crate::options::Options;

/// Places of a world's interfaces.
pub(crate) struct Places {
    pub(crate) imports: Vec<(InterfaceId, Interface)>,
    pub(crate) exports: Vec<(InterfaceId, Interface)>,
    /// Which of them: imported, or exported.
    by_id: HashMap<InterfaceId, (bool, usize)>,
}

/// An interface that a world imports or exports.
pub(crate) struct Interface {
    /// The name that components know it by.
    pub(crate) name: String,
    /// The same without version, if that makes a difference.
    unversioned: Option<String>,
    /// The package, with and without version.
    packages: Vec<String>,
    /// Its module, from where the macro is.
    pub(crate) module: Vec<Ident>,
    /// The module that `with` has for it.
    pub(crate) reused: Option<TokenStream>,
}

/// Where code is that names types.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    interface: Option<InterfaceId>,
    depth: usize,
}

impl Scope {
    /// Beside the macro.
    pub(crate) const ROOT: Scope = Scope { interface: None, depth: 0 };
}

impl Places {
    pub(crate) fn new(resolve: &Resolve, world: WorldId, options: &Options) -> Places {
        let world = &resolve.worlds[world];
        let interfaces = |items: &wit_parser::IndexMap<WorldKey, WorldItem>, exported| {
            let ids = items.iter().filter_map(|(key, item)| match item {
                WorldItem::Interface { id, .. } => Some((*id, Interface::new(resolve, key, *id, exported))),
                WorldItem::Function(_) | WorldItem::Type { .. } => None,
            });
            ids.collect::<Vec<_>>()
        };
        let mut places = Places {
            imports: interfaces(&world.imports, false),
            exports: interfaces(&world.exports, true),
            by_id: HashMap::new(),
        };
        for (_, interface) in &mut places.imports {
            interface.reused = interface.reused(options);
        }
        for (at, (id, _)) in places.imports.iter().enumerate() {
            places.by_id.insert(*id, (false, at));
        }
        for (at, (id, _)) in places.exports.iter().enumerate() {
            places.by_id.insert(*id, (true, at));
        }
        places
    }

    /// The place of an interface.
    pub(crate) fn of(&self, id: InterfaceId) -> Option<&Interface> {
        let (exported, at) = *self.by_id.get(&id)?;
        Some(&if exported { &self.exports } else { &self.imports }[at].1)
    }

    /// Whether it is one that the world exports.
    pub(crate) fn is_exported(&self, id: InterfaceId) -> bool {
        self.by_id.get(&id).is_some_and(|(exported, _)| *exported)
    }
}

impl Interface {
    fn new(resolve: &Resolve, key: &WorldKey, id: InterfaceId, exported: bool) -> Interface {
        let mut module: Vec<Ident> = if exported { vec![names::ident("exports")] } else { Vec::new() };
        let mut packages = Vec::new();
        let mut unversioned = None;
        match key {
            WorldKey::Name(name) => module.push(names::ident(&names::snake(name))),
            WorldKey::Interface(_) => {
                let interface = &resolve.interfaces[id];
                let name = interface.name.as_deref().unwrap_or_default();
                if let Some(package) = interface.package {
                    let package = &resolve.packages[package].name;
                    let plain = PackageName { version: None, ..package.clone() };
                    unversioned = package.version.is_some().then(|| plain.interface_id(name));
                    packages = vec![package.to_string(), plain.to_string()];
                    module.push(names::ident(&names::snake(&package.namespace)));
                    module.push(package_module(resolve, package));
                }
                module.push(names::ident(&names::snake(name)));
            }
        }
        Interface { name: resolve.name_world_key(key), unversioned, packages, module, reused: None }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [Some(&self.name), self.unversioned.as_ref()].into_iter().flatten().map(String::as_str)
    }

    /// Names of something in the interface, as options have them: `wasi:io/streams/input-stream`.
    pub(crate) fn member(&self, separator: &str, name: &str) -> Vec<String> {
        self.names().map(|interface| format!("{interface}{separator}{name}")).collect()
    }

    fn reused(&self, options: &Options) -> Option<TokenStream> {
        let names: Vec<String> = self.names().map(str::to_owned).collect();
        if let Some(path) = options.with(&names) {
            return Some(quote!(#path));
        }
        let path = options.with(&self.packages)?;
        let module = self.module.last();
        Some(quote!(#path::#module))
    }

    /// Name of the accessor of an exported interface.
    pub(crate) fn accessor(&self) -> Ident {
        let words: Vec<String> = self.module[1..].iter().map(Ident::to_string).collect();
        names::ident(&words.join("_"))
    }
}

/// A package's module: with the version where there are several.
fn package_module(resolve: &Resolve, package: &PackageName) -> Ident {
    let others = resolve.package_names.keys();
    let versions = others.filter(|other| (&other.namespace, &other.name) == (&package.namespace, &package.name));
    let name = names::snake(&package.name);
    match &package.version {
        Some(version) if versions.count() > 1 => {
            let version = version.to_string().replace(['.', '-', '+'], "_");
            names::ident(&format!("{name}{version}"))
        }
        _ => names::ident(&name),
    }
}

impl Generator<'_> {
    /// The scope inside an interface's module.
    pub(crate) fn scope(&self, id: InterfaceId) -> Scope {
        Scope { interface: Some(id), depth: self.places.of(id).map_or(0, |place| place.module.len()) }
    }

    /// Path of a module from `scope`.
    pub(crate) fn module(&self, module: &[Ident], scope: Scope) -> TokenStream {
        let up = (0..scope.depth).map(|_| quote!(super::));
        quote!(#(#up)* #(#module)::*)
    }

    /// Name of a type that has one.
    pub(crate) fn type_name(&self, id: TypeId) -> Ident {
        let ty = &self.resolve.types[id];
        let name = names::camel(ty.name.as_deref().unwrap_or_default());
        // Traits and structs beside it, of its own interface, are called so.
        let taken = match ty.owner {
            TypeOwner::Interface(interface) => ["Host", "Guest"].iter().any(|prefix| {
                name.strip_prefix(prefix).is_some_and(|rest| {
                    rest.is_empty()
                        || self.resolve.interfaces[interface].types.iter().any(|(other, id)| {
                            names::camel(other) == rest
                                && matches!(self.resolve.types[*id].kind, wit_parser::TypeDefKind::Resource)
                        })
                })
            }),
            TypeOwner::World(_) => name == names::camel(&self.resolve.worlds[self.world].name),
            TypeOwner::None => false,
        };
        names::ident(&if taken { format!("{name}_") } else { name })
    }

    /// Path of a type that has a name.
    pub(crate) fn type_path(&self, id: TypeId, scope: Scope) -> TokenStream {
        let name = self.type_name(id);
        match self.resolve.types[id].owner {
            TypeOwner::Interface(interface) if scope.interface == Some(interface) => quote!(#name),
            TypeOwner::Interface(interface) => match self.places.of(interface) {
                Some(place) => match &place.reused {
                    Some(path) => quote!(#path::#name),
                    None => {
                        let module = self.module(&place.module, scope);
                        let here = (scope.depth == 0).then(|| quote!(self::));
                        quote!(#here #module::#name)
                    }
                },
                None => quote!(#name),
            },
            TypeOwner::World(_) | TypeOwner::None => {
                let module = self.module(&[], scope);
                quote!(#module #name)
            }
        }
    }
}
