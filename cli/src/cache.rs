//! The content-addressed cache of artifacts: `DIR/xx/yyyy….so`, named by everything that decides what is in them.
//!
//! Entries appear by rename, so any number of processes may share a folder: two that compile the same module write the
//! same bytes. An entry is believed only after its digest was checked; a damaged one is a miss, and replaced. The digest
//! tells damage, not who wrote it: whoever can write to the folder decides what runs, so it has to be ours.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use precast_abi::ABI_VERSION;
use precast_compiler::Options;

use crate::args::CacheArgs;
use crate::output;

/// A folder of artifacts.
pub(crate) struct Cache {
    folder: PathBuf,
}

/// The name of an entry.
pub(crate) struct Key(blake3::Hash);

impl Key {
    /// The key of what compiling `input` with `options` gives.
    pub(crate) fn new(input: &[u8], options: &Options) -> Self {
        // Destructured, so that an option added to the compiler has to be considered here.
        let Options {
            arch,
            features,
            opt_level,
            canonicalize_nans,
            fuel,
            stack_size,
            memory_model,
            verify: _,
            emit,
            links,
            wit,
            profile,
            progress: _,
        } = options;
        let compiler = format!("{} {}", precast_compiler::VERSION, env!("PRECAST_SOURCE_HASH"));
        let target = format!("{ABI_VERSION} {} {features:x}", arch.triple());
        let options = format!("{opt_level:?} {canonicalize_nans} {fuel} {stack_size} {memory_model:?} {emit:?}");
        let mut hasher = blake3::Hasher::new_derive_key("precast cache entry: compiler, target, options, input");
        hasher.update(format!("{compiler}\n{target}\n{options}\n").as_bytes());
        let profile = profile.as_ref().map(|profile| format!("profile {profile}"));
        // Each preceded by its length, so that no two lists of inputs give the same bytes.
        let named = links.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes.as_slice()]);
        let texts = [wit.as_ref(), profile.as_ref()].into_iter().flatten().map(|text| text.as_bytes());
        for part in std::iter::once(input).chain(named).chain(texts) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Key(hasher.finalize())
    }
}

impl Cache {
    /// The cache that `args` ask for. One that cannot be used is no error: precast works without, and says so once.
    pub(crate) fn for_args(args: &CacheArgs) -> Option<Self> {
        if args.no_cache { None } else { Self::usable(args.cache.as_deref()) }
    }

    /// The cache in `folder`, or else the user's, if it can be used; a warning if not.
    pub(crate) fn usable(folder: Option<&Path>) -> Option<Self> {
        let Some(folder) = folder.map(Path::to_owned).or_else(users_folder) else {
            output::tell("precast: warning: not caching: neither XDG_CACHE_HOME nor HOME is set (see --cache)");
            return None;
        };
        // The mode is what the XDG base directory specification asks for.
        match DirBuilder::new().recursive(true).mode(0o700).create(&folder).and_then(|()| check_owner(&folder)) {
            Ok(()) => Some(Cache { folder }),
            Err(error) => {
                warn(&folder, &error);
                None
            }
        }
    }

    /// Where the entry is, or would be.
    pub(crate) fn path(&self, key: &Key) -> PathBuf {
        let hex = key.0.to_hex();
        let (start, rest) = hex.split_at(2);
        self.folder.join(start).join(format!("{rest}.so"))
    }

    /// Stores `bytes`, and tells where; a warning and `None` if that fails.
    pub(crate) fn store(&self, key: &Key, bytes: &[u8]) -> Option<PathBuf> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.folder);
        let stored =
            DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| output::replace(&path, bytes));
        match stored {
            Ok(()) => Some(path),
            Err(error) => {
                warn(&self.folder, &error);
                None
            }
        }
    }
}

/// Fails if somebody else than root owns `folder`, or everybody may write to it: they could put code into it. A group
/// that may is let be, since nobody but the owner can have asked for that.
fn check_owner(folder: &Path) -> io::Result<()> {
    let metadata = fs::metadata(folder)?;
    let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    match (metadata.uid(), metadata.mode() & 0o002) {
        (owner, _) if owner != 0 && owner != rustix::process::geteuid().as_raw() => {
            refused("another user owns it, and could decide what runs")
        }
        (_, 0) => Ok(()),
        _ => refused("every user may write to it, and could decide what runs"),
    }
}

fn warn(folder: &Path, error: &io::Error) {
    output::tell(format_args!("precast: warning: not caching: cannot use `{}`: {error}", folder.display()));
}

/// `$XDG_CACHE_HOME/precast` or `~/.cache/precast`. Relative paths are to be ignored (XDG base directory specification).
fn users_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("precast"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use precast_compiler::{OptLevel, Profile};

    use super::*;

    #[test]
    fn keys_depend_on_input_and_options() {
        let options = Options::default();
        let key = |input: &[u8], options: &Options| Key::new(input, options).0;
        let first = key(b"a", &options);
        assert_eq!(first, key(b"a", &options));
        assert_ne!(first, key(b"b", &options));
        assert_ne!(first, key(b"a", &Options { opt_level: OptLevel::None, ..options.clone() }));
        assert_ne!(first, key(b"a", &Options { canonicalize_nans: true, ..options.clone() }));
        assert_ne!(first, key(b"a", &Options { fuel: true, ..options.clone() }));
        assert_ne!(first, key(b"a", &Options { stack_size: 1 << 21, ..options.clone() }));
        let link = |name: &str, bytes: &[u8]| Options { links: vec![(name.into(), bytes.into())], ..options.clone() };
        assert_ne!(first, key(b"a", &link("m", b"x")));
        assert_ne!(key(b"a", &link("m", b"x")), key(b"a", &link("n", b"x")));
        assert_ne!(key(b"a", &link("m", b"x")), key(b"a", &link("m", b"y")));
        assert_ne!(first, key(b"a", &Options { wit: Some(String::new()), ..options.clone() }));
        assert_ne!(first, key(b"a", &Options { profile: Some(Profile::default()), ..options.clone() }));
        assert_ne!(first, key(b"a", &Options { features: options.features ^ 1 << 7, ..options.clone() }));
    }

    #[test]
    fn entries_are_stored_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::usable(Some(&folder.path().join("deep/er"))).unwrap();
        let key = Key::new(b"a", &Options::default());
        for bytes in [b"one", b"two"] {
            let path = cache.store(&key, bytes).unwrap();
            assert_eq!(path, cache.path(&key));
            assert_eq!(fs::read(path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_folder_that_others_can_write_is_no_cache() {
        let folder = tempfile::tempdir().unwrap();
        let usable = |mode| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            Cache::usable(Some(folder.path())).is_some()
        };
        assert!(usable(0o755) && usable(0o770));
        assert!(!usable(0o777) && !usable(0o1777));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_cache() {
        assert!(Cache::usable(Some(Path::new("/proc/nowhere"))).is_none());
        assert!(Cache::usable(Some(Path::new("/dev/null"))).is_none());
    }
}
