//! Telling the embedder what of the world a guest has read, which its state depends on from then on.
//!
//! What comes in: the places where a granted thing is given to the guest. What goes out: each thing once, in words, to
//! whoever wants to know; nothing is formatted or remembered where nobody does.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Who is told of what was read.
pub(crate) type Listener = Box<dyn Fn(&str) + Send>;

/// Most things that are reported of one guest, which chooses the paths that it reads.
const MOST_REPORTED: usize = 1000;

/// Reports each thing once.
#[derive(Default)]
pub(crate) struct Reads(Option<Mutex<Told>>);

struct Told {
    listener: Listener,
    reported: BTreeSet<String>,
}

impl Reads {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self(listener.map(|listener| Mutex::new(Told { listener, reported: BTreeSet::new() })))
    }

    /// The guest has read something, which `what` words.
    pub(crate) fn report<S: Into<String>>(&self, what: impl FnOnce() -> S) {
        let Some(told) = &self.0 else { return };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let what = what().into();
        if told.reported.len() < MOST_REPORTED && !told.reported.contains(&what) {
            (told.listener)(&what);
            told.reported.insert(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn each_thing_is_reported_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let reads = Reads::new(Some(Box::new(move |what| sink.lock().unwrap().push(what.to_owned()))));
        for what in ["the wall clock", "random numbers", "the wall clock"] {
            reads.report(|| what);
        }
        assert_eq!(*told.lock().unwrap(), ["the wall clock", "random numbers"]);
        Reads::default().report(|| -> String { unreachable!("nobody wants to know") });
    }
}
