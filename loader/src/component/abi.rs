//! Arithmetic of the Canonical ABI, for implementations of [`super::ComponentType`]: constant functions over sizes and
//! alignments in bytes.

use precast_abi::trap::TrapCode;

use super::fault::Fault;
use crate::HostError;

/// The next multiple of `align`, a power of two.
pub const fn align_to(offset: u32, align: u32) -> u32 {
    (offset + align - 1) & !(align - 1)
}

/// Size and alignment of a record of fields with these sizes and alignments.
pub const fn record_size(fields: &[(u32, u32)]) -> (u32, u32) {
    let (end, align) = (record_end(fields, fields.len()), record_align(fields));
    (align_to(end, align), align)
}

/// Offset of field `index` of such a record.
pub const fn record_offset(fields: &[(u32, u32)], index: usize) -> u32 {
    align_to(record_end(fields, index), fields[index].1)
}

/// Where the first `count` fields end.
const fn record_end(fields: &[(u32, u32)], count: usize) -> u32 {
    let mut end = 0;
    let mut at = 0;
    while at < count {
        end = align_to(end, fields[at].1) + fields[at].0;
        at += 1;
    }
    end
}

const fn record_align(fields: &[(u32, u32)]) -> u32 {
    let mut align = 1;
    let mut at = 0;
    while at < fields.len() {
        if fields[at].1 > align {
            align = fields[at].1;
        }
        at += 1;
    }
    align
}

/// Size (and alignment) of the discriminant of a variant with `cases` cases.
pub const fn discriminant_size(cases: usize) -> u32 {
    if cases <= 1 << 8 {
        1
    } else if cases <= 1 << 16 {
        2
    } else {
        4
    }
}

/// Size, alignment, and offset of the payload, of a variant with `cases` cases. `payloads` are those of cases that have
/// one.
pub const fn variant_layout(cases: usize, payloads: &[(u32, u32)]) -> (u32, u32, u32) {
    let discriminant = discriminant_size(cases);
    let payload_align = record_align(payloads);
    let align = if payload_align > discriminant { payload_align } else { discriminant };
    let offset = align_to(discriminant, payload_align);
    let mut size = 0;
    let mut at = 0;
    while at < payloads.len() {
        if payloads[at].0 > size {
            size = payloads[at].0;
        }
        at += 1;
    }
    (align_to(offset + size, align), align, offset)
}

/// Size and alignment of `count` flags. They are one number of that size, or of several 32-bit words.
pub const fn flags_layout(count: usize) -> (u32, u32) {
    match count {
        0..=8 => (1, 1),
        9..=16 => (2, 2),
        _ => (4 * flags_words(count) as u32, 4),
    }
}

/// Number of core values of `count` flags.
pub const fn flags_words(count: usize) -> usize {
    if count == 0 { 1 } else { count.div_ceil(32) }
}

/// The largest of the numbers of core values of a variant's payloads; a variant has one more, the discriminant.
pub const fn max_flat(payloads: &[usize]) -> usize {
    let mut most = 0;
    let mut at = 0;
    while at < payloads.len() {
        if payloads[at] > most {
            most = payloads[at];
        }
        at += 1;
    }
    most
}

/// The error of a discriminant that its type has no case for: fails the call with [`TrapCode::InvalidDiscriminant`].
#[cold]
pub fn invalid_discriminant() -> HostError {
    Fault::new(TrapCode::InvalidDiscriminant).into()
}

/// The discriminant in a core value, which has to be below `cases`.
///
/// # Errors
/// It is not.
pub fn discriminant(value: u64, cases: u32) -> Result<u32, HostError> {
    match value as u32 {
        value if value < cases => Ok(value),
        _ => Err(invalid_discriminant()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        assert_eq!(record_size(&[]), (0, 1));
        assert_eq!(record_size(&[(1, 1), (8, 8), (2, 2)]), (24, 8));
        assert_eq!(record_offset(&[(1, 1), (8, 8), (2, 2)], 1), 8);
        assert_eq!(record_offset(&[(1, 1), (8, 8), (2, 2)], 2), 16);
        assert_eq!(variant_layout(2, &[(8, 4)]), (12, 4, 4));
        assert_eq!(variant_layout(257, &[(1, 1)]), (4, 2, 2));
        assert_eq!(variant_layout(3, &[]), (1, 1, 1));
        assert_eq!(variant_layout(2, &[(8, 8), (1, 1)]), (16, 8, 8));
        assert_eq!((flags_layout(8), flags_layout(9), flags_layout(33)), ((1, 1), (2, 2), (8, 4)));
        assert_eq!(max_flat(&[1, 3, 2]), 3);
    }
}
