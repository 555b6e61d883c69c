//! What the process of a script tells the runner, line by line on its standard output, and what becomes of it.
//!
//! Lines and not one message at the end: when the process dies, the last place it announced is where it died.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use super::expectations::Verdict;

/// A place in a script. Both numbers start at 1; the column counts bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    /// The beginning, for what concerns the whole script.
    pub(super) const START: Place = Place { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One line. A `Pass`, `Fail` or `Skip` is about the directive that the last `At` announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The script has so many directives.
    Total(usize),
    /// Work begins on what stands here.
    At(Place),
    /// The directive passed.
    Pass,
    /// The directive failed, and why.
    Fail(String),
    /// The runner cannot run this directive.
    Skip,
    /// All directives have been told.
    End,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Total(count) => write!(f, "total {count}"),
            Event::At(place) => write!(f, "at {place}"),
            Event::Pass => f.write_str("pass"),
            // As JSON, since a message may have several lines.
            Event::Fail(message) => write!(f, "fail {}", serde_json::Value::from(message.as_str())),
            Event::Skip => f.write_str("skip"),
            Event::End => f.write_str("end"),
        }
    }
}

impl Event {
    /// The inverse of `Display`; `None` for anything else.
    pub(super) fn parse(line: &str) -> Option<Event> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "total" => Event::Total(rest.parse().ok()?),
            "at" => {
                let (line, column) = rest.split_once(':')?;
                Event::At(Place { line: line.parse().ok()?, column: column.parse().ok()? })
            }
            "pass" => Event::Pass,
            "fail" => Event::Fail(serde_json::from_str::<serde_json::Value>(rest).ok()?.as_str()?.to_owned()),
            "skip" => Event::Skip,
            "end" => Event::End,
            _ => return None,
        })
    }
}

/// What came of a script; counts are of directives.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) path: &'a Path,
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    failures: Vec<(Place, String)>,
    total: usize,
    last: Place,
    ended: bool,
}

impl<'a> Report<'a> {
    /// A script of which nothing is known yet.
    pub(super) fn new(path: &'a Path) -> Self {
        let (passed, failed, skipped, total) = (0, 0, 0, 0);
        Report { path, passed, failed, skipped, failures: Vec::new(), total, last: Place::START, ended: false }
    }

    /// Takes in a line of the script's process.
    pub(super) fn record(&mut self, event: Event) {
        match event {
            Event::Total(count) => self.total = count,
            Event::At(place) => self.last = place,
            Event::Pass => self.passed += 1,
            Event::Fail(message) => {
                self.failed += 1;
                self.failures.push((self.last, message));
            }
            Event::Skip => self.skipped += 1,
            Event::End => self.ended = true,
        }
    }

    /// Whether the process told the outcome of every directive.
    pub(super) fn is_complete(&self) -> bool {
        self.ended
    }

    /// The process ended before its time, for `reason`: the directive at hand failed, and so did all after it.
    /// `complaint` is what it said last, on lines of its own, or nothing.
    pub(super) fn cut_short(&mut self, reason: &str, complaint: &str) {
        let lost = self.total.saturating_sub(self.passed + self.failed + self.skipped).max(1);
        let more = match lost - 1 {
            0 => String::new(),
            more => format!(" ({more} more not reached)"),
        };
        self.failed += lost;
        self.failures.push((self.last, format!("{reason}{more}{complaint}")));
    }

    /// Prints the failures, and what `verdict` says about the script as a whole.
    pub(super) fn print(&self, verdict: Verdict, out: &mut impl Write) -> io::Result<()> {
        let path = self.path.display();
        let mark = if verdict == Verdict::FailedAsExpected { "expected to fail: " } else { "" };
        for (place, message) in &self.failures {
            writeln!(out, "{path}:{place}: {mark}{}", message.replace('\n', "\n    "))?;
        }
        if verdict == Verdict::Stale {
            writeln!(out, "{path}: expected to fail, but nothing failed: remove it from the list")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip() {
        let fail = Event::Fail("expected \"a\"\n  got\tb \u{1f600}".into());
        assert!(!fail.to_string().contains('\n'));
        for event in
            [Event::Total(7), Event::At(Place { line: 3, column: 14 }), Event::Pass, fail, Event::Skip, Event::End]
        {
            assert_eq!(Event::parse(&event.to_string()), Some(event));
        }
        for line in ["", "at 3", "at x:1", "total", "fail x", "thread 'main' panicked at"] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }

    fn printed(report: &Report<'_>, verdict: Verdict) -> String {
        let mut out = Vec::new();
        report.print(verdict, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn failures_are_printed_with_their_place() {
        let mut report = Report::new(Path::new("a.wast"));
        let place = Place { line: 2, column: 5 };
        for event in [Event::Total(2), Event::At(place), Event::Fail("one\ntwo".into()), Event::Pass, Event::End] {
            report.record(event);
        }
        assert_eq!((report.passed, report.failed, report.skipped, report.is_complete()), (1, 1, 0, true));
        assert_eq!(printed(&report, Verdict::Failed), "a.wast:2:5: one\n    two\n");
        assert_eq!(printed(&report, Verdict::FailedAsExpected), "a.wast:2:5: expected to fail: one\n    two\n");
    }

    #[test]
    fn what_a_crash_kept_from_running_has_failed() {
        let mut report = Report::new(Path::new("a.wast"));
        for event in [Event::Total(9), Event::Pass, Event::At(Place { line: 4, column: 1 })] {
            report.record(event);
        }
        assert!(!report.is_complete());
        report.cut_short("crashed", "\nwhy");
        assert_eq!((report.passed, report.failed), (1, 8));
        assert_eq!(printed(&report, Verdict::Failed), "a.wast:4:1: crashed (7 more not reached)\n    why\n");

        let mut nothing = Report::new(Path::new("a.wast"));
        nothing.cut_short("crashed", "");
        assert_eq!(printed(&nothing, Verdict::Failed), "a.wast:1:1: crashed\n");
        assert_eq!(nothing.failed, 1);
    }
}
