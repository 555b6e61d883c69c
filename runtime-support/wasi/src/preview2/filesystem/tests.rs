//! Files and directories by the interface, without a guest.

use super::super::bindings::wasi::clocks::wall_clock::Datetime;
use super::super::bindings::wasi::filesystem::types::{
    Advice, DescriptorType, Host as _, HostDescriptor as _, HostDirectoryEntryStream as _, NewTimestamp, OpenFlags,
    PathFlags,
};
use super::super::bindings::wasi::io::streams::StreamError;
use super::super::testing::{self, blocking_read, context, lent, with_directory};
use super::preopens::Host as _;
use super::*;
use crate::Grants;

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
const READ: DescriptorFlags = DescriptorFlags::READ;

fn nothing() -> PathFlags {
    PathFlags::empty()
}

fn read_write() -> DescriptorFlags {
    READ | DescriptorFlags::WRITE
}

/// Opens a file for reading and writing.
fn open(
    ctx: &mut Ctx,
    root: &Resource<Descriptor>,
    path: &str,
    how: OpenFlags,
) -> Result<Resource<Descriptor>, ErrorCode> {
    ctx.open_at(lent(root), nothing(), path.into(), how, read_write()).unwrap()
}

#[test]
fn files_are_read_and_written_anywhere() {
    let (temp, mut guest, root) = with_directory(false);
    let ctx = &mut guest.ctx;
    let file = open(ctx, &root, "new", OpenFlags::CREATE).unwrap();
    assert_eq!(ctx.write(lent(&file), b"hello".to_vec(), 3).unwrap(), Ok(5));
    assert_eq!(ctx.read(lent(&file), 100, 0).unwrap(), Ok((b"\0\0\0hello".to_vec(), false)));
    assert_eq!(ctx.read(lent(&file), 100, 8).unwrap(), Ok((Vec::new(), true)));
    assert_eq!(ctx.read(lent(&file), u64::MAX, 6).unwrap(), Ok((b"lo".to_vec(), false)));
    assert_eq!(ctx.read(lent(&file), 1, u64::MAX).unwrap(), Err(ErrorCode::Invalid));
    assert_eq!(ctx.set_size(lent(&file), 4).unwrap(), Ok(()));
    let stat = ctx.stat(lent(&file)).unwrap().unwrap();
    assert_eq!((stat.type_, stat.size, stat.link_count), (DescriptorType::RegularFile, 4, 1));
    assert!(stat.data_modification_timestamp.unwrap().seconds > 1_700_000_000);
    assert_eq!(ctx.advise(lent(&file), 0, 4, Advice::Sequential).unwrap(), Ok(()));
    assert_eq!(ctx.get_type(lent(&file)).unwrap(), Ok(DescriptorType::RegularFile));
    assert_eq!(ctx.get_flags(lent(&file)).unwrap(), Ok(read_write()));
    assert_eq!(ctx.read_directory(lent(&file)).unwrap().unwrap_err(), ErrorCode::NotDirectory);
    assert_eq!(std::fs::read(temp.path().join("new")).unwrap(), b"\0\0\0h");
    let unread = ctx.open_at(lent(&root), nothing(), "file".into(), OpenFlags::empty(), DescriptorFlags::WRITE);
    assert_eq!(ctx.read(unread.unwrap().unwrap(), 1, 0).unwrap(), Err(ErrorCode::BadDescriptor));
    let unwritten = ctx.open_at(lent(&root), nothing(), "file".into(), OpenFlags::empty(), READ).unwrap().unwrap();
    assert_eq!(ctx.write(lent(&unwritten), vec![1], 0).unwrap(), Err(ErrorCode::BadDescriptor));
    assert_eq!(ctx.write_via_stream(unwritten, 0).unwrap().unwrap_err(), ErrorCode::BadDescriptor);
}

#[tokio::test]
async fn streams_have_their_own_positions() {
    let (temp, mut guest, root) = with_directory(false);
    let ctx = &mut guest.ctx;
    let file = open(ctx, &root, "file", OpenFlags::empty()).unwrap();
    let input = ctx.read_via_stream(lent(&file), 2).unwrap().unwrap();
    let output = ctx.write_via_stream(lent(&file), 8).unwrap().unwrap();
    let end = ctx.append_via_stream(lent(&file)).unwrap().unwrap();
    assert_eq!(testing::read(ctx, &input, 3).unwrap(), b"234");
    testing::write(ctx, &output, b"ABCD").await.unwrap();
    testing::write(ctx, &end, b"end").await.unwrap();
    assert_eq!(ctx.sync(lent(&file)).await.unwrap(), Ok(()));
    assert_eq!(ctx.sync_data(lent(&root)).await.unwrap(), Ok(()));
    // A stream outlives the descriptor.
    types::HostDescriptor::drop(ctx, file).unwrap();
    assert_eq!(blocking_read(ctx, &input, 100).await.unwrap(), b"567ABCDend");
    assert!(matches!(testing::read(ctx, &input, 1), Err(StreamError::Closed)));
    assert_eq!(std::fs::read(temp.path().join("file")).unwrap(), b"01234567ABCDend");
}

