//! A table of builtins that counts their calls, for tests of how often compiled code enters the host.
//!
//! # Safety
//! As for the table that it stands in for: a body is called by its stub only.

use std::cell::Cell;

use precast_builtins::Builtin;

use super::{Pair, Table};
use crate::sys;

thread_local! {
    static CALLS: [Cell<u32>; Builtin::ALL.len()] = const { [const { Cell::new(0) }; Builtin::ALL.len()] };
}

/// What to put in place of [`super::table`].
pub(crate) fn table() -> *const u8 {
    TABLE.stubs.as_ptr().cast()
}

/// What instances of this thread with that table have called since this was asked last, and how often.
pub(crate) fn take() -> Vec<(Builtin, u32)> {
    let taken = |builtin: &Builtin| (*builtin, CALLS.with(|calls| calls[*builtin as usize].take()));
    Builtin::ALL.iter().map(taken).filter(|(_, calls)| *calls > 0).collect()
}

/// How a builtin's result is returned.
trait Returned {
    type Type;
}

impl Returned for u32 {
    type Type = u32;
}

impl Returned for u64 {
    type Type = u64;
}

impl Returned for (u64, u64) {
    type Type = Pair;
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ty),*) -> $result:ty;)*) => {
        static TABLE: Table = Table { host_switch: sys::host_switch, stubs: [$(stubs::$name),*] };

        mod stubs {
            use super::*;
            $(
                sys::builtin_stub!(
                    /// Switches to the host's stack and calls the body of the same name.
                    $name => bodies::$name
                );
            )*
        }

        mod bodies {
            use super::*;
            $(
                pub(super) extern "C" fn $name(words: *mut u8, $($param: $ty),*) -> <$result as Returned>::Type {
                    CALLS.with(|calls| calls[Builtin::$name as usize].update(|calls| calls + 1));
                    super::super::bodies::$name(words, $($param),*)
                }
            )*
        }
    };
}
precast_builtins::for_each_builtin!(table);
