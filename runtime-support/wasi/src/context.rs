//! One guest's capabilities: grants go in, open directories, sockets and streams come out.
//!
//! A [`WasiCtx`] lives in the data of the store that the guest runs in. Building it opens what was granted; after that
//! nothing ambient is reached any more.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::denial::{Denial, Denials, Listener, shown};
use crate::fs::{Dir, FsError};
use crate::grants::{Address, GrantedDir, Grants};
use crate::net;
use crate::preview1::{Descriptor, Errno, Object, OpenDir, Rights, Table};
use crate::preview2::{Shared, Template};
use crate::reads::{self, Reads};
use crate::stdio::{Input, Output, Stdin, Stdout};

/// Number of standard streams: the first descriptors.
const STREAMS: usize = 3;

/// What one guest can reach, and the descriptors it has open.
pub struct WasiCtx {
    pub(crate) arguments: Vec<String>,
    /// As `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    pub(crate) clocks: bool,
    pub(crate) random: bool,
    /// What the guest's monotonic clock counts from, so that it does not tell the host's uptime.
    pub(crate) monotonic_origin: u64,
    pub(crate) table: Table,
    pub(crate) denials: Denials,
    pub(crate) reads: Reads,
    has_directories: bool,
    has_sockets: bool,
    /// Where a guest that looks for directories finds one that was not granted: the number after the granted ones.
    ungranted: Option<u32>,
    /// How many descriptors it began with.
    given: usize,
    /// The guest looked for directories and found not even that one.
    looked_in_vain: bool,
}

