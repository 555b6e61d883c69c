//! The `--allow` list: text in, grants out.

use super::{Address, Grant};

/// The `--allow` syntax, as shown in help and errors.
pub const SYNTAX: &str =
    "fs:HOST[=GUEST][:ro],env[:NAME[=VALUE]],clocks,random,net:HOST:PORT,listen:HOST:PORT (a comma in a value is \\,)";

/// Why an `--allow` list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// An item between commas is empty.
    #[error("an empty grant; the syntax is {SYNTAX}")]
    Empty,
    /// No such kind of grant.
    #[error("`{0}` is not a grant; the syntax is {SYNTAX}")]
    Unknown(String),
    /// `clocks` and `random` take no value.
    #[error("`{0}` takes no value; the syntax is {SYNTAX}")]
    NoValue(String),
    /// A directory grant without the directory.
    #[error("`{0}` names no directory; write fs:HOST[=GUEST][:ro]")]
    NoDirectory(String),
    /// A variable grant without the variable's name.
    #[error("`{0}` names no variable; write env or env:NAME[=VALUE]")]
    NoVariable(String),
    /// A network grant without host and port.
    #[error(
        "`{0}` needs a host and a port; write {kind}:HOST:PORT, an IPv6 address in brackets",
        kind = .0.split(':').next().unwrap_or_default()
    )]
    NoAddress(String),
    /// A port that is not a number up to 65535.
    #[error("`{port}` in `{grant}` is not a port: a number up to 65535 is wanted")]
    BadPort {
        /// The whole item.
        grant: String,
        /// What stands where the port should be.
        port: String,
    },
    /// A zero byte, which no name, path or value can hold.
    #[error("{0:?} holds a zero byte")]
    ZeroByte(String),
}

/// Reads grants separated by commas.
pub(super) fn list(list: &str) -> Result<Vec<Grant>, GrantError> {
    items(list).iter().map(|item| grant(item)).collect()
}

/// Splits at commas that no backslash stands before. A backslash before anything else is itself.
fn items(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut rest = list.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ',' => items.push(String::new()),
            '\\' if rest.next_if_eq(&',').is_some() => push(&mut items, ','),
            other => push(&mut items, other),
        }
    }
    items
}

fn push(items: &mut [String], c: char) {
    if let Some(last) = items.last_mut() {
        last.push(c);
    }
}

fn grant(item: &str) -> Result<Grant, GrantError> {
    if item.contains('\0') {
        return Err(GrantError::ZeroByte(item.into()));
    }
    let (kind, value) = match item.split_once(':') {
        Some((kind, value)) => (kind, Some(value)),
        None => (item, None),
    };
    match (kind, value) {
        ("", None) => Err(GrantError::Empty),
        ("fs", value) => directory(item, value.unwrap_or_default()),
        ("env", None) => Ok(Grant::Env),
        ("env", Some(value)) => variable(item, value),
        ("clocks", None) => Ok(Grant::Clocks),
        ("random", None) => Ok(Grant::Random),
        ("clocks" | "random", Some(_)) => Err(GrantError::NoValue(kind.into())),
        ("net", None) => Ok(Grant::Net(None)),
        ("net", Some(value)) => address(item, value).map(|to| Grant::Net(Some(to))),
        ("listen", value) => address(item, value.unwrap_or_default()).map(Grant::Listen),
        _ => Err(GrantError::Unknown(item.into())),
    }
}

fn directory(item: &str, value: &str) -> Result<Grant, GrantError> {
    let (value, read_only) = match value.strip_suffix(":ro") {
        Some(value) => (value, true),
        None => (value, false),
    };
    let (host, guest) = value.split_once('=').unwrap_or((value, value));
    if host.is_empty() || guest.is_empty() {
        return Err(GrantError::NoDirectory(item.into()));
    }
    Ok(Grant::Fs { host: host.into(), guest: guest.into(), read_only })
}

