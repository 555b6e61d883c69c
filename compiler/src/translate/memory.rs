//! Loads and stores; `memory.size` and `memory.grow`.
//!
//! An access to a guarded memory is one instruction: whatever 32-bit index and folded offset the guest chooses, the
//! address lies in the reservation, and what is beyond the current size faults.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use cranelift_frontend::FuncInstBuilder;
use precast_abi::host::MemoryImport;
use precast_abi::meta::MemoryModel;
use precast_abi::slot::{GUARDED_OFFSET_LIMIT, WASM_PAGE};
use precast_abi::trap::TrapCode;
use precast_builtins::Builtin;
use wasmparser::{MemArg, Operator};

use super::translator::{FuncTranslator, Region, trap_code};
use crate::program::{Memory, MemoryPlace};

/// Where a load or store goes.
#[derive(Clone, Copy)]
pub(super) struct HeapAccess {
    /// A native address, to which the offset is added.
    pub(super) address: Value,
    /// Added to the address.
    pub(super) offset: Offset32,
    /// Alignment, region and trap code.
    pub(super) flags: MemFlagsData,
}

/// Translates the operator if it is one of this family.
pub(super) fn operator(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    load(t, op) || store(t, op) || size(t, op)
}

fn load(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::I32Load { memarg } if t.load_is_address => {
            t.load(memarg, 4, |ins, at| ins.uload32(at.flags, at.address, at.offset));
            t.narrow_loaded();
        }
        Operator::I32Load { memarg } => t.load(memarg, 4, |ins, at| ins.load(I32, at.flags, at.address, at.offset)),
        Operator::I64Load { memarg } => t.load(memarg, 8, |ins, at| ins.load(I64, at.flags, at.address, at.offset)),
        Operator::F32Load { memarg } => t.load(memarg, 4, |ins, at| ins.load(F32, at.flags, at.address, at.offset)),
        Operator::F64Load { memarg } => t.load(memarg, 8, |ins, at| ins.load(F64, at.flags, at.address, at.offset)),
        Operator::I32Load8S { memarg } => t.load(memarg, 1, |ins, at| ins.sload8(I32, at.flags, at.address, at.offset)),
        Operator::I32Load8U { memarg } => t.load(memarg, 1, |ins, at| ins.uload8(I32, at.flags, at.address, at.offset)),
        Operator::I32Load16S { memarg } => {
            t.load(memarg, 2, |ins, at| ins.sload16(I32, at.flags, at.address, at.offset))
        }
        Operator::I32Load16U { memarg } => {
            t.load(memarg, 2, |ins, at| ins.uload16(I32, at.flags, at.address, at.offset))
        }
        Operator::I64Load8S { memarg } => t.load(memarg, 1, |ins, at| ins.sload8(I64, at.flags, at.address, at.offset)),
        Operator::I64Load8U { memarg } => t.load(memarg, 1, |ins, at| ins.uload8(I64, at.flags, at.address, at.offset)),
        Operator::I64Load16S { memarg } => {
            t.load(memarg, 2, |ins, at| ins.sload16(I64, at.flags, at.address, at.offset))
        }
        Operator::I64Load16U { memarg } => {
            t.load(memarg, 2, |ins, at| ins.uload16(I64, at.flags, at.address, at.offset))
        }
        Operator::I64Load32S { memarg } => t.load(memarg, 4, |ins, at| ins.sload32(at.flags, at.address, at.offset)),
        Operator::I64Load32U { memarg } => t.load(memarg, 4, |ins, at| ins.uload32(at.flags, at.address, at.offset)),
        _ => return false,
    }
    true
}

fn store(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    let (memarg, size) = match op {
        Operator::I32Store8 { memarg } | Operator::I64Store8 { memarg } => (memarg, 1),
        Operator::I32Store16 { memarg } | Operator::I64Store16 { memarg } => (memarg, 2),
        Operator::I32Store { memarg } | Operator::F32Store { memarg } | Operator::I64Store32 { memarg } => (memarg, 4),
        Operator::I64Store { memarg } | Operator::F64Store { memarg } => (memarg, 8),
        _ => return false,
    };
    let value = t.pop();
    let HeapAccess { address, offset, flags } = t.heap_access(memarg, size);
    match op {
        Operator::I32Store8 { .. } | Operator::I64Store8 { .. } => t.ins().istore8(flags, value, address, offset),
        Operator::I32Store16 { .. } | Operator::I64Store16 { .. } => t.ins().istore16(flags, value, address, offset),
        Operator::I64Store32 { .. } => t.ins().istore32(flags, value, address, offset),
        _ => t.ins().store(flags, value, address, offset),
    };
    true
}

