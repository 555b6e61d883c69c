//! Success and refusal of each function of the family.

use super::*;
use crate::preview1::io::fd_write;
use crate::preview1::testing::{DIR, context, memory, open, put, u16_at, u32_at, u64_at, with_directory};
use crate::preview1::types::Rights;
use crate::{Address, Grant, Grants};

const READ: u64 = Rights::FD_READ.0;
const READ_WRITE: u64 = Rights::FD_READ.with(Rights::FD_WRITE).0;
const TRUNC: u32 = 8;

#[test]
fn closing_ends_a_descriptor() {
    let (mut ctx, mut memory) = (context(Grants::none()).ctx, memory());
    assert_eq!(fd_close(&mut ctx, &mut memory, 0), Ok(()));
    assert_eq!(fd_close(&mut ctx, &mut memory, 0), Err(Errno::BadF));
    assert_eq!(fd_close(&mut ctx, &mut memory, u32::MAX), Err(Errno::BadF));
}

#[test]
fn renumbering_replaces() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    fd_renumber(&mut guest.ctx, &mut memory, DIR, 0).unwrap();
    assert_eq!(fd_prestat_get(&mut guest.ctx, &mut memory, 0, 0), Ok(()));
    assert_eq!(fd_renumber(&mut guest.ctx, &mut memory, DIR, 1), Err(Errno::BadF));
    assert_eq!(fd_renumber(&mut guest.ctx, &mut memory, 1, 99), Err(Errno::BadF));
}

#[test]
fn fdstat_tells_kind_flags_and_rights() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ).unwrap();
    fd_fdstat_get(&mut guest.ctx, &mut memory, file, 0).unwrap();
    assert_eq!((memory[0], u16_at(&memory, 2)), (4, 0));
    let rights = Rights(u64_at(&memory, 8));
    assert!(rights.contains(Rights::FD_READ) && !rights.contains(Rights::FD_WRITE));
    fd_fdstat_get(&mut guest.ctx, &mut memory, DIR, 0).unwrap();
    assert_eq!(memory[0], 3);
    fd_fdstat_get(&mut guest.ctx, &mut memory, 0, 0).unwrap();
    assert_eq!((memory[0], Rights(u64_at(&memory, 8)).contains(Rights::FD_SEEK)), (0, false));
    assert_eq!(fd_fdstat_get(&mut guest.ctx, &mut memory, 99, 0), Err(Errno::BadF));
    assert_eq!(fd_fdstat_get(&mut guest.ctx, &mut memory, 0, u32::MAX), Err(Errno::Fault));
}

#[test]
fn flags_of_files_can_be_set() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ_WRITE).unwrap();
    let append_nonblock = FdFlags::APPEND.with(FdFlags::NONBLOCK).0;
    fd_fdstat_set_flags(&mut guest.ctx, &mut memory, file, u32::from(append_nonblock)).unwrap();
    fd_fdstat_get(&mut guest.ctx, &mut memory, file, 0).unwrap();
    assert_eq!(u16_at(&memory, 2), append_nonblock);
    let sync = u32::from(FdFlags::SYNC.0);
    assert_eq!(fd_fdstat_set_flags(&mut guest.ctx, &mut memory, file, sync), Err(Errno::NotSup));
    assert_eq!(fd_fdstat_set_flags(&mut guest.ctx, &mut memory, file, 0x20), Err(Errno::Inval));
    assert_eq!(fd_fdstat_set_flags(&mut guest.ctx, &mut memory, 0, 0), Ok(()));
    assert_eq!(fd_fdstat_set_flags(&mut guest.ctx, &mut memory, 0, 1), Err(Errno::NotSup));
}

