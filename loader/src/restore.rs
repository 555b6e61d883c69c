//! Writing over memory of which little has changed.
//!
//! Processors read more lines of memory at once than they store. So what is to be zero is compared in pieces, of which only
//! those are stored that are not yet: 19 ns for 4 KiB, where clearing them takes 36 in the first-level cache and 60 beyond.
//! What is to be a copy has to be read twice for that, which pays beyond the first-level cache only.

use precast_abi::slot::ALIGN;

/// How to restore what is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Store,
    Compare,
}

/// Words that are compared, and stored, at once.
const PIECE: usize = 32;

/// The same for what is left.
const LINE: usize = ALIGN as usize / 8;

impl How {
    /// For a set of so many bytes.
    pub(crate) fn of_size(bytes: usize) -> How {
        // A good part of a first-level cache.
        if bytes <= 32 << 10 { How::Store } else { How::Compare }
    }

    /// Makes bytes, a multiple of [`ALIGN`], what `from` is. Whether they were something else, or may have been.
    ///
    /// # Safety
    /// They can be read and written, nobody else does, they are aligned to words, and they are not those of `from`.
    #[inline]
    pub(crate) unsafe fn copy(self, to: *mut u8, from: &[u8]) -> bool {
        debug_assert!(from.len().is_multiple_of(ALIGN as usize));
        // SAFETY: as the caller says.
        unsafe {
            match self {
                How::Store => {
                    to.copy_from_nonoverlapping(from.as_ptr(), from.len());
                    true
                }
                How::Compare => widest::copy(to.cast(), from.as_ptr().cast(), from.len() / 8),
            }
        }
    }
}

/// Makes `len` bytes, a multiple of [`ALIGN`], zero. Whether they were something else.
///
/// # Safety
/// They can be read and written, nobody else does, and they are aligned to words.
#[inline]
pub(crate) unsafe fn zero(to: *mut u8, len: usize) -> bool {
    debug_assert!(len.is_multiple_of(ALIGN as usize));
    // SAFETY: as the caller says.
    unsafe { widest::zero(to.cast(), len / 8) }
}

/// # Safety
/// As [`zero`]; the number is of words.
#[inline(always)]
unsafe fn zero_words(to: *mut u64, len: usize) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let pieces = len / PIECE;
        zero_pieces::<PIECE>(to, pieces) | zero_pieces::<LINE>(to.add(pieces * PIECE), len % PIECE / LINE)
    }
}

/// # Safety
/// As [`zero`], for so many pieces of `N` words.
#[inline(always)]
unsafe fn zero_pieces<const N: usize>(to: *mut u64, pieces: usize) -> bool {
    let mut changed = false;
    for index in 0..pieces {
        // SAFETY: as the caller says.
        unsafe {
            let to = to.add(index * N).cast::<[u64; N]>();
            if (*to).iter().fold(0, |all, word| all | word) != 0 {
                to.write([0; N]);
                changed = true;
            }
        }
    }
    changed
}

/// # Safety
/// As [`How::copy`]; the number is of words, which need not be aligned in `from`.
#[inline(always)]
unsafe fn copy_words(to: *mut u64, from: *const u64, len: usize) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let (pieces, done) = (len / PIECE, len / PIECE * PIECE);
        copy_pieces::<PIECE>(to, from, pieces) | copy_pieces::<LINE>(to.add(done), from.add(done), len % PIECE / LINE)
    }
}

/// # Safety
/// As [`copy_words`], for so many pieces of `N` words.
#[inline(always)]
unsafe fn copy_pieces<const N: usize>(to: *mut u64, from: *const u64, pieces: usize) -> bool {
    let mut changed = false;
    for index in 0..pieces {
        // SAFETY: as the caller says.
        unsafe {
            let to = to.add(index * N).cast::<[u64; N]>();
            let from = from.add(index * N).cast::<[u64; N]>().read_unaligned();
            let differences = (*to).iter().zip(&from).fold(0, |all, (old, new)| all | (old ^ new));
            if differences != 0 {
                to.write(from);
                changed = true;
            }
        }
    }
    changed
}

/// The same with the widest vectors that there may be.
#[cfg(target_arch = "x86_64")]
mod widest {
    /// # Safety
    /// As [`super::zero_words`].
    #[inline]
    pub(super) unsafe fn zero(to: *mut u64, len: usize) -> bool {
        #[target_feature(enable = "avx2")]
        unsafe fn wide(to: *mut u64, len: usize) -> bool {
            // SAFETY: as the caller says.
            unsafe { super::zero_words(to, len) }
        }
        // SAFETY: as the caller says; the processor has what the function needs.
        unsafe { if is_x86_feature_detected!("avx2") { wide(to, len) } else { super::zero_words(to, len) } }
    }

    /// # Safety
    /// As [`super::copy_words`].
    pub(super) unsafe fn copy(to: *mut u64, from: *const u64, len: usize) -> bool {
        #[target_feature(enable = "avx2")]
        unsafe fn wide(to: *mut u64, from: *const u64, len: usize) -> bool {
            // SAFETY: as the caller says.
            unsafe { super::copy_words(to, from, len) }
        }
        // SAFETY: as the caller says; the processor has what the function needs.
        unsafe { if is_x86_feature_detected!("avx2") { wide(to, from, len) } else { super::copy_words(to, from, len) } }
    }
}
#[cfg(not(target_arch = "x86_64"))]
mod widest {
    pub(super) use super::{copy_words as copy, zero_words as zero};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_what_it_is_to_be_and_nothing_else_changes() {
        const LEN: usize = 3 * PIECE;
        let from: Vec<u64> = (1..=LEN as u64).collect();
        let bytes: Vec<u8> = from.iter().flat_map(|word| word.to_ne_bytes()).collect();
        for how in [How::Store, How::Compare] {
            for len in (0..=LEN).step_by(LINE) {
                for different in 0..LEN {
                    let mut words = [7; LEN];
                    words[..len].copy_from_slice(&from[..len]);
                    words[different] = u64::MAX;
                    // SAFETY: the array is as long, and borrowed for just this.
                    let changed = unsafe { how.copy(words.as_mut_ptr().cast(), &bytes[..8 * len]) };
                    assert_eq!(changed, different < len || how == How::Store);
                    let rest = |at: usize| if at == different { u64::MAX } else { 7 };
                    assert!((0..LEN).all(|at| words[at] == if at < len { from[at] } else { rest(at) }));
                    words[..len].fill(0);
                    words[different] = u64::MAX;
                    // SAFETY: as above.
                    let changed = unsafe { zero(words.as_mut_ptr().cast(), 8 * len) };
                    assert_eq!(changed, different < len);
                    assert!((0..LEN).all(|at| words[at] == if at < len { 0 } else { rest(at) }));
                }
            }
        }
    }
}
