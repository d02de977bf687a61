//! GUIDs as events spell them.

use uuid::Uuid;

/// Reads 32 hex digits, or 8-4-4-4-12, any case; no other form (`spec/events.md`, Envelope, `subject`).
#[must_use]
pub fn parse_guid(text: &str) -> Option<Uuid> {
    let text = text.as_bytes();
    if let Ok(hyphenated) = text.try_into() {
        return parse_hyphenated_guid(hyphenated);
    }
    let digits: &[u8; 32] = text.try_into().ok()?;
    let (words, _) = digits.as_chunks::<8>();
    of_digits([words[0], words[1], words[2], words[3]].map(u64::from_le_bytes))
}

/// Reads 8-4-4-4-12 hex digits, any case.
#[inline]
#[must_use]
pub fn parse_hyphenated_guid(text: &[u8; 36]) -> Option<Uuid> {
    let [a @ .., b'-', _, _, _, _, b'-', _, _, _, _, b'-', _, _, _, _, b'-', _, _, _, _, _, _, _, _, _, _, _, _] = text
    else {
        return None;
    };
    let four = |at: usize| u64::from(u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]));
    let last = text.last_chunk::<8>()?;
    of_digits([
        u64::from_le_bytes(*a),
        four(9) | (four(14) << 32),
        four(19) | (four(24) << 32),
        u64::from_le_bytes(*last),
    ])
}

/// The GUID of 32 hex digits, of which each word holds eight, the first in its lowest byte.
#[inline]
fn of_digits(words: [u64; 4]) -> Option<Uuid> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // A byte's high bit tells whether the byte is at least `least`; right while no byte is above 0x7F.
    let at_least = |word: u64, least: u8| word.wrapping_add(ONES * u64::from(0x80 - least));
    let mut digits = HIGH;
    for word in words {
        let lower = word | (ONES * 0x20);
        let decimal = at_least(word, b'0') & !at_least(word, b'9' + 1);
        let letter = at_least(lower, b'a') & !at_least(lower, b'f' + 1);
        digits &= (decimal | letter) & !word;
    }
    if digits != HIGH {
        return None;
    }
    let mut value = 0;
    for word in words {
        // A letter is 9 above its low four bits, and has the bit 0x40.
        let nibbles = (word & (ONES * 0x0F)) + ((word >> 6) & ONES) * 9;
        let bytes = ((nibbles << 4) | (nibbles >> 8)) & 0x00FF_00FF_00FF_00FF;
        let pairs = (bytes | (bytes >> 8)) & 0x0000_FFFF_0000_FFFF;
        #[expect(clippy::cast_possible_truncation, reason = "the upper half repeats what is in the lower")]
        let four = (pairs | (pairs >> 16)) as u32;
        value = (value << 32) | u128::from(four.swap_bytes());
    }
    Some(Uuid::from_u128(value))
}

/// The GUID that a text spells in the one form that it is written in: lower case, 8-4-4-4-12. So text and GUID stand for
/// each other, and sort alike.
#[must_use]
pub fn canonical_guid(text: &[u8]) -> Option<Uuid> {
    let text = text.try_into().ok()?;
    parse_hyphenated_guid(text).filter(|_| !text.iter().any(u8::is_ascii_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_plain_forms_are_guids() {
        for text in ["3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10", "3F2B8C1E7D544F0A9A550D6F1F8F7A10"] {
            assert_eq!(parse_guid(text), Some(Uuid::from_u128(0x3f2b_8c1e_7d54_4f0a_9a55_0d6f_1f8f_7a10)));
        }
        for text in
            ["", "{3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10}", "urn:uuid:3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10", "3f2b8c1e"]
        {
            assert_eq!(parse_guid(text), None, "{text}");
        }
    }

    /// `uuid` reads the same two forms, among others of other lengths.
    #[test]
    fn agrees_with_uuid_whatever_byte_stands_wherever() {
        for form in ["3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10", "3F2B8C1E7D544F0A9A550D6F1F8F7A10"] {
            for (at, byte) in (0..form.len()).flat_map(|at| (0..0x80_u8).map(move |byte| (at, byte))) {
                let mut text = form.to_owned().into_bytes();
                text[at] = byte;
                let text = String::from_utf8(text).unwrap();
                assert_eq!(parse_guid(&text), Uuid::try_parse(&text).ok(), "{text}");
            }
            for at in 0..form.len() - 1 {
                let text = format!("{}é{}", &form[..at], &form[at + 2..]);
                assert_eq!(parse_guid(&text), None, "{text}");
            }
        }
    }
}
