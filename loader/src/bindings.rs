//! What all instances of one [`crate::Bound`] share.
//!
//! What comes in: an artifact and what the linker found for each import. What goes out: the host words of an instance
//! as a template in which only three kinds of words are missing: context, record, and the bases in the cells of host
//! functions, which are the own one or the cell itself. Imports of live instances are the exception: their cells are
//! looked up, and their types checked, when an instance is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use precast_abi::host::{FuncImport, HostWords};
use precast_abi::types::FuncType;

use crate::apart::Apart;
use crate::artifact::{Artifact, ArtifactInner};
use crate::builtins;
use crate::describe;
use crate::externs::Extern;
use crate::host::{Callee, HostFunc};
use crate::instance::{InstantiateError, LimitError, Limits};
use crate::plan::{self, Plan, limits_match};
use crate::state::{GlobalState, MemoryState, TableState};
use crate::store::StoreInner;
use crate::types::{ExternType, GlobalType, MemoryType, TableType};

/// Where an import comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A host function.
    Host,
    /// A live instance.
    Linked(Extern),
}

/// What the linker found for an import.
pub(crate) enum Found {
    Host(HostFunc),
    Linked(Extern),
}

/// See the head of this file.
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct Bindings {
    pub(crate) artifact: Artifact,
    pub(crate) plan: Plan,
    /// For each import.
    pub(crate) sources: Box<[Source]>,
    /// The imports of live instances: row and what it is bound to.
    pub(crate) linked: Box<[(u32, Extern)]>,
    /// Where in the host words the slot's own base goes: byte offsets, multiples of eight.
    pub(crate) own_bases: Apart<usize>,
    /// Where the address of a cell goes, as the base for the code in it: byte offsets of the cells.
    pub(crate) own_cells: Apart<usize>,
    /// The host words.
    pub(crate) template: Apart<u64>,
    /// What component instances share besides.
    pub(crate) component: Option<Arc<dyn Send + Sync>>,
    /// Whether no more instances are made with them.
    closed: AtomicBool,
    /// What the template points to, and the closures that this points to.
    _callees: Apart<Callee>,
    _functions: Box<[HostFunc]>,
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bindings").field("artifact", &self.artifact).finish_non_exhaustive()
    }
}

/// Who makes instances with bindings. After that the pool has no share in them.
#[repr(align(128))] // See `apart.rs`.
pub(crate) struct Maker(Arc<Bindings>);

impl Maker {
    pub(crate) fn new(bindings: Bindings) -> Arc<Maker> {
        Arc::new(Maker(Arc::new(bindings)))
    }

    pub(crate) fn bindings(&self) -> &Arc<Bindings> {
        &self.0
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.artifact.inner().pool.forget(&self.0);
    }
}

impl Bindings {
    /// `found` has one entry for each import, of the import's kind; functions have its type.
    pub(crate) fn new(artifact: Artifact, plan: Plan, found: Vec<Found>) -> Self {
        let text = artifact.inner().text();
        let mut template = vec![0; plan.words_len.div_ceil(8)];
        let mut set = |offset: usize, word: usize| template[offset / 8] = word as u64;
        set(HostWords::BUILTINS as usize, builtins::table().expose_provenance());
        let (mut sources, mut linked, mut functions) = (vec![], vec![], vec![]);
        let (mut own_bases, mut own_cells, mut callees) = (vec![], vec![], vec![]);
        for ((row, import), found) in (0..).zip(&plan.imports).zip(found) {
            match found {
                Found::Host(function) => {
                    let word = |offset: i32| import.cell + offset as usize;
                    let code = if let Some(switch) = function.switch() {
                        own_cells.push(import.cell);
                        switch
                    } else {
                        own_bases.push(word(FuncImport::BASE));
                        text.wrapping_add(import.host_thunk as usize).expose_provenance()
                    };
                    set(word(FuncImport::CODE), code);
                    // Whoever calls it as an export goes by the artifact's host thunk: the host, and other instances.
                    set(word(FuncImport::HOST_CALL), function.call_address());
                    callees.push(function.callee(import.cell));
                    functions.push(function);
                    sources.push(Source::Host);
                }
                Found::Linked(item) => {
                    linked.push((row, item));
                    sources.push(Source::Linked(item));
                }
            }
        }
        let callees = Apart::from(callees);
        for callee in &*callees {
            set(callee.cell + FuncImport::HOST_DATA as usize, (&raw const *callee).expose_provenance());
        }
        Bindings {
            artifact,
            plan,
            sources: sources.into(),
            linked: linked.into(),
            own_bases: own_bases.into(),
            own_cells: own_cells.into(),
            template: template.into(),
            component: None,
            closed: AtomicBool::new(false),
            _callees: callees,
            _functions: functions.into(),
        }
    }

    /// Whether no more instances are made with them.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// What import `row` has to be, if its row makes sense.
    fn import_type(&self, row: u32) -> Option<ExternType> {
        import_type(self.artifact.inner(), &self.plan, row)
    }

    /// Checks that `item` is alive in `store` and of the type of import `row`, with its size of now.
    ///
    /// # Safety
    /// `store` is alive.
    pub(crate) unsafe fn check_linked(
        &self,
        store: *mut StoreInner,
        row: u32,
        item: Extern,
    ) -> Result<(), InstantiateError> {
        let meta = self.artifact.inner().meta();
        let names = || {
            let row = meta.imports.get(row as usize);
            let text = |span| meta.str(span).unwrap_or_default().to_owned();
            row.map(|row| (text(row.module), text(row.name))).unwrap_or_default()
        };
        // SAFETY: the store is alive.
        if item.store() != unsafe { (*store).id } {
            let (module, name) = names();
            return Err(InstantiateError::Store { module, name });
        }
        // SAFETY: the store is alive, and `item` belongs to it.
        let (matches, found) = unsafe { self.matches(store, row, item) };
        if matches {
            return Ok(());
        }
        let (module, name) = names();
        let describe = |ty: Option<ExternType>| ty.as_ref().map_or_else(|| "malformed".into(), describe::item);
        Err(InstantiateError::Import { module, name, found: describe(found), wanted: describe(self.import_type(row)) })
    }