#[test]
fn directories_are_listed_without_themselves() {
    let (_temp, mut guest, root) = with_directory(false);
    let ctx = &mut guest.ctx;
    let entries = ctx.read_directory(lent(&root)).unwrap().unwrap();
    let mut names = Vec::new();
    while let Some(entry) = ctx.read_directory_entry(lent(&entries)).unwrap().unwrap() {
        names.push((entry.name, entry.type_));
    }
    names.sort_by(|one, two| one.0.cmp(&two.0));
    assert_eq!(
        names,
        [("file".to_string(), DescriptorType::RegularFile), ("sub".to_string(), DescriptorType::Directory)]
    );
    types::HostDirectoryEntryStream::drop(ctx, entries).unwrap();
}

#[test]
fn names_are_made_changed_and_removed() {
    let (temp, mut guest, root) = with_directory(false);
    let ctx = &mut guest.ctx;
    let path = |name: &str| name.to_string();
    assert_eq!(ctx.create_directory_at(lent(&root), path("dir")).unwrap(), Ok(()));
    assert_eq!(ctx.create_directory_at(lent(&root), path("dir")).unwrap(), Err(ErrorCode::Exist));
    assert_eq!(ctx.symlink_at(lent(&root), path("file"), path("link")).unwrap(), Ok(()));
    assert_eq!(ctx.readlink_at(lent(&root), path("link")).unwrap(), Ok(path("file")));
    assert_eq!(ctx.link_at(lent(&root), nothing(), path("file"), lent(&root), path("hard")).unwrap(), Ok(()));
    let followed = ctx.link_at(lent(&root), FOLLOW, path("link"), lent(&root), path("x")).unwrap();
    assert_eq!(followed, Err(ErrorCode::Invalid));
    let stat = |ctx: &mut Ctx, flags, name: &str| ctx.stat_at(lent(&root), flags, path(name)).unwrap();
    assert_eq!(stat(ctx, nothing(), "link").unwrap().type_, DescriptorType::SymbolicLink);
    assert_eq!(stat(ctx, FOLLOW, "link").unwrap().link_count, 2);
    let (one, two) = (open(ctx, &root, "file", OpenFlags::empty()), open(ctx, &root, "hard", OpenFlags::empty()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(
        ctx.is_same_object(lent(&one), lent(&two)).unwrap() && !ctx.is_same_object(lent(&one), lent(&root)).unwrap()
    );
    let before = ctx.metadata_hash(lent(&one)).unwrap().unwrap();
    let at = ctx.metadata_hash_at(lent(&root), nothing(), path("hard")).unwrap().unwrap();
    assert_eq!((before.lower, before.upper), (at.lower, at.upper));
    ctx.write(lent(&two), b"more than before".to_vec(), 0).unwrap().unwrap();
    let after = ctx.metadata_hash(lent(&one)).unwrap().unwrap();
    assert!(before.lower == after.lower && before.upper != after.upper);
    assert_eq!(ctx.rename_at(lent(&root), path("hard"), lent(&root), path("dir/moved")).unwrap(), Ok(()));
    assert_eq!(ctx.remove_directory_at(lent(&root), path("dir")).unwrap(), Err(ErrorCode::NotEmpty));
    assert_eq!(ctx.unlink_file_at(lent(&root), path("dir")).unwrap(), Err(ErrorCode::IsDirectory));
    assert_eq!(ctx.unlink_file_at(lent(&root), path("dir/moved")).unwrap(), Ok(()));
    assert_eq!(ctx.remove_directory_at(lent(&root), path("dir")).unwrap(), Ok(()));
    assert_eq!(stat(ctx, nothing(), "dir"), Err(ErrorCode::NoEntry));
    let time = NewTimestamp::Timestamp(Datetime { seconds: 1000, nanoseconds: 5 });
    let set = ctx.set_times_at(lent(&root), nothing(), path("file"), NewTimestamp::NoChange, time).unwrap();
    assert_eq!(set, Ok(()));
    assert_eq!(stat(ctx, nothing(), "file").unwrap().data_modification_timestamp.unwrap().seconds, 1000);
    let bad = NewTimestamp::Timestamp(Datetime { seconds: 0, nanoseconds: 1_000_000_000 });
    assert_eq!(ctx.set_times(lent(&one), bad, NewTimestamp::Now).unwrap(), Err(ErrorCode::Invalid));
    let far = NewTimestamp::Timestamp(Datetime { seconds: u64::MAX, nanoseconds: 0 });
    assert_eq!(ctx.set_times(lent(&root), NewTimestamp::Now, far).unwrap(), Err(ErrorCode::Overflow));
    std::os::unix::fs::symlink("/etc", temp.path().join("out")).unwrap();
    assert_eq!(ctx.readlink_at(lent(&root), path("out")).unwrap(), Err(ErrorCode::NotPermitted));
}

#[test]
fn opening_minds_its_flags() {
    let (_temp, mut guest, root) = with_directory(false);
    let ctx = &mut guest.ctx;
    let exclusive = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    assert_eq!(open(ctx, &root, "file", exclusive).unwrap_err(), ErrorCode::Exist);
    let both = OpenFlags::CREATE | OpenFlags::DIRECTORY;
    assert_eq!(open(ctx, &root, "x", both).unwrap_err(), ErrorCode::Invalid);
    let read = |ctx: &mut Ctx, path: &str, how| ctx.open_at(lent(&root), nothing(), path.into(), how, READ).unwrap();
    assert_eq!(read(ctx, "file", OpenFlags::DIRECTORY).unwrap_err(), ErrorCode::NotDirectory);
    assert_eq!(read(ctx, "gone", OpenFlags::empty()).unwrap_err(), ErrorCode::NoEntry);
    assert_eq!(read(ctx, "a\0b", OpenFlags::empty()).unwrap_err(), ErrorCode::Invalid);
    assert_eq!(read(ctx, "", OpenFlags::empty()).unwrap_err(), ErrorCode::NoEntry);
    let sub = read(ctx, "sub", OpenFlags::DIRECTORY).unwrap();
    assert_eq!(ctx.get_flags(lent(&sub)).unwrap(), Ok(READ | DescriptorFlags::MUTATE_DIRECTORY));
    assert_eq!(ctx.create_directory_at(lent(&sub), "deeper".into()).unwrap(), Ok(()));
    assert_eq!(ctx.read(sub, 1, 0).unwrap(), Err(ErrorCode::IsDirectory));
    let truncated = open(ctx, &root, "file", OpenFlags::TRUNCATE).unwrap();
    assert_eq!(ctx.stat(truncated).unwrap().unwrap().size, 0);
    for _ in 0..1022 {
        read(ctx, "file", OpenFlags::empty()).unwrap();
    }
    assert_eq!(read(ctx, "file", OpenFlags::empty()).unwrap_err(), ErrorCode::InsufficientMemory);
}

#[test]
fn what_is_not_granted_is_denied_and_named() {
    let (temp, mut guest, root) = with_directory(true);
    let ctx = &mut guest.ctx;
    assert_eq!(ctx.get_flags(lent(&root)).unwrap(), Ok(READ));
    assert_eq!(open(ctx, &root, "file", OpenFlags::empty()).unwrap_err(), ErrorCode::ReadOnly);
    assert_eq!(ctx.unlink_file_at(lent(&root), "file".into()).unwrap(), Err(ErrorCode::ReadOnly));
    let out = ctx.open_at(lent(&root), FOLLOW, "../x".into(), OpenFlags::empty(), READ).unwrap();
    assert_eq!(out.unwrap_err(), ErrorCode::NotPermitted);
    let host = temp.path().display();
    let told = [
        format!(
            "denied: the guest asked for a change below {:?}, which is read-only; grant it with --allow=fs:{host}",
            host.to_string()
        ),
        format!(
            "denied: the guest asked for \"../x\", which leads out of {:?}; grant it with --allow=fs:HOST",
            host.to_string()
        ),
    ];
    assert_eq!(guest.denials(), told);
}

#[test]
fn an_ungranted_root_denies_by_name() {
    let mut guest = context(Grants::none());
    let ctx = &mut guest.ctx;
    let (root, name) = ctx.get_directories().unwrap().remove(0);
    assert_eq!((name.as_str(), ctx.get_type(lent(&root)).unwrap()), ("/", Ok(DescriptorType::Directory)));
    assert_eq!(open(ctx, &root, "data/file", OpenFlags::CREATE).unwrap_err(), ErrorCode::NoEntry);
    assert_eq!(ctx.set_times(root, NewTimestamp::Now, NewTimestamp::Now).unwrap(), Err(ErrorCode::NoEntry));
    let told = guest.denials();
    assert_eq!(told[0], "denied: the guest asked for \"/data/file\"; grant it with --allow=fs:HOST=/data");
}

#[tokio::test]
async fn a_pipe_in_a_directory_makes_nobody_wait() {
    let (temp, mut guest, root) = with_directory(false);
    let ctx = &mut guest.ctx;
    let path = temp.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let pipe = ctx.open_at(lent(&root), nothing(), "pipe".into(), OpenFlags::empty(), READ).unwrap().unwrap();
    assert_eq!(ctx.get_type(lent(&pipe)).unwrap(), Ok(DescriptorType::Fifo));
    let input = ctx.read_via_stream(pipe, 0).unwrap().unwrap();
    let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(testing::read(ctx, &input, 10).unwrap(), b"");
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::io::Write::write_all(&mut writer, b"late").unwrap();
    });
    assert_eq!(blocking_read(ctx, &input, 10).await.unwrap(), b"late");
    late.join().unwrap();
}

#[test]
fn failed_streams_tell_their_code() {
    let mut ctx = context(Grants::none()).ctx;
    let error = ctx.table.push(Error::new(stream::Failure(rustix::io::Errno::NOSPC))).unwrap();
    assert_eq!(ctx.filesystem_error_code(error).unwrap(), Some(ErrorCode::InsufficientSpace));
    let other = ctx.table.push(Error::new("something else")).unwrap();
    assert_eq!(ctx.filesystem_error_code(other).unwrap(), None);
}
