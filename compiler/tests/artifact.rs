//! What other people's tools see in an artifact: `readelf`, `ld`, `dlopen` and an ELF reader that is not ours.
//!
//! The binutils have to be installed: a test that needs one fails without it.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol};
use precast_abi::meta::{DIGEST_OFFSET, FunctionKind, Meta};
use precast_abi::{PT_PRECAST_META, section, symbol};
use precast_compiler::{Emit, Options, compile};
use precast_targets::Arch;

const ENDIAN: LittleEndian = LittleEndian;

/// Imports and exports of every kind, segments that are kept, a start function, calls and traps.
const RICH: &str = r#"
    (module $rich
        (import "env" "log" (func $log (param i32)))
        (import "env" "global" (global $imported i32))
        (memory (export "memory") 1 4)
        (table (export "table") 4 funcref)
        (global $sp (export "sp") (mut i32) (i32.const 65536))
        (global $copy i32 (global.get $imported))
        (elem (i32.const 0) $add $twice $log)
        (elem $passive func $add $twice)
        (data (i32.const 100) "hello")
        (data $kept "kept for run time")
        (func $add (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func $twice (export "twice@1.0#x") (param i32) (result i32) (call $add (local.get 0) (local.get 0)))
        (func $init (memory.init $kept (i32.const 0) (i32.const 0) (i32.const 4)) (call $log (i32.const 1)))
        (func (export "nul\00name") (param i32) (result i32)
            (call_indirect (param i32) (result i32) (local.get 0) (i32.load (local.get 0))))
        (export "log again" (func $log))
        (start $init))
"#;

/// As many exports as hash tables need for more than one bucket to be interesting.
fn many_exports() -> String {
    let functions =
        (0..500).map(|index| format!("(func (export \"export {index}\") (result i32) (i32.const {index}))"));
    format!("(module {})", functions.collect::<String>())
}

fn modules() -> [(&'static str, String); 3] {
    [("empty", "(module)".into()), ("rich", RICH.into()), ("many", many_exports())]
}

fn build(wat: &str, arch: Arch, emit: Emit) -> Vec<u8> {
    let options = Options { arch, features: arch.levels()[0].features, emit, ..Options::default() };
    compile(wat.as_bytes(), &options).unwrap_or_else(|error| panic!("{}: {error}", arch.triple()))
}

/// Every module for every target.
fn artifacts() -> Vec<(String, Arch, Vec<u8>)> {
    let each = |(name, wat): (&str, String)| {
        Arch::ALL.map(|arch| (format!("{name}.{}", arch.triple()), arch, build(&wat, arch, Emit::So)))
    };
    modules().into_iter().flat_map(each).collect()
}

fn header(file: &[u8]) -> &FileHeader64<LittleEndian> {
    FileHeader64::parse(file).unwrap()
}

fn segments(file: &[u8]) -> &[ProgramHeader64<LittleEndian>] {
    header(file).program_headers(ENDIAN, file).unwrap()
}

fn sections(file: &[u8]) -> impl Iterator<Item = (&str, &SectionHeader64<LittleEndian>)> {
    let table = header(file).sections(ENDIAN, file).unwrap();
    table
        .iter()
        .map(move |section| (std::str::from_utf8(table.section_name(ENDIAN, section).unwrap()).unwrap(), section))
}

fn meta(file: &[u8]) -> Meta<'_> {
    let segment = segments(file).iter().find(|segment| segment.p_type(ENDIAN) == PT_PRECAST_META).unwrap();
    Meta::parse(segment.data(ENDIAN, file).unwrap()).unwrap()
}

fn save(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What a program prints, on both streams; it has to succeed.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("`{program}` cannot be run, and this test needs it: {error}"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{text}", output.status);
    text.into_owned()
}

#[test]
fn readelf_has_no_complaint() {
    for (name, wat) in modules() {
        for arch in Arch::ALL {
            for (emit, extension) in [(Emit::So, "so"), (Emit::Obj, "o")] {
                let path = save(&format!("readelf.{name}.{}.{extension}", arch.triple()), &build(&wat, arch, emit));
                let text = run("readelf", &["-a", "-W", "--debug-dump=frames", path.to_str().unwrap()]);
                let complaint = text.lines().find(|line| line.contains("Warning:") || line.contains("Error:"));
                assert_eq!(complaint, None, "{}", path.display());
            }
        }
    }
}

#[test]
fn nothing_is_left_for_a_dynamic_linker() {
    for (name, _, file) in artifacts() {
        assert_eq!(header(&file).e_type(ENDIAN), elf::ET_DYN, "{name}");
        for (section_name, section) in sections(&file) {
            let sh_type = section.sh_type(ENDIAN);
            assert!(!matches!(sh_type, elf::SHT_REL | elf::SHT_RELA | elf::SHT_RELR), "{name}: {section_name}");
            assert!(!matches!(sh_type, elf::SHT_INIT_ARRAY | elf::SHT_FINI_ARRAY), "{name}: {section_name}");
        }
        let dynamic = segments(&file).iter().find_map(|segment| segment.dynamic(ENDIAN, &*file).unwrap()).unwrap();
        let tags: Vec<i64> = dynamic.iter().map(|entry| entry.d_tag(ENDIAN)).collect();
        let expected = [
            elf::DT_SONAME,
            elf::DT_HASH,
            elf::DT_GNU_HASH,
            elf::DT_SYMTAB,
            elf::DT_STRTAB,
            elf::DT_STRSZ,
            elf::DT_SYMENT,
            elf::DT_NULL,
        ];
        assert_eq!(tags, expected, "{name}");
        let elf = ElfFile64::<LittleEndian>::parse(&*file).unwrap();
        assert!(elf.dynamic_symbols().all(|symbol| symbol.is_definition()), "{name}");
    }
}

#[test]
fn no_segment_is_writable_and_only_text_is_executable() {
    for (name, arch, file) in artifacts() {
        let page = arch.max_page_size();
        for segment in segments(&file) {
            let (p_type, flags) = (segment.p_type(ENDIAN), segment.p_flags(ENDIAN));
            match p_type {
                elf::PT_GNU_STACK => assert_eq!(flags & elf::PF_X, 0, "{name}"),
                _ => assert_eq!(flags & elf::PF_W, 0, "{name}: segment type {p_type:#x}"),
            }
            assert_eq!(segment.p_offset(ENDIAN), segment.p_vaddr(ENDIAN), "{name}");
            if p_type == elf::PT_LOAD {
                assert_eq!((segment.p_align(ENDIAN), segment.p_vaddr(ENDIAN) % page), (page, 0), "{name}");
            }
        }
        let executable: Vec<_> =
            segments(&file).iter().filter(|segment| segment.p_flags(ENDIAN) & elf::PF_X != 0).collect();
        let [text] = executable[..] else { panic!("{name}: {} executable segments", executable.len()) };
        let header = meta(&file).header;
        assert_eq!((header.text_offset, header.text_len), (text.p_offset(ENDIAN), text.p_filesz(ENDIAN)), "{name}");
        assert_eq!((header.text_offset % page, header.text_len % page), (0, 0), "{name}");
    }
}

#[test]
fn meta_describes_the_file() {
    for (name, arch, file) in artifacts() {
        let (meta, page) = (meta(&file), arch.max_page_size());
        let header = meta.header;
        assert_eq!((header.machine, header.features), (arch.elf_machine().into(), arch.levels()[0].features), "{name}");
        let producer = meta.str(header.producer).unwrap();
        assert!(
            producer.starts_with(precast_compiler::VERSION) && producer.contains("; opt=speed; cpu="),
            "{producer}"
        );

        let elf = ElfFile64::<LittleEndian>::parse(&*file).unwrap();
        let image = elf.section_by_name(section::IMAGE);
        let place = image.map_or((0, 0), |image| (image.address(), image.size()));
        assert_eq!((header.image_offset, header.image_len), place, "{name}");
        let mut next = header.image_offset;
        for run in meta.runs.iter() {
            assert_eq!((run.file_offset, run.len % page, run.slot_offset % page), (next, 0, 0), "{name}");
            next += run.len;
        }
        assert_eq!(next, header.image_offset + header.image_len, "{name}");

        let mut zeroed = file.clone();
        let descriptor = elf.section_by_name(section::META).unwrap().address() as usize;
        zeroed[descriptor + DIGEST_OFFSET..][..32].fill(0);
        assert_eq!(header.digest, *blake3::hash(&zeroed).as_bytes(), "{name}");
    }
}

#[test]
fn meta_describes_the_module() {
    for arch in Arch::ALL {
        let file = build(RICH, arch, Emit::So);
        let meta = meta(&file);
        let names: Vec<_> = meta.exports.iter().map(|export| meta.str(export.name).unwrap()).collect();
        assert_eq!(names, ["add", "log again", "memory", "nul\0name", "sp", "table", "twice@1.0#x"]);
        let imports: Vec<_> = meta
            .imports
            .iter()
            .map(|import| (meta.str(import.module).unwrap(), meta.str(import.name).unwrap()))
            .collect();
        assert_eq!(imports, [("env", "log"), ("env", "global")]);
        let imported: Vec<_> = meta.globals.iter().map(|global| global.import).collect();
        assert_eq!(imported, [1, u32::MAX, u32::MAX]);
        let segments: Vec<_> = meta.data.iter().map(|segment| meta.bytes(segment.contents).unwrap()).collect();
        assert_eq!(segments, [b"".as_slice(), b"kept for run time"]);
        let references: Vec<_> = meta.elements.iter().map(|segment| segment.contents.len).collect();
        assert_eq!(references, [0, 16]);

        let add = meta.export("add").unwrap();
        let function = meta.function_at(add.text_offset).unwrap();
        assert_eq!((function.start, function.kind, function.index), (add.text_offset, FunctionKind::Wasm as u32, 1));
        let log = meta.function_at(meta.export("log again").unwrap().text_offset).unwrap();
        assert_eq!((log.kind, meta.str(log.name)), (FunctionKind::ImportStub as u32, Some("precast.import.env.log")));
        let host = meta.function_at(meta.imports.get(0).unwrap().host_thunk).unwrap();
        assert_eq!((host.kind, meta.str(host.name)), (FunctionKind::HostThunk as u32, Some("precast.host.env.log")));
        let init = meta.function_at(meta.header.init).unwrap();
        assert_eq!(meta.str(init.name), Some("precast.init"));
        assert!(precast_abi::sites::decode(meta.bytes(init.sites).unwrap()).count() > 0);
        // Equal types have equal hashes in other artifacts too.
        let other = build("(module (func (export \"f\") (param i32 i32) (result i32) unreachable))", arch, Emit::So);
        let other = self::meta(&other);
        assert_eq!(
            meta.types.get(add.ty as usize).unwrap().hash,
            other.types.get(other.export("f").unwrap().ty as usize).unwrap().hash
        );
        assert_eq!(meta.types.get(0).unwrap().hash, [0; 32]);
    }
}

#[test]
fn every_function_has_a_symbol_and_unwind_information() {
    for (name, _, file) in artifacts() {
        let meta = meta(&file);
        let text = meta.header.text_offset;
        let functions: Vec<(u64, u64)> =
            meta.functions.iter().map(|row| (text + u64::from(row.start), row.len.into())).collect();
        assert!(functions.is_sorted_by(|left, right| left.0 + left.1 <= right.0), "{name}");

        let elf = ElfFile64::<LittleEndian>::parse(&*file).unwrap();
        let symbols: Vec<(u64, u64)> = elf.symbols().map(|symbol| (symbol.address(), symbol.size())).collect();
        assert_eq!(symbols, functions, "{name}");
        for (symbol, row) in elf.symbols().zip(meta.functions.iter()) {
            assert!(symbol.is_local() && symbol.elf_symbol().st_type() == elf::STT_FUNC, "{name}");
            assert_eq!(symbol.name().unwrap(), meta.str(row.name).unwrap().replace('\0', "\u{fffd}"), "{name}");
        }

        let path = save(&format!("frames.{name}.so"), &file);
        let frames = run("readelf", &["-W", "--debug-dump=frames", path.to_str().unwrap()]);
        let described: Vec<(u64, u64)> = frames.lines().filter_map(described_range).collect();
        assert_eq!(described, functions, "{name}");
        let header = elf.section_by_name(".eh_frame_hdr").unwrap();
        assert_eq!(
            search_table(header.data().unwrap(), header.address()),
            functions.iter().map(|it| it.0).collect::<Vec<_>>()
        );
    }
}

/// Start and length of the function in a line like `… FDE cie=00000000 pc=0000000000001000..000000000000100e`.
fn described_range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_once(" pc=")?.1.split_once("..")?;
    let hex = |digits: &str| u64::from_str_radix(digits.trim(), 16).unwrap();
    Some((hex(start), hex(end) - hex(start)))
}

/// The functions that `.eh_frame_hdr` at `address` lists.
fn search_table(header: &[u8], address: u64) -> Vec<u64> {
    let (head, table) = header.split_at(12);
    assert_eq!(head[..4], [1, 0x1b, 0x03, 0x3b]);
    let int = |bytes: &[u8]| i64::from(i32::from_le_bytes(bytes[..4].try_into().unwrap()));
    let functions: Vec<u64> = table.chunks_exact(8).map(|row| address.wrapping_add_signed(int(row))).collect();
    assert_eq!(int(&head[8..]), functions.len() as i64);
    functions
}

#[test]
fn both_hash_tables_find_every_export() {
    for (name, _, file) in artifacts() {
        let sections = header(&file).sections(ENDIAN, &*file).unwrap();
        let symbols = sections.symbols(ENDIAN, &*file, elf::SHT_DYNSYM).unwrap();
        let (hash, _) = sections.hash(ENDIAN, &*file).unwrap().unwrap();
        let (gnu_hash, _) = sections.gnu_hash(ENDIAN, &*file).unwrap().unwrap();
        let mut names = vec![symbol::DESCRIPTOR.to_string()];
        let meta = meta(&file);
        let is_defined = |text_offset| {
            let function = meta.function_at(text_offset);
            function.is_some_and(|function| function.kind == FunctionKind::Wasm as u32)
        };
        for export in meta.exports.iter().filter(|export| is_defined(export.text_offset)) {
            let export = meta.str(export.name).unwrap().replace('\0', "\u{fffd}");
            names.push(format!("{}{export}", symbol::EXPORT_PREFIX));
        }
        assert_eq!(symbols.len(), 1 + names.len(), "{name}");
        let versions = object::read::elf::VersionTable::default();
        for symbol in &names {
            let bytes = symbol.as_bytes();
            let found = hash.find(ENDIAN, bytes, elf::hash(bytes), None, &symbols, &versions);
            let gnu_found = gnu_hash.find(ENDIAN, bytes, elf::gnu_hash(bytes), None, &symbols, &versions);
            assert!(found.is_some() && found.map(|it| it.0) == gnu_found.map(|it| it.0), "{name}: {symbol}");
        }
    }
}

#[test]
fn small_artifacts_are_small() {
    for (arch, limit) in [(Arch::X86_64, 12 << 10), (Arch::Aarch64, 136 << 10)] {
        let len = build("(module (func (export \"f\")))", arch, Emit::So).len();
        assert!(len < limit, "{}: {len} bytes", arch.triple());
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    for (name, wat) in modules() {
        for (arch, emit) in Arch::ALL.into_iter().flat_map(|arch| [(arch, Emit::So), (arch, Emit::Obj)]) {
            let [one, two] = [1, 2].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| build(&wat, arch, emit))
            });
            assert!(one == two, "{name} for {}", arch.triple());
        }
    }
}