#[test]
fn rights_given_up_are_gone() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ_WRITE).unwrap();
    fd_fdstat_set_rights(&mut guest.ctx, &mut memory, file, READ, 0).unwrap();
    assert_eq!(fd_write(&mut guest.ctx, &mut memory, file, 0, 0, 0), Err(Errno::NotCapable));
    assert_eq!(fd_sync(&mut guest.ctx, &mut memory, file), Err(Errno::NotCapable));
    assert_eq!(fd_fdstat_set_rights(&mut guest.ctx, &mut memory, file, READ_WRITE, 0), Err(Errno::NotCapable));
    assert_eq!(fd_fdstat_set_rights(&mut guest.ctx, &mut memory, file, 0, 1), Err(Errno::NotCapable));
    assert_eq!(fd_fdstat_set_rights(&mut guest.ctx, &mut memory, 99, 0, 0), Err(Errno::BadF));
}

#[test]
fn a_directory_passes_on_only_what_it_inherits() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    fd_fdstat_set_rights(&mut guest.ctx, &mut memory, DIR, Rights::PATH_OPEN.0, READ).unwrap();
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ_WRITE).unwrap();
    fd_fdstat_get(&mut guest.ctx, &mut memory, file, 0).unwrap();
    assert_eq!(u64_at(&memory, 8), READ);
    assert_eq!(open(&mut guest.ctx, &mut memory, "file", TRUNC, READ), Err(Errno::NotCapable));
}

#[test]
fn filestat_tells_size_and_kind() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ).unwrap();
    fd_filestat_get(&mut guest.ctx, &mut memory, file, 0).unwrap();
    assert_eq!((memory[16], u64_at(&memory, 24), u64_at(&memory, 32)), (4, 1, 10));
    fd_filestat_get(&mut guest.ctx, &mut memory, DIR, 0).unwrap();
    assert_eq!(memory[16], 3);
    fd_filestat_get(&mut guest.ctx, &mut memory, 1, 0).unwrap();
    assert_eq!((memory[16], u64_at(&memory, 8)), (0, 0));
    assert_eq!(fd_filestat_get(&mut guest.ctx, &mut memory, 99, 0), Err(Errno::BadF));
}

#[test]
fn sizes_are_set_and_space_is_allocated() {
    let ((temp, mut guest), mut memory) = (with_directory(false), memory());
    let size = || std::fs::metadata(temp.path().join("file")).unwrap().len();
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ_WRITE).unwrap();
    fd_filestat_set_size(&mut guest.ctx, &mut memory, file, 3).unwrap();
    assert_eq!(size(), 3);
    fd_allocate(&mut guest.ctx, &mut memory, file, 50, 50).unwrap();
    assert_eq!(size(), 100);
    assert_eq!(fd_filestat_set_size(&mut guest.ctx, &mut memory, file, u64::MAX), Err(Errno::Inval));
    assert_eq!(fd_allocate(&mut guest.ctx, &mut memory, file, 0, 0), Err(Errno::Inval));
    assert_eq!(fd_allocate(&mut guest.ctx, &mut memory, DIR, 0, 1), Err(Errno::IsDir));
    assert_eq!(fd_filestat_set_size(&mut guest.ctx, &mut memory, 0, 1), Err(Errno::SPipe));
    let reader = open(&mut guest.ctx, &mut memory, "file", 0, READ).unwrap();
    assert_eq!(fd_filestat_set_size(&mut guest.ctx, &mut memory, reader, 0), Err(Errno::NotCapable));
    assert_eq!(fd_allocate(&mut guest.ctx, &mut memory, reader, 0, 1), Err(Errno::NotCapable));
}

