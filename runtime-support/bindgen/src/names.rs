//! Names of WIT, which are like `input-stream` or `HTTP-request`, as names of Rust.

use proc_macro2::{Ident, Span};

/// Words that are no Rust identifiers, strict or reserved, in any edition.
const KEYWORDS: &[&str] = &[
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The identifier, with an underscore behind it where it is a keyword.
pub(crate) fn ident(name: &str) -> Ident {
    let keyword = KEYWORDS.binary_search(&name).is_ok();
    Ident::new(&if keyword { format!("{name}_") } else { name.to_owned() }, Span::call_site())
}

/// `input-stream` as `InputStream`.
pub(crate) fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    for word in name.split('-') {
        let mut chars = word.chars();
        camel.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        camel.extend(chars.map(|char| char.to_ascii_lowercase()));
    }
    camel
}

/// `input-stream` as `input_stream`.
pub(crate) fn snake(name: &str) -> String {
    name.replace('-', "_").to_ascii_lowercase()
}

/// `input-stream` as `INPUT_STREAM`.
pub(crate) fn screaming(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(camel("DNS-error-payload"), "DnsErrorPayload");
        assert_eq!(camel("ipv4-socket-address"), "Ipv4SocketAddress");
        assert_eq!(snake("HTTP-request-URI-too-long"), "http_request_uri_too_long");
        assert_eq!(screaming("read-only"), "READ_ONLY");
        assert_eq!(ident("type").to_string(), "type_");
        assert_eq!(ident(&camel("self")).to_string(), "Self_");
        assert_eq!(ident("types").to_string(), "types");
        assert!(KEYWORDS.is_sorted());
    }
}
