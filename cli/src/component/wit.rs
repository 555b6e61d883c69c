//! A component's interface as WIT text.

use std::borrow::Cow;

use wit_component::{OutputToString, WitPrinter};
use wit_parser::decoding::{DecodedWasm, decode};

use super::{is_component, without_panic};

/// The WIT text of a component, binary or text: its world and every interface it refers to, without documentation.
/// `None` for a module, and for a component whose interface cannot be written as WIT, of which there are some.
pub(crate) fn wit_text(bytes: &[u8]) -> Option<String> {
    let binary = match bytes.starts_with(b"\0asm") {
        true => Cow::Borrowed(bytes),
        false => wat::parse_bytes(bytes).ok()?,
    };
    // The decoder knows the components that come of WIT, and of some others thinks that there are none.
    if is_component(&binary) { without_panic(|| print(&binary)).flatten() } else { None }
}

fn print(component: &[u8]) -> Option<String> {
    // A WIT package in its binary form is a component too, but none to run.
    let DecodedWasm::Component(resolve, world) = decode(component).ok()? else { return None };
    let package = resolve.worlds[world].package?;
    let others: Vec<_> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != package).collect();
    let mut printer = WitPrinter::<OutputToString>::default();
    printer.emit_docs(false).print(&resolve, package, &others).ok()?;
    Some(printer.output.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_and_exports_are_in_the_text() {
        let text = r#"(component
            (import "a:b/c@0.2.1" (instance (export "f" (func (param "x" (list string)) (result u32)))))
            (core module $m (func (export "g")))
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "g"))))"#;
        let wit = wit_text(text.as_bytes()).unwrap();
        for part in ["import a:b/c@0.2.1;", "export run: func();", "f: func(x: list<string>) -> u32;"] {
            assert!(wit.contains(part), "{wit}");
        }
        assert_eq!(wit_text(&wat::parse_str(text).unwrap()), Some(wit));
    }

    #[test]
    fn what_is_no_component_has_none() {
        let nested = r#"(component (import "a:b:c/d" (instance)))"#;
        let resource = r#"(component (import "i" (instance $i (export "r" (type $r (sub resource)))))
            (alias export $i "r" (type $r)) (import "j" (instance (export "r" (type (eq $r))))))"#;
        for text in [nested, resource] {
            wit_text(text.as_bytes());
        }
        for text in ["(module)", "(", "(component (export \"f\" (func 0)))"] {
            assert_eq!(wit_text(text.as_bytes()), None, "{text}");
        }
    }
}
