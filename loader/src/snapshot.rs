//! Snapshots: the state of an instance between two calls, by item, so that it can become the state that others start
//! from (`precast_compiler::compile_snapshot`).
//!
//! What comes in: an instance. What goes out: a [`Snapshot`], or why there is none. What cannot be part of one is
//! whatever belongs to somebody else: functions of other instances, references and resources of the host's, and what
//! the host holds of the guest's. It is refused by name rather than left out: the guest would find it gone.
//!
//! # Safety
//! The instance is borrowed and no call is under way, so nobody changes its slot while it is read. Binding checked that
//! all items lie in it, and [`MemoryState`] and its like give the addresses.

use precast_abi::component::Handle;
use precast_abi::funcref::{self, FOREIGN_TYPE, NULL};
use precast_abi::meta::Meta;
use precast_abi::snapshot::{self, FuncRow, GlobalState as Value, HandleEntry, HandleState, SegmentState, Snapshot};
use precast_abi::types::ValType;

use crate::component;
use crate::component::Place;
use crate::instance::Instance;
use crate::record::InstanceRecord;
use crate::state::{GlobalState, ItemId, MemoryState, TableState};
use crate::store::{InstanceId, Store, StoreInner};

/// Why an instance has no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A call is under way, or was given up, or trapped: the instance's state is no longer between two calls.
    #[error("the instance is not between two calls: one is under way, or ended it")]
    Busy,
    /// A memory, table or global is another instance's.
    #[error("it imports {kind} {index}, which is another instance's state")]
    Imported {
        /// "memory", "table" or "global".
        kind: &'static str,
        /// Its index.
        index: usize,
    },
    /// A reference to something of the host's.
    #[error("{place} is a reference to something of the host's")]
    HostReference {
        /// What holds the reference.
        place: String,
    },
    /// A reference to a function of another instance.
    #[error("{place} is a reference to a function of another instance")]
    ForeignFunction {
        /// What holds the reference.
        place: String,
    },
    /// A component has handles of resources of the host's that the host cannot be asked for again; or that it could, but
    /// [`Bound::keep_origins`](crate::component::Bound::keep_origins) was not called.
    #[error("{}", listed(handles))]
    HostResources {
        /// The handles and what they are of: interface and name of the resource.
        handles: Vec<(u32, String)>,
    },
    /// The host has a resource of the component's.
    #[error("the host holds a resource of the component's")]
    Held,
    /// The artifact's tables contradict what the instance holds.
    #[error("{place} holds what its artifact knows nothing of")]
    Unknown {
        /// What holds it.
        place: String,
    },
}

impl<T> Store<T> {
    /// The state of an instance of a core module.
    ///
    /// # Errors
    /// It has something of somebody else's, or is not between two calls.
    ///
    /// # Panics
    /// If the instance is another store's.
    pub fn snapshot(&self, instance: InstanceId) -> Result<Snapshot, SnapshotError> {
        let record = self.record(instance).ok_or(SnapshotError::Busy)?;
        // SAFETY: the record lives as long as the store, which is borrowed.
        unsafe { Reader::new(record)?.core() }
    }
}

impl<T> Instance<T> {
    /// The state of the instance.
    ///
    /// # Errors
    /// It has something of somebody else's, or is not between two calls.
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        Store::snapshot(self, self.id())
    }
}

impl<T> component::Instance<T> {
    /// The state of the instance.
    ///
    /// # Errors
    /// It has something of somebody else's, or is not between two calls.
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        // SAFETY: the instance's only record is alive and borrowed.
        unsafe {
            let reader = Reader::new(self.record())?;
            let handles = reader.handles(&self.linked().plan.places)?;
            Ok(Snapshot { handles, ..reader.core()? })
        }
    }
}

impl<T> component::Instance<T> {
    /// Gives up the host's resources that the guest has handles of and that would be refused in a snapshot: from now on
    /// these are of resources that are gone. The guest may pass such handles on and drop them; the host is not told, and
    /// any other use of one ends the instance with an error. Returns the handles and the names of their resources.
    ///
    /// For guests that leave dropping to a garbage collector, which has not come round yet. What is behind the handles
    /// stays in the instance's data.
    ///
    /// # Errors
    /// The instance is not between two calls.
    pub fn forget_resources(&mut self) -> Result<Vec<(u32, String)>, SnapshotError> {
        // SAFETY: the instance's only record is alive and borrowed, and nobody else uses its tables.
        unsafe {
            let base = (*self.record()).base;
            let (_, lost) = Reader::new(self.record())?.tables(&self.linked().plan.places)?;
            lost.iter().for_each(|(place, handle, _)| place.table(base).forget(*handle));
            Ok(lost.into_iter().map(|(_, handle, name)| (handle, name)).collect())
        }
    }
}

/// A handle of a resource that cannot be part of a snapshot: its table, itself, and the resource's name.
type Lost = (Place, u32, String);

/// A record that nobody changes.
pub(crate) struct Reader<'a> {
    record: *mut InstanceRecord,
    meta: &'a Meta<'a>,
}

