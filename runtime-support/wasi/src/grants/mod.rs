//! What may be granted to a guest, and all of one guest's grants together.
//!
//! A [`Grant`] is one item of the `--allow` list ([`parse`](Grants::parse) reads the list); [`Grants`] is the sum of
//! them, which a context is built from. Grants say what is allowed; nothing is opened before the context is built.
//! To add a kind: a variant of [`Grant`], its line in [`SYNTAX`], its arm in `parse.rs` and in [`Grants::add`].

mod parse;

use std::fmt;
use std::path::PathBuf;

pub use parse::{GrantError, SYNTAX};

/// One thing a guest is allowed to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A directory of the host and all below it.
    Fs {
        /// Where the directory is, for the host.
        host: PathBuf,
        /// How the guest names it.
        guest: String,
        /// Nothing below it can be changed.
        read_only: bool,
    },
    /// The host's whole environment.
    Env,
    /// One environment variable: with this value, or with the host's if it has one.
    EnvVar {
        /// The variable's name.
        name: String,
        /// The value the guest sees; `None` means the host's.
        value: Option<String>,
    },
    /// Wall clock, monotonic clock, CPU-time clocks, and sleeping.
    Clocks,
    /// Random numbers.
    Random,
    /// Reaching this address, or the whole network: any address, and with WASI 0.2 listening on any.
    Net(Option<Address>),
    /// Listening on this address.
    Listen(Address),
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// Port; for listening, 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A granted directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantedDir {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) read_only: bool,
}

/// All that one guest is granted. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    pub(crate) dirs: Vec<GrantedDir>,
    pub(crate) host_env: bool,
    pub(crate) env_vars: Vec<(String, Option<String>)>,
    pub(crate) clocks: bool,
    pub(crate) random: bool,
    pub(crate) any_net: bool,
    pub(crate) net: Vec<Address>,
    pub(crate) listen: Vec<Address>,
}

impl Grants {
    /// Nothing but the standard streams and the arguments.
    pub fn none() -> Self {
        Self::default()
    }

    /// What `-A` grants: the current directory as `.` and as `/`, the environment, clocks, random numbers and the
    /// network.
    pub fn all() -> Self {
        let here = |guest: &str| Grant::Fs { host: ".".into(), guest: guest.into(), read_only: false };
        Self::none()
            .with(here("."))
            .with(here("/"))
            .with(Grant::Env)
            .with(Grant::Clocks)
            .with(Grant::Random)
            .with(Grant::Net(None))
    }

    /// Reads the value of one `--allow`: grants separated by commas, as [`SYNTAX`] shows.
    ///
    /// # Errors
    /// The first item that is not a grant, and what is wrong with it.
    pub fn parse(list: &str) -> Result<Vec<Grant>, GrantError> {
        parse::list(list)
    }

    /// Adds one grant.
    pub fn add(&mut self, grant: Grant) -> &mut Self {
        match grant {
            Grant::Fs { host, guest, read_only } => self.dirs.push(GrantedDir { host, guest, read_only }),
            Grant::Env => self.host_env = true,
            Grant::EnvVar { name, value } => self.env_vars.push((name, value)),
            Grant::Clocks => self.clocks = true,
            Grant::Random => self.random = true,
            Grant::Net(None) => self.any_net = true,
            Grant::Net(Some(address)) => self.net.push(address),
            Grant::Listen(address) => self.listen.push(address),
        }
        self
    }

    /// The same grants and one more.
    #[must_use]
    pub fn with(mut self, grant: Grant) -> Self {
        self.add(grant);
        self
    }

    /// Whether any directory is granted.
    pub fn has_directories(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// The guest's environment: the host's if granted, then single variables in the order they were granted, the
    /// later of two of the same name winning. What is not Unicode cannot be shown to a guest and is left out.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut environment: Vec<(String, String)> = Vec::new();
        if self.host_env {
            let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            };
            environment.extend(std::env::vars_os().filter_map(unicode));
        }
        for (name, value) in &self.env_vars {
            let Some(value) = value.clone().or_else(|| std::env::var(name).ok()) else { continue };
            environment.retain(|(present, _)| present != name);
            environment.push((name.clone(), value));
        }
        environment
    }
}

impl Extend<Grant> for Grants {
    fn extend<I: IntoIterator<Item = Grant>>(&mut self, grants: I) {
        for grant in grants {
            self.add(grant);
        }
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        let mut all = Self::none();
        all.extend(grants);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str, value: Option<&str>) -> Grant {
        Grant::EnvVar { name: name.into(), value: value.map(Into::into) }
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let none = Grants::none();
        assert_eq!(none.environment(), []);
        assert!(!none.has_directories() && !none.clocks && !none.random && !none.any_net);
    }

    #[test]
    fn all_grants_everything_that_needs_no_address() {
        let all = Grants::all();
        assert_eq!(all.dirs.iter().map(|dir| dir.guest.as_str()).collect::<Vec<_>>(), [".", "/"]);
        assert!(all.host_env && all.clocks && all.random && all.any_net && all.listen.is_empty());
    }

    #[test]
    fn the_later_variable_wins_and_an_absent_one_stays_absent() {
        let grants = Grants::from_iter([
            variable("A", Some("1")),
            variable("PRECAST_TEST_SURELY_UNSET", None),
            variable("A", Some("2")),
        ]);
        assert_eq!(grants.environment(), [("A".to_string(), "2".to_string())]);
    }

    #[test]
    fn the_hosts_value_is_taken_when_none_is_given() {
        // Cargo sets this variable for every test.
        let grants = Grants::none().with(variable("CARGO_PKG_NAME", None));
        assert_eq!(grants.environment(), [("CARGO_PKG_NAME".to_string(), "precast-wasi".to_string())]);
    }
}
