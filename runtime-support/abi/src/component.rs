//! Components: their types, functions, imports and exports in `.precast.meta`, and the state of their instances in the
//! block.
//!
//! What the names mean: a *component instance* is an instance of a component, with a handle table and flags; a
//! *resource* is a resource type at run time, distinct for each instantiation of the component that defines it; a
//! *representation* is the 32-bit number that a resource's owner gave it. A component artifact has no core exports, and
//! all its core imports ([`crate::meta::ImportRow`]) are host functions, described by [`ComponentImportRow`]s.

use crate::bytes::Span;
use crate::record;

/// A component-level type: a primitive if less than [`FIRST_TYPE_ROW`], else the row `n - FIRST_TYPE_ROW` of the
/// component types. [`crate::meta::NONE`] where there is none (the payload of a case, the result of a function).
pub type TypeRef = u32;

/// References to rows of the component types start here.
pub const FIRST_TYPE_ROW: TypeRef = 0x100;

/// The primitive types; as a number, their [`TypeRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Primitive {
    Bool = 0,
    S8 = 1,
    U8 = 2,
    S16 = 3,
    U16 = 4,
    S32 = 5,
    U32 = 6,
    S64 = 7,
    U64 = 8,
    F32 = 9,
    F64 = 10,
    Char = 11,
    String = 12,
}

impl Primitive {
    /// Every primitive, in order.
    pub const ALL: [Primitive; 13] = [
        Primitive::Bool,
        Primitive::S8,
        Primitive::U8,
        Primitive::S16,
        Primitive::U16,
        Primitive::S32,
        Primitive::U32,
        Primitive::S64,
        Primitive::U64,
        Primitive::F32,
        Primitive::F64,
        Primitive::Char,
        Primitive::String,
    ];

    /// The name in WIT.
    pub fn name(self) -> &'static str {
        match self {
            Primitive::Bool => "bool",
            Primitive::S8 => "s8",
            Primitive::U8 => "u8",
            Primitive::S16 => "s16",
            Primitive::U16 => "u16",
            Primitive::S32 => "s32",
            Primitive::U32 => "u32",
            Primitive::S64 => "s64",
            Primitive::U64 => "u64",
            Primitive::F32 => "f32",
            Primitive::F64 => "f64",
            Primitive::Char => "char",
            Primitive::String => "string",
        }
    }
}

/// What a row of the component types is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum TypeKind {
    /// `members`: name and type of each field.
    Record = 0,
    /// `members`: name of each case and type of its payload, or none.
    Variant = 1,
    /// `first`: the element.
    List = 2,
    /// `first`: the element; `second`: the number of elements.
    FixedList = 3,
    /// `members`: types, without names.
    Tuple = 4,
    /// `members`: names.
    Flags = 5,
    /// `members`: names.
    Enum = 6,
    /// `first`: the payload.
    Option = 7,
    /// `first`: the payload of `ok`, or none; `second`: that of `err`, or none.
    Result = 8,
    /// `first`: row of the resource.
    Own = 9,
    /// `first`: row of the resource.
    Borrow = 10,
    /// `first`: the key; `second`: the value. Its layout is that of a list of tuples of both.
    Map = 11,
}

impl TypeKind {
    /// The kind stored as `raw`.
    pub fn from_raw(raw: u32) -> Option<Self> {
        use TypeKind::*;
        let all = [Record, Variant, List, FixedList, Tuple, Flags, Enum, Option, Result, Own, Borrow, Map];
        all.into_iter().find(|kind| *kind as u32 == raw)
    }
}

record! {
    /// A component-level type that is no primitive. Equal types have one row; a row refers to earlier rows only.
    pub struct ComponentTypeRow {
        /// A [`TypeKind`].
        pub kind: u32,
        /// See [`TypeKind`].
        pub first: u32,
        /// See [`TypeKind`].
        pub second: u32,
        /// [`MemberRow`]s, in the blob.
        pub members: Span,
    }
}

