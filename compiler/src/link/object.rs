//! `--emit=obj`: the parts of the artifact as sections of a relocatable object.
//!
//! All code is one `.text`, placed and resolved already, so the only relocations are those of `.eh_frame`. They are
//! relative, and a linker that makes a shared object of this has none left for load time.

use object::write::{Object, Relocation, SectionId, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationEncoding, RelocationFlags, RelocationKind, SectionKind,
    SymbolFlags, SymbolKind, SymbolScope,
};
use precast_abi::{section, symbol};
use precast_targets::Arch;

use super::eh_frame::EhFrame;
use super::symbols::Symbols;
use crate::Error;
use crate::image::Run;
use crate::text::Text;

/// Alignment of the text: AArch64's addresses of symbols are relative to pages of this size.
const TEXT_ALIGN: u64 = 4096;

/// The object file.
///
/// # Errors
/// [`Error::Internal`] if the writer refuses it.
pub(super) fn write(
    arch: Arch,
    symbols: &Symbols,
    eh_frame: &EhFrame,
    meta: &[u8],
    text: &Text,
    image: &[Run],
) -> Result<Vec<u8>, Error> {
    let internal = |error| Error::internal("link", error);
    let architecture = match arch {
        Arch::X86_64 => Architecture::X86_64,
        Arch::Aarch64 => Architecture::Aarch64,
    };
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let mut section = |name: &str, kind, bytes: &[u8], align| {
        let section = object.add_section(Vec::new(), name.into(), kind);
        object.set_section_data(section, bytes.to_vec(), align);
        section
    };
    let text_section = section(".text", SectionKind::Text, &text.bytes, TEXT_ALIGN);
    let eh_frame_section = section(".eh_frame", SectionKind::ReadOnlyData, eh_frame.bytes_to_continue(), 8);
    let meta_section = section(section::META, SectionKind::ReadOnlyData, meta, 8);
    if !image.is_empty() {
        let bytes: Vec<u8> = image.iter().flat_map(|run| &run.bytes).copied().collect();
        section(section::IMAGE, SectionKind::ReadOnlyData, &bytes, arch.max_page_size());
    }
    // Its presence without flags says that the stack need not be executable.
    section(".note.GNU-stack", SectionKind::Other, &[], 1);

    for local in &symbols.locals {
        object.add_symbol(function(&local.name, &local.range, SymbolScope::Compilation, text_section));
    }
    for export in &symbols.exports {
        // In an object, what follows an `@` is a version for the linker to look up.
        let scope = if export.name.contains('@') { SymbolScope::Compilation } else { SymbolScope::Dynamic };
        object.add_symbol(function(&export.name, &export.range, scope, text_section));
    }
    object.add_symbol(Symbol {
        kind: SymbolKind::Data,
        ..function(symbol::DESCRIPTOR, &(0..meta.len() as u32), SymbolScope::Dynamic, meta_section)
    });

    let text_symbol = object.section_symbol(text_section);
    for (offset, function) in eh_frame.references() {
        let flags = RelocationFlags::Generic {
            kind: RelocationKind::Relative,
            encoding: RelocationEncoding::Generic,
            size: 32,
        };
        let relocation = Relocation { offset, symbol: text_symbol, addend: function.into(), flags };
        object.add_relocation(eh_frame_section, relocation).map_err(internal)?;
    }
    object.write().map_err(internal)
}

fn function(name: &str, range: &std::ops::Range<u32>, scope: SymbolScope, section: SectionId) -> Symbol {
    Symbol {
        name: name.into(),
        value: range.start.into(),
        size: range.len() as u64,
        kind: SymbolKind::Text,
        scope,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    }
}
