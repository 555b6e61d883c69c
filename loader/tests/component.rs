//! Components end to end: values both ways, resources, failures.
#![cfg(target_arch = "x86_64")]

mod common;

use common::component;
use precast_loader::component::{Instance, Linker, Resource, ResourceAny, ResourceTable, Val, round_trip};
use precast_loader::{BindError, CallError, ExportError, Limits, TrapCode};

/// An instance of a component without imports.
fn instance(parts: &str) -> Instance<()> {
    Linker::new().bind(&component(parts)).expect("binds").instantiate(()).expect("instantiates")
}

fn trap_code(error: &CallError) -> Option<TrapCode> {
    error.trap().map(|trap| trap.code())
}

/// Gives back the two words it is called with, as it does with a string or list.
const ECHO: &str = r#"
    (core module $Echo
        (import "libc" "memory" (memory 1))
        (global $posts (mut i32) (i32.const 0))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0))
            (i32.store (i32.const 20) (local.get 1))
            (i32.const 16))
        (func (export "post") (param i32)
            (if (i32.ne (local.get 0) (i32.const 16)) (then (unreachable)))
            (global.set $posts (i32.add (global.get $posts) (i32.const 1))))
        (func (export "posts") (result i32) (global.get $posts)))
    (core instance $echo (instantiate $Echo (with "libc" (instance $libc))))
"#;

#[test]
fn strings_in_three_encodings() {
    for encoding in ["utf8", "utf16", "latin1+utf16"] {
        let mut instance = instance(&format!(
            r#"{ECHO}
            (func (export "echo") (param "x" string) (result string)
                (canon lift (core func $echo "echo") string-encoding={encoding}
                    (memory $libc "memory") (realloc (func $libc "realloc")) (post-return (func $echo "post"))))
            (func (export "posts") (result u32) (canon lift (core func $echo "posts")))"#
        ));
        let echo = instance.func::<(&str,), String>("", "echo").unwrap();
        let texts = ["", "plain", "é latin", "日本 and 🦀", &"long é".repeat(20_000)];
        for text in texts {
            assert_eq!(echo.call(&mut instance, (text,)).unwrap(), text, "{encoding}");
        }
        let dynamic = instance.func_dynamic("", "echo").unwrap();
        assert_eq!(dynamic.ty().to_string(), "func(x: string) -> string");
        let value = Val::String("dynamic 🦀".into());
        assert_eq!(dynamic.call(&mut instance, std::slice::from_ref(&value)).unwrap(), Some(value));
        let posts = instance.func::<(), u32>("", "posts").unwrap();
        assert_eq!(posts.call(&mut instance, ()).unwrap(), texts.len() as u32 + 1);
    }
}

#[test]
fn parameters_and_results_in_memory() {
    // Twenty parameters are passed in memory, and so is a tuple of results; the core function gives back the pointer.
    let params: Vec<String> = (0..20).map(|at| format!("(param \"p{at}\" u16)")).collect();
    let results = "u16 ".repeat(20);
    let mut instance = instance(&format!(
        r#"(core module $Same (func (export "same") (param i32) (result i32) (local.get 0)))
        (core instance $same (instantiate $Same))
        (func (export "same") {} (result (tuple {results}))
            (canon lift (core func $same "same") (memory $libc "memory") (realloc (func $libc "realloc"))))"#,
        params.join(" ")
    ));
    let same = instance.func_dynamic("", "same").unwrap();
    let values: Vec<Val> = (0..20).map(Val::U16).collect();
    assert_eq!(same.call(&mut instance, &values).unwrap(), Some(Val::Tuple(values)));
    let error = same.call(&mut instance, &[Val::U16(1)]).unwrap_err();
    assert!(matches!(&error, CallError::Mismatch(why) if why == "1 parameters are given, and 20 wanted"), "{error:?}");
}