/// Why a context cannot be built from its grants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A granted directory cannot be opened.
    #[error("cannot open the granted directory `{}`", path.display())]
    Directory {
        /// The directory, as granted.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A granted connection cannot be made.
    #[error("cannot connect to the granted address {address}")]
    Connect {
        /// The address, as granted.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// A granted address cannot be listened on.
    #[error("cannot listen on the granted address {address}")]
    Listen {
        /// The address, as granted.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// An argument or environment variable holds a zero byte, which ends it for the guest.
    #[error("{0:?} holds a zero byte")]
    ZeroByte(String),
    /// More directories and sockets are granted than a guest can have open.
    #[error("too many directories and sockets are granted")]
    TooManyGrants,
}

/// Puts a [`WasiCtx`] together. By default the guest has the host's standard streams, no arguments and no grants.
#[derive(Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct WasiCtxBuilder {
    arguments: Vec<String>,
    grants: Grants,
    stdin: Stdin,
    stdout: Stdout,
    stderr: Stdout,
    on_denial: Option<Listener>,
    on_read: Option<reads::Listener>,
    http: crate::http::Settings,
}

impl WasiCtxBuilder {
    /// Adds the guest's arguments; the first of all is the program's name by convention.
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Replaces the guest's grants.
    pub fn grants(mut self, grants: Grants) -> Self {
        self.grants = grants;
        self
    }

    /// Sets where standard input comes from.
    pub fn stdin(mut self, source: Stdin) -> Self {
        self.stdin = source;
        self
    }

    /// Sets where standard output goes.
    pub fn stdout(mut self, sink: Stdout) -> Self {
        self.stdout = sink;
        self
    }

    /// Sets where standard error goes.
    pub fn stderr(mut self, sink: Stdout) -> Self {
        self.stderr = sink;
        self
    }

    /// Sets how HTTP requests of guests are made.
    pub fn http(mut self, settings: crate::http::Settings) -> Self {
        self.http = settings;
        self
    }

    /// Sets who is told when the guest asks for something it was not granted: once for each missing grant, before the
    /// denied call returns to the guest.
    pub fn on_denial(mut self, listener: impl Fn(&Denial) + Send + 'static) -> Self {
        self.on_denial = Some(Box::new(listener));
        self
    }

    /// Sets who is told what of the world the guest has read, in words: clocks, random numbers, a variable that is not
    /// empty, a path. Each once.
    pub fn on_read(mut self, listener: impl Fn(&str) + Send + 'static) -> Self {
        self.on_read = Some(Box::new(listener));
        self
    }

    /// Opens what is granted: the standard streams are descriptors 0 to 2, the directories follow in the order of
    /// their grants, then listening sockets, then connections.
    ///
    /// # Errors
    /// A granted directory or address cannot be opened, or an argument or variable holds a zero byte.
    pub fn build(self) -> Result<WasiCtx, BuildError> {
        let grants_root = self.grants_root();
        let environment = self.environment()?;
        let environment = environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let streams: [_; STREAMS] = [
            Descriptor::input(Input::new(self.stdin)),
            Descriptor::output(Output::stdout(self.stdout)),
            Descriptor::output(Output::stderr(self.stderr)),
        ];
        let mut table = Table::default();
        for descriptor in streams.into_iter().chain(open(&self.grants)?) {
            table.insert(descriptor).map_err(|_| BuildError::TooManyGrants)?;
        }
        let given = table.len();
        let has_sockets = !self.grants.net.is_empty() || !self.grants.listen.is_empty();
        // A granted root would be hidden by it, and sockets have the numbers after the directories.
        let offered = !has_sockets && !grants_root;
        let ungranted = u32::try_from(STREAMS + self.grants.dirs.len()).ok().filter(|_| offered);
        Ok(WasiCtx {
            arguments: self.arguments,
            environment,
            clocks: self.grants.clocks,
            random: self.grants.random,
            monotonic_origin: crate::preview1::host_monotonic(),
            table,
            denials: Denials::new(self.on_denial),
            reads: Reads::new(self.on_read),
            has_directories: self.grants.has_directories(),
            has_sockets,
            ungranted,
            given,
            looked_in_vain: false,
        })
    }

    /// Opens what is granted, for guests of WASI 0.2: contexts are then made from the template, one for each instance.
    /// Sockets are opened by the guests themselves, where the grants allow it.
    ///
    /// # Errors
    /// A granted directory cannot be opened, an address to listen on has no meaning, or an argument or variable holds a
    /// zero byte.
    pub fn template(self) -> Result<Template, BuildError> {
        let environment = self.environment()?;
        let directories = self.grants.dirs.iter().map(|granted| {
            let dir = open_dir(granted)?;
            Ok((Arc::new(dir), granted.guest.clone()))
        });
        let rules =
            net::Rules::new(&self.grants).map_err(|(address, source)| BuildError::Listen { address, source })?;
        Ok(Template::new(Shared {
            environment,
            clocks: self.grants.clocks,
            random: self.grants.random,
            rules,
            directories: directories.collect::<Result<_, BuildError>>()?,
            offers_root: !self.grants_root(),
            arguments: self.arguments,
            stdin: self.stdin,
            stdout: self.stdout,
            stderr: self.stderr,
            denials: Mutex::new(Denials::new(self.on_denial)),
            reads: Reads::new(self.on_read),
            http: self.http,
        }))
    }

    /// The guest's variables, if it can be shown them and its arguments.
    fn environment(&self) -> Result<Vec<(String, String)>, BuildError> {
        let environment = self.grants.environment();
        let variables = environment.iter().flat_map(|(name, value)| [name, value]);
        if let Some(bad) = self.arguments.iter().chain(variables).find(|text| text.contains('\0')) {
            return Err(BuildError::ZeroByte(bad.clone()));
        }
        Ok(environment)
    }

    fn grants_root(&self) -> bool {
        self.grants.dirs.iter().any(|dir| is_root(&dir.guest))
    }
}

fn open_dir(granted: &GrantedDir) -> Result<Dir, BuildError> {
    Dir::open_granted(&granted.host, granted.read_only)
        .map_err(|source| BuildError::Directory { path: granted.host.clone(), source })
}

/// Descriptors for the granted directories and sockets.
fn open(grants: &Grants) -> Result<Vec<Descriptor>, BuildError> {
    let mut opened = Vec::new();
    for granted in &grants.dirs {
        opened.push(Descriptor::granted(open_dir(granted)?, granted.guest.clone()));
    }
    for address in &grants.listen {
        let listener =
            net::Listener::bind(address).map_err(|source| BuildError::Listen { address: address.clone(), source })?;
        opened.push(Descriptor::listener(listener));
    }
    for address in &grants.net {
        let connection = net::Connection::connect(address)
            .map_err(|source| BuildError::Connect { address: address.clone(), source })?;
        opened.push(Descriptor::connection(connection));
    }
    Ok(opened)
}

impl WasiCtx {
    /// Starts to build a context.
    pub fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::default()
    }

    /// A grant that the guest may have gone without unnoticed: a library that finds no directory fails to open a file
    /// without a call that could be denied. That is so only if sockets are granted and no directory is. Worth telling
    /// if the guest fails.
    pub fn unanswered(&self) -> Option<Denial> {
        self.looked_in_vain.then(|| Denial::ungranted_path("/"))
    }

    /// A context that stands in for one that is lent out.
    pub(crate) fn stand_in() -> Self {
        Self {
            arguments: Vec::new(),
            environment: Vec::new(),
            clocks: false,
            random: false,
            monotonic_origin: 0,
            table: Table::default(),
            denials: Denials::default(),
            reads: Reads::default(),
            has_directories: false,
            has_sockets: false,
            ungranted: None,
            given: 0,
            looked_in_vain: false,
        }
    }

    /// The guest asks whether a descriptor is a granted directory. After the last it finds one that is not.
    pub(crate) fn look_for_directory(&mut self, fd: u32) {
        if self.ungranted == Some(fd) && self.table.get(fd).is_err() {
            self.ungranted = None;
            self.table.place(fd, Descriptor::ungranted());
        }
        self.looked_in_vain |= !self.has_directories && self.has_sockets;
    }

    /// The directory behind a descriptor that has `rights`, for a path below it. If there is none to be had, the user
    /// is told of the path.
    ///
    /// What is not granted is not there, as far as the guest can tell: that is what libraries say of paths in no
    /// granted directory too, and programs do without an optional file only if it does not exist.
    pub(crate) fn dir(&mut self, fd: u32, rights: Rights, path: &str) -> Result<&OpenDir, Errno> {
        let missing = match self.table.get(fd) {
            Err(_) if !self.has_directories => Some(Errno::BadF),
            Ok(Descriptor { object: Object::Ungranted, .. }) => Some(Errno::NoEnt),
            _ => None,
        };
        match missing {
            Some(errno) => {
                self.denials.report(Denial::ungranted_path(path));
                Err(errno)
            }
            None => {
                self.reads.report(|| shown(path));
                self.table.dir(fd, rights)
            }
        }
    }

    /// The lowest descriptor that the guest has open and was not given: to a guest with another context it would not be
    /// there.
    pub fn opened(&self) -> Option<u32> {
        self.table.opened(self.given)
    }

    /// Fails if the descriptor of a socket call stands for nothing. If no socket was granted, the user is told.
    pub(crate) fn require_open(&mut self, fd: u32, what: &str, grant: &str) -> Result<(), Errno> {
        match self.table.get(fd) {
            Err(_) | Ok(Descriptor { object: Object::Ungranted, .. }) => {
                if !self.has_sockets {
                    self.denials.report(Denial::new(what, grant));
                }
                Err(Errno::BadF)
            }
            Ok(_) => Ok(()),
        }
    }

    /// Turns the result of a file operation into the guest's, and tells the user if a grant was missing.
    pub(crate) fn settle<T>(&mut self, result: Result<T, FsError>) -> Result<T, Errno> {
        result.map_err(|error| {
            if let Some(denial) = Denial::of(&error) {
                self.denials.report(denial);
            }
            match error {
                FsError::Os(errno) => errno.into(),
                FsError::ReadOnly { .. } => Errno::RoFs,
                FsError::Escape { .. } => Errno::Perm,
            }
        })
    }
}

