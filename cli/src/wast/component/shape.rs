//! What a component imports and exports, as far as the runner has to know. In goes the binary, out comes a [`Shape`].

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::types::TypesRef;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentTypeRef, Parser, Payload,
    ValidPayload, Validator, WasmFeatures,
};

/// Names, in the component's order, and what they stand for.
pub(in crate::wast) type Items = Vec<(String, Item)>;

/// A component's imports and exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::wast) struct Shape {
    pub(in crate::wast) imports: Items,
    pub(in crate::wast) exports: Items,
    /// Whether it exports a function that it imports.
    pub(in crate::wast) reexports: bool,
    /// The modules that it exports, if it also defines them.
    pub(in crate::wast) modules: Vec<(String, Vec<u8>)>,
}

/// What can be imported and exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wast) enum Item {
    Func,
    Module,
    Component,
    Instance(Items),
    /// A resource; the same one has the same identity wherever it stands.
    Resource(ResourceId),
    /// A type that is no resource, or a value.
    Other,
}

impl Shape {
    /// The shape of a component; `None` if the binary is none that is valid.
    pub(in crate::wast) fn new(binary: &[u8]) -> Option<Self> {
        read(binary).ok().flatten()
    }
}

/// The names of the root's imports and exports, while its sections are read.
#[derive(Default)]
struct Names<'a> {
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
    /// For each function of the root, whether it is an import.
    imported: Vec<bool>,
    reexports: bool,
    /// For each module of the root, its bytes if it is defined there.
    defined: Vec<Option<&'a [u8]>>,
    modules: Vec<(&'a str, &'a [u8])>,
}

fn read(binary: &[u8]) -> Result<Option<Shape>, BinaryReaderError> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut names = Names::default();
    let mut depth = 0;
    if !crate::component::is_component(binary) {
        return Ok(None);
    }
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload?;
        match &payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            payload if depth == 1 => names.section(payload, binary)?,
            _ => {}
        }
        if let (ValidPayload::End(types), 0) = (validator.payload(&payload)?, depth) {
            return Ok(Some(names.shape(types.as_ref())));
        }
    }
    Ok(None)
}

impl<'a> Names<'a> {
    fn section(&mut self, payload: &Payload<'a>, binary: &'a [u8]) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                self.defined.push(binary.get(unchecked_range.clone()));
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let import = import?;
                    self.imports.push(import.name.name);
                    match import.ty {
                        ComponentTypeRef::Func(_) => self.imported.push(true),
                        ComponentTypeRef::Module(_) => self.defined.push(None),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    self.exports.push(export.name.name);
                    let index = export.index as usize;
                    match export.kind {
                        ComponentExternalKind::Func => {
                            let imported = self.imported.get(index) == Some(&true);
                            self.reexports |= imported;
                            self.imported.push(imported);
                        }
                        ComponentExternalKind::Module => {
                            let defined = self.defined.get(index).copied().flatten();
                            self.modules.extend(defined.map(|bytes| (export.name.name, bytes)));
                            self.defined.push(defined);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    match alias? {
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, .. } => {
                            self.imported.push(false);
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                            self.defined.push(None);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions.clone() {
                    if let CanonicalFunction::Lift { .. } = function? {
                        self.imported.push(false);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn shape(self, types: TypesRef<'_>) -> Shape {
        let imports = self.imports.iter().filter_map(|name| Some((name, types.component_item_for_import(name)?)));
        let exports = self.exports.iter().filter_map(|name| Some((name, types.component_item_for_export(name)?)));
        Shape {
            imports: imports.map(|(name, found)| (name.to_string(), item(types, found.ty))).collect(),
            exports: exports.map(|(name, found)| (name.to_string(), item(types, found.ty))).collect(),
            reexports: self.reexports,
            modules: self.modules.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect(),
        }
    }
}

fn item(types: TypesRef<'_>, ty: ComponentEntityType) -> Item {
    match ty {
        ComponentEntityType::Module(_) => Item::Module,
        ComponentEntityType::Func(_) => Item::Func,
        ComponentEntityType::Component(_) => Item::Component,
        ComponentEntityType::Instance(id) => {
            let exports = types[id].exports.iter();
            Item::Instance(exports.map(|(name, found)| (name.clone(), item(types, found.ty))).collect())
        }
        ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => Item::Resource(id.resource()),
        ComponentEntityType::Type { .. } | ComponentEntityType::Value(_) => Item::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Option<Shape> {
        Shape::new(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn imports_and_exports_have_their_kinds() {
        let shape = shape(
            r#"(component
                (import "f" (func $f))
                (import "m" (core module))
                (import "i" (instance $i
                    (export "r" (type $r (sub resource)))
                    (export "same" (type (eq $r)))
                    (export "n" (instance (export "g" (func))))))
                (component (import "inner" (func)))
                (alias export $i "n" (instance $n))
                (export "n" (instance $n)))"#,
        )
        .unwrap();
        let [f, m, (_, Item::Instance(i))] = &shape.imports[..] else { panic!("{shape:?}") };
        assert_eq!((&f.1, &m.1), (&Item::Func, &Item::Module));
        assert!(matches!(i[0].1, Item::Resource(_)) && i[0].1 == i[1].1);
        let nested = Item::Instance(vec![("g".into(), Item::Func)]);
        assert_eq!(i[2].1, nested);
        assert_eq!(shape.exports, [("n".to_owned(), nested)]);
        assert!(!shape.reexports);
    }

    #[test]
    fn a_function_that_goes_through_is_seen() {
        assert!(shape(r#"(component (import "f" (func $f)) (export "f" (func $f)))"#).unwrap().reexports);
        assert!(
            shape(r#"(component (import "f" (func $f)) (export $g "g" (func $f)) (export "h" (func $g)))"#)
                .unwrap()
                .reexports
        );
    }

    #[test]
    fn modules_that_are_exported_are_kept() {
        let shape = shape(
            r#"(component
                (import "x" (core module $x))
                (component (core module))
                (core module $m (func (export "f")))
                (export "m" (core module $m))
                (export "y" (core module $x)))"#,
        )
        .unwrap();
        let module = wat::parse_str(r#"(module $m (func (export "f")))"#).unwrap();
        assert_eq!(shape.modules, [("m".to_owned(), module)]);
    }

    #[test]
    fn what_is_invalid_has_none() {
        assert_eq!(shape(r#"(component (export "f" (func 0)))"#), None);
        assert_eq!(shape("(module)"), None);
    }
}
