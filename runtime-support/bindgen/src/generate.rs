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

#[cfg(test)]
mod tests {
    fn refusal(options: &str) -> String {
        let options = syn::parse_str(options).unwrap();
        super::bindings(&options).map(|_| "nothing is refused".to_owned()).unwrap_or_else(|error| error.to_string())
    }

    fn refusal_of(wit: &str) -> String {
        refusal(&format!("inline: {wit:?}"))
    }

    #[test]
    fn refusals_of_wit_have_file_and_line() {
        for (wit, message, line) in [
            ("package a:b;\nworld w {\n  import nothing;\n}", "interface or world `nothing`", "inline:3:10"),
            ("package a:b;\nworld w {\n  import f: fun();\n}", "expected", "inline:3:"),
            ("package a:b;\nworld w {\n  import f: async func();\n}", "async function of WASI 0.3", "inline:3:"),
            ("package a:b;\nworld w {\n  import f: func() -> stream<u8>;\n}", "a stream is not supported", "inline:3:"),
            ("package a:b;\nworld w {\n  export f: func(a: future<u8>);\n}", "a future is not supported", "inline:3:"),
            ("package a:b;\nworld w {\n  export f: func(a: error-context);\n}", "error-context is not", "inline:3:"),
        ] {
            let refusal = refusal_of(wit);
            assert!(refusal.contains(message) && refusal.contains(line), "{wit}\n{refusal}");
        }
        let params: String = (0..17).map(|at| format!("p{at}: u8,")).collect();
        let refusal = refusal_of(&format!("package a:b; world w {{ import f: func({params}); }}"));
        assert!(refusal.contains("`f` has more than 16 parameters"), "{refusal}");
    }

    #[test]
    fn refusals_of_options() {
        let wit = r#"inline: "package a:b; interface i { resource r; f: func(); } world w { import i; } world v {}""#;
        for (options, message) in [
            ("", "one must be explicitly chosen"),
            (r#", world: "x""#, "World `x` not found"),
            (r#", world: "w", with: { "a:b/i/s": x::Y }"#, "no resource, interface or package `a:b/i/s`"),
            (r#", world: "w", async: ["a:b/i#g"]"#, "no function `a:b/i#g`"),
            (r#", world: "w", path: "nowhere""#, "nowhere"),
            (r#", world: "w", path: "src""#, "no files of WIT"),
            (r#", world: "w", with: { "a:b/i/r": x::Y }, async: ["a:b/i#f"]"#, "nothing is refused"),
        ] {
            let refusal = refusal(&format!("{wit}{options}"));
            assert!(refusal.contains(message), "{options}: {refusal}");
        }
    }

    #[test]
    fn versions_side_by_side() {
        let options = r#"inline: "
            package a:b;
            world w { import x:y/i@1.0.0; import x:y/i@2.0.0; }
            package x:y@1.0.0 { interface i { f: func(); } }
            package x:y@2.0.0 { interface i { f: func(); } }
        ""#;
        let bindings = super::bindings(&syn::parse_str(options).unwrap()).unwrap().to_string();
        assert!(bindings.contains("mod y1_0_0") && bindings.contains("mod y2_0_0"), "{bindings}");
    }
}
