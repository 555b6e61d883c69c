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
    pub const ALL: [TrapCode; 11] = [
        TrapCode::Unreachable,
        TrapCode::UndefinedElement,
        TrapCode::UninitializedElement,
        TrapCode::IndirectCallTypeMismatch,
        TrapCode::TableOutOfBounds,
        TrapCode::NullReference,
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
            TrapCode::StackOverflow => "call stack exhausted",
            TrapCode::IntegerOverflow => "integer overflow",
            TrapCode::MemoryOutOfBounds => "out of bounds memory access",
            TrapCode::IntegerDivisionByZero => "integer divide by zero",
            TrapCode::BadConversionToInteger => "invalid conversion to integer",
        }
    }
}
