//! The guest's descriptors: small numbers, what they stand for, and what may be done with each.

use crate::fs::{Dir, Entry, File, FileKind};
use crate::net::{Connection, Listener};
use crate::stdio::{Input, Output};

use super::errno::Errno;
use super::types::Rights;

/// Most descriptors that a guest has at a time: each may hold one of the host's, which all guests share.
const MOST_DESCRIPTORS: usize = 1024;

/// Names of directories that are kept for a guest in the middle of reading them, unless one directory alone has more.
const MOST_ENTRIES: usize = 1 << 16;

const EVERY_KIND: Rights = Rights::FD_FILESTAT_GET.with(Rights::FD_FDSTAT_SET_FLAGS).with(Rights::POLL_FD_READWRITE);

/// What can be done with a directory.
const DIRECTORY: Rights = Rights::PATH_CREATE_DIRECTORY
    .with(Rights::PATH_CREATE_FILE)
    .with(Rights::PATH_LINK_SOURCE)
    .with(Rights::PATH_LINK_TARGET)
    .with(Rights::PATH_OPEN)
    .with(Rights::FD_READDIR)
    .with(Rights::PATH_READLINK)
    .with(Rights::PATH_RENAME_SOURCE)
    .with(Rights::PATH_RENAME_TARGET)
    .with(Rights::PATH_FILESTAT_GET)
    .with(Rights::PATH_FILESTAT_SET_SIZE)
    .with(Rights::PATH_FILESTAT_SET_TIMES)
    .with(Rights::PATH_SYMLINK)
    .with(Rights::PATH_REMOVE_DIRECTORY)
    .with(Rights::PATH_UNLINK_FILE)
    .with(Rights::FD_FILESTAT_GET)
    .with(Rights::FD_FILESTAT_SET_TIMES)
    .with(Rights::FD_SYNC)
    .with(Rights::FD_DATASYNC);

/// What can be done with a file opened for reading and writing.
const FILE: Rights = EVERY_KIND
    .with(Rights::FD_READ)
    .with(Rights::FD_WRITE)
    .with(Rights::FD_SEEK)
    .with(Rights::FD_TELL)
    .with(Rights::FD_SYNC)
    .with(Rights::FD_DATASYNC)
    .with(Rights::FD_ADVISE)
    .with(Rights::FD_ALLOCATE)
    .with(Rights::FD_FILESTAT_SET_SIZE)
    .with(Rights::FD_FILESTAT_SET_TIMES);

/// What a file that is not written to lacks.
const WRITING: Rights = Rights::FD_WRITE.with(Rights::FD_ALLOCATE).with(Rights::FD_FILESTAT_SET_SIZE);

const INPUT: Rights = EVERY_KIND.with(Rights::FD_READ);
const OUTPUT: Rights = EVERY_KIND.with(Rights::FD_WRITE);
const LISTENER: Rights = EVERY_KIND.with(Rights::SOCK_ACCEPT);
const CONNECTION: Rights = EVERY_KIND.with(Rights::FD_READ).with(Rights::FD_WRITE).with(Rights::SOCK_SHUTDOWN);

/// What a descriptor stands for.
#[derive(Debug)]
pub(crate) enum Object {
    Input(Input),
    Output(Output),
    File(File),
    Dir(OpenDir),
    /// A root directory that nobody granted: every path below it is denied.
    ///
    /// C libraries look a path up among the granted directories by themselves, and fail without a call to the host if
    /// none holds it: the user would never learn which grant is missing. So a guest that looks for directories finds
    /// this one last, its library calls the host with the path, and the denial names it.
    Ungranted,
    Listener(Listener),
    Connection(Connection),
}

/// A directory and what `fd_readdir` is in the middle of.
#[derive(Debug)]
pub(crate) struct OpenDir {
    pub(crate) dir: Dir,
    /// The entries as they were when reading began: a cookie is an index into it, and stays valid whatever the guest
    /// creates or removes meanwhile. See [`Table::keep_listing`].
    pub(crate) listing: Option<Vec<Entry>>,
}

impl Object {
    pub(crate) fn dir(dir: Dir) -> Self {
        Self::Dir(OpenDir { dir, listing: None })
    }

    pub(crate) fn kind(&self) -> FileKind {
        match self {
            Self::Input(input) => input.kind(),
            Self::Output(output) => output.kind(),
            Self::File(file) => file.stat().map_or(FileKind::Unknown, |stat| stat.kind),
            Self::Dir(_) | Self::Ungranted => FileKind::Directory,
            Self::Listener(_) | Self::Connection(_) => FileKind::Socket,
        }
    }
}

