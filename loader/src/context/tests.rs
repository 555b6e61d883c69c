//! Entering guests, and every way out of them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use precast_abi::host::HostWords;
use precast_abi::slot::{GUARDED_RESERVATION, WASM_PAGE};
use precast_abi::trap::TrapCode;

use super::*;
use crate::sys;
use crate::testing::{Guest, TestArtifact, WORDS, call};

static TABLE: [unsafe extern "C" fn(); 2] = [sys::host_switch, digits];
sys::builtin_stub!(digits => digits_body);

#[repr(C)]
struct Pair(u64, u64);

extern "C" fn digits_body(_words: *mut u8, a: u64, b: u64, c: u64, d: u64, e: u64) -> Pair {
    Pair(a * 10000 + b * 1000 + c * 100, d * 10 + e)
}

/// Doubles a small value, fails with 100, panics with 101, suspends the guest with 200, and calls `call_host` and
/// `countdown` again otherwise.
extern "C" fn host(words: *mut u8, _cell: *mut u8, values: *mut u64) -> u32 {
    // SAFETY: the host words were filled in by the test, and the guest's call is the only user of the context.
    unsafe {
        let context = *words.add(HostWords::CONTEXT as usize).cast::<*mut Context>();
        let artifact = &*(*context).data.cast::<crate::Artifact>();
        let base = words.add(WORDS as usize);
        let result = match *values {
            value @ 0..100 => Ok(value * 2),
            100 => Err(Abort::Host("no".into())),
            101 => catch_unwind(|| panic!("guest made me")).map_err(Abort::Panic),
            200 => return host_status::SUSPEND,
            102 => call(artifact, context, base, "countdown", 1),
            103 => call(artifact, context, base, "call_host", 103),
            value => call(artifact, context, base, "call_host", value - 1000),
        };
        match result {
            Ok(value) => {
                *values = value;
                0
            }
            Err(abort) => {
                (*context).pending = Some(abort);
                host_status::ABANDON
            }
        }
    }
}

fn guest(artifact: &crate::Artifact) -> Guest {
    let mut guest = Guest::new(artifact);
    guest.bind(&TABLE, host);
    guest.context.data = (&raw const *artifact).cast_mut().cast();
    guest
}

fn trap(result: Result<u64, Abort>) -> Trap {
    match result {
        Err(Abort::Trap(trap)) => trap,
        Ok(value) => panic!("returned {value}"),
        Err(_) => panic!("the host failed"),
    }
}

#[test]
fn calls_return_and_registers_survive() {
    let artifact = TestArtifact::new().open();
    let mut guest = guest(&artifact);
    for argument in 0..1000 {
        assert!(guest.call("increment", argument).is_ok_and(|value| value == argument + 1));
    }
}

#[test]
fn traps_have_codes_and_backtraces() {
    let artifact = TestArtifact::new().open();
    let mut guest = guest(&artifact);
    for _ in 0..3 {
        let trap = trap(guest.call("countdown", 2));
        assert_eq!(
            trap.to_string(),
            "wasm trap: unreachable\n    0: countdown (function 2 at 0x20)\n    1: countdown (function 2 at \
             0x30)\n    2: countdown (function 2 at 0x30)"
        );
    }
    let mut code = |name, argument| trap(guest.call(name, argument)).code();
    assert_eq!(code("load", WASM_PAGE), TrapCode::MemoryOutOfBounds);
    assert_eq!(code("load", GUARDED_RESERVATION - 1), TrapCode::MemoryOutOfBounds);
    assert_eq!(code("divide", 0), TrapCode::IntegerDivisionByZero);
    assert!(guest.call("load", WASM_PAGE - 1).is_ok());
    assert!(guest.call("divide", 5).is_ok_and(|value| value == 20));
}

#[test]
fn backtraces_are_explained_when_the_artifact_is_gone() {
    let artifact = TestArtifact::new().open();
    let pc = artifact.inner().text().addr();
    let (trap, twin) = {
        let mut guest = guest(&artifact);
        (trap(guest.call("countdown", 2)), trap(guest.call("countdown", 2)))
    };
    drop(artifact);
    assert!(crate::code::find(pc).is_none());
    let names = trap.frames().iter().map(|frame| frame.function_name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["countdown"; 3]);
    assert_eq!(trap, twin.clone());
}

#[test]
fn stack_overflow_is_a_trap_and_the_stack_can_be_used_again() {
    let artifact = TestArtifact::new().open();
    let mut guest = guest(&artifact);
    for _ in 0..3 {
        let trap = trap(guest.call("recurse", 0));
        assert_eq!((trap.code(), trap.frames().len()), (TrapCode::StackOverflow, 64));
        assert!(trap.frames().iter().all(|frame| frame.function_name == "recurse"));
        assert_eq!(trap.frames()[1].wasm_offset, Some(0x60));
    }
    assert!(guest.call("increment", 1).is_ok());
}