impl<'a> Reader<'a> {
    /// # Safety
    /// The record is alive and borrowed for `'a`.
    pub(crate) unsafe fn new(record: *mut InstanceRecord) -> Result<Self, SnapshotError> {
        // SAFETY: as the caller says; artifacts do not change, and records keep theirs alive.
        unsafe {
            let context = &raw const (*(*record).store).context;
            let component = &(*(*record).store).component;
            if !(*context).is_idle() || (*context).poisoned {
                return Err(SnapshotError::Busy);
            }
            if !component.held.is_empty() {
                return Err(SnapshotError::Held);
            }
            Ok(Reader { record, meta: (*record).artifact().meta() })
        }
    }

    fn core(&self) -> Result<Snapshot, SnapshotError> {
        Ok(Snapshot {
            memories: each(self.meta.memories.len()).map(|index| self.memory(index)).collect::<Result<_, _>>()?,
            ..self.without_memories()?
        })
    }

    /// Fails if a core item is somebody else's, or refers to something of somebody else's.
    pub(crate) fn check(&self) -> Result<(), SnapshotError> {
        each(self.meta.memories.len()).try_for_each(|index| self.own("memory", index, MemoryState::new).map(drop))?;
        self.without_memories().map(drop)
    }

    fn without_memories(&self) -> Result<Snapshot, SnapshotError> {
        Ok(Snapshot {
            memories: Vec::new(),
            tables: each(self.meta.tables.len()).map(|index| self.table(index)).collect::<Result<_, _>>()?,
            globals: each(self.meta.globals.len()).map(|index| self.global(index)).collect::<Result<_, _>>()?,
            data: self.meta.data.iter().map(|row| self.segment(row.len_word)).collect(),
            elements: self.elements()?,
            handles: Vec::new(),
        })
    }

    /// Item `index` of a kind, as `find` finds what an instance owns.
    fn own<X>(
        &self,
        kind: &'static str,
        index: u32,
        find: unsafe fn(*mut StoreInner, ItemId) -> Option<X>,
    ) -> Result<X, SnapshotError> {
        // SAFETY: the record and its store are alive, longer than what is found.
        unsafe {
            let id = ItemId { instance: (*self.record).index, index };
            find((*self.record).store, id).ok_or(SnapshotError::Imported { kind, index: index as usize })
        }
    }

    fn memory(&self, index: u32) -> Result<snapshot::MemoryState, SnapshotError> {
        let memory = self.own("memory", index, MemoryState::new)?;
        let pages = memory.size() / snapshot::MemoryState::PAGE;
        let page = |number: u64| {
            let len = snapshot::MemoryState::PAGE;
            let start = memory.range(number * len, len)?;
            // SAFETY: inside the memory, which nobody changes.
            let bytes = unsafe { std::slice::from_raw_parts(start, len as usize) };
            is_not_zero(bytes).then(|| (number, bytes.to_vec()))
        };
        Ok(snapshot::MemoryState { pages, contents: (0..pages).filter_map(page).collect() })
    }

    fn table(&self, index: u32) -> Result<Vec<FuncRow>, SnapshotError> {
        let table = self.own("table", index, TableState::new)?;
        let element = |at: u64| {
            let place = || format!("element {at} of table {index}");
            self.reference(table.row.element, table.get(at).unwrap_or(NULL), place)
        };
        (0..table.size().min(table.row.limit)).map(element).collect()
    }

    fn global(&self, index: u32) -> Result<Value, SnapshotError> {
        let global = self.own("global", index, GlobalState::new)?;
        let cell = |at: usize| {
            // SAFETY: the value lies in the block, with as many cells as its type has.
            unsafe { global.cell().add(at).read() }
        };
        if global.row.ty.is_ref() {
            return self.reference(global.row.ty, cell(0), || format!("global {index}")).map(Value::Reference);
        }
        let bits = (0..global.row.ty.cells()).map(|at| u128::from(cell(at)) << (64 * at)).sum();
        Ok(Value::Bits(bits))
    }

    /// Whether code may still copy from a segment, whose length is at `len_word` from the base.
    fn segment(&self, len_word: i64) -> SegmentState {
        match self.segment_len(len_word) {
            0 => SegmentState::Dropped,
            _ => SegmentState::Whole,
        }
    }

    fn segment_len(&self, len_word: i64) -> u32 {
        // SAFETY: a word of a block of a live instance is readable.
        unsafe {
            let inside = len_word != 0 && (*self.record).plan().blocks.contain_aligned(len_word, 4, 4);
            if inside { (*self.record).base.offset(len_word as isize).cast::<u32>().read() } else { 0 }
        }
    }

