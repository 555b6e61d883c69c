//! References that leave the instance they belong to.
//!
//! What comes in: the eight bytes of a reference in its owner's encoding ([`precast_abi::funcref`]). What goes out: the
//! same function in another instance's encoding, or as a handle of the host. A function is always named by the instance
//! that defines it, the row of its type there, and its offset in that text; a reference to an import is followed to the
//! origin first, so that a call through it takes no extra hop. An instance sees functions of others as indices into
//! the store's foreign table, so one function has one encoding in each instance.
//!
//! # Safety
//! Everything here works on raw pointers to records and their store, because compiled code may run while it does: no
//! reference to them outlives a statement, and each touches one field that nothing else borrows at that moment.

use std::collections::HashMap;

use precast_abi::funcref::{self, FOREIGN_TYPE, NULL};
use precast_abi::trap::TrapCode;

use crate::externs::Func;
use crate::record::InstanceRecord;
use crate::store::StoreInner;
use crate::val::ExternRef;

/// A function of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FuncId {
    /// Index of the instance it belongs to.
    pub(crate) instance: u32,
    /// Row of its type in that instance's artifact.
    pub(crate) ty: u32,
    /// Offset of its code in that artifact's text.
    pub(crate) text: u32,
}

/// A handle was used with another store than the one it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handle belongs to another store")]
pub(crate) struct ForeignStore;

/// The functions that some instance of a store knows though they are another's, and the host's references. Few stores have
/// any.
#[derive(Default)]
pub(crate) struct References(Option<Box<Tables>>);

#[derive(Default)]
struct Tables {
    foreign: Vec<Foreign>,
    foreign_index: HashMap<FuncId, u32>,
    externs: Vec<ExternRef>,
    extern_index: HashMap<usize, u64>,
}

/// A row of the foreign table.
#[derive(Clone, Copy)]
struct Foreign {
    id: FuncId,
    code: *const u8,
    base: *mut u8,
    /// Of the type, the same in all artifacts that have the type.
    hash: [u8; 32],
}

impl References {
    /// The index of `foreign` in the table. `None` if there are 2³² already.
    fn intern_func(&mut self, foreign: Foreign) -> Option<u32> {
        let tables = self.0.get_or_insert_default();
        if let Some(index) = tables.foreign_index.get(&foreign.id) {
            return Some(*index);
        }
        let index = u32::try_from(tables.foreign.len()).ok()?;
        tables.foreign.push(foreign);
        tables.foreign_index.insert(foreign.id, index);
        Some(index)
    }

    /// The guest's name of `reference`: its index plus one, because zero is null.
    fn intern_extern(&mut self, reference: &ExternRef) -> u64 {
        let Tables { externs, extern_index, .. } = &mut **self.0.get_or_insert_default();
        *extern_index.entry(reference.identity()).or_insert_with(|| {
            externs.push(reference.clone());
            externs.len() as u64
        })
    }

    fn foreign(&self, index: u32) -> Option<&Foreign> {
        self.0.as_ref()?.foreign.get(index as usize)
    }

    fn extern_ref(&self, cell: u64) -> Option<ExternRef> {
        let index = usize::try_from(cell.checked_sub(1)?).ok()?;
        self.0.as_ref()?.externs.get(index).cloned()
    }
}

/// The function that `reference` means in instance `owner`, or `None` if it is null.
///
/// # Safety
/// `owner` points to a live record of a live store.
pub(crate) unsafe fn decode(owner: *mut InstanceRecord, reference: u64) -> Option<FuncId> {
    let (ty, payload) = (funcref::ty(reference), funcref::payload(reference));
    match ty {
        0 => None,
        FOREIGN_TYPE => {
            // SAFETY: the record and its store are live, and the borrow ends with the statement.
            let references = unsafe { &(*(*owner).store).references };
            references.foreign(payload).map(|foreign| foreign.id)
        }
        // SAFETY: the record is live; what a borrow of it reads does not change after it was made.
        _ => unsafe { (*owner).origin(ty, payload) },
    }
}

/// The encoding of function `id` in instance `reader`.
///
/// # Safety
/// `reader` points to a live record of a live store, and `id` is a function of that store.
pub(crate) unsafe fn encode(reader: *mut InstanceRecord, id: FuncId) -> u64 {
    // SAFETY: the record is live.
    let (index, store) = unsafe { ((*reader).index, (*reader).store) };
    if id.instance == index {
        return funcref::pack(id.ty, id.text);
    }
    // SAFETY: the store is live.
    let Some(owner) = (unsafe { StoreInner::record(store, id.instance) }) else { return NULL };
    // SAFETY: `record` gives live records only.
    let foreign = unsafe {
        let hash = (*owner).type_hash(id.ty).unwrap_or_default();
        Foreign { id, code: (*owner).code(id.text), base: (*owner).base, hash }
    };
    // SAFETY: the store is live, and nothing else borrows its references.
    match unsafe { (*store).references.intern_func(foreign) } {
        Some(index) => funcref::pack(FOREIGN_TYPE, index),
        None => NULL,
    }
}

