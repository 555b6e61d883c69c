//! Where everything in the artifact is: names and places, before there are contents.
//!
//! What comes in: the parts, whose lengths are known. What goes out: string ids and offsets. `elf.rs` writes in the order
//! that is reserved here.

use object::Endianness;
use object::elf;
use object::write::StringId;
use object::write::elf::{SectionIndex, Writer};
use precast_abi::{section, symbol};

use super::elf::Parts;
use super::symbols::{HashGeometry, Symbols, TextSymbol};

/// Alignment of sections that have no other.
pub(super) const ALIGN: usize = 8;

/// `Elf64_Nhdr`, "GNU\0", the id.
const BUILD_ID_NOTE_LEN: usize = 12 + 4 + BUILD_ID_LEN;
/// Length of the build id in bytes: that of a SHA-1, as tools expect.
pub(super) const BUILD_ID_LEN: usize = 20;

/// SONAME, HASH, GNU_HASH, SYMTAB, STRTAB, STRSZ, SYMENT, NULL.
const DYNAMIC_ENTRIES: usize = 8;

/// The dynamic symbols in the order of `.dynsym`, and all names in the writer's string tables.
pub(super) struct Names<'a> {
    pub(super) soname: StringId,
    pub(super) locals: Vec<StringId>,
    pub(super) dynamic: Vec<DynamicSymbol<'a>>,
    pub(super) hash: HashGeometry,
}

pub(super) struct DynamicSymbol<'a> {
    pub(super) name: &'a str,
    pub(super) id: StringId,
    /// A function in the text; `None` for the descriptor.
    pub(super) function: Option<&'a TextSymbol>,
}

impl<'a> Names<'a> {
    pub(super) fn add(writer: &mut Writer<'a>, symbols: &'a Symbols) -> Self {
        let exports = symbols.exports.iter().map(|export| (export.name.as_str(), Some(export)));
        let mut dynamic: Vec<_> = exports.chain([(symbol::DESCRIPTOR, None)]).collect();
        let hash = HashGeometry::new(dynamic.len());
        dynamic.sort_unstable_by(|left, right| hash.order(left.0.as_bytes()).cmp(&hash.order(right.0.as_bytes())));

        let mut add = |(name, function): (&'a str, _)| {
            writer.reserve_dynamic_symbol_index();
            DynamicSymbol { name, id: writer.add_dynamic_string(name.as_bytes()), function }
        };
        let dynamic = dynamic.into_iter().map(&mut add).collect();
        let soname = writer.add_dynamic_string(symbols.soname.as_bytes());

        writer.reserve_null_symbol_index();
        let mut add = |local: &'a TextSymbol| {
            writer.reserve_symbol_index(None);
            writer.add_string(local.name.as_bytes())
        };
        let locals = symbols.locals.iter().map(&mut add).collect();
        Names { soname, locals, dynamic, hash }
    }
}

/// A section of ours: those of the symbol and string tables are the writer's.
#[derive(Clone, Copy)]
pub(super) struct Section {
    pub(super) name: StringId,
    pub(super) index: SectionIndex,
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl Section {
    pub(super) fn end(self) -> usize {
        self.offset + self.len
    }
}

/// Where everything is.
pub(super) struct Places {
    pub(super) build_id: Section,
    pub(super) dynsym: usize,
    pub(super) dynstr: usize,
    pub(super) hash: usize,
    pub(super) gnu_hash: usize,
    pub(super) eh_frame_hdr: Section,
    pub(super) eh_frame: Section,
    pub(super) meta: Section,
    pub(super) dynamic: Section,
    pub(super) text: Section,
    /// Length of the text's pages.
    pub(super) text_pages: usize,
    pub(super) image: Option<Section>,
    pub(super) segments: u32,
}

impl Places {
    /// Section headers are in the order of the calls that reserve their index, which is that of their contents.
    pub(super) fn reserve<'a>(writer: &mut Writer<'a>, parts: &Parts<'_>, hash: HashGeometry) -> Places {
        let section = |writer: &mut Writer<'a>, name: &'static str| {
            let name = writer.add_section_name(name.as_bytes());
            Section { name, index: writer.reserve_section_index(), offset: 0, len: 0 }
        };
        let page = parts.arch.max_page_size() as usize;
        let image_len = parts.image.iter().map(|run| run.bytes.len()).sum();

        writer.reserve_null_section_index();
        let build_id = section(writer, ".note.gnu.build-id");
        writer.reserve_dynsym_section_index();
        writer.reserve_dynstr_section_index();
        writer.reserve_hash_section_index();
        writer.reserve_gnu_hash_section_index();
        let eh_frame_hdr = section(writer, ".eh_frame_hdr");
        let eh_frame = section(writer, ".eh_frame");
        let meta = section(writer, section::META);
        let dynamic = section(writer, ".dynamic");
        let text = section(writer, ".text");
        let image = (image_len > 0).then(|| section(writer, section::IMAGE));
        writer.reserve_symtab_section_index();
        writer.reserve_strtab_section_index();
        writer.reserve_shstrtab_section_index();

        let place = |writer: &mut Writer<'a>, section: Section, len: usize, align: usize| Section {
            offset: writer.reserve(len, align),
            len,
            ..section
        };
        let segments = 8 + u32::from(image.is_some());
        writer.reserve_file_header();
        writer.reserve_program_headers(segments);
        let build_id = place(writer, build_id, BUILD_ID_NOTE_LEN, 4);
        let dynsym = writer.reserve_dynsym();
        let dynstr = writer.reserve_dynstr();
        let sysv_hash = writer.reserve_hash(hash.buckets, 1 + hash.symbols);
        let gnu_hash = writer.reserve_gnu_hash(hash.bloom_words, hash.buckets, hash.symbols);
        let eh_frame_hdr = place(writer, eh_frame_hdr, parts.eh_frame.header_len(), 4);
        let eh_frame = place(writer, eh_frame, parts.eh_frame.len(), ALIGN);
        // The length does not depend on what will be filled in.
        let meta = place(writer, meta, parts.meta.encode().len(), ALIGN);
        let dynamic = place(writer, dynamic, DYNAMIC_ENTRIES * size_of::<elf::Dyn64<Endianness>>(), ALIGN);
        let text = place(writer, text, parts.text.len(), page);
        // At least one page, so that there is always a text to map.
        let text_pages = parts.text.len().max(1).next_multiple_of(page);
        writer.reserve_until(text.offset + text_pages);
        let image = image.map(|section| place(writer, section, image_len, page));
        writer.reserve_symtab();
        writer.reserve_strtab();
        writer.reserve_shstrtab();
        writer.reserve_section_headers();
        Places {
            build_id,
            dynsym,
            dynstr,
            hash: sysv_hash,
            gnu_hash,
            eh_frame_hdr,
            eh_frame,
            meta,
            dynamic,
            text,
            text_pages,
            image,
            segments,
        }
    }
}
