//! Calls from the host into the guest, typed and dynamic, and what can come of them.

mod common;

use common::{bind, instance};
use precast_loader::{CallError, ExportError, Extern, ExternRef, Func, TrapCode, Val};

#[test]
fn typed_calls() {
    let mut instance = instance(
        r#"(module
            (func (export "nothing"))
            (func (export "add") (param i32 i64) (result f64)
                (f64.convert_i64_s (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1))))
            (func (export "swap") (param i32 f32) (result f32 i32) (local.get 1) (local.get 0))
            (func (export "vector") (param v128 i32) (result v128)
                (i32x4.replace_lane 1 (local.get 0) (local.get 1))))"#,
    );
    let nothing = instance.func::<(), ()>("nothing").unwrap();
    nothing.call(&mut instance, ()).unwrap();
    let add = instance.func::<(i32, i64), f64>("add").unwrap();
    assert_eq!(add.call(&mut instance, (-1, 1 << 40)).unwrap(), ((1u64 << 40) - 1) as f64);
    let swap = instance.func::<(u32, f32), (f32, u32)>("swap").unwrap();
    assert_eq!(swap.call(&mut instance, (7, 0.5)).unwrap(), (0.5, 7));
    let vector = instance.func::<(u128, i32), u128>("vector").unwrap();
    assert_eq!(vector.call(&mut instance, (u128::MAX, 0)).unwrap(), !(0xffff_ffff << 32));
}

#[test]
fn many_parameters_and_results() {
    let mut instance = instance(
        r#"(module
            (func (export "rotate") (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 v128 v128)
                (result i64 f32 f64 i32 i64 f32 f64 i32 i64 v128 v128 i32)
                local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6 local.get 7 local.get 8
                local.get 9 local.get 10 local.get 11 local.get 0))"#,
    );
    let rotate = instance.func_dynamic("rotate").unwrap();
    let mut values = vec![
        Val::I32(1),
        Val::I64(2),
        Val::from(3f32),
        Val::from(4f64),
        Val::I32(5),
        Val::I64(6),
        Val::from(7f32),
        Val::from(8f64),
        Val::I32(9),
        Val::I64(10),
        Val::V128(11),
        Val::V128(12 << 64),
    ];
    let results = rotate.call(&mut instance, &values).unwrap();
    values.rotate_left(1);
    assert_eq!(results, values);
}

