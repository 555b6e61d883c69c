//! What the integration tests share: from WebAssembly text to an artifact, through the compiler.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unreachable_pub, reason = "a module of each test program")]

use precast_compiler::Options;
use precast_loader::{Artifact, Bound, Instance, Linker};

/// Compiles and opens a module in the text format.
pub fn artifact(wat: &str) -> Artifact {
    artifact_with(wat, &Options::default())
}

/// The same with options.
pub fn artifact_with(wat: &str, options: &Options<'_>) -> Artifact {
    let bytes = precast_compiler::compile(wat.as_bytes(), options).expect("compiles");
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

/// Parts of components: a core module `$libc` with a memory and a `realloc` that never frees, instantiated as `$libc`.
pub const LIBC: &str = r#"
    (core module $Libc
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 4096))
        (func (export "realloc") (param $old i32) (param $len i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                (i32.xor (i32.sub (local.get $align) (i32.const 1)) (i32.const -1))))
            (global.set $next (i32.add (local.get $at) (local.get $size)))
            (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
                (then (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))))))
            (memory.copy (local.get $at) (local.get $old) (local.get $len))
            (local.get $at))
    )
    (core instance $libc (instantiate $Libc))
"#;

/// A component's text: `LIBC` and `parts`.
pub fn component(parts: &str) -> Artifact {
    artifact(&format!("(component {LIBC} {parts})"))
}
