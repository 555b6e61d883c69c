//! Damaged headers and tables, opened without the digest. Three bytes of the input are a flip: place and bit.
//! `tests/hostile.rs` does it with random flips.
#![no_main]

use std::sync::OnceLock;

use precast_tests::hostile::{MODULE, damage_tables, opens};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static ARTIFACT: OnceLock<(Vec<u8>, tempfile::TempDir)> = OnceLock::new();
    let (artifact, folder) = ARTIFACT.get_or_init(|| {
        let artifact = precast_compiler::compile(MODULE.as_bytes(), &Default::default()).expect("it compiles");
        (artifact, tempfile::tempdir().expect("temporary folders can be made"))
    });
    let flips = bytes.as_chunks::<3>().0.iter().map(|flip| (u16::from_le_bytes([flip[0], flip[1]]).into(), flip[2]));
    opens(&folder.path().join("damaged.so"), &damage_tables(artifact, flips));
});
