//! The host words: what the loader fills in before compiled code runs, and compiled code only reads.
//!
//! They lie in the first block, at `host_start` of [`crate::slot::SlotLayout`], between tables and globals, all of which
//! compiled code checks or addresses by constants. First [`HostWords`], then one [`FuncImport`] for each imported function, then a [`MemoryImport`],
//! [`TableImport`] or [`GlobalImport`] for each import of that kind, in the order of the index spaces. Each import's
//! row in the meta tables has the offset of its cell.
//!
//! All are 64-bit words in the target's (little-endian) order; the constants are byte offsets.

/// The words every slot has.
pub struct HostWords;

impl HostWords {
    /// Pointer to the loader's execution context of the store: the stack to switch to. Compiled code passes it on, and
    /// metered code counts in it: [`Context`].
    pub const CONTEXT: i32 = 0;
    /// Pointer to the table of builtins: one code pointer each, in the order of `precast_builtins`.
    pub const BUILTINS: i32 = 8;
    /// Pointer to the loader's record of the instance.
    pub const INSTANCE: i32 = 16;
    /// A 32-bit number for the message of a trap, as [`crate::trap::TrapCode`] says: the only word that compiled code
    /// writes, just before it traps.
    pub const DETAIL: i32 = 24;
    /// Size in bytes; what follows is at a multiple of 16.
    pub const SIZE: i32 = 64;
}

/// What metered code knows of the loader's context, to which [`HostWords::CONTEXT`] points. (See
/// [`crate::meta::Header::metering`].)
pub struct Context;

impl Context {
    /// The complement of what is left of the store's fuel, 64 bits: it counts up, and code traps with
    /// [`crate::trap::TrapCode::OutOfFuel`] where it would overflow.
    pub const FUEL: i32 = 40;
}

/// A function that the instance imports.
///
/// A call loads `CODE` and `BASE` and calls the code with that base, whoever provides it. For a function of another
/// instance these are that instance's. For a host function they are the artifact's own host thunk and the slot's own
/// base; the thunk passes the address of the cell to the loader, which finds `HOST_CALL` and `HOST_DATA` there. Or they
/// are code of the loader's, and what that wants to be called with.
pub struct FuncImport;

impl FuncImport {
    /// Address of code with the compiled-function convention.
    pub const CODE: i32 = 0;
    /// Base to pass to it.
    pub const BASE: i32 = 8;
    /// `extern "C" fn(words, cell, values) -> u32`: the host function, called on the host's stack. Zero to go on; any
    /// other value abandons the guest.
    pub const HOST_CALL: i32 = 16;
    /// The loader's: what it knows of the host function.
    pub const HOST_DATA: i32 = 24;
    /// Size in bytes.
    pub const SIZE: i32 = 32;
}

/// A memory that the instance imports.
pub struct MemoryImport;

impl MemoryImport {
    /// Address of its first byte.
    pub const BASE: i32 = 0;
    /// Address of the word that holds its current size in bytes.
    pub const SIZE_WORD: i32 = 8;
    /// Size in bytes.
    pub const SIZE: i32 = 16;
}

/// A table that the instance imports.
pub struct TableImport;

impl TableImport {
    /// Address of its first element.
    pub const ELEMENTS: i32 = 0;
    /// Address of the word that holds its current number of elements.
    pub const SIZE_WORD: i32 = 8;
    /// Size in bytes.
    pub const SIZE: i32 = 16;
}

/// A global that the instance imports.
pub struct GlobalImport;

impl GlobalImport {
    /// Address of its value.
    pub const CELL: i32 = 0;
    /// Size in bytes (the second word is unused).
    pub const SIZE: i32 = 16;
}
