//! Between the host's words for files and the interface's.

use std::hash::{DefaultHasher, Hasher};

use rustix::io::Errno;

use crate::fs::{Advice, FileKind, NewTime, Stat};
use crate::preview2::bindings::wasi::clocks::wall_clock::Datetime;
use crate::preview2::bindings::wasi::filesystem::types::{
    self, DescriptorStat, DescriptorType, ErrorCode, MetadataHashValue, NewTimestamp,
};

const SECOND: u64 = 1_000_000_000;

pub(super) fn descriptor_type(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::Unknown => DescriptorType::Unknown,
        FileKind::BlockDevice => DescriptorType::BlockDevice,
        FileKind::CharacterDevice => DescriptorType::CharacterDevice,
        FileKind::Directory => DescriptorType::Directory,
        FileKind::Fifo => DescriptorType::Fifo,
        FileKind::Regular => DescriptorType::RegularFile,
        FileKind::Socket => DescriptorType::Socket,
        FileKind::Symlink => DescriptorType::SymbolicLink,
    }
}

pub(super) fn descriptor_stat(stat: &Stat) -> DescriptorStat {
    DescriptorStat {
        type_: descriptor_type(stat.kind),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: Some(datetime(stat.accessed)),
        data_modification_timestamp: Some(datetime(stat.modified)),
        status_change_timestamp: Some(datetime(stat.changed)),
    }
}

fn datetime(nanoseconds: u64) -> Datetime {
    Datetime { seconds: nanoseconds / SECOND, nanoseconds: (nanoseconds % SECOND) as u32 }
}

pub(super) fn new_time(time: NewTimestamp) -> Result<NewTime, ErrorCode> {
    match time {
        NewTimestamp::NoChange => Ok(NewTime::Keep),
        NewTimestamp::Now => Ok(NewTime::Now),
        NewTimestamp::Timestamp(at) if u64::from(at.nanoseconds) >= SECOND => Err(ErrorCode::Invalid),
        NewTimestamp::Timestamp(at) => {
            let seconds = at.seconds.checked_mul(SECOND);
            let total = seconds.and_then(|seconds| seconds.checked_add(at.nanoseconds.into()));
            total.map(NewTime::At).ok_or(ErrorCode::Overflow)
        }
    }
}

pub(super) fn advice(advice: types::Advice) -> Advice {
    match advice {
        types::Advice::Normal => Advice::Normal,
        types::Advice::Sequential => Advice::Sequential,
        types::Advice::Random => Advice::Random,
        types::Advice::WillNeed => Advice::WillNeed,
        types::Advice::DontNeed => Advice::DontNeed,
        types::Advice::NoReuse => Advice::NoReuse,
    }
}

/// A hash of what a file is and of its state. C libraries take the lower half for the inode's number, which must not
/// change when the file is written to; the upper half does.
pub(super) fn metadata_hash(stat: &Stat) -> MetadataHashValue {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(stat.device);
    hasher.write_u64(stat.inode);
    let lower = hasher.finish();
    hasher.write_u64(stat.modified);
    hasher.write_u64(stat.size);
    MetadataHashValue { lower, upper: hasher.finish() }
}

/// The interface's code of the system's error.
pub(super) fn error_code(errno: Errno) -> ErrorCode {
    match errno {
        Errno::ACCESS => ErrorCode::Access,
        Errno::AGAIN => ErrorCode::WouldBlock,
        Errno::ALREADY => ErrorCode::Already,
        Errno::BADF => ErrorCode::BadDescriptor,
        Errno::BUSY => ErrorCode::Busy,
        Errno::DEADLK => ErrorCode::Deadlock,
        Errno::DQUOT => ErrorCode::Quota,
        Errno::EXIST => ErrorCode::Exist,
        Errno::FBIG => ErrorCode::FileTooLarge,
        Errno::ILSEQ => ErrorCode::IllegalByteSequence,
        Errno::INPROGRESS => ErrorCode::InProgress,
        Errno::INTR => ErrorCode::Interrupted,
        Errno::INVAL => ErrorCode::Invalid,
        Errno::ISDIR => ErrorCode::IsDirectory,
        Errno::LOOP => ErrorCode::Loop,
        Errno::MLINK => ErrorCode::TooManyLinks,
        Errno::MSGSIZE => ErrorCode::MessageSize,
        Errno::NAMETOOLONG => ErrorCode::NameTooLong,
        Errno::NODEV => ErrorCode::NoDevice,
        Errno::NOENT => ErrorCode::NoEntry,
        Errno::NOLCK => ErrorCode::NoLock,
        // The interface has no code for too many open files, of the process or of the host.
        Errno::NOMEM | Errno::MFILE | Errno::NFILE => ErrorCode::InsufficientMemory,
        Errno::NOSPC => ErrorCode::InsufficientSpace,
        Errno::NOTDIR => ErrorCode::NotDirectory,
        Errno::NOTEMPTY => ErrorCode::NotEmpty,
        Errno::NOTRECOVERABLE => ErrorCode::NotRecoverable,
        Errno::NOTSUP | Errno::NOSYS => ErrorCode::Unsupported,
        Errno::NOTTY => ErrorCode::NoTty,
        Errno::NXIO => ErrorCode::NoSuchDevice,
        Errno::OVERFLOW => ErrorCode::Overflow,
        Errno::PERM => ErrorCode::NotPermitted,
        Errno::PIPE => ErrorCode::Pipe,
        Errno::ROFS => ErrorCode::ReadOnly,
        Errno::SPIPE => ErrorCode::InvalidSeek,
        Errno::TXTBSY => ErrorCode::TextFileBusy,
        Errno::XDEV => ErrorCode::CrossDevice,
        _ => ErrorCode::Io,
    }
}
