//! Telling the user which grant a guest went without.
//!
//! A denied call only gives the guest an error number, which the guest words in its own way. So the host says, before
//! the call returns and thus before the guest complains, what was asked for and which `--allow` would have given it.

use std::collections::BTreeSet;
use std::fmt;

use crate::fs::FsError;

/// The grant of a directory, whichever it is.
const SOME_DIRECTORY: &str = "fs:HOST";

/// Something the guest asked for and was not granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// What the guest asked for, as words that follow "the guest asked for".
    pub what: String,
    /// The grant that would have allowed it, as written after `--allow=`.
    pub grant: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied: the guest asked for {}; grant it with --allow={}", self.what, self.grant)
    }
}

impl Denial {
    pub(crate) fn new(what: impl Into<String>, grant: impl Into<String>) -> Self {
        Self { what: what.into(), grant: grant.into() }
    }

    /// Of a file operation that failed, if it did for want of a grant.
    pub(crate) fn of(error: &FsError) -> Option<Self> {
        match error {
            FsError::Os(_) => None,
            FsError::ReadOnly { host } => {
                let what = format!("a change below {}, which is read-only", shown(host));
                Some(Self::new(what, format!("fs:{host}")))
            }
            FsError::Escape { path, host } => {
                let what = format!("{}, which leads out of {}", shown(path), shown(host));
                Some(Self::new(what, SOME_DIRECTORY))
            }
        }
    }

    /// Of a path below a root that was not granted; the grant would be of the directory that holds it.
    pub(crate) fn ungranted_path(path: &str) -> Self {
        let path = format!("/{}", path.trim_start_matches('/').trim_start_matches("./"));
        let holder = path.trim_end_matches('/').rsplit_once('/').map_or("/", |(holder, _)| holder);
        // A shell, a terminal or the grant's own syntax could read anything else in another way.
        let plain = holder.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) && holder.len() < 200;
        let guest = if holder.is_empty() || !plain { "/" } else { holder };
        Self::new(shown(&path), format!("{SOME_DIRECTORY}={guest}"))
    }
}

/// Who is told of denials.
pub(crate) type Listener = Box<dyn Fn(&Denial) + Send>;

/// Most denials that are reported of one guest. It chooses the paths that it asks for, and could make us report and
/// remember without end.
const MOST_REPORTED: usize = 16;

/// Reports each missing grant once.
#[derive(Default)]
pub(crate) struct Denials {
    listener: Option<Listener>,
    /// The grants that were missing: what was asked for may differ each time.
    reported: BTreeSet<String>,
}

impl Denials {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self { listener, reported: BTreeSet::new() }
    }

    /// Reports a denial, unless one of the same grant has been reported before.
    pub(crate) fn report(&mut self, denial: Denial) {
        if self.reported.len() < MOST_REPORTED
            && self.reported.insert(denial.grant.clone())
            && let Some(listener) = &self.listener
        {
            listener(&denial);
        }
    }
}

/// A guest's path as it may be shown on a terminal: quoted, control characters escaped, and not endless.
pub(crate) fn shown(path: &str) -> String {
    const LONGEST: usize = 120;
    match path.char_indices().nth(LONGEST) {
        None => format!("{path:?}"),
        Some((end, _)) => format!("{:?}…", &path[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn each_missing_grant_is_reported_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let mut denials = Denials::new(Some(Box::new(move |denial| sink.lock().unwrap().push(denial.to_string()))));
        denials.report(Denial::new("the wall clock", "clocks"));
        denials.report(Denial::new("the monotonic clock", "clocks"));
        denials.report(Denial::new("random numbers", "random"));
        assert_eq!(
            *told.lock().unwrap(),
            [
                "denied: the guest asked for the wall clock; grant it with --allow=clocks",
                "denied: the guest asked for random numbers; grant it with --allow=random"
            ]
        );
    }

    #[test]
    fn the_grant_of_a_denied_path_is_that_of_its_holder() {
        let grant = |path: &str| Denial::ungranted_path(path).grant;
        assert_eq!(grant("."), "fs:HOST=/");
        assert_eq!(grant("file"), "fs:HOST=/");
        assert_eq!(grant("./a/b/"), "fs:HOST=/a");
        assert_eq!(grant("/a/b/c"), "fs:HOST=/a/b");
        assert_eq!(grant("$(x)/y"), "fs:HOST=/");
    }

    #[test]
    fn a_guest_cannot_flood_the_user() {
        let told = Arc::new(Mutex::new(0));
        let count = Arc::clone(&told);
        let mut denials = Denials::new(Some(Box::new(move |_| *count.lock().unwrap() += 1)));
        (0..1000).for_each(|index| denials.report(Denial::new("a file", format!("fs:HOST=/{index}"))));
        assert_eq!(*told.lock().unwrap(), MOST_REPORTED);
    }

    #[test]
    fn shown_paths_cannot_drive_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb"), "\"a\\u{1b}[2Jb\"");
        assert!(shown(&"x".repeat(5000)).len() < 140);
    }
}
