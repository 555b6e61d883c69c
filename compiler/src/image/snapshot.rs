//! The image of a program that starts from a snapshot: what came of its initialisers, instead of what they start with.
//!
//! What comes in: the program, the final text offsets, and a [`Snapshot`] of the same program, maybe from another
//! target. What goes out: [`MemoryImage`] again. A snapshot names everything by its row, which is the same for every
//! target; here rows become places in this slot and offsets in this text. It comes from outside, so that it fits is
//! checked once ([`start`]), before anything is compiled.

use cranelift_codegen::entity::EntityRef;
use precast_abi::component::{Handle, InstanceState};
use precast_abi::funcref;
use precast_abi::snapshot::{FuncRow, GlobalState, HandleEntry, HandleState, MemoryState, SegmentState, Snapshot};
use precast_abi::types::ValType;

use super::{MemoryImage, Pages};
use crate::component::linkage::{CoreInstance, ResourceDef};
use crate::error::Error;
use crate::program::{GlobalPlace, Group, Instance, MemoryPlace, Program, SegmentPlace, Symbol, TablePlace, TypeId};
use crate::text::Text;

/// Makes `program` one that starts from `snapshot`: nothing is left to initialise, and a module does not export the
/// functions `spent` any more.
///
/// # Errors
/// [`Error::Snapshot`] if it is one of another program.
pub(crate) fn start(program: &mut Program<'_>, snapshot: &Snapshot, spent: &[&str]) -> Result<(), Error> {
    check(program, snapshot).map_err(|what| Error::Snapshot(what.into()))?;
    program.init.clear();
    program.exports.retain(|export| !spent.contains(&export.name.as_str()));
    Ok(())
}

/// Lays out the state of a snapshot that [`start`] has checked.
pub(super) fn image(program: &Program<'_>, text: &Text, snapshot: &Snapshot) -> Result<MemoryImage, Error> {
    // Its size is that of memories somebody had.
    let pages = Pages::new(program.layout.page_size, u64::MAX);
    let mut layout = Layout { program, text, symbols: program.symbols(), pages };
    layout.memories(&snapshot.memories);
    layout.tables(&snapshot.tables);
    layout.globals(&snapshot.globals);
    layout.segments(snapshot);
    layout.handles(&snapshot.handles);
    let is_dropped = |segment: &SegmentState| *segment == SegmentState::Dropped;
    let mut element_refs = super::element_refs(program, text);
    for (references, _) in element_refs.iter_mut().zip(&snapshot.elements).filter(|(_, segment)| is_dropped(segment)) {
        references.clear();
    }
    Ok(MemoryImage {
        runs: layout.pages.into_runs()?,
        memory_pages: snapshot.memories.iter().map(|memory| memory.pages).collect(),
        table_sizes: snapshot.tables.iter().map(|table| table.len() as u64).collect(),
        dropped_data: snapshot.data.iter().map(is_dropped).collect(),
        element_refs,
    })
}

