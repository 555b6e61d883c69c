//! Components: the same stages as for core modules, around one more: executing the component's definitions.
//!
//! bytes ─parse─▶ `Component` ─execute─▶ [`linkage::Linkage`] ─▶ [`crate::program::Program`]

pub(crate) mod linkage;
pub(crate) mod program;
