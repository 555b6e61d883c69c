//! Success and refusal of each function of the family.

use super::*;
use crate::fs::FileKind;
use crate::preview1::fd::{fd_close, fd_fdstat_get, fd_filestat_get};
use crate::preview1::io::{fd_read, fd_write};
use crate::preview1::testing::{
    DIR, Guest, buffer, context, memory, open, put, u16_at, u32_at, u64_at, with_directory,
};
use crate::preview1::types::{FstFlags, filetype};
use crate::{Grant, Grants};

const READ: u64 = Rights::FD_READ.0;
const WRITE: u64 = Rights::FD_WRITE.0;
const CREAT: u32 = OFlags::CREAT.0 as u32;
const DIRECTORY: u32 = OFlags::DIRECTORY.0 as u32;
const EXCL: u32 = OFlags::EXCL.0 as u32;
const TRUNC: u32 = OFlags::TRUNC.0 as u32;
const FOLLOW: u32 = LookupFlags::SYMLINK_FOLLOW.0;

/// A granted directory holding a file of ten bytes, `file`, and an empty directory, `sub`.
struct Host {
    temp: tempfile::TempDir,
    guest: Guest,
    memory: Vec<u8>,
}

impl Host {
    fn new() -> Self {
        let (temp, guest) = with_directory(false);
        Self { temp, guest, memory: memory() }
    }

    fn read_only() -> Self {
        let (temp, guest) = with_directory(true);
        Self { temp, guest, memory: memory() }
    }

    fn open(&mut self, path: &str, oflags: u32, rights: u64) -> Result<u32, Errno> {
        open(&mut self.guest.ctx, &mut self.memory, path, oflags, rights)
    }

    fn open_with(&mut self, path: &str, lookup: u32, oflags: u32, fdflags: u32) -> Result<u32, Errno> {
        let (path, len) = put(&mut self.memory, 0x800, path);
        let rights = READ | WRITE;
        path_open(&mut self.guest.ctx, &mut self.memory, DIR, lookup, path, len, oflags, rights, 0, fdflags, 0)?;
        Ok(u32_at(&self.memory, 0))
    }

    fn fill_descriptors(&mut self) {
        while self.open("file", 0, READ).is_ok() {}
    }

    fn create_directory(&mut self, path: &str) -> Result<(), Errno> {
        let (path, len) = put(&mut self.memory, 0x800, path);
        path_create_directory(&mut self.guest.ctx, &mut self.memory, DIR, path, len)
    }

    fn remove_directory(&mut self, path: &str) -> Result<(), Errno> {
        let (path, len) = put(&mut self.memory, 0x800, path);
        path_remove_directory(&mut self.guest.ctx, &mut self.memory, DIR, path, len)
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let (path, len) = put(&mut self.memory, 0x800, path);
        path_unlink_file(&mut self.guest.ctx, &mut self.memory, DIR, path, len)
    }

    fn symlink(&mut self, target: &str, path: &str) -> Result<(), Errno> {
        let (target, target_len) = put(&mut self.memory, 0x800, target);
        let (path, len) = put(&mut self.memory, 0xa00, path);
        path_symlink(&mut self.guest.ctx, &mut self.memory, target, target_len, DIR, path, len)
    }

    fn link(&mut self, from: &str, to: &str, lookup: u32) -> Result<(), Errno> {
        let (from, from_len) = put(&mut self.memory, 0x800, from);
        let (to, to_len) = put(&mut self.memory, 0xa00, to);
        path_link(&mut self.guest.ctx, &mut self.memory, DIR, lookup, from, from_len, DIR, to, to_len)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let (from, from_len) = put(&mut self.memory, 0x800, from);
        let (to, to_len) = put(&mut self.memory, 0xa00, to);
        path_rename(&mut self.guest.ctx, &mut self.memory, DIR, from, from_len, DIR, to, to_len)
    }