fn variable(item: &str, value: &str) -> Result<Grant, GrantError> {
    let (name, value) = match value.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (value, None),
    };
    match name {
        "" => Err(GrantError::NoVariable(item.into())),
        name => Ok(Grant::EnvVar { name: name.into(), value }),
    }
}

fn address(item: &str, value: &str) -> Result<Address, GrantError> {
    let no_address = || GrantError::NoAddress(item.into());
    let (host, port) = value.rsplit_once(':').ok_or_else(no_address)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(host) => host,
        // Which of many colons ends an IPv6 address only brackets can tell.
        None if host.contains(':') => return Err(no_address()),
        None => host,
    };
    if host.is_empty() || port.is_empty() {
        return Err(no_address());
    }
    let bad_port = |_| GrantError::BadPort { grant: item.into(), port: port.into() };
    Ok(Address { host: host.into(), port: port.parse().map_err(bad_port)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fs(host: &str, guest: &str, read_only: bool) -> Grant {
        Grant::Fs { host: host.into(), guest: guest.into(), read_only }
    }

    fn variable(name: &str, value: Option<&str>) -> Grant {
        Grant::EnvVar { name: name.into(), value: value.map(Into::into) }
    }

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn reads_every_kind() {
        let text = "fs:./data,fs:/srv=/:ro,env,env:HOME,env:A=b=c,clocks,random,net:example.org:443,listen:[::1]:0,net";
        assert_eq!(
            list(text).unwrap(),
            [
                fs("./data", "./data", false),
                fs("/srv", "/", true),
                Grant::Env,
                variable("HOME", None),
                variable("A", Some("b=c")),
                Grant::Clocks,
                Grant::Random,
                Grant::Net(Some(at("example.org", 443))),
                Grant::Listen(at("::1", 0)),
                Grant::Net(None),
            ]
        );
    }

    #[test]
    fn a_backslash_keeps_a_comma() {
        assert_eq!(list(r"env:A=1\,2,clocks").unwrap(), [variable("A", Some("1,2")), Grant::Clocks]);
        assert_eq!(list(r"env:A=\d\\").unwrap(), [variable("A", Some(r"\d\\"))]);
    }

    #[test]
    fn says_what_is_wrong() {
        let message = |text: &str| list(text).unwrap_err().to_string();
        assert_eq!(message("clocks,"), format!("an empty grant; the syntax is {SYNTAX}"));
        assert_eq!(message("disk:/"), format!("`disk:/` is not a grant; the syntax is {SYNTAX}"));
        assert_eq!(message("clocks:now"), format!("`clocks` takes no value; the syntax is {SYNTAX}"));
        assert_eq!(message("fs"), "`fs` names no directory; write fs:HOST[=GUEST][:ro]");
        assert_eq!(message("fs::ro"), "`fs::ro` names no directory; write fs:HOST[=GUEST][:ro]");
        assert_eq!(message("fs:a="), "`fs:a=` names no directory; write fs:HOST[=GUEST][:ro]");
        assert_eq!(message("env:=x"), "`env:=x` names no variable; write env or env:NAME[=VALUE]");
        assert_eq!(
            message("listen"),
            "`listen` needs a host and a port; write listen:HOST:PORT, an IPv6 address in brackets"
        );
        assert_eq!(
            message("net:::1:80"),
            "`net:::1:80` needs a host and a port; write net:HOST:PORT, an IPv6 address in brackets"
        );
        assert_eq!(
            message("net:localhost:http"),
            "`http` in `net:localhost:http` is not a port: a number up to 65535 is wanted"
        );
        assert_eq!(message("fs:a\0b"), "\"fs:a\\0b\" holds a zero byte");
    }

    #[test]
    fn addresses_print_as_they_are_written() {
        assert_eq!(at("::1", 80).to_string(), "[::1]:80");
        assert_eq!(at("localhost", 80).to_string(), "localhost:80");
    }
}
