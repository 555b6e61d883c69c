//! What a guest may hand over that is no value: pointers, lengths, discriminants, characters, handles.

use std::any::TypeId;

use precast_abi::component::{MAX_BYTE_LENGTH, StringEncoding, TypeKind};
use precast_abi::meta::NONE;
use precast_abi::trap::TrapCode;

use super::{Rows, builder};
use crate::HostError;
use crate::component::context::{LiftContext, LowerContext};
use crate::component::fault::Fault;
use crate::component::guest::{Guest, Scratch, Signature};
use crate::component::resource::{Held, Resource, ResourceAny};
use crate::component::value::{FlatReader, FlatWriter, Lift, Lower};

/// A guest with a memory of some KiB.
struct Test {
    held: Box<Held>,
    scratch: Box<Scratch>,
    signature: Signature,
}

impl Test {
    fn new(encoding: StringEncoding) -> Test {
        let mut held = Box::<Held>::default();
        // SAFETY: the box stays where it is as long as the scratch.
        let mut scratch = unsafe { Scratch::new(&raw mut *held) };
        scratch.set_encoding(encoding);
        scratch.alloc(4096, 1).unwrap();
        Test { held, scratch, signature: Signature::default() }
    }

    fn guest(&mut self) -> Guest {
        self.scratch.guest()
    }

    fn lift<V: Lift>(&mut self, cells: &[u64]) -> Result<V, HostError> {
        let guest = self.guest();
        V::lift(&mut LiftContext::new(&guest, &self.signature), &mut FlatReader::new(cells))
    }

    fn lower(&mut self, value: impl Lower) -> Result<u64, HostError> {
        let mut guest = self.guest();
        let mut cells = [0; 4];
        value.lower(&mut LowerContext::new(&mut guest, &self.signature), &mut FlatWriter::new(&mut cells))?;
        Ok(cells[0])
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) {
        self.guest().memory.write(offset, bytes);
    }
}

fn code<V>(result: Result<V, HostError>) -> TrapCode {
    fault(result).code
}

fn fault<V>(result: Result<V, HostError>) -> Fault {
    *result.err().unwrap().downcast::<Fault>().unwrap()
}

#[test]
fn lists_outside_the_memory() {
    let mut test = Test::new(StringEncoding::Utf8);
    assert_eq!(test.lift::<Vec<u8>>(&[4096, 0]).unwrap(), []);
    assert_eq!(test.lift::<Vec<u32>>(&[4092, 1]).unwrap(), [0]);
    for (pointer, len) in [(4097, 0), (4096, 1), (0, 4097), (u32::MAX.into(), 1)] {
        assert_eq!(code(test.lift::<Vec<u8>>(&[pointer, len])), TrapCode::ListOutOfBounds, "{pointer} {len}");
    }
    assert_eq!(code(test.lift::<Vec<u32>>(&[2, 1])), TrapCode::UnalignedPointer);
    assert_eq!(code(test.lift::<Vec<u64>>(&[0, u64::from(MAX_BYTE_LENGTH / 8) + 1])), TrapCode::TooLong);
    assert_eq!(code(test.lift::<Vec<(u64, u64)>>(&[0, u32::MAX.into()])), TrapCode::TooLong);
    // Only 32 bits of a cell count.
    assert_eq!(test.lift::<Vec<u8>>(&[1 << 32, (7 << 32) | 2]).unwrap(), [0, 0]);
}

#[test]
fn what_a_call_lifts_is_limited() {
    let mut test = Test::new(StringEncoding::Utf8);
    test.scratch.alloc(4 << 20, 1).unwrap();
    // Each string of the list is the whole memory.
    let len = 4u32 << 20;
    let pairs: Vec<u8> = [0, len].into_iter().flat_map(u32::to_le_bytes).collect();
    for at in 0..200 {
        test.write(at * 8, &pairs);
    }
    assert_eq!(test.lift::<Vec<String>>(&[0, 100]).unwrap().len(), 100);
    assert_eq!(code(test.lift::<Vec<String>>(&[0, 200])), TrapCode::TooLong);
}

