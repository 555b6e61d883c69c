//! From a file to the headers that opening it goes by.
//!
//! What comes in: a file of unknown content. What goes out: the identity of an artifact that fits this machine, with
//! the places of its parts checked against the file, or which of these it is not. Reads a few kilobytes,
//! whatever the size of the file; nothing is said about what the tables hold.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use goblin::elf64::dynamic::{
    DT_FINI, DT_FINI_ARRAY, DT_INIT, DT_INIT_ARRAY, DT_JMPREL, DT_NEEDED, DT_NULL, DT_PREINIT_ARRAY, DT_REL, DT_RELA,
    DT_TEXTREL,
};
use goblin::elf64::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, ET_DYN, Header as ElfHeader, SIZEOF_EHDR,
};
use goblin::elf64::program_header::{
    PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_TLS, ProgramHeader, SIZEOF_PHDR,
};
use precast_abi::bytes::Field;
use precast_abi::host::HostWords;
use precast_abi::meta::{HEAD_SIZE, Header, NONE};
use precast_abi::slot::{ALIGN, STACK_GUARD, SlotLayout};
use precast_abi::{ABI_VERSION, MAGIC, PT_PRECAST_META};
use precast_targets::Arch;

use crate::open_error::OpenErrorKind;
use crate::sys;

/// Program headers of an artifact: a handful. Reading more would make opening depend on the file.
const MAX_PROGRAM_HEADERS: u16 = 32;

/// Bytes of the dynamic section of an artifact: a dozen entries of sixteen bytes.
const MAX_DYNAMIC: u64 = 4 << 10;

/// `DT_RELR` and what else may hold relocations, beyond those goblin names.
const DT_RELR: u64 = 36;

/// Other libraries that are loaded as well, beyond those goblin names: `DT_AUDIT`, `DT_DEPAUDIT`, `DT_AUXILIARY`,
/// `DT_FILTER`.
const LIBRARIES: [u64; 4] = [0x6fff_fefc, 0x6fff_fefb, 0x7fff_fffd, 0x7fff_ffff];

/// The largest slot: half of the addresses a process has.
const MAX_SLOT: u64 = 1 << 46;

/// What a file says that is an artifact for this machine.
#[derive(Debug)]
pub(crate) struct Headers {
    /// Bytes of the file.
    pub(crate) file_len: u64,
    /// Where `.precast.meta` is in the file.
    pub(crate) meta: Range<u64>,
    /// Its header; the places in it are inside the file.
    pub(crate) header: Header,
    /// What it begins with: header and directory, or less if it is shorter.
    pub(crate) head: Vec<u8>,
}

impl Headers {
    /// Checks the headers of a file of so many bytes. They are read and not mapped: a fault in a new mapping takes longer,
    /// and making code executable takes longer once there has been one.
    pub(crate) fn read(file: &File, file_len: u64) -> Result<Headers, OpenErrorKind> {
        let source = Source { file, file_len, start: Source::bytes(file, 0, file_len.min(START))? };
        let programs = source.program_headers()?;
        check_segments(&programs, file_len)?;
        source.check_dynamic(&programs)?;
        let (meta, head) = source.meta_head(&programs)?;
        let header = Header::decode(&head);
        check_machine(&header)?;
        check_layout(&header.layout)?;
        check_parts(&header, &programs, file_len)?;
        Ok(Headers { file_len, meta, header, head })
    }
}

/// Bytes that are read at first: mostly all that there is to read.
const START: u64 = 4 << 10;

struct Source<'a> {
    file: &'a File,
    file_len: u64,
    start: Vec<u8>,
}

/// [`ElfHeader::from_bytes`] wants its bytes aligned.
#[repr(C, align(8))]
struct Aligned([u8; SIZEOF_EHDR]);

