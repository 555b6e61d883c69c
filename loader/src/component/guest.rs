//! The guest's side of a call: one set of canonical options, as addresses in a live slot.
//!
//! What comes in: an instance's record and a [`Canon`] of its plan; or nothing, for a call of a host function by the
//! host itself, whose values then pass through a [`Scratch`]. What goes out: a [`Guest`], through which values are
//! lifted and lowered.
//!
//! # Safety
//! A guest is used while its store is alive and by whoever has the store for itself. Its memory is touched through raw
//! pointers, after comparing with the size of now; slices of it live no longer than a borrow of the guest, during which
//! no guest code runs.

use std::any::TypeId;
use std::ptr;

use precast_abi::component::StringEncoding;
use precast_abi::trap::TrapCode;

use super::context::{LiftContext, LowerContext};
use super::fault::{self, Fault};
use super::handles::{HandleTable, Loans};
use super::plan::{Canon, Place};
use super::resource::Held;
use super::types::{FuncType, Kind, Type};
use super::value::{FlatReader, FlatWriter, Lift, Lower};
use crate::HostError;
use crate::call;
use crate::record::InstanceRecord;

/// See the head of this file.
pub(crate) struct Guest {
    pub(crate) memory: MemoryView,
    realloc: Realloc,
    pub(crate) encoding: StringEncoding,
    pub(crate) handles: HandleTable,
    /// Row of the component instance; none for the host itself.
    pub(crate) instance: Option<u32>,
    held: *mut Held,
}

/// A memory, perhaps of no bytes.
#[derive(Clone, Copy)]
pub(crate) struct MemoryView {
    start: *mut u8,
    size: *const u64,
}

/// How to get room in the memory.
enum Realloc {
    None,
    /// Text offsets of the entry thunk of its type, and of the function.
    Guest {
        record: *mut InstanceRecord,
        entry: u32,
        text: u32,
    },
    Scratch(*mut Scratch),
}

impl MemoryView {
    pub(crate) const NONE: MemoryView = MemoryView { start: ptr::null_mut(), size: &0 };

    /// # Safety
    /// `size` can be read, and as many bytes at `start`, while the view is used.
    pub(crate) unsafe fn new(start: *mut u8, size: *const u64) -> Self {
        MemoryView { start, size }
    }