/// Imports `test:host/api@0.2.1`, whose functions are `types` and `funcs`, with `lowers` lowered.
fn importer(types: &str, lowers: &[&str], rest: &str) -> String {
    let mut text = format!("(import \"test:host/api@0.2.1\" (instance $api {types}))");
    for name in lowers {
        text += &format!(
            "(core func ${name} (canon lower (func $api \"{name}\") \
             (memory $libc \"memory\") (realloc (func $libc \"realloc\"))))"
        );
    }
    text + rest
}

#[test]
fn host_functions_take_and_give_values() {
    let parts = importer(
        r#"(type $point' (record (field "x" s32) (field "y" s32)))
           (export "point" (type $point (eq $point')))
           (export "greet" (func (param "name" string) (result string)))
           (export "sum" (func (param "points" (list $point)) (result $point)))
           (export "add" (func (param "a" u32) (param "b" u64) (result u64)))"#,
        &["greet", "sum", "add"],
        r#"
        (core module $M
            (import "libc" "memory" (memory 1))
            (import "api" "greet" (func $greet (param i32 i32 i32)))
            (import "api" "sum" (func $sum (param i32 i32 i32)))
            (import "api" "add" (func $add (param i32 i64) (result i64)))
            (func (export "greet") (param i32 i32) (result i32)
                (call $greet (local.get 0) (local.get 1) (i32.const 32)) (i32.const 32))
            (func (export "sum") (param i32 i32) (result i32)
                (call $sum (local.get 0) (local.get 1) (i32.const 32)) (i32.const 32))
            (func (export "add") (param i32 i64) (result i64) (call $add (local.get 0) (local.get 1))))
        (core instance $m (instantiate $M (with "libc" (instance $libc)) (with "api" (instance
            (export "greet" (func $greet)) (export "sum" (func $sum)) (export "add" (func $add))))))
        (type $point' (record (field "x" s32) (field "y" s32)))
        (export $point "point" (type $point'))
        (func (export "greet") (param "name" string) (result string)
            (canon lift (core func $m "greet") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (func (export "sum") (param "points" (list $point)) (result $point)
            (canon lift (core func $m "sum") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (func (export "add") (param "a" u32) (param "b" u64) (result u64) (canon lift (core func $m "add")))"#,
    );
    let artifact = component(&parts);
    assert!(artifact.is_component());
    let imports: Vec<String> =
        artifact.component_imports().iter().map(|(interface, name, ty)| format!("{interface} {name}: {ty}")).collect();
    assert!(imports.contains(&"test:host/api@0.2.1 greet: func(name: string) -> string".to_owned()), "{imports:?}");
    assert_eq!(artifact.component_exports().len(), 3);
    let mut linker = Linker::<u32>::new();
    // Another version of the same track.
    linker.func("test:host/api@0.2.5", "greet", |caller, (name,): (String,)| {
        *caller.data_mut() += 1;
        Ok(format!("hello {name}"))
    });
    linker.func("test:host/api@0.2.5", "add", |_, (a, b): (u32, u64)| Ok(u64::from(a) + b));
    linker.func_dynamic("test:host/api@0.2.5", "sum", |_, ty, params| {
        assert_eq!(ty.to_string().split(" -> ").nth(1), Some("record { x: s32, y: s32 }"));
        let [Val::List(points)] = params else { panic!("{params:?}") };
        let mut sum = [0, 0];
        for point in points {
            let Val::Record(fields) = point else { panic!("{point:?}") };
            for (sum, (_, field)) in sum.iter_mut().zip(fields) {
                let Val::S32(field) = field else { panic!("{field:?}") };
                *sum += field;
            }
        }
        Ok(Some(Val::Record(vec![("x".into(), Val::S32(sum[0])), ("y".into(), Val::S32(sum[1]))])))
    });
    let mut instance = linker.bind(&artifact).unwrap().instantiate(0).unwrap();
    let greet = instance.func::<(String,), String>("", "greet").unwrap();
    for count in 1..=3 {
        assert_eq!(greet.call(&mut instance, ("you".into(),)).unwrap(), "hello you");
        assert_eq!(*instance.data(), count);
    }
    let add = instance.func::<(u32, u64), u64>("", "add").unwrap();
    assert_eq!(add.call(&mut instance, (u32::MAX, 1 << 40)).unwrap(), (1 << 40) + u64::from(u32::MAX));
    let point = |x, y| Val::Record(vec![("x".into(), Val::S32(x)), ("y".into(), Val::S32(y))]);
    let sum = instance.func_dynamic("", "sum").unwrap();
    let points = Val::List(vec![point(1, -2), point(10, 20)]);
    assert_eq!(sum.call(&mut instance, &[points]).unwrap(), Some(point(11, 18)));
    // Types that do not fit.
    let error = instance.func::<(u32,), u64>("", "add").unwrap_err();
    assert!(matches!(error, ExportError::Type { .. }));
    assert_eq!(error.to_string(), "function \"add\" is func(a: u32, b: u64) -> u64, and func(u32) -> u64 is wanted");
    assert_eq!(instance.func::<(), ()>("a:b/c", "d").unwrap_err().to_string(), "there is no export \"a:b/c#d\"");
    let mut wrong = linker.clone();
    wrong.func("test:host/api@0.2.5", "add", |_, (a,): (u32,)| Ok(a));
    assert_eq!(
        wrong.bind(&artifact).unwrap_err().to_string(),
        "incompatible import type: \"test:host/api@0.2.1\" \"add\" is func(u32) -> u32, \
         and func(a: u32, b: u64) -> u64 is wanted"
    );
    let mut missing = Linker::<u32>::new();
    missing.func("test:host/api@0.3.0", "greet", |_, (name,): (String,)| Ok(name));
    assert!(matches!(missing.bind(&artifact), Err(BindError::Missing { .. })));
    let mut instance = missing.trap_missing().bind(&artifact).unwrap().instantiate(0).unwrap();
    let error = instance.func::<(u32, u64), u64>("", "add").unwrap().call(&mut instance, (1, 1)).unwrap_err();
    assert!(matches!(&error, CallError::Host(error) if error.is::<precast_loader::MissingFunction>()), "{error}");
    assert!(matches!(precast_loader::Linker::<u32>::new().bind(&artifact), Err(BindError::Component)));
    let module = common::artifact("(module)");
    assert!(matches!(Linker::<u32>::new().bind(&module), Err(BindError::NotComponent)) && !module.is_component());
}

#[test]
fn a_failure_ends_the_instance() {
    let parts = importer(
        r#"(export "fail" (func (param "how" u32)))"#,
        &["fail"],
        r#"
        (core module $M
            (import "api" "fail" (func $fail (param i32)))
            (func (export "fail") (param i32) (call $fail (local.get 0)))
            (func (export "trap") (unreachable))
            (func (export "fine") (result i32) (i32.const 7)))
        (core instance $m (instantiate $M (with "api" (instance (export "fail" (func $fail))))))
        (func (export "fail") (param "how" u32) (canon lift (core func $m "fail")))
        (func (export "trap") (canon lift (core func $m "trap")))
        (func (export "fine") (result u32) (canon lift (core func $m "fine")))"#,
    );
    let mut linker = Linker::<()>::new();
    linker.func("test:host/api@0.2.1", "fail", |_, (how,): (u32,)| match how {
        0 => Ok(()),
        1 => Err("on purpose".into()),
        _ => panic!("on purpose"),
    });
    let bound = linker.bind(&component(&parts)).unwrap();
    let fresh = || bound.instantiate(()).unwrap();
    let mut instance = fresh();
    let fail = instance.func::<(u32,), ()>("", "fail").unwrap();
    let trap = instance.func::<(), ()>("", "trap").unwrap();
    let fine = instance.func::<(), u32>("", "fine").unwrap();
    fail.call(&mut instance, (0,)).unwrap();
    assert_eq!(fine.call(&mut instance, ()).unwrap(), 7);
    assert_eq!(fail.call(&mut instance, (1,)).unwrap_err().to_string(), "on purpose");
    let after = fine.call(&mut instance, ()).unwrap_err();
    assert_eq!(trap_code(&after), Some(TrapCode::CannotEnter));
    assert!(after.to_string().starts_with("wasm trap: cannot enter component instance"), "{after}");
    // Functions are for all instances of what is bound.
    let mut instance = fresh();
    assert_eq!(trap_code(&trap.call(&mut instance, ()).unwrap_err()), Some(TrapCode::Unreachable));
    assert_eq!(trap_code(&fine.call(&mut instance, ()).unwrap_err()), Some(TrapCode::CannotEnter));
    let mut instance = fresh();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fail.call(&mut instance, (2,))));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(trap_code(&fine.call(&mut instance, ()).unwrap_err()), Some(TrapCode::CannotEnter));
    let other = linker.bind(&component(&parts)).unwrap();
    assert!(matches!(fine.call(&mut other.instantiate(()).unwrap(), ()), Err(CallError::Mismatch(_))));
}

#[test]
fn what_a_guest_hands_over_is_checked() {
    let parts = r#"
        (core module $M
            (import "libc" "memory" (memory 1))
            (func (export "pair") (param i32 i32) (result i32)
                (i32.store (i32.const 16) (local.get 0))
                (i32.store (i32.const 20) (local.get 1))
                (i32.const 16))
            (func (export "pointer") (param i32 i32) (result i32) (local.get 0))
            (func (export "char") (param i32 i32) (result i32) (local.get 0)))
        (core instance $m (instantiate $M (with "libc" (instance $libc))))
        (func (export "string") (param "a" u32) (param "b" u32) (result string)
            (canon lift (core func $m "pair") (memory $libc "memory")))
        (func (export "list") (param "a" u32) (param "b" u32) (result (list u32))
            (canon lift (core func $m "pair") (memory $libc "memory")))
        (func (export "pointer") (param "a" u32) (param "b" u32) (result (tuple u32 u32))
            (canon lift (core func $m "pointer") (memory $libc "memory")))
        (func (export "char") (param "a" u32) (param "b" u32) (result char) (canon lift (core func $m "char")))"#;
    let bound = Linker::new().bind(&component(parts)).unwrap();
    let call = |name: &str, a: u32, b: u32| {
        let mut instance = bound.instantiate(()).unwrap();
        let func = instance.func_dynamic("", name).unwrap();
        let result = func.call(&mut instance, &[Val::U32(a), Val::U32(b)]);
        result.map_err(|error| trap_code(&error).unwrap())
    };
    assert_eq!(call("list", 65536 - 8, 2), Ok(Some(Val::List(vec![Val::U32(0); 2]))));
    assert_eq!(call("list", 65536 - 8, 3), Err(TrapCode::ListOutOfBounds));
    assert_eq!(call("list", 2, 1), Err(TrapCode::UnalignedPointer));
    assert_eq!(call("list", 0, u32::MAX), Err(TrapCode::TooLong));
    assert_eq!(call("string", 65535, 2), Err(TrapCode::StringOutOfBounds));
    assert_eq!(call("pointer", 65536 - 8, 0), Ok(Some(Val::Tuple(vec![Val::U32(0); 2]))));
    assert_eq!(call("pointer", 65536 - 4, 0), Err(TrapCode::ListOutOfBounds));
    assert_eq!(call("pointer", 1, 0), Err(TrapCode::UnalignedPointer));
    assert_eq!(call("char", 0xd800, 0), Err(TrapCode::InvalidChar));
    assert_eq!(call("char", 'x' as u32, 0), Ok(Some(Val::Char('x'))));
}

#[test]
fn what_realloc_gives_is_checked() {
    let with = |pointer: u32| {
        let mut instance = instance(&format!(
            r#"(core module $M
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const {pointer}))
                (func (export "take") (param i32 i32)))
            (core instance $m (instantiate $M))
            (func (export "take") (param "x" (list u16))
                (canon lift (core func $m "take") (memory $m "memory") (realloc (func $m "realloc"))))"#
        ));
        let take = instance.func::<(&[u16],), ()>("", "take").unwrap();
        let result = take.call(&mut instance, (&[1, 2],));
        let again = take.call(&mut instance, (&[],));
        assert_eq!(result.is_err(), again.is_err_and(|error| trap_code(&error) == Some(TrapCode::CannotEnter)));
        result.map_err(|error| trap_code(&error).unwrap())
    };
    assert_eq!(with(65532), Ok(()));
    assert_eq!(with(65534), Err(TrapCode::ReallocOutOfBounds));
    assert_eq!(with(u32::MAX - 1), Err(TrapCode::ReallocOutOfBounds));
    assert_eq!(with(1), Err(TrapCode::UnalignedPointer));
}

struct Thing(String);

#[test]
fn resources_of_the_host() {
    let parts = r#"
        (import "test:host/things@1.0.0" (instance $things
            (export "thing" (type $thing (sub resource)))
            (export "[constructor]thing" (func (param "name" string) (result (own $thing))))
            (export "[method]thing.name" (func (param "self" (borrow $thing)) (result string)))
            (export "[static]thing.join" (func (param "a" (own $thing)) (param "b" (borrow $thing)) (result (own $thing))))))
        (alias export $things "thing" (type $thing))
        (core func $new (canon lower (func $things "[constructor]thing") (memory $libc "memory")))
        (core func $name (canon lower (func $things "[method]thing.name")
            (memory $libc "memory") (realloc (func $libc "realloc"))))
        (core func $join (canon lower (func $things "[static]thing.join")))
        (core func $drop (canon resource.drop $thing))
        (core module $M
            (import "libc" "memory" (memory 1))
            (import "things" "new" (func $new (param i32 i32) (result i32)))
            (import "things" "name" (func $name (param i32 i32)))
            (import "things" "join" (func $join (param i32 i32) (result i32)))
            (import "things" "drop" (func $drop (param i32)))
            (func (export "new") (param i32 i32) (result i32) (call $new (local.get 0) (local.get 1)))
            (func (export "double") (param $thing i32) (param $other i32) (result i32)
                (local.set $thing (call $join (local.get $thing) (local.get $other)))
                (call $drop (local.get $other))
                (call $name (local.get $thing) (i32.const 32))
                (call $drop (local.get $thing))
                (i32.const 32))
            (func (export "same") (param $thing i32) (result i32) (call $join (local.get $thing) (local.get $thing)))
            (func (export "keep") (param i32))
            (func (export "drop") (param i32) (call $drop (local.get 0))))
        (core instance $m (instantiate $M (with "libc" (instance $libc)) (with "things" (instance
            (export "new" (func $new)) (export "name" (func $name)) (export "join" (func $join)) (export "drop" (func $drop))))))
        (func (export "new") (param "name" string) (result (own $thing))
            (canon lift (core func $m "new") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (func (export "double") (param "a" (own $thing)) (param "b" (borrow $thing)) (result string)
            (canon lift (core func $m "double") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (func (export "same") (param "a" (own $thing)) (result (own $thing)) (canon lift (core func $m "same")))
        (func (export "keep") (param "a" (borrow $thing)) (canon lift (core func $m "keep")))
        (func (export "drop") (param "a" u32) (canon lift (core func $m "drop")))"#;
    let mut linker = Linker::<ResourceTable>::new();
    let things = "test:host/things@1.0.0";
    linker.resource::<Thing>(things, "thing", |caller, representation| {
        caller.data_mut().delete(Resource::<Thing>::new_own(representation))?;
        Ok(())
    });
    linker.func(things, "[constructor]thing", |caller, (name,): (String,)| Ok(caller.data_mut().push(Thing(name))?));
    linker.func(things, "[method]thing.name", |caller, (thing,): (Resource<Thing>,)| {
        assert!(!thing.is_owned());
        Ok(caller.data().get(&thing)?.0.clone())
    });
    linker.func(things, "[static]thing.join", |caller, (a, b): (Resource<Thing>, Resource<Thing>)| {
        assert!(a.is_owned() && !b.is_owned());
        let joined = format!("{}+{}", caller.data().get(&a)?.0, caller.data().get(&b)?.0);
        caller.data_mut().delete(a)?;
        Ok(caller.data_mut().push(Thing(joined))?)
    });
    let bound = linker.bind(&component(parts)).unwrap();
    let mut instance = bound.instantiate(ResourceTable::new()).unwrap();
    let new = instance.func::<(&str,), Resource<Thing>>("", "new").unwrap();
    let double = instance.func::<(Resource<Thing>, Resource<Thing>), String>("", "double").unwrap();
    for _ in 0..3 {
        let one = new.call(&mut instance, ("one",)).unwrap();
        let two = new.call(&mut instance, ("two",)).unwrap();
        assert!(one.is_owned());
        let lent = Resource::new_borrow(two.rep());
        assert_eq!(double.call(&mut instance, (one, lent)).unwrap(), "one+two");
        assert_eq!(instance.data().len(), 1);
        instance.data_mut().delete(two).unwrap();
    }
    // Dynamic, as any resource.
    let new = instance.func_dynamic("", "new").unwrap();
    let Some(Val::Resource(thing)) = new.call(&mut instance, &[Val::String("x".into())]).unwrap() else { panic!() };
    let thing = thing.resource::<Thing>().unwrap();
    let kept = instance.func::<(Resource<Thing>,), ()>("", "keep").unwrap();
    let error = kept.call(&mut instance, (Resource::new_borrow(thing.rep()),)).unwrap_err();
    assert_eq!(trap_code(&error), Some(TrapCode::BorrowsRemain));
    // A handle that is lent is not given away, whatever the order.
    let mut instance = bound.instantiate(ResourceTable::new()).unwrap();
    let thing = instance.data_mut().push(Thing("x".into())).unwrap();
    let same = instance.func::<(Resource<Thing>,), Resource<Thing>>("", "same").unwrap();
    let error = same.call(&mut instance, (thing,)).unwrap_err();
    assert_eq!(trap_code(&error), Some(TrapCode::UnknownHandle));
    let mut instance = bound.instantiate(ResourceTable::new()).unwrap();
    let drop = instance.func::<(u32,), ()>("", "drop").unwrap();
    let error = drop.call(&mut instance, (2,)).unwrap_err();
    assert!(error.to_string().starts_with("wasm trap: unknown handle index 2"), "{error}");
    // Without the resource.
    let mut linker = Linker::<ResourceTable>::new();
    linker.func(things, "[constructor]thing", |_, (_,): (String,)| Ok(Resource::<Thing>::new_own(0)));
    let error = linker.bind(&component(parts)).unwrap_err().to_string();
    assert_eq!(error, format!("unknown import: {things:?} \"thing\" is not defined, and a resource is wanted"));
}

#[test]
fn resources_of_guests() {
    let parts = r#"
        (core module $Rep
            (global $dropped (mut i32) (i32.const 0))
            (func (export "dtor") (param i32) (global.set $dropped (i32.add (global.get $dropped) (local.get 0))))
            (func (export "dropped") (result i32) (global.get $dropped)))
        (core instance $rep (instantiate $Rep))
        (type $counter' (resource (rep i32) (dtor (func $rep "dtor"))))
        (core func $new (canon resource.new $counter'))
        (core func $get (canon resource.rep $counter'))
        (core func $drop (canon resource.drop $counter'))
        (core module $M
            (import "r" "new" (func $new (param i32) (result i32)))
            (import "r" "get" (func $get (param i32) (result i32)))
            (import "r" "drop" (func $drop (param i32)))
            (func (export "new") (param i32) (result i32) (call $new (local.get 0)))
            (func (export "value") (param i32) (result i32) (local.get 0))
            (func (export "take") (param i32) (result i32)
                (local $rep i32)
                (local.set $rep (call $get (local.get 0)))
                (call $drop (local.get 0))
                (local.get $rep)))
        (core instance $m (instantiate $M (with "r" (instance
            (export "new" (func $new)) (export "get" (func $get)) (export "drop" (func $drop))))))
        (func $new (param "value" u32) (result (own $counter')) (canon lift (core func $m "new")))
        (func $value (param "self" (borrow $counter')) (result u32) (canon lift (core func $m "value")))
        (func $take (param "a" (own $counter')) (result u32) (canon lift (core func $m "take")))
        (component $Api
            (import "counter" (type $counter (sub resource)))
            (import "new" (func $new (param "value" u32) (result (own $counter))))
            (import "value" (func $value (param "self" (borrow $counter)) (result u32)))
            (import "take" (func $take (param "a" (own $counter)) (result u32)))
            (export $out "counter" (type $counter))
            (export "[constructor]counter" (func $new) (func (param "value" u32) (result (own $out))))
            (export "[method]counter.value" (func $value) (func (param "self" (borrow $out)) (result u32)))
            (export "[static]counter.take" (func $take) (func (param "a" (own $out)) (result u32))))
        (instance $api (instantiate $Api (with "counter" (type $counter')) (with "new" (func $new))
            (with "value" (func $value)) (with "take" (func $take))))
        (export "test:guest/api@0.1.4" (instance $api))
        (func (export "dropped") (result u32) (canon lift (core func $rep "dropped")))"#;
    let mut instance = instance(parts);
    // In another version of the track.
    let api = "test:guest/api@0.1.0";
    let new = instance.func::<(u32,), ResourceAny>(api, "[constructor]counter").unwrap();
    let value = instance.func::<(ResourceAny,), u32>(api, "[method]counter.value").unwrap();
    let take = instance.func::<(ResourceAny,), u32>(api, "[static]counter.take").unwrap();
    let dropped = instance.func::<(), u32>("", "dropped").unwrap();
    let counter = new.call(&mut instance, (5,)).unwrap();
    assert!(counter.is_owned());
    assert_eq!(value.call(&mut instance, (counter,)).unwrap(), 5);
    assert_eq!(value.call(&mut instance, (counter,)).unwrap(), 5);
    assert_eq!(take.call(&mut instance, (counter,)).unwrap(), 5);
    assert_eq!(dropped.call(&mut instance, ()).unwrap(), 5);
    assert!(matches!(take.call(&mut instance, (counter,)), Err(CallError::Mismatch(_))));
    let counter = new.call(&mut instance, (37,)).unwrap();
    counter.drop(&mut instance).unwrap();
    assert_eq!(dropped.call(&mut instance, ()).unwrap(), 42);
    assert!(matches!(counter.drop(&mut instance), Err(CallError::Mismatch(_))));
    let mut other = self::instance(parts);
    let counter = new.call(&mut instance, (1,)).unwrap();
    let value = other.func::<(ResourceAny,), u32>(api, "[method]counter.value").unwrap();
    let error = value.call(&mut other, (counter,)).unwrap_err();
    assert_eq!(error.to_string(), "the resource belongs to another store");
}

#[test]
fn imports_that_are_exported_again() {
    let parts = r#"
        (import "greet" (func $greet (param "name" string) (param "times" u8) (result (tuple string u32))))
        (export "again" (func $greet))"#;
    let mut linker = Linker::<u32>::new();
    linker.func("", "greet", |caller, (name, times): (String, u8)| {
        *caller.data_mut() += 1;
        Ok((name.repeat(times.into()), 7u32))
    });
    let mut instance = linker.bind(&component(parts)).unwrap().instantiate(0).unwrap();
    let greet = instance.func::<(&str, u8), (String, u32)>("", "again").unwrap();
    assert_eq!(greet.call(&mut instance, ("ab", 2)).unwrap(), ("abab".to_owned(), 7));
    let greet = instance.func_dynamic("", "again").unwrap();
    let result = greet.call(&mut instance, &[Val::String("x".into()), Val::U8(3)]).unwrap();
    assert_eq!(result, Some(Val::Tuple(vec![Val::String("xxx".into()), Val::U32(7)])));
    assert_eq!(*instance.data(), 2);
}

#[test]
fn realloc_may_not_call_imports() {
    let parts = r#"
        (import "host" (func $host))
        (core module $M
            (import "" "host" (func $host))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $host) (i32.const 0))
            (func (export "take") (param i32 i32))
            (func (export "post") (call $host))
            (func (export "nothing")))
        (core func $host' (canon lower (func $host)))
        (core instance $m (instantiate $M (with "" (instance (export "host" (func $host'))))))
        (func (export "take") (param "x" string)
            (canon lift (core func $m "take") (memory $m "memory") (realloc (func $m "realloc"))))
        (func (export "post") (canon lift (core func $m "nothing") (post-return (func $m "post"))))"#;
    let mut linker = Linker::<()>::new();
    linker.func("", "host", |_, (): ()| Ok(()));
    let bound = linker.bind(&component(parts)).unwrap();
    let mut instance = bound.instantiate(()).unwrap();
    let take = instance.func::<(&str,), ()>("", "take").unwrap();
    assert_eq!(trap_code(&take.call(&mut instance, ("x",)).unwrap_err()), Some(TrapCode::CannotLeave));
    let mut instance = bound.instantiate(()).unwrap();
    let post = instance.func::<(), ()>("", "post").unwrap();
    assert_eq!(trap_code(&post.call(&mut instance, ()).unwrap_err()), Some(TrapCode::CannotLeave));
}

/// Two components with memories of their own, each with everything that an instance can change.
const TWO_GROUPS: &str = r#"(component
    (component $Part
        (core module $M
            (memory (export "memory") 1 9)
            (table $t 2 funcref)
            (global $n (mut i32) (i32.const 5))
            (data (i32.const 8) "initial")
            (elem declare func $change)
            (func $change (export "change") (param i32 i32) (result i32)
                (global.set $n (i32.add (global.get $n) (local.get 1)))
                (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (local.get 1)))
                (table.set $t (i32.const 1) (ref.func $change))
                (drop (memory.grow (i32.const 1)))
                (i32.store (i32.const 65540) (local.get 1))
                (i32.add (i32.add (global.get $n) (i32.load (i32.const 8))) (memory.size)))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $m (instantiate $M))
        (func (export "change") (param "x" string) (result u32)
            (canon lift (core func $m "change") (memory $m "memory") (realloc (func $m "realloc")))))
    (instance $one (instantiate $Part))
    (instance $two (instantiate $Part))
    (export "one" (instance $one))
    (export "two" (instance $two)))"#;

#[test]
fn each_group_of_instances_is_apart_and_reset() {
    let artifact = common::artifact(TWO_GROUPS);
    let bound = Linker::new().bind(&artifact).unwrap();
    let initial = i32::from_le_bytes(*b"init").cast_unsigned();
    for _ in 0..3 {
        let mut instance = bound.instantiate(()).unwrap();
        let [one, two] = ["one", "two"].map(|name| instance.func::<(&str,), u32>(name, "change").unwrap());
        assert_eq!(one.call(&mut instance, ("xyz",)).unwrap(), 5 + 3 + initial + 3 + 2);
        assert_eq!(one.call(&mut instance, ("xyz",)).unwrap(), 5 + 6 + initial + 6 + 3);
        assert_eq!(two.call(&mut instance, ("x",)).unwrap(), 5 + 1 + initial + 1 + 2);
        drop(instance);
        let (fresh, idle) = artifact.slot_hashes().unwrap();
        assert_eq!(idle, [fresh]);
    }
    // A limit is for each memory.
    let limits = Limits { memory_bytes: Some(1 << 16), ..Limits::default() };
    let limited = bound.clone().limits(limits);
    let mut instance = limited.instantiate(()).unwrap();
    let two = instance.func::<(&str,), u32>("two", "change").unwrap();
    let error = two.call(&mut instance, ("x",)).unwrap_err();
    assert_eq!(trap_code(&error), Some(TrapCode::MemoryOutOfBounds));
    let error = bound.limits(Limits { memory_bytes: Some(1), ..limits }).instantiate(()).unwrap_err();
    assert!(error.to_string().starts_with("memory 0 starts with 65536 bytes"), "{error}");
}

#[test]
fn round_trips_without_a_guest() {
    let value = (1u8, vec![Some("x".to_owned()), None], Ok::<u64, ()>(3));
    let (flat, memory) = round_trip(&value, Default::default()).unwrap();
    assert_eq!((&value, &value), (&flat, &memory));
}
