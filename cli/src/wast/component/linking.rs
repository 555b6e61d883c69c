//! Whether a component's imports are there, and are what they should be.
//!
//! The loader checks the functions and resources that a component can use, which is all that is in an artifact. Scripts
//! also tell what becomes of imports that are never used, so the runner goes through all of them itself: in go a
//! [`Shape`] and what there is, out comes what is missing.

use std::collections::{BTreeMap, HashMap};

use wasmparser::component_types::ResourceId;

use super::shape::{Item, Items, Shape};

/// Something that can be imported.
#[derive(Clone, Debug)]
pub(super) enum Definition {
    Func,
    /// A core module, in the binary format.
    Module(Vec<u8>),
    Instance(Definitions),
    Resource(Identity),
}

/// What there is, by name.
pub(super) type Definitions = BTreeMap<String, Definition>;

/// Which resource it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity(pub(super) u64);

/// Which resource each of a component's resources is.
pub(super) type Resources = HashMap<ResourceId, Identity>;

/// Checks the imports of `shape` against `there`, and tells what the imported resources are.
///
/// # Errors
/// The first import that is missing, or something else.
pub(super) fn check(shape: &Shape, there: &Definitions) -> Result<Resources, String> {
    let mut resources = Resources::new();
    check_items(&shape.imports, Some(there), &mut resources)?;
    Ok(resources)
}

fn check_items(items: &Items, there: Option<&Definitions>, resources: &mut Resources) -> Result<(), String> {
    for (name, item) in items {
        let found = there.and_then(|there| there.get(name));
        check_item(item, found, resources).map_err(|message| format!("`{name}`: {message}"))?;
    }
    Ok(())
}

fn check_item(item: &Item, found: Option<&Definition>, resources: &mut Resources) -> Result<(), String> {
    match (item, found) {
        (Item::Other, _) | (Item::Func, Some(Definition::Func)) | (Item::Module, Some(Definition::Module(_))) => Ok(()),
        (Item::Instance(items), Some(Definition::Instance(there))) => check_items(items, Some(there), resources),
        // An instance of nothing but types need not be there.
        (Item::Instance(items), None) => check_items(items, None, resources),
        (Item::Resource(id), Some(Definition::Resource(identity))) => {
            match *resources.entry(*id).or_insert(*identity) {
                first if first == *identity => Ok(()),
                _ => Err("mismatched resource types".into()),
            }
        }
        // It only stands for one that came before it.
        (Item::Resource(id), None) if resources.contains_key(id) => Ok(()),
        (_, None) => Err("was not found".into()),
        (Item::Component, Some(_)) => Err("a component cannot be supplied".into()),
        (item, Some(found)) => Err(format!("expected {} found {}", name_of(item), name_of_definition(found))),
    }
}

/// The modules that `shape` imports of `there`, under the names that the compiler wants them by.
pub(super) fn links(shape: &Shape, there: &Definitions) -> Vec<(String, Vec<u8>)> {
    let mut links = Vec::new();
    collect_links(&shape.imports, there, "", &mut links);
    links
}

fn collect_links(items: &Items, there: &Definitions, instance: &str, links: &mut Vec<(String, Vec<u8>)>) {
    for (name, item) in items {
        match (item, there.get(name)) {
            (Item::Module, Some(Definition::Module(binary))) => {
                links.push((path(instance, name), binary.clone()));
            }
            (Item::Instance(items), Some(Definition::Instance(there))) => {
                collect_links(items, there, &path(instance, name), links);
            }
            _ => {}
        }
    }
}

fn path(instance: &str, name: &str) -> String {
    if instance.is_empty() { name.to_owned() } else { format!("{instance}/{name}") }
}

/// What an instance of `shape` gives to later ones: its modules, resources, and instances of these. Its functions are its
/// own.
pub(super) fn exports(shape: &Shape, resources: &mut Resources, next: &mut u64) -> Definitions {
    let modules = shape.modules.iter().map(|(name, binary)| (name.clone(), Definition::Module(binary.clone())));
    let mut exports = exported(&shape.exports, resources, next);
    exports.extend(modules);
    exports
}

