//! Which operators are compiled, and which proposals have the others.

use wasmparser::{BlockType, HeapType, Operator, RefType};

use super::signature::value_type;
use crate::parse::{proposal, val_type_of_ref};

/// The proposal that has the operator, if it is not compiled yet.
pub(super) fn missing(op: &Operator<'_>) -> Option<&'static str> {
    proposal_of(op).or_else(|| match op {
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => match blockty {
            BlockType::Type(ty) => value_type(*ty).err(),
            // The module is refused for its types before its functions are translated.
            BlockType::Empty | BlockType::FuncType(_) => None,
        },
        Operator::TypedSelect { ty } => value_type(*ty).err(),
        Operator::RefNull { hty } => heap_type(*hty).err(),
        _ => None,
    })
}

fn heap_type(ty: HeapType) -> Result<(), &'static str> {
    let ty = RefType::new(true, ty).ok_or(proposal::GC)?;
    val_type_of_ref(ty).map(drop)
}

macro_rules! define_proposal_of {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
        fn proposal_of(op: &Operator<'_>) -> Option<&'static str> {
            match op {
                $(Operator::$op { .. } => group::$proposal,)*
                _ => Some("something newer than this compiler"),
            }
        }
    };
}
wasmparser::for_each_operator!(define_proposal_of);

/// wasmparser's groups of operators: `None` for those that are compiled, else the name of the proposal.
#[allow(non_upper_case_globals, reason = "the names are wasmparser's")]
mod group {
    use crate::parse::proposal;

    type Group = Option<&'static str>;

    pub(super) const mvp: Group = None;
    pub(super) const sign_extension: Group = None;
    pub(super) const saturating_float_to_int: Group = None;
    pub(super) const bulk_memory: Group = None;
    pub(super) const reference_types: Group = None;
    pub(super) const tail_call: Group = None;
    pub(super) const simd: Group = None;

    pub(super) const gc: Group = Some(proposal::GC);
    pub(super) const custom_descriptors: Group = Some("custom descriptors");
    pub(super) const memory_control: Group = Some("memory control");
    pub(super) const threads: Group = Some(proposal::THREADS);
    pub(super) const relaxed_simd: Group = Some("relaxed SIMD");
    pub(super) const exceptions: Group = Some(proposal::EXCEPTIONS);
    pub(super) const legacy_exceptions: Group = Some("legacy exception handling");
    pub(super) const shared_everything_threads: Group = Some("shared-everything threads");
    pub(super) const function_references: Group = Some(proposal::FUNCTION_REFERENCES);
    pub(super) const stack_switching: Group = Some("stack switching");
    pub(super) const wide_arithmetic: Group = Some("wide arithmetic");
}
