//! A linkage as text.

use std::fmt::Write;

use precast_abi::component::StringEncoding;

use super::super::linkage::{
    Canon, CanonOptions, ComponentFunc, CoreItem, FuncTypeRow, Linkage, ResourceDef, Type, TypeDef,
};

/// One line for each core instance, canonical function, resource and export; component instances only if there are
/// several.
pub(super) fn summary(linkage: &Linkage<'_>) -> String {
    let mut out = String::new();
    if linkage.component_instances.len() > 1 {
        for (instance, parent) in &linkage.component_instances {
            let parent = parent.map_or("root".into(), |parent| format!("in {}", number(parent)));
            _ = writeln!(out, "component {}: {parent}", number(instance));
        }
    }
    for (instance, made) in &linkage.instances {
        let arguments: Vec<_> = made.arguments.iter().map(|item| core(*item)).collect();
        _ = writeln!(out, "core {}: module {} ({})", number(instance), made.module, arguments.join(", "));
    }
    for (func, canon) in &linkage.canon_funcs {
        _ = write!(out, "canon {}: ", number(func));
        _ = match canon {
            Canon::Lower { func, ty, options, core_type } => writeln!(
                out,
                "lower {} {} {} as {:?}",
                self::func(linkage, func),
                func_type(linkage, *ty),
                self::options(options),
                core_type
            ),
            Canon::ResourceNew(resource, instance) => {
                writeln!(out, "new r{} by {}", number(*resource), number(*instance))
            }
            Canon::ResourceRep(resource, instance) => {
                writeln!(out, "rep r{} by {}", number(*resource), number(*instance))
            }
            Canon::ResourceDrop(resource, instance) => {
                writeln!(out, "drop r{} by {}", number(*resource), number(*instance))
            }
        };
    }
    for (resource, def) in &linkage.resources {
        _ = write!(out, "resource r{}: ", number(resource));
        _ = match def {
            ResourceDef::Guest { instance, destructor, exported } => {
                let destructor = destructor.map_or("none".into(), core);
                writeln!(out, "of {}, destructor {destructor}, exported {exported:?}", number(*instance))
            }
            ResourceDef::Host { interface, name } => writeln!(out, "host {interface:?} {name:?}"),
        };
    }
    for export in &linkage.exports {
        let (func, ty) = (func(linkage, &export.func), func_type(linkage, export.ty));
        _ = writeln!(out, "export {:?} {:?}: {func} {ty}", export.interface, export.name);
    }
    out.replace("FuncType { params: ", "").replace(", results: ", " -> ").replace("] }", "]")
}

fn number(entity: impl cranelift_codegen::entity::EntityRef) -> usize {
    entity.index()
}

fn core(item: CoreItem) -> String {
    match item {
        CoreItem::Export { instance, index } => format!("{}.{index}", number(instance)),
        CoreItem::Canon(func) => format!("canon {}", number(func)),
    }
}

fn func(linkage: &Linkage<'_>, func: &ComponentFunc) -> String {
    match func {
        ComponentFunc::Host(host) => {
            let def = &linkage.host_funcs[*host];
            format!("host {:?} {:?}", def.interface, def.name)
        }
        ComponentFunc::Lifted(lifted) => {
            format!("lifted {} {} of {:?}", core(lifted.core), options(&lifted.options), lifted.core_type)
        }
    }
}

fn options(options: &CanonOptions) -> String {
    let mut out = format!("[{}", number(options.instance));
    if options.encoding != StringEncoding::Utf8 {
        _ = write!(out, " {:?}", options.encoding);
    }
    for (name, item) in [("memory", options.memory), ("realloc", options.realloc)] {
        if let Some(item) = item {
            _ = write!(out, " {name} {}", core(item));
        }
    }
    if let Some((item, ty)) = &options.post_return {
        _ = write!(out, " post-return {} {:?}", core(*item), ty.params);
    }
    out + "]"
}

fn func_type(linkage: &Linkage<'_>, row: FuncTypeRow) -> String {
    let func = &linkage.func_types[row];
    let params: Vec<_> = func.params.iter().map(|(name, ty)| format!("{name}: {}", value_type(linkage, *ty))).collect();
    let result = func.result.map_or(String::new(), |ty| format!(" -> {}", value_type(linkage, ty)));
    format!("({}){result}", params.join(", "))
}

fn value_type(linkage: &Linkage<'_>, ty: Type) -> String {
    let of = |ty: &Type| value_type(linkage, *ty);
    let optional = |ty: &Option<Type>| ty.as_ref().map_or("_".into(), of);
    let row = match ty {
        Type::Primitive(primitive) => return primitive.name().into(),
        Type::Row(row) => row,
    };
    match &linkage.types[row] {
        TypeDef::Record(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, ty)| format!("{name}: {}", of(ty))).collect();
            format!("record {{{}}}", fields.join(", "))
        }
        TypeDef::Variant(cases) => {
            let cases: Vec<_> = cases.iter().map(|(name, ty)| format!("{name}({})", optional(ty))).collect();
            format!("variant {{{}}}", cases.join(", "))
        }
        TypeDef::List(element) => format!("list<{}>", of(element)),
        TypeDef::FixedList(element, length) => format!("list<{}, {length}>", of(element)),
        TypeDef::Tuple(types) => format!("tuple<{}>", types.iter().map(of).collect::<Vec<_>>().join(", ")),
        TypeDef::Flags(names) => format!("flags {{{}}}", names.join(", ")),
        TypeDef::Enum(names) => format!("enum {{{}}}", names.join(", ")),
        TypeDef::Option(payload) => format!("option<{}>", of(payload)),
        TypeDef::Result(ok, err) => format!("result<{}, {}>", optional(ok), optional(err)),
        TypeDef::Own(resource) => format!("own<r{}>", number(*resource)),
        TypeDef::Borrow(resource) => format!("borrow<r{}>", number(*resource)),
        TypeDef::Map(key, value) => format!("map<{}, {}>", of(key), of(value)),
    }
}