impl Source<'_> {
    fn bytes(file: &File, at: u64, len: u64) -> Result<Vec<u8>, OpenErrorKind> {
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, at).map_err(OpenErrorKind::io("read the headers"))?;
        Ok(bytes)
    }

    /// Bytes of the file: a few kilobytes at most.
    fn get(&self, at: u64, len: u64) -> Result<Cow<'_, [u8]>, OpenErrorKind> {
        inside(at, len, self.file_len)?;
        match self.start.get(at as usize..(at + len) as usize) {
            Some(bytes) => Ok(bytes.into()),
            None => Ok(Self::bytes(self.file, at, len)?.into()),
        }
    }

    fn program_headers(&self) -> Result<Vec<ProgramHeader>, OpenErrorKind> {
        let magic = &self.start[..self.start.len().min(ELFMAG.len())];
        if magic != ELFMAG {
            return Err(OpenErrorKind::NotElf { found: magic.into() });
        }
        let mut header = Aligned([0; SIZEOF_EHDR]);
        header.0.copy_from_slice(&self.get(0, SIZEOF_EHDR as u64)?);
        let elf = ElfHeader::from_bytes(&header.0);
        let kind = |what, found, wanted| {
            if found == wanted { Ok(()) } else { Err(OpenErrorKind::ElfKind { what, found, wanted }) }
        };
        kind("ELF class (bits)", elf.e_ident[EI_CLASS].into(), ELFCLASS64.into())?;
        kind("ELF byte order", elf.e_ident[EI_DATA].into(), ELFDATA2LSB.into())?;
        kind("ELF type", elf.e_type.into(), ET_DYN.into())?;
        check_architecture(elf.e_machine)?;
        kind("size of an ELF program header", elf.e_phentsize.into(), SIZEOF_PHDR as u32)?;
        if elf.e_phnum > MAX_PROGRAM_HEADERS {
            return Err(OpenErrorKind::Forbidden("more program headers than artifacts have"));
        }
        let sections = u64::from(elf.e_shnum) * u64::from(elf.e_shentsize);
        inside(elf.e_shoff, sections, self.file_len)?;
        let table = self.get(elf.e_phoff, u64::from(elf.e_phnum) * SIZEOF_PHDR as u64)?;
        Ok(table.chunks_exact(SIZEOF_PHDR).map(decode_program_header).collect())
    }

    /// Refuses what a dynamic linker would act on.
    fn check_dynamic(&self, programs: &[ProgramHeader]) -> Result<(), OpenErrorKind> {
        let mut dynamic = programs.iter().filter(|program| program.p_type == PT_DYNAMIC);
        let (dynamic, other) = (dynamic.next(), dynamic.next());
        let Some(dynamic) = dynamic else { return Ok(()) };
        if other.is_some() {
            return Err(OpenErrorKind::Forbidden("a second dynamic section"));
        }
        if dynamic.p_filesz > MAX_DYNAMIC {
            return Err(OpenErrorKind::Forbidden("a larger dynamic section than artifacts have"));
        }
        let bytes = self.get(dynamic.p_offset, dynamic.p_filesz)?;
        for tag in bytes.chunks_exact(16).map(u64::decode) {
            match tag {
                DT_NULL => return Ok(()),
                DT_NEEDED => return Err(OpenErrorKind::Forbidden("a library that it needs (DT_NEEDED)")),
                DT_INIT | DT_FINI | DT_INIT_ARRAY | DT_FINI_ARRAY | DT_PREINIT_ARRAY => {
                    return Err(OpenErrorKind::Forbidden("code that runs when it is loaded (DT_INIT and the like)"));
                }
                DT_REL | DT_RELA | DT_JMPREL | DT_RELR | DT_TEXTREL => {
                    return Err(OpenErrorKind::Forbidden("dynamic relocations"));
                }
                tag if LIBRARIES.contains(&tag) => {
                    return Err(OpenErrorKind::Forbidden("a library that comes with it (DT_FILTER and the like)"));
                }
                _ => {}
            }
        }
        // The dynamic linker reads on until it finds the end.
        let range = dynamic.p_offset..dynamic.p_offset + dynamic.p_filesz;
        Err(malformed("the dynamic section does not end", &range))
    }

    /// Where the meta section is, and what it begins with: its header, and the directory as far as it has one.
    fn meta_head(&self, programs: &[ProgramHeader]) -> Result<(Range<u64>, Vec<u8>), OpenErrorKind> {
        let meta =
            programs.iter().find(|program| program.p_type == PT_PRECAST_META).ok_or(OpenErrorKind::NotPrecast)?;
        let range = meta.p_offset..meta.p_offset + meta.p_filesz;
        let bytes = self.get(meta.p_offset, meta.p_filesz.min(HEAD_SIZE as u64))?;
        // Magic and version come first and stay where they are, also in versions whose header is longer or shorter.
        let identity = bytes.split_first_chunk().and_then(|(magic, rest)| Some((magic, rest.first_chunk::<4>()?)));
        match identity {
            Some((&MAGIC, version)) if u32::from_le_bytes(*version) == ABI_VERSION => {}
            Some((&MAGIC, version)) => {
                let found = u32::from_le_bytes(*version);
                return Err(OpenErrorKind::AbiVersion { found, wanted: ABI_VERSION });
            }
            Some(_) => return Err(malformed("the meta section does not begin with the magic number", &range)),
            None => return Err(malformed("the meta section has no room for its header", &range)),
        }
        if bytes.len() < Header::SIZE {
            return Err(malformed("the meta section has no room for its header", &range));
        }
        Ok((range, bytes.into_owned()))
    }
}