    fn readlink(&mut self, path: &str, length: u32) -> Result<Vec<u8>, Errno> {
        let (path, len) = put(&mut self.memory, 0x800, path);
        path_readlink(&mut self.guest.ctx, &mut self.memory, DIR, path, len, 0xa00, length, 0)?;
        Ok(self.memory[0xa00..0xa00 + u32_at(&self.memory, 0) as usize].to_vec())
    }

    /// Kind and size.
    fn stat(&mut self, path: &str, lookup: u32) -> Result<(u8, u64), Errno> {
        let (path, len) = put(&mut self.memory, 0x800, path);
        path_filestat_get(&mut self.guest.ctx, &mut self.memory, DIR, lookup, path, len, 0)?;
        Ok((self.memory[16], u64_at(&self.memory, 32)))
    }

    fn set_times(&mut self, path: &str, lookup: u32, time: u64, flags: u32) -> Result<(), Errno> {
        let (path, len) = put(&mut self.memory, 0x800, path);
        path_filestat_set_times(&mut self.guest.ctx, &mut self.memory, DIR, lookup, path, len, time, time, flags)
    }
}

#[test]
fn opening_without_a_free_descriptor_changes_nothing() {
    let mut host = Host::new();
    host.fill_descriptors();
    assert_eq!(host.open("new", CREAT, WRITE), Err(Errno::MFile));
    assert_eq!(host.open("file", TRUNC, WRITE), Err(Errno::MFile));
    assert!(!host.temp.path().join("new").exists());
    assert_eq!(std::fs::read(host.temp.path().join("file")).unwrap(), b"0123456789");
}

#[test]
fn files_are_opened_created_and_truncated() {
    let mut host = Host::new();
    assert!(host.open("file", 0, READ).is_ok());
    assert_eq!(host.open("new", 0, READ), Err(Errno::NoEnt));
    let new = host.open("new", CREAT, WRITE).unwrap();
    let iovs = buffer(&mut host.memory, 0x800, 3);
    fd_write(&mut host.guest.ctx, &mut host.memory, new, iovs, 1, 0).unwrap();
    assert_eq!(host.open("new", CREAT | EXCL, READ), Err(Errno::Exist));
    assert_eq!(host.stat("new", 0), Ok((4, 3)));
    host.open("new", TRUNC, 0).unwrap();
    assert_eq!(host.stat("new", 0), Ok((4, 0)));
}

#[test]
fn a_file_can_be_created_for_reading_only() {
    let mut host = Host::new();
    let new = host.open("new", CREAT, READ).unwrap();
    let iovs = buffer(&mut host.memory, 0x900, 3);
    assert_eq!(fd_read(&mut host.guest.ctx, &mut host.memory, new, iovs, 1, 0), Ok(()));
    assert_eq!(fd_write(&mut host.guest.ctx, &mut host.memory, new, iovs, 1, 0), Err(Errno::NotCapable));
}

#[test]
fn flags_given_at_opening_hold() {
    let mut host = Host::new();
    let flags = FdFlags::APPEND.with(FdFlags::SYNC).0;
    let file = host.open_with("file", 0, 0, u32::from(flags)).unwrap();
    fd_fdstat_get(&mut host.guest.ctx, &mut host.memory, file, 0).unwrap();
    assert_eq!(u16_at(&host.memory, 2), flags);
    let iovs = buffer(&mut host.memory, 0x900, 2);
    fd_write(&mut host.guest.ctx, &mut host.memory, file, iovs, 1, 0).unwrap();
    assert_eq!(std::fs::read(host.temp.path().join("file")).unwrap(), b"0123456789\0\0");
}

#[test]
fn directories_are_opened_to_open_more() {
    let mut host = Host::new();
    std::fs::write(host.temp.path().join("sub/inner"), "").unwrap();
    assert_eq!(host.open("file", DIRECTORY, 0), Err(Errno::NotDir));
    assert_eq!(host.open("sub", 0, READ | WRITE), Err(Errno::IsDir));
    assert_eq!(host.open("sub", DIRECTORY | CREAT, 0), Err(Errno::Inval));
    let sub = host.open("sub/", DIRECTORY, READ).unwrap();
    let (path, len) = put(&mut host.memory, 0x800, "inner");
    let (ctx, memory) = (&mut host.guest.ctx, &mut host.memory);
    assert_eq!(path_open(ctx, memory, sub, 0, path, len, 0, READ, 0, 0, 0), Ok(()));
    let (path, len) = put(memory, 0x800, "../file");
    assert_eq!(path_open(ctx, memory, sub, 0, path, len, 0, READ, 0, 0, 0), Err(Errno::Perm));
}

