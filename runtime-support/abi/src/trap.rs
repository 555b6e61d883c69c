//! Why guest code stopped.

/// A trap of the WebAssembly specification, or one that execution needs beyond it. The number is what the trap table
/// stores; 251–255 are Cranelift's own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum TrapCode {
    /// `unreachable` was executed.
    Unreachable = 1,
    /// `call_indirect` with an index beyond the table.
    UndefinedElement = 2,
    /// `call_indirect` of a null element.
    UninitializedElement = 3,
    /// `call_indirect` of a function of another type.
    IndirectCallTypeMismatch = 4,
    /// A table access out of bounds.
    TableOutOfBounds = 5,
    /// A null reference where none may be.
    NullReference = 6,
    /// A pointer in the Canonical ABI that is not a multiple of its type's alignment.
    UnalignedPointer = 7,
    /// A handle that its instance does not have. The detail is the handle.
    UnknownHandle = 8,
    /// A handle of another resource. The detail is the handle.
    WrongHandleType = 9,
    /// An owned handle is given away or dropped while it is lent.
    ResourceLent = 10,
    /// A string that is not inside its memory.
    StringOutOfBounds = 11,
    /// A list, or parameters or results in memory, that are not inside it.
    ListOutOfBounds = 12,
    /// A number that is no Unicode scalar value.
    InvalidChar = 13,
    /// A discriminant that its type has no case for.
    InvalidDiscriminant = 14,
    /// A string that is not UTF-8.
    InvalidUtf8 = 15,
    /// A string that is not UTF-16.
    InvalidUtf16 = 16,
    /// A call into a component instance that is being called, or has trapped.
    CannotEnter = 17,
    /// A call of an import during `realloc` or `post-return`.
    CannotLeave = 18,
    /// A function returns before it has dropped the handles it borrowed.
    BorrowsRemain = 19,
    /// `realloc` returned a pointer whose bytes are not inside the memory.
    ReallocOutOfBounds = 20,
    /// A string or list of more bytes than the Canonical ABI allows.
    TooLong = 21,
    /// No room for another handle.
    HandleTableFull = 22,
    /// A borrowed handle where an owned one is needed. The detail is the handle.
    NotOwned = 23,
    /// Metered code has used all of its store's fuel.
    OutOfFuel = 249,
    /// The host's deadline has passed. No row of the trap table has it.
    Interrupted = 250,
    /// The guest stack is exhausted. Recognised by the fault's address; no row of the trap table has it.
    StackOverflow = 251,
    /// `MIN / -1`, or a float that does not fit an integer.
    IntegerOverflow = 252,
    /// A memory access out of bounds.
    MemoryOutOfBounds = 253,
    /// An integer divided by zero.
    IntegerDivisionByZero = 254,
    /// A NaN converted to an integer.
    BadConversionToInteger = 255,
}

impl TrapCode {
    /// Every code.
    pub const ALL: [TrapCode; 30] = [
        TrapCode::Unreachable,
        TrapCode::UndefinedElement,
        TrapCode::UninitializedElement,
        TrapCode::IndirectCallTypeMismatch,
        TrapCode::TableOutOfBounds,
        TrapCode::NullReference,
        TrapCode::UnalignedPointer,
        TrapCode::UnknownHandle,
        TrapCode::WrongHandleType,
        TrapCode::ResourceLent,
        TrapCode::StringOutOfBounds,
        TrapCode::ListOutOfBounds,
        TrapCode::InvalidChar,
        TrapCode::InvalidDiscriminant,
        TrapCode::InvalidUtf8,
        TrapCode::InvalidUtf16,
        TrapCode::CannotEnter,
        TrapCode::CannotLeave,
        TrapCode::BorrowsRemain,
        TrapCode::ReallocOutOfBounds,
        TrapCode::TooLong,
        TrapCode::HandleTableFull,
        TrapCode::NotOwned,
        TrapCode::OutOfFuel,
        TrapCode::Interrupted,
        TrapCode::StackOverflow,
        TrapCode::IntegerOverflow,
        TrapCode::MemoryOutOfBounds,
        TrapCode::IntegerDivisionByZero,
        TrapCode::BadConversionToInteger,
    ];

    /// The code stored as `raw`.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| *code as u8 == raw)
    }

    /// The specification's message (as its test suite expects it).
    pub fn message(self) -> &'static str {
        match self {
            TrapCode::Unreachable => "unreachable",
            TrapCode::UndefinedElement => "undefined element",
            TrapCode::UninitializedElement => "uninitialized element",
            TrapCode::IndirectCallTypeMismatch => "indirect call type mismatch",
            TrapCode::TableOutOfBounds => "out of bounds table access",
            TrapCode::NullReference => "null reference",
            TrapCode::UnalignedPointer => "unaligned pointer",
            TrapCode::UnknownHandle => "unknown handle index",
            TrapCode::WrongHandleType => {
                "handle used with the wrong type, expected guest-defined resource but found a different guest-defined resource"
            }
            TrapCode::ResourceLent => "cannot remove owned resource while borrowed",
            TrapCode::StringOutOfBounds => {
                "string pointer/length out of bounds of memory: string content out-of-bounds"
            }
            TrapCode::ListOutOfBounds => "list pointer/length out of bounds of memory: pointer out of bounds of memory",
            TrapCode::InvalidChar => "invalid `char` bit pattern",
            TrapCode::InvalidDiscriminant => "invalid variant discriminant: unexpected discriminant",
            TrapCode::InvalidUtf8 => "invalid utf-8: incomplete utf-8 byte sequence",
            TrapCode::InvalidUtf16 => "unpaired surrogate found: incomplete utf-16 sequence",
            TrapCode::CannotEnter => "cannot enter component instance",
            TrapCode::CannotLeave => "cannot leave component instance",
            TrapCode::BorrowsRemain => "borrow handles still remain at the end of the call",
            TrapCode::ReallocOutOfBounds => "realloc return: beyond end of memory: range out of bounds",
            TrapCode::TooLong => "string or list byte length too large",
            TrapCode::HandleTableFull => "too many handles",
            TrapCode::NotOwned => "cannot transfer a borrowed handle where an owned one is expected",
            TrapCode::OutOfFuel => "out of fuel",
            TrapCode::Interrupted => "interrupted: deadline exceeded",
            TrapCode::StackOverflow => "call stack exhausted",
            TrapCode::IntegerOverflow => "integer overflow",
            TrapCode::MemoryOutOfBounds => "out of bounds memory access",
            TrapCode::IntegerDivisionByZero => "integer divide by zero",
            TrapCode::BadConversionToInteger => "invalid conversion to integer",
        }
    }
}
