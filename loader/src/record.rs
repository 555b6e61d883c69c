//! Instances as their store has them: an artifact's code running in a slot.
//!
//! What comes in: [`Bindings`] and limits. What goes out: an [`InstanceRecord`] in a store, with the host words of its
//! slot filled in and its initialiser run. Instantiating copies the template of host words that binding made and
//! patches what belongs to the instance; only imports of other live instances are checked and looked up here, since
//! their sizes change.
//!
//! # Safety
//! A record does not move once it is in its store, because the slot's host words point to it. Everything but its slot
//! is constant from then on.

use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use precast_abi::funcref::FOREIGN_TYPE;
use precast_abi::host::{FuncImport, GlobalImport, HostWords, MemoryImport, TableImport};
use precast_abi::meta::{ExportRow, ExternKind, FunctionKind};

use crate::artifact::ArtifactInner;
use crate::bindings::{Bindings, Source};
use crate::call::{self, CallError};
use crate::externs::{Extern, Func, Global, Memory, Table};
use crate::fuel;
use crate::instance::{InstantiateError, Limits};
use crate::plan::Plan;
use crate::pool::Pool;
use crate::references::FuncId;
use crate::slot::Slot;
use crate::state::{GlobalState, ItemId, MemoryState, TableState};
use crate::store::StoreInner;
use crate::suspend::{self, Call};

/// An instance as the store has it.
pub(crate) struct InstanceRecord {
    /// What compiled code gets as its base.
    pub(crate) base: *mut u8,
    text: *const u8,
    pub(crate) store: *mut StoreInner,
    /// Of the record in the store.
    pub(crate) index: u32,
    pub(crate) limits: Limits,
    pub(crate) bindings: ManuallyDrop<Arc<Bindings>>,
    pub(crate) slot: ManuallyDrop<Box<Slot>>,
}

impl Drop for InstanceRecord {
    fn drop(&mut self) {
        // SAFETY: nobody uses either after this, least of all the record.
        let (slot, bindings) = unsafe { (ManuallyDrop::take(&mut self.slot), ManuallyDrop::take(&mut self.bindings)) };
        // Nobody can take the slot from the pool any more if this was the last that knew of the artifact.
        if !bindings.is_closed() || Arc::strong_count(&bindings) > 1 || bindings.artifact.is_shared() {
            let pool: *const Pool = &raw const bindings.artifact.inner().pool;
            // SAFETY: the pool is there as long as a share in the bindings is. Until this one is in the pool it is here;
            // from then on it stays there until the bindings are closed, which waits for the lock that it is put in with.
            drop(unsafe { (*pool).give_back(slot, Some(bindings)) });
        }
    }
}

/// Makes an instance in `store`. One whose initialiser fails stays there, since references to it may have escaped.
///
/// # Panics
/// With the panic of a host function that the initialiser called.
///
/// # Safety
/// `store` is alive and the caller has it for itself; the bindings' host functions are for its type of data.
pub(crate) unsafe fn instantiate(
    store: *mut StoreInner,
    bindings: &Arc<Bindings>,
    limits: Limits,
) -> Result<u32, InstantiateError> {
    // SAFETY: as the caller says; the initialiser is its own entry thunk, and has no values.
    unsafe {
        let record = make(store, bindings, limits)?;
        if let Some(init) = (*record).init() {
            call::enter(record, init, init, ptr::null_mut()).map_err(CallError::from)?;
        }
        Ok((*record).index)
    }
}

/// As [`instantiate`], but the initialiser, if there is one, remains to be called.
///
/// # Safety
/// As [`instantiate`], and for as long as the call of the initialiser exists and is not forgotten.
pub(crate) unsafe fn instantiate_async(
    store: *mut StoreInner,
    bindings: &Arc<Bindings>,
    limits: Limits,
) -> Result<(u32, Option<Call>), InstantiateError> {
    // SAFETY: as above.
    unsafe {
        let record = make(store, bindings, limits)?;
        let init = (*record).init();
        Ok(((*record).index, init.map(|init| suspend::call_async(record, init, init, ptr::null_mut()))))
    }
}

