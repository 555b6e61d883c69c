//! Values: typed against dynamic.

use std::collections::{BTreeMap, HashMap};

use precast_abi::component::{Primitive, StringEncoding, TypeKind};
use precast_abi::meta::NONE;

use super::{Rows, builder};
use crate::component::context::{LiftContext, LowerContext};
use crate::component::guest::{Scratch, Signature, round_trip};
use crate::component::resource::Held;
use crate::component::types::FuncType;
use crate::component::val::{self, Val};
use crate::component::value::{FlatReader, FlatWriter, Lift, Lower};

/// Lowers `value` as Rust type and as [`Val`], lifts each as the other, through cells and through memory, in each
/// encoding of strings.
fn agree<V: Lower + Lift + PartialEq + std::fmt::Debug>(ty: &FuncType, value: V, dynamic: Val) {
    let ty = ty.result().unwrap();
    assert!(V::matches(&ty), "{ty}");
    let layout = ty.layout();
    assert_eq!((layout.size, layout.align, layout.flat as usize), (V::SIZE, V::ALIGN, V::FLAT), "{ty}");
    for encoding in [StringEncoding::Utf8, StringEncoding::Utf16, StringEncoding::Latin1OrUtf16] {
        let (flat, memory) = round_trip::<V, V>(&value, encoding).unwrap();
        assert_eq!((&flat, &memory), (&value, &value));
        let mut held = Held::default();
        // SAFETY: `held` outlives the scratch and is not used here.
        let mut scratch = unsafe { Scratch::new(&raw mut held) };
        scratch.set_encoding(encoding);
        let signature = Signature::default();
        let mut guest = scratch.guest();
        let mut cells = [vec![0; V::FLAT], vec![0; V::FLAT]];
        let mut cx = LowerContext::new(&mut guest, &signature);
        val::lower(&dynamic, ty, &mut cx, &mut FlatWriter::new(&mut cells[0])).unwrap();
        value.lower(&mut cx, &mut FlatWriter::new(&mut cells[1])).unwrap();
        let places = [0, 1].map(|_| cx.realloc(V::SIZE, V::ALIGN).unwrap());
        val::store(&dynamic, ty, &mut cx, places[0]).unwrap();
        value.store(&mut cx, places[1]).unwrap();
        let mut cx = LiftContext::new(&guest, &signature);
        assert_eq!(V::lift(&mut cx, &mut FlatReader::new(&cells[0])).unwrap(), value);
        assert_eq!(V::load(&mut cx, places[0]).unwrap(), value);
        assert_eq!(val::lift(ty, &mut cx, &mut FlatReader::new(&cells[1])).unwrap(), dynamic);
        assert_eq!(val::load(ty, &mut cx, places[1]).unwrap(), dynamic);
    }
}

fn of(kind: TypeKind, first: u32, second: u32, members: &[(&str, u32)]) -> FuncType {
    let mut rows = builder();
    let ty = rows.ty(kind, first, second, members);
    rows.func(&[], ty);
    rows.func_type(&[])
}

fn primitive(primitive: Primitive) -> FuncType {
    let mut rows = builder();
    rows.func(&[], primitive as u32);
    rows.func_type(&[])
}

#[test]
fn primitives() {
    agree(&primitive(Primitive::Bool), true, Val::Bool(true));
    agree(&primitive(Primitive::S8), -3i8, Val::S8(-3));
    agree(&primitive(Primitive::U8), 200u8, Val::U8(200));
    agree(&primitive(Primitive::S16), i16::MIN, Val::S16(i16::MIN));
    agree(&primitive(Primitive::U16), u16::MAX, Val::U16(u16::MAX));
    agree(&primitive(Primitive::S32), -70_000i32, Val::S32(-70_000));
    agree(&primitive(Primitive::U32), u32::MAX, Val::U32(u32::MAX));
    agree(&primitive(Primitive::S64), i64::MIN, Val::S64(i64::MIN));
    agree(&primitive(Primitive::U64), u64::MAX, Val::U64(u64::MAX));
    agree(&primitive(Primitive::F32), -0.5f32, Val::F32(-0.5));
    agree(&primitive(Primitive::F64), 1e300f64, Val::F64(1e300));
    agree(&primitive(Primitive::Char), '\u{10ffff}', Val::Char('\u{10ffff}'));
    for text in ["", "plain", "é latin", "日本 and 🦀", "\0"] {
        agree(&primitive(Primitive::String), text.to_owned(), Val::String(text.into()));
    }
}