fn size(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match op {
        Operator::MemorySize { mem } => t.memory_size(*mem),
        Operator::MemoryGrow { mem } => t.memory_grow(*mem),
        _ => return false,
    }
    true
}

impl<'a> FuncTranslator<'a> {
    fn load(&mut self, memarg: &MemArg, size: u8, make: impl FnOnce(FuncInstBuilder<'_, 'a>, HeapAccess) -> Value) {
        let access = self.heap_access(memarg, size);
        let value = make(self.ins(), access);
        self.push(value);
    }

    /// Pops the index and makes the address of an access to `size` bytes, checked as the memory's model demands.
    pub(super) fn heap_access(&mut self, memarg: &MemArg, size: u8) -> HeapAccess {
        let memory = self.env.memories[memarg.memory as usize];
        let index = self.pop();
        let index = self.extend(index);
        let folded = i32::try_from(memarg.offset).ok().filter(|_| memarg.offset < GUARDED_OFFSET_LIMIT);
        if memory.model == MemoryModel::Checked || folded.is_none() {
            // Index and offset are below 2^32 each, so that this cannot overflow.
            let end = self.ins().iadd_imm_u(index, (memarg.offset + u64::from(size)).cast_signed());
            let bytes = self.memory_bytes(&memory);
            let outside = self.ins().icmp(IntCC::UnsignedGreaterThan, end, bytes);
            self.ins().trapnz(outside, trap_code(TrapCode::MemoryOutOfBounds));
        }
        let (start, region) = self.memory_start(&memory);
        let address = self.ins().iadd(start, index);
        let (address, offset) = match folded {
            Some(offset) => (address, offset),
            None => (self.ins().iadd_imm_u(address, memarg.offset.cast_signed()), 0),
        };
        HeapAccess { address, offset: Offset32::new(offset), flags: self.heap_flags(region) }
    }

    /// The native address of a memory's first byte.
    pub(super) fn memory_start(&mut self, memory: &Memory) -> (Value, Region) {
        match memory.place {
            MemoryPlace::Own { start: 0, .. } => (self.base, Region::Memory),
            MemoryPlace::Own { start, .. } => {
                let base = self.base;
                (self.ins().iadd_imm_s(base, start), Region::Memory)
            }
            MemoryPlace::Imported { cell } => (self.host_word(cell + MemoryImport::BASE), Region::ImportedMemories),
        }
    }

    /// A memory's current size in bytes.
    pub(super) fn memory_bytes(&mut self, memory: &Memory) -> Value {
        let (address, offset, region) = match memory.place {
            MemoryPlace::Own { size_word, .. } => (self.base, size_word, Region::Sizes),
            MemoryPlace::Imported { cell } => {
                (self.host_word(cell + MemoryImport::SIZE_WORD), 0, Region::ImportedSizes)
            }
        };
        let flags = self.flags(region);
        self.ins().load(I64, flags, address, offset)
    }

    fn memory_size(&mut self, memory: u32) {
        let memory = self.env.memories[memory as usize];
        let bytes = self.memory_bytes(&memory);
        let pages = self.ins().ushr_imm_u(bytes, i64::from(WASM_PAGE.trailing_zeros()));
        let pages = self.ins().ireduce(I32, pages);
        self.push(pages);
    }

    fn memory_grow(&mut self, memory: u32) {
        let row = self.env.memories[memory as usize].row;
        let delta = self.pop();
        let (row, delta) = (self.i32(row), self.extend(delta));
        let old = self.call_builtin(Builtin::memory_grow, &[row, delta])[0];
        let old = self.ins().ireduce(I32, old);
        self.push(old);
    }
}
