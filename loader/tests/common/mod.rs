//! What the integration tests share: from WebAssembly text to an artifact, through the compiler.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unreachable_pub, reason = "a module of each test program")]

use precast_loader::{Artifact, Bound, Instance, Linker};

/// Compiles and opens a module in the text format.
pub fn artifact(wat: &str) -> Artifact {
    let bytes = precast_compiler::compile(wat.as_bytes(), &precast_compiler::Options::default()).expect("compiles");
    Artifact::open_bytes(&bytes).expect("opens")
}

/// Binds a module to what `define` defines.
pub fn bind<T: 'static>(wat: &str, define: impl FnOnce(&mut Linker<T>)) -> Bound<T> {
    let mut linker = Linker::new();
    define(&mut linker);
    linker.bind(&artifact(wat)).expect("binds")
}

/// An instance of a module without imports.
pub fn instance(wat: &str) -> Instance<()> {
    bind(wat, |_| ()).instantiate(()).expect("instantiates")
}
