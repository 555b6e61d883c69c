//! WASI 0.2: the interfaces of the Component Model over the same capabilities as WASI 0.1.

pub mod io;
