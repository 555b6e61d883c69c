//! Any bytes: an error, or an artifact. `tests/hostile.rs` does it with damaged modules.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    precast_tests::hostile::compiles(bytes);
});
