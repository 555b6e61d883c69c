//! Types of WASI 0.1: flags, enumerations and record layouts, from `typenames.witx` of `wasi_snapshot_preview1`.
//!
//! Records are laid out as the specification's canonical layout says: little-endian, each field at its natural
//! alignment. Writers and readers here are the only places that know offsets.

use super::errno::Errno;
use crate::fs::{FileKind, Stat, StatusFlags};

/// One type per flag set: `bits` is what the guest passes, unknown bits are refused.
macro_rules! flags {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($flag:ident = $bit:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $int);

        #[allow(dead_code, reason = "the list is the ABI's")]
        impl $name {
            $(pub(crate) const $flag: Self = Self(1 << $bit);)*
            const KNOWN: $int = $((1 << $bit))|*;

            /// The flags a guest passed as an `i32`.
            pub(crate) fn from_guest(bits: u32) -> Result<Self, Errno> {
                let narrow = <$int>::try_from(bits).map_err(|_| Errno::Inval)?;
                if narrow & !Self::KNOWN != 0 { Err(Errno::Inval) } else { Ok(Self(narrow)) }
            }

            pub(crate) const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            pub(crate) const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            pub(crate) const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            pub(crate) const fn and(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }
    };
}

flags! {
    /// What may be done with a descriptor.
    Rights(u64) {
        FD_DATASYNC = 0,
        FD_READ = 1,
        FD_SEEK = 2,
        FD_FDSTAT_SET_FLAGS = 3,
        FD_SYNC = 4,
        FD_TELL = 5,
        FD_WRITE = 6,
        FD_ADVISE = 7,
        FD_ALLOCATE = 8,
        PATH_CREATE_DIRECTORY = 9,
        PATH_CREATE_FILE = 10,
        PATH_LINK_SOURCE = 11,
        PATH_LINK_TARGET = 12,
        PATH_OPEN = 13,
        FD_READDIR = 14,
        PATH_READLINK = 15,
        PATH_RENAME_SOURCE = 16,
        PATH_RENAME_TARGET = 17,
        PATH_FILESTAT_GET = 18,
        PATH_FILESTAT_SET_SIZE = 19,
        PATH_FILESTAT_SET_TIMES = 20,
        FD_FILESTAT_GET = 21,
        FD_FILESTAT_SET_SIZE = 22,
        FD_FILESTAT_SET_TIMES = 23,
        PATH_SYMLINK = 24,
        PATH_REMOVE_DIRECTORY = 25,
        PATH_UNLINK_FILE = 26,
        POLL_FD_READWRITE = 27,
        SOCK_SHUTDOWN = 28,
        SOCK_ACCEPT = 29,
    }
}

flags! {
    /// Status flags of a descriptor.
    FdFlags(u16) { APPEND = 0, DSYNC = 1, NONBLOCK = 2, RSYNC = 3, SYNC = 4, }
}

flags! {
    /// How `path_open` opens.
    OFlags(u16) { CREAT = 0, DIRECTORY = 1, EXCL = 2, TRUNC = 3, }
}

flags! {
    /// How a path is looked up.
    LookupFlags(u32) { SYMLINK_FOLLOW = 0, }
}

flags! {
    /// Which times to set, and to what.
    FstFlags(u16) { ATIM = 0, ATIM_NOW = 1, MTIM = 2, MTIM_NOW = 3, }
}

flags! {
    /// How a clock subscription's time is meant.
    SubClockFlags(u16) { ABSTIME = 0, }
}

flags! {
    /// State of a polled descriptor.
    EventRwFlags(u16) { HANGUP = 0, }
}

flags! {
    /// How to receive.
    RiFlags(u16) { PEEK = 0, WAITALL = 1, }
}

flags! {
    /// Which directions to shut down.
    SdFlags(u8) { RD = 0, WR = 1, }
}

impl FdFlags {
    pub(crate) fn status(self) -> StatusFlags {
        StatusFlags {
            append: self.contains(Self::APPEND),
            nonblock: self.contains(Self::NONBLOCK),
            data_sync: self.contains(Self::DSYNC),
            // Linux reads synchronised exactly when it writes so.
            sync: self.contains(Self::SYNC) || self.contains(Self::RSYNC),
        }
    }

    pub(crate) fn from_status(status: StatusFlags) -> Self {
        let flag = |set: bool, flag: Self| if set { flag } else { Self(0) };
        flag(status.append, Self::APPEND)
            .with(flag(status.nonblock, Self::NONBLOCK))
            .with(flag(status.data_sync, Self::DSYNC))
            .with(flag(status.sync, Self::SYNC))
    }
}

/// `filetype` of something in the file system.
pub(crate) fn filetype(kind: FileKind) -> u8 {
    match kind {
        // A pipe has no name in WASI 0.1.
        FileKind::Unknown | FileKind::Fifo => 0,
        FileKind::BlockDevice => 1,
        FileKind::CharacterDevice => 2,
        FileKind::Directory => 3,
        FileKind::Regular => 4,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
    }
}

/// `clockid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockId {
    Realtime,
    Monotonic,
    ProcessCpuTime,
    ThreadCpuTime,
}

impl ClockId {
    pub(crate) fn from_guest(id: u32) -> Result<Self, Errno> {
        match id {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 => Ok(Self::ProcessCpuTime),
            3 => Ok(Self::ThreadCpuTime),
            _ => Err(Errno::Inval),
        }
    }
}

/// `eventtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    Clock = 0,
    FdRead = 1,
    FdWrite = 2,
}

/// A record under construction: bytes at offsets.
struct Record<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Record<SIZE> {
    fn new() -> Self {
        Self([0; SIZE])
    }