#[test]
fn compound_values() {
    let (u8, u32, u64, string) = (Primitive::U8 as u32, Primitive::U32 as u32, Primitive::U64 as u32, 12);
    let tuple = of(TypeKind::Tuple, NONE, NONE, &[("", u8), ("", u64), ("", string)]);
    let dynamic = Val::Tuple(vec![Val::U8(7), Val::U64(8), Val::String("nine".into())]);
    agree(&tuple, (7u8, 8u64, "nine".to_owned()), dynamic);
    let option = of(TypeKind::Option, u64, NONE, &[]);
    agree(&option, Some(5u64), Val::Option(Some(Box::new(Val::U64(5)))));
    agree(&option, None::<u64>, Val::Option(None));
    let result = of(TypeKind::Result, u8, string, &[]);
    agree(&result, Ok::<u8, String>(5), Val::Result(Ok(Some(Box::new(Val::U8(5))))));
    agree(&result, Err::<u8, String>("no".into()), Val::Result(Err(Some(Box::new(Val::String("no".into()))))));
    agree(&of(TypeKind::Result, NONE, NONE, &[]), Err::<(), ()>(()), Val::Result(Err(None)));
    agree(&of(TypeKind::Result, u32, NONE, &[]), Ok::<u32, ()>(3), Val::Result(Ok(Some(Box::new(Val::U32(3))))));
    let list = of(TypeKind::List, u32, NONE, &[]);
    let dynamic = Val::List([1, u32::MAX].map(Val::U32).into());
    agree(&list, vec![1u32, u32::MAX], dynamic.clone());
    agree(&list, vec![1u32, u32::MAX].into_boxed_slice(), dynamic.clone());
    agree(&of(TypeKind::FixedList, u32, 2, &[]), [1u32, u32::MAX], dynamic);
    agree(
        &of(TypeKind::List, u8, NONE, &[]),
        b"bytes".to_vec(),
        Val::List(b"bytes".iter().copied().map(Val::U8).collect()),
    );
    let map = of(TypeKind::Map, u8, string, &[]);
    let pair = Val::Map(vec![(Val::U8(1), Val::String("one".into()))]);
    agree(&map, BTreeMap::from([(1u8, "one".to_owned())]), pair.clone());
    agree(&map, HashMap::<u8, String>::from([(1u8, "one".to_owned())]), pair);
}

