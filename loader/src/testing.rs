//! An artifact without a compiler: a few functions in assembly, and an ELF file around them.
//!
//! The functions are assembled into the test program itself and copied from there, which works because they are as
//! position independent as compiled code is. Tests change the parts before [`TestArtifact::bytes`] puts them together.

use std::arch::global_asm;
use std::cell::Cell;
use std::ops::Range;
use std::task::Waker;

use precast_abi::bytes::{Field, Span};
use precast_abi::host::{FuncImport, HostWords};
use precast_abi::meta::{
    DIGEST_OFFSET, FunctionKind, FunctionRow, Header, MemoryModel, MemoryRow, MetaBuilder, NO_MAXIMUM, NONE, RunRow,
    TypeRow,
};
use precast_abi::sites::{self, CALL, Site};
use precast_abi::slot::{GUARDED_RESERVATION, STACK_GUARD, SlotLayout, WASM_PAGE};
use precast_abi::trap::TrapCode;
use precast_abi::types::{FuncType, ValType};
use precast_abi::{ABI_VERSION, MAGIC, PT_PRECAST_META};
use precast_targets::Arch;

use crate::artifact::Artifact;
use crate::context::{Abort, Context, Progress, enter, enter_suspendable};
use crate::slot::Slot;

pub(crate) const PAGE: u64 = 4096;
const STACK_START: u64 = STACK_GUARD;
const BLOCK_START: u64 = STACK_START + (64 << 10);
pub(crate) const BASE: u64 = BLOCK_START + 2 * PAGE;
pub(crate) const HOST_START: u64 = BLOCK_START + 1024;
pub(crate) const HOST_SIZE: u64 = 128;
/// Distance from the host words to the base.
pub(crate) const WORDS: u64 = BASE - HOST_START;
pub(crate) const SECOND_MEMORY: u64 = BASE + GUARDED_RESERVATION;
/// The cell of the only import.
pub(crate) const CELL: u64 = HostWords::SIZE as u64;

/// Declares the functions of the text: name, and assembly in which labels `1:` to `3:` may be sites.
macro_rules! text {
    ($($name:ident: [$($line:literal),* $(,)?] $(, $operand:ident = const $value:expr)*;)*) => {
        $(global_asm!(
            concat!(".pushsection .text.precast_test,\"ax\",@progbits\n.p2align 4\n.globl precast_test_", stringify!($name)),
            concat!("precast_test_", stringify!($name), ":"),
            $($line,)*
            concat!(".globl precast_test_end_", stringify!($name)),
            concat!("precast_test_end_", stringify!($name), ":"),
            ".popsection",
            $($operand = const $value,)*
        );)*
        mod start {
            unsafe extern "C" {
                $(
                    #[link_name = concat!("precast_test_", stringify!($name))]
                    pub(super) static $name: u8;
                )*
            }
        }
        mod end {
            unsafe extern "C" {
                $(
                    #[link_name = concat!("precast_test_end_", stringify!($name))]
                    pub(super) static $name: u8;
                )*
            }
        }
        fn function(name: &str) -> &'static [u8] {
            match name {
                // SAFETY: the symbols are the bounds of the function's bytes, which nobody writes.
                $(stringify!($name) => unsafe {
                    let start = &raw const start::$name;
                    std::slice::from_raw_parts(start, (&raw const end::$name).offset_from(start) as usize)
                },)*
                _ => panic!("no function {name}"),
            }
        }
    };
}