#[test]
fn exports_are_found_by_name_kind_and_type() {
    let instance = instance(
        r#"(module (func (export "f") (param i32)) (memory (export "m") 1) (global (export "g") i32 (i32.const 1))
            (table (export "t") 1 funcref))"#,
    );
    assert!(matches!(instance.func::<i32, ()>("x"), Err(ExportError::Missing { name }) if name == "x"));
    let kind = instance.func::<i32, ()>("m").unwrap_err();
    assert_eq!(kind.to_string(), r#"export "m" is a memory, and a func is wanted"#);
    let ty = instance.func::<i64, ()>("f").unwrap_err();
    assert_eq!(ty.to_string(), r#"function "f" is (i32) -> (), and (i64) -> () is wanted"#);
    let names = instance.exports(instance.id()).map(|(name, item)| (name, item.kind())).collect::<Vec<_>>();
    assert_eq!(names, [("f", "func"), ("g", "global"), ("m", "memory"), ("t", "table")]);
    assert!(instance.memory("m").is_ok() && instance.table("t").is_ok() && instance.global("g").is_ok());
    assert!(instance.global("m").is_err() && instance.memory("g").is_err() && instance.table("f").is_err());
}

#[test]
fn dynamic_calls_check_their_arguments() {
    let mut one = instance(r#"(module (func (export "f") (param i32)))"#);
    let mut two = instance(r#"(module (func (export "f") (param i32)))"#);
    let func = one.func_dynamic("f").unwrap();
    assert_eq!(func.call(&mut one, &[Val::I32(1)]).unwrap(), []);
    for params in [&[][..], &[Val::I64(1)], &[Val::I32(1), Val::I32(1)]] {
        assert!(matches!(func.call(&mut one, params), Err(CallError::Mismatch(_))));
    }
    assert!(matches!(func.call(&mut two, &[Val::I32(1)]), Err(CallError::Mismatch(_))));
    let typed = one.func::<i32, ()>("f").unwrap();
    assert!(matches!(typed.call(&mut two, 1), Err(CallError::Mismatch(_))));
    assert!(matches!(func.typed::<i32, ()>(&two), Err(ExportError::Store)));
}

#[test]
#[should_panic(expected = "the handle belongs to another store")]
fn accessors_of_another_store_panic() {
    let one = instance(r#"(module (memory (export "m") 1))"#);
    let two = instance(r#"(module (memory (export "m") 1))"#);
    one.memory("m").unwrap().size_bytes(&two);
}

#[test]
fn traps_come_with_a_backtrace_and_leave_the_instance_usable() {
    let mut instance = instance(
        r#"(module
            (func $inner (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
            (func $outer (export "run") (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
            (func $deep (export "deep") (param i32) (result i32)
                (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1))))"#,
    );
    let run = instance.func::<i32, i32>("run").unwrap();
    let deep = instance.func::<i32, i32>("deep").unwrap();
    for _ in 0..3 {
        let CallError::Trap(trap) = run.call(&mut instance, 0).unwrap_err() else { panic!("no trap") };
        assert_eq!(trap.code(), TrapCode::IntegerDivisionByZero);
        let names = trap.frames().iter().map(|frame| frame.function_name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["inner", "outer"]);
        assert_eq!(run.call(&mut instance, 1).unwrap(), 2);
        let CallError::Trap(trap) = deep.call(&mut instance, 0).unwrap_err() else { panic!("no trap") };
        assert_eq!(trap.code(), TrapCode::StackOverflow);
    }
}

#[test]
fn memories_are_read_written_and_grown() {
    let mut instance = instance(
        r#"(module (memory (export "m") 1 3) (data (i32.const 65533) "abc")
            (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0))))"#,
    );
    let memory = instance.memory("m").unwrap();
    let get = instance.func::<u32, u32>("get").unwrap();
    assert_eq!(memory.read_vec(&instance, 65533, 3).unwrap(), b"abc");
    assert_eq!(memory.read_vec(&instance, 65536, 0).unwrap(), b"");
    let error = memory.read_vec(&instance, 65533, 4).unwrap_err();
    assert_eq!((error.offset, error.len, error.size), (65533, 4, 65536));
    assert!(memory.read(&instance, u64::MAX, &mut [0]).is_err());
    assert!(memory.write(&mut instance, 65536, &[0]).is_err());
    assert!(memory.fill(&mut instance, 1, 0, u64::MAX).is_err());
    memory.write_u32(&mut instance, 8, 0x0403_0201).unwrap();
    assert_eq!(memory.read_u16(&instance, 9).unwrap(), 0x0302);
    assert_eq!(get.call(&mut instance, 10).unwrap(), 3);
    assert_eq!(memory.grow(&mut instance, 1).unwrap(), 1);
    assert_eq!((memory.size_pages(&instance), memory.size_bytes(&instance)), (2, 131_072));
    memory.fill(&mut instance, 131_070, 9, 2).unwrap();
    assert_eq!(get.call(&mut instance, 131_071).unwrap(), 9);
    assert!(get.call(&mut instance, 131_072).is_err());
    assert_eq!(memory.grow(&mut instance, 2).unwrap_err().to_string(), "cannot grow by 2 from 2");
    assert_eq!(memory.grow(&mut instance, 1).unwrap(), 2);
    assert_eq!(memory.ty(&instance).min, 3);
    assert!(memory.grow(&mut instance, u64::MAX).is_err());
}

#[test]
fn globals_and_tables_are_read_and_written() {
    let mut instance = instance(
        r#"(module
            (global (export "v") (mut v128) (v128.const i64x2 1 2))
            (global (export "c") i32 (i32.const 5))
            (global (export "e") (mut externref) (ref.null extern))
            (func $f (export "f") (result i32) (i32.const 42))
            (table $t (export "t") 2 4 funcref) (elem (i32.const 1) $f)
            (func (export "call") (param i32) (result i32) (call_indirect $t (result i32) (local.get 0))))"#,
    );
    let global = instance.global("v").unwrap();
    assert_eq!(global.get(&instance), Val::V128(2 << 64 | 1));
    global.set(&mut instance, Val::V128(7 << 64)).unwrap();
    assert_eq!(global.get(&instance), Val::V128(7 << 64));
    assert!(global.set(&mut instance, Val::I32(7)).is_err());
    assert!(instance.global("c").unwrap().set(&mut instance, Val::I32(7)).is_err());
    let reference = ExternRef::new("hello");
    let global = instance.global("e").unwrap();
    assert_eq!(global.get(&instance), Val::ExternRef(None));
    global.set(&mut instance, reference.clone().into()).unwrap();
    assert_eq!(global.get(&instance), Val::ExternRef(Some(reference)));

    let table = instance.table("t").unwrap();
    let func = instance.func_dynamic("f").unwrap();
    assert_eq!(table.get(&instance, 0), Some(Val::FuncRef(None)));
    assert_eq!(table.get(&instance, 1), Some(Val::FuncRef(Some(func))));
    assert_eq!(table.get(&instance, 2), None);
    let call = instance.func::<u32, i32>("call").unwrap();
    assert_eq!(call.call(&mut instance, 0).unwrap_err().trap().unwrap().code(), TrapCode::UninitializedElement);
    assert_eq!(call.call(&mut instance, 2).unwrap_err().trap().unwrap().code(), TrapCode::UndefinedElement);
    table.set(&mut instance, 0, func.into()).unwrap();
    assert_eq!(call.call(&mut instance, 0).unwrap(), 42);
    assert!(table.set(&mut instance, 2, func.into()).is_err());
    assert!(table.set(&mut instance, 0, Val::I32(0)).is_err());
    assert_eq!(table.grow(&mut instance, 2, func.into()).unwrap(), 2);
    assert_eq!(call.call(&mut instance, 3).unwrap(), 42);
    assert!(table.grow(&mut instance, 1, func.into()).is_err());
    assert_eq!(table.size(&instance), 4);
}

#[test]
fn references_pass_through_calls() {
    let mut instance = instance(
        r#"(module
            (func $f (export "f") (result i32) (i32.const 42)) (elem declare func $f)
            (func (export "get") (result funcref) (ref.func $f))
            (func (export "same") (param funcref externref) (result externref funcref) (local.get 1) (local.get 0))
            (func (export "null") (param externref) (result i32) (ref.is_null (local.get 0))))"#,
    );
    let get = instance.func::<(), Option<Func>>("get").unwrap();
    let f = get.call(&mut instance, ()).unwrap().unwrap();
    assert_eq!(Some(Extern::Func(f)), instance.export("f"));
    assert_eq!(f.call(&mut instance, &[]).unwrap(), [Val::I32(42)]);
    let reference = ExternRef::new(5u8);
    let same = instance.func::<(Option<Func>, Option<ExternRef>), (Option<ExternRef>, Option<Func>)>("same").unwrap();
    assert_eq!(same.call(&mut instance, (Some(f), Some(reference.clone()))).unwrap(), (Some(reference), Some(f)));
    assert_eq!(same.call(&mut instance, (None, None)).unwrap(), (None, None));
    let null = instance.func::<Option<ExternRef>, i32>("null").unwrap();
    assert_eq!(null.call(&mut instance, None).unwrap(), 1);
    assert_eq!(null.call(&mut instance, Some(ExternRef::new(()))).unwrap(), 0);
}

#[test]
fn instances_move_between_threads() {
    let bound = bind::<Vec<i32>>(
        r#"(module (import "h" "push" (func $push (param i32)))
            (func (export "run") (param i32) (call $push (local.get 0))
            (if (i32.eqz (local.get 0)) (then (unreachable)))))"#,
        |linker| {
            linker.func("h", "push", |caller: &mut precast_loader::Caller<'_, Vec<i32>>, x: i32| {
                caller.data_mut().push(x);
            });
        },
    );
    let mut instance = bound.instantiate(vec![]).unwrap();
    let run = instance.func::<i32, ()>("run").unwrap();
    run.call(&mut instance, 1).unwrap();
    let mut instance = std::thread::spawn(move || {
        run.call(&mut instance, 2).unwrap();
        assert!(run.call(&mut instance, 0).is_err());
        instance
    })
    .join()
    .unwrap();
    run.call(&mut instance, 3).unwrap();
    assert_eq!(instance.into_data(), [1, 2, 0, 3]);

    let threads = (0..4).map(|thread| {
        let bound = bound.clone();
        std::thread::spawn(move || {
            for round in 1..100 {
                let mut instance = bound.instantiate(vec![thread]).unwrap();
                instance.func::<i32, ()>("run").unwrap().call(&mut instance, round).unwrap();
                assert_eq!(instance.data(), &[thread, round]);
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}