#[test]
fn links_are_followed_on_request() {
    let mut host = Host::new();
    host.symlink("file", "link").unwrap();
    host.symlink("loop", "loop").unwrap();
    assert_eq!(host.open_with("link", 0, 0, 0), Err(Errno::Loop));
    assert!(host.open_with("link", FOLLOW, 0, 0).is_ok());
    assert_eq!(host.open_with("loop", FOLLOW, 0, 0), Err(Errno::Loop));
    assert_eq!(host.stat("link", 0), Ok((filetype(FileKind::Symlink), 4)));
    assert_eq!(host.stat("link", FOLLOW), Ok((4, 10)));
}

#[test]
fn nothing_outside_of_the_grant_is_reached() {
    let mut host = Host::new();
    host.symlink("..", "out").unwrap();
    for path in ["..", "../x", "/etc/passwd", "sub/../../x", "out/x"] {
        assert_eq!(host.open_with(path, FOLLOW, 0, 0), Err(Errno::Perm), "{path}");
        assert_eq!(host.stat(path, FOLLOW), Err(Errno::Perm), "{path}");
    }
    assert_eq!(host.create_directory("../x"), Err(Errno::Perm));
    assert_eq!(host.remove_directory("../x"), Err(Errno::Perm));
    assert_eq!(host.unlink("out/x"), Err(Errno::Perm));
    assert_eq!(host.rename("file", "../x"), Err(Errno::Perm));
    assert_eq!(host.link("file", "../x", 0), Err(Errno::Perm));
    assert_eq!(host.symlink("x", "../x"), Err(Errno::Perm));
    assert_eq!(host.symlink("/etc", "x"), Err(Errno::Perm));
    assert_eq!(host.readlink("../x", 8), Err(Errno::Perm));
    assert_eq!(host.set_times("../x", 0, 0, 1), Err(Errno::Perm));
    let told = host.guest.denials();
    assert_eq!(told.len(), 1, "once: {told:?}");
    assert!(told[0].starts_with("denied: the guest asked for \"..\", which leads out of "));
    assert!(told[0].ends_with("; grant it with --allow=fs:HOST"));
}

#[test]
fn an_absolute_link_made_by_the_host_leads_nowhere() {
    let mut host = Host::new();
    std::os::unix::fs::symlink("/etc", host.temp.path().join("etc")).unwrap();
    assert_eq!(host.open_with("etc/passwd", FOLLOW, 0, 0), Err(Errno::Perm));
    assert_eq!(host.readlink("etc", 8), Err(Errno::Perm));
}

#[test]
fn a_read_only_grant_can_be_read() {
    let mut host = Host::read_only();
    assert!(host.open("file", CREAT, READ).is_ok());
    assert_eq!(host.stat("file", 0), Ok((4, 10)));
    assert_eq!(host.open("file", 0, WRITE), Err(Errno::RoFs));
    assert_eq!(host.open("file", TRUNC, READ), Err(Errno::RoFs));
    assert_eq!(host.open("new", CREAT, READ), Err(Errno::RoFs));
    assert_eq!(host.create_directory("new"), Err(Errno::RoFs));
    assert_eq!(host.remove_directory("sub"), Err(Errno::RoFs));
    assert_eq!(host.unlink("file"), Err(Errno::RoFs));
    assert_eq!(host.rename("file", "new"), Err(Errno::RoFs));
    assert_eq!(host.link("file", "new", 0), Err(Errno::RoFs));
    assert_eq!(host.symlink("file", "new"), Err(Errno::RoFs));
    assert_eq!(host.set_times("file", 0, 0, 1), Err(Errno::RoFs));
    assert_eq!(host.guest.denials().len(), 1);
}

