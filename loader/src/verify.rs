//! Whether a file holds what the compiler wrote: BLAKE3 of all of it, with the 32 bytes of the digest itself zero.
//!
//! Success is remembered in the process, for files that others cannot write, by device, inode, size and both times.
//! A file that changed a moment ago is not remembered, since another change might not move its times.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use precast_abi::meta::DIGEST_OFFSET;

use crate::elf::Headers;
use crate::open_error::{Digest, OpenErrorKind};
use crate::sys;

/// What identifies a file's content as long as nobody else can write it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Files remembered at most; beyond, all are forgotten.
const MAX_REMEMBERED: usize = 16 << 10;

/// How long a file must have been left alone to be remembered: more than a tick of the clock that file times are
/// taken from.
const SETTLED: Duration = Duration::from_millis(20);

/// The same for file systems that keep times in seconds, or in pairs of them.
const SETTLED_SECONDS: Duration = Duration::from_secs(3);

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

static REMEMBERED: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

/// Checks the digest of `file`, whose attributes are `metadata`, or remembers having done so.
pub(crate) fn check(file: &File, metadata: &Metadata, headers: &Headers) -> Result<(), OpenErrorKind> {
    let identity = identity(metadata);
    if identity.is_some_and(is_remembered) {
        return Ok(());
    }
    let start = headers.meta.start + DIGEST_OFFSET as u64;
    let found = digest(file, headers.file_len, start..start + 32)?;
    let wanted = Digest(headers.header.digest);
    if found != wanted {
        return Err(OpenErrorKind::Digest { found, wanted });
    }
    if let Some(identity) = identity {
        remember(identity);
    }
    Ok(())
}

/// BLAKE3 of the first `len` bytes, those in `hole` as zeros.
fn digest(file: &File, len: u64, hole: Range<u64>) -> Result<Digest, OpenErrorKind> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK.min(len as usize)];
    let mut at = 0;
    while at < len {
        let chunk = &mut buffer[..CHUNK.min((len - at) as usize)];
        file.read_exact_at(chunk, at).map_err(OpenErrorKind::io("read the file"))?;
        let end = at + chunk.len() as u64;
        let zeros = hole.start.clamp(at, end) - at..hole.end.clamp(at, end) - at;
        chunk[zeros.start as usize..zeros.end as usize].fill(0);
        hasher.update(chunk);
        at = end;
    }
    Ok(Digest(hasher.finalize().into()))
}

/// The file's identity, if only we can write it and it was left alone for a while.
fn identity(metadata: &Metadata) -> Option<Identity> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::new(metadata.ctime().max(0) as u64, metadata.ctime_nsec().max(0) as u32);
    let tick = if changed.subsec_nanos() == 0 { SETTLED_SECONDS } else { SETTLED };
    let settled = now.checked_sub(changed).is_some_and(|age| age > tick);
    (settled && sys::file::only_we_write(metadata.uid(), metadata.mode())).then(|| Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn is_remembered(identity: Identity) -> bool {
    let remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    remembered.as_ref().is_some_and(|all| all.contains(&identity))
}

fn remember(identity: Identity) {
    let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = remembered.get_or_insert_default();
    if all.len() >= MAX_REMEMBERED {
        all.clear();
    }
    all.insert(identity);
}
