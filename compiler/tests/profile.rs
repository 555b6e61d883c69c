//! Artifacts that are laid out by a profile: what comes first, what is said of it, and what does not fit.

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol};
use precast_abi::meta::{Meta, ProfileRow};
use precast_abi::section;
use precast_compiler::{Error, MemoryModel, Options, Profile, compile};
use precast_targets::Arch;

const GUEST: &str = r#"(module $guest
    (import "host" "f" (func $f))
    (memory 2 4) (data (i32.const 70000) "text")
    (func $a (export "a") (call $b) (call $f))
    (func $b (call $c))
    (func $c (call $d))
    (func $d (memory.fill (i32.const 0) (i32.const 0) (i32.const 100)))
    (export "f" (func $f)))"#;

const SOURCE: &str = "precast profile 1\nsource ";

/// A profile with these lines, recorded with another version of the program.
fn profile(lines: &str) -> Profile {
    Profile::parse(&format!("{SOURCE}{}\n{lines}", "00".repeat(32))).expect("a profile")
}

fn options(arch: Arch, profile: Option<Profile>) -> Options<'static> {
    Options { arch, features: arch.levels()[0].features, profile, ..Options::default() }
}

fn build(arch: Arch, lines: &str) -> Vec<u8> {
    compile(GUEST.as_bytes(), &options(arch, Some(profile(lines)))).expect("compiles")
}

/// The names in the symbol table, by address.
fn symbols(file: &[u8]) -> Vec<String> {
    let elf = ElfFile64::<LittleEndian>::parse(file).expect("ELF");
    let mut symbols: Vec<_> =
        elf.symbols().map(|symbol| (symbol.address(), symbol.name().unwrap().to_owned())).collect();
    symbols.sort();
    symbols.into_iter().map(|(_, name)| name).collect()
}