#[test]
fn strings_that_are_none() {
    let mut test = Test::new(StringEncoding::Utf8);
    test.write(0, b"ok\xff");
    assert_eq!(test.lift::<String>(&[0, 2]).unwrap(), "ok");
    assert_eq!(code(test.lift::<String>(&[0, 3])), TrapCode::InvalidUtf8);
    assert_eq!(code(test.lift::<String>(&[4095, 2])), TrapCode::StringOutOfBounds);
    assert_eq!(code(test.lift::<String>(&[0, 1 << 31])), TrapCode::TooLong);
    let mut test = Test::new(StringEncoding::Utf16);
    test.write(0, &[b'a', 0, 0x3d, 0xd8]);
    assert_eq!(test.lift::<String>(&[0, 1]).unwrap(), "a");
    assert_eq!(code(test.lift::<String>(&[0, 2])), TrapCode::InvalidUtf16);
    assert_eq!(code(test.lift::<String>(&[1, 1])), TrapCode::UnalignedPointer);
    assert_eq!(code(test.lift::<String>(&[4094, 2])), TrapCode::StringOutOfBounds);
    let mut test = Test::new(StringEncoding::Latin1OrUtf16);
    test.write(0, &[0xe9, 0]);
    assert_eq!(test.lift::<String>(&[0, 1]).unwrap(), "é");
    assert_eq!(test.lift::<String>(&[0, (1 << 31) | 1]).unwrap(), "é");
    assert_eq!(code(test.lift::<String>(&[1, 1])), TrapCode::UnalignedPointer);
}

#[test]
fn bits_that_mean_nothing() {
    let mut test = Test::new(StringEncoding::Utf8);
    for bits in [0xd800, 0xdfff, 0x11_0000, u32::MAX] {
        assert_eq!(code(test.lift::<char>(&[bits.into()])), TrapCode::InvalidChar, "{bits:#x}");
    }
    assert_eq!(code(test.lift::<Option<u8>>(&[2, 0])), TrapCode::InvalidDiscriminant);
    assert_eq!(code(test.lift::<Result<u8, u8>>(&[u32::MAX.into(), 0])), TrapCode::InvalidDiscriminant);
    test.write(0, &[2]);
    let guest = test.guest();
    let mut cx = LiftContext::new(&guest, &test.signature);
    assert_eq!(code(Option::<u8>::load(&mut cx, 0)), TrapCode::InvalidDiscriminant);
    // What is no bool is true; and numbers are cut to their width.
    assert!(test.lift::<bool>(&[2]).unwrap());
    assert_eq!(test.lift::<u8>(&[0x1ff]).unwrap(), 0xff);
    assert_eq!(test.lift::<i16>(&[0xffff_8000]).unwrap(), i16::MIN);
}

struct File;
struct Socket;

/// Functions whose parameters mention host resource 0 (`File`), host resource 1 (`Socket`) and a guest's, 2.
fn with_resources(test: &mut Test, kinds: &[(TypeKind, u32)]) {
    let mut rows = builder();
    rows.component_instances.push(precast_abi::component::ComponentInstanceRow {
        parent: NONE,
        handle_capacity: 0,
        state: 0,
        handles: 0,
    });
    rows.resource("file", NONE);
    rows.resource("socket", NONE);
    rows.resource("guest", 0);
    let types: Vec<_> = kinds.iter().map(|(kind, row)| ("", rows.ty(*kind, *row, NONE, &[]))).collect();
    let tuple = rows.ty(TypeKind::Tuple, NONE, NONE, &types);
    rows.func(&[], tuple);
    let ty = rows.func_type(&[Some(TypeId::of::<File>()), Some(TypeId::of::<Socket>()), None]);
    let (signature, ambiguity) = Signature::new(&ty);
    assert_eq!(ambiguity, Ok(()));
    test.signature = signature;
}

#[test]
fn resources_of_the_host() {
    let mut test = Test::new(StringEncoding::Utf8);
    with_resources(&mut test, &[(TypeKind::Own, 0), (TypeKind::Borrow, 1)]);
    let file = test.lower(Resource::<File>::new_own(40)).unwrap();
    let socket = test.lower(Resource::<Socket>::new_own(41)).unwrap();
    assert_eq!((file, socket), (1, 2));
    assert_eq!(
        test.lower(Resource::<File>::new_borrow(3)).unwrap_err().to_string(),
        "a borrowed handle is given where an owned one is wanted"
    );
    assert!(test.lower(Resource::<u8>::new_own(3)).unwrap_err().to_string().contains("another resource"));
    // As another resource, or no handle.
    let wrong = fault(test.lift::<Resource<Socket>>(&[file]));
    assert_eq!((wrong.code, wrong.detail), (TrapCode::WrongHandleType, Some(1)));
    assert!(wrong.to_string().starts_with("handle index 1 used with the wrong type, expected guest-defined"));
    for handle in [0, 3, 4096, u32::MAX] {
        let unknown = fault(test.lift::<Resource<File>>(&[handle.into()]));
        assert_eq!(
            (unknown.code, unknown.to_string()),
            (TrapCode::UnknownHandle, format!("unknown handle index {handle}"))
        );
    }
    // Owned: taken out.
    let taken = test.lift::<Resource<File>>(&[file]).unwrap();
    assert_eq!((taken.rep(), taken.is_owned()), (40, true));
    assert_eq!(code(test.lift::<Resource<File>>(&[file])), TrapCode::UnknownHandle);
    // The place is used again.
    assert_eq!(test.lower(Resource::<File>::new_own(42)).unwrap(), file);
    assert_eq!(test.lift::<ResourceAny>(&[file]).unwrap().resource::<File>().unwrap().rep(), 42);
}

