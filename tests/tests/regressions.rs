//! What random modules found, made small. To add one: a test that says what was wrong.

use precast_loader::{Linker, Val};
use precast_tests::artifact;

/// A null in a later active segment did not replace the reference of an earlier one in the image.
#[test]
fn a_later_null_element_replaces_an_earlier_function() {
    let artifact = artifact(
        r#"(module (table (export "table") 2 funcref) (func $f)
            (elem (i32.const 0) func $f $f) (elem (i32.const 0) funcref (ref.null func)))"#,
    );
    let instance = Linker::<()>::new().bind(&artifact).unwrap().instantiate(()).unwrap();
    let table = instance.table("table").unwrap();
    assert_eq!(table.get(&instance, 0), Some(Val::FuncRef(None)));
    assert!(matches!(table.get(&instance, 1), Some(Val::FuncRef(Some(_)))));
}