    /// Whether `item` can be import `row`, and its type.
    ///
    /// # Safety
    /// `store` is alive, and `item` belongs to it.
    unsafe fn matches(&self, store: *mut StoreInner, row: u32, item: Extern) -> (bool, Option<ExternType>) {
        let Some(import) = self.plan.imports.get(row as usize) else { return (false, None) };
        let index = import.index as usize;
        match item {
            Extern::Func(func) => {
                // SAFETY: the store is alive; borrows of the record end with the statement.
                let Some(owner) = (unsafe { StoreInner::record(store, func.id.instance) }) else {
                    return (false, None);
                };
                // SAFETY: as above.
                let (found, ty) =
                    unsafe { ((*owner).type_hash(func.id.ty), (*owner).artifact().func_type(func.id.ty)) };
                let wanted = self.artifact.inner().meta().types.get(import.ty as usize).map(|row| row.hash);
                (found.is_some() && found == wanted, ty.map(|(_, ty)| ExternType::Func(ty)))
            }
            Extern::Memory(memory) => {
                // SAFETY: the store is alive.
                let Some(memory) = (unsafe { MemoryState::new(store, memory.id) }) else { return (false, None) };
                let (found, wanted) = (memory.row, self.plan.memories.get(index));
                let matches = wanted.is_some_and(|wanted| {
                    limits_match(memory.pages(), found.max, wanted.min, wanted.max)
                        && (found.model, found.page_size_log2) == (wanted.model, wanted.page_size_log2)
                });
                (matches, Some(ExternType::Memory(MemoryType { min: memory.pages(), ..memory_type(&found) })))
            }
            Extern::Table(table) => {
                // SAFETY: the store is alive.
                let Some(table) = (unsafe { TableState::new(store, table.id) }) else { return (false, None) };
                let (found, wanted) = (table.row, self.plan.tables.get(index));
                let matches = wanted.is_some_and(|wanted| {
                    limits_match(table.size(), found.max, wanted.min, wanted.max) && found.element == wanted.element
                });
                (matches, Some(ExternType::Table(TableType { min: table.size(), ..table_type(&found) })))
            }
            Extern::Global(global) => {
                // SAFETY: the store is alive.
                let Some(global) = (unsafe { GlobalState::new(store, global.id) }) else { return (false, None) };
                let (found, wanted) = (global.row, self.plan.globals.get(index));
                let matches = wanted.is_some_and(|wanted| (found.ty, found.mutable) == (wanted.ty, wanted.mutable));
                (matches, Some(ExternType::Global(global_type(&found))))
            }
        }
    }

    /// The first memory or table that `limits` or the artifact has no room for.
    pub(crate) fn exceeded(&self, limits: Limits) -> Option<LimitError> {
        let memories = self.plan.memories.iter().enumerate().filter(|(_, memory)| memory.import.is_none());
        let mut memories = memories.filter_map(|(index, memory)| {
            let wanted = memory.min.saturating_mul(1 << memory.page_size_log2);
            let limit = memory.capacity.min(limits.memory_bytes.unwrap_or(u64::MAX));
            (wanted > limit).then_some(LimitError { kind: "memory", index, wanted, limit, unit: "bytes" })
        });
        let tables = self.plan.tables.iter().enumerate().filter(|(_, table)| table.import.is_none());
        let mut tables = tables.filter_map(|(index, table)| {
            let limit = table.limit.min(limits.table_elements.unwrap_or(u64::MAX));
            let wanted = table.min;
            (wanted > limit).then_some(LimitError { kind: "table", index, wanted, limit, unit: "elements" })
        });
        memories.next().or_else(|| tables.next())
    }
}

/// What import `row` has to be, if its row makes sense.
pub(crate) fn import_type(artifact: &ArtifactInner, plan: &Plan, row: u32) -> Option<ExternType> {
    use precast_abi::meta::ExternKind;
    let import = plan.imports.get(row as usize)?;
    let index = import.index as usize;
    Some(match import.kind {
        ExternKind::Func => ExternType::Func(func_type(artifact, import.ty)?),
        ExternKind::Table => ExternType::Table(table_type(plan.tables.get(index)?)),
        ExternKind::Memory => ExternType::Memory(memory_type(plan.memories.get(index)?)),
        ExternKind::Global => ExternType::Global(global_type(plan.globals.get(index)?)),
    })
}

/// The function type in row `ty`.
pub(crate) fn func_type(artifact: &ArtifactInner, ty: u32) -> Option<FuncType> {
    artifact.func_type(ty).map(|(_, ty)| ty)
}

/// The type of a memory as an embedder sees it.
pub(crate) fn memory_type(row: &plan::Memory) -> MemoryType {
    MemoryType { min: row.min, max: maximum(row.max), page_size_log2: row.page_size_log2 }
}

/// The type of a table as an embedder sees it.
pub(crate) fn table_type(row: &plan::Table) -> TableType {
    TableType { element: row.element, min: row.min, max: maximum(row.max) }
}

/// The type of a global as an embedder sees it.
pub(crate) fn global_type(row: &plan::Global) -> GlobalType {
    GlobalType { ty: row.ty, mutable: row.mutable }
}

fn maximum(max: u64) -> Option<u64> {
    (max != precast_abi::meta::NO_MAXIMUM).then_some(max)
}
