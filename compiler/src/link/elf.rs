//! Where everything is in the artifact, and the bytes.
//!
//! ```text
//!   R    ELF header, program headers, build id, symbol and hash tables, .eh_frame, .precast.meta, .dynamic
//!   RX   .text, filled up to whole pages
//!   R    .precast.image, if there is one
//!        .symtab, strings, section headers
//! ```
//!
//! A virtual address is an offset in the file, so one mapping of the whole file is the loaded artifact. Text and image
//! begin and end at multiples of the target's largest page and share none with anything else: the loader makes the
//! text's pages executable where they are, and maps the image's over slots.
//!
//! Everything is first reserved and then written in the same order. The writer checks that order in debug builds only,
//! so the lengths are compared once more at the end.

use object::Endianness;
use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Writer};
use precast_abi::PT_PRECAST_META;
use precast_abi::meta::MetaBuilder;
use precast_targets::Arch;

use super::eh_frame::EhFrame;
use super::places::{ALIGN, BUILD_ID_LEN, Names, Places, Section};
use super::symbols::{HashGeometry, Symbols};
use crate::Error;
use crate::image::Run;
use crate::text::X86_64_FILL;

/// What the artifact consists of.
pub(super) struct Parts<'a> {
    pub(super) arch: Arch,
    pub(super) symbols: &'a Symbols,
    pub(super) eh_frame: EhFrame,
    pub(super) meta: MetaBuilder,
    pub(super) text: &'a [u8],
    pub(super) image: &'a [Run],
}

/// The file, with the digest still zero, and the offset of `.precast.meta` in it.
///
/// # Errors
/// [`Error::Limit`] if the unwind information does not reach the text; [`Error::Internal`] if places and contents differ.
pub(super) fn write(mut parts: Parts<'_>) -> Result<(Vec<u8>, usize), Error> {
    let mut file = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut file);
    let names = Names::add(&mut writer, parts.symbols);
    let places = Places::reserve(&mut writer, &parts, names.hash);
    // Addresses are final from here on.
    let contents = Contents::new(&mut parts, &places)?;
    Output { writer: &mut writer, parts: &parts, names: &names, places: &places }.write(&contents)?;
    let (reserved, written) = (writer.reserved_len(), writer.len());
    if reserved != written {
        return Err(Error::internal("link", format_args!("{written} bytes written where {reserved} were reserved")));
    }
    Ok((file, places.meta.offset))
}

/// Contents that depend on places.
struct Contents {
    build_id: Vec<u8>,
    eh_frame_hdr: Vec<u8>,
    meta: Vec<u8>,
}

impl Contents {
    fn new(parts: &mut Parts<'_>, places: &Places) -> Result<Contents, Error> {
        let text = places.text.offset as u64;
        let eh_frame = places.eh_frame.offset as u64;
        parts.eh_frame.relocate(eh_frame, text..places.text.end() as u64)?;
        let eh_frame_hdr = parts.eh_frame.header(places.eh_frame_hdr.offset as u64, eh_frame, text)?;

        let header = &mut parts.meta.header;
        (header.text_offset, header.text_len) = (text, places.text_pages as u64);
        if let Some(image) = places.image {
            (header.image_offset, header.image_len) = (image.offset as u64, image.len as u64);
            parts.meta.runs.iter_mut().for_each(|run| run.file_offset += image.offset as u64);
        }
        let meta = parts.meta.encode();
        Ok(Contents { build_id: build_id_note(parts.text, &meta), eh_frame_hdr, meta })
    }
}

/// The note that tells builds apart: equal code and tables have an equal one.
fn build_id_note(text: &[u8], meta: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(text).update(meta);
    let mut note = Vec::new();
    for word in [4, BUILD_ID_LEN as u32, elf::NT_GNU_BUILD_ID] {
        note.extend(word.to_le_bytes());
    }
    note.extend(elf::ELF_NOTE_GNU);
    note.push(0);
    note.extend(&hasher.finalize().as_bytes()[..BUILD_ID_LEN]);
    note
}

/// Writes what was reserved, in the same order.
struct Output<'w, 'a> {
    writer: &'w mut Writer<'a>,
    parts: &'w Parts<'w>,
    names: &'w Names<'a>,
    places: &'w Places,
}