#[test]
fn a_file_cannot_be_linked_out_of_a_read_only_grant() {
    let (read_only, writable) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(read_only.path().join("file"), "").unwrap();
    let grant = |dir: &tempfile::TempDir, guest: &str, read_only| Grant::Fs {
        host: dir.path().into(),
        guest: guest.into(),
        read_only,
    };
    let mut guest = context(Grants::from_iter([grant(&read_only, "/ro", true), grant(&writable, "/rw", false)]));
    let mut memory = memory();
    let (path, len) = put(&mut memory, 0x800, "file");
    assert_eq!(path_link(&mut guest.ctx, &mut memory, DIR, 0, path, len, DIR + 1, path, len), Err(Errno::RoFs));
    assert_eq!(path_rename(&mut guest.ctx, &mut memory, DIR, path, len, DIR + 1, path, len), Err(Errno::RoFs));
}

#[test]
fn directories_come_and_go() {
    let mut host = Host::new();
    assert_eq!(host.create_directory("sub"), Err(Errno::Exist));
    host.create_directory("sub/inner/").unwrap();
    assert_eq!(host.remove_directory("sub"), Err(Errno::NotEmpty));
    host.remove_directory("sub/inner/").unwrap();
    assert_eq!(host.remove_directory("sub/inner"), Err(Errno::NoEnt));
    assert_eq!(host.remove_directory("file"), Err(Errno::NotDir));
    assert_eq!(host.remove_directory("file/"), Err(Errno::NotDir));
    assert_eq!(host.remove_directory(""), Err(Errno::NoEnt));
}

#[test]
fn files_are_unlinked_and_directories_are_not() {
    let mut host = Host::new();
    assert_eq!(host.unlink("sub"), Err(Errno::IsDir));
    assert_eq!(host.unlink("sub/"), Err(Errno::IsDir));
    assert_eq!(host.unlink("file/"), Err(Errno::NotDir));
    host.unlink("file").unwrap();
    assert_eq!(host.unlink("file"), Err(Errno::NoEnt));
}

#[test]
fn an_unlinked_file_stays_open() {
    let mut host = Host::new();
    let file = host.open("file", 0, READ).unwrap();
    host.unlink("file").unwrap();
    fd_filestat_get(&mut host.guest.ctx, &mut host.memory, file, 0).unwrap();
    assert_eq!((u64_at(&host.memory, 24), u64_at(&host.memory, 32)), (0, 10));
    fd_close(&mut host.guest.ctx, &mut host.memory, file).unwrap();
}

#[test]
fn names_change() {
    let mut host = Host::new();
    host.rename("file", "sub/moved").unwrap();
    assert_eq!(host.rename("file", "other"), Err(Errno::NoEnt));
    assert_eq!(host.stat("sub/moved", 0), Ok((4, 10)));
    host.rename("sub/", "renamed/").unwrap();
    host.create_directory("empty").unwrap();
    assert_eq!(host.rename("empty", "renamed"), Err(Errno::NotEmpty));
    assert_eq!(host.rename("renamed/moved", "empty"), Err(Errno::IsDir));
    assert_eq!(host.rename("empty", "renamed/moved"), Err(Errno::NotDir));
}

#[test]
fn hard_links_are_second_names() {
    let mut host = Host::new();
    host.link("file", "second", 0).unwrap();
    assert_eq!(host.stat("second", 0), Ok((4, 10)));
    assert_eq!(host.link("file", "second", 0), Err(Errno::Exist));
    assert_eq!(host.link("file", "third/", 0), Err(Errno::NoEnt));
    assert_eq!(host.link("sub", "third", 0), Err(Errno::Perm));
    assert_eq!(host.link("file", "third", FOLLOW), Err(Errno::Inval));
}