/// Function reference `reference` of instance `owner` in the encoding of instance `reader`.
///
/// # Safety
/// Both point to live records of one live store.
pub(crate) unsafe fn translate(owner: *mut InstanceRecord, reader: *mut InstanceRecord, reference: u64) -> u64 {
    if owner == reader || reference == NULL {
        return reference;
    }
    // SAFETY: as the caller says; what `decode` gives is a function of the store.
    unsafe { decode(owner, reference).map_or(NULL, |id| encode(reader, id)) }
}

/// Code and base of what `reference` means in instance `owner`, if it is of type `ty` of instance `caller`.
///
/// # Safety
/// Both point to live records of one live store.
pub(crate) unsafe fn callee(
    owner: *mut InstanceRecord,
    reference: u64,
    caller: *mut InstanceRecord,
    ty: u32,
) -> Result<(*const u8, *mut u8), TrapCode> {
    if reference == NULL {
        return Err(TrapCode::UninitializedElement);
    }
    // SAFETY (each block): both records and their store are live; borrows end with the statement.
    let (code, base, hash) = if funcref::ty(reference) == FOREIGN_TYPE {
        // SAFETY: see above.
        let references = unsafe { &(*(*owner).store).references };
        let foreign = references.foreign(funcref::payload(reference));
        let foreign = foreign.ok_or(TrapCode::UninitializedElement)?;
        (foreign.code, foreign.base, Some(foreign.hash))
    } else {
        let text = funcref::payload(reference);
        // SAFETY: see above.
        let (code, base) = unsafe { ((*owner).code(text), (*owner).base) };
        if owner == caller && funcref::ty(reference) == ty {
            return Ok((code, base));
        }
        // SAFETY: see above.
        (code, base, unsafe { (*owner).type_hash(funcref::ty(reference)) })
    };
    // SAFETY: see above.
    let wanted = unsafe { (*caller).type_hash(ty) };
    if hash.is_some() && hash == wanted { Ok((code, base)) } else { Err(TrapCode::IndirectCallTypeMismatch) }
}

/// The handle of a function reference of instance `record`.
///
/// # Safety
/// `record` points to a live record of a live store.
pub(crate) unsafe fn to_func(record: *mut InstanceRecord, reference: u64) -> Option<Func> {
    // SAFETY: as the caller says.
    unsafe { decode(record, reference).map(|id| Func { store: (*(*record).store).id, id }) }
}

/// The encoding of a handle in instance `record`.
///
/// # Safety
/// `record` points to a live record of a live store.
pub(crate) unsafe fn from_func(record: *mut InstanceRecord, func: Option<Func>) -> Result<u64, ForeignStore> {
    let Some(func) = func else { return Ok(NULL) };
    // SAFETY: the record and its store are live.
    if func.store != unsafe { (*(*record).store).id } {
        return Err(ForeignStore);
    }
    // SAFETY: a handle with the store's identity names a function of that store.
    Ok(unsafe { encode(record, func.id) })
}

/// The host reference that an instance knows as `cell`.
///
/// # Safety
/// `record` points to a live record of a live store.
pub(crate) unsafe fn to_extern(record: *mut InstanceRecord, cell: u64) -> Option<ExternRef> {
    // SAFETY: as the caller says; the borrow ends with the statement.
    let references = unsafe { &(*(*record).store).references };
    references.extern_ref(cell)
}

/// What instances know a host reference as.
///
/// # Safety
/// `record` points to a live record of a live store.
pub(crate) unsafe fn from_extern(record: *mut InstanceRecord, reference: Option<&ExternRef>) -> u64 {
    let Some(reference) = reference else { return NULL };
    // SAFETY: as the caller says; nothing else borrows the references, and the borrow ends with the statement.
    let references = unsafe { &mut (*(*record).store).references };
    references.intern_extern(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(instance: u32, text: u32) -> Foreign {
        let id = FuncId { instance, ty: 1, text };
        Foreign { id, code: std::ptr::null(), base: std::ptr::null_mut(), hash: [0; 32] }
    }

    #[test]
    fn each_function_has_one_row() {
        let mut references = References::default();
        assert_eq!(references.intern_func(foreign(0, 16)), Some(0));
        assert_eq!(references.intern_func(foreign(1, 16)), Some(1));
        assert_eq!(references.intern_func(foreign(0, 32)), Some(2));
        assert_eq!(references.intern_func(foreign(1, 16)), Some(1));
    }

    #[test]
    fn host_references_keep_their_identity() {
        let mut references = References::default();
        let (one, two) = (ExternRef::new(1), ExternRef::new(2));
        let cells = [&one, &two, &one].map(|reference| references.intern_extern(reference));
        assert_eq!(cells, [1, 2, 1]);
        assert_eq!(references.extern_ref(1), Some(one));
        assert_eq!(references.extern_ref(2), Some(two));
        assert_eq!(references.extern_ref(0), None);
        assert_eq!(references.extern_ref(3), None);
        assert_eq!(references.extern_ref(u64::MAX), None);
    }
}
