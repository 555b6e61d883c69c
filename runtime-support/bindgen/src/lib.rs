//! Generates typed bindings of components from WIT.
