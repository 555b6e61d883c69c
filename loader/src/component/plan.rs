//! What binding decodes from a component's tables, checked, so that calls only index.
//!
//! What comes in: the tables, in which nothing but their bounds is known to be right, and the checked core rows. What
//! goes out: rows whose offsets lie in a block of the slot and whose code is of the type that it is entered with.

use std::sync::Arc;

use precast_abi::bytes::Span;
use precast_abi::component::{
    CanonRow, ComponentExportRow, ComponentImportKind, ComponentImportRow, Handle, InstanceState, MAX_FLAT_PARAMS,
    MAX_FLAT_RESULTS, ObtainedRow, ResourceRow, StringEncoding,
};
use precast_abi::meta::{Meta, NONE};
use precast_abi::types::{FuncType as CoreType, ValType};

use super::handles::HandleTable;
use super::types::Types;
use crate::plan::{Malformed, Plan};

/// The decoded rows of a component.
#[derive(Debug)]
pub(crate) struct ComponentPlan {
    pub(crate) types: Arc<Types>,
    pub(crate) imports: Box<[Import]>,
    /// Functions that the component imports.
    pub(crate) host_funcs: Box<[HostFunc]>,
    pub(crate) exports: Box<[Export]>,
    /// For each resource that a component here defines: its destructor, and where its instance has its state.
    pub(crate) resources: Box<[Option<Resource>]>,
    /// For each component instance.
    pub(crate) places: Box<[Place]>,
    /// Handles that the host gives before an instance runs.
    pub(crate) obtained: Box<[Obtained]>,
}

/// A core import.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) interface: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) kind: ImportKind,
}

/// What a core import is.
#[derive(Clone, Debug)]
pub(crate) enum ImportKind {
    /// Lowered: row of the function type, and the caller's options.
    Func(u32, Canon),
    /// Drops the resource in this row.
    Drop(u32),
}

/// A handle that the host gives before an instance runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obtained {
    /// Row of the component instance that has it.
    pub(crate) instance: u32,
    pub(crate) place: Place,
    /// Below the capacity of the table.
    pub(crate) handle: u32,
    /// The function that gives it: its row in the host functions.
    pub(crate) function: u32,
}

/// A function that the component imports.
#[derive(Debug)]
pub(crate) struct HostFunc {
    pub(crate) interface: Box<str>,
    pub(crate) name: Box<str>,
    /// Row of its type.
    pub(crate) func: u32,
}

/// An exported function.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) interface: Box<str>,
    pub(crate) name: Box<str>,
    /// Row of its type.
    pub(crate) func: u32,
    pub(crate) target: Target,
}

/// What an exported function is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A lifted core function.
    Lifted(Code, Canon),
    /// An import that is exported again: its row in the host functions.
    Import(u32),
}

/// A resource that is defined here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    pub(crate) destructor: Option<Code>,
}

/// Code that the host enters: text offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// The entry thunk of its type.
    pub(crate) entry: u32,
    pub(crate) text: u32,
}

/// Options of the Canonical ABI. Offsets are from the base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canon {
    /// Row of the component instance.
    pub(crate) instance: u32,
    pub(crate) place: Place,
    /// Start, and the word with the size.
    pub(crate) memory: Option<(isize, isize)>,
    pub(crate) realloc: Option<Code>,
    pub(crate) post_return: Option<Code>,
    pub(crate) encoding: StringEncoding,
}

/// Where a component instance has its state and handle table: offsets from the base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) state: isize,
    pub(crate) handles: isize,
    /// Entries there is room for, the first of which is never used.
    pub(crate) capacity: u32,
}

impl Place {
    /// The handle table of the instance whose base is `base`.
    ///
    /// # Safety
    /// The place was checked for the artifact of the instance, which is alive as long as the table is used.
    pub(crate) unsafe fn table(&self, base: *mut u8) -> HandleTable {
        // SAFETY: state and handles lie in a block, which is there as long as the instance.
        unsafe { HandleTable::new(base.offset(self.state), base.offset(self.handles), self.capacity) }
    }
}

const DAMAGED: Malformed = Malformed("a component's row is out of range");