/// Only for this machine's linker and architecture: there is nothing to link another one's objects with.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native {
    use super::*;
    use std::ffi::{CStr, CString, c_void};

    /// An artifact as the system's dynamic linker sees it.
    struct Library(*mut c_void);

    impl Library {
        fn open(path: &Path) -> Library {
            let name = CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: `name` is a C string, and none of our artifacts has code that runs when it is opened.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
            if handle.is_null() {
                // SAFETY: after a failure, `dlerror` returns a C string that is valid until the next call of the family.
                panic!("{}: {:?}", path.display(), unsafe { CStr::from_ptr(libc::dlerror()) });
            }
            Library(handle)
        }

        fn symbol(&self, name: &str) -> *mut c_void {
            let name = CString::new(name).unwrap();
            // SAFETY: the handle is open and `name` is a C string.
            unsafe { libc::dlsym(self.0, name.as_ptr()) }
        }

        /// Calls `precast.export.add` of [`RICH`].
        fn add(&self, left: i32, right: i32) -> i32 {
            let add = self.symbol("precast.export.add");
            assert!(!add.is_null());
            // SAFETY: on x86-64 the convention of compiled functions is that of C for up to six integer parameters and
            // one result, and this function does not use the base it is given.
            let add: extern "sysv64" fn(*const c_void, i32, i32) -> i32 = unsafe { std::mem::transmute(add) };
            add(std::ptr::null(), left, right)
        }
    }

    impl Drop for Library {
        fn drop(&mut self) {
            // SAFETY: the handle is open, and nothing of the library is used after this.
            unsafe { libc::dlclose(self.0) };
        }
    }

    #[test]
    fn dlopen_finds_exports() {
        let library = Library::open(&save("dlopen.so", &build(RICH, Arch::X86_64, Emit::So)));
        assert_eq!(library.add(40, 2), 42);
        assert!(!library.symbol("precast.export.twice@1.0#x").is_null());
        assert!(library.symbol("precast.export.log again").is_null(), "the code of an import is not ours");
        let descriptor = library.symbol(symbol::DESCRIPTOR).cast::<[u8; 8]>();
        // SAFETY: the symbol is the start of `.precast.meta`, which is mapped and longer than this.
        assert_eq!(unsafe { *descriptor }, precast_abi::MAGIC);

        let many = Library::open(&save("dlopen.many.so", &build(&many_exports(), Arch::X86_64, Emit::So)));
        assert!((0..500).all(|index| !many.symbol(&format!("precast.export.export {index}")).is_null()));
        Library::open(&save("dlopen.empty.so", &build("(module)", Arch::X86_64, Emit::So)));
    }

    #[test]
    fn objects_can_be_linked() {
        for (name, wat) in modules() {
            let object = save(&format!("link.{name}.o"), &build(&wat, Arch::X86_64, Emit::Obj));
            let library = object.with_extension("so");
            let (object, output) = (object.to_str().unwrap(), library.to_str().unwrap());
            let text =
                run("ld", &["-shared", "--eh-frame-hdr", "--fatal-warnings", "-z", "text", object, "-o", output]);
            assert_eq!(text, "", "{name}");
            let file = std::fs::read(&library).unwrap();
            assert!(sections(&file).all(|(_, section)| section.sh_type(ENDIAN) != elf::SHT_RELA), "{name}");
            let library = Library::open(&library);
            assert!(!library.symbol(symbol::DESCRIPTOR).is_null(), "{name}");
            if name == "rich" {
                assert_eq!(library.add(40, 2), 42);
            }
        }
    }
}