#[test]
fn times_are_set_as_the_flags_say() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ).unwrap();
    for fd in [file, DIR] {
        let (atim, mtim) = (FstFlags::ATIM.0, FstFlags::MTIM.0);
        fd_filestat_set_times(&mut guest.ctx, &mut memory, fd, 1_000_000_001, 5, u32::from(atim | mtim)).unwrap();
        fd_filestat_get(&mut guest.ctx, &mut memory, fd, 0).unwrap();
        assert_eq!((u64_at(&memory, 40), u64_at(&memory, 48)), (1_000_000_001, 5));
        let now = FstFlags::MTIM_NOW.0;
        fd_filestat_set_times(&mut guest.ctx, &mut memory, fd, 9, 9, u32::from(now)).unwrap();
        fd_filestat_get(&mut guest.ctx, &mut memory, fd, 0).unwrap();
        assert!(u64_at(&memory, 40) == 1_000_000_001 && u64_at(&memory, 48) > 1_700_000_000_000_000_000);
        let both = u32::from(FstFlags::MTIM.with(FstFlags::MTIM_NOW).0);
        assert_eq!(fd_filestat_set_times(&mut guest.ctx, &mut memory, fd, 0, 0, both), Err(Errno::Inval));
    }
    assert_eq!(fd_filestat_set_times(&mut guest.ctx, &mut memory, 0, 0, 0, 0), Err(Errno::NotCapable));
}

#[test]
fn a_read_only_grant_says_so() {
    let ((temp, mut guest), mut memory) = (with_directory(true), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ).unwrap();
    let now = u32::from(FstFlags::MTIM_NOW.0);
    assert_eq!(fd_filestat_set_times(&mut guest.ctx, &mut memory, file, 0, 0, now), Err(Errno::RoFs));
    assert_eq!(fd_filestat_set_times(&mut guest.ctx, &mut memory, DIR, 0, 0, now), Err(Errno::RoFs));
    let host = temp.path().display();
    let expected = format!(
        "denied: the guest asked for a change below \"{host}\", which is read-only; grant it with --allow=fs:{host}"
    );
    assert_eq!(guest.denials(), [expected]);
}

#[test]
fn granted_directories_are_found() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    fd_prestat_get(&mut guest.ctx, &mut memory, DIR, 0).unwrap();
    assert_eq!((memory[0], u32_at(&memory, 4)), (0, 1));
    fd_prestat_dir_name(&mut guest.ctx, &mut memory, DIR, 16, 5).unwrap();
    assert_eq!(&memory[16..18], b"/\0");
    assert_eq!(fd_prestat_dir_name(&mut guest.ctx, &mut memory, DIR, 16, 0), Err(Errno::NameTooLong));
    assert_eq!(fd_prestat_dir_name(&mut guest.ctx, &mut memory, 0, 16, 5), Err(Errno::BadF));
    assert_eq!(fd_prestat_get(&mut guest.ctx, &mut memory, DIR + 1, 0), Err(Errno::BadF));
}

#[test]
fn a_guest_that_looks_for_directories_finds_one_that_denies_its_paths() {
    let (mut guest, mut memory) = (context(Grants::none()), memory());
    fd_prestat_get(&mut guest.ctx, &mut memory, DIR, 0).unwrap();
    fd_prestat_dir_name(&mut guest.ctx, &mut memory, DIR, 0, 1).unwrap();
    assert_eq!(memory[0], b'/');
    assert_eq!(fd_prestat_get(&mut guest.ctx, &mut memory, DIR + 1, 0), Err(Errno::BadF));
    fd_fdstat_get(&mut guest.ctx, &mut memory, DIR, 0).unwrap();
    assert_eq!(memory[0], 3);
    assert!(guest.denials().is_empty(), "looking is not asking");
    assert_eq!(open(&mut guest.ctx, &mut memory, "etc/ssl/cert.pem", 0, READ), Err(Errno::NoEnt));
    assert_eq!(open(&mut guest.ctx, &mut memory, "another", 0, READ), Err(Errno::NoEnt));
    let expected = [
        "denied: the guest asked for \"/etc/ssl/cert.pem\"; grant it with --allow=fs:HOST=/etc/ssl",
        "denied: the guest asked for \"/another\"; grant it with --allow=fs:HOST=/",
    ];
    assert_eq!(guest.denials(), expected);
    fd_close(&mut guest.ctx, &mut memory, DIR).unwrap();
    assert_eq!(fd_prestat_get(&mut guest.ctx, &mut memory, DIR, 0), Err(Errno::BadF));
}

