//! Playing a plan on a runtime, and what is written down meanwhile.

use super::plan::{Plan, Step};
use super::value::Value;

/// Calls of host functions: see [`super::environment::Host::calls`].
pub type HostCalls = Vec<(Option<usize>, Vec<Value>)>;

/// An instance on some runtime.
pub trait Guest {
    /// Calls the exported function with this number.
    fn call(&mut self, function: usize, params: &[Value]) -> Result<Vec<Value>, Stop>;
    /// Does what the step says, which is no call. Returns whether it could be done.
    fn change(&mut self, step: &Step) -> bool;
    /// What of the instance, and of what provides for it, can be seen from outside.
    fn state(&mut self) -> Vec<(String, Item)>;
    /// The calls of host functions since the last time.
    fn take_host_calls(&mut self) -> HostCalls;
}

/// Why guest code stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It trapped.
    Trap {
        /// The specification's message.
        message: String,
        /// Function index and offset in the module of the innermost frames.
        frames: Vec<(Option<u32>, Option<u32>)>,
    },
    /// A host function failed.
    Host,
    /// The stack is exhausted: how soon is up to the runtime.
    StackOverflow,
    /// Anything else, which is a failure of the test.
    Other(String),
}

/// Frames of a trap that are compared.
pub const FRAMES: usize = 16;

/// The state of something exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A global's value.
    Global(Value),
    /// A memory.
    Memory {
        /// Bytes of it.
        size: u64,
        /// Hash of them.
        hash: u64,
    },
    /// A table.
    Table {
        /// Elements of it.
        size: u64,
        /// Hash of them.
        hash: u64,
    },
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Results of a call, or why there are none.
    pub outcome: Result<Vec<Value>, Stop>,
    /// Calls of host functions meanwhile.
    pub host_calls: HostCalls,
    /// The state afterwards.
    pub state: Vec<(String, Item)>,
}

/// What came of instantiating, then of each step of a session.
pub type Session = Vec<Event>;
/// What came of a plan: all sessions.
pub type Trace = Vec<Session>;

impl Event {
    /// Writes down what came of `outcome`.
    pub fn new(outcome: Result<Vec<Value>, Stop>, guest: &mut dyn Guest) -> Event {
        Event { outcome, host_calls: guest.take_host_calls(), state: guest.state() }
    }

    fn overflowed(&self) -> bool {
        self.outcome == Err(Stop::StackOverflow)
    }
}

/// Plays a session on a new instance, of which `instantiated` tells whether its initialiser succeeded.
pub fn play(steps: &[Step], instantiated: Result<(), Stop>, guest: &mut dyn Guest) -> Session {
    let failed = instantiated.is_err();
    let mut session = vec![Event::new(instantiated.map(|()| Vec::new()), guest)];
    for step in steps.iter().take(if failed { 0 } else { steps.len() }) {
        let outcome = match step {
            Step::Call { function, params } => guest.call(*function, params),
            change => Ok(vec![Value::I32(guest.change(change).into())]),
        };
        session.push(Event::new(outcome, guest));
        if session.last().is_some_and(Event::overflowed) {
            break;
        }
    }
    session
}

/// The trace without the offsets at which traps happened, which depend on how hard the code was optimised: a branch to
/// an `unreachable` becomes a conditional trap at the branch.
pub fn without_trap_offsets(trace: &Trace) -> Trace {
    let mut trace = trace.clone();
    for event in trace.iter_mut().flatten() {
        if let Err(Stop::Trap { frames, .. }) = &mut event.outcome {
            frames.first_mut().map(|frame| frame.1.take());
        }
    }
    trace
}

/// The first difference of two traces, for people. After a stack overflow, which may come sooner on one side, nothing
/// of that session is compared.
pub fn difference(plan: &Plan, left: &Trace, right: &Trace) -> Option<String> {
    let number = plan.sessions.iter().zip(left.iter().zip(right)).enumerate();
    for (session, (steps, (left, right))) in number {
        for (at, (left, right)) in left.iter().zip(right).enumerate() {
            if left.overflowed() || right.overflowed() {
                break;
            }
            if left != right {
                let step = at.checked_sub(1).map_or("instantiating".into(), |step| format!("{:?}", steps[step]));
                return Some(format!("session {session}, step {at}, {step}:\n{}", describe(left, right)));
            }
        }
    }
    (left.len() != right.len()).then(|| "one has more sessions".into())
}

fn describe(left: &Event, right: &Event) -> String {
    if left.outcome != right.outcome {
        return format!("  one:   {:?}\n  other: {:?}", left.outcome, right.outcome);
    }
    if left.host_calls != right.host_calls {
        return format!(
            "  one calls the host:   {:?}\n  other calls the host: {:?}",
            left.host_calls, right.host_calls
        );
    }
    let different = left.state.iter().zip(&right.state).filter(|(left, right)| left != right);
    different.map(|(left, right)| format!("  one:   {left:?}\n  other: {right:?}\n")).collect()
}
