//! What an instance may grow to.

mod common;

use common::{artifact, bind};
use precast_loader::{InstantiateError, Limits, Linker};

const GROWING: &str = r#"(module (memory (export "m") 1) (table (export "t") 2 funcref)
    (func (export "grow_memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))"#;

fn limits(memory_bytes: u64, table_elements: u64) -> Limits {
    Limits { memory_bytes: Some(memory_bytes), table_elements: Some(table_elements), ..Limits::default() }
}

#[test]
fn growth_beyond_a_limit_gives_minus_one() {
    let bound = bind::<()>(GROWING, |_| ()).limits(limits(3 * 65536 + 1, 5));
    let mut instance = bound.instantiate(()).unwrap();
    let memory = instance.func::<i32, i32>("grow_memory").unwrap();
    let table = instance.func::<i32, i32>("grow_table").unwrap();
    assert_eq!(memory.call(&mut instance, 3).unwrap(), -1);
    assert_eq!(memory.call(&mut instance, 2).unwrap(), 1);
    assert_eq!(memory.call(&mut instance, 1).unwrap(), -1);
    assert_eq!(memory.call(&mut instance, 0).unwrap(), 3);
    assert_eq!(memory.call(&mut instance, -1).unwrap(), -1);
    assert_eq!(table.call(&mut instance, 4).unwrap(), -1);
    assert_eq!(table.call(&mut instance, 3).unwrap(), 2);
    assert_eq!(table.call(&mut instance, 1).unwrap(), -1);
    assert_eq!(table.call(&mut instance, -1).unwrap(), -1);
    assert!(instance.memory("m").unwrap().grow(&mut instance, 1).is_err());
}

#[test]
fn starting_beyond_a_limit_is_an_error_that_names_both() {
    let bound = bind::<()>(GROWING, |_| ());
    let error = bound.clone().limits(limits(65535, 2)).instantiate(()).unwrap_err();
    assert!(matches!(error, InstantiateError::Limit(limit) if (limit.wanted, limit.limit) == (65536, 65535)));
    let error = bound.clone().limits(limits(65536, 1)).instantiate(()).unwrap_err();
    assert_eq!(error.to_string(), "table 0 starts with 2 elements, more than the limit of 1");
    assert!(bound.limits(limits(65536, 2)).instantiate(()).is_ok());
}

#[test]
fn a_table_larger_than_its_room_is_an_error_at_instantiation() {
    let module = artifact(r#"(module (table 0xffff_ffff funcref))"#);
    let error = Linker::<()>::new().bind(&module).unwrap().instantiate(()).unwrap_err();
    assert!(matches!(error, InstantiateError::Limit(limit) if limit.wanted == 0xffff_ffff), "{error}");
}
