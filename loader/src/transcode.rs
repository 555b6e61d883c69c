//! Text from one encoding to another, for strings that cross from one component instance to another.
//!
//! What comes in: bytes of the source, and room in the destination that is large enough for the longest result. What
//! goes out: how much was written, or `None` if the source is invalid or the room too small. UTF-16 is little-endian,
//! and no alignment is assumed.

/// In the result of [`utf8_to_latin1`] and [`utf16_to_latin1`]: it stopped at a character that Latin-1 does not have.
const STOPPED: u64 = 1 << 32;

/// Whether the bytes are UTF-8.
pub(crate) fn check_utf8(bytes: &[u8]) -> Option<()> {
    std::str::from_utf8(bytes).ok().map(drop)
}

/// Copies UTF-16; 1 if any unit is above 255, else 0.
pub(crate) fn utf16_copy(from: &[u8], to: &mut [u8]) -> Option<u64> {
    let all = units(from).fold(0, |all, unit| all | unit);
    if all >= 0xd800 {
        check_utf16(from)?;
    }
    to.get_mut(..from.len())?.copy_from_slice(from);
    Some(u64::from(all > 0xff))
}

/// Writes the units before the first that is not ASCII as bytes; how many.
pub(crate) fn utf16_to_ascii(from: &[u8], to: &mut [u8]) -> Option<u64> {
    narrow(from, to, 0x7f)
}

/// Writes UTF-8; how many bytes.
pub(crate) fn utf16_to_utf8(from: &[u8], to: &mut [u8]) -> Option<u64> {
    write_utf8(char::decode_utf16(units(from)).map(Result::ok), to)
}

/// Writes Latin-1 up to the first character that it does not have; how many bytes, and [`STOPPED`]. All of the source is
/// checked nevertheless.
pub(crate) fn utf16_to_latin1(from: &[u8], to: &mut [u8]) -> Option<u64> {
    let done = narrow(from, to, 0xff)?;
    if done == from.len() as u64 / 2 {
        return Some(done);
    }
    check_utf16(from)?;
    Some(done | STOPPED)
}

/// Writes UTF-16; how many units.
pub(crate) fn utf8_to_utf16(from: &[u8], to: &mut [u8]) -> Option<u64> {
    let text = std::str::from_utf8(from).ok()?;
    if text.is_ascii() {
        return latin1_to_utf16(from, to);
    }
    let mut count = 0;
    let mut room = to.chunks_exact_mut(2);
    for unit in text.encode_utf16() {
        room.next()?.copy_from_slice(&unit.to_le_bytes());
        count += 1;
    }
    Some(count)
}

/// Writes Latin-1 up to the first character that it does not have; how many bytes, and [`STOPPED`]. All of the source is
/// checked nevertheless.
pub(crate) fn utf8_to_latin1(from: &[u8], to: &mut [u8]) -> Option<u64> {
    let text = std::str::from_utf8(from).ok()?;
    if text.is_ascii() {
        to.get_mut(..from.len())?.copy_from_slice(from);
        return Some(from.len() as u64);
    }
    let mut room = to.iter_mut();
    let mut count = 0;
    for character in text.chars() {
        let Ok(byte) = u8::try_from(u32::from(character)) else { return Some(count | STOPPED) };
        *room.next()? = byte;
        count += 1;
    }
    Some(count)
}

/// Writes UTF-8; how many bytes.
pub(crate) fn latin1_to_utf8(from: &[u8], to: &mut [u8]) -> Option<u64> {
    write_utf8(from.iter().map(|byte| Some(char::from(*byte))), to)
}

/// Writes UTF-16; how many units.
pub(crate) fn latin1_to_utf16(from: &[u8], to: &mut [u8]) -> Option<u64> {
    let to = to.get_mut(..2 * from.len())?;
    for (byte, unit) in from.iter().zip(to.chunks_exact_mut(2)) {
        unit.copy_from_slice(&u16::from(*byte).to_le_bytes());
    }
    Some(from.len() as u64)
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
}

fn check_utf16(bytes: &[u8]) -> Option<()> {
    char::decode_utf16(units(bytes)).all(|character| character.is_ok()).then_some(())
}

/// Writes the units before the first above `max`, which is less than 256, as bytes; how many.
fn narrow(from: &[u8], to: &mut [u8], max: u16) -> Option<u64> {
    let to = to.get_mut(..from.len() / 2)?;
    let mut count = 0;
    for (unit, byte) in units(from).zip(to) {
        if unit > max {
            break;
        }
        *byte = unit as u8;
        count += 1;
    }
    Some(count)
}