record! {
    /// A field, case, flag, parameter: a name (perhaps empty) and a [`TypeRef`].
    pub struct MemberRow {
        /// Its name, UTF-8.
        pub name: Span,
        /// Its [`TypeRef`], or none.
        pub ty: u32,
    }
}

record! {
    /// A component-level function type.
    pub struct ComponentFuncRow {
        /// [`MemberRow`]s of the parameters, in the blob.
        pub params: Span,
        /// [`TypeRef`] of the result, or none.
        pub result: u32,
    }
}

record! {
    /// A resource.
    pub struct ResourceRow {
        /// Imported from the host: the interface (or empty, for the root) and name it is imported under. If a type is
        /// imported twice, its first names. Otherwise, names of the export that gives it to the host, or empty.
        pub interface: Span,
        /// See `interface`.
        pub name: Span,
        /// Row of the component instance that defines it; none if it is imported from the host.
        pub instance: u32,
        /// Defined here: text offset of the destructor, a core function `(i32) -> ()` of type row `destructor_ty`, or
        /// none.
        pub destructor: u32,
        /// Row of its core type, or none.
        pub destructor_ty: u32,
    }
}

record! {
    /// A component instance.
    pub struct ComponentInstanceRow {
        /// Row of the instance it is nested in; none for the root, which is row 0.
        pub parent: u32,
        /// Number of handles there is room for.
        pub handle_capacity: u32,
        /// Offset from the base of its [`InstanceState`].
        pub state: i64,
        /// Offset from the base of entry 0 of its handle table; entries have [`Handle::SIZE`] bytes, and entry 0 is
        /// never used.
        pub handles: i64,
    }
}

record! {
    /// Options of the Canonical ABI: for a function of the host that a core function of the component is a lowering of,
    /// or for a core function that is lifted to be called by the host.
    pub struct CanonRow {
        /// Row of the component instance whose code uses these options.
        pub instance: u32,
        /// Row of the memory, or none.
        pub memory: u32,
        /// Text offset of `realloc`, or none.
        pub realloc: u32,
        /// Row of its core type, or none.
        pub realloc_ty: u32,
        /// Text offset of the core function to call after the host has read the results, or none.
        pub post_return: u32,
        /// Row of its core type, or none.
        pub post_return_ty: u32,
        /// A [`StringEncoding`].
        pub encoding: u32,
    }
}

/// How strings lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum StringEncoding {
    /// UTF-8; lengths in bytes.
    #[default]
    Utf8 = 0,
    /// UTF-16, little-endian; lengths in 16-bit units.
    Utf16 = 1,
    /// Latin-1, or UTF-16 if the top bit of the length is set.
    Latin1OrUtf16 = 2,
}

impl StringEncoding {
    /// The encoding stored as `raw`.
    pub fn from_raw(raw: u32) -> Option<Self> {
        [Self::Utf8, Self::Utf16, Self::Latin1OrUtf16].into_iter().find(|encoding| *encoding as u32 == raw)
    }

    /// The bit of a length that says that a [`Self::Latin1OrUtf16`] string is UTF-16.
    pub const UTF16_TAG: u32 = 1 << 31;
}

/// What a core import of a component artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ComponentImportKind {
    /// A lowered function of the host.
    Func = 0,
    /// Called with the representation of a host's resource whose last handle was dropped: `(i32) -> ()`.
    Drop = 1,
}

record! {
    /// What a core import is: row `n` describes row `n` of the imports, whose names are those of interface (or empty)
    /// and function, or of interface and resource. One host function may be lowered several times.
    pub struct ComponentImportRow {
        /// A [`ComponentImportKind`].
        pub kind: u32,
        /// Functions: row of its [`ComponentFuncRow`]. [`ComponentImportKind::Drop`]: row of the resource.
        pub item: u32,
        /// Functions: row of its [`CanonRow`]; else none.
        pub canon: u32,
    }
}

