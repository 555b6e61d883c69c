//! Variants, which `enum`, `option` and `result` are too.
//!
//! Cases with payloads of one type share their code: an error with forty cases, most of them empty, takes a few blocks.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockCall, InstBuilder, JumpTableData, Value};
use precast_abi::component::Primitive;
use precast_abi::trap::TrapCode;
use precast_abi::types::ValType;

use super::super::signature::clif_type;
use super::super::translator::trap_code;
use super::shape::{Shape, align_to, discriminant_size};
use super::transfer::{Source, Target, Transfer};
use crate::Error;
use crate::component::linkage::Type;

impl Transfer<'_, '_, '_> {
    /// Moves a variant with these payloads.
    pub(super) fn variant(
        &mut self,
        cases: Vec<Option<Type>>,
        shape: &Shape,
        from: Source<'_>,
        mut to: Target<'_>,
    ) -> Result<(), Error> {
        let discriminant_bytes = discriminant_size(cases.len() as u64);
        let as_number = match discriminant_bytes {
            1 => Primitive::U8,
            2 => Primitive::U16,
            _ => Primitive::U32,
        };
        let case = self.load_scalar(as_number, from.part(0, 1, 0)?)?;
        let is_bad = self.t.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, case, cases.len() as i64);
        self.t.ins().trapnz(is_bad, trap_code(TrapCode::InvalidDiscriminant));
        self.store_scalar(as_number, case, &mut to.part(0));

        let payload_align = cases.iter().flatten().map(|ty| self.component.shapes.of(*ty).align).max().unwrap_or(1);
        let offset = align_to(discriminant_bytes, payload_align);
        let joined = shape.flat.as_deref().and_then(|flat| flat.get(1..)).unwrap_or_default();
        let from = from.part(1, joined.len(), offset)?;
        let mut to = to.part(offset);

        let mut payloads: Vec<Option<Type>> = Vec::new();
        let which = |case: &Option<Type>| match payloads.iter().position(|known| known == case) {
            Some(known) => known,
            None => {
                payloads.push(*case);
                payloads.len() - 1
            }
        };
        let of_case: Vec<usize> = cases.iter().map(which).collect();
        match payloads[..] {
            [] => Ok(()),
            [payload] => self.payload(payload, joined, from, &mut to),
            _ => self.branches(case, &of_case, &payloads, joined, from, to),
        }
    }

    /// Moves one of several payloads; `of_case` says which of them each case has.
    fn branches(
        &mut self,
        case: Value,
        of_case: &[usize],
        payloads: &[Option<Type>],
        joined: &[ValType],
        from: Source<'_>,
        mut to: Target<'_>,
    ) -> Result<(), Error> {
        let blocks: Vec<Block> = payloads.iter().map(|_| self.t.builder.create_block()).collect();
        let join = self.t.builder.create_block();
        match of_case[..] {
            [first, second] => {
                self.t.ins().brif(case, blocks[second], &[], blocks[first], &[]);
            }
            _ => {
                let lists = &mut self.t.builder.func.dfg.value_lists;
                let mut call = |payload: &usize| BlockCall::new(blocks[*payload], [], lists);
                let calls: Vec<BlockCall> = of_case.iter().map(&mut call).collect();
                // The discriminant is in range, so that the default is never taken.
                let table = JumpTableData::new(call(&0), &calls);
                let table = self.t.builder.create_jump_table(table);
                self.t.ins().br_table(case, table);
            }
        }
        for (payload, block) in payloads.iter().zip(blocks) {
            self.t.enter(block);
            let values = match &mut to {
                Target::Memory(place) => {
                    let mut to = Target::Memory(*place);
                    self.conditionally(|transfer| transfer.payload(*payload, joined, from, &mut to))?;
                    Vec::new()
                }
                Target::Flat(_) => {
                    let mut values = Vec::new();
                    let mut to = Target::Flat(&mut values);
                    self.conditionally(|transfer| transfer.payload(*payload, joined, from, &mut to))?;
                    values
                }
            };
            self.t.jump_to(join, &values);
        }
        if let Target::Flat(values) = to {
            for ty in joined {
                values.push(self.t.builder.append_block_param(join, clif_type(*ty)));
            }
        }
        self.t.enter(join);
        Ok(())
    }

    /// Moves a payload, whose core values are among those that the variant's cases share.
    fn payload(
        &mut self,
        payload: Option<Type>,
        joined: &[ValType],
        from: Source<'_>,
        to: &mut Target<'_>,
    ) -> Result<(), Error> {
        let flat = payload.and_then(|ty| self.component.shapes.of(ty).flat.as_deref()).unwrap_or_default();
        let lifted: Vec<Value> = match from {
            Source::Flat(values) => values.iter().zip(flat).map(|(value, ty)| self.coerce(*value, *ty)).collect(),
            Source::Memory(_) => Vec::new(),
        };
        let from = match from {
            Source::Flat(_) => Source::Flat(&lifted),
            memory => memory,
        };
        match to {
            Target::Memory(place) => match payload {
                Some(ty) => self.value(ty, from, Target::Memory(*place)),
                None => Ok(()),
            },
            Target::Flat(values) => {
                let mut lowered = Vec::new();
                if let Some(ty) = payload {
                    self.value(ty, from, Target::Flat(&mut lowered))?;
                }
                for (index, ty) in joined.iter().enumerate() {
                    let value = match lowered.get(index) {
                        Some(value) => self.coerce(*value, *ty),
                        None => self.zero(*ty),
                    };
                    values.push(value);
                }
                Ok(())
            }
        }
    }

    fn zero(&mut self, ty: ValType) -> Value {
        let ins = self.t.ins();
        match ty {
            ValType::F32 => ins.f32const(0.0),
            ValType::F64 => ins.f64const(0.0),
            other => ins.iconst(clif_type(other), 0),
        }
    }
}
