//! Which version of an interface may stand for which other.
//!
//! What comes in: names like `wasi:io/streams@0.2.6`. What goes out: whether two are on one track: of equal names, and
//! of versions that semantic versioning calls compatible (one major version; for 0.x one minor version). Versions with a
//! pre-release or build part are on no track.

/// `major.minor.patch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u64, u64, u64);

impl Version {
    fn parse(text: &str) -> Option<Version> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let mut parts = text.splitn(3, '.').map(number);
        Some(Version(parts.next()??, parts.next()??, parts.next()??))
    }

    fn compatible(self, other: Version) -> bool {
        match (self, other) {
            (Version(0, 0, one), Version(0, 0, two)) => one == two,
            (Version(0, one, _), Version(0, two, _)) => one == two,
            (Version(one, ..), Version(two, ..)) => one == two,
        }
    }
}

/// Name and version of an interface.
fn split(name: &str) -> Option<(&str, Version)> {
    let (name, version) = name.rsplit_once('@')?;
    Some((name, Version::parse(version)?))
}

/// The version of `candidate`, if it may stand for `wanted` though it is not the same.
pub(crate) fn stands_for(candidate: &str, wanted: &str) -> Option<Version> {
    let ((name, version), (wanted_name, wanted)) = (split(candidate)?, split(wanted)?);
    (name == wanted_name && version.compatible(wanted)).then_some(version)
}

/// `names` that may stand for `wanted`, best first: `wanted` itself, then the others from the highest version.
pub(crate) fn candidates<'n>(names: impl Iterator<Item = &'n str>, wanted: &str) -> Vec<&'n str> {
    let rank = |name: &'n str| {
        let version = stands_for(name, wanted);
        (name == wanted || version.is_some()).then_some((name != wanted, std::cmp::Reverse(version), name))
    };
    let mut found: Vec<_> = names.filter_map(rank).collect();
    found.sort();
    found.into_iter().map(|(_, _, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks() {
        let stands = |one: &str, two: &str| stands_for(&format!("a:b/c@{one}"), &format!("a:b/c@{two}")).is_some();
        assert!(stands("0.2.12", "0.2.0") && stands("0.2.0", "0.2.12") && stands("1.0.0", "1.9.3"));
        assert!(!stands("0.3.0", "0.2.0") && !stands("1.0.0", "2.0.0") && !stands("0.0.1", "0.0.2"));
        assert!(stands("0.0.1", "0.0.1") && !stands("1.0.0", "0.0.0"));
        assert!(!stands("0.3.0-rc-1", "0.3.0") && !stands("0.2", "0.2.0") && !stands("0.2.+1", "0.2.1"));
        assert_eq!(stands_for("a:b/c@0.2.0", "a:b/d@0.2.0"), None);
        assert_eq!(stands_for("a:b/c", "a:b/c"), None);
    }

    #[test]
    fn the_best_candidate_comes_first() {
        let names = ["i@0.2.3", "i@0.2.10", "i@0.2.4", "i@0.3.0", "j@0.2.4", "i"];
        assert_eq!(candidates(names.into_iter(), "i@0.2.4"), ["i@0.2.4", "i@0.2.10", "i@0.2.3"]);
        assert_eq!(candidates(names.into_iter(), "i"), ["i"]);
    }
}
