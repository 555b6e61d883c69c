//! `--link NAME=FILE`: what a component's import of a module or component is bound to.

use std::path::PathBuf;

use crate::error::Error;
use crate::input;

/// A name and the file bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    name: String,
    file: PathBuf,
}

impl Link {
    /// What the compiler is given: the name, and the file in the binary format.
    pub(super) fn read(&self) -> Result<(String, Vec<u8>), Error> {
        let bytes = input::read_module(&self.file)?;
        let binary = wat::parse_bytes(&bytes).map_err(|error| {
            Error::context(format_args!("cannot bind `{}` to `{}`", input::display_name(&self.file), self.name), error)
        })?;
        Ok((self.name.clone(), binary.into_owned()))
    }
}

/// Parses `NAME=FILE`. Names of imports have no `=`; files may.
pub(super) fn parse(text: &str) -> Result<Link, String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok(Link { name: name.into(), file: file.into() }),
        _ => Err("expected NAME=FILE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_any_name() {
        let link = |name: &str, file: &str| Ok(Link { name: name.into(), file: file.into() });
        assert_eq!(parse("host/m=a=b.wasm"), link("host/m", "a=b.wasm"));
        assert_eq!(parse("m=-"), link("m", "-"));
        for text in ["", "m", "m=", "=a.wasm"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