impl ComponentPlan {
    /// Decodes and checks the rows of a component, whose core rows are `core`, and that starts with the handles `obtained`.
    pub(crate) fn new(meta: &Meta<'_>, core: &Plan, obtained: &[ObtainedRow]) -> Result<ComponentPlan, Malformed> {
        let types = Arc::new(Types::new(meta)?);
        if meta.component_imports.len() != core.imports.len() || !meta.exports.is_empty() {
            return Err(Malformed("the imports and exports of a component are none that it can have"));
        }
        let mut check = Check { meta, core, types: &types, places: Vec::new() };
        for (number, row) in (0u32..).zip(meta.component_instances.iter()) {
            let place = check.place(row.state, row.handles, row.handle_capacity)?;
            if (row.parent == NONE) != (number == 0) || (row.parent != NONE && row.parent >= number) {
                return Err(DAMAGED);
            }
            check.places.push(place);
        }
        let host_funcs = meta.host_funcs.iter().map(|row| {
            let (interface, name) = check.names(row.interface, row.name)?;
            Ok(HostFunc { interface, name, func: check.func(row.func)? })
        });
        Ok(ComponentPlan {
            imports: (0..)
                .zip(meta.component_imports.iter())
                .map(|(n, row)| check.import(n, &row))
                .collect::<Result<_, _>>()?,
            host_funcs: host_funcs.collect::<Result<_, _>>()?,
            exports: meta.component_exports.iter().map(|row| check.export(&row)).collect::<Result<_, _>>()?,
            resources: meta.resources.iter().map(|row| check.resource(&row)).collect::<Result<_, _>>()?,
            obtained: obtained.iter().map(|row| check.obtained(row)).collect::<Result<_, _>>()?,
            places: check.places.into(),
            types,
        })
    }

    /// The row of the function in the host functions, if it gives a resource and can be asked again.
    pub(crate) fn origin(&self, interface: &str, name: &str, func: u32) -> Option<u32> {
        self.types.given(func)?;
        let is_it = |row: &HostFunc| (&*row.interface, &*row.name, row.func) == (interface, name, func);
        self.host_funcs.iter().position(is_it).map(|row| row as u32)
    }

    /// Index of the export `name` of `interface`: the rows are sorted.
    pub(crate) fn export(&self, interface: &str, name: &str) -> Option<usize> {
        self.exports.binary_search_by(|row| (&*row.interface, &*row.name).cmp(&(interface, name))).ok()
    }
}

/// Whether more than one core value has to be passed for the parameters in memory, and how many core values there are.
pub(crate) fn flat_params(types: &Types, func: u32) -> (bool, usize) {
    match types.func_layout(func).0.flat as usize {
        flat @ 0..=MAX_FLAT_PARAMS => (false, flat),
        _ => (true, 1),
    }
}

/// Whether the result is passed in memory, and how many core values there are if not.
pub(crate) fn flat_results(types: &Types, func: u32) -> (bool, usize) {
    match types.func_layout(func).1.flat as usize {
        flat @ 0..=MAX_FLAT_RESULTS => (false, flat),
        _ => (true, 1),
    }
}

struct Check<'a> {
    meta: &'a Meta<'a>,
    core: &'a Plan,
    types: &'a Types,
    places: Vec<Place>,
}

