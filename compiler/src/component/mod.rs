//! Components: the same stages as for core modules, around one more: executing the component's definitions.
//!
//! bytes ─parse─▶ `Component` ─execute─▶ [`linkage::Linkage`] ─▶ [`crate::program::Program`]
#![expect(dead_code, reason = "about to be used")]

pub(crate) mod flat;
pub(crate) mod linkage;
pub(crate) mod program;
mod unreached;

pub(crate) use self::unreached::validate_unreached;

use self::linkage::Linkage;
use crate::Error;

pub(crate) fn is_component(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(&[0x0d, 0, 1, 0])
}

pub(crate) fn link<'a>(_: &'a [u8], _: &'a [(String, Vec<u8>)]) -> Result<Linkage<'a>, Error> {
    Err(Error::unsupported(crate::parse::proposal::COMPONENTS, None, 0))
}
