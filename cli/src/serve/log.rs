//! The access log, and what is told of guests that fail.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode, Uri};
use precast_loader::CallError;
use precast_wasi::http::Error as GuestError;

use super::stats::Outcome;
use crate::error::Error;
use crate::output::{printable, tell};
use crate::trap::Backtrace;

/// Where a line goes for each request, if anywhere.
pub(crate) struct AccessLog(Option<Sink>);

enum Sink {
    Stderr,
    File(File),
}

/// A request and what came of it.
pub(crate) struct Entry<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) status: StatusCode,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

impl AccessLog {
    /// No log, or one on standard error (`-`), or at the end of a file.
    pub(crate) fn open(path: Option<&PathBuf>) -> Result<Self, Error> {
        let sink = match path {
            None => None,
            Some(path) if path == Path::new("-") => Some(Sink::Stderr),
            Some(path) => {
                let file = File::options().append(true).create(true).open(path);
                Some(Sink::File(file.map_err(|error| Error::write(path, error))?))
            }
        };
        Ok(Self(sink))
    }

    /// Whether anything is logged.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a line. One that cannot be written is lost: the client has its response all the same.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let Some(sink) = &self.0 else { return };
        let line = line(entry, SystemTime::now());
        // One call for each line: lines of several workers do not mix.
        _ = match sink {
            Sink::Stderr => std::io::stderr().write_all(line.as_bytes()),
            Sink::File(file) => (&*file).write_all(line.as_bytes()),
        };
    }
}

fn line(entry: &Entry<'_>, now: SystemTime) -> String {
    let Entry { peer, method, uri, status, bytes, took, outcome } = entry;
    let target = printable(&uri.path_and_query().map_or("-".into(), ToString::to_string)).replace('"', "%22");
    let seconds = took.as_secs_f64();
    let (peer, status, time, outcome) = (peer.ip(), status.as_u16(), timestamp(now), outcome.name());
    format!("{time} {peer} \"{method} {target}\" {status} {bytes} {seconds:.6} {outcome}\n")
}

/// The time as RFC 3339 has it, in UTC, with milliseconds.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years begin in March here, so that the leap day is the last of one.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let milliseconds = since.subsec_millis();
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Tells of guests that fail, but of no more than [`MOST_TOLD`] in a second: who makes one guest fail can make many.
#[derive(Default)]
pub(crate) struct Failures {
    second: AtomicU64,
    told: AtomicU64,
}

const MOST_TOLD: u64 = 5;

impl Failures {
    pub(crate) fn tell(&self, error: &GuestError) {
        if !self.may_tell() {
            return;
        }
        match error {
            GuestError::Guest(CallError::Trap(trap)) => {
                tell(format_args!("precast: a request trapped: {}", Backtrace(trap)));
            }
            error => {
                let mut text = printable(&error.to_string());
                let mut cause = std::error::Error::source(error);
                while let Some(inner) = cause {
                    text = format!("{text}: {}", printable(&inner.to_string()));
                    cause = inner.source();
                }
                tell(format_args!("precast: a request failed: {text}"));
            }
        }
    }

    fn may_tell(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let before = self.second.swap(now, Relaxed);
        if before != now {
            let told = self.told.swap(0, Relaxed);
            if told > MOST_TOLD {
                tell(format_args!("precast: {} more requests failed", told - MOST_TOLD));
            }
        }
        self.told.fetch_add(1, Relaxed) < MOST_TOLD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        let at = |seconds: u64, milliseconds: u64| {
            timestamp(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + milliseconds))
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_798_761_599, 5), "2026-12-31T23:59:59.005Z");
    }

    #[test]
    fn a_line_has_all_of_a_request() {
        let entry = Entry {
            peer: "127.0.0.1:80".parse().unwrap(),
            method: &Method::GET,
            uri: &"/a?b=\"c".parse().unwrap_or_else(|_| Uri::from_static("/a")),
            status: StatusCode::OK,
            bytes: 12,
            took: Duration::from_micros(1500),
            outcome: Outcome::Answered,
        };
        let line = line(&entry, UNIX_EPOCH);
        assert!(line.starts_with("1970-01-01T00:00:00.000Z 127.0.0.1 \"GET /a"), "{line}");
        assert!(line.ends_with("\" 200 12 0.001500 answered\n"), "{line}");
    }

    #[test]
    fn failures_do_not_flood() {
        let failures = Failures::default();
        let told = (0..100).filter(|_| failures.may_tell()).count();
        // The second may change once on the way.
        assert!(told <= 2 * MOST_TOLD as usize);
    }
}