    fn elements(&self) -> Result<Vec<SegmentState>, SnapshotError> {
        let state = |(index, row): (usize, precast_abi::meta::ElementRow)| {
            let len = self.segment_len(row.len_word);
            if row.cells == 0 || len == 0 {
                return Ok(self.segment(row.len_word));
            }
            let reference = |at: u32| {
                let place = || format!("reference {at} of element segment {index}");
                // SAFETY: a word of a block of a live instance is readable.
                let value = unsafe {
                    let cell = row.cells + 8 * i64::from(at);
                    let inside = (*self.record).plan().blocks.contain(cell, 8);
                    if !inside {
                        return Err(SnapshotError::Unknown { place: place() });
                    }
                    (*self.record).base.offset(cell as isize).cast::<u64>().read()
                };
                self.reference(ValType::FuncRef, value, place)
            };
            Ok(SegmentState::Computed((0..len).map(reference).collect::<Result<_, _>>()?))
        };
        self.meta.elements.iter().enumerate().map(state).collect()
    }

    /// The number of the function that `reference` refers to; `place` names what holds it.
    fn reference(&self, ty: ValType, reference: u64, place: impl Fn() -> String) -> Result<FuncRow, SnapshotError> {
        match (reference, funcref::ty(reference)) {
            (NULL, _) => Ok(None),
            _ if ty != ValType::FuncRef => Err(SnapshotError::HostReference { place: place() }),
            (_, FOREIGN_TYPE) => Err(SnapshotError::ForeignFunction { place: place() }),
            _ => {
                let start = funcref::payload(reference);
                let row = self.meta.functions.partition_point(|row| row.start < start);
                let found = self.meta.functions.get(row).filter(|row| row.start == start);
                found
                    .map(|_| Some(self.meta.function_number(row as u32)))
                    .ok_or_else(|| SnapshotError::Unknown { place: place() })
            }
        }
    }

    /// The handle tables at `places`.
    pub(crate) fn handles(&self, places: &[Place]) -> Result<Vec<HandleState>, SnapshotError> {
        let (tables, lost) = self.tables(places)?;
        if lost.is_empty() {
            return Ok(tables);
        }
        Err(SnapshotError::HostResources {
            handles: lost.into_iter().map(|(_, handle, name)| (handle, name)).collect(),
        })
    }

    /// The handle tables at `places`, and the handles in them of resources of the host's that cannot be obtained again.
    fn tables(&self, places: &[Place]) -> Result<(Vec<HandleState>, Vec<Lost>), SnapshotError> {
        let (mut tables, mut lost) = (Vec::new(), Vec::new());
        for place in places {
            // SAFETY: binding checked the places, and nobody else uses the tables.
            let table = unsafe { place.table((*self.record).base) };
            let (mut entries, free) = table.all().ok_or(SnapshotError::Busy)?;
            for (handle, entry) in (1..).zip(&mut entries) {
                if let HandleEntry::Owned { resource, representation } = *entry
                    && let Some(name) = self.host_resource(handle, resource)?
                    && representation != Handle::GONE
                {
                    match self.origin(resource, representation) {
                        Some(function) => *entry = HandleEntry::Obtained { resource, function },
                        None => lost.push((*place, handle, name)),
                    }
                }
            }
            tables.push(HandleState { entries, free });
        }
        Ok((tables, lost))
    }

    /// The name of the resource in row `resource`, if it is the host's.
    fn host_resource(&self, handle: u32, resource: u32) -> Result<Option<String>, SnapshotError> {
        let row = self.meta.resources.get(resource as usize);
        let row = row.ok_or_else(|| SnapshotError::Unknown { place: format!("handle {handle}") })?;
        if row.instance != precast_abi::meta::NONE {
            return Ok(None);
        }
        let text = |span| self.meta.str(span).unwrap_or_default();
        Ok(Some(match text(row.interface) {
            "" => text(row.name).to_owned(),
            interface => format!("{interface}#{}", text(row.name)),
        }))
    }

    /// The function that gave a resource of the host's, if it can be asked again.
    fn origin(&self, resource: u32, representation: u32) -> Option<u32> {
        // SAFETY: the record and its store are alive, and nobody changes them.
        let origins = unsafe { (*(*self.record).store).component.held.origins.as_ref() };
        origins.and_then(|origins| origins.get(resource, representation))
    }
}

/// What is wrong with live resources, of which a guest may have leaked very many.
fn listed(handles: &[(u32, String)]) -> String {
    const SHOWN: usize = 8;
    let one = |(handle, name): &(u32, String)| format!("handle {handle} of `{name}`");
    let shown: Vec<_> = handles.iter().take(SHOWN).map(one).collect();
    let more = match handles.len() {
        ..=SHOWN => String::new(),
        count => format!(" and {} more", count - SHOWN),
    };
    format!("live resources of the host's: {}{more}", shown.join(", "))
}

/// The indices of `count` rows, which are less than 2³².
fn each(count: usize) -> std::ops::Range<u32> {
    0..count as u32
}

/// Whether bytes, a multiple of 64, are not all zero.
pub(crate) fn is_not_zero(bytes: &[u8]) -> bool {
    // Words of a page: the compiler makes vectors of them.
    bytes.chunks_exact(64).any(|chunk| chunk.iter().fold(0, |all, byte| all | byte) != 0)
}
