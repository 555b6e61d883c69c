//! Metered code looks at its fuel at the same operators for every target and at every level of optimisation.

use std::collections::BTreeSet;

use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, elf};
use precast_abi::PT_PRECAST_META;
use precast_abi::meta::{FunctionKind, Meta};
use precast_abi::sites;
use precast_abi::trap::TrapCode;
use precast_compiler::{OptLevel, Options, compile};
use precast_targets::Arch;

/// Loops, calls of all kinds, what moves bytes, and functions without any.
const MODULE: &str = r#"(module
    (import "host" "f" (func $f (param i32) (result i32)))
    (memory 1) (table 3 funcref) (data $d "data")
    (func $leaf (param i32) (result i32) (if (result i32) (local.get 0) (then (i32.const 1)) (else (local.get 0))))
    (func (export "loops") (param i32) (local i64)
        (loop (loop (br_if 1 (i32.rem_u (local.get 0) (i32.const 3))) (br_if 0 (local.tee 0 (i32.div_u (local.get 0) (i32.const 2)))))
            (loop (drop (i32.load (local.get 0))))))
    (func (export "calls") (param i32) (result i32)
        (drop (call $f (i32.const 1))) (drop (call $leaf (i32.const 1)))
        (drop (call_indirect (param i32) (result i32) (i32.const 1) (local.get 0)))
        (return_call $leaf (i32.const 7)))
    (func (export "bulk") (param i32)
        (memory.fill (i32.const 0) (i32.const 1) (local.get 0)) (memory.copy (i32.const 0) (i32.const 1) (i32.const 9))
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 2)) (drop (table.grow (ref.null func) (local.get 0)))
        (table.fill (i32.const 0) (ref.null func) (local.get 0))))"#;

/// How many operators of each function trap for want of fuel: in the leaf the `if`, the `else` and the `end`.
const LOOKS: [(u32, usize); 4] = [(1, 3), (2, 4), (3, 4), (4, 5)];

/// Function index and offset in the module of each operator that traps for want of fuel.
fn looks(options: &Options<'_>) -> BTreeSet<(u32, u32)> {
    let file = compile(MODULE.as_bytes(), options).unwrap();
    let header = FileHeader64::<LittleEndian>::parse(&file[..]).unwrap();
    assert_eq!(header.e_type(LittleEndian), elf::ET_DYN);
    let segments = header.program_headers(LittleEndian, &file[..]).unwrap();
    let segment = segments.iter().find(|segment| segment.p_type(LittleEndian) == PT_PRECAST_META).unwrap();
    let meta = Meta::parse(segment.data(LittleEndian, &file[..]).unwrap()).unwrap();
    assert_eq!(meta.header.metering, options.fuel.into());
    let functions = meta.functions.iter().filter(|row| row.kind == FunctionKind::Wasm as u32);
    let out_of_fuel = |site: &sites::Site| site.code == TrapCode::OutOfFuel as u8;
    functions
        .flat_map(|row| {
            let sites: Vec<_> = sites::decode(meta.bytes(row.sites).unwrap()).filter(out_of_fuel).collect();
            sites.into_iter().map(move |site| (row.index, site.wasm_offset))
        })
        .collect()
}

#[test]
fn fuel_is_looked_at_where_the_module_says() {
    let first = looks(&Options { fuel: true, ..Options::default() });
    for (function, count) in LOOKS {
        assert_eq!(
            first.iter().filter(|(index, _)| *index == function).count(),
            count,
            "function {function}: {first:x?}"
        );
    }
    for arch in Arch::ALL {
        for opt_level in [OptLevel::None, OptLevel::Speed, OptLevel::SpeedAndSize] {
            for level in arch.levels() {
                let options = Options { fuel: true, arch, features: level.features, opt_level, ..Options::default() };
                assert_eq!(looks(&options), first, "{} {opt_level:?} {}", arch.triple(), level.name);
            }
        }
    }
    assert!(looks(&Options::default()).is_empty());
}
