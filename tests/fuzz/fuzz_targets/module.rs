//! A module drawn from the input: precast agrees with itself about it. `tests/smith.rs` does it with random modules.
#![no_main]

use precast_tests::smith::{Case, check_case};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((seed, bytes)) = bytes.split_first_chunk() else { return };
    if let Some(case) = Case::from_bytes(u64::from_le_bytes(*seed), bytes)
        && let Err(failure) = check_case(case)
    {
        panic!("{failure}");
    }
});
