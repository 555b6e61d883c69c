//! What the engine that scripts were written for refuses, though the specification allows it.
//!
//! Its own scripts assert so, under the same name as for what is invalid: because it has a limit, which the message then
//! says (`not supported`, `not implemented`), or because the script's header turns a proposal off. Such an assertion
//! says nothing about another engine, so the runner, and only it, keeps the same limits where one is asserted.

use wasmparser::{Validator, WasmFeatures};

use super::shape::{Item, Items, Shape};
use crate::wast::header::Header;

/// Why a component that a script expects to be refused with `message` is refused there.
pub(in crate::wast) fn refusal(binary: &[u8], shape: &Shape, header: &Header, message: &str) -> Option<String> {
    disabled(binary, header).or_else(|| if is_limit(message) { limit(shape) } else { None })
}

fn is_limit(message: &str) -> bool {
    message.contains("not supported") || message.contains("not implemented")
}

fn limit(shape: &Shape) -> Option<String> {
    let has_component = |items: &Items| items.iter().any(|(_, item)| *item == Item::Component);
    let limits = [
        (has_component(&shape.imports), "imports of components by the root"),
        (has_component(&shape.exports), "exports of components by the root"),
        (shape.reexports, "exports of imported functions"),
    ];
    limits.into_iter().find(|(applies, _)| *applies).map(|(_, what)| format!("{what} are not for this script"))
}

/// What validation says without the proposals that the header turns off.
fn disabled(binary: &[u8], header: &Header) -> Option<String> {
    let off = header.disabled();
    let validated = Validator::new_with_features(WasmFeatures::all() - off).validate_all(binary);
    if off.is_empty() { None } else { validated.err().map(|error| error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, header: &str, message: &str) -> bool {
        let binary = wat::parse_str(text).unwrap();
        let shape = Shape::new(&binary).unwrap();
        refusal(&binary, &shape, &Header::parse(header), message).is_some()
    }

    #[test]
    fn limits_are_kept_where_they_are_asserted() {
        for component in [
            r#"(component (import "x" (component)))"#,
            r#"(component (component (export "x")))"#,
            r#"(component (import "f" (func $f)) (export "g" (func $f)))"#,
        ] {
            assert!(refused(component, "", "is not supported"), "{component}");
            assert!(!refused(component, "", "type mismatch"), "{component}");
        }
        assert!(!refused("(component)", "", "is not supported"));
    }

    #[test]
    fn what_a_header_turns_off_is_refused() {
        let component = r#"(component (import "a" (implements "a:b/c") (instance)))"#;
        assert!(refused(component, ";;! component_model_implements = false", "not active"));
        assert!(!refused(component, ";;! component_model_implements = true", "not active"));
    }
}
