//! What the first process of a server and its workers tell each other: lines of words, on a socket that is the worker's
//! standard input.
//!
//! A line that is not understood, and the end of the stream, mean the same: the other one is gone.

use std::fmt::{self, Display};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::str::FromStr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::stats::Counts;

/// What a worker is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Tell what was counted so far.
    Count,
    /// Accept nothing new.
    End,
    /// Wait for nothing any more.
    Stop,
}

/// What a worker tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It accepts connections.
    Ready,
    /// What it counted: the answer to [`Order::Count`], and once more before it ends.
    Counted(Counts),
    /// A guest went without this grant, which is said in these words.
    Denied { grant: String, text: String },
}

impl Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Count => f.write_str("count"),
            Order::End => f.write_str("end"),
            Order::Stop => f.write_str("stop"),
        }
    }
}

impl FromStr for Order {
    type Err = ();

    fn from_str(line: &str) -> Result<Order, ()> {
        match line {
            "count" => Ok(Order::Count),
            "end" => Ok(Order::End),
            "stop" => Ok(Order::Stop),
            _ => Err(()),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Ready => f.write_str("ready"),
            Report::Counted(counts) => write!(f, "counted {counts}"),
            // Both are printable: the tab is ours.
            Report::Denied { grant, text } => write!(f, "denied {grant}\t{text}"),
        }
    }
}

impl FromStr for Report {
    type Err = ();

    fn from_str(line: &str) -> Result<Report, ()> {
        match line.split_once(' ') {
            None if line == "ready" => Ok(Report::Ready),
            Some(("counted", counts)) => Ok(Report::Counted(counts.parse()?)),
            Some(("denied", rest)) => {
                let (grant, text) = rest.split_once('\t').ok_or(())?;
                Ok(Report::Denied { grant: grant.into(), text: text.into() })
            }
            _ => Err(()),
        }
    }
}

/// One end.
pub(super) struct Channel {
    lines: Lines<BufReader<OwnedReadHalf>>,
    to: OwnedWriteHalf,
}

impl Channel {
    /// Has to be called where there is a runtime.
    pub(super) fn new(socket: UnixStream) -> io::Result<Channel> {
        socket.set_nonblocking(true)?;
        let (from, to) = tokio::net::UnixStream::from_std(socket)?.into_split();
        Ok(Channel { lines: BufReader::new(from).lines(), to })
    }

    /// The worker's end. As [`Self::new`].
    ///
    /// # Errors
    /// Also if standard input is no socket.
    pub(super) fn inherited() -> io::Result<Channel> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.peer_addr()?;
        Channel::new(socket)
    }

    /// What comes next, or nothing if the other one is gone. May be dropped while it waits, and nothing is lost.
    pub(super) async fn next<T: FromStr>(&mut self) -> Option<T> {
        self.lines.next_line().await.ok()??.parse().ok()
    }

    /// Tells the other one. If that one is gone, [`Self::next`] says so.
    pub(super) async fn tell(&mut self, message: impl Display) {
        _ = self.to.write_all(format!("{message}\n").as_bytes()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_understood() {
        for order in [Order::Count, Order::End, Order::Stop] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        let denied = Report::Denied { grant: "fs:a b=/".into(), text: "denied: a b".into() };
        for report in [Report::Ready, Report::Counted(Counts::default()), denied] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        for nonsense in ["", "end now", "counted 1 2", "counted x", "denied a", "ready "] {
            assert!(nonsense.parse::<Order>().is_err() && nonsense.parse::<Report>().is_err(), "{nonsense}");
        }
    }
}