impl Check<'_> {
    fn place(&self, state: i64, handles: i64, capacity: u32) -> Result<Place, Malformed> {
        let blocks = &self.core.blocks;
        let bytes = u64::from(capacity) * Handle::SIZE as u64;
        let fits = blocks.contain_aligned(state, InstanceState::SIZE as u64, 4)
            && (capacity == 0 || blocks.contain_aligned(handles, bytes, 4));
        fits.then_some(Place { state: state as isize, handles: handles as isize, capacity }).ok_or(DAMAGED)
    }

    fn names(&self, interface: Span, name: Span) -> Result<(Box<str>, Box<str>), Malformed> {
        let text = |span| self.meta.str(span).map(Box::from).ok_or(DAMAGED);
        Ok((text(interface)?, text(name)?))
    }

    fn func(&self, row: u32) -> Result<u32, Malformed> {
        if (row as usize) < self.types.funcs() { Ok(row) } else { Err(DAMAGED) }
    }

    /// The core type in row `ty`, and its entry thunk.
    fn core_type(&self, ty: u32) -> Result<(CoreType, u32), Malformed> {
        let row = self.meta.types.get(ty as usize).filter(|_| ty != 0).ok_or(DAMAGED)?;
        let ty = self.meta.bytes(row.signature).and_then(CoreType::decode).ok_or(DAMAGED)?;
        Ok((ty, row.entry))
    }

    /// Code of a type that `matches` accepts.
    fn code(&self, ty: u32, text: u32, matches: impl Fn(&CoreType) -> bool) -> Result<Code, Malformed> {
        let (core, entry) = self.core_type(ty)?;
        let inside = |offset: u32| u64::from(offset) < self.meta.header.text_len;
        let sound = inside(entry) && inside(text) && matches(&core);
        sound.then_some(Code { entry, text }).ok_or(Malformed("code that the host enters is of a wrong type"))
    }

    fn optional_code(
        &self,
        ty: u32,
        text: u32,
        matches: impl Fn(&CoreType) -> bool,
    ) -> Result<Option<Code>, Malformed> {
        if text == NONE { Ok(None) } else { self.code(ty, text, matches).map(Some) }
    }

    /// The options in row `row`, for a function of type `func`; `results`: those of the core function.
    fn canon(&self, row: u32, results: usize) -> Result<Canon, Malformed> {
        let row: CanonRow = self.meta.canons.get(row as usize).ok_or(DAMAGED)?;
        let memory = match row.memory {
            NONE => None,
            memory => {
                let memory = self.core.memories.get(memory as usize).filter(|memory| memory.import.is_none());
                Some(memory.map(|memory| (memory.start, memory.size_word)).ok_or(DAMAGED)?)
            }
        };
        Ok(Canon {
            instance: row.instance,
            place: *self.places.get(row.instance as usize).ok_or(DAMAGED)?,
            memory,
            realloc: self.optional_code(row.realloc_ty, row.realloc, |ty| {
                *ty.params == [ValType::I32; 4] && *ty.results == [ValType::I32]
            })?,
            post_return: self.optional_code(row.post_return_ty, row.post_return, |ty| {
                ty.params.len() == results && ty.results.is_empty() && numbers(ty)
            })?,
            encoding: StringEncoding::from_raw(row.encoding).ok_or(DAMAGED)?,
        })
    }

    fn import(&self, number: usize, row: &ComponentImportRow) -> Result<Import, Malformed> {
        let names = self.meta.imports.get(number).ok_or(DAMAGED)?;
        let (interface, name) = self.names(names.module, names.name)?;
        let (core, _) = self.core_type(self.core.imports.get(number).ok_or(DAMAGED)?.ty)?;
        let wrong = Malformed("a core import of a component is of a wrong type");
        let kind = if row.kind == ComponentImportKind::Func as u32 {
            let func = self.func(row.item)?;
            let (in_memory, results) = flat_results(self.types, func);
            let params = flat_params(self.types, func).1 + usize::from(in_memory);
            let results = if in_memory { 0 } else { results };
            if !numbers(&core) || (core.params.len(), core.results.len()) != (params, results) {
                return Err(wrong);
            }
            ImportKind::Func(func, self.canon(row.canon, 0)?)
        } else if row.kind == ComponentImportKind::Drop as u32 {
            if row.item as usize >= self.meta.resources.len() || !is_drop(&core) {
                return Err(wrong);
            }
            ImportKind::Drop(row.item)
        } else {
            return Err(DAMAGED);
        };
        Ok(Import { interface, name, kind })
    }

    fn export(&self, row: &ComponentExportRow) -> Result<Export, Malformed> {
        let (interface, name) = self.names(row.interface, row.name)?;
        let func = self.func(row.func)?;
        if row.import != NONE {
            let known = self.meta.host_funcs.get(row.import as usize).is_some_and(|import| import.func == func);
            let target = known.then_some(Target::Import(row.import)).ok_or(DAMAGED)?;
            return Ok(Export { interface, name, func, target });
        }
        let (_, params) = flat_params(self.types, func);
        let (_, results) = flat_results(self.types, func);
        let code = self.code(row.ty, row.text_offset, |ty| {
            (ty.params.len(), ty.results.len()) == (params, results) && numbers(ty)
        })?;
        Ok(Export { interface, name, func, target: Target::Lifted(code, self.canon(row.canon, results)?) })
    }

    fn obtained(&self, row: &ObtainedRow) -> Result<Obtained, Malformed> {
        let place = *self.places.get(row.instance as usize).ok_or(DAMAGED)?;
        let func = self.meta.host_funcs.get(row.function as usize).ok_or(DAMAGED)?.func;
        if row.handle == 0 || row.handle >= place.capacity || self.types.given(func).is_none() {
            return Err(DAMAGED);
        }
        Ok(Obtained { instance: row.instance, place, handle: row.handle, function: row.function })
    }

    fn resource(&self, row: &ResourceRow) -> Result<Option<Resource>, Malformed> {
        if row.instance == NONE {
            return Ok(None);
        }
        Ok(Some(Resource { destructor: self.optional_code(row.destructor_ty, row.destructor, is_drop)? }))
    }
}

/// Whether all values are numbers of one cell each.
fn numbers(ty: &CoreType) -> bool {
    let number = |ty: &ValType| matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
    ty.params.iter().chain(&ty.results).all(number)
}

fn is_drop(ty: &CoreType) -> bool {
    *ty.params == [ValType::I32] && ty.results.is_empty()
}
