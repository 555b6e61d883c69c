//! Why a file cannot be opened: what was found and what was wanted.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a file cannot be opened as an artifact.
#[derive(Debug)]
pub struct OpenError {
    /// The file, or `<bytes>`.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: OpenErrorKind,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl Error for OpenError {
    /// What the system said, if it was the system: the kind is told by the message.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// What is wrong with a file that was to be opened as an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// A system call failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not begin as an ELF file does.
    #[error("not an ELF file: it begins with {found:02x?}")]
    NotElf {
        /// The first bytes, at most four.
        found: Vec<u8>,
    },
    /// An ELF file of another kind.
    #[error("{what} is {found}, but an artifact's is {wanted}")]
    ElfKind {
        /// Which property.
        what: &'static str,
        /// Its value.
        found: u32,
        /// The value of artifacts.
        wanted: u32,
    },
    /// Compiled for another instruction set.
    #[error("compiled for {found}, but this process runs on {wanted}")]
    Architecture {
        /// The file's: a triple, or the number of an unknown machine.
        found: String,
        /// Ours.
        wanted: &'static str,
    },
    /// The file ends before what its headers describe does.
    #[error("truncated: it has {found} bytes, but its headers describe {wanted}")]
    Truncated {
        /// Bytes of the file.
        found: u64,
        /// Bytes it must have at least.
        wanted: u64,
    },
    /// An ELF file for this machine that another compiler made.
    #[error("a shared object, but not one that precast compiled: it has no precast program header")]
    NotPrecast,
    /// Made by a compiler whose contract with the loader is another.
    #[error("its ABI version is {found}, but this loader's is {wanted}: compile it again")]
    AbiVersion {
        /// The artifact's.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// Its code may use instructions that this machine does not have.
    #[error("it needs CPU features that this machine does not have: {}", missing.join(", "))]
    CpuFeatures {
        /// Their names.
        missing: Vec<String>,
    },
    /// The pages it is laid out for are smaller than this system's.
    #[error("it is laid out for pages of {found} bytes, but this system's have {wanted}")]
    PageSize {
        /// The artifact's.
        found: u64,
        /// The system's.
        wanted: u64,
    },
    /// The content is not what the compiler wrote.
    #[error("altered: its content hashes to {found}, but it says {wanted}")]
    Digest {
        /// The content's.
        found: Digest,
        /// The one in the header.
        wanted: Digest,
    },
    /// Something an artifact never has, because opening must not run or change anything.
    #[error("not an artifact: it has {0}")]
    Forbidden(&'static str),
    /// Its tables contradict each other, or the file.
    #[error("malformed: {what} ({found:#x}..{end:#x})")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Start of the part concerned, in bytes.
        found: u64,
        /// Its end.
        end: u64,
    },
    /// A table of the meta section lies outside of it.
    #[error("malformed: the table of {0} is not inside the meta section")]
    Table(&'static str),
    /// The options contradict each other.
    #[error("cannot be opened in this way: {0}")]
    Options(&'static str),
    /// The dynamic linker, in debugger mode.
    #[error("cannot map it through the dynamic linker: {0}")]
    Dlopen(String),
}

impl OpenErrorKind {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| OpenErrorKind::Io { what, source }
    }
}

/// A BLAKE3 hash; printed in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