/// An open descriptor.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) object: Object,
    /// What may be done with it.
    pub(crate) base: Rights,
    /// What may be done with what is opened through it.
    pub(crate) inheriting: Rights,
    /// The guest's name of a granted directory.
    pub(crate) preopen: Option<String>,
}

impl Descriptor {
    pub(crate) fn input(input: Input) -> Self {
        Self::new(Object::Input(input), INPUT)
    }

    pub(crate) fn output(output: Output) -> Self {
        Self::new(Object::Output(output), OUTPUT)
    }

    pub(crate) fn listener(listener: Listener) -> Self {
        Self { inheriting: CONNECTION, ..Self::new(Object::Listener(listener), LISTENER) }
    }

    pub(crate) fn connection(connection: Connection) -> Self {
        Self::new(Object::Connection(connection), CONNECTION)
    }

    pub(crate) fn granted(dir: Dir, guest: String) -> Self {
        Self { preopen: Some(guest), inheriting: DIRECTORY.with(FILE), ..Self::new(Object::dir(dir), DIRECTORY) }
    }

    pub(crate) fn ungranted() -> Self {
        Self { preopen: Some("/".into()), inheriting: DIRECTORY.with(FILE), ..Self::new(Object::Ungranted, DIRECTORY) }
    }

    /// A file opened through a directory that lets pass on `passed`.
    pub(crate) fn file(file: File, read: bool, write: bool, passed: Rights) -> Self {
        let base = if read { FILE } else { FILE.without(Rights::FD_READ) };
        let base = if write { base } else { base.without(WRITING) };
        Self::new(Object::File(file), base.and(passed))
    }

    /// A directory opened through a directory that lets pass on `passed`.
    pub(crate) fn subdirectory(dir: Dir, passed: Rights) -> Self {
        Self { inheriting: passed, ..Self::new(Object::dir(dir), DIRECTORY.and(passed)) }
    }

    fn new(object: Object, base: Rights) -> Self {
        Self { object, base, inheriting: Rights(0), preopen: None }
    }

    /// Fails unless the descriptor has all of `rights`.
    pub(crate) fn require(&self, rights: Rights) -> Result<(), Errno> {
        if self.base.contains(rights) { Ok(()) } else { Err(Errno::NotCapable) }
    }
}

/// All open descriptors, by number.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Option<Descriptor>>,
}