    fn at<const N: usize>(mut self, offset: usize, bytes: [u8; N]) -> Self {
        self.0[offset..offset + N].copy_from_slice(&bytes);
        self
    }
}

/// `fdstat`.
pub(crate) fn fdstat(filetype: u8, flags: FdFlags, base: Rights, inheriting: Rights) -> [u8; 24] {
    Record::new()
        .at(0, [filetype])
        .at(2, flags.0.to_le_bytes())
        .at(8, base.0.to_le_bytes())
        .at(16, inheriting.0.to_le_bytes())
        .0
}

/// `filestat`.
pub(crate) fn filestat(stat: &Stat) -> [u8; 64] {
    Record::new()
        .at(0, stat.device.to_le_bytes())
        .at(8, stat.inode.to_le_bytes())
        .at(16, [filetype(stat.kind)])
        .at(24, stat.links.to_le_bytes())
        .at(32, stat.size.to_le_bytes())
        .at(40, stat.accessed.to_le_bytes())
        .at(48, stat.modified.to_le_bytes())
        .at(56, stat.changed.to_le_bytes())
        .0
}

/// `prestat` of a directory whose guest name has this length.
pub(crate) fn prestat_dir(name_len: u32) -> [u8; 8] {
    Record::new().at(4, name_len.to_le_bytes()).0
}

/// `dirent`, which the name's bytes follow.
pub(crate) fn dirent(next: u64, inode: u64, name_len: u32, kind: FileKind) -> [u8; 24] {
    Record::new()
        .at(0, next.to_le_bytes())
        .at(8, inode.to_le_bytes())
        .at(16, name_len.to_le_bytes())
        .at(20, [filetype(kind)])
        .0
}

/// `event`. The last two fields mean something for descriptors only.
pub(crate) fn event(
    userdata: u64,
    error: Option<Errno>,
    kind: EventType,
    bytes: u64,
    flags: EventRwFlags,
) -> [u8; EVENT_SIZE as usize] {
    Record::new()
        .at(0, userdata.to_le_bytes())
        .at(8, error.map_or(0, |errno| errno as u16).to_le_bytes())
        .at(10, [kind as u8])
        .at(16, bytes.to_le_bytes())
        .at(24, flags.0.to_le_bytes())
        .0
}

/// Size of an `event` in bytes.
pub(crate) const EVENT_SIZE: u32 = 32;

/// Size of a `subscription` in bytes.
pub(crate) const SUBSCRIPTION_SIZE: u32 = 48;

/// `subscription`: what to wait for, and a number to know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) userdata: u64,
    pub(crate) wanted: Wanted,
}

/// What a subscription waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A time in nanoseconds: of the clock if `absolute`, else from now.
    Clock { id: ClockId, timeout: u64, absolute: bool },
    /// That a read of this descriptor does not wait.
    Read(u32),
    /// That a write to this descriptor does not wait.
    Write(u32),
}

impl Subscription {
    pub(crate) fn decode(bytes: &[u8; SUBSCRIPTION_SIZE as usize]) -> Result<Self, Errno> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let wanted = match bytes[8] {
            0 => {
                let flags = SubClockFlags::from_guest(u32::from(u16_at(40)))?;
                let absolute = flags.contains(SubClockFlags::ABSTIME);
                Wanted::Clock { id: ClockId::from_guest(u32_at(16))?, timeout: u64_at(24), absolute }
            }
            1 => Wanted::Read(u32_at(16)),
            2 => Wanted::Write(u32_at(16)),
            _ => return Err(Errno::Inval),
        };
        Ok(Self { userdata: u64_at(0), wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_flags_are_refused() {
        assert_eq!(OFlags::from_guest(0b1001), Ok(OFlags::CREAT.with(OFlags::TRUNC)));
        assert_eq!(OFlags::from_guest(0x10), Err(Errno::Inval));
        assert_eq!(OFlags::from_guest(0x1_0000), Err(Errno::Inval));
        assert_eq!(SdFlags::from_guest(0x100), Err(Errno::Inval));
    }

    #[test]
    fn a_clock_subscription_is_read_at_its_offsets() {
        let mut bytes = [0; 48];
        bytes[0] = 7;
        bytes[16] = 1;
        bytes[24..32].copy_from_slice(&0x0102_0304_0506_0708u64.to_le_bytes());
        bytes[40] = 1;
        let wanted = Wanted::Clock { id: ClockId::Monotonic, timeout: 0x0102_0304_0506_0708, absolute: true };
        assert_eq!(Subscription::decode(&bytes), Ok(Subscription { userdata: 7, wanted }));
        bytes[16] = 9;
        assert_eq!(Subscription::decode(&bytes), Err(Errno::Inval));
        bytes[8] = 3;
        assert_eq!(Subscription::decode(&bytes), Err(Errno::Inval));
    }

    #[test]
    fn records_have_their_fields_in_place() {
        let dirent = dirent(1, 2, 3, FileKind::Directory);
        assert_eq!((dirent[0], dirent[8], dirent[16], dirent[20]), (1, 2, 3, 3));
        let event = event(5, Some(Errno::BadF), EventType::FdWrite, 6, EventRwFlags::HANGUP);
        assert_eq!((event[0], event[8], event[10], event[16], event[24]), (5, 8, 2, 6, 1));
        let fdstat = fdstat(4, FdFlags::APPEND, Rights::FD_READ, Rights::FD_SEEK);
        assert_eq!((fdstat[0], fdstat[2], fdstat[8], fdstat[16]), (4, 1, 2, 4));
        assert_eq!(prestat_dir(9), [0, 0, 0, 0, 9, 0, 0, 0]);
    }
}