#[test]
fn symbolic_links_are_made_and_read() {
    let mut host = Host::new();
    host.symlink("target", "link").unwrap();
    assert_eq!(host.readlink("link", 100).unwrap(), b"target");
    assert_eq!(host.readlink("link", 4).unwrap(), b"targ");
    assert_eq!(host.readlink("file", 4), Err(Errno::Inval));
    assert_eq!(host.readlink("link", u32::MAX), Err(Errno::Fault));
    assert_eq!(host.symlink("x", "link"), Err(Errno::Exist));
    assert_eq!(host.symlink("x", "new/"), Err(Errno::NoEnt));
}

#[test]
fn times_are_set_of_links_or_what_they_name() {
    let mut host = Host::new();
    host.symlink("file", "link").unwrap();
    let mtim = u32::from(FstFlags::MTIM.0);
    host.set_times("link", 0, 5, mtim).unwrap();
    host.stat("link", 0).unwrap();
    assert_eq!(u64_at(&host.memory, 48), 5);
    host.set_times("link", FOLLOW, 7, mtim).unwrap();
    host.stat("file", 0).unwrap();
    assert_eq!(u64_at(&host.memory, 48), 7);
    let both = u32::from(FstFlags::ATIM.with(FstFlags::ATIM_NOW).0);
    assert_eq!(host.set_times("file", 0, 0, both), Err(Errno::Inval));
    assert_eq!(host.set_times("none", 0, 0, mtim), Err(Errno::NoEnt));
    assert_eq!(host.set_times("file", 2, 0, mtim), Err(Errno::Inval));
}

#[test]
fn bad_paths_and_flags_are_refused() {
    let mut host = Host::new();
    assert_eq!(host.stat("file/", 0), Err(Errno::NotDir));
    assert_eq!(host.stat("none", 0), Err(Errno::NoEnt));
    assert_eq!(host.open("", 0, READ), Err(Errno::NoEnt));
    assert_eq!(host.open("file\0", 0, READ), Err(Errno::Inval));
    assert_eq!(host.open("file/", 0, READ), Err(Errno::NotDir));
    assert_eq!(host.open("file", 0x10, READ), Err(Errno::Inval));
    assert_eq!(host.open_with("file", 2, 0, 0), Err(Errno::Inval));
    assert_eq!(host.open_with("file", 0, 0, 0x20), Err(Errno::Inval));
    let (ctx, memory) = (&mut host.guest.ctx, &mut host.memory);
    memory[0x800] = 0xff;
    assert_eq!(path_unlink_file(ctx, memory, DIR, 0x800, 1), Err(Errno::IlSeq));
    assert_eq!(path_unlink_file(ctx, memory, DIR, 0, 5000), Err(Errno::NameTooLong));
    assert_eq!(path_unlink_file(ctx, memory, DIR, u32::MAX, 2), Err(Errno::Fault));
    let (path, len) = put(memory, 0x800, "file");
    assert_eq!(path_unlink_file(ctx, memory, 0, path, len), Err(Errno::NotDir));
    assert_eq!(path_open(ctx, memory, DIR, 0, path, len, 0, READ, 0, 0, u32::MAX), Err(Errno::Fault));
}

#[test]
fn a_bad_result_address_opens_nothing() {
    let mut host = Host::new();
    let (path, len) = put(&mut host.memory, 0x800, "new");
    let (ctx, memory) = (&mut host.guest.ctx, &mut host.memory);
    assert_eq!(path_open(ctx, memory, DIR, 0, path, len, CREAT, WRITE, 0, 0, 0xfffd), Err(Errno::Fault));
    assert!(!host.temp.path().join("new").exists());
}

#[test]
fn without_a_directory_each_call_names_the_grant() {
    let (mut guest, mut memory) = (context(Grants::none()), memory());
    let (path, len) = put(&mut memory, 0x800, "file");
    assert_eq!(path_open(&mut guest.ctx, &mut memory, DIR, 0, path, len, 0, READ, 0, 0, 0), Err(Errno::BadF));
    assert_eq!(path_unlink_file(&mut guest.ctx, &mut memory, DIR, path, len), Err(Errno::BadF));
    assert_eq!(guest.denials(), ["denied: the guest asked for \"/file\"; grant it with --allow=fs:HOST=/"]);
}
