//! What is refused, and with which error.

use super::super::link;
use super::{binary, try_link};
use crate::Error;

#[track_caller]
fn refused(text: &str, proposal: &str) {
    match try_link(text, &[]) {
        Err(Error::Unsupported { proposal: found, .. }) => assert_eq!(found, proposal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn async_by_name() {
    refused(r#"(component (import "f" (func async)))"#, "component model async (async functions)");
    refused(r#"(component (import "f" (func (param "s" (stream u8)))))"#, "component model async (streams)");
    refused(r#"(component (import "f" (func (param "s" (future u8)))))"#, "component model async (futures)");
    refused(
        r#"(component (type $f (future u8)) (core func (canon future.new $f)))"#,
        "component model async (futures)",
    );
    refused("(component (core func (canon task.cancel)))", "component model async (tasks)");
    refused("(component (core func (canon waitable-set.new)))", "component model async (tasks)");
    refused(
        r#"(component (import "f" (func $f async)) (core func (canon lower (func $f) async)))"#,
        "component model async (async functions)",
    );
    refused("(component (core func (canon error-context.drop)))", "component model async (error contexts)");
}

#[test]
fn proposals_of_core_modules_that_are_instantiated() {
    let module = "(core module $m (tag))";
    try_link(&format!("(component {module})"), &[]).expect("nothing instantiates it");
    refused(&format!("(component {module} (core instance (instantiate $m)))"), "exception handling");
}

/// An invalid body is found wherever it is, and comes before what is unsupported.
#[test]
fn invalid_is_never_unsupported() {
    let invalid = "(core module (func (result i32)))";
    let texts = [
        format!("(component {invalid})"),
        format!("(component (core func (canon task.cancel)) {invalid})"),
        format!(r#"(component (import "m" (core module)) {invalid})"#),
    ];
    for text in texts {
        match link(&binary(&text), &[]) {
            Err(Error::Invalid { place, .. }) => assert!(place.offset > 8, "{place}"),
            other => panic!("{text}: {:?}", other.err()),
        }
    }
    let end = |bytes: &[u8]| link(bytes, &[]).err();
    assert!(matches!(end(b"\0asm\x0d\0\x01\0\x07"), Some(Error::Invalid { .. })), "cut off");
    assert!(matches!(end(b"\0asm\x0c\0\x01\0"), Some(Error::Invalid { .. })), "another version");
}

/// Small files that ask for much.
#[test]
fn bombs() {
    let limit = |text: &str| match link(&binary(text), &[]) {
        Err(Error::Limit { what, .. }) => what.to_string(),
        other => panic!("{:?}", other.err()),
    };
    // Each component instantiates the one before twice.
    let mut text = String::from("(component (component $c0)");
    for n in 1..40 {
        text += &format!(
            "(component $c{n} (alias outer 1 {} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))",
            n - 1
        );
    }
    text += "(instance (instantiate $c39)))";
    assert_eq!(limit(&text), "the number of component instances");

    let mut text = String::from("(component (core module $m)");
    text += "(component $c (alias outer 1 0 (core module $m))";
    text += &"(core instance (instantiate $m))".repeat(900);
    text += ")";
    text += &"(instance (instantiate $c))".repeat(20);
    text += ")";
    assert_eq!(limit(&text), "the number of core instances");

    let mut deep = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..150 {
        // A component with one section, which is that component; the length has as many bytes as any may have.
        let length = deep.len();
        let leb: Vec<u8> = (0..5).map(|n| (length >> (7 * n)) as u8 & 0x7f | if n < 4 { 0x80 } else { 0 }).collect();
        deep = [b"\0asm\x0d\0\x01\0\x04".as_slice(), &leb, &deep].concat();
    }
    let error = link(&deep, &[]).err().expect("refused").to_string();
    assert!(error.starts_with("the depth of components in components is 101"), "{error}");

    let text = r#"(component (type $l (list u64 1000000000)) (import "f" (func (param "l" $l))))"#;
    assert_eq!(limit(text), "the size of a value in memory");
}

/// A chain of captures as long as there may be components: nothing recurses along it.
#[test]
fn long_chains() {
    let mut text = String::from("(component (core module $m) (component $c0)");
    for n in 1..1000 {
        text += &format!("(component $c{n} (alias outer 1 {} (component $c)) (instance (instantiate $c)))", n - 1);
    }
    text += "(instance (instantiate $c999)))";
    let bytes = binary(&text);
    let linkage = link(&bytes, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(linkage.component_instances.len(), 1001);
}

/// What a host can use of the exports: functions, be they the host's own.
#[test]
fn exports_of_the_root() {
    let exports = |text: &str| {
        let bytes = binary(text);
        let linkage = link(&bytes, &[]).unwrap_or_else(|error| panic!("{error}"));
        linkage.exports.iter().map(|export| export.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(exports(r#"(component (import "f" (func $f)) (export "g" (func $f)))"#), ["g"]);
    assert!(exports(r#"(component (component (export "c")))"#).is_empty());
}