record! {
    /// An exported function. Rows are sorted by the bytes of interface, then name.
    pub struct ComponentExportRow {
        /// Name of the exported instance it is in (`a/b` of one in another); empty for the root's own.
        pub interface: Span,
        /// Its name.
        pub name: Span,
        /// Row of its type.
        pub func: u32,
        /// Row of its options; none if it is an import that is exported again.
        pub canon: u32,
        /// Row of the core type of the lifted function, or none.
        pub ty: u32,
        /// Text offset of the lifted core function, or none.
        pub text_offset: u32,
        /// An import that is exported again: row of its [`HostFuncRow`]; else none.
        pub import: u32,
    }
}

record! {
    /// A function that the component imports, whether a core function is a lowering of it or not.
    pub struct HostFuncRow {
        /// The interface, or empty.
        pub interface: Span,
        /// Its name.
        pub name: Span,
        /// Row of its type.
        pub func: u32,
    }
}

record! {
    /// An owned handle of a resource of the host's that an instance starts with: what the function, which takes nothing
    /// and returns nothing else, gives before anything else runs. Its entry in the image is zero, and not among the free
    /// ones.
    pub struct ObtainedRow {
        /// Row of the component instance that has it.
        pub instance: u32,
        /// The handle.
        pub handle: u32,
        /// Row of its [`HostFuncRow`].
        pub function: u32,
    }
}

/// State of a component instance in the block. All zero at the start; 32-bit words at these byte offsets.
pub struct InstanceState;

impl InstanceState {
    /// [`Self::MAY_NOT_LEAVE_BIT`].
    pub const FLAGS: i32 = 0;
    /// Number of borrowed handles that the call under way was given and has not dropped.
    pub const BORROWS: i32 = 4;
    /// Number of handle-table entries that were ever used: entries `1..=HANDLES_USED` exist.
    pub const HANDLES_USED: i32 = 8;
    /// The first free entry, or 0.
    pub const FREE_HANDLE: i32 = 12;
    /// Size in bytes.
    pub const SIZE: i32 = 16;

    /// In [`Self::FLAGS`]: `realloc` or `post-return` is under way, so that no import may be called.
    pub const MAY_NOT_LEAVE_BIT: u32 = 1;
}

/// An entry of a handle table; 32-bit words at these byte offsets. The index of an entry is the handle.
///
/// New handles take [`InstanceState::FREE_HANDLE`], whose [`Self::STATE`] is then the next free one; else the entry
/// after the last one used. A dropped handle becomes the first free one.
pub struct Handle;

impl Handle {
    /// The representation.
    pub const REPRESENTATION: i32 = 0;
    /// Row of the resource plus one; 0 if the entry is free.
    pub const RESOURCE: i32 = 4;
    /// An owned handle: how many times it is lent now. A borrowed handle: [`Self::BORROWED`]. A free entry: the next
    /// free one, or 0.
    pub const STATE: i32 = 8;
    /// Size in bytes.
    pub const SIZE: i32 = 16;

    /// [`Self::REPRESENTATION`] of a resource of the host's that is gone: its handle can be passed on and dropped, and the
    /// host takes it for nothing else. No host has a resource with this representation.
    pub const GONE: u32 = u32::MAX;
    /// [`Self::STATE`] of a borrowed handle.
    pub const BORROWED: u32 = 1 << 31;
}

/// Longest string or list in bytes (Canonical ABI: `MAX_LIST_BYTE_LENGTH`, `MAX_STRING_BYTE_LENGTH`).
pub const MAX_BYTE_LENGTH: u32 = (1 << 28) - 1;

/// Parameters beyond this many core values are passed in memory.
pub const MAX_FLAT_PARAMS: usize = 16;
/// Results beyond this many core values are passed in memory.
pub const MAX_FLAT_RESULTS: usize = 1;