#[test]
fn host_calls_return_and_builtins_get_their_parameters() {
    let artifact = TestArtifact::new().open();
    let mut guest = guest(&artifact);
    assert!(guest.call("call_host", 21).is_ok_and(|value| value == 42));
    assert!(guest.call("call_builtin", 1).is_ok_and(|value| value == 12345));
}

#[test]
fn the_host_can_abandon_the_guest() {
    let artifact = TestArtifact::new().open();
    let mut guest = guest(&artifact);
    let border = guest.context.border;
    assert!(matches!(guest.call("call_host", 100), Err(Abort::Host(error)) if error.to_string() == "no"));
    let Err(Abort::Panic(panic)) = guest.call("call_host", 101) else { panic!("no panic") };
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"guest made me"));
    assert!(guest.call("call_host", 1).is_ok());
    assert_eq!(guest.context.border, border);
    assert_eq!(current(), ptr::null());
}

#[test]
fn nested_entries_return_and_trap() {
    let artifact = TestArtifact::new().open();
    let mut guest = guest(&artifact);
    assert!(guest.call("call_host", 3050).is_ok_and(|value| value == 100));
    let names = |trap: &Trap| trap.frames().iter().map(|frame| frame.function_name.clone()).collect::<Vec<_>>();
    let inner = trap(guest.call("call_host", 1102));
    assert_eq!(inner.code(), TrapCode::Unreachable);
    assert_eq!(names(&inner), ["countdown", "countdown", "call_host", "call_host"]);
    assert_eq!(inner.frames()[3].wasm_offset, Some(0x70));
    let endless = trap(guest.call("call_host", 103));
    assert_eq!(endless.code(), TrapCode::StackOverflow);
    assert!(guest.call("call_host", 1).is_ok());
}

#[test]
fn guests_run_on_many_threads_and_move_between_them() {
    let artifact = TestArtifact::new().open();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut guest = guest(&artifact);
                for round in 0..200 {
                    assert_eq!(trap(guest.call("load", WASM_PAGE)).code(), TrapCode::MemoryOutOfBounds, "{round}");
                }
            });
        }
    });
}

#[test]
fn a_context_without_a_stack_traps() {
    let artifact = TestArtifact::new().open();
    let guest = guest(&artifact);
    let mut context = Box::new(Context::new());
    // SAFETY: the context cannot be entered, so nothing runs.
    let result = unsafe { call(&artifact, &raw mut *context, guest.slot.base(), "increment", 1) };
    assert_eq!(trap(result).code(), TrapCode::StackOverflow);
    assert!(catch_unwind(AssertUnwindSafe(|| context.set_stack(0..0))).is_ok());
}

/// Goes on below frames of the host that were not there before.
#[inline(never)]
fn resume_from(depth: u32, guest: &mut Guest) -> Result<Progress, Abort> {
    if depth > 0 {
        let result = resume_from(std::hint::black_box(depth - 1), guest);
        return std::hint::black_box(result);
    }
    // SAFETY: the guest is suspended.
    unsafe { resume(&raw mut *guest.context, Waker::noop()).map_err(|abort| *abort) }
}

#[test]
fn registers_survive_a_suspension() {
    let artifact = TestArtifact::new().open();
    let mut guests = [guest(&artifact), guest(&artifact)];
    let idle = guests.each_ref().map(|guest| guest.context.border);
    for depth in 0..20 {
        let values = [const { Cell::new(200) }; 2];
        for (guest, value) in guests.iter_mut().zip(&values) {
            assert!(matches!(guest.start("keep", value), Ok(Progress::Suspended)));
            assert_eq!((current(), guest.context.is_idle()), (ptr::null(), false));
            // A nested entry leaves what is suspended as it is.
            assert!(guest.call("increment", depth).is_ok_and(|value| value == depth + 1));
            assert_eq!(trap(guest.call("countdown", 2)).frames().len(), 4, "with the guest that is suspended");
        }
        for guest in &mut guests {
            assert!(matches!(resume_from(depth as u32 % 7, guest), Ok(Progress::Returned)));
            assert_eq!((current(), guest.context.is_idle()), (ptr::null(), true));
        }
        assert_eq!(values.map(Cell::into_inner), [200 + 201 + 202 + 203 + 204 + 205; 2]);
    }
    assert_eq!(guests.each_ref().map(|guest| guest.context.border), idle);
    assert!(guests.iter().all(|guest| !guest.context.poisoned));
    assert!(matches!(guests[0].start("keep", &Cell::new(200)), Ok(Progress::Suspended)));
    guests[0].context.abandon();
    assert!(guests[0].context.poisoned && guests[0].context.border == idle[0]);
    assert!(guests[0].call("increment", 1).is_ok());
}