/// What is wrong with the snapshot for this program.
fn check(program: &Program<'_>, snapshot: &Snapshot) -> Result<(), &'static str> {
    let rows = &program.rows;
    let has_imports = rows.memories.iter().any(|row| matches!(memory(program, *row).1, MemoryPlace::Imported { .. }))
        || rows.tables.iter().any(|row| matches!(table(program, *row).1, TablePlace::Imported { .. }))
        || rows.globals.iter().any(|row| matches!(global(program, *row).1, GlobalPlace::Imported { .. }));
    let resources = program.component.as_ref().map(|component| &component.resources);
    let instances = program.component.as_ref().map(|component| &component.instances);
    let symbols = program.symbols();
    let is_reference = |group: Group, row: FuncRow| {
        row.is_none_or(|row| symbols.get(row as usize).is_some_and(|symbol| referable(program, *symbol) == Some(group)))
    };
    let fits = [
        ("memories or tables that it imports", !has_imports),
        ("the number of memories", snapshot.memories.len() == rows.memories.len()),
        ("the number of tables", snapshot.tables.len() == rows.tables.len()),
        ("the number of globals", snapshot.globals.len() == rows.globals.len()),
        ("the number of data segments", snapshot.data.len() == rows.data.len()),
        ("the number of element segments", snapshot.elements.len() == rows.elements.len()),
        ("the number of component instances", snapshot.handles.len() == instances.map_or(0, |all| all.len())),
    ];
    if let Some((what, _)) = fits.iter().find(|(_, fits)| !fits) {
        return Err(what);
    }
    for (state, row) in snapshot.memories.iter().zip(&rows.memories) {
        let memory = &program.instances[row.0].env.memories[row.1 as usize];
        let is_page = |(page, bytes): &(u64, Vec<u8>)| *page < state.pages && bytes.len() as u64 == MemoryState::PAGE;
        let sizes = memory.min..=memory.max.unwrap_or(MOST_PAGES).min(MOST_PAGES);
        if !sizes.contains(&state.pages) || !state.contents.iter().all(is_page) {
            return Err("the size of a memory");
        }
    }
    for (elements, row) in snapshot.tables.iter().zip(&rows.tables) {
        let Instance { env, group, .. } = &program.instances[row.0];
        let table = &env.tables[row.1 as usize];
        if !(table.min..=table.limit).contains(&(elements.len() as u64)) {
            return Err("the size of a table");
        }
        let holds_funcs = table.element == ValType::FuncRef;
        if !elements.iter().all(|element| is_reference(*group, *element) && (holds_funcs || element.is_none())) {
            return Err("the elements of a table");
        }
    }
    for (state, row) in snapshot.globals.iter().zip(&rows.globals) {
        let Instance { env, group, .. } = &program.instances[row.0];
        let ty = env.globals[row.1 as usize].ty;
        let fits = match state {
            GlobalState::Bits(_) => !ty.is_ref(),
            GlobalState::Reference(row) => {
                ty.is_ref() && is_reference(*group, *row) && (ty == ValType::FuncRef || row.is_none())
            }
        };
        if !fits {
            return Err("the value of a global");
        }
    }
    let fits = |segment: &SegmentState, place: SegmentPlace, group: Group, len: usize| match segment {
        SegmentState::Dropped => true,
        SegmentState::Whole => place.cells.is_none() && place.len_word.is_some(),
        SegmentState::Computed(references) => {
            place.cells.is_some()
                && references.len() == len
                && references.iter().all(|reference| is_reference(group, *reference))
        }
    };
    let data = snapshot.data.iter().zip(&rows.data).all(|(segment, row)| {
        let Instance { env, group, .. } = &program.instances[row.0];
        fits(segment, env.data[row.1 as usize], *group, 0)
    });
    let elements = snapshot.elements.iter().zip(&rows.elements).all(|(segment, row)| {
        let Instance { module, env, group, .. } = &program.instances[row.0];
        fits(segment, env.elements[row.1 as usize], *group, module.elements[row.1 as usize].items.len())
    });
    if !data || !elements {
        return Err("the segments");
    }
    for (state, instance) in snapshot.handles.iter().zip(instances.into_iter().flat_map(|all| all.values())) {
        let is_free = |handle: u32| handle as usize <= state.entries.len();
        let is_entry = |entry: &HandleEntry| match *entry {
            HandleEntry::Free(next) => is_free(next),
            HandleEntry::Owned { resource, .. } => resources
                .and_then(|resources| resources.values().nth(resource as usize))
                .is_some_and(|resource| matches!(resource.def, ResourceDef::Guest { .. })),
        };
        let has_room = state.entries.is_empty() || state.entries.len() < instance.handle_capacity as usize;
        if !has_room || !is_free(state.free) || !state.entries.iter().all(is_entry) {
            return Err("the handles of a component instance");
        }
    }
    Ok(())
}

/// Pages that a memory may have.
const MOST_PAGES: u64 = (4 << 30) / MemoryState::PAGE;

/// The group whose base a function takes that references may refer to; `None` for code that is none.
fn referable(program: &Program<'_>, symbol: Symbol) -> Option<Group> {
    match symbol {
        Symbol::Function(func) => Some(program.funcs[func].group),
        Symbol::ImportStub(_) | Symbol::HostThunk(_) => Some(Group::FIRST),
        _ => None,
    }
}

fn memory(program: &Program<'_>, (instance, index): (CoreInstance, u32)) -> (Group, MemoryPlace) {
    let Instance { env, group, .. } = &program.instances[instance];
    (*group, env.memories[index as usize].place)
}

fn table(program: &Program<'_>, (instance, index): (CoreInstance, u32)) -> (Group, TablePlace) {
    let Instance { env, group, .. } = &program.instances[instance];
    (*group, env.tables[index as usize].place)
}

fn global(program: &Program<'_>, (instance, index): (CoreInstance, u32)) -> (Group, GlobalPlace) {
    let Instance { env, group, .. } = &program.instances[instance];
    (*group, env.globals[index as usize].place)
}

/// The image being laid out.
struct Layout<'a> {
    program: &'a Program<'a>,
    text: &'a Text,
    /// Of the function table's rows.
    symbols: Vec<Symbol>,
    pages: Pages,
}

