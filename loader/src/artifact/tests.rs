//! Opening: what is accepted, and every refusal.

use std::os::unix::fs::PermissionsExt;

use precast_abi::bytes::Span;
use precast_abi::meta::{DIGEST_OFFSET, ExportRow};

use super::*;
use crate::open_error::Digest;
use crate::testing::{Guest, PAGE, TestArtifact};

fn refusal(change: impl FnOnce(&mut TestArtifact)) -> OpenErrorKind {
    let mut parts = TestArtifact::new();
    change(&mut parts);
    Artifact::open_bytes(&parts.bytes()).unwrap_err().kind
}

/// A file of this test's own, removed when dropped.
struct TestFile(std::path::PathBuf);

impl TestFile {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("precast-loader-{}-{name}.so", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        TestFile(path)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn every_way_of_opening_gives_the_same() {
    let mut parts = TestArtifact::new();
    // The least that the dynamic linker wants: DT_HASH, DT_STRTAB, DT_SYMTAB and their sizes, all in zeros.
    parts.dynamic = vec![4, 0x600, 5, 0x500, 6, 0x520, 10, 1, 11, 24, 0, 0];
    let bytes = parts.bytes();
    let file = TestFile::new("ways", &bytes);
    let debugger = OpenOptions { debugger: true, ..OpenOptions::default() };
    let opened = [
        Artifact::open(&file.0, Policy::Verify).unwrap(),
        Artifact::open(&file.0, Policy::Verify).unwrap(),
        Artifact::open(&file.0, Policy::Sealed).unwrap(),
        Artifact::open_with(&file.0, Policy::Verify, &debugger).unwrap(),
        Artifact::open_with(&file.0, Policy::Sealed, &debugger).unwrap(),
        Artifact::open_bytes(&bytes).unwrap(),
        // SAFETY: the file is as the test wrote it.
        unsafe { Artifact::open_trusted(&file.0).unwrap() },
    ];
    for artifact in &opened {
        assert_eq!(artifact.producer(), "the loader's tests");
        assert_eq!(artifact.digest(), opened[0].digest());
        assert_eq!(artifact.features().collect::<Vec<_>>(), ["cmpxchg16b", "sse3"]);
        assert_eq!(artifact.sizes().file, bytes.len() as u64);
        assert_eq!(artifact.functions().find(|function| function.name == "increment").unwrap().index, 1);
        assert!(Guest::new(artifact).call("increment", 41).is_ok_and(|value| value == 42));
    }
}

#[test]
fn text_is_registered_while_it_is_open() {
    let artifact = TestArtifact::new().open();
    let other = TestArtifact::new().open();
    let pc = artifact.inner().text().addr() + 1;
    assert!(std::ptr::eq(code::find(pc).unwrap(), Arc::as_ptr(artifact.inner().code())));
    let clone = artifact.clone();
    drop(artifact);
    assert!(code::find(pc).is_some());
    drop(clone);
    assert!(code::find(pc).is_none());
    assert!(code::find(other.inner().text().addr()).is_some());
    // More than one chunk of the registry.
    let many: Vec<_> = (0..200).map(|_| TestArtifact::new().open()).collect();
    assert!(many.iter().all(|artifact| code::find(artifact.inner().text().addr()).is_some()));
}

#[test]
fn every_altered_byte_is_found() {
    let bytes = TestArtifact::new().bytes();
    let digest = bytes.windows(8).position(|window| window == b"PRECAST\0").unwrap() + DIGEST_OFFSET;
    for at in (0..bytes.len()).step_by(97).chain(digest..digest + 32) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        Artifact::open_bytes(&altered).expect_err("altered");
    }
    let mut altered = bytes.clone();
    *altered.last_mut().unwrap() ^= 1;
    let kind = Artifact::open_bytes(&altered).unwrap_err().kind;
    let wanted = Digest(bytes[digest..digest + 32].try_into().unwrap());
    assert!(matches!(kind, OpenErrorKind::Digest { wanted: said, .. } if said == wanted));
}

#[test]
fn every_truncation_is_found() {
    let bytes = TestArtifact::new().bytes();
    for len in (0..bytes.len()).step_by(61) {
        let file = TestFile::new("truncated", &bytes[..len]);
        // SAFETY: nothing of the file runs.
        let error = unsafe { Artifact::open_trusted(&file.0) }.unwrap_err();
        let truncated = matches!(error.kind, OpenErrorKind::Truncated { .. });
        assert!(truncated || len < 4 && matches!(error.kind, OpenErrorKind::NotElf { .. }), "{len}: {error}");
        assert!(error.to_string().starts_with(&*file.0.to_string_lossy()));
    }
}

#[test]
fn files_of_other_kinds_are_refused_with_what_they_are() {
    let kind = |bytes: &[u8]| Artifact::open_bytes(bytes).unwrap_err().kind;
    assert!(matches!(kind(b"\0asm\x01\0\0\0"), OpenErrorKind::NotElf { found } if found == b"\0asm"));
    let altered = |at: usize, value: u8| {
        let mut bytes = TestArtifact::new().bytes();
        bytes[at] = value;
        kind(&bytes)
    };
    assert!(matches!(altered(4, 1), OpenErrorKind::ElfKind { found: 1, wanted: 2, .. }));
    assert!(matches!(altered(5, 2), OpenErrorKind::ElfKind { found: 2, wanted: 1, .. }));
    assert!(matches!(altered(16, 2), OpenErrorKind::ElfKind { found: 2, wanted: 3, .. }));
    let aarch64 = refusal(|parts| parts.machine = 183);
    assert_eq!(
        aarch64.to_string(),
        "compiled for aarch64-unknown-linux-gnu, but this process runs on x86_64-unknown-linux-gnu"
    );
    assert!(matches!(refusal(|parts| parts.machine = 243), OpenErrorKind::Architecture { .. }));
    assert!(matches!(refusal(|parts| parts.meta_type = 0x6000_0001), OpenErrorKind::NotPrecast));
    let missing = Artifact::open("/nowhere/at.all", Policy::Verify).unwrap_err();
    assert!(matches!(missing.kind, OpenErrorKind::Io { .. }));
    let folder = Artifact::open("/", Policy::Verify).unwrap_err();
    assert!(matches!(folder.kind, OpenErrorKind::Forbidden(_)), "{folder}");
    let endless = Artifact::open("/dev/zero", Policy::Sealed).unwrap_err();
    assert!(matches!(endless.kind, OpenErrorKind::Forbidden(_)), "{endless}");
}

#[test]
fn the_systems_own_libraries_are_refused_before_anything_of_them_runs() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
    // SAFETY: nothing of the file runs.
    let error = unsafe { Artifact::open_trusted(libc.expect("the C library is mapped")) }.unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn artifacts_of_other_loaders_and_machines_are_refused() {
    let version = refusal(|parts| parts.meta.header.abi_version = 77);
    assert!(matches!(version, OpenErrorKind::AbiVersion { found: 77, wanted: precast_abi::ABI_VERSION }));
    let features = refusal(|parts| parts.meta.header.features |= 1 << 63);
    assert_eq!(features.to_string(), "it needs CPU features that this machine does not have: feature bit 63");
    let OpenErrorKind::Malformed { .. } = refusal(|parts| parts.meta.header.magic[0] = 0) else { panic!() };
}

#[test]
fn what_would_run_or_relocate_is_refused() {
    let dynamic = |tag: u64| refusal(|parts| parts.dynamic = vec![5, 0, tag, 1, 0, 0]);
    for tag in [1, 12, 13, 25, 26, 32, 7, 17, 23, 36, 22, 0x7fff_fffd, 0x7fff_ffff] {
        assert!(matches!(dynamic(tag), OpenErrorKind::Forbidden(_)), "{tag}");
    }
    // The dynamic linker does not stop where the program header says, and looks at addresses instead of offsets.
    assert!(matches!(refusal(|parts| parts.dynamic = vec![5, 0]), OpenErrorKind::Malformed { .. }));
    let program_header = |ty: u32, change: fn(&mut [u8])| {
        let mut parts = TestArtifact::new();
        parts.dynamic = vec![5, 0, 0, 0];
        let mut bytes = parts.bytes();
        let header = bytes[64..0x400].chunks_exact_mut(56).find(|header| header[..4] == ty.to_le_bytes());
        change(header.unwrap());
        Artifact::open_bytes(&bytes).unwrap_err().kind
    };
    let elsewhere = program_header(2, |header| header[16..24].copy_from_slice(&0x500u64.to_le_bytes()));
    assert!(matches!(elsewhere, OpenErrorKind::Malformed { .. }), "{elsewhere}");
    let second = program_header(0x6474_e551, |header| header[0] = 2);
    assert!(matches!(second, OpenErrorKind::Forbidden(_) | OpenErrorKind::Malformed { .. }), "{second}");
    let stack = program_header(0x6474_e551, |header| header[0] = 0x52);
    assert!(matches!(stack, OpenErrorKind::Forbidden(_)), "{stack}");
    assert!(matches!(refusal(|parts| parts.text_flags = 7), OpenErrorKind::Forbidden(_)));
    assert!(matches!(refusal(|parts| parts.text_flags = 4), OpenErrorKind::Malformed { .. }));
}

#[test]
fn headers_that_contradict_the_file_are_refused() {
    let malformed = |change: fn(&mut TestArtifact)| {
        let kind = refusal(change);
        assert!(matches!(kind, OpenErrorKind::Malformed { .. } | OpenErrorKind::Truncated { .. }), "{kind}");
    };
    malformed(|parts| parts.meta.header.text_offset += 1);
    malformed(|parts| parts.meta.header.text_offset = u64::MAX - PAGE + 1);
    malformed(|parts| parts.meta.header.text_len = u64::MAX);
    malformed(|parts| parts.meta.header.text_len += 100 * PAGE);
    malformed(|parts| parts.meta.header.image_offset += 8);
    malformed(|parts| parts.meta.header.image_len += 100 * PAGE);
    malformed(|parts| parts.meta.header.init = u32::MAX - 1);
    malformed(|parts| parts.meta.header.metering = 2);
    malformed(|parts| parts.meta.header.layout.page_size = 0);
    malformed(|parts| parts.meta.header.layout.page_size = 4095);
    malformed(|parts| parts.meta.header.layout.host_size = 0);
    malformed(|parts| parts.meta.header.layout.host_size += 8);
    malformed(|parts| parts.meta.header.layout.host_size += 2 * PAGE);
    malformed(|parts| parts.meta.header.layout.host_start += 8);
    malformed(|parts| parts.meta.header.layout.host_start = PAGE);
    malformed(|parts| parts.meta.header.layout.host_start = u64::MAX - PAGE + 1);
    malformed(|parts| parts.meta.header.layout.stack_start = PAGE);
    malformed(|parts| parts.meta.header.layout.block_start = u64::MAX - PAGE + 1);
    malformed(|parts| parts.meta.header.layout.base_offset = PAGE);
    malformed(|parts| parts.meta.header.layout.slot_size = 1 << 60);
    let small = refusal(|parts| parts.meta.header.layout.page_size = 512);
    assert!(matches!(small, OpenErrorKind::PageSize { found: 512, .. }));
}

#[test]
fn malformed_rows_are_left_out_and_never_panic() {
    let mut parts = TestArtifact::new();
    let bad = Span { offset: u32::MAX, len: u32::MAX };
    let good = parts.meta.blob.intern(b"increment");
    let export = |name, kind, index, ty| ExportRow { name, kind, index, ty, text_offset: 0 };
    parts.meta.exports = vec![
        export(bad, 0, 0, 1),
        export(good, 0, 1, 1),
        export(good, 0, 1, 0),
        export(good, 0, 1, 99),
        export(good, 2, 0, 0),
        export(good, 2, 9, 0),
        export(good, 77, 0, 0),
    ];
    parts.meta.functions[0].name = bad;
    let artifact = Artifact::open_bytes(&parts.bytes());
    let artifact = artifact.unwrap();
    let types: Vec<_> = artifact.exports().map(|export| export.ty).collect();
    assert!(matches!(types[..], [ExternType::Func(_), ExternType::Memory(_)]), "{types:?}");
    assert!(artifact.functions().count() >= 9);
}

#[test]
fn a_file_is_verified_again_when_it_changed() {
    let bytes = TestArtifact::new().bytes();
    let file = TestFile::new("again", &bytes);
    std::fs::set_permissions(&file.0, PermissionsExt::from_mode(0o644)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(60));
    for _ in 0..2 {
        Artifact::open(&file.0, Policy::Verify).unwrap();
    }
    let mut altered = bytes;
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&file.0, &altered).unwrap();
    for _ in 0..2 {
        Artifact::open(&file.0, Policy::Verify).unwrap_err();
    }
}
