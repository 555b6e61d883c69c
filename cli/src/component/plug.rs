//! `--plug`: two components become one, in which the exports of one are the imports of the other.

use std::path::Path;

use wac_graph::types::{ItemKind, Package, are_semver_compatible};
use wac_graph::{CompositionGraph, EncodeOptions, InstantiationArgumentError, NodeId, PackageId};

use crate::error::Error;
use crate::input;

/// The component that exports what `socket` exports, with the exports of `plug` (read from `file`) for its imports.
/// What either of them imports beyond that, the whole imports.
///
/// # Errors
/// If one of them is no component, nothing of `plug` fits, or something fits by name but has another type.
pub(super) fn plug(socket: &[u8], file: &Path, plug: &[u8]) -> Result<Vec<u8>, Error> {
    let name = input::display_name(file);
    let failed = |error: anyhow::Error| Error::context(format_args!("cannot plug in `{name}`"), Chain::from(error));

    let mut graph = CompositionGraph::new();
    let socket_package = register(&mut graph, "socket", socket).map_err(failed)?;
    let plug_package = register(&mut graph, "plug", plug).map_err(failed)?;
    let fitting = fitting(&graph, socket_package, plug_package);
    if fitting.is_empty() {
        return Err(Error::Failed(nothing_fits(&graph, &name, socket_package, plug_package)));
    }
    let (socket, plug) = (graph.instantiate(socket_package), graph.instantiate(plug_package));
    for (export, import) in &fitting {
        connect(&mut graph, plug, export, socket, import).map_err(failed)?;
    }
    for export in exports(&graph, socket_package) {
        let item = graph.alias_instance_export(socket, &export).map_err(|error| failed(error.into()))?;
        graph.export(item, &export).map_err(|error| failed(error.into()))?;
    }
    graph.encode(EncodeOptions::default()).map_err(|error| failed(error.into()))
}

/// The error where composing failed in a way of its own.
pub(super) fn failed(file: &Path) -> Error {
    Error::Failed(format!("cannot plug in `{}`: composing it failed", input::display_name(file)))
}

fn register(graph: &mut CompositionGraph, name: &str, bytes: &[u8]) -> anyhow::Result<PackageId> {
    let package = Package::from_bytes(name, None, bytes, graph.types_mut())?;
    Ok(graph.register_package(package)?)
}

/// Names of exports of `plug`, each with the name of the import of `socket` that it is for: the same name, or else that
/// of another version on the same track.
fn fitting(graph: &CompositionGraph, socket: PackageId, plug: PackageId) -> Vec<(String, String)> {
    let exports = exports(graph, plug);
    let for_import = |import: &str| {
        let same = exports.iter().find(|export| *export == import);
        same.or_else(|| exports.iter().find(|export| are_semver_compatible(export, import)))
    };
    let imports = imports(graph, socket).into_iter();
    imports.filter_map(|import| Some((for_import(&import)?.clone(), import))).collect()
}

fn connect(
    graph: &mut CompositionGraph,
    plug: NodeId,
    export: &str,
    socket: NodeId,
    import: &str,
) -> anyhow::Result<()> {
    let item = graph.alias_instance_export(plug, export)?;
    graph.set_instantiation_argument(socket, import, item).map_err(|error| match error {
        InstantiationArgumentError::ArgumentTypeMismatch { source, .. } => {
            source.context(format!("its export `{export}` does not have the type that the import wants"))
        }
        error => error.into(),
    })
}

fn imports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    graph.types()[graph[package].ty()].imports.keys().cloned().collect()
}

fn exports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    graph.types()[graph[package].ty()].exports.keys().cloned().collect()
}

/// What both sides have. Interfaces of nothing but types are left out: they are never what somebody looks for.
fn nothing_fits(graph: &CompositionGraph, name: &str, socket: PackageId, plug: PackageId) -> String {
    let useful = |kind: &ItemKind| match kind {
        ItemKind::Instance(interface) => {
            graph.types()[*interface].exports.values().any(|kind| matches!(kind, ItemKind::Func(_)))
        }
        _ => true,
    };
    let list = |names: Vec<String>| match names.is_empty() {
        true => "nothing".into(),
        false => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    let names = |items: Vec<(&String, &ItemKind)>| {
        list(items.into_iter().filter(|(_, kind)| useful(kind)).map(|(name, _)| name.clone()).collect())
    };
    let wanted = names(graph.types()[graph[socket].ty()].imports.iter().collect());
    let offered = names(graph.types()[graph[plug].ty()].exports.iter().collect());
    format!("nothing of `{name}` fits: it exports {offered}; what is imported is {wanted}")
}

/// An error with its causes, in the standard library's terms.
#[derive(Debug)]
struct Chain(anyhow::Error);

impl From<anyhow::Error> for Chain {
    fn from(error: anyhow::Error) -> Self {
        Chain(error)
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Chain {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    fn message(error: &Error) -> String {
        error.causes().fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    const SOCKET: &str = r#"(component
        (import "a:b/c@0.2.1" (instance $c (export "f" (func (result u32)))))
        (import "other" (func $other))
        (core func $f (canon lower (func $c "f")))
        (func (export "run") (result u32) (canon lift (core func $f))))"#;

    fn plug_with(export: &str, ty: &str) -> Vec<u8> {
        binary(&format!(
            r#"(component
                (core module $m (func (export "f") {ty} unreachable))
                (core instance $i (instantiate $m))
                (func $f {} (canon lift (core func $i "f")))
                (instance $c (export "f" (func $f)))
                (export "{export}" (instance $c)))"#,
            ty.replace("i32", "u32")
        ))
    }

    #[test]
    fn what_is_plugged_in_is_no_import_any_more() {
        for version in ["0.2.1", "0.2.9"] {
            let whole =
                plug(&binary(SOCKET), Path::new("b.wasm"), &plug_with(&format!("a:b/c@{version}"), "(result i32)"))
                    .unwrap();
            let mut graph = CompositionGraph::new();
            let package = register(&mut graph, "whole", &whole).unwrap();
            assert_eq!(imports(&graph, package), ["other"]);
            assert_eq!(exports(&graph, package), ["run"]);
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let socket = binary(SOCKET);
        let file = Path::new("b.wasm");
        let error = plug(&socket, file, &plug_with("a:b/c@0.3.0", "(result i32)")).unwrap_err();
        assert_eq!(
            message(&error),
            "nothing of `b.wasm` fits: it exports `a:b/c@0.3.0`; what is imported is `a:b/c@0.2.1`, `other`"
        );
        let error = message(&plug(&socket, file, &plug_with("a:b/c@0.2.1", "")).unwrap_err());
        assert!(
            error.starts_with("cannot plug in `b.wasm`: its export `a:b/c@0.2.1` does not have the type"),
            "{error}"
        );
        let error = message(&plug(&socket, file, b"\0asm\x0d\0\x01\0\xff").unwrap_err());
        assert!(error.starts_with("cannot plug in `b.wasm`: "), "{error}");
    }
}
