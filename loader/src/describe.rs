//! Types as error messages show them: what was found and what was wanted.

use precast_abi::types::{FuncType, ValType};

use crate::types::{ExternType, GlobalType, MemoryType, TableType};

/// `(i32, i64) -> (f64)`.
pub(crate) fn signature(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(params), list(results))
}

/// `func (i32) -> ()`, `table 1..10 funcref`, `memory 1..`, `global mut i32`.
pub(crate) fn item(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(FuncType { params, results }) => format!("func {}", signature(params, results)),
        ExternType::Table(TableType { element, min, max }) => {
            format!("table {} {}", limits(*min, *max), element.name())
        }
        ExternType::Memory(MemoryType { min, max, page_size_log2: 16 }) => format!("memory {}", limits(*min, *max)),
        ExternType::Memory(MemoryType { min, max, page_size_log2 }) => {
            format!("memory {} with pages of 2^{page_size_log2} bytes", limits(*min, *max))
        }
        ExternType::Global(GlobalType { ty, mutable: true }) => format!("global mut {}", ty.name()),
        ExternType::Global(GlobalType { ty, mutable: false }) => format!("global {}", ty.name()),
    }
}

fn limits(min: u64, max: Option<u64>) -> String {
    max.map_or_else(|| format!("{min}.."), |max| format!("{min}..{max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_as_in_the_text_format() {
        use ValType::*;
        let func = ExternType::Func(FuncType { params: [I32, I64].into(), results: [F64].into() });
        assert_eq!(item(&func), "func (i32, i64) -> (f64)");
        let memory = |page_size_log2| ExternType::Memory(MemoryType { min: 1, max: Some(2), page_size_log2 });
        assert_eq!(item(&memory(16)), "memory 1..2");
        assert_eq!(item(&memory(0)), "memory 1..2 with pages of 2^0 bytes");
        assert_eq!(item(&ExternType::Table(TableType { element: FuncRef, min: 0, max: None })), "table 0.. funcref");
        assert_eq!(item(&ExternType::Global(GlobalType { ty: I32, mutable: true })), "global mut i32");
    }
}
