//! Where a function may trap and where it calls, and which WebAssembly instruction that is.
//!
//! A program has a site for nearly every memory access, so they are stored compactly: for each function a sequence of
//! `text delta (LEB128), code (one byte), wasm delta (zigzag LEB128)`, sorted by text offset. It is read only when a
//! trap is handled or printed, and then for one function at a time.

use alloc::vec::Vec;

/// [`Site::code`] of a call: `text_offset` is the return address.
pub const CALL: u8 = 0;

/// A place in a function's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Offset in bytes from the function's start: of the trapping instruction, or the return address of a call.
    pub text_offset: u32,
    /// A trap code (see [`crate::trap`]), or [`CALL`].
    pub code: u8,
    /// Offset in bytes of the WebAssembly instruction from the start of the module, or `u32::MAX` where there is none.
    pub wasm_offset: u32,
}

/// Encodes the sites of a function, which must be sorted by text offset.
pub fn encode(sites: impl IntoIterator<Item = Site>, out: &mut Vec<u8>) {
    let (mut text, mut wasm) = (0, 0u32);
    for site in sites {
        leb128(site.text_offset.wrapping_sub(text), out);
        out.push(site.code);
        let delta = site.wasm_offset.wrapping_sub(wasm) as i32;
        leb128((delta << 1 ^ delta >> 31) as u32, out);
        (text, wasm) = (site.text_offset, site.wasm_offset);
    }
}

/// Decodes what [`encode`] wrote. Stops at the first malformed byte. Allocates nothing, so a signal handler may use it.
pub fn decode(mut bytes: &[u8]) -> impl Iterator<Item = Site> + '_ {
    let (mut text, mut wasm) = (0u32, 0u32);
    core::iter::from_fn(move || {
        text = text.wrapping_add(read_leb128(&mut bytes)?);
        let (&code, rest) = bytes.split_first()?;
        bytes = rest;
        let zigzag = read_leb128(&mut bytes)?;
        wasm = wasm.wrapping_add(zigzag >> 1 ^ 0u32.wrapping_sub(zigzag & 1));
        Some(Site { text_offset: text, code, wasm_offset: wasm })
    })
}

fn leb128(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_leb128(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_round_trip() {
        let sites = [(0, CALL, 7), (5, 253, u32::MAX), (5, 1, 9), (70_000, 255, 3), (u32::MAX, CALL, 0x8000_0000)]
            .map(|(text_offset, code, wasm_offset)| Site { text_offset, code, wasm_offset });
        let mut bytes = Vec::new();
        encode(sites, &mut bytes);
        assert!(decode(&bytes).eq(sites));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).count() < sites.len());
        }
        assert_eq!(decode(&[0xff; 16]).count(), 0);
    }
}