fn exported(items: &Items, resources: &mut Resources, next: &mut u64) -> Definitions {
    let mut definition = |item: &Item| match item {
        Item::Resource(id) => {
            let identity = resources.entry(*id).or_insert_with(|| {
                *next += 1;
                Identity(*next)
            });
            Some(Definition::Resource(*identity))
        }
        Item::Instance(items) => Some(Definition::Instance(exported(items, resources, next))),
        _ => None,
    };
    items.iter().filter_map(|(name, item)| Some((name.clone(), definition(item)?))).collect()
}

fn name_of(item: &Item) -> &'static str {
    match item {
        Item::Func => "function",
        Item::Module => "module",
        Item::Component => "component",
        Item::Instance(_) => "instance",
        Item::Resource(_) => "resource",
        Item::Other => "type",
    }
}

fn name_of_definition(definition: &Definition) -> &'static str {
    match definition {
        Definition::Func => "function",
        Definition::Module(_) => "module",
        Definition::Instance(_) => "instance",
        Definition::Resource(_) => "resource",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there() -> Definitions {
        let resource = |identity| Definition::Resource(Identity(identity));
        let host = [
            ("f", Definition::Func),
            ("m", Definition::Module(b"\0asm".to_vec())),
            ("r1", resource(1)),
            ("r2", resource(2)),
            ("r1-again", resource(1)),
        ];
        let host = host.map(|(name, definition)| (name.to_owned(), definition)).into();
        [("f".to_owned(), Definition::Func), ("host".to_owned(), Definition::Instance(host))].into()
    }

    fn shape(imports: &str) -> Shape {
        Shape::new(&wat::parse_str(format!("(component {imports})")).unwrap()).unwrap()
    }

    fn checked(imports: &str) -> Result<(), String> {
        check(&shape(imports), &there()).map(drop)
    }

    #[test]
    fn what_is_there_is_found() {
        for imports in [
            "",
            r#"(import "f" (func))"#,
            r#"(import "host" (instance (export "m" (core module)) (export "f" (func))))"#,
            r#"(import "nothing" (instance (export "x" (instance))))"#,
            r#"(import "host" (instance (export "r1" (type (sub resource))) (export "r2" (type (sub resource)))))"#,
            r#"(import "host" (instance (export "r1" (type $r (sub resource))) (export "r1-again" (type (eq $r)))))"#,
            r#"(import "host" (instance (export "r1" (type $r (sub resource))) (export "nowhere" (type (eq $r)))))"#,
        ] {
            assert_eq!(checked(imports), Ok(()), "{imports}");
        }
    }

    #[test]
    fn what_is_not_is_told() {
        for (imports, message) in [
            (r#"(import "f" (instance))"#, "`f`: expected instance found function"),
            (r#"(import "x" (core module))"#, "`x`: was not found"),
            (r#"(import "x" (instance (export "f" (func))))"#, "`x`: `f`: was not found"),
            (
                r#"(import "host" (instance (export "f" (type (sub resource)))))"#,
                "`host`: `f`: expected resource found function",
            ),
            (
                r#"(import "host" (instance (export "r1" (type $r (sub resource))) (export "r2" (type (eq $r)))))"#,
                "`host`: `r2`: mismatched resource types",
            ),
        ] {
            assert_eq!(checked(imports), Err(message.into()), "{imports}");
        }
    }

    #[test]
    fn each_instance_has_its_own_resources() {
        let shape = Shape::new(
            &wat::parse_str(
                r#"(component (type $r (resource (rep i32))) (export "r" (type $r)) (export "s" (type $r)))"#,
            )
            .unwrap(),
        )
        .unwrap();
        let mut next = 10;
        let mut identities = || {
            let exports = exports(&shape, &mut Resources::new(), &mut next);
            ["r", "s"].map(|name| match &exports[name] {
                Definition::Resource(identity) => *identity,
                other => panic!("{other:?}"),
            })
        };
        let [first, second] = [identities(), identities()];
        assert_eq!(first[0], first[1]);
        assert_ne!(first, second);
    }

    #[test]
    fn modules_are_bound_by_the_path_to_them() {
        let shape = shape(r#"(import "host" (instance (export "m" (core module))))"#);
        assert_eq!(links(&shape, &there()), [("host/m".to_owned(), b"\0asm".to_vec())]);
    }
}