fn with_meta<R>(file: &[u8], f: impl FnOnce(Meta<'_>) -> R) -> R {
    let elf = ElfFile64::<LittleEndian>::parse(file).expect("ELF");
    let section = elf.section_by_name(section::META).expect("there").data().expect("data");
    f(Meta::parse(section).expect("meta tables"))
}

fn row(file: &[u8]) -> ProfileRow {
    with_meta(file, |meta| meta.profile.get(0).expect("laid out by a profile"))
}

#[test]
fn what_is_named_comes_first_and_the_rest_stays_in_its_order() {
    for arch in Arch::ALL {
        let plain = compile(GUEST.as_bytes(), &options(arch, None)).expect("compiles");
        let file = build(arch, "wasm d\nhost precast.host.host.f\nhelper precast.memory_fill\nwasm b\n");
        let (order, others) = (symbols(&file), symbols(&plain));
        let first = ["d", "precast.host.host.f", "precast.memory_fill", "b"];
        assert_eq!(order[..4], first, "{order:?}");
        let rest: Vec<_> = others.into_iter().filter(|name| !first.contains(&name.as_str())).collect();
        assert_eq!(order[4..], rest);
        with_meta(&plain, |meta| assert!(meta.profile.is_empty() && meta.numbers.is_empty() && meta.hot.is_empty()));
        with_meta(&file, |meta| {
            let row = meta.profile.get(0).unwrap();
            let last = meta.functions.get(3).unwrap();
            assert_eq!(row.text_len, last.start + last.len);
            assert_eq!((row.same_source, row.functions, row.functions_found), (0, 4, 4));
            // Each number is there once, and leads to the function that the plain artifact has in that row.
            let mut numbers: Vec<_> = meta.numbers.iter().map(|row| row.number).collect();
            assert_eq!(numbers.len(), meta.functions.len());
            with_meta(&plain, |plain| {
                for (at, function) in meta.functions.iter().enumerate() {
                    let other = plain.functions.get(meta.function_number(at as u32) as usize).unwrap();
                    assert_eq!((function.kind, function.index), (other.kind, other.index));
                    assert_eq!(meta.str(function.name), plain.str(other.name));
                }
            });
            numbers.sort_unstable();
            assert!(numbers.iter().enumerate().all(|(at, number)| at as u32 == *number));
        });
    }
}

#[test]
fn the_same_profile_gives_the_same_bytes() {
    for arch in Arch::ALL {
        let lines = "wasm c\nwasm a\nstack 0 2\n";
        let file = build(arch, lines);
        assert!(file == build(arch, "# a comment\n\nwasm c\n\nstack 0 2\nwasm a\n"));
        assert!(file == build(arch, lines));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(file == pool.install(|| build(arch, lines)));
        let other = build(arch, "wasm a\nwasm c\nstack 0 2\n");
        assert!(file != other);
        assert_ne!(row(&file).digest, row(&other).digest);
    }
}

#[test]
fn an_old_profile_is_used_as_far_as_it_goes() {
    let file = build(Arch::X86_64, "wasm gone\nwasm c\nwasm+1 c\nwasm c\nentry precast.entry.99\nwasm a\n");
    assert_eq!(symbols(&file)[..2], ["c", "a"]);
    let row = row(&file);
    assert_eq!((row.functions, row.functions_found, row.same_source), (6, 2, 0));
    let empty = build(Arch::X86_64, "");
    let plain = compile(GUEST.as_bytes(), &options(Arch::X86_64, None)).expect("compiles");
    assert_eq!(symbols(&empty), symbols(&plain));
    // The one that was recorded with this program says so.
    let source = with_meta(&plain, |meta| meta.header.source);
    assert_eq!(source, *blake3::hash(&wat::parse_str(GUEST).unwrap()).as_bytes());
    let own = Profile { source, ..profile("wasm a\n") };
    let file = compile(GUEST.as_bytes(), &options(Arch::X86_64, Some(own))).expect("compiles");
    assert_eq!(self::row(&file).same_source, 1);
}

#[test]
fn the_profile_of_another_program_is_refused() {
    let foreign = profile("entry precast.entry.1\nwasm none\nwasm of_these\n");
    let error = compile(GUEST.as_bytes(), &options(Arch::X86_64, Some(foreign))).unwrap_err();
    assert!(matches!(error, Error::Profile(_)), "{error}");
    // One without functions of WebAssembly may be anybody's.
    build(Arch::X86_64, "entry precast.entry.1\nstack 0 1\n");
}

#[test]
fn pages_are_where_the_parts_are() {
    let lines = "stack 0 2\nstack 100000 5\nblock 0 0 1\nblock 7 0 1\n\
                 memory 0 3 2\nmemory 0 5 1\nmemory 0 31 9\nmemory 3 0 1\n";
    for arch in Arch::ALL {
        let file = build(arch, lines);
        with_meta(&file, |meta| {
            let layout = meta.header.layout;
            let memory = meta.memories.get(0).unwrap().slot_offset;
            let ranges: Vec<_> = meta.hot.iter().map(|row| row.slot_offset..row.slot_offset + row.len).collect();
            let at = |page: u64| memory + page * 4096;
            // Block and memory lie beside each other, and so do the stack and the block if that is one page long.
            let stack_and_block =
                [layout.block_start - 8192..layout.block_start, layout.base_offset - 4096..layout.base_offset];
            assert!(
                stack_and_block.iter().all(|part| ranges.iter().any(|r| r.start <= part.start && part.end <= r.end))
            );
            assert_eq!(ranges[ranges.len() - 2..], [at(3)..at(6), at(31)..at(32)]);
            let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            assert_eq!(bytes / 4096, 2 + 1 + 3 + 1);
            let row = meta.profile.get(0).unwrap();
            assert_eq!((row.pages, row.pages_found), (2 + 5 + 1 + 1 + 2 + 1 + 9 + 1, 2 + 1 + 2 + 1 + 1));
        });
    }
    // A checked memory is accessible as far as it has room.
    let checked = Options {
        memory_model: MemoryModel::Checked { reservation: 1 << 20 },
        ..options(Arch::X86_64, Some(profile("memory 0 31 9\n")))
    };
    let file = compile(GUEST.as_bytes(), &checked).expect("compiles");
    assert_eq!(row(&file).pages_found, 9);
}
