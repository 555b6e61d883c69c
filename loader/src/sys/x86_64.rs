//! x86-64 (bodies to follow).

/// What a host thunk calls on the guest's stack: `extern "C" fn(words, cell, values)`.
pub(crate) unsafe extern "sysv64" fn host_switch() {
    unimplemented!()
}

/// Defines the stub of a builtin: `builtin_stub!(stub_name => body)` makes `unsafe extern "sysv64" fn stub_name()`,
/// whose address goes into the table of builtins. `body` is an `extern "C" fn(words: *mut u8, …up to 5…)` that
/// returns `u32`, `u64` or a `#[repr(C)]` pair of `u64`, and runs on the host's stack.
macro_rules! builtin_stub {
    ($(#[$meta:meta])* $name:ident => $body:path) => {
        $(#[$meta])*
        unsafe extern "sysv64" fn $name() {
            let _ = $body;
            unimplemented!()
        }
    };
}
pub(crate) use builtin_stub;
