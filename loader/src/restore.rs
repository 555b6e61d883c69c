//! Writing over pages of which little has changed.
//!
//! Storing to a line of memory costs more than reading it once there are more lines than the first-level cache holds,
//! since others go to the next level for it. So a large write set is compared in pieces, of which only those are stored
//! that are not yet what they are to be. (Measured for 4 KiB with a few changed lines: 54 ns, where clearing them takes
//! 95 and copying them 118; within the cache it is 45 instead of 26.)

/// How to restore a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Store,
    Compare,
}

/// Bytes that are compared, and stored, at once.
const PIECE: usize = 256;

type Piece = [u64; PIECE / 8];

impl How {
    /// For a set of so many bytes.
    pub(crate) fn of_size(bytes: usize) -> How {
        // A good part of a first-level cache.
        if bytes <= 32 << 10 { How::Store } else { How::Compare }
    }

    /// Makes `len` bytes, whole pages, zero.
    ///
    /// # Safety
    /// They can be read and written, and nobody else does.
    #[inline]
    pub(crate) unsafe fn zero(self, to: *mut u8, len: usize) {
        // SAFETY: as the caller says.
        unsafe {
            match self {
                // Some processors take long for storing nothing to a page that cannot be written.
                _ if len == 0 => {}
                How::Store => to.write_bytes(0, len),
                How::Compare => widest::zero(to.cast(), len / PIECE),
            }
        }
    }

    /// Makes as many bytes, whole pages, what `from` is.
    ///
    /// # Safety
    /// They can be read and written, nobody else does, and they are not those of `from`.
    #[inline]
    pub(crate) unsafe fn copy(self, to: *mut u8, from: &[u8]) {
        // SAFETY: as the caller says.
        unsafe {
            match self {
                How::Store => to.copy_from_nonoverlapping(from.as_ptr(), from.len()),
                How::Compare => widest::copy(to.cast(), from.as_ptr().cast(), from.len() / PIECE),
            }
        }
    }
}

/// # Safety
/// As [`How::zero`].
#[inline(always)]
unsafe fn zero(to: *mut Piece, pieces: usize) {
    for index in 0..pieces {
        // SAFETY: as the caller says.
        unsafe {
            let to = to.add(index);
            if (*to).iter().fold(0, |all, word| all | word) != 0 {
                to.write([0; PIECE / 8]);
            }
        }
    }
}

/// # Safety
/// As [`How::copy`].
#[inline(always)]
unsafe fn copy(to: *mut Piece, from: *const Piece, pieces: usize) {
    for index in 0..pieces {
        // SAFETY: as the caller says.
        unsafe {
            let (to, from) = (to.add(index), from.add(index));
            let differences = (*to).iter().zip(&*from).fold(0, |all, (old, new)| all | (old ^ new));
            if differences != 0 {
                to.copy_from_nonoverlapping(from, 1);
            }
        }
    }
}

/// The same with the widest vectors that there may be.
#[cfg(target_arch = "x86_64")]
mod widest {
    use super::Piece;

    /// # Safety
    /// As [`super::How::zero`].
    pub(super) unsafe fn zero(to: *mut Piece, pieces: usize) {
        #[target_feature(enable = "avx2")]
        unsafe fn wide(to: *mut Piece, pieces: usize) {
            // SAFETY: as the caller says.
            unsafe { super::zero(to, pieces) }
        }
        // SAFETY: as the caller says; the processor has what the function needs.
        unsafe { if is_x86_feature_detected!("avx2") { wide(to, pieces) } else { super::zero(to, pieces) } }
    }

    /// # Safety
    /// As [`super::How::copy`].
    pub(super) unsafe fn copy(to: *mut Piece, from: *const Piece, pieces: usize) {
        #[target_feature(enable = "avx2")]
        unsafe fn wide(to: *mut Piece, from: *const Piece, pieces: usize) {
            // SAFETY: as the caller says.
            unsafe { super::copy(to, from, pieces) }
        }
        // SAFETY: as the caller says; the processor has what the function needs.
        unsafe { if is_x86_feature_detected!("avx2") { wide(to, from, pieces) } else { super::copy(to, from, pieces) } }
    }
}
#[cfg(not(target_arch = "x86_64"))]
use self as widest;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_what_it_is_to_be_and_nothing_else_changes() {
        const LEN: usize = 4 * PIECE;
        let from: Vec<u64> = (0..LEN as u64 / 8).collect();
        let bytes: Vec<u8> = from.iter().flat_map(|word| word.to_ne_bytes()).collect();
        for how in [How::Store, How::Compare] {
            for len in (0..=LEN).step_by(PIECE) {
                for changed in 0..LEN / 8 {
                    let mut words = [7; LEN / 8];
                    words[..len / 8].copy_from_slice(&from[..len / 8]);
                    words[changed] = u64::MAX;
                    // SAFETY: the array is as long, and borrowed for just this.
                    unsafe { how.copy(words.as_mut_ptr().cast(), &bytes[..len]) };
                    let rest = |at: usize| if at == changed { u64::MAX } else { 7 };
                    assert!((0..LEN / 8).all(|at| words[at] == if at < len / 8 { from[at] } else { rest(at) }));
                    words[..len / 8].fill(0);
                    words[changed] = u64::MAX;
                    // SAFETY: as above.
                    unsafe { how.zero(words.as_mut_ptr().cast(), len) };
                    assert!((0..LEN / 8).all(|at| words[at] == if at < len / 8 { 0 } else { rest(at) }));
                }
            }
        }
    }
}