/// `Elf64_Phdr`, little-endian.
fn decode_program_header(bytes: &[u8]) -> ProgramHeader {
    ProgramHeader {
        p_type: u32::decode(bytes),
        p_flags: u32::decode(&bytes[4..]),
        p_offset: u64::decode(&bytes[8..]),
        p_vaddr: u64::decode(&bytes[16..]),
        p_paddr: u64::decode(&bytes[24..]),
        p_filesz: u64::decode(&bytes[32..]),
        p_memsz: u64::decode(&bytes[40..]),
        p_align: u64::decode(&bytes[48..]),
    }
}

fn check_architecture(machine: u16) -> Result<(), OpenErrorKind> {
    let wanted = Arch::HOST.map_or("an architecture that precast does not know", Arch::triple);
    match Arch::from_elf_machine(machine.into()) {
        Some(arch) if Arch::HOST == Some(arch) => Ok(()),
        Some(arch) => Err(OpenErrorKind::Architecture { found: arch.triple().into(), wanted }),
        None => Err(OpenErrorKind::Architecture { found: format!("ELF machine {machine}"), wanted }),
    }
}

/// Segments are where they say in the file, and their addresses are their file offsets: the file is mapped as one.
fn check_segments(programs: &[ProgramHeader], file_len: u64) -> Result<(), OpenErrorKind> {
    for program in programs {
        inside(program.p_offset, program.p_filesz, file_len)?;
        if program.p_flags & (PF_W | PF_X) == PF_W | PF_X {
            return Err(OpenErrorKind::Forbidden("a segment that is writable and executable"));
        }
        match program.p_type {
            PT_GNU_STACK if program.p_flags & PF_X != 0 => {
                return Err(OpenErrorKind::Forbidden("a demand for an executable stack"));
            }
            PT_INTERP => return Err(OpenErrorKind::Forbidden("a program interpreter")),
            PT_TLS => return Err(OpenErrorKind::Forbidden("thread-local storage")),
            PT_LOAD | PT_DYNAMIC if program.p_vaddr != program.p_offset || program.p_memsz != program.p_filesz => {
                let range = program.p_offset..program.p_offset.saturating_add(program.p_filesz);
                return Err(malformed("a segment is not mapped as it is in the file", &range));
            }
            _ => {}
        }
    }
    // Where a file does not say, the dynamic linker makes the stacks of the whole process executable.
    match programs.iter().any(|program| program.p_type == PT_GNU_STACK) {
        true => Ok(()),
        false => Err(OpenErrorKind::Forbidden("no PT_GNU_STACK, and so a demand for an executable stack")),
    }
}