/// Whether a guest's name of a directory is its root: libraries take paths without a leading slash for the same.
fn is_root(guest: &str) -> bool {
    guest.split('/').all(|name| name.is_empty() || name == ".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Grant;

    fn fs(host: impl Into<PathBuf>) -> Grant {
        Grant::Fs { host: host.into(), guest: "/".into(), read_only: false }
    }

    #[test]
    fn contexts_can_move_between_threads() {
        fn sent<T: Send>() {}
        sent::<WasiCtx>();
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let message =
            |grant: Grant| WasiCtx::builder().grants(Grants::none().with(grant)).build().err().unwrap().to_string();
        assert_eq!(message(fs("/surely/not/there")), "cannot open the granted directory `/surely/not/there`");
        let taken = net::Listener::bind(&Address { host: "127.0.0.1".into(), port: 0 }).unwrap();
        let address = Address { host: "127.0.0.1".into(), port: taken.port() };
        let expected = format!("cannot listen on the granted address {address}");
        assert_eq!(message(Grant::Listen(address.clone())), expected);
        drop(taken);
        let expected = format!("cannot connect to the granted address {address}");
        assert_eq!(message(Grant::Net(Some(address))), expected);
    }

    #[test]
    fn zero_bytes_are_refused() {
        let built = WasiCtx::builder().args(["a\0b"]).build();
        assert!(matches!(built, Err(BuildError::ZeroByte(text)) if text == "a\0b"));
    }
}
