//! What the instances of a program share, and what each has.
//!
//! A server makes an instance for every request: all that can be is opened once, in the [`Template`]. A [`Ctx`] made
//! from it takes a reference and an empty table; nothing is allocated or asked of the system before the guest does
//! something that needs it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use precast_loader::HostError;
use precast_loader::component::ResourceTable;

use super::sockets::Names;
use crate::denial::{Denial, Denials};
use crate::fs::Dir;
use crate::net::Rules;
use crate::reads::Reads;
use crate::stdio::{Stdin, Stdout};

/// Most descriptors of the host that a guest has at a time: all guests share them.
const MOST_DESCRIPTORS: usize = 1024;

/// A program's grants, opened: what contexts are made from. Clones are the same one.
#[derive(Clone)]
pub struct Template(Arc<Shared>);

/// What all contexts of a template share.
pub(crate) struct Shared {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) clocks: bool,
    pub(crate) random: bool,
    pub(crate) rules: Rules,
    /// Granted directories, and how the guest names them.
    pub(crate) directories: Vec<(Arc<Dir>, String)>,
    /// Whether the guest finds a root behind which nothing is: see `DESIGN.md`.
    pub(crate) offers_root: bool,
    pub(crate) stdin: Stdin,
    pub(crate) stdout: Stdout,
    pub(crate) stderr: Stdout,
    pub(crate) denials: Mutex<Denials>,
    pub(crate) reads: Reads,
    pub(crate) http: crate::http::Settings,
}

impl Template {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// A context for one instance.
    pub fn context(&self) -> Ctx {
        Ctx {
            shared: Arc::clone(&self.0),
            table: ResourceTable::new(),
            started: None,
            input: None,
            insecure: None,
            names: Names::default(),
            descriptors: None,
        }
    }
}

/// What one guest of WASI 0.2 can reach, and its resources.
pub struct Ctx {
    pub(crate) shared: Arc<Shared>,
    /// The resources that the guest has handles of, those of other interfaces among them.
    pub table: ResourceTable,
    /// What the monotonic clock counts from: when the guest first asked, so that it does not tell the host's uptime.
    pub(super) started: Option<Instant>,
    /// What is left of standard input in memory; all who read it share it.
    pub(super) input: Option<Arc<Mutex<Bytes>>>,
    /// State of the insecure random numbers.
    pub(super) insecure: Option<u64>,
    /// Addresses of the granted names that the guest has looked up.
    pub(super) names: Names,
    /// As many references as there are descriptors, and one more.
    descriptors: Option<Arc<()>>,
}

/// The guest called a function that cannot fail, and was not granted what it is for; so it was stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub Denial);

/// The right to have one of the host's descriptors open.
#[derive(Debug)]
pub(crate) struct Ticket(#[allow(dead_code, reason = "it is counted")] Arc<()>);

impl Ctx {
    /// Tells the user of a denial, if it is new.
    pub(crate) fn deny(&self, denial: Denial) {
        self.shared.denials.lock().unwrap_or_else(PoisonError::into_inner).report(denial);
    }

    /// Stops the guest unless it was granted `grant`, since the interface has no error to give it.
    pub(super) fn require(&self, granted: bool, what: &str, grant: &str) -> Result<(), HostError> {
        if granted {
            self.shared.reads.report(|| what);
            return Ok(());
        }
        let denial = Denial::new(what, grant);
        self.deny(denial.clone());
        Err(Denied(denial).into())
    }

    /// The right to open one more of the host's descriptors, if the guest has not too many.
    pub(crate) fn ticket(&mut self) -> Option<Ticket> {
        let descriptors = self.descriptors.get_or_insert_default();
        (Arc::strong_count(descriptors) <= MOST_DESCRIPTORS).then(|| Ticket(Arc::clone(descriptors)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::preview2::bindings::wasi::cli::environment::Host as _;
    use crate::preview2::bindings::wasi::clocks::wall_clock::Host as _;
    use crate::preview2::bindings::wasi::random::insecure_seed::Host as _;
    use crate::{Grant, Grants, WasiCtx};

    /// What a guest with these grants is said to have read.
    fn reads(grants: Grants) -> Vec<String> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let template = WasiCtx::builder()
            .grants(grants)
            .on_read(move |what| sink.lock().unwrap().push(what.to_owned()))
            .template();
        let template = template.unwrap();
        // All guests of a template are told of together.
        for mut ctx in [template.context(), template.context()] {
            _ = (ctx.now(), ctx.now());
            _ = (ctx.insecure_seed(), ctx.get_environment());
        }
        drop(template);
        Arc::into_inner(told).unwrap().into_inner().unwrap()
    }

    #[test]
    fn what_is_read_is_told_once_and_only_what_is_granted() {
        let variable = Grant::EnvVar { name: "NAME".into(), value: Some("value".into()) };
        let all = Grants::from_iter([Grant::Clocks, Grant::Random, variable]);
        assert_eq!(reads(all), ["the wall clock", "random numbers", "the environment"]);
        assert_eq!(reads(Grants::none()), [""; 0]);
    }
}
