//! Components.
//!
//! Before they are compiled: in goes what the command line names; out comes one component, composed with others
//! ([`plug`]), the modules and components that its imports are bound to ([`link`]), and its interface as WIT text
//! ([`wit`]). When they run: which export is called ([`call`]), values as text ([`mod@parse`], [`show`]), and the guest
//! itself ([`guest`]).

pub(crate) mod call;
pub(crate) mod guest;
mod link;
mod parse;
mod plug;
mod show;
mod wit;

use std::borrow::Cow;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use clap::Args;
use precast_compiler::Options;

use crate::error::Error;
use crate::input;
use link::Link;

pub(crate) use parse::parse;
pub(crate) use show::Shown;
pub(crate) use wit::wit_text;

/// What a component is composed of.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Composition")]
pub(crate) struct ComposeArgs {
    /// Give the component's imports what this component exports, before compiling
    ///
    /// Each export goes to the import of the same interface; versions may differ within 0.2.x, 1.x and so on. What
    /// stays open becomes an import of the whole. May be given several times: a later one also serves what earlier
    /// ones import.
    #[arg(long, value_name = "FILE")]
    plug: Vec<PathBuf>,

    /// Bind a module or component that the component imports
    ///
    /// NAME is the import's, or INSTANCE/NAME if an imported instance exports it. May be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = link::parse)]
    link: Vec<Link>,
}

impl ComposeArgs {
    /// Composes `bytes`, which the user knows as `file`, and adds to `options` what its imports are bound to.
    ///
    /// # Errors
    /// If a file cannot be read or is no component, or nothing of a plug fits.
    pub(crate) fn apply(&self, file: &Path, bytes: Vec<u8>, options: &mut Options) -> Result<Vec<u8>, Error> {
        options.links = self.link.iter().map(Link::read).collect::<Result<_, _>>()?;
        let mut composed = bytes;
        for path in &self.plug {
            let plug = input::read_module(path)?;
            let (socket, plug) = (component(file, &composed)?, component(path, &plug)?);
            composed = without_panic(|| plug::plug(&socket, path, &plug)).unwrap_or_else(|| Err(plug::failed(path)))?;
        }
        Ok(composed)
    }
}

/// Whether this is the beginning of a component in the binary format: the version of a module, in the second layer.
pub(crate) fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && bytes.get(6..8) == Some(&[1, 0])
}

/// The component that `bytes` are, binary or text.
fn component<'a>(file: &Path, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
    let name = input::display_name(file);
    let binary =
        wat::parse_bytes(bytes).map_err(|error| Error::context(format_args!("cannot compose `{name}`"), error))?;
    match is_component(&binary) {
        true => Ok(binary),
        false => Err(Error::Failed(format!("cannot compose `{name}`: it is a module, not a component"))),
    }
}

/// What `work` gives, or `None` if it panics, which nobody is told: for libraries that do so on odd input.
fn without_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    // What `work` may have left half done is nothing that anybody looks at again.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_no_result() {
        assert_eq!(without_panic(|| 1), Some(1));
        assert_eq!(without_panic(|| -> u8 { panic!("odd") }), None);
    }

    #[test]
    fn components_are_told_from_modules() {
        assert!(is_component(&wat::parse_str("(component)").unwrap()));
        assert!(!is_component(&wat::parse_str("(module)").unwrap()));
        assert!(!is_component(b"(component)"));
        assert!(!is_component(b"\0asm"));
    }
}
