//! Types from the tables, checked, and their layouts.

use std::ops::Range;

use precast_abi::bytes::{Field, Span};
use precast_abi::component::{ComponentFuncRow, ComponentTypeRow, MemberRow, Primitive, TypeKind, TypeRef};
use precast_abi::meta::{Meta, NONE};

use super::{Def, FLAT_LIMIT, Func, Layout, MAX_DEPTH, Member, row_of};
use crate::component::abi;
use crate::plan::Malformed;

pub(super) const DAMAGED: Malformed = Malformed("a component type is out of range");

pub(super) struct Decoder<'a> {
    pub(super) meta: &'a Meta<'a>,
    pub(super) defs: Vec<Def>,
    pub(super) members: Vec<Member>,
    pub(super) resources: usize,
}

impl Decoder<'_> {
    pub(super) fn def(&mut self, row: &ComponentTypeRow) -> Result<Def, Malformed> {
        use TypeKind::*;
        let kind = TypeKind::from_raw(row.kind).ok_or(DAMAGED)?;
        let members = self.members(row.members)?;
        let typed = |(_, ty): &Member| ty.is_some();
        let untyped = |(_, ty): &Member| ty.is_none();
        let (first, second) = (row.first, row.second);
        let list = &self.members[members.clone()];
        let sound = match kind {
            Record | Tuple => !list.is_empty() && list.iter().all(typed),
            Variant => !list.is_empty(),
            Flags | Enum => !list.is_empty() && list.iter().all(untyped),
            List | Option => self.known(first),
            FixedList => self.known(first) && second > 0,
            Result => (first == NONE || self.known(first)) && (second == NONE || self.known(second)),
            Own | Borrow => (first as usize) < self.resources,
            Map => self.known(first) && self.known(second),
        };
        if !sound {
            return Err(DAMAGED);
        }
        let mut parts: Vec<TypeRef> = list.iter().filter_map(|(_, ty)| *ty).collect();
        match kind {
            List | FixedList | Option => parts.push(first),
            Result | Map => parts.extend([first, second].into_iter().filter(|part| *part != NONE)),
            _ => {}
        }
        let depth =
            1 + parts.iter().filter_map(|part| self.defs.get(row_of(*part)?)).map(|def| def.depth).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(Malformed("a component type is nested too deeply"));
        }
        let layouts: Vec<Layout> =
            parts.iter().map(|part| layout(&self.defs, *part)).collect::<std::option::Option<_>>().ok_or(DAMAGED)?;
        let layout = layout_of(kind, second, list.len(), &layouts).ok_or(Malformed("a component type is too large"))?;
        Ok(Def { kind, first, second, members, layout, depth })
    }

    pub(super) fn func(&mut self, row: &ComponentFuncRow) -> Result<Func, Malformed> {
        let params = self.members(row.params)?;
        let result = (row.result != NONE).then_some(row.result);
        if self.members[params.clone()].iter().any(|(_, ty)| ty.is_none()) || result.is_some_and(|ty| !self.known(ty)) {
            return Err(DAMAGED);
        }
        let layout = |ty| layout(&self.defs, ty);
        let parts: Option<Vec<Layout>> = self.members[params.clone()].iter().map(|(_, ty)| layout((*ty)?)).collect();
        let parts = parts.and_then(|parts| record(&parts)).zip(result.map_or(Some(Layout::NOTHING), layout));
        let layout = parts.ok_or(Malformed("the parameters of a function are too large"))?;
        Ok(Func { params, result, layout })
    }

    fn members(&mut self, span: Span) -> Result<Range<usize>, Malformed> {
        let bytes = self.meta.bytes(span).filter(|bytes| bytes.len().is_multiple_of(MemberRow::SIZE)).ok_or(DAMAGED)?;
        let start = self.members.len();
        for row in bytes.chunks_exact(MemberRow::SIZE).map(MemberRow::decode) {
            let name = self.meta.str(row.name).ok_or(DAMAGED)?;
            if row.ty != NONE && !self.known(row.ty) {
                return Err(DAMAGED);
            }
            self.members.push((name.into(), (row.ty != NONE).then_some(row.ty)));
        }
        Ok(start..self.members.len())
    }

    /// Whether a reference is to a primitive or an earlier row.
    fn known(&self, ty: TypeRef) -> bool {
        match row_of(ty) {
            Some(row) => row < self.defs.len(),
            None => (ty as usize) < Primitive::ALL.len(),
        }
    }
}

pub(super) fn layout(defs: &[Def], ty: TypeRef) -> Option<Layout> {
    use Primitive::*;
    if let Some(row) = row_of(ty) {
        return defs.get(row).map(|def| def.layout);
    }
    let (size, flat) = match *Primitive::ALL.get(ty as usize)? {
        Bool | S8 | U8 => (1, 1),
        S16 | U16 => (2, 1),
        S32 | U32 | F32 | Char => (4, 1),
        S64 | U64 | F64 => (8, 1),
        String => return Some(Layout { size: 8, align: 4, flat: 2 }),
    };
    Some(Layout { size, align: size, flat })
}

/// The layout of a type with `cases` members and these `parts`; `None` if it is larger than any memory.
fn layout_of(kind: TypeKind, count: u32, cases: usize, parts: &[Layout]) -> Option<Layout> {
    use TypeKind::*;
    match kind {
        Record | Tuple => record(parts),
        Variant | Enum => variant(cases, parts),
        Option | Result => variant(2, parts),
        List | Map => Some(Layout { size: 8, align: 4, flat: 2 }),
        FixedList => {
            let element = parts.first()?;
            Some(Layout {
                size: element.size.checked_mul(count)?,
                align: element.align,
                flat: element.flat.saturating_mul(count).min(FLAT_LIMIT),
            })
        }
        Flags => {
            let (size, align) = abi::flags_layout(cases);
            Some(Layout { size, align, flat: (abi::flags_words(cases) as u32).min(FLAT_LIMIT) })
        }
        Own | Borrow => Some(Layout { size: 4, align: 4, flat: 1 }),
    }
}

fn record(fields: &[Layout]) -> Option<Layout> {
    let (mut end, mut align, mut flat) = (0u32, 1, 0u32);
    for field in fields {
        end = aligned(end, field.align)?.checked_add(field.size)?;
        align = align.max(field.align);
        flat = (flat + field.flat).min(FLAT_LIMIT);
    }
    Some(Layout { size: aligned(end, align)?, align, flat })
}

fn variant(cases: usize, payloads: &[Layout]) -> Option<Layout> {
    let discriminant = abi::discriminant_size(cases);
    let payload_align = payloads.iter().map(|payload| payload.align).max().unwrap_or(1);
    let align = payload_align.max(discriminant);
    let size = payloads.iter().map(|payload| payload.size).max().unwrap_or(0);
    let flat = payloads.iter().map(|payload| payload.flat).max().unwrap_or(0);
    let end = aligned(discriminant, payload_align)?.checked_add(size)?;
    Some(Layout { size: aligned(end, align)?, align, flat: (1 + flat).min(FLAT_LIMIT) })
}

fn aligned(offset: u32, align: u32) -> Option<u32> {
    offset.checked_next_multiple_of(align)
}
