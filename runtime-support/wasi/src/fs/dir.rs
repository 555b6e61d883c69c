//! An open directory, and the operations on paths below it.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use rustix::fs::{OFlags, Timestamps};

use super::{File, FileKind, FsError, NewTime, Root, SharedRoot, Stat, StatusFlags, os_error};

/// How to open a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenHow {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) create: bool,
    /// With `create`: fail if the path is there already.
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    /// Fail if the path is not a directory.
    pub(crate) directory: bool,
    /// Follow a symbolic link in the last component.
    pub(crate) follow: bool,
    pub(crate) status: StatusFlags,
}

/// What a path turned out to be.
pub(crate) enum Opened {
    File(File),
    Dir(Dir),
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) inode: u64,
    pub(crate) kind: FileKind,
}

/// An open directory: the right to reach what lies below it.
#[derive(Debug)]
pub(crate) struct Dir {
    dir: cap_std::fs::Dir,
    root: SharedRoot,
}

impl Dir {
    /// Opens a directory of the host by its ambient name: this is where a grant becomes a capability.
    pub(crate) fn open_granted(host: &Path, read_only: bool) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        let dir = fs::OpenOptions::new().read(true).custom_flags(flags).open(host)?;
        let root = Root { host: host.display().to_string(), read_only };
        Ok(Self { dir: cap_std::fs::Dir::from_std_file(dir), root: Arc::new(root) })
    }

    /// Opens a path below this directory.
    pub(crate) fn open(&self, path: &str, how: OpenHow) -> Result<Opened, FsError> {
        if how.write || how.truncate || (how.create && how.exclusive) {
            self.root.writable()?;
        }
        // Creating what is there already changes nothing, so it is allowed below a read-only grant too.
        let create = how.create && !self.root.read_only;
        let opened = self.open_below(path, OpenHow { create, ..how });
        match opened {
            Err(FsError::Os(rustix::io::Errno::NOENT)) if how.create && !create => {
                self.root.writable()?;
                opened
            }
            opened => opened,
        }
    }

    fn open_below(&self, path: &str, how: OpenHow) -> Result<Opened, FsError> {
        // cap-std's own options for creating and truncating insist on write access, which `open(2)` does not.
        let mut flags = how.status.to_oflags() | OFlags::NOCTTY;
        flags.set(OFlags::CREATE, how.create);
        flags.set(OFlags::EXCL, how.exclusive);
        flags.set(OFlags::TRUNC, how.truncate);
        // `O_DIRECTORY` would hide a symbolic link from cap-std's fallback where `openat2` is missing: what was opened
        // is looked at instead, and must not block if it is a pipe.
        flags.set(OFlags::NONBLOCK, how.status.nonblock || how.directory);
        let mut options = cap_std::fs::OpenOptions::new();
        options.read(how.read || !how.write).write(how.write).follow(if how.follow {
            FollowSymlinks::Yes
        } else {
            FollowSymlinks::No
        });
        cap_std::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
        let file = self.inside(&[path], self.dir.open_with(path, &options))?.into_std();
        match file.metadata()?.is_dir() {
            true => {
                let dir = cap_std::fs::Dir::from_std_file(file);
                Ok(Opened::Dir(Self { dir, root: Arc::clone(&self.root) }))
            }
            false if how.directory => Err(FsError::Os(rustix::io::Errno::NOTDIR)),
            false => Ok(Opened::File(File::new(file, Arc::clone(&self.root)))),
        }
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::from_metadata(&self.dir.dir_metadata()?))
    }

    pub(crate) fn set_times(&self, accessed: NewTime, modified: NewTime) -> Result<(), FsError> {
        self.root.writable()?;
        let times = Timestamps { last_access: accessed.timespec(), last_modification: modified.timespec() };
        Ok(rustix::fs::futimens(self.dir.as_fd(), &times)?)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.dir.as_fd())?)
    }

    pub(crate) fn stat_at(&self, path: &str, follow: bool) -> Result<Stat, FsError> {
        // A trailing slash asks for a directory and so follows a link in any case.
        let metadata = match follow || path.ends_with('/') {
            true => self.dir.metadata(path),
            false => self.dir.symlink_metadata(path),
        };
        Ok(Stat::from_metadata(&self.inside(&[path], metadata)?))
    }

    pub(crate) fn set_times_at(
        &self,
        path: &str,
        follow: bool,
        accessed: NewTime,
        modified: NewTime,
    ) -> Result<(), FsError> {
        self.root.writable()?;
        let set = match follow || path.ends_with('/') {
            true => self.dir.set_times(path, accessed.spec(), modified.spec()),
            false => self.dir.set_symlink_times(path, accessed.spec(), modified.spec()),
        };
        self.inside(&[path], set)
    }

    pub(crate) fn create_dir(&self, path: &str) -> Result<(), FsError> {
        self.root.writable()?;
        self.inside(&[path], self.dir.create_dir(path))
    }

    pub(crate) fn remove_dir(&self, path: &str) -> Result<(), FsError> {
        self.root.writable()?;
        // `rmdir` takes a trailing slash; cap-std would make it a `.`, which cannot be removed.
        let trimmed = path.trim_end_matches('/');
        let named = if trimmed.is_empty() { path } else { trimmed };
        self.inside(&[path], self.dir.remove_dir(named))
    }

    pub(crate) fn remove_file(&self, path: &str) -> Result<(), FsError> {
        self.root.writable()?;
        self.inside(&[path], self.dir.remove_file(path))
    }

    pub(crate) fn rename(&self, from: &str, to_dir: &Dir, to: &str) -> Result<(), FsError> {
        self.root.writable()?;
        to_dir.root.writable()?;
        self.inside(&[from, to], self.dir.rename(from, &to_dir.dir, to))
    }

    /// Makes a second name. The first must not lie below a read-only grant: a file could be changed through the second.
    pub(crate) fn link(&self, from: &str, to_dir: &Dir, to: &str) -> Result<(), FsError> {
        self.root.writable()?;
        to_dir.root.writable()?;
        self.inside(&[from, to], self.dir.hard_link(from, &to_dir.dir, to))
    }

    pub(crate) fn symlink(&self, target: &str, path: &str) -> Result<(), FsError> {
        self.root.writable()?;
        self.inside(&[target, path], self.dir.symlink(target, path))
    }

    /// The target of a symbolic link, in bytes. An absolute one is the host's business and counts as leading out.
    pub(crate) fn read_link(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let target = self.inside(&[path], self.dir.read_link(path))?;
        Ok(target.into_os_string().into_encoded_bytes())
    }

    /// All names, `.` and `..` first. Both show this directory's inode: its parent may not be the guest's to see.
    ///
    /// A name that is not Unicode cannot be told to a guest and is left out.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, FsError> {
        let inode = self.stat()?.inode;
        let itself = |name: &str| Entry { name: name.into(), inode, kind: FileKind::Directory };
        let mut entries = vec![itself("."), itself("..")];
        for entry in rustix::fs::Dir::read_from(self.dir.as_fd())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name != "." && name != ".." {
                entries.push(Entry { name: name.into(), inode: entry.ino(), kind: entry.file_type().into() });
            }
        }
        Ok(entries)
    }

    /// The names one after the other, without `.` and `..`: as many as the guest asks for are read.
    pub(crate) fn read(&self) -> Result<Entries, FsError> {
        Ok(Entries(rustix::fs::Dir::read_from(self.dir.as_fd())?))
    }

    /// Whether something below may be changed.
    pub(crate) fn is_writable(&self) -> bool {
        !self.root.read_only
    }

    /// Tells a path that leads out of the grant from what the system refused. cap-std marks the former by an error of
    /// its own making, without a number.
    fn inside<T>(&self, paths: &[&str], result: io::Result<T>) -> Result<T, FsError> {
        result.map_err(|error| match (error.raw_os_error(), error.kind()) {
            (None, io::ErrorKind::PermissionDenied) => {
                let culprit = paths.iter().find(|path| leads_out(path)).or(paths.first());
                let path = culprit.map(ToString::to_string).unwrap_or_default();
                FsError::Escape { path, host: self.root.host.clone() }
            }
            _ => FsError::Os(os_error(&error)),
        })
    }
}

