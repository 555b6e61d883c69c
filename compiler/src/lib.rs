//! Compiles WebAssembly ahead of time into native, position-independent shared objects.
//!
//! Bytes in, bytes out: [`compile`] does no I/O, and what it returns depends on nothing but its arguments.
#![forbid(unsafe_code)]

mod component;
mod constant;
mod emit;
mod error;
mod image;
mod inline;
mod layout;
mod link;
mod lower;
mod module;
mod options;
mod parse;
mod profile;
mod program;
mod resolve;
mod text;
mod translate;

pub use error::{Error, Place};
pub use precast_abi::profile::{Profile, ProfileError};
pub use precast_abi::snapshot::Snapshot;
use program::Program;

pub use options::{Emit, MemoryModel, OptLevel, Options, Progress};

/// Version of the compiler with its code generator: part of every cache key, and the artifact's producer.
pub const VERSION: &str = concat!("precast ", env!("CARGO_PKG_VERSION"), ", cranelift 0.135.8");

/// Compiles a module or component, binary or text, to what `options.emit` says. Functions are compiled in parallel, in rayon's
/// current thread pool; the bytes are the same for any number of threads.
///
/// # Errors
/// See [`Error`]. A module that is valid is never reported as invalid.
pub fn compile(input: &[u8], options: &Options<'_>) -> Result<Vec<u8>, Error> {
    compile_from(input, options, None)
}

/// As [`compile`], but instances start from a snapshot: the state that an instance of the same module or component was
/// in, compiled for any target. Nothing of them is initialised any more, and of a module the exports `spent`, which were
/// called to get there, are left out.
///
/// # Errors
/// As [`compile`], and [`Error::Snapshot`] if the snapshot is one of another program.
pub fn compile_snapshot(
    input: &[u8],
    options: &Options<'_>,
    snapshot: &Snapshot,
    spent: &[&str],
) -> Result<Vec<u8>, Error> {
    compile_from(input, options, Some(&Start { snapshot, spent }))
}

/// What instances start from, where that is not what the program says.
struct Start<'a> {
    snapshot: &'a Snapshot,
    spent: &'a [&'a str],
}

fn compile_from(input: &[u8], options: &Options<'_>, start: Option<&Start<'_>>) -> Result<Vec<u8>, Error> {
    options.check()?;
    let bytes = parse::to_binary(input)?;
    compile_binary(&bytes, options, start).map_err(|error| parse::name_missing_proposal(&bytes, error))
}

fn compile_binary(bytes: &[u8], options: &Options<'_>, start: Option<&Start<'_>>) -> Result<Vec<u8>, Error> {
    let source = source(bytes, &options.links);
    if component::is_component(bytes) {
        let linkage = component::link(bytes, &options.links)?;
        linkage.modules.iter().try_for_each(parse::check_supported)?;
        let program = resolve::component(&linkage, options)?;
        component::validate_unreached(&linkage, &program)?;
        return compile_program(program, source, options, start);
    }
    let module = parse::parse(bytes)?;
    parse::check_supported(&module)?;
    // A module is too large only if it is valid.
    let program = resolve::module(&module, options).or_else(|limit| parse::validate_bodies(&module).and(Err(limit)))?;
    compile_program(program, source, options, start)
}

/// What says which program it is: the hash of what it is compiled of.
fn source(bytes: &[u8], links: &[(String, Vec<u8>)]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes);
    for part in links.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

fn compile_program(
    mut program: Program<'_>,
    source: [u8; 32],
    options: &Options<'_>,
    start: Option<&Start<'_>>,
) -> Result<Vec<u8>, Error> {
    if let Some(Start { snapshot, spent }) = start {
        image::start(&mut program, snapshot, spent)?;
    }
    let program = &program;
    let isa = lower::target_isa(options)?;
    if options.emit == Emit::Clif {
        return emit::clif(program, &*isa);
    }
    // No new functions from here on.
    let mut functions = lower::compile_functions(program, &*isa, options)?;
    if options.emit == Emit::Asm {
        return emit::asm(program, &functions);
    }
    let mut order = None;
    if let Some(profile) = &options.profile {
        let (arranged, by) = profile::arrange(program, functions, profile)?;
        (functions, order) = (arranged, Some(by));
    }
    // Text offsets are final from here on.
    let text = text::Text::place(&*isa, &functions)?;
    let image = image::image(program, &text, start.map(|start| start.snapshot))?;
    let profile = order.map(|order| order.laid_out(program, source, &text, &image));
    let input = link::LinkInput {
        program,
        source,
        options,
        functions: &functions,
        text: &text,
        image: &image,
        profile: profile.as_ref(),
        isa: &*isa,
    };
    match options.emit {
        Emit::Obj => link::object(&input),
        _ => link::link(&input),
    }
}