impl Table {
    /// Opens a descriptor under the lowest free number.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let number = self.free()?;
        match self.slots.get_mut(number) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
        u32::try_from(number).map_err(|_| Errno::MFile)
    }

    /// Opens a descriptor under a number that is free, and not beyond the next.
    pub(crate) fn place(&mut self, number: u32, descriptor: Descriptor) {
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
    }

    /// How many numbers are in use, or were.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The lowest descriptor that the guest opened itself: a file, or whatever has a number beyond the `given` ones.
    pub(crate) fn opened(&self, given: usize) -> Option<u32> {
        let is_own = |(number, slot): (usize, &Option<Descriptor>)| match slot.as_ref().map(|open| &open.object) {
            None | Some(Object::Ungranted) => false,
            Some(Object::File(_)) => true,
            Some(_) => number >= given,
        };
        self.slots.iter().enumerate().position(is_own).and_then(|number| u32::try_from(number).ok())
    }

    /// Fails if no descriptor can be opened.
    pub(crate) fn check_room(&self) -> Result<(), Errno> {
        self.free().map(|_| ())
    }

    fn free(&self) -> Result<usize, Errno> {
        let number = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if number < MOST_DESCRIPTORS { Ok(number) } else { Err(Errno::MFile) }
    }

    pub(crate) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.slots.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::BadF)
    }

    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slots.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::BadF)
    }

    pub(crate) fn close(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.slots.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::BadF)
    }

    /// Gives the descriptor `from` the number of `to`, which is closed. Both must be open.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(to)?;
        let moved = self.close(from)?;
        self.slots[to as usize] = Some(moved);
        Ok(())
    }

    /// The file behind a descriptor that has `rights`.
    pub(crate) fn file(&self, fd: u32, rights: Rights) -> Result<&File, Errno> {
        let descriptor = self.get(fd)?;
        match &descriptor.object {
            Object::File(file) => descriptor.require(rights).map(|()| file),
            Object::Dir(_) | Object::Ungranted => Err(Errno::IsDir),
            Object::Listener(_) | Object::Connection(_) | Object::Input(_) | Object::Output(_) => Err(Errno::SPipe),
        }
    }

    /// The directory behind a descriptor that has `rights`.
    pub(crate) fn dir(&self, fd: u32, rights: Rights) -> Result<&OpenDir, Errno> {
        let descriptor = self.get(fd)?;
        match &descriptor.object {
            Object::Dir(dir) => descriptor.require(rights).map(|()| dir),
            _ => Err(Errno::NotDir),
        }
    }

    /// The directory behind a descriptor that has `rights`, to go on reading it.
    pub(crate) fn dir_mut(&mut self, fd: u32, rights: Rights) -> Result<&mut OpenDir, Errno> {
        self.dir(fd, rights)?;
        match &mut self.get_mut(fd)?.object {
            Object::Dir(dir) => Ok(dir),
            _ => Err(Errno::NotDir),
        }
    }

    /// Keeps what is left to read of a directory. So that a guest cannot have the host remember a large directory once
    /// for each of its descriptors, others are forgotten where there are too many: they will be listed anew.
    pub(crate) fn keep_listing(&mut self, fd: u32, entries: Vec<Entry>) {
        let kept: usize = self.dirs_mut().filter_map(|dir| dir.listing.as_ref()).map(Vec::len).sum();
        if kept + entries.len() > MOST_ENTRIES {
            self.dirs_mut().for_each(|dir| dir.listing = None);
        }
        if let Ok(Descriptor { object: Object::Dir(dir), .. }) = self.get_mut(fd) {
            dir.listing = Some(entries);
        }
    }

    fn dirs_mut(&mut self) -> impl Iterator<Item = &mut OpenDir> {
        self.slots.iter_mut().flatten().filter_map(|descriptor| match &mut descriptor.object {
            Object::Dir(dir) => Some(dir),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::Stdin;

    fn input() -> Descriptor {
        Descriptor::input(Input::new(Stdin::Bytes(Vec::new())))
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut table = Table::default();
        assert_eq!([table.insert(input()), table.insert(input()), table.insert(input())], [Ok(0), Ok(1), Ok(2)]);
        table.close(1).unwrap();
        assert_eq!(table.get(1).err(), Some(Errno::BadF));
        assert_eq!(table.insert(input()), Ok(1));
    }

    #[test]
    fn there_is_a_limit() {
        let mut table = Table::default();
        for _ in 0..MOST_DESCRIPTORS {
            table.insert(input()).unwrap();
        }
        assert_eq!(table.check_room(), Err(Errno::MFile));
        assert_eq!(table.insert(input()), Err(Errno::MFile));
        table.close(500).unwrap();
        assert_eq!(table.insert(input()), Ok(500));
    }

    #[test]
    fn renumbering_moves_and_needs_both() {
        let mut table = Table::default();
        table.insert(input()).unwrap();
        table.insert(input()).unwrap();
        assert_eq!(table.renumber(0, 7), Err(Errno::BadF));
        assert_eq!(table.renumber(7, 0), Err(Errno::BadF));
        table.renumber(0, 1).unwrap();
        assert!(table.get(0).is_err() && table.get(1).is_ok());
    }

    #[test]
    fn few_listings_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        let mut table = Table::default();
        let entry = Entry { name: "name".into(), inode: 1, kind: FileKind::Regular };
        let kept = |table: &Table, fd: u32| table.dir(fd, Rights(0)).unwrap().listing.as_ref().map(Vec::len);
        for fd in 0..3 {
            let dir = Dir::open_granted(temp.path(), false).unwrap();
            assert_eq!(table.insert(Descriptor::granted(dir, "/".into())), Ok(fd));
            table.keep_listing(fd, vec![entry.clone(); MOST_ENTRIES / 2]);
        }
        assert_eq!([0, 1, 2].map(|fd| kept(&table, fd)), [None, None, Some(MOST_ENTRIES / 2)]);
        table.keep_listing(0, vec![entry; MOST_ENTRIES * 2]);
        assert_eq!([0, 1, 2].map(|fd| kept(&table, fd)), [Some(MOST_ENTRIES * 2), None, None]);
    }

    #[test]
    fn renumbering_onto_itself_keeps_it() {
        let mut table = Table::default();
        table.insert(input()).unwrap();
        table.renumber(0, 0).unwrap();
        assert!(table.get(0).is_ok());
    }
}
