//! What comes of a directive and of the action in it.

use std::fmt;

use precast_loader::{BindError, CallError, InstantiateError, Trap, TrapCode};

/// What came of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed(String),
    /// It is nothing this runner can run.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed => f.write_str("passed"),
            Outcome::Failed(message) => f.write_str(message),
            Outcome::Skipped => f.write_str("skipped"),
        }
    }
}

/// Why an action did not end with results.
#[derive(Debug)]
pub(super) enum Stop {
    /// The guest trapped: why, in a number and in words, and everything else we know.
    Trap { code: TrapCode, message: String, report: String },
    /// Imports were missing or of another type.
    Unlinkable(String),
    /// Anything else, which no assertion expects.
    Other(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Trap { report, .. } => write!(f, "trap: {report}"),
            Stop::Unlinkable(message) => write!(f, "unlinkable: {message}"),
            Stop::Other(message) => f.write_str(message),
        }
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::Other(message)
    }
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Stop::Trap { code: trap.code(), message: trap.message().into_owned(), report: trap.to_string() }
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Trap(trap) => trap.into(),
            other => Stop::Other(chain(&other)),
        }
    }
}

impl From<BindError> for Stop {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Missing { .. } | BindError::Type { .. } => Stop::Unlinkable(chain(&error)),
            other => Stop::Other(chain(&other)),
        }
    }
}

impl From<InstantiateError> for Stop {
    fn from(error: InstantiateError) -> Self {
        match error {
            InstantiateError::Start(error) => error.into(),
            InstantiateError::Import { .. } => Stop::Unlinkable(chain(&error)),
            // That there is no room for an instance says nothing about its imports.
            other => Stop::Other(chain(&other)),
        }
    }
}

/// An error and its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Fails a directive that expects `wanted`, which is none of what can come of an action.
pub(super) fn expect<T: fmt::Debug, E: fmt::Display>(result: Result<T, E>, wanted: &str) -> Result<(), String> {
    Err(match result {
        Ok(value) => format!("expected {wanted}, got {value:?}"),
        Err(stop) => format!("expected {wanted}, got {stop}"),
    })
}

/// Passes if the guest trapped with `message`.
pub(super) fn expect_trap<T: fmt::Debug>(result: Result<T, Stop>, message: &str) -> Result<(), String> {
    match result {
        Err(Stop::Trap { code, message: found, .. }) if says(code, &found, message) => Ok(()),
        other => expect(other, &format!("a trap `{message}`")),
    }
}

/// Whether `message` is what scripts call a trap with that code and message. Compared in both directions, since scripts
/// append details (`uninitialized element 2`) or leave them out.
fn says(code: TrapCode, found: &str, message: &str) -> bool {
    let same = |name: &str| name.contains(message) || message.contains(name);
    same(found)
        || match code {
            // Scripts older than the specification's split of the two say of any table what it says of `call_indirect`
            // only.
            TrapCode::TableOutOfBounds => same(TrapCode::UndefinedElement.message()),
            // Some scripts say of what the pointer is.
            TrapCode::UnalignedPointer => message.contains("pointer not aligned"),
            // They do not tell whose pointer it is, the string's or that of the place for it.
            TrapCode::ReallocOutOfBounds => same(TrapCode::StringOutOfBounds.message()),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_messages_are_compared_in_both_directions() {
        let says = |code: TrapCode, message| says(code, code.message(), message);
        assert!(says(TrapCode::UninitializedElement, "uninitialized element 2"));
        assert!(says(TrapCode::MemoryOutOfBounds, "out of bounds"));
        assert!(says(TrapCode::TableOutOfBounds, "undefined element"));
        assert!(says(TrapCode::UnalignedPointer, "string pointer not aligned to 2"));
        assert!(!says(TrapCode::UndefinedElement, "out of bounds table access"));
        assert!(!says(TrapCode::IntegerOverflow, "unreachable"));
        let trap = Stop::Trap {
            code: TrapCode::IntegerOverflow,
            message: "integer overflow".into(),
            report: "integer overflow\n  at f".into(),
        };
        let message = expect_trap(Err::<(), _>(trap), "unreachable").unwrap_err();
        assert_eq!(message, "expected a trap `unreachable`, got trap: integer overflow\n  at f");
    }

    #[test]
    fn a_handle_that_is_named_has_to_be_the_one() {
        assert!(says(TrapCode::UnknownHandle, "unknown handle index 2", "unknown handle index"));
        assert!(says(TrapCode::UnknownHandle, "unknown handle index 2", "unknown handle index 2"));
        assert!(!says(TrapCode::UnknownHandle, "unknown handle index 2", "unknown handle index 0"));
    }

    #[test]
    fn only_a_trap_is_a_trap() {
        let message = expect_trap(Ok(vec![1]), "unreachable").unwrap_err();
        assert_eq!(message, "expected a trap `unreachable`, got [1]");
        assert!(expect_trap(Err::<(), _>(Stop::Unlinkable("unreachable".into())), "unreachable").is_err());
        assert!(expect_trap(Err::<(), _>(Stop::Other("unsupported: unreachable".into())), "unreachable").is_err());
    }
}