    /// In bytes.
    #[inline]
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: the size can be read.
        unsafe { self.size.read() }
    }

    #[inline]
    fn contains(&self, offset: u32, len: u64) -> bool {
        u64::from(offset) + len <= self.size()
    }

    /// The bytes at `offset`.
    #[inline]
    pub(crate) fn read<const N: usize>(&self, offset: u32) -> [u8; N] {
        assert!(self.contains(offset, N as u64), "a value is read outside its memory");
        // SAFETY: the bytes are inside the memory.
        unsafe { self.start.add(offset as usize).cast::<[u8; N]>().read() }
    }

    /// Writes `bytes` at `offset`.
    #[inline]
    pub(crate) fn write(&self, offset: u32, bytes: &[u8]) {
        assert!(self.contains(offset, bytes.len() as u64), "a value is written outside its memory");
        // SAFETY: the bytes are inside the memory, and `bytes` are the host's.
        unsafe { self.start.add(offset as usize).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// The `len` bytes at `offset`, if they are inside.
    pub(crate) fn slice(&self, offset: u32, len: u64) -> Option<&[u8]> {
        if !self.contains(offset, len) {
            return None;
        }
        if len == 0 {
            return Some(&[]);
        }
        // SAFETY: the bytes are inside the memory, and nothing writes them while the view is borrowed: see the head of
        // this file.
        Some(unsafe { std::slice::from_raw_parts(self.start.add(offset as usize), len as usize) })
    }
}

impl Guest {
    /// The side of `record`'s instance with the options `canon`.
    ///
    /// # Safety
    /// The record is of a live store, which the caller has for itself; `canon` is of its plan.
    pub(crate) unsafe fn new(record: *mut InstanceRecord, canon: &Canon) -> Self {
        // SAFETY: the record and its store are alive; the plan's offsets lie in the slot.
        unsafe {
            let base = (*record).base;
            let memory = canon.memory.map_or(MemoryView::NONE, |(start, size)| {
                MemoryView::new(base.offset(start), base.offset(size).cast())
            });
            let realloc = canon.realloc.map_or(Realloc::None, |code| Realloc::Guest {
                record,
                entry: code.entry,
                text: code.text,
            });
            let handles = canon.place.table(base);
            let held = &raw mut (*(*record).store).component.held;
            Guest { memory, realloc, encoding: canon.encoding, handles, instance: Some(canon.instance), held }
        }
    }

    /// The side of an instance that is given a handle, and nothing else.
    ///
    /// # Safety
    /// The record is of a live store, which the caller has for itself; `place` is of its plan, that of `instance`.
    pub(crate) unsafe fn of_handles(record: *mut InstanceRecord, instance: u32, place: Place) -> Self {
        // SAFETY: as the caller says.
        let (handles, held) = unsafe { (place.table((*record).base), &raw mut (*(*record).store).component.held) };
        let (memory, encoding) = (MemoryView::NONE, StringEncoding::Utf8);
        Guest { memory, realloc: Realloc::None, encoding, handles, instance: Some(instance), held }
    }

    /// Uses what the host holds of the store.
    #[inline]
    pub(crate) fn with_held<R>(&self, f: impl FnOnce(&mut Held) -> R) -> R {
        // SAFETY: the store is alive, the caller has it for itself, and what is called here reaches no guest.
        f(unsafe { &mut *self.held })
    }

    /// Ends the loans of a call.
    pub(crate) fn give_back(&self, loans: &Loans) {
        self.with_held(|held| loans.give_back(self.handles, held));
    }

    /// Calls `realloc` for `size` new bytes. What it gives is not checked.
    pub(crate) fn realloc(&mut self, size: u32, align: u32) -> Result<u32, HostError> {
        match self.realloc {
            Realloc::None => Err("a value needs memory of the guest, which has no `realloc` to ask".into()),
            Realloc::Guest { record, entry, text } => {
                let mut cells = [0, 0, align.into(), size.into()];
                self.handles.set_may_leave(false);
                // SAFETY: the plan checked that the code is there and of this type; the caller has the store for itself.
                let outcome = unsafe { call::enter(record, entry, text, cells.as_mut_ptr()) };
                // SAFETY: the record is alive.
                outcome.map_err(|abort| unsafe { fault::abandoned(record, abort) })?;
                self.handles.set_may_leave(true);
                Ok(cells[0] as u32)
            }
            // SAFETY: whoever made the guest keeps the scratch alive and does not use it meanwhile.
            Realloc::Scratch(scratch) => unsafe {
                let pointer = (*scratch).alloc(size, align)?;
                self.memory = (*scratch).view();
                Ok(pointer)
            },
        }
    }
}

/// Memory and handle table for values that pass from the host to itself.
pub(crate) struct Scratch {
    memory: Vec<u8>,
    size: u64,
    handles: Vec<[u32; 4]>,
    pub(crate) held: *mut Held,
    encoding: StringEncoding,
}

/// Handles that a value may have on its way.
const SCRATCH_HANDLES: usize = 1 << 12;

impl Scratch {
    /// # Safety
    /// `held` is alive and otherwise unused while guests of this are.
    pub(crate) unsafe fn new(held: *mut Held) -> Box<Scratch> {
        let handles = vec![[0; 4]; 1 + SCRATCH_HANDLES];
        Box::new(Scratch { memory: Vec::new(), size: 0, handles, held, encoding: StringEncoding::Utf8 })
    }

    /// How strings lie in guests on it, from now on.
    #[cfg(test)]
    pub(crate) fn set_encoding(&mut self, encoding: StringEncoding) {
        self.encoding = encoding;
    }

    /// A guest on it, good while the scratch is where it is.
    pub(crate) fn guest(&mut self) -> Guest {
        let words = self.handles.as_mut_ptr().cast::<u8>();
        // SAFETY: the first entry is the state, and the others are as many as the capacity says.
        let handles = unsafe { HandleTable::new(words, words.add(16), SCRATCH_HANDLES as u32) };
        Guest {
            memory: self.view(),
            realloc: Realloc::Scratch(self),
            encoding: self.encoding,
            handles,
            instance: None,
            held: self.held,
        }
    }

    fn view(&mut self) -> MemoryView {
        self.size = self.memory.len() as u64;
        // SAFETY: the bytes are there until the next `alloc`, after which a guest takes a new view.
        unsafe { MemoryView::new(self.memory.as_mut_ptr(), &raw const self.size) }
    }

    /// Room for `size` bytes.
    pub(crate) fn alloc(&mut self, size: u32, align: u32) -> Result<u32, Fault> {
        let start = self.memory.len().next_multiple_of(align as usize);
        let end = start + size as usize;
        if u32::try_from(end).is_err() {
            return Err(Fault::new(TrapCode::ReallocOutOfBounds));
        }
        self.memory.resize(end, 0);
        Ok(start as u32)
    }
}

/// A value on its way through core values, and through memory, without a guest: for tests of generated code.
///
/// # Errors
/// As lowering and lifting fail.
#[doc(hidden)]
pub fn round_trip<A: Lower, B: Lift>(value: &A, encoding: StringEncoding) -> Result<(B, B), HostError> {
    let mut held = Held::default();
    // SAFETY: `held` outlives the scratch and is not used here.
    let mut scratch = unsafe { Scratch::new(&raw mut held) };
    scratch.encoding = encoding;
    let signature = Signature::default();
    let mut guest = scratch.guest();
    let mut cx = LowerContext::new(&mut guest, &signature);
    let mut cells = vec![0; A::FLAT];
    let mut flat = FlatWriter::new(&mut cells);
    value.lower(&mut cx, &mut flat)?;
    assert_eq!((flat.len(), A::SIZE, A::ALIGN), (B::FLAT, B::SIZE, B::ALIGN), "the types are not of one layout");
    let pointer = cx.realloc(A::SIZE, A::ALIGN)?;
    value.store(&mut cx, pointer)?;
    let mut cx = LiftContext::new(&guest, &signature);
    let mut flat = FlatReader::new(&cells);
    let lifted = B::lift(&mut cx, &mut flat)?;
    assert_eq!(flat.position(), B::FLAT, "not all core values are taken");
    Ok((lifted, B::load(&mut cx, pointer)?))
}

/// A resource in a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceUse {
    pub(crate) row: u32,
    pub(crate) borrow: bool,
    /// The type that the host registered for it.
    pub(crate) host: Option<TypeId>,
    /// The component instance that defines it.
    pub(crate) definer: Option<u32>,
}

