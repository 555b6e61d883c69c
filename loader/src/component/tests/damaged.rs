//! Tables that no compiler writes.

use precast_abi::component::{ComponentInstanceRow, ComponentTypeRow, FIRST_TYPE_ROW, Primitive, TypeKind};
use precast_abi::meta::{GroupRow, Meta, MetaBuilder, NONE};

use super::{Rows, builder};
use crate::component::plan::ComponentPlan;
use crate::component::types::Types;
use crate::plan::{Malformed, Plan};

fn types(edit: impl FnOnce(&mut MetaBuilder)) -> Result<Types, Malformed> {
    let mut rows = builder();
    edit(&mut rows);
    Types::new(&Meta::parse(&rows.encode()).unwrap())
}

#[test]
fn rows_refer_to_earlier_rows() {
    let u8 = Primitive::U8 as u32;
    for (kind, first, second) in [
        (TypeKind::List, FIRST_TYPE_ROW, NONE),
        (TypeKind::List, NONE, NONE),
        (TypeKind::List, 13, NONE),
        (TypeKind::Option, FIRST_TYPE_ROW + 1, NONE),
        (TypeKind::FixedList, u8, 0),
        (TypeKind::FixedList, Primitive::U64 as u32, 1 << 30),
        (TypeKind::Result, 99, NONE),
        (TypeKind::Own, 0, NONE),
        (TypeKind::Map, u8, NONE),
        (TypeKind::Record, NONE, NONE),
        (TypeKind::Variant, NONE, NONE),
        (TypeKind::Flags, NONE, NONE),
    ] {
        let result = types(|rows| {
            rows.ty(kind, first, second, &[]);
        });
        assert!(result.is_err(), "{kind:?} {first} {second}");
    }
    for (kind, member) in
        [(TypeKind::Record, NONE), (TypeKind::Record, FIRST_TYPE_ROW), (TypeKind::Enum, u8), (TypeKind::Flags, u8)]
    {
        let result = types(|rows| {
            rows.ty(kind, NONE, NONE, &[("x", member)]);
        });
        assert!(result.is_err(), "{kind:?} {member}");
    }
    let kind = |kind| {
        types(|rows| {
            let members = rows.members(&[("x", u8)]);
            rows.component_types.push(ComponentTypeRow { kind, first: u8, second: u8, members });
        })
    };
    assert!(kind(0).is_ok() && kind(12).is_err());
    assert!(types(|rows| _ = rows.func(&[("x", FIRST_TYPE_ROW)], NONE)).is_err());
    assert!(types(|rows| _ = rows.func(&[("x", NONE)], NONE)).is_err());
    assert!(types(|rows| _ = rows.func(&[], 77)).is_err());
}

#[test]
fn types_do_not_explode() {
    // Each row twice as large as the one before.
    let doubling = |count: u32, kind: TypeKind| {
        types(|rows| {
            let mut ty = Primitive::U64 as u32;
            for _ in 0..count {
                ty = match kind {
                    TypeKind::Tuple => rows.ty(kind, NONE, NONE, &[("", ty), ("", ty)]),
                    kind => rows.ty(kind, ty, NONE, &[]),
                };
            }
            rows.func(&[("x", ty)], ty);
        })
    };
    assert!(doubling(20, TypeKind::Tuple).is_ok() && doubling(40, TypeKind::Tuple).is_err());
    assert!(doubling(100, TypeKind::List).is_ok() && doubling(101, TypeKind::List).is_err());
    assert!(doubling(101, TypeKind::Option).is_err());
}

fn plan(edit: impl FnOnce(&mut MetaBuilder)) -> Result<ComponentPlan, Malformed> {
    let mut rows = builder();
    edit(&mut rows);
    let bytes = rows.encode();
    let meta = Meta::parse(&bytes).unwrap();
    ComponentPlan::new(&meta, &Plan::new(&meta)?, &meta.obtained.iter().collect::<Vec<_>>())
}

#[test]
fn instances_lie_in_a_block() {
    let row = |parent: u32, handle_capacity: u32, state: i64, handles: i64| ComponentInstanceRow {
        parent,
        handle_capacity,
        state,
        handles,
    };
    let one =
        |state, handles, capacity| plan(|rows| rows.component_instances.push(row(NONE, capacity, state, handles)));
    assert!(one(-16, -4096, 254).is_ok() && one(-16, 0, 0).is_ok());
    for (state, handles, capacity) in
        [(0, -4096, 1), (-8, -4096, 1), (-18, -4096, 1), (-16, -4096, 257), (-4112, -4096, 1), (i64::MIN, 0, 0)]
    {
        assert!(one(state, handles, capacity).is_err(), "{state} {handles} {capacity}");
    }
    let parents = |parents: &[u32]| {
        plan(|rows| rows.component_instances.extend(parents.iter().map(|parent| row(*parent, 0, -16, 0))))
    };
    assert!(parents(&[NONE, 0, 1, 0]).is_ok());
    assert!(parents(&[0]).is_err() && parents(&[NONE, 1]).is_err() && parents(&[NONE, NONE]).is_err());
}

#[test]
fn blocks_of_several_groups() {
    let (first, end) = ((1u64 << 20) - 1024, (1u64 << 20) + 4096);
    let instance = |state| ComponentInstanceRow { parent: NONE, handle_capacity: 0, state, handles: 0 };
    let with = |groups: &[(u64, u64)], state: i64| {
        plan(|rows| {
            rows.groups.extend(groups.iter().map(|group| GroupRow { block_start: group.0, base_offset: group.1 }));
            rows.component_instances.push(instance(state));
        })
    };
    let second = (1 << 22, (1 << 22) + 8192);
    let offset = (1 << 22) - end as i64;
    assert!(with(&[(first, end), second], -16).is_ok());
    assert!(with(&[(first, end), second], offset).is_ok());
    assert!(with(&[(first, end), second], offset + 8192 - 16).is_ok());
    assert!(with(&[(first, end)], offset).is_err());
    assert!(with(&[(first, end), second], offset - 16).is_err());
    assert!(with(&[(first, end), second], offset + 8192 - 8).is_err());
    for groups in [
        [(first, end), (first, end)],
        [(first, end + 8), second],
        [second, (first, end)],
        [(first, end), (1 << 23, 1 << 25)],
        [(first, end), (1 << 22, 1 << 21)],
        [(first, end), ((1 << 22) + 1, 1 << 23)],
    ] {
        assert!(with(&groups, -16).is_err(), "{groups:?}");
    }
}
