//! Bulk operations on memories and tables: the loader's work, except for dropping segments and for what the helpers
//! do.

use cranelift_codegen::ir::{InstBuilder, Value};
use precast_abi::trap::TrapCode;
use precast_builtins::Builtin;
use wasmparser::Operator;

use super::translator::{FuncTranslator, Region, trap_code};
use crate::program::{Helper, SegmentPlace};
use crate::resolve::has_memory_at_base;

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::MemoryFill { mem } => t.memory_fill(*mem),
        Operator::MemoryCopy { dst_mem, src_mem } => t.memory_copy(*dst_mem, *src_mem),
        Operator::MemoryInit { mem, data_index } => t.memory_init(*mem, *data_index),
        Operator::DataDrop { data_index } => t.drop_segment(t.env.data[*data_index as usize]),
        Operator::TableFill { table } => t.table_fill(*table),
        Operator::TableCopy { dst_table, src_table } => t.table_copy(*dst_table, *src_table),
        Operator::TableInit { table, elem_index } => t.table_init(*table, *elem_index),
        Operator::ElemDrop { elem_index } => t.drop_segment(t.env.elements[*elem_index as usize]),
        _ => return false,
    }
    true
}

impl FuncTranslator<'_> {
    fn memory_fill(&mut self, memory: u32) {
        let (to, value, len) = self.pop3();
        self.charge_bytes(len);
        let failed = if self.has_helper(Helper::MemoryFill, memory) {
            self.call_helper(Helper::MemoryFill, [to, value, len])
        } else {
            self.fill_by_builtin(memory, to, value, len)
        };
        self.ins().trapnz(failed, trap_code(TrapCode::MemoryOutOfBounds));
    }

    fn memory_copy(&mut self, to_memory: u32, from_memory: u32) {
        let (to, from, len) = self.pop3();
        self.charge_bytes(len);
        let failed = if to_memory == from_memory && self.has_helper(Helper::MemoryCopy, to_memory) {
            self.call_helper(Helper::MemoryCopy, [to, from, len])
        } else {
            self.copy_by_builtin(to_memory, from_memory, to, from, len)
        };
        self.ins().trapnz(failed, trap_code(TrapCode::MemoryOutOfBounds));
    }

    fn has_helper(&self, helper: Helper, memory: u32) -> bool {
        memory == 0 && has_memory_at_base(self.env) && self.program.helpers.contains(&(helper, self.group))
    }

    /// Fills by the builtin; returns other than zero if that is out of bounds.
    pub(super) fn fill_by_builtin(&mut self, memory: u32, to: Value, value: Value, len: Value) -> Value {
        let memory = self.memory_row(memory);
        let (to, len) = (self.extend(to), self.extend(len));
        self.call_builtin(Builtin::memory_fill, &[memory, to, value, len])[0]
    }

    /// Copies by the builtin; returns other than zero if that is out of bounds.
    pub(super) fn copy_by_builtin(
        &mut self,
        to_memory: u32,
        from_memory: u32,
        to: Value,
        from: Value,
        len: Value,
    ) -> Value {
        let (to_memory, from_memory) = (self.memory_row(to_memory), self.memory_row(from_memory));
        let (to, from, len) = (self.extend(to), self.extend(from), self.extend(len));
        self.call_builtin(Builtin::memory_copy, &[to_memory, from_memory, to, from, len])[0]
    }

    /// Pops offset in the memory, offset in the segment and length.
    pub(super) fn memory_init(&mut self, memory: u32, segment: u32) {
        let (to, from, len) = self.pop3();
        self.charge_bytes(len);
        let (memory, segment) = (self.memory_row(memory), self.i32(self.env.data[segment as usize].row));
        let to = self.extend(to);
        let arguments = [memory, segment, to, from, len];
        self.call_checked(Builtin::memory_init, &arguments, TrapCode::MemoryOutOfBounds);
    }

    fn table_fill(&mut self, table: u32) {
        let (to, value, len) = self.pop3();
        self.charge_elements(len);
        let table = self.table_row(table);
        let (to, len) = (self.extend(to), self.extend(len));
        self.call_checked(Builtin::table_fill, &[table, to, value, len], TrapCode::TableOutOfBounds);
    }

    fn table_copy(&mut self, to_table: u32, from_table: u32) {
        let (to, from, len) = self.pop3();
        self.charge_elements(len);
        let (to_table, from_table) = (self.table_row(to_table), self.table_row(from_table));
        let (to, from, len) = (self.extend(to), self.extend(from), self.extend(len));
        let arguments = [to_table, from_table, to, from, len];
        self.call_checked(Builtin::table_copy, &arguments, TrapCode::TableOutOfBounds);
    }

    /// Pops index in the table, index in the segment and length.
    pub(super) fn table_init(&mut self, table: u32, segment: u32) {
        let (to, from, len) = self.pop3();
        self.charge_elements(len);
        let (table, segment) = (self.table_row(table), self.i32(self.env.elements[segment as usize].row));
        let to = self.extend(to);
        self.call_checked(Builtin::table_init, &[table, segment, to, from, len], TrapCode::TableOutOfBounds);
    }

    /// Drops a segment: it is empty from now on.
    pub(super) fn drop_segment(&mut self, segment: SegmentPlace) {
        if let Some(len_word) = segment.len_word {
            let (zero, base, flags) = (self.i32(0), self.base, self.flags(Region::Sizes));
            self.ins().store(flags, zero, base, len_word);
        }
    }

    fn memory_row(&mut self, memory: u32) -> Value {
        self.i32(self.env.memories[memory as usize].row)
    }

    /// The row of a table, as an argument.
    pub(super) fn table_row(&mut self, table: u32) -> Value {
        self.i32(self.env.tables[table as usize].row)
    }

    /// Calls a builtin that returns other than zero to have a trap.
    pub(super) fn call_checked(&mut self, builtin: Builtin, arguments: &[Value], code: TrapCode) {
        let failed = self.call_builtin(builtin, arguments)[0];
        self.ins().trapnz(failed, trap_code(code));
    }
}