impl ResourceUse {
    pub(crate) fn of(ty: Type<'_>) -> Option<ResourceUse> {
        let (resource, borrow) = match ty.kind() {
            Kind::Own(resource) => (resource, false),
            Kind::Borrow(resource) => (resource, true),
            _ => return None,
        };
        Some(ResourceUse { row: resource.row, borrow, host: resource.host(), definer: resource.definer() })
    }
}

/// The resources in a function's type.
#[derive(Debug, Default)]
pub(crate) struct Signature {
    /// For each parameter.
    pub(crate) params: Box<[Box<[ResourceUse]>]>,
    pub(crate) result: Box<[ResourceUse]>,
    /// The row in the host functions of one that gives a resource and can be asked again: see [`super::obtain`].
    pub(crate) origin: Option<u32>,
}

impl Signature {
    /// Looks through `ty`. The error says why Rust types cannot stand for it, since they do not tell apart what it does.
    pub(crate) fn new(ty: &FuncType) -> (Signature, Result<(), String>) {
        let params = ty.params().types().map(Type::resources).collect::<Box<[_]>>();
        let result = ty.result().map(Type::resources).unwrap_or_default();
        let ambiguous = params.iter().chain([&result]).find_map(|uses| ambiguity(uses));
        (Signature { params, result, origin: None }, ambiguous.map_or(Ok(()), Err))
    }
}

fn ambiguity(uses: &[ResourceUse]) -> Option<String> {
    let pairs = || uses.iter().enumerate().flat_map(|(at, one)| uses[at + 1..].iter().map(move |other| (one, other)));
    if pairs().any(|(one, other)| one.row == other.row) {
        return Some("one of its types owns and borrows the same resource".to_owned());
    }
    let same_host = pairs().any(|(one, other)| one.host.is_some() && one.host == other.host);
    same_host.then(|| "one of its types has two resources that one Rust type stands for".to_owned())
}
