//! Every access to a memory without bounds checks stays inside it: compared with arithmetic, at the edges and at random,
//! for every width, constant offsets on both sides of what is folded into addresses, and memories up to the largest.

use std::fmt::Write;

use precast_loader::{CallError, Instance, InstantiateError, Linker, SlotError, TrapCode, TypedFunc};
use precast_tests::{Random, artifact, say};

const PAGE: u64 = 64 << 10;

/// Accesses: instruction, its type, and how many bytes it touches.
const LOADS: [(&str, &str, u64); 8] = [
    ("i32.load8_u", "i32", 1),
    ("i32.load16_s", "i32", 2),
    ("i32.load", "i32", 4),
    ("f32.load", "f32", 4),
    ("i64.load", "i64", 8),
    ("v128.load8x8_s", "v128", 8),
    ("v128.load64_splat", "v128", 8),
    ("v128.load", "v128", 16),
];
const STORES: [(&str, &str, u64); 6] = [
    ("i32.store8", "i32", 1),
    ("i32.store16", "i32", 2),
    ("i64.store32", "i64", 4),
    ("f64.store", "f64", 8),
    ("i64.store", "i64", 8),
    ("v128.store", "v128", 16),
];
const OFFSETS: [u64; 9] = [0, 1, 65_535, 65_536, 0x7fff_fff0, 0x7fff_ffff, 0x8000_0000, 0xffff_0000, 0xffff_ffff];

struct Access {
    func: TypedFunc<i32, ()>,
    name: String,
    offset: u64,
    width: u64,
}

fn module(pages: u64) -> String {
    // The index is computed, so that it arrives in a register whose upper half has been used.
    let index = "(i32.wrap_i64 (i64.or (i64.extend_i32_u (local.get 0)) (i64.const 0x7fffffff00000000)))";
    let mut text = format!("(module (memory (export \"memory\") {pages} 65536)\n");
    for offset in OFFSETS {
        for (name, _, _) in LOADS {
            writeln!(
                text,
                "(func (export \"{name} {offset}\") (param i32) (drop ({name} offset={offset} align=1 {index})))"
            )
            .unwrap();
        }
        for (name, ty, _) in STORES {
            let zero = if ty == "v128" { "v128.const i64x2 0 0".into() } else { format!("{ty}.const 0") };
            writeln!(
                text,
                "(func (export \"{name} {offset}\") (param i32) ({name} offset={offset} align=1 {index} ({zero})))"
            )
            .unwrap();
        }
    }
    text.push(')');
    text
}

fn accesses(instance: &Instance<()>) -> Vec<Access> {
    let all = || LOADS.iter().chain(&STORES);
    let each = OFFSETS.iter().flat_map(|offset| all().map(move |(name, _, width)| (*offset, *name, *width)));
    each.map(|(offset, name, width)| {
        let name = format!("{name} {offset}");
        Access { func: instance.func(&name).unwrap(), name, offset, width }
    })
    .collect()
}

fn check(instance: &mut Instance<()>, access: &Access, index: u32, size: u64) {
    let inside = u64::from(index) + access.offset + access.width <= size;
    match access.func.call(instance, index as i32) {
        Ok(()) => assert!(inside, "{} at {index:#x} of {size:#x} bytes", access.name),
        Err(CallError::Trap(trap)) => {
            assert_eq!(trap.code(), TrapCode::MemoryOutOfBounds);
            assert!(!inside, "{} at {index:#x} of {size:#x} bytes", access.name);
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn accesses_stay_inside() {
    let mut random = Random(11);
    for pages in [0, 1, 2, 40_000, 65_536] {
        let bound = Linker::new().bind(&artifact(&module(pages))).unwrap();
        let mut instance = match bound.instantiate(()) {
            Err(InstantiateError::Slot(SlotError::Os { what, source })) => {
                say(format_args!("left out: a memory of {pages} pages: cannot {what}: {source}"));
                continue;
            }
            instance => instance.unwrap(),
        };
        let accesses = accesses(&instance);
        for grow in [0, 1] {
            let memory = instance.memory("memory").unwrap();
            _ = memory.grow(&mut instance, grow);
            let size = memory.size_bytes(&instance);
            assert_eq!(size, ((pages + grow) * PAGE).min(65_536 * PAGE));
            for access in &accesses {
                let edge = size.wrapping_sub(access.offset);
                let near = [0u64, 1, 4, 8, 15, 16, 17].map(|back| edge.wrapping_sub(back) as u32);
                let fixed = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 16, u32::MAX];
                let any = [random.next() as u32, random.next() as u32];
                for index in near.into_iter().chain(fixed).chain(any) {
                    check(&mut instance, access, index, size);
                }
            }
        }
    }
}