/// The names in a directory. One that is not Unicode cannot be told to a guest and is left out.
#[derive(Debug)]
pub(crate) struct Entries(rustix::fs::Dir);

impl Iterator for Entries {
    type Item = Result<Entry, FsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.0.next()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno.into())),
            };
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => {
                    let name = name.to_string();
                    return Some(Ok(Entry { name, inode: entry.ino(), kind: entry.file_type().into() }));
                }
            }
        }
    }
}

/// Whether a path leads out of its directory by its words alone; links may still make others do so.
fn leads_out(path: &str) -> bool {
    let mut depth = 0i32;
    path.starts_with('/')
        || path.split('/').any(|name| {
            depth += match name {
                "" | "." => 0,
                ".." => -1,
                _ => 1,
            };
            depth < 0
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(read_only: bool) -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", temp.path().join("link")).unwrap();
        std::os::unix::fs::symlink("../..", temp.path().join("out")).unwrap();
        let dir = Dir::open_granted(temp.path(), read_only).unwrap();
        (temp, dir)
    }

    fn errno(result: Result<impl Sized, FsError>) -> rustix::io::Errno {
        match result {
            Err(FsError::Os(errno)) => errno,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("succeeded"),
        }
    }

    #[test]
    fn a_grant_must_be_a_directory() {
        let (temp, _) = granted(false);
        assert!(Dir::open_granted(&temp.path().join("file"), false).is_err());
    }

    #[test]
    fn paths_stay_inside() {
        let (_temp, dir) = granted(false);
        let how = OpenHow { follow: true, ..OpenHow::default() };
        for path in ["..", "/etc", "out/etc", "a/../../b", "out"] {
            assert!(matches!(dir.open(path, how), Err(FsError::Escape { .. } | FsError::Os(rustix::io::Errno::NOENT))));
        }
        assert!(matches!(dir.open("out", how), Err(FsError::Escape { path, .. }) if path == "out"));
        assert!(matches!(dir.symlink("/etc", "new"), Err(FsError::Escape { path, .. }) if path == "/etc"));
        assert!(matches!(dir.rename("file", &dir, "../file"), Err(FsError::Escape { path, .. }) if path == "../file"));
        assert!(matches!(dir.remove_file("../file"), Err(FsError::Escape { .. })));
    }

    #[test]
    fn nothing_changes_below_a_read_only_grant() {
        let (_temp, dir) = granted(true);
        let read_only = |result: Result<(), FsError>| assert!(matches!(result, Err(FsError::ReadOnly { .. })));
        let open = |path: &str, how: OpenHow| dir.open(path, how).map(|_| ());
        read_only(open("file", OpenHow { write: true, ..OpenHow::default() }));
        read_only(open("file", OpenHow { truncate: true, ..OpenHow::default() }));
        read_only(open("new", OpenHow { create: true, ..OpenHow::default() }));
        read_only(dir.create_dir("new"));
        read_only(dir.remove_dir("new"));
        read_only(dir.remove_file("file"));
        read_only(dir.rename("file", &dir, "new"));
        read_only(dir.link("file", &dir, "new"));
        read_only(dir.symlink("file", "new"));
        read_only(dir.set_times(NewTime::Now, NewTime::Now));
        read_only(dir.set_times_at("file", false, NewTime::Now, NewTime::Now));
        let Ok(Opened::File(file)) = dir.open("file", OpenHow { create: true, ..OpenHow::default() }) else { panic!() };
        read_only(file.set_size(0));
        read_only(file.allocate(0, 10));
        read_only(file.set_times(NewTime::Now, NewTime::Keep));
        assert_eq!(file.stat().unwrap().size, 4);
    }

    #[test]
    fn links_are_followed_on_request_only() {
        let (_temp, dir) = granted(false);
        assert_eq!(errno(dir.open("link", OpenHow::default())), rustix::io::Errno::LOOP);
        assert!(dir.open("link", OpenHow { follow: true, ..OpenHow::default() }).is_ok());
        assert_eq!(dir.stat_at("link", false).unwrap().kind, FileKind::Symlink);
        assert_eq!(dir.stat_at("link", true).unwrap().kind, FileKind::Regular);
        assert_eq!(errno(dir.stat_at("file/", false)), rustix::io::Errno::NOTDIR);
        assert_eq!(dir.read_link("link").unwrap(), b"file");
    }

    #[test]
    fn a_directory_lists_itself_first() {
        let (_temp, dir) = granted(false);
        let entries = dir.entries().unwrap();
        let inode = dir.stat().unwrap().inode;
        assert_eq!((entries[0].name.as_str(), entries[0].inode), (".", inode));
        assert_eq!((entries[1].name.as_str(), entries[1].inode), ("..", inode));
        let mut rest: Vec<_> = entries[2..].iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
        rest.sort_by_key(|entry| entry.0);
        assert_eq!(rest, [("file", FileKind::Regular), ("link", FileKind::Symlink), ("out", FileKind::Symlink)]);
    }

    #[test]
    fn only_directories_open_as_directories() {
        let (temp, dir) = granted(false);
        fs::create_dir(temp.path().join("sub")).unwrap();
        let how = OpenHow { directory: true, ..OpenHow::default() };
        assert!(matches!(dir.open("sub", how), Ok(Opened::Dir(_))));
        assert_eq!(errno(dir.open("file", how)), rustix::io::Errno::NOTDIR);
        assert_eq!(errno(dir.open("sub", OpenHow { write: true, ..how })), rustix::io::Errno::ISDIR);
    }

    #[test]
    fn words_that_lead_out() {
        assert!(leads_out("/a") && leads_out("..") && leads_out("a/../.."));
        assert!(!leads_out("a/..") && !leads_out("a/./b//c"));
    }
}
