//! Bytes as characters: the alphabet of byte-level BPE in Hugging Face's files (GPT-2's `bytes_to_unicode`).
//!
//! A printable byte of Latin-1 is written as itself; the other 68 bytes are U+0100, U+0101, ... in ascending order.

/// The character for a byte.
#[must_use]
pub fn char_of(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        0..=0x20 => char::from_u32(0x100 + u32::from(byte)).unwrap_or_default(),
        0x7F..=0xA0 => char::from_u32(0x100 + 33 + u32::from(byte - 0x7F)).unwrap_or_default(),
        0xAD => '\u{143}',
    }
}

/// The byte for a character.
#[must_use]
pub fn byte_of(c: char) -> Option<u8> {
    let code = u32::from(c);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// A token's bytes in the notation of the file.
#[must_use]
pub fn written(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char_of(*byte)).collect()
}

/// The bytes of a token in the notation of the file; `None` if a character represents no byte.
#[must_use]
pub fn bytes(written: &str) -> Option<Vec<u8>> {
    written.chars().map(byte_of).collect()
}

/// The bytes in the order of their characters, which is the order of a trained vocabulary's first tokens.
pub fn in_order() -> impl Iterator<Item = u8> {
    let mut all: Vec<u8> = (0..=255).collect();
    all.sort_by_key(|byte| char_of(*byte));
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn it_is_the_alphabet_of_the_library() {
        let ours: std::collections::BTreeSet<char> = (0..=255).map(char_of).collect();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        assert!((0..=255).all(|byte| byte_of(char_of(byte)) == Some(byte)));
        assert_eq!([' ', '\n', 'é', '\u{AD}'].map(|c| written(c.to_string().as_bytes())), ["Ġ", "Ċ", "Ã©", "ÂŃ"]);
        assert_eq!((byte_of(' '), byte_of('ł'), bytes("Ġ€")), (None, Some(0xA0), None));
        assert_eq!(in_order().take(2).collect::<Vec<_>>(), *b"!\"");
    }
}
