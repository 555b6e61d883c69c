//! Components: the same stages as for core modules, around one more: executing the component's definitions.
//!
//! bytes ─parse─▶ `Component` ─execute─▶ [`linkage::Linkage`] ─▶ [`crate::program::Program`]
#![expect(dead_code, reason = "about to be used")]

pub(crate) mod flat;
pub(crate) mod linkage;