text! {
    // entry(base, code, values): values[0] = code(base, values[0])
    entry: ["push rbp", "mov rbp, rsp", "push rbx", "push r12", "mov rbx, rdx", "mov rax, rsi", "mov rsi, [rbx]",
        "call rax", "mov [rbx], rax", "pop r12", "pop rbx", "pop rbp", "ret"];
    // Returns its argument plus one.
    increment: ["lea rax, [rsi + 1]", "ret"];
    // Executes `unreachable` if the argument is zero, else calls itself with one less.
    countdown: ["push rbp", "mov rbp, rsp", "test rsi, rsi", "jnz 2f", "ud2", "2:", "dec rsi",
        "call precast_test_countdown", "pop rbp", "ret"];
    // Loads the byte at the argument, an offset from the base.
    load: ["push rbp", "mov rbp, rsp", "movzx eax, byte ptr [rdi + rsi]", "pop rbp", "ret"];
    // Increments the 8 bytes at the argument, an offset from the base, and returns them.
    touch: ["push rbp", "mov rbp, rsp", "inc qword ptr [rdi + rsi]", "mov rax, [rdi + rsi]", "pop rbp", "ret"];
    // Divides 100 by the argument.
    divide: ["push rbp", "mov rbp, rsp", "push 100", "pop rax", "cqo", "idiv rsi", "pop rbp", "ret"];
    // Recurses without end, in frames smaller than a page.
    recurse: ["push rbp", "mov rbp, rsp", "sub rsp, 16", "call precast_test_recurse", "leave", "ret"];
    // Has a fault without a site.
    stray: ["mov rax, [0]", "ret"];
    // Calls the import with one value, its argument, and returns what that became.
    call_host: ["push rbp", "mov rbp, rsp", "sub rsp, 16", "mov [rsp], rsi", "mov rdx, rsp",
        "sub rdi, {base}", "mov rax, [rdi + {builtins}]", "lea rsi, [rdi + {cell}]", "call [rax - 8]",
        "mov rax, [rsp]", "leave", "ret"],
        base = const WORDS, builtins = const HostWords::BUILTINS, cell = const CELL;
    // Calls builtin 0 with five values and returns the sum of the pair.
    // As `call_host`, and adds what it kept in all callee-saved registers: the argument plus 1 to 5.
    keep: ["push rbp", "mov rbp, rsp", "push rbx", "push r12", "push r13", "push r14", "push r15", "sub rsp, 24",
        "mov [rsp], rsi", "lea rbx, [rsi + 1]", "lea r12, [rsi + 2]", "lea r13, [rsi + 3]", "lea r14, [rsi + 4]",
        "lea r15, [rsi + 5]", "mov rdx, rsp", "sub rdi, {base}", "mov rax, [rdi + {builtins}]", "lea rsi, [rdi + {cell}]",
        "call [rax - 8]", "mov rax, [rsp]", "add rax, rbx", "add rax, r12", "add rax, r13", "add rax, r14",
        "add rax, r15", "add rsp, 24", "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp", "ret"],
        base = const WORDS, builtins = const HostWords::BUILTINS, cell = const CELL;
    call_builtin: ["push rbp", "mov rbp, rsp", "mov rdx, 2", "mov rcx, 3", "mov r8, 4", "mov r9, 5",
        "sub rdi, {base}", "mov rax, [rdi + {builtins}]", "call [rax]", "add rax, rdx", "pop rbp", "ret"],
        base = const WORDS, builtins = const HostWords::BUILTINS;
}

/// Functions in the order of the text.
const FUNCTIONS: [&str; 11] = [
    "entry",
    "increment",
    "countdown",
    "load",
    "touch",
    "divide",
    "recurse",
    "stray",
    "call_host",
    "keep",
    "call_builtin",
];

/// Text offsets are counted by hand; calls are followed by instructions of known length.
fn sites_of(name: &str) -> Vec<Site> {
    let site = |text_offset, code: u8, wasm_offset| Site { text_offset, code, wasm_offset };
    let len = function(name).len() as u32;
    match name {
        "countdown" => vec![site(9, TrapCode::Unreachable as u8, 0x20), site(len - 2, CALL, 0x30)],
        "load" | "touch" => vec![site(4, TrapCode::MemoryOutOfBounds as u8, 0x40)],
        "divide" => vec![site(9, TrapCode::IntegerDivisionByZero as u8, 0x50)],
        "recurse" => vec![site(len - 2, CALL, 0x60)],
        "call_host" => vec![site(len - 6, CALL, 0x70)],
        "keep" => vec![site(len - 46, CALL, 0x78)],
        _ => vec![],
    }
}

/// The parts of an artifact.
pub(crate) struct TestArtifact {
    pub(crate) meta: MetaBuilder,
    pub(crate) machine: u16,
    pub(crate) image: Vec<u8>,
    /// Entries of the dynamic section, if there is one.
    pub(crate) dynamic: Vec<u64>,
    pub(crate) text_flags: u32,
    /// Program header type of the meta.
    pub(crate) meta_type: u32,
    text: Vec<u8>,
}

