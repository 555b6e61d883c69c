//! Components: the same stages as for core modules, around one more: executing the component's definitions.
//!
//! bytes ─parse─▶ `Component` ─execute─▶ [`linkage::Linkage`] ─▶ [`crate::program::Program`]

mod convert;
mod execute;
pub(crate) mod linkage;
mod parse;
pub(crate) mod program;
mod unreached;

pub(crate) use self::execute::link;
pub(crate) use self::unreached::validate_unreached;

/// Whether these are the bytes of a component.
pub(crate) fn is_component(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(&[0x0d, 0, 1, 0])
}