#[test]
fn the_ungranted_directory_hides_nothing() {
    let mut memory = memory();
    let (_temp, mut guest) = with_directory(false);
    assert_eq!(fd_prestat_get(&mut guest.ctx, &mut memory, DIR + 1, 0), Err(Errno::BadF), "the root is granted");
    let mut guest = context(Grants::none());
    assert_eq!(open(&mut guest.ctx, &mut memory, "file", 0, READ), Err(Errno::BadF), "nobody looked");
    assert_eq!(guest.denials(), ["denied: the guest asked for \"/file\"; grant it with --allow=fs:HOST=/"]);
    let address = Address { host: "127.0.0.1".into(), port: 0 };
    let mut guest = context(Grants::none().with(Grant::Listen(address)));
    assert_eq!(fd_prestat_get(&mut guest.ctx, &mut memory, DIR, 0), Err(Errno::BadF), "a socket is there");
    assert_eq!(guest.ctx.unanswered().unwrap().grant, "fs:HOST=/");
}

#[test]
fn advice_is_taken_for_files() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ).unwrap();
    for advice in 0..6 {
        assert_eq!(fd_advise(&mut guest.ctx, &mut memory, file, 0, 5, advice), Ok(()));
    }
    assert_eq!(fd_advise(&mut guest.ctx, &mut memory, file, 0, 0, 6), Err(Errno::Inval));
    assert_eq!(fd_advise(&mut guest.ctx, &mut memory, 1, 0, 0, 0), Err(Errno::SPipe));
    assert_eq!(fd_advise(&mut guest.ctx, &mut memory, 99, 0, 0, 0), Err(Errno::BadF));
}

#[test]
fn files_and_directories_are_synchronised() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ_WRITE).unwrap();
    for fd in [file, DIR] {
        assert_eq!(fd_sync(&mut guest.ctx, &mut memory, fd), Ok(()));
        assert_eq!(fd_datasync(&mut guest.ctx, &mut memory, fd), Ok(()));
    }
    assert_eq!(fd_sync(&mut guest.ctx, &mut memory, 1), Err(Errno::Inval));
    assert_eq!(fd_datasync(&mut guest.ctx, &mut memory, 99), Err(Errno::BadF));
}

#[test]
fn files_have_a_position() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, READ).unwrap();
    let mut seek = |offset: i64, whence| {
        let sought = fd_seek(&mut guest.ctx, &mut memory, file, offset.cast_unsigned(), whence, 8);
        fd_tell(&mut guest.ctx, &mut memory, file, 0).unwrap();
        sought.map(|()| (u64_at(&memory, 8), u64_at(&memory, 0)))
    };
    assert_eq!(seek(4, 0), Ok((4, 4)));
    assert_eq!(seek(-1, 1), Ok((3, 3)));
    assert_eq!(seek(-2, 2), Ok((8, 8)));
    assert_eq!(seek(-9, 1), Err(Errno::Inval));
    assert_eq!(seek(-9, 0), Err(Errno::Inval));
    assert_eq!(seek(0, 3), Err(Errno::Inval));
    let (address, _) = put(&mut memory, 0, "");
    assert_eq!(fd_seek(&mut guest.ctx, &mut memory, DIR, 0, 1, address), Err(Errno::IsDir));
    assert_eq!(fd_tell(&mut guest.ctx, &mut memory, DIR, address), Err(Errno::IsDir));
    assert_eq!(fd_seek(&mut guest.ctx, &mut memory, 1, 0, 0, address), Err(Errno::SPipe));
    assert_eq!(fd_tell(&mut guest.ctx, &mut memory, 1, address), Err(Errno::SPipe));
}