#[test]
fn nested_values_and_names() {
    let mut rows = builder();
    let string = Primitive::String as u32;
    let kind = rows.ty(TypeKind::Enum, NONE, NONE, &[("file", NONE), ("folder", NONE)]);
    let names: Vec<String> = (0..40).map(|flag| format!("f{flag}")).collect();
    let flags: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), NONE)).collect();
    let flags = rows.ty(TypeKind::Flags, NONE, NONE, &flags);
    let list = rows.ty(TypeKind::List, string, NONE, &[]);
    let variant =
        rows.ty(TypeKind::Variant, NONE, NONE, &[("none", NONE), ("some", list), ("f", Primitive::F32 as u32)]);
    let record = rows.ty(TypeKind::Record, NONE, NONE, &[("kind", kind), ("flags", flags), ("what", variant)]);
    rows.func(&[("x", record), ("y", flags)], record);
    let ty = rows.func_type(&[]);
    let record = |kind: &str, flags: &[&str], what: (&str, Option<Val>)| {
        Val::Record(vec![
            ("kind".into(), Val::Enum(kind.into())),
            ("flags".into(), Val::Flags(flags.iter().map(|flag| (*flag).into()).collect())),
            ("what".into(), Val::Variant(what.0.into(), what.1.map(Box::new))),
        ])
    };
    let mut held = Held::default();
    // SAFETY: `held` outlives the scratch and is not used here.
    let mut scratch = unsafe { Scratch::new(&raw mut held) };
    let signature = Signature::default();
    let mut guest = scratch.guest();
    let result = ty.result().unwrap();
    for value in [
        record("folder", &["f0", "f31", "f32", "f39"], ("some", Some(Val::List(vec![Val::String("x".into())])))),
        record("file", &[], ("f", Some(Val::F32(1.5)))),
        record("file", &["f7"], ("none", None)),
    ] {
        let mut cells = [0; 8];
        let mut cx = LowerContext::new(&mut guest, &signature);
        let mut flat = FlatWriter::new(&mut cells);
        val::lower(&value, result, &mut cx, &mut flat).unwrap();
        assert_eq!(flat.len(), 6);
        let offset = cx.realloc(result.layout().size, result.layout().align).unwrap();
        val::store(&value, result, &mut cx, offset).unwrap();
        let mut cx = LiftContext::new(&guest, &signature);
        assert_eq!(val::lift(result, &mut cx, &mut FlatReader::new(&cells)).unwrap(), value);
        assert_eq!(val::load(result, &mut cx, offset).unwrap(), value);
    }
    let mut cx = LowerContext::new(&mut guest, &signature);
    for (wrong, message) in [
        (record("other", &[], ("none", None)), "there is no case called \"other\""),
        (record("file", &["f40"], ("none", None)), "there is no flag called \"f40\""),
        (record("file", &[], ("f", None)), "the case has no payload, and f32 is wanted"),
        (record("file", &[], ("f", Some(Val::U8(1)))), "the value is u8, and f32 is wanted"),
        (Val::Tuple(vec![]), "the value is a tuple, and record"),
    ] {
        let error = val::lower(&wrong, result, &mut cx, &mut FlatWriter::new(&mut [0; 8])).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    let text = ty.to_string();
    assert!(text.starts_with("func(x: record { kind: enum { file, folder }, flags: flags { f0, f1, "), "{text}");
    assert!(text.ends_with("what: variant { none, some(list<string>), f(f32) } }"), "{text}");
}

#[test]
fn types_that_do_not_match() {
    let list = of(TypeKind::List, Primitive::U8 as u32, NONE, &[]);
    let ty = list.result().unwrap();
    use crate::component::ComponentType;
    assert!(Vec::<u8>::matches(&ty) && <&[u8]>::matches(&ty) && Box::<Vec<u8>>::matches(&ty));
    assert!(!Vec::<i8>::matches(&ty) && !String::matches(&ty) && !<[u8; 2]>::matches(&ty) && !<()>::matches(&ty));
    assert_eq!(<Result<(), Option<(u8, char)>>>::wit(), "result<_, option<tuple<u8, char>>>");
}

#[test]
fn a_type_of_endless_text_is_cut() {
    let mut rows = builder();
    let mut ty = Primitive::String as u32;
    for _ in 0..99 {
        let list = rows.ty(TypeKind::List, ty, NONE, &[]);
        ty = if rows.component_types.len() < 98 {
            rows.ty(TypeKind::Tuple, NONE, NONE, &[("", list), ("", list)])
        } else {
            list
        };
        if rows.component_types.len() > 96 {
            break;
        }
    }
    rows.func(&[("x", ty)], NONE);
    let text = rows.func_type(&[]).to_string();
    assert!(text.len() < 5000 && text.ends_with('…'), "{text}");
}
