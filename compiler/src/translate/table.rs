//! `table.get`, `table.set`, `table.size` and `table.grow`.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_abi::host::TableImport;
use precast_abi::trap::TrapCode;
use precast_builtins::Builtin;
use wasmparser::Operator;

use super::translator::{FuncTranslator, Region, trap_code};
use crate::program::{Table, TablePlace};

/// Bytes of an element as a power of two.
const ELEMENT_SIZE_LOG2: i64 = 3;

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::TableGet { table } => t.table_get(*table),
        Operator::TableSet { table } => t.table_set(*table),
        Operator::TableSize { table } => t.table_size(*table),
        Operator::TableGrow { table } => t.table_grow(*table),
        _ => return false,
    }
    true
}

impl FuncTranslator<'_> {
    fn table_get(&mut self, table: u32) {
        let index = self.pop();
        let value = match self.env.tables[table as usize].place {
            TablePlace::Own { elements, .. } => {
                let address = self.own_element(table, index, TrapCode::TableOutOfBounds);
                let flags = self.flags(Region::Tables);
                self.ins().load(I64, flags, address, elements)
            }
            TablePlace::Imported { .. } => {
                let (row, index) = (self.table_row(table), self.extend(index));
                let results = self.call_builtin(Builtin::table_get, &[row, index]);
                self.ins().trapnz(results[1], trap_code(TrapCode::TableOutOfBounds));
                results[0]
            }
        };
        self.push(value);
    }

    fn table_set(&mut self, table: u32) {
        let (index, value) = self.pop2();
        match self.env.tables[table as usize].place {
            TablePlace::Own { elements, .. } => {
                let address = self.own_element(table, index, TrapCode::TableOutOfBounds);
                let flags = self.flags(Region::Tables);
                self.ins().store(flags, value, address, elements);
            }
            TablePlace::Imported { .. } => {
                let (row, index) = (self.table_row(table), self.extend(index));
                self.call_checked(Builtin::table_set, &[row, index, value], TrapCode::TableOutOfBounds);
            }
        }
    }

    fn table_size(&mut self, table: u32) {
        let table = self.env.tables[table as usize];
        let size = match table.constant_size() {
            Some(size) => self.ins().iconst(I32, size.cast_signed()),
            None => self.table_len(&table),
        };
        self.push(size);
    }

    fn table_grow(&mut self, table: u32) {
        let (value, delta) = self.pop2();
        let (row, delta) = (self.table_row(table), self.extend(delta));
        let old = self.call_builtin(Builtin::table_grow, &[row, delta, value])[0];
        self.charge_growth(old, delta);
        let old = self.ins().ireduce(I32, old);
        self.push(old);
    }

    /// The address to which a load or store of an own table's element adds the offset of the table's elements. Traps
    /// with `code` if the index is out of bounds.
    pub(super) fn own_element(&mut self, table: u32, index: Value, code: TrapCode) -> Value {
        let table = self.env.tables[table as usize];
        let outside = match table.constant_size() {
            Some(size) => self.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, index, size.cast_signed()),
            None => {
                let len = self.table_len(&table);
                self.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, len)
            }
        };
        self.ins().trapnz(outside, trap_code(code));
        let (base, index) = (self.base, self.extend(index));
        let scaled = self.ins().ishl_imm_u(index, ELEMENT_SIZE_LOG2);
        self.ins().iadd(base, scaled)
    }

    /// A table's current number of elements, as `i32`: tables with 64-bit indices are not there yet, and the word is
    /// little-endian.
    fn table_len(&mut self, table: &Table) -> Value {
        let (address, offset, region) = match table.place {
            TablePlace::Own { size_word, .. } => (self.base, size_word, Region::Sizes),
            TablePlace::Imported { cell } => (self.host_word(cell + TableImport::SIZE_WORD), 0, Region::ImportedSizes),
        };
        let flags = self.flags(region);
        self.ins().load(I32, flags, address, offset)
    }
}