fn check_machine(header: &Header) -> Result<(), OpenErrorKind> {
    check_architecture(u16::try_from(header.machine).unwrap_or(u16::MAX))?;
    let known = Arch::HOST.map_or(&[][..], Arch::features);
    let missing: Vec<String> = (0..u64::BITS)
        .filter(|bit| header.features >> bit & 1 != 0)
        .filter_map(|bit| match known.iter().find(|feature| feature.bit == bit) {
            Some(feature) => (!sys::arch::has_feature(feature.name)).then(|| feature.name.into()),
            None => Some(format!("feature bit {bit}")),
        })
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(OpenErrorKind::CpuFeatures { missing }) }
}

fn check_layout(layout: &SlotLayout) -> Result<(), OpenErrorKind> {
    let system = sys::memory::page_size() as u64;
    let bounds = [layout.stack_start, layout.base_offset, layout.slot_size];
    if !layout.page_size.is_power_of_two() || bounds.iter().any(|bound| !bound.is_multiple_of(layout.page_size)) {
        return Err(malformed("the slot is not laid out in pages", &(layout.page_size..layout.slot_size)));
    }
    if [layout.block_start, layout.host_start, layout.host_size].iter().any(|bound| !bound.is_multiple_of(ALIGN)) {
        return Err(malformed("the block is not laid out in lines", &(layout.block_start..layout.base_offset)));
    }
    if layout.page_size < system {
        return Err(OpenErrorKind::PageSize { found: layout.page_size, wanted: system });
    }
    let ordered = layout.stack_start >= STACK_GUARD
        && layout.stack_start.saturating_add(layout.page_size) <= layout.block_start
        && layout.block_start <= layout.host_start
        && layout.host_size >= HostWords::SIZE as u64
        && layout.host_start.saturating_add(layout.host_size) <= layout.base_offset
        && layout.base_offset <= layout.slot_size
        && layout.slot_size <= MAX_SLOT;
    if ordered { Ok(()) } else { Err(malformed("the parts of the slot are not in order", &(0..layout.slot_size))) }
}

fn check_parts(header: &Header, programs: &[ProgramHeader], file_len: u64) -> Result<(), OpenErrorKind> {
    let page = header.layout.page_size;
    let image = header.image_offset..header.image_offset.saturating_add(header.image_len);
    inside(image.start, header.image_len, file_len)?;
    if !image.start.is_multiple_of(page) || !header.image_len.is_multiple_of(page) {
        return Err(malformed("the image is not whole pages", &image));
    }
    let text = header.text_offset..header.text_offset.saturating_add(header.text_len);
    inside(text.start, header.text_len, file_len)?;
    let in_segment = |program: &ProgramHeader| {
        program.p_type == PT_LOAD
            && program.p_flags & (PF_R | PF_X) == PF_R | PF_X
            && program.p_offset <= text.start
            && text.end <= program.p_offset + program.p_filesz
    };
    if !text.start.is_multiple_of(page) || header.text_len > u32::MAX.into() {
        return Err(malformed("the text is not whole pages, or too long", &text));
    }
    if !text.is_empty() && !programs.iter().any(in_segment) {
        return Err(malformed("the text is not in an executable segment", &text));
    }
    if header.init != NONE && u64::from(header.init) >= header.text_len {
        return Err(malformed("the initialiser is not in the text", &text));
    }
    if header.metering > 1 {
        return Err(malformed("whether code is metered is neither 0 nor 1", &(0..header.metering.into())));
    }
    Ok(())
}

fn inside(start: u64, len: u64, file_len: u64) -> Result<(), OpenErrorKind> {
    let wanted = start.saturating_add(len);
    if wanted <= file_len { Ok(()) } else { Err(OpenErrorKind::Truncated { found: file_len, wanted }) }
}

fn malformed(what: &'static str, range: &Range<u64>) -> OpenErrorKind {
    OpenErrorKind::Malformed { what, found: range.start, end: range.end }
}
