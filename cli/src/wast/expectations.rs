//! Which scripts are expected to fail. In goes a text file, out comes a verdict for each script that ran.
//!
//! An expectation is for a script as a whole, not for its directives: what is not supported yet makes nearly all of a
//! script fail, and a list of directives would only be noise. A listed script that passes is an error, so that the
//! list can only shrink.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// What the failures of a script mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing failed, and nothing was expected to.
    Passed,
    /// Something failed, as expected.
    FailedAsExpected,
    /// Something failed unexpectedly.
    Failed,
    /// Nothing failed, though the script is listed.
    Stale,
}

/// The scripts that are expected to fail.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    paths: Vec<PathBuf>,
}

impl Expectations {
    /// Reads a list: one path per line, `#` begins a comment.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        std::fs::read_to_string(path).map(|text| Self::parse(&text)).map_err(|error| Error::read(path, error))
    }

    fn parse(text: &str) -> Self {
        let entries = text.lines().map(|line| line.split_once('#').map_or(line, |(entry, _)| entry).trim());
        Expectations { paths: entries.filter(|entry| !entry.is_empty()).map(PathBuf::from).collect() }
    }

    /// What `failed` failed directives of `script` mean.
    pub(super) fn judge(&self, script: &Path, failed: usize) -> Verdict {
        match (self.name(script), failed > 0) {
            (false, false) => Verdict::Passed,
            (true, true) => Verdict::FailedAsExpected,
            (false, true) => Verdict::Failed,
            (true, false) => Verdict::Stale,
        }
    }

    /// `Path::ends_with` compares whole components, so that `call.wast` does not name `return_call.wast`.
    fn name(&self, script: &Path) -> bool {
        self.paths.iter().any(|path| script.ends_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_compared_by_components_from_the_end() {
        let list = Expectations::parse("# all of gc\n\ncore/array.wast   # proposal: gc\n  call.wast\n");
        assert_eq!(list.paths, ["core/array.wast", "call.wast"].map(PathBuf::from));
        for (script, named) in [
            ("/x/spec/core/array.wast", true),
            ("core/array.wast", true),
            ("misc/array.wast", false),
            ("array.wast", false),
            ("spec/core/return_call.wast", false),
            ("spec/core/call.wast", true),
        ] {
            assert_eq!(list.name(Path::new(script)), named, "{script}");
        }
    }

    #[test]
    fn a_listed_script_must_fail_and_every_other_must_pass() {
        let list = Expectations::parse("a.wast");
        let judge = |script: &str, failed| list.judge(Path::new(script), failed);
        assert_eq!(judge("a.wast", 1), Verdict::FailedAsExpected);
        assert_eq!(judge("a.wast", 0), Verdict::Stale);
        assert_eq!(judge("b.wast", 0), Verdict::Passed);
        assert_eq!(judge("b.wast", 3), Verdict::Failed);
        assert_eq!(Expectations::default().judge(Path::new("a.wast"), 0), Verdict::Passed);
    }
}