impl Output<'_, '_> {
    fn write(mut self, contents: &Contents) -> Result<(), Error> {
        let places = self.places;
        self.headers()?;
        self.section(places.build_id, &contents.build_id)?;
        self.dynamic_symbols();
        self.section(places.eh_frame_hdr, &contents.eh_frame_hdr)?;
        self.section(places.eh_frame, self.parts.eh_frame.bytes())?;
        self.section(places.meta, &contents.meta)?;
        self.dynamic()?;
        self.text()?;
        self.image()?;
        self.symbols();
        self.writer.write_strtab();
        self.writer.write_shstrtab();
        self.section_headers();
        Ok(())
    }

    /// Writes a section at its place.
    fn section(&mut self, section: Section, bytes: &[u8]) -> Result<(), Error> {
        if self.writer.len() > section.offset || bytes.len() != section.len {
            let message = format_args!("section at {:#x} has another place or length", section.offset);
            return Err(Error::internal("link", message));
        }
        self.writer.pad_until(section.offset);
        self.writer.write(bytes);
        Ok(())
    }

    fn headers(&mut self) -> Result<(), Error> {
        let header = FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_DYN,
            e_machine: self.parts.arch.elf_machine(),
            e_entry: 0,
            e_flags: 0,
        };
        self.writer.write_file_header(&header).map_err(|error| Error::internal("link", error))?;
        self.program_headers();
        Ok(())
    }

    fn program_headers(&mut self) {
        let places = self.places;
        let page = self.parts.arch.max_page_size();
        let headers = size_of::<elf::FileHeader64<Endianness>>();
        let headers_len = places.segments as usize * size_of::<elf::ProgramHeader64<Endianness>>();
        let mut segment = |p_type, p_flags, offset: usize, len: usize, p_align| {
            self.writer.write_program_header(&ProgramHeader {
                p_type,
                p_flags,
                p_offset: offset as u64,
                p_vaddr: offset as u64,
                p_paddr: offset as u64,
                p_filesz: len as u64,
                p_memsz: len as u64,
                p_align,
            });
        };
        segment(elf::PT_PHDR, elf::PF_R, headers, headers_len, ALIGN as u64);
        segment(elf::PT_LOAD, elf::PF_R, 0, places.dynamic.end(), page);
        segment(elf::PT_LOAD, elf::PF_R | elf::PF_X, places.text.offset, places.text_pages, page);
        if let Some(image) = places.image {
            segment(elf::PT_LOAD, elf::PF_R, image.offset, image.len, page);
        }
        segment(elf::PT_DYNAMIC, elf::PF_R, places.dynamic.offset, places.dynamic.len, ALIGN as u64);
        segment(elf::PT_NOTE, elf::PF_R, places.build_id.offset, places.build_id.len, 4);
        segment(elf::PT_GNU_EH_FRAME, elf::PF_R, places.eh_frame_hdr.offset, places.eh_frame_hdr.len, 4);
        segment(elf::PT_GNU_STACK, elf::PF_R | elf::PF_W, 0, 0, 16);
        segment(PT_PRECAST_META, elf::PF_R, places.meta.offset, places.meta.len, ALIGN as u64);
    }

    fn dynamic_symbols(&mut self) {
        self.writer.write_null_dynamic_symbol();
        for symbol in &self.names.dynamic {
            let (section, st_type, offset, len) = match symbol.function {
                Some(function) => {
                    let range = &function.range;
                    (self.places.text, elf::STT_FUNC, range.start as usize, range.len())
                }
                None => (self.places.meta, elf::STT_OBJECT, 0, self.places.meta.len),
            };
            let sym = symbol_in(section, symbol.id, elf::STB_GLOBAL << 4 | st_type, offset, len);
            self.writer.write_dynamic_symbol(&sym);
        }
        self.writer.write_dynstr();
        let (hash, dynamic) = (self.names.hash, &self.names.dynamic);
        // This index counts the null symbol, that of the GNU table does not.
        self.writer.write_hash(hash.buckets, 1 + hash.symbols, |index| {
            index.checked_sub(1).map(|index| elf::hash(dynamic[index as usize].name.as_bytes()))
        });
        self.writer.write_gnu_hash(
            1,
            HashGeometry::BLOOM_SHIFT,
            hash.bloom_words,
            hash.buckets,
            hash.symbols,
            |index| elf::gnu_hash(dynamic[index as usize].name.as_bytes()),
        );
    }

    fn dynamic(&mut self) -> Result<(), Error> {
        let places = self.places;
        self.writer.pad_until(places.dynamic.offset);
        let internal = |error| Error::internal("link", error);
        self.writer.write_dynamic_string(elf::DT_SONAME, self.names.soname).map_err(internal)?;
        let dynstr_len = self.writer.dynstr_len();
        for (tag, value) in [
            (elf::DT_HASH, places.hash),
            (elf::DT_GNU_HASH, places.gnu_hash),
            (elf::DT_SYMTAB, places.dynsym),
            (elf::DT_STRTAB, places.dynstr),
            (elf::DT_STRSZ, dynstr_len),
            (elf::DT_SYMENT, size_of::<elf::Sym64<Endianness>>()),
            (elf::DT_NULL, 0),
        ] {
            self.writer.write_dynamic(tag, value as u64).map_err(internal)?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), Error> {
        self.section(self.places.text, self.parts.text)?;
        if self.parts.arch == Arch::X86_64 {
            self.writer.write(&vec![X86_64_FILL; self.places.text_pages - self.places.text.len]);
        }
        self.writer.pad_until(self.places.text.offset + self.places.text_pages);
        Ok(())
    }

    fn image(&mut self) -> Result<(), Error> {
        if self.places.image.is_some_and(|image| image.offset != self.writer.len()) {
            return Err(Error::internal("link", "the image does not follow the text"));
        }
        self.parts.image.iter().for_each(|run| self.writer.write(&run.bytes));
        Ok(())
    }

    fn symbols(&mut self) {
        self.writer.write_null_symbol();
        for (local, name) in self.parts.symbols.locals.iter().zip(&self.names.locals) {
            let (start, len) = (local.range.start as usize, local.range.len());
            let sym = symbol_in(self.places.text, *name, elf::STB_LOCAL << 4 | elf::STT_FUNC, start, len);
            self.writer.write_symbol(&sym);
        }
    }

    fn section_headers(&mut self) {
        let places = self.places;
        let page = self.parts.arch.max_page_size();
        let (alloc, align) = (elf::SHF_ALLOC, ALIGN as u64);
        self.writer.write_null_section_header();
        self.section_header(places.build_id, elf::SHT_NOTE, alloc, 4);
        self.writer.write_dynsym_section_header(places.dynsym as u64, 1);
        self.writer.write_dynstr_section_header(places.dynstr as u64);
        self.writer.write_hash_section_header(places.hash as u64);
        self.writer.write_gnu_hash_section_header(places.gnu_hash as u64);
        self.section_header(places.eh_frame_hdr, elf::SHT_PROGBITS, alloc, 4);
        self.section_header(places.eh_frame, elf::SHT_PROGBITS, alloc, align);
        self.section_header(places.meta, elf::SHT_PROGBITS, alloc, align);
        self.section_header(places.dynamic, elf::SHT_DYNAMIC, alloc, align);
        self.section_header(places.text, elf::SHT_PROGBITS, alloc | elf::SHF_EXECINSTR, page);
        if let Some(image) = places.image {
            self.section_header(image, elf::SHT_PROGBITS, alloc, page);
        }
        self.writer.write_symtab_section_header(1 + self.names.locals.len() as u32);
        self.writer.write_strtab_section_header();
        self.writer.write_shstrtab_section_header();
    }

    fn section_header(&mut self, section: Section, sh_type: u32, sh_flags: u32, sh_addralign: u64) {
        let (sh_link, sh_entsize) = match sh_type {
            elf::SHT_DYNAMIC => (self.writer.dynstr_index().0, size_of::<elf::Dyn64<Endianness>>() as u64),
            _ => (0, 0),
        };
        self.writer.write_section_header(&SectionHeader {
            name: Some(section.name),
            sh_type,
            sh_flags: sh_flags.into(),
            sh_addr: section.offset as u64,
            sh_offset: section.offset as u64,
            sh_size: section.len as u64,
            sh_link,
            sh_info: 0,
            sh_addralign,
            sh_entsize,
        });
    }
}

/// A symbol `offset` bytes into `section`.
fn symbol_in(section: Section, name: StringId, st_info: u8, offset: usize, len: usize) -> Sym {
    Sym {
        name: Some(name),
        section: Some(section.index),
        st_info,
        st_other: elf::STV_DEFAULT,
        st_shndx: 0,
        st_value: (section.offset + offset) as u64,
        st_size: len as u64,
    }
}