impl TestArtifact {
    /// A guarded memory of one page with a maximum of four, a checked one of two pages, and an image that begins
    /// in the last page of the block and goes on in the memory, and a second run in the second memory.
    pub(crate) fn new() -> Self {
        let header = Header {
            magic: MAGIC,
            abi_version: ABI_VERSION,
            machine: 62,
            features: Arch::X86_64.level("x86-64-v2").unwrap().features & 0b11,
            digest: [0; 32],
            producer: Span::default(),
            text_offset: 0,
            text_len: 0,
            image_offset: 0,
            image_len: 3 * PAGE,
            layout: SlotLayout {
                page_size: PAGE,
                stack_start: STACK_START,
                block_start: BLOCK_START,
                host_start: HOST_START,
                host_size: HOST_SIZE,
                base_offset: BASE,
                slot_size: SECOND_MEMORY + 16 * WASM_PAGE,
            },
            init: NONE,
            wit: Span::default(),
            metering: 0,
            source: [0; 32],
        };
        let mut meta = MetaBuilder::new(header);
        meta.header.producer = meta.blob.intern(b"the loader's tests");
        let memory = |model: MemoryModel, min, slot_offset, reservation| MemoryRow {
            import: NONE,
            model: model as u32,
            min,
            max: NO_MAXIMUM,
            page_size_log2: 16,
            size_word: -8,
            slot_offset,
            reservation,
        };
        meta.memories.push(memory(MemoryModel::Guarded, 1, BASE, GUARDED_RESERVATION));
        meta.memories.push(memory(MemoryModel::Checked, 2, SECOND_MEMORY, 16 * WASM_PAGE));
        let text = add_functions(&mut meta);
        let image = (0..3 * PAGE).map(|at| (at / 7) as u8 | 1).collect();
        let mut artifact =
            TestArtifact { meta, machine: 62, image, dynamic: vec![], text_flags: 5, meta_type: PT_PRECAST_META, text };
        artifact.place_runs();
        artifact
    }

    /// Offsets in the file: meta, text, image, end. The meta's length does not depend on them.
    fn places(&self) -> [u64; 4] {
        let meta = PAGE;
        let text = meta + (self.meta.encode().len() as u64).next_multiple_of(PAGE);
        let image = text + (self.text.len() as u64).next_multiple_of(PAGE);
        [meta, text, image, image + self.image.len() as u64]
    }

    /// Where things are in the file, after rows were added.
    pub(crate) fn place_runs(&mut self) {
        self.meta.runs = vec![RunRow { slot_offset: 0, file_offset: 0, len: 0 }; 2];
        let [_, text, image, _] = self.places();
        self.meta.header.text_offset = text;
        self.meta.header.text_len = self.text.len() as u64;
        self.meta.header.image_offset = image;
        let run = |slot_offset, at, len| RunRow { slot_offset, file_offset: image + at, len };
        self.meta.runs = vec![run(BASE - PAGE, 0, 2 * PAGE), run(SECOND_MEMORY + PAGE, 2 * PAGE, PAGE)];
    }

    /// The file, with its digest.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let [meta_at, text_at, image_at, end] = self.places();
        let meta = self.meta.encode();
        let mut file = vec![0; end as usize];
        let mut put = |at: u64, bytes: &[u8]| file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        put(meta_at, &meta);
        put(text_at, &self.text);
        put(image_at, &self.image);
        let dynamic_at = 0x400;
        let dynamic: Vec<u8> = self.dynamic.iter().flat_map(|word| word.to_le_bytes()).collect();
        put(dynamic_at, &dynamic);

        let mut programs = Vec::new();
        let mut program = |ty: u32, flags: u32, range: Range<u64>| {
            let len = range.end - range.start;
            ty.encode(&mut programs);
            flags.encode(&mut programs);
            [range.start, range.start, range.start, len, len, PAGE]
                .into_iter()
                .for_each(|word| word.encode(&mut programs));
        };
        program(1, 4, 0..text_at);
        program(1, self.text_flags, text_at..image_at);
        program(1, 4, image_at..end);
        program(0x6474_e551, 6, 0..0);
        program(self.meta_type, 4, meta_at..meta_at + meta.len() as u64);
        if !self.dynamic.is_empty() {
            program(2, 4, dynamic_at..dynamic_at + dynamic.len() as u64);
        }

        let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0];
        elf.extend_from_slice(&self.machine.to_le_bytes());
        1u32.encode(&mut elf);
        [0, 64, 0].into_iter().for_each(|word: u64| word.encode(&mut elf));
        0u32.encode(&mut elf);
        for half in [64u16, 56, (programs.len() / 56) as u16, 64, 0, 0] {
            elf.extend_from_slice(&half.to_le_bytes());
        }
        put(0, &elf);
        put(64, &programs);
        let digest = meta_at as usize + DIGEST_OFFSET..meta_at as usize + DIGEST_OFFSET + 32;
        file[digest.clone()].fill(0);
        let hash: [u8; 32] = blake3::hash(&file).into();
        file[digest].copy_from_slice(&hash);
        file
    }

    pub(crate) fn open(&self) -> Artifact {
        Artifact::open_bytes(&self.bytes()).unwrap()
    }
}

