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
use crate::component::linkage::{CoreInstance, Resource, ResourceDef, Type, TypeDef};
use crate::component::program::ComponentProgram;
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
        obtained: HandleState::obtained(&snapshot.handles),
    })
}

/// Whether `function` takes nothing and returns an owned handle of `resource`, which is the host's, and nothing else.
fn gives(component: &ComponentProgram, function: u32, resource: u32) -> bool {
    let Some(func) = component.host_funcs.values().nth(function as usize) else { return false };
    let ty = &component.func_types[func.ty];
    let own = TypeDef::Own(Resource::new(resource as usize));
    let is_own = |ty: Type| matches!(ty, Type::Row(row) if component.types[row] == own);
    ty.params.is_empty() && ty.result.is_some_and(is_own)
}

/// What of the snapshot does not fit the program.
fn check(program: &Program<'_>, snapshot: &Snapshot) -> Result<(), &'static str> {
    let rows = &program.rows;
    let handle_tables = program.component.as_ref().map_or(0, |component| component.instances.len());
    let check = Check { program, symbols: program.symbols() };
    let parts = [
        ("the memories", zip(&snapshot.memories, &rows.memories, |state, row| check.memory(state, *row))),
        ("the tables", zip(&snapshot.tables, &rows.tables, |state, row| check.table(state, *row))),
        ("the globals", zip(&snapshot.globals, &rows.globals, |state, row| check.global(*state, *row))),
        ("the data segments", zip(&snapshot.data, &rows.data, |state, row| check.data(state, *row))),
        ("the element segments", zip(&snapshot.elements, &rows.elements, |state, row| check.elements(state, *row))),
        ("the component instances", snapshot.handles.len() == handle_tables),
        ("the handles", check.handles(&snapshot.handles)),
    ];
    parts.iter().find(|(_, fits)| !fits).map_or(Ok(()), |(what, _)| Err(what))
}

/// Whether there are as many states as rows, and each fits.
fn zip<S, R>(states: &[S], rows: &[R], fits: impl Fn(&S, &R) -> bool) -> bool {
    states.len() == rows.len() && states.iter().zip(rows).all(|(state, row)| fits(state, row))
}

/// Whether parts of a snapshot fit the program.
struct Check<'a> {
    program: &'a Program<'a>,
    /// Of the function table's rows.
    symbols: Vec<Symbol>,
}

impl Check<'_> {
    fn memory(&self, state: &MemoryState, row: Row) -> bool {
        let memory = &self.program.instances[row.0].env.memories[row.1 as usize];
        let sizes = memory.min..=memory.max.unwrap_or(MOST_PAGES).min(MOST_PAGES);
        let is_page = |(page, bytes): &(u64, Vec<u8>)| *page < state.pages && bytes.len() as u64 == MemoryState::PAGE;
        let has_room = |reservation: u64| state.pages <= reservation / MemoryState::PAGE;
        let is_own = matches!(memory.place, MemoryPlace::Own { reservation, .. } if has_room(reservation));
        is_own && sizes.contains(&state.pages) && state.contents.iter().all(is_page)
    }

    fn table(&self, elements: &[FuncRow], row: Row) -> bool {
        let Instance { env, group, .. } = &self.program.instances[row.0];
        let table = &env.tables[row.1 as usize];
        let is_own = matches!(table.place, TablePlace::Own { .. });
        let has_room = (table.min..=table.limit).contains(&(elements.len() as u64));
        is_own && has_room && self.references(*group, table.element, elements)
    }

    fn global(&self, state: GlobalState, row: Row) -> bool {
        let Instance { env, group, .. } = &self.program.instances[row.0];
        let global = &env.globals[row.1 as usize];
        let is_own = matches!(global.place, GlobalPlace::Own { .. });
        let fits = match state {
            GlobalState::Bits(_) => !global.ty.is_ref(),
            GlobalState::Reference(row) => global.ty.is_ref() && self.references(*group, global.ty, &[row]),
        };
        is_own && fits
    }

    fn data(&self, state: &SegmentState, row: Row) -> bool {
        let place = self.program.instances[row.0].env.data[row.1 as usize];
        match state {
            SegmentState::Dropped => true,
            SegmentState::Whole => place.len_word.is_some(),
            SegmentState::Computed(_) => false,
        }
    }

    fn elements(&self, state: &SegmentState, row: Row) -> bool {
        let Instance { module, env, group, .. } = &self.program.instances[row.0];
        let (place, len) = (env.elements[row.1 as usize], module.elements[row.1 as usize].items.len());
        match (state, place.cells) {
            (SegmentState::Dropped, _) => true,
            (SegmentState::Whole, None) => place.len_word.is_some(),
            (SegmentState::Computed(references), Some(_)) => {
                references.len() == len && self.references(*group, ValType::FuncRef, references)
            }
            _ => false,
        }
    }

    /// Whether references of type `ty` in a group's state may be these.
    fn references(&self, group: Group, ty: ValType, rows: &[FuncRow]) -> bool {
        let fits = |row: u32| {
            let symbol = self.symbols.get(row as usize);
            ty == ValType::FuncRef && symbol.is_some_and(|symbol| self.takes_base_of(*symbol) == Some(group))
        };
        rows.iter().all(|row| row.is_none_or(fits))
    }

    /// The group whose base a function takes; `None` for code that references never refer to.
    fn takes_base_of(&self, symbol: Symbol) -> Option<Group> {
        match symbol {
            Symbol::Function(func) => Some(self.program.funcs[func].group),
            Symbol::ImportStub(_) | Symbol::HostThunk(_) => Some(Group::FIRST),
            _ => None,
        }
    }

    fn handles(&self, tables: &[HandleState]) -> bool {
        let Some(component) = &self.program.component else { return true };
        let is_guests: Vec<bool> =
            component.resources.values().map(|place| matches!(place.def, ResourceDef::Guest { .. })).collect();
        tables.iter().zip(component.instances.values()).all(|(table, instance)| {
            let may_follow = |handle: u32| handle as usize <= table.entries.len();
            let fits = |entry: &HandleEntry| match *entry {
                HandleEntry::Free(next) => may_follow(next),
                HandleEntry::Owned { resource, representation } => {
                    is_guests.get(resource as usize).is_some_and(|guests| *guests || representation == Handle::GONE)
                }
                HandleEntry::Obtained { resource, function } => {
                    is_guests.get(resource as usize) == Some(&false) && gives(component, function, resource)
                }
            };
            let has_room = table.entries.is_empty() || table.entries.len() < instance.handle_capacity as usize;
            has_room && may_follow(table.free) && table.entries.iter().all(fits)
        })
    }
}

/// Pages that a memory may have.
const MOST_PAGES: u64 = (4 << 30) / MemoryState::PAGE;

/// A row of one of the program's tables: the instance, and the index in its module's index space.
type Row = (CoreInstance, u32);

fn memory(program: &Program<'_>, (instance, index): Row) -> (Group, MemoryPlace) {
    let Instance { env, group, .. } = &program.instances[instance];
    (*group, env.memories[index as usize].place)
}

fn table(program: &Program<'_>, (instance, index): Row) -> (Group, TablePlace) {
    let Instance { env, group, .. } = &program.instances[instance];
    (*group, env.tables[index as usize].place)
}

fn global(program: &Program<'_>, (instance, index): Row) -> (Group, GlobalPlace) {
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
            let (group, MemoryPlace::Own { start, size_word, .. }) = memory(self.program, *row) else { continue };
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
                    // The host writes it.
                    HandleEntry::Obtained { .. } => {}
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