/// Makes an instance in `store` that is not initialised.
///
/// # Safety
/// As [`instantiate`].
unsafe fn make(
    store: *mut StoreInner,
    bindings: &Arc<Bindings>,
    limits: Limits,
) -> Result<*mut InstanceRecord, InstantiateError> {
    let artifact = bindings.artifact.inner();
    for (row, item) in &bindings.linked {
        // SAFETY: the store is alive.
        unsafe { bindings.check_linked(store, *row, *item)? };
    }
    // SAFETY: as above.
    unsafe { fuel::check_metering(store, artifact, limits)? };
    let (slot, share) = artifact.pool.take(artifact)?;
    let share = share.filter(|share| Arc::ptr_eq(share, bindings)).unwrap_or_else(|| Arc::clone(bindings));
    // SAFETY: the store is alive, and the slot is a fresh one that nobody else uses.
    unsafe {
        let index = StoreInner::len(store);
        let context = &raw mut (*store).context;
        if !(*context).has_stack() {
            (*context).set_stack(slot.stack());
            (*context).fuel = fuel::word(limits.fuel);
        }
        let words = slot.words();
        let record = InstanceRecord {
            base: slot.base(),
            text: artifact.text(),
            store,
            index,
            limits,
            bindings: ManuallyDrop::new(share),
            slot: ManuallyDrop::new(slot),
        };
        let record = StoreInner::push(store, record);
        write_words(words, record);
        Ok(record)
    }
}

/// The record that host words name.
///
/// # Safety
/// `words` are those of a live instance.
#[inline]
pub(crate) unsafe fn of_words(words: *const u8) -> *mut InstanceRecord {
    // SAFETY: the caller says that the words are there; `write_words` exposed the address.
    ptr::with_exposed_provenance_mut(unsafe { words.add(HostWords::INSTANCE as usize).cast::<usize>().read() })
}

/// Fills in the host words and import cells.
///
/// # Safety
/// `words` is the start of the record's slot, `record` is in its live store, and what it links to is checked.
unsafe fn write_words(words: *mut u8, record: *mut InstanceRecord) {
    // SAFETY: binding checked that all cells lie in the host words, which are writable and aligned to a page; the
    // bindings do not change while the record is alive.
    unsafe {
        let bindings: &Bindings = &*Arc::as_ptr(&(*record).bindings);
        let word = |offset: i32| words.add(offset as usize).cast::<usize>();
        ptr::copy_nonoverlapping(bindings.template.as_ptr(), words.cast(), bindings.template.len());
        word(HostWords::CONTEXT).write((&raw mut (*(*record).store).context).expose_provenance());
        word(HostWords::INSTANCE).write(record.expose_provenance());
        let base = (*record).base.expose_provenance();
        for cell in &*bindings.own_bases {
            words.add(*cell).cast::<usize>().write(base);
        }
        for cell in &*bindings.own_cells {
            let cell = words.add(*cell);
            cell.add(FuncImport::BASE as usize).cast::<usize>().write(cell.expose_provenance());
        }
        for (row, item) in &bindings.linked {
            let cell = bindings.plan.imports[*row as usize].cell as i32;
            write_linked((*record).store, word, cell, *item);
        }
    }
}

/// Fills in the cell of an import of another instance, which is at `cell`.
///
/// # Safety
/// `store` is alive, `item` belongs to it, and `word` gives addresses of writable words.
unsafe fn write_linked(store: *mut StoreInner, word: impl Fn(i32) -> *mut usize, cell: i32, item: Extern) {
    // SAFETY: as the caller says. A thing that cannot be found, which `check_linked` rules out, leaves zeros.
    unsafe {
        match item {
            Extern::Func(func) => {
                let Some(owner) = StoreInner::record(store, func.id.instance) else { return };
                word(cell + FuncImport::CODE).write((*owner).code(func.id.text).expose_provenance());
                word(cell + FuncImport::BASE).write((*owner).base.expose_provenance());
            }
            Extern::Memory(memory) => {
                let Some(memory) = MemoryState::new(store, memory.id) else { return };
                word(cell + MemoryImport::BASE).write(memory.start().expose_provenance());
                word(cell + MemoryImport::SIZE_WORD).write(memory.size_word().expose_provenance());
            }
            Extern::Table(table) => {
                let Some(table) = TableState::new(store, table.id) else { return };
                word(cell + TableImport::ELEMENTS).write(table.elements().expose_provenance());
                word(cell + TableImport::SIZE_WORD).write(table.size_word().expose_provenance());
            }
            Extern::Global(global) => {
                let Some(global) = GlobalState::new(store, global.id) else { return };
                word(cell + GlobalImport::CELL).write(global.cell().expose_provenance());
            }
        }
    }
}

impl InstanceRecord {
    pub(crate) fn artifact(&self) -> &ArtifactInner {
        self.bindings.artifact.inner()
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.bindings.plan
    }

