//! The stages: read the WIT, find a place for everything, generate it.

use std::path::PathBuf;

use proc_macro2::TokenStream;
use quote::quote;
use wit_parser::{Resolve, Span, WorldId};

use crate::layout::Layouts;
use crate::options::Options;
use crate::place::Places;
use crate::source::Source;

/// What all generating needs.
pub(crate) struct Generator<'a> {
    pub(crate) resolve: &'a Resolve,
    pub(crate) world: WorldId,
    pub(crate) options: &'a Options,
    pub(crate) places: Places,
    pub(crate) layouts: Layouts,
}

/// The bindings that the options ask for.
///
/// # Errors
/// Whatever is wrong with the options or the WIT.
pub(crate) fn bindings(options: &Options) -> syn::Result<TokenStream> {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let source = Source::load(options, &root)?;
    let places = Places::new(&source.resolve, source.world, options);
    let layouts = Layouts::new(&source.resolve);
    let generator = Generator { resolve: &source.resolve, world: source.world, options, places, layouts };
    let world = generator.world()?;
    if let Some(error) = options.unused() {
        return Err(error);
    }
    let rebuilt_with = source.files.iter().map(|path| {
        let path = path.to_string_lossy();
        quote!(
            const _: &[u8] = ::core::include_bytes!(#path);
        )
    });
    Ok(quote!(#world #(#rebuilt_with)*))
}

impl Generator<'_> {
    /// An error about a place in the WIT.
    pub(crate) fn error(&self, at: Span, message: &str) -> syn::Error {
        let location = self.resolve.render_location(at);
        syn::Error::new(self.options.span(), format!("{message}\n  --> {location}"))
    }
}

/// What generated items are allowed: they are public, as their user makes them, and documented as the WIT is.
pub(crate) fn allowed() -> TokenStream {
    quote!(#[allow(
        missing_docs, dead_code, unreachable_pub, unused_qualifications, unsafe_code, rustdoc::all,
        clippy::all, clippy::undocumented_unsafe_blocks
    )])
}

/// Documentation of the WIT. Code in it is not Rust, so none of it shall be taken for an example to run.
pub(crate) fn docs(docs: &wit_parser::Docs) -> TokenStream {
    let Some(contents) = &docs.contents else { return TokenStream::new() };
    let mut fenced = false;
    let lines = contents.trim_end().lines().map(|line| {
        let mut line = line.trim_end().to_owned();
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            if fenced {
                line = "```text".to_owned();
            }
        } else if !fenced && line.starts_with("    ") {
            line = line.trim_start().to_owned();
        }
        format!(" {line}")
    });
    let text = lines.collect::<Vec<_>>().join("\n") + if fenced { "\n ```" } else { "" };
    quote!(#[doc = #text])
}
