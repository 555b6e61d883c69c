//! Error numbers of WASI 0.1 (`errno` in `typenames.witx`) and their origin in the host's.

use std::io;

use crate::fs::os_error;

/// One line each: the name here, its number in the ABI, and the host's error number of the same meaning.
macro_rules! errnos {
    ($($name:ident = $number:literal <- $host:ident,)*) => {
        /// An error number as the guest sees it. There is none for success: that is `Ok`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        #[allow(dead_code, reason = "the list is the ABI's")]
        pub(crate) enum Errno {
            $(#[doc = stringify!($host)] $name = $number,)*
            /// The descriptor, or the guest, lacks the capability.
            NotCapable = 76,
        }

        impl From<rustix::io::Errno> for Errno {
            fn from(errno: rustix::io::Errno) -> Self {
                match errno {
                    $(rustix::io::Errno::$host => Self::$name,)*
                    _ => Self::Io,
                }
            }
        }
    };
}

errnos! {
    TooBig = 1 <- TOOBIG,
    Access = 2 <- ACCESS,
    AddrInUse = 3 <- ADDRINUSE,
    AddrNotAvail = 4 <- ADDRNOTAVAIL,
    AfNoSupport = 5 <- AFNOSUPPORT,
    Again = 6 <- AGAIN,
    Already = 7 <- ALREADY,
    BadF = 8 <- BADF,
    BadMsg = 9 <- BADMSG,
    Busy = 10 <- BUSY,
    Canceled = 11 <- CANCELED,
    Child = 12 <- CHILD,
    ConnAborted = 13 <- CONNABORTED,
    ConnRefused = 14 <- CONNREFUSED,
    ConnReset = 15 <- CONNRESET,
    Deadlk = 16 <- DEADLK,
    DestAddrReq = 17 <- DESTADDRREQ,
    Dom = 18 <- DOM,
    Dquot = 19 <- DQUOT,
    Exist = 20 <- EXIST,
    Fault = 21 <- FAULT,
    FBig = 22 <- FBIG,
    HostUnreach = 23 <- HOSTUNREACH,
    IdRm = 24 <- IDRM,
    IlSeq = 25 <- ILSEQ,
    InProgress = 26 <- INPROGRESS,
    Intr = 27 <- INTR,
    Inval = 28 <- INVAL,
    Io = 29 <- IO,
    IsConn = 30 <- ISCONN,
    IsDir = 31 <- ISDIR,
    Loop = 32 <- LOOP,
    MFile = 33 <- MFILE,
    MLink = 34 <- MLINK,
    MsgSize = 35 <- MSGSIZE,
    MultiHop = 36 <- MULTIHOP,
    NameTooLong = 37 <- NAMETOOLONG,
    NetDown = 38 <- NETDOWN,
    NetReset = 39 <- NETRESET,
    NetUnreach = 40 <- NETUNREACH,
    NFile = 41 <- NFILE,
    NoBufs = 42 <- NOBUFS,
    NoDev = 43 <- NODEV,
    NoEnt = 44 <- NOENT,
    NoExec = 45 <- NOEXEC,
    NoLck = 46 <- NOLCK,
    NoLink = 47 <- NOLINK,
    NoMem = 48 <- NOMEM,
    NoMsg = 49 <- NOMSG,
    NoProtoOpt = 50 <- NOPROTOOPT,
    NoSpc = 51 <- NOSPC,
    NoSys = 52 <- NOSYS,
    NotConn = 53 <- NOTCONN,
    NotDir = 54 <- NOTDIR,
    NotEmpty = 55 <- NOTEMPTY,
    NotRecoverable = 56 <- NOTRECOVERABLE,
    NotSock = 57 <- NOTSOCK,
    NotSup = 58 <- NOTSUP,
    NoTty = 59 <- NOTTY,
    NxIo = 60 <- NXIO,
    Overflow = 61 <- OVERFLOW,
    OwnerDead = 62 <- OWNERDEAD,
    Perm = 63 <- PERM,
    Pipe = 64 <- PIPE,
    Proto = 65 <- PROTO,
    ProtoNoSupport = 66 <- PROTONOSUPPORT,
    Prototype = 67 <- PROTOTYPE,
    Range = 68 <- RANGE,
    RoFs = 69 <- ROFS,
    SPipe = 70 <- SPIPE,
    Srch = 71 <- SRCH,
    Stale = 72 <- STALE,
    TimedOut = 73 <- TIMEDOUT,
    TxtBsy = 74 <- TXTBSY,
    XDev = 75 <- XDEV,
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        os_error(&error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_abis() {
        assert_eq!(Errno::BadF as u16, 8);
        assert_eq!(Errno::NoEnt as u16, 44);
        assert_eq!(Errno::XDev as u16, 75);
        assert_eq!(Errno::NotCapable as u16, 76);
    }

    #[test]
    fn host_errors_translate_by_meaning() {
        assert_eq!(Errno::from(io::Error::from(rustix::io::Errno::NOTEMPTY)), Errno::NotEmpty);
        assert_eq!(Errno::from(io::Error::from(rustix::io::Errno::OPNOTSUPP)), Errno::NotSup);
        assert_eq!(Errno::from(io::Error::other("no number")), Errno::Io);
        assert_eq!(Errno::from(io::Error::from(rustix::io::Errno::UCLEAN)), Errno::Io);
    }
}
