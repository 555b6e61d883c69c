//! Everything in, ELF out: the artifact ([`link`]), or a relocatable object for other linkers ([`object`]).
//!
//! Both have the same parts. The artifact is placed by us, without a system linker, so that it needs no relocations and
//! its text and image can be mapped as they lie in the file:
//!
//! | part | file |
//! |---|---|
//! | names of the functions in the text | `names.rs` |
//! | `.precast.meta` | `meta.rs`, `component.rs` |
//! | `.eh_frame`, `.eh_frame_hdr` | `eh_frame.rs` |
//! | what the symbol tables list | `symbols.rs` |
//! | places in the file | `places.rs` |
//! | the file | `elf.rs` |
//! | the relocatable object | `object.rs` |

mod component;
mod eh_frame;
mod elf;
mod meta;
mod names;
mod object;
mod places;
mod symbols;

use cranelift_codegen::isa::TargetIsa;
use precast_abi::meta::DIGEST_OFFSET;

use crate::image::MemoryImage;
use crate::lower::CompiledFunction;
use crate::profile::LaidOut;
use crate::program::Program;
use crate::text::Text;
use crate::{Error, Options};

use eh_frame::EhFrame;
pub(crate) use names::kind;
use symbols::Symbols;

/// What an artifact is made of.
pub(crate) struct LinkInput<'a> {
    /// What was compiled.
    pub(crate) program: &'a Program<'a>,
    /// The hash of what it was compiled of.
    pub(crate) source: [u8; 32],
    /// How.
    pub(crate) options: &'a Options<'a>,
    /// In the order in which `text` has them.
    pub(crate) functions: &'a [CompiledFunction],
    /// Their code.
    pub(crate) text: &'a Text,
    /// The initial state.
    pub(crate) image: &'a MemoryImage,
    /// What it is laid out by, if there is something.
    pub(crate) profile: Option<&'a LaidOut>,
    /// The target.
    pub(crate) isa: &'a dyn TargetIsa,
}

/// The artifact, an `ET_DYN`.
///
/// # Errors
/// [`Error::Limit`] if a part is too large for the format.
pub(crate) fn link(input: &LinkInput<'_>) -> Result<Vec<u8>, Error> {
    let functions = names::functions(input);
    let meta = meta::meta(input, &functions)?;
    let eh_frame = EhFrame::new(input.isa, input.functions, input.text)?;
    let symbols = Symbols::new(input.program, &functions, input.text)?;
    let (mut file, meta_offset) = elf::write(elf::Parts {
        arch: input.options.arch,
        symbols: &symbols,
        eh_frame,
        meta,
        text: &input.text.bytes,
        image: &input.image.runs,
    })?;
    // Nothing in the file changes from here on. The digest's own bytes are still zero.
    let digest = blake3::hash(&file);
    let field = meta_offset + DIGEST_OFFSET;
    file[field..field + digest.as_bytes().len()].copy_from_slice(digest.as_bytes());
    Ok(file)
}

/// The parts of the artifact as a relocatable object, an `ET_REL`, that `ld -shared` accepts. What that makes of it is
/// for other people's tools, not for the loader: file offsets and the digest in the meta are zero.
///
/// # Errors
/// [`Error::Limit`] if a part is too large for the format.
pub(crate) fn object(input: &LinkInput<'_>) -> Result<Vec<u8>, Error> {
    let functions = names::functions(input);
    let meta = meta::meta(input, &functions)?;
    let eh_frame = EhFrame::new(input.isa, input.functions, input.text)?;
    let symbols = Symbols::new(input.program, &functions, input.text)?;
    object::write(input.options.arch, &symbols, &eh_frame, &meta.encode(), input.text, &input.image.runs)
}
