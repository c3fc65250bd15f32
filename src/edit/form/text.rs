//! Any bytes as text that one can type in, and back without loss.
//!
//! A rule may hold bytes that are no UTF-8 (a comment in Latin-1), and a line that is edited as text must
//! give them back. Each such byte becomes one character of the last 256 code points of Unicode's private
//! planes; those characters themselves, where a rule really holds them, are taken byte by byte too, so
//! that no two texts of bytes become the same characters.

/// The code point of byte 0.
const FIRST: u32 = 0x0010_fe00;

fn stand_in(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or('\u{fffd}')
}

/// The byte that a character stands for; `None` for a character that is one.
pub fn byte_of(c: char) -> Option<u8> {
    u8::try_from(u32::from(c).checked_sub(FIRST)?).ok()
}

/// Bytes as text.
pub fn from_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if byte_of(c).is_some() {
                let mut buffer = [0; 4];
                out.extend(c.encode_utf8(&mut buffer).bytes().map(stand_in));
            } else {
                out.push(c);
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| stand_in(*byte)));
    }
    out
}

/// The bytes of a text.
pub fn to_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

/// Where a place in the text's bytes is in the bytes that the text stands for.
pub fn byte_offset(text: &str, offset: usize) -> usize {
    to_bytes(text.get(..offset).unwrap_or(text)).len()
}

/// Where a place in those bytes is in the text: the start of the character that holds it.
pub fn text_offset(text: &str, byte: usize) -> usize {
    let mut before = 0;
    for (at, c) in text.char_indices() {
        let length = byte_of(c).map_or(c.len_utf8(), |_| 1);
        if byte < before + length {
            return at;
        }
        before += length;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(from_bytes("-s Grüße".as_bytes()), "-s Grüße");
        assert_eq!(from_bytes(b"a\xffb").chars().count(), 3);
        let text = from_bytes(b"\xfcx");
        assert_eq!(byte_offset(&text, text.len() - 1), 1);
        assert_eq!(text_offset(&text, 1), text.len() - 1);
        assert_eq!(text_offset(&text, 9), text.len());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(to_bytes(&from_bytes(&bytes)), bytes);
        }

        #[test]
        fn stand_ins_themselves_come_back(text in "[\u{10fe00}-\u{10feff}a]{0,9}") {
            prop_assert_eq!(to_bytes(&from_bytes(text.as_bytes())), text.as_bytes());
        }
    }
}