#[test]
fn loans_end_with_the_call() {
    let mut test = Test::new(StringEncoding::Utf8);
    with_resources(&mut test, &[(TypeKind::Own, 0)]);
    let handle = test.lower(Resource::<File>::new_own(40)).unwrap();
    with_resources(&mut test, &[(TypeKind::Borrow, 0)]);
    let guest = test.guest();
    let mut cx = LiftContext::new(&guest, &test.signature);
    let mut loans = Vec::new();
    for _ in 0..9 {
        let lent = Resource::<File>::lift(&mut cx, &mut FlatReader::new(&[handle])).unwrap();
        assert_eq!((lent.rep(), lent.is_owned()), (40, false));
        loans.push(lent);
    }
    let loans = cx.loans;
    with_resources(&mut test, &[(TypeKind::Own, 0)]);
    assert_eq!(code(test.lift::<Resource<File>>(&[handle])), TrapCode::ResourceLent);
    let guest = test.guest();
    guest.give_back(&loans);
    assert_eq!(test.lift::<Resource<File>>(&[handle]).unwrap().rep(), 40);
}

#[test]
fn borrowed_handles_are_not_given_away() {
    let mut test = Test::new(StringEncoding::Utf8);
    with_resources(&mut test, &[(TypeKind::Borrow, 0)]);
    let handle = test.lower(Resource::<File>::new_borrow(40)).unwrap();
    assert!(test.guest().handles.has_borrows());
    with_resources(&mut test, &[(TypeKind::Own, 0)]);
    let error = fault(test.lift::<Resource<File>>(&[handle]));
    assert_eq!((error.code, error.detail), (TrapCode::NotOwned, Some(handle as u32)));
}

#[test]
fn resources_of_guests() {
    let mut test = Test::new(StringEncoding::Utf8);
    with_resources(&mut test, &[(TypeKind::Own, 2)]);
    let handle = test.guest().handles.add_owned(2, 77).unwrap().into();
    let held = test.lift::<ResourceAny>(&[handle]).unwrap();
    assert!(held.is_owned() && !held.is_host());
    // Lent as often as one likes, given away once.
    with_resources(&mut test, &[(TypeKind::Borrow, 2)]);
    assert!(test.lower(held).is_ok() && test.lower(held).is_ok());
    with_resources(&mut test, &[(TypeKind::Own, 0)]);
    assert!(test.lower(held).unwrap_err().to_string().contains("another resource"));
    with_resources(&mut test, &[(TypeKind::Own, 2)]);
    let handle = test.lower(held).unwrap();
    assert!(test.lower(held).unwrap_err().to_string().starts_with("the resource was given away"));
    assert_eq!(test.guest().handles.get(handle as u32).unwrap().representation, 77);
    // A borrowed one lasts for the call.
    with_resources(&mut test, &[(TypeKind::Borrow, 2)]);
    let guest = test.guest();
    let mut cx = LiftContext::new(&guest, &test.signature);
    let borrowed = ResourceAny::lift(&mut cx, &mut FlatReader::new(&[handle])).unwrap();
    assert!(!borrowed.is_owned());
    guest.give_back(&cx.loans);
    assert!(test.lower(borrowed).unwrap_err().to_string().ends_with("the call that lent it is over"));
    let other = Held::default().keep_for_test(2, 1);
    assert!(test.held.take(&other).is_err());
}

#[test]
fn a_full_table() {
    let mut test = Test::new(StringEncoding::Utf8);
    with_resources(&mut test, &[(TypeKind::Own, 0)]);
    let full = loop {
        if let Err(error) = test.lower(Resource::<File>::new_own(1)) {
            break error;
        }
    };
    assert_eq!(code::<()>(Err(full)), TrapCode::HandleTableFull);
}