/// Puts the functions one after the other, as they are in the test program, so that calls among them stay right.
fn add_functions(meta: &mut MetaBuilder) -> Vec<u8> {
    let start = FUNCTIONS.iter().map(|name| function(name).as_ptr().addr()).min().unwrap();
    let end = FUNCTIONS.iter().map(|name| function(name).as_ptr_range().end.addr()).max().unwrap();
    let mut text = vec![0xcc; end - start];
    let signature = FuncType { params: vec![ValType::I64], results: vec![ValType::I64] }.encode();
    let signature = meta.blob.intern(&signature);
    meta.types.push(TypeRow { hash: [0; 32], signature: Span::default(), entry: NONE });
    for (index, name) in FUNCTIONS.iter().enumerate() {
        let bytes = function(name);
        let at = bytes.as_ptr().addr() - start;
        text[at..at + bytes.len()].copy_from_slice(bytes);
        let mut encoded = Vec::new();
        sites::encode(sites_of(name), &mut encoded);
        let row = FunctionRow {
            start: at as u32,
            len: bytes.len() as u32,
            kind: if *name == "entry" { FunctionKind::EntryThunk } else { FunctionKind::Wasm } as u32,
            index: index as u32,
            name: meta.blob.intern(name.as_bytes()),
            sites: meta.blob.append(&encoded),
        };
        meta.functions.push(row);
    }
    meta.functions.sort_by_key(|row| row.start);
    let entry = function("entry").as_ptr().addr() - start;
    meta.types.push(TypeRow { hash: [1; 32], signature, entry: entry as u32 });
    text
}

/// What tests run: a slot with the host words filled in.
pub(crate) struct Guest {
    pub(crate) artifact: Artifact,
    pub(crate) slot: Box<Slot>,
    pub(crate) context: Box<Context>,
}

pub(crate) type HostCall = extern "C" fn(*mut u8, *mut u8, *mut u64) -> u32;

impl Guest {
    pub(crate) fn new(artifact: &Artifact) -> Self {
        let slot = artifact.inner().pool.take(artifact.inner()).unwrap().0;
        let mut context = Box::new(Context::new());
        context.set_stack(slot.stack());
        let mut guest = Guest { artifact: artifact.clone(), slot, context };
        let context = (&raw mut *guest.context).addr();
        guest.set_word(HostWords::CONTEXT as usize, context);
        guest
    }

    pub(crate) fn set_word(&mut self, offset: usize, value: usize) {
        // SAFETY: tests write host words only.
        unsafe { self.slot.words().add(offset).cast::<usize>().write(value) };
    }

    /// `table` has the host switch, then builtin 0.
    pub(crate) fn bind(&mut self, table: &'static [unsafe extern "C" fn(); 2], host: HostCall) {
        self.set_word(HostWords::BUILTINS as usize, (&raw const table[1]).addr());
        self.set_word(CELL as usize + FuncImport::HOST_CALL as usize, host as *const () as usize);
    }

    /// Enters `name`, to be suspended perhaps; the value has to stay until it is not.
    pub(crate) fn start(&mut self, name: &str, value: &Cell<u64>) -> Result<Progress, Abort> {
        let (artifact, base) = (self.artifact.clone(), self.slot.base());
        let (entry, code) = addresses(&artifact, name);
        // SAFETY: the guest is live, and nothing else uses its context.
        unsafe {
            enter_suspendable(&raw mut *self.context, entry, base, code, value.as_ptr(), Waker::noop())
                .map_err(|abort| *abort)
        }
    }

    pub(crate) fn call(&mut self, name: &str, argument: u64) -> Result<u64, Abort> {
        let (artifact, base) = (self.artifact.clone(), self.slot.base());
        // SAFETY: the guest is live, and nothing else uses its context.
        unsafe { call(&artifact, &raw mut *self.context, base, name, argument) }
    }
}

/// # Safety
/// As [`enter`].
pub(crate) unsafe fn call(
    artifact: &Artifact,
    context: *mut Context,
    base: *mut u8,
    name: &str,
    argument: u64,
) -> Result<u64, Abort> {
    let (entry, code) = addresses(artifact, name);
    let mut values = [argument];
    // SAFETY: the caller's promise.
    unsafe { enter(context, entry, base, code, values.as_mut_ptr()).map_err(|abort| *abort)? };
    Ok(values[0])
}

/// Of the entry thunk and the function called `name`.
fn addresses(artifact: &Artifact, name: &str) -> (*const u8, *const u8) {
    let inner = artifact.inner();
    let row = inner.meta().functions.iter().find(|row| inner.meta().str(row.name) == Some(name)).unwrap();
    let entry = inner.text().wrapping_add(inner.func_type(1).unwrap().0.entry as usize);
    (entry, inner.text().wrapping_add(row.start as usize))
}
