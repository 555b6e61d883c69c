//! The macro's options.
//!
//! What comes in: the tokens between the parentheses. What goes out: [`Options`], in which every key was seen at most
//! once. Which keys of `with` and `async` mean something is known only once the world is: they count their uses, and
//! [`Options::unused`] names one that has none, since it is a spelling mistake.

use std::cell::Cell;

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{LitBool, LitStr, Path, Token, braced, bracketed, token};

/// What `bindgen!` was told.
#[derive(Default)]
pub(crate) struct Options {
    /// Files and folders of WIT, relative to the crate's folder.
    pub(crate) paths: Vec<LitStr>,
    /// WIT in the macro itself.
    pub(crate) inline: Option<LitStr>,
    /// Name of the world; the only one of the package without.
    pub(crate) world: Option<LitStr>,
    /// Rust items to use for resources, interfaces and packages.
    pub(crate) with: Vec<With>,
    /// Which imported functions are asynchronous.
    pub(crate) asynchronous: Async,
    /// Unstable features of the WIT to be seen.
    pub(crate) features: Vec<LitStr>,
}

/// `"wasi:io/poll": crate::poll`
pub(crate) struct With {
    pub(crate) key: LitStr,
    pub(crate) path: Path,
    used: Cell<bool>,
}

#[derive(Default)]
pub(crate) enum Async {
    #[default]
    None,
    All,
    Some(Vec<(LitStr, Cell<bool>)>),
}

impl Options {
    /// Where errors go that no part of the options is to blame for.
    pub(crate) fn span(&self) -> Span {
        let literals = [self.world.as_ref(), self.inline.as_ref(), self.paths.first()];
        literals.into_iter().flatten().next().map_or_else(Span::call_site, LitStr::span)
    }

    /// The Rust item for the first of `keys` that has one.
    pub(crate) fn with(&self, keys: &[String]) -> Option<&Path> {
        let with = keys.iter().find_map(|key| self.with.iter().find(|with| with.key.value() == *key))?;
        with.used.set(true);
        Some(&with.path)
    }

    /// Whether the imported function with one of these names is asynchronous.
    pub(crate) fn is_async(&self, keys: &[String]) -> bool {
        match &self.asynchronous {
            Async::None => false,
            Async::All => true,
            Async::Some(names) => {
                let mut found = false;
                for (name, used) in names {
                    if keys.contains(&name.value()) {
                        used.set(true);
                        found = true;
                    }
                }
                found
            }
        }
    }

    /// The error of a key that nothing has used.
    pub(crate) fn unused(&self) -> Option<syn::Error> {
        if let Some(with) = self.with.iter().find(|with| !with.used.get()) {
            let message = format!("the world imports no resource, interface or package `{}`", with.key.value());
            return Some(syn::Error::new(with.key.span(), message));
        }
        let Async::Some(names) = &self.asynchronous else { return None };
        let (name, _) = names.iter().find(|(_, used)| !used.get())?;
        let message = format!(
            "the world imports no function `{}`; names are like \"wasi:io/poll#poll\" and \
             \"wasi:io/poll#[method]pollable.block\"",
            name.value()
        );
        Some(syn::Error::new(name.span(), message))
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(token::Brace) {
            let content;
            braced!(content in input);
            if !input.is_empty() {
                return Err(input.error("expected nothing after the options"));
            }
            return Options::fields(&content);
        }
        Options::fields(input)
    }
}

impl Options {
    fn fields(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Options::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let (key, span) = match input.parse::<Option<Token![async]>>()? {
                Some(token) => ("async".to_owned(), token.span),
                None => {
                    let ident: syn::Ident = input.parse()?;
                    (ident.to_string(), ident.span())
                }
            };
            input.parse::<Token![:]>()?;
            if seen.contains(&key) {
                return Err(syn::Error::new(span, format!("`{key}` is given twice")));
            }
            match &*key {
                "path" => options.paths = one_or_more(input)?,
                "inline" => options.inline = Some(input.parse()?),
                "world" => options.world = Some(input.parse()?),
                "with" => options.with = with(input)?,
                "async" => options.asynchronous = asynchronous(input)?,
                "features" => options.features = list(input)?,
                _ => {
                    let message =
                        format!("unknown option `{key}`: there are path, inline, world, with, async and features");
                    return Err(syn::Error::new(span, message));
                }
            }
            seen.push(key);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

fn one_or_more(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    if input.peek(token::Bracket) { list(input) } else { Ok(vec![input.parse()?]) }
}

fn list(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    let content;
    bracketed!(content in input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

fn with(input: ParseStream<'_>) -> syn::Result<Vec<With>> {
    let content;
    braced!(content in input);
    let mut entries: Vec<With> = Vec::new();
    while !content.is_empty() {
        let key: LitStr = content.parse()?;
        content.parse::<Token![:]>()?;
        let path = content.call(Path::parse_mod_style)?;
        if entries.iter().any(|entry| entry.key.value() == key.value()) {
            return Err(syn::Error::new(key.span(), format!("`{}` is given twice", key.value())));
        }
        entries.push(With { key, path, used: Cell::new(false) });
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(entries)
}

fn asynchronous(input: ParseStream<'_>) -> syn::Result<Async> {
    if input.peek(LitBool) {
        let all: LitBool = input.parse()?;
        return Ok(if all.value { Async::All } else { Async::None });
    }
    Ok(Async::Some(list(input)?.into_iter().map(|name| (name, Cell::new(false))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        syn::parse_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn options() {
        let options = parse(
            r#"{ path: ["a", "b"], world: "w", with: { "a:b/c": crate::c, "a:b/c/d": ::x::D }, async: ["f", "g"], }"#,
        )
        .unwrap();
        assert_eq!(options.paths.len(), 2);
        assert!(options.with(&["a:b/c".to_owned()]).is_some());
        assert!(options.is_async(&["f".to_owned()]) && !options.is_async(&["h".to_owned()]));
        assert!(options.unused().unwrap().to_string().contains("a:b/c/d"));
        assert!(parse(r#"async: true"#).unwrap().is_async(&[]));
        assert!(!parse(r#"{ async: false }"#).unwrap().is_async(&[]));
    }

    #[test]
    fn refusals() {
        for (text, message) in [
            (r#"paths: "x""#, "unknown option `paths`"),
            (r#"path: "x", path: "y""#, "`path` is given twice"),
            (r#"with: { "a": b, "a": c }"#, "`a` is given twice"),
            (r#"world: 3"#, "expected string literal"),
            (r#"{} x"#, "expected nothing"),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