fn write_utf8(characters: impl Iterator<Item = Option<char>>, to: &mut [u8]) -> Option<u64> {
    let mut done = 0;
    for character in characters {
        let character = character?;
        let room = to.get_mut(done..done + character.len_utf8())?;
        character.encode_utf8(room);
        done += character.len_utf8();
    }
    Some(done as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 6] = ["", "plain", "h\u{e9}llo \u{ff}", "\u{100}", "snow \u{2603} man", "\u{1f600}!\u{10ffff}"];

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// What `convert` writes into `per_unit` bytes for each of `units`, as bytes of `result_unit`.
    fn run(
        convert: impl Fn(&[u8], &mut [u8]) -> Option<u64>,
        from: &[u8],
        room: usize,
        result_unit: usize,
    ) -> Option<Vec<u8>> {
        let mut to = vec![0xaa; room];
        let count = convert(from, &mut to)?;
        to.truncate(count as u32 as usize * result_unit);
        Some(to)
    }

    #[test]
    fn text_survives_every_way() {
        for text in TEXTS {
            let (utf8, utf16) = (text.as_bytes(), utf16(text));
            assert_eq!(check_utf8(utf8), Some(()));
            assert_eq!(run(utf8_to_utf16, utf8, 2 * utf8.len(), 2), Some(utf16.clone()), "{text}");
            assert_eq!(run(utf16_to_utf8, &utf16, 3 * utf16.len() / 2, 1).as_deref(), Some(utf8), "{text}");
            let mut copy = vec![0; utf16.len()];
            let is_wide = text.chars().any(|character| u32::from(character) > 0xff);
            assert_eq!(utf16_copy(&utf16, &mut copy), Some(is_wide.into()), "{text}");
            assert_eq!(copy, utf16);

            let latin1: Vec<u8> = text.chars().map_while(|character| u8::try_from(u32::from(character)).ok()).collect();
            let expected = latin1.len() as u64 | if is_wide { STOPPED } else { 0 };
            let mut to = vec![0; utf8.len()];
            assert_eq!(utf8_to_latin1(utf8, &mut to), Some(expected), "{text}");
            assert_eq!(to[..latin1.len()], latin1);
            let mut to = vec![0; utf16.len() / 2];
            assert_eq!(utf16_to_latin1(&utf16, &mut to), Some(expected), "{text}");
            assert_eq!(to[..latin1.len()], latin1);
            if !is_wide {
                assert_eq!(run(latin1_to_utf8, &latin1, 2 * latin1.len(), 1).as_deref(), Some(utf8), "{text}");
                assert_eq!(run(latin1_to_utf16, &latin1, 2 * latin1.len(), 2), Some(utf16), "{text}");
            }
        }
    }

    #[test]
    fn ascii_ends_where_it_ends() {
        let mut to = [0; 4];
        assert_eq!(utf16_to_ascii(&utf16("ab\u{80}c"), &mut to), Some(2));
        assert_eq!(to, *b"ab\0\0");
        assert_eq!(utf16_to_ascii(&utf16("abcd"), &mut to), Some(4));
    }

    #[test]
    fn invalid_text_is_refused() {
        let mut to = [0; 64];
        for bytes in [&b"\xff"[..], b"abc\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"] {
            assert_eq!(check_utf8(bytes), None);
            assert_eq!(utf8_to_utf16(bytes, &mut to), None);
            assert_eq!(utf8_to_latin1(bytes, &mut to), None);
        }
        let lone: [&[u16]; 4] = [&[0xd800], &[0xdc00], &[0xd800, 0x41], &[0x100, 0xdbff]];
        for units in lone {
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            assert_eq!(utf16_copy(&bytes, &mut to), None);
            assert_eq!(utf16_to_utf8(&bytes, &mut to), None);
            assert_eq!(utf16_to_latin1(&bytes, &mut to), None);
        }
    }

    #[test]
    fn too_little_room_is_refused() {
        assert_eq!(utf8_to_utf16(b"ab", &mut [0; 3]), None);
        assert_eq!(utf8_to_utf16("\u{e9}b".as_bytes(), &mut [0; 3]), None);
        assert_eq!(utf16_copy(&utf16("ab"), &mut [0; 3]), None);
        assert_eq!(utf16_to_utf8(&utf16("\u{2603}"), &mut [0; 2]), None);
        assert_eq!(latin1_to_utf8(b"\xff", &mut [0; 1]), None);
        assert_eq!(utf8_to_latin1(b"ab", &mut [0; 1]), None);
    }
}
