//! Handler.
pub(crate) fn placeholder() {}