impl Layout<'_> {
    /// Writes at an offset from a group's base.
    fn write(&mut self, group: Group, offset: i64, bytes: &[u8]) {
        let base = self.program.groups[group].base_offset;
        self.pages.write(base.wrapping_add_signed(offset), bytes);
    }

    fn memories(&mut self, memories: &[MemoryState]) {
        for (state, row) in memories.iter().zip(&self.program.rows.memories) {
            let (group, MemoryPlace::Own { start, size_word }) = memory(self.program, *row) else { continue };
            self.write(group, size_word.into(), &(state.pages * MemoryState::PAGE).to_le_bytes());
            for (page, bytes) in &state.contents {
                self.write(group, start + (page * MemoryState::PAGE).cast_signed(), bytes);
            }
        }
    }

    fn tables(&mut self, tables: &[Vec<FuncRow>]) {
        for (state, row) in tables.iter().zip(&self.program.rows.tables) {
            let (group, TablePlace::Own { elements, size_word }) = table(self.program, *row) else { continue };
            self.write(group, size_word.into(), &(state.len() as u64).to_le_bytes());
            self.references(group, elements, state);
        }
    }

    fn globals(&mut self, globals: &[GlobalState]) {
        for (state, row) in globals.iter().zip(&self.program.rows.globals) {
            let (group, GlobalPlace::Own { cell }) = global(self.program, *row) else { continue };
            let ty = self.program.instances[row.0].env.globals[row.1 as usize].ty;
            match *state {
                GlobalState::Bits(bits) => self.write(group, cell.into(), &bits.to_le_bytes()[..8 * ty.cells()]),
                GlobalState::Reference(row) => self.references(group, cell, &[row]),
            }
        }
    }

    fn segments(&mut self, snapshot: &Snapshot) {
        for (state, row) in snapshot.data.iter().zip(&self.program.rows.data) {
            let Instance { module, env, group, .. } = &self.program.instances[row.0];
            let (place, len) = (env.data[row.1 as usize], module.data[row.1 as usize].bytes.len());
            self.segment(*group, state, place, len);
        }
        for (state, row) in snapshot.elements.iter().zip(&self.program.rows.elements) {
            let Instance { module, env, group, .. } = &self.program.instances[row.0];
            let (place, len) = (env.elements[row.1 as usize], module.elements[row.1 as usize].items.len());
            self.segment(*group, state, place, len);
        }
    }

    fn segment(&mut self, group: Group, state: &SegmentState, place: SegmentPlace, len: usize) {
        let Some(len_word) = place.len_word.filter(|_| *state != SegmentState::Dropped) else { return };
        self.write(group, len_word.into(), &(len as u32).to_le_bytes());
        if let (Some(cells), SegmentState::Computed(references)) = (place.cells, state) {
            self.references(group, cells, references);
        }
    }

    fn handles(&mut self, handles: &[HandleState]) {
        let places = self.program.component.iter().flat_map(|component| component.instances.values());
        for (table, place) in handles.iter().zip(places) {
            let mut word = |at: i64, offset: i32, value: u32| {
                self.write(Group::FIRST, at + i64::from(offset), &value.to_le_bytes());
            };
            word(place.state, InstanceState::HANDLES_USED, table.entries.len() as u32);
            word(place.state, InstanceState::FREE_HANDLE, table.free);
            for (handle, entry) in (1..).zip(&table.entries) {
                let at = place.handles + handle * i64::from(Handle::SIZE);
                match *entry {
                    HandleEntry::Owned { resource, representation } => {
                        word(at, Handle::REPRESENTATION, representation);
                        word(at, Handle::RESOURCE, resource + 1);
                    }
                    HandleEntry::Free(next) => word(at, Handle::STATE, next),
                }
            }
        }
    }

    fn references(&mut self, group: Group, offset: i32, rows: &[FuncRow]) {
        let bytes: Vec<u8> = rows.iter().flat_map(|row| self.reference(*row).to_le_bytes()).collect();
        self.write(group, offset.into(), &bytes);
    }

    fn reference(&self, row: FuncRow) -> u64 {
        let Some(row) = row else { return funcref::NULL };
        let symbol = self.symbols[row as usize];
        let offset = self.text.offset(symbol).expect("every function of the program is in the text");
        funcref::pack(self.type_of(symbol).as_u32(), offset)
    }

    fn type_of(&self, symbol: Symbol) -> TypeId {
        match symbol {
            Symbol::Function(func) => self.program.funcs[func].ty,
            Symbol::ImportStub(import) | Symbol::HostThunk(import) => self.program.func_imports[import].ty,
            _ => unreachable!("`check` lets no reference to {symbol:?} pass"),
        }
    }
}