    /// Address of the code at offset `text`.
    #[inline]
    pub(crate) fn code(&self, text: u32) -> *const u8 {
        self.text.wrapping_add(text as usize)
    }

    /// Text offset of the initialiser, if there is one.
    fn init(&self) -> Option<u32> {
        self.artifact().init()
    }

    /// The hash of the type in row `ty`.
    pub(crate) fn type_hash(&self, ty: u32) -> Option<[u8; 32]> {
        self.artifact().meta().types.get(ty as usize).filter(|_| ty != 0).map(|row| row.hash)
    }

    /// The function whose code or stub is at offset `text`, followed to the instance that defines it.
    pub(crate) fn origin(&self, ty: u32, text: u32) -> Option<FuncId> {
        debug_assert_ne!(ty, FOREIGN_TYPE);
        let meta = self.artifact().meta();
        if u64::from(text) >= meta.header.text_len || ty as usize >= meta.types.len() {
            return None;
        }
        let defined = FuncId { instance: self.index, ty, text };
        if self.plan().func_imports.is_empty() {
            return Some(defined);
        }
        match meta.function_at(text) {
            Some(row) if row.kind == FunctionKind::ImportStub as u32 => self.imported_func(row.index),
            _ => Some(defined),
        }
    }

    /// The origin of the function that is import `row`.
    fn imported_func(&self, row: u32) -> Option<FuncId> {
        match self.bindings.sources.get(row as usize)? {
            Source::Host => {
                let import = self.plan().imports.get(row as usize)?;
                Some(FuncId { instance: self.index, ty: import.ty, text: import.host_thunk })
            }
            Source::Linked(Extern::Func(func)) => Some(func.id),
            Source::Linked(_) => None,
        }
    }

    /// The owner of memory, table or global `index`, which is imported as row `import` or its own.
    fn item(&self, index: u32, import: Option<u32>) -> Option<ItemId> {
        let Some(import) = import else { return Some(ItemId { instance: self.index, index }) };
        match self.bindings.sources.get(import as usize)? {
            Source::Linked(Extern::Memory(memory)) => Some(memory.id),
            Source::Linked(Extern::Table(table)) => Some(table.id),
            Source::Linked(Extern::Global(global)) => Some(global.id),
            Source::Host | Source::Linked(Extern::Func(_)) => None,
        }
    }

    /// The owner of memory `index`.
    pub(crate) fn memory(&self, index: u32) -> Option<ItemId> {
        self.item(index, self.plan().memories.get(index as usize)?.import)
    }

    /// The owner of table `index`.
    pub(crate) fn table(&self, index: u32) -> Option<ItemId> {
        self.item(index, self.plan().tables.get(index as usize)?.import)
    }

    /// The owner of global `index`.
    pub(crate) fn global(&self, index: u32) -> Option<ItemId> {
        self.item(index, self.plan().globals.get(index as usize)?.import)
    }

    /// The memory exported as "memory".
    pub(crate) fn exported_memory(&self) -> Option<Memory> {
        let id = self.memory(self.plan().exported_memory?)?;
        // SAFETY: a record lives no longer than its store.
        Some(Memory { store: unsafe { (*self.store).id }, id })
    }

    /// The export called `name`.
    pub(crate) fn export(&self, name: &str) -> Option<Extern> {
        self.handle(&self.artifact().meta().export(name)?)
    }

    /// All exports, by name.
    pub(crate) fn exports(&self) -> impl Iterator<Item = (&str, Extern)> {
        let meta = self.artifact().meta();
        meta.exports.iter().filter_map(|row| Some((meta.str(row.name)?, self.handle(&row)?)))
    }

    fn handle(&self, row: &ExportRow) -> Option<Extern> {
        // SAFETY: a record lives no longer than its store.
        let store = unsafe { (*self.store).id };
        Some(match ExternKind::from_raw(row.kind)? {
            ExternKind::Func => {
                let id = match self.plan().func_imports.get(row.index as usize) {
                    Some(import) => self.imported_func(*import)?,
                    None => self.origin(row.ty, row.text_offset)?,
                };
                Extern::Func(Func { store, id })
            }
            ExternKind::Table => Extern::Table(Table { store, id: self.table(row.index)? }),
            ExternKind::Memory => Extern::Memory(Memory { store, id: self.memory(row.index)? }),
            ExternKind::Global => Extern::Global(Global { store, id: self.global(row.index)? }),
        })
    }
}

#[cfg(test)]
mod tests;
