//! GUIDs as events spell them.

use uuid::Uuid;

/// Reads 32 hex digits, or 8-4-4-4-12, any case; no other form (`spec/events.md`, Envelope, `subject`).
#[must_use]
pub fn parse_guid(text: &str) -> Option<Uuid> {
    let text = text.as_bytes();
    if let Ok(hyphenated) = text.try_into() {
        return parse_hyphenated_guid(hyphenated);
    }
    of_digits(text.try_into().ok()?)
}

/// Reads 8-4-4-4-12 hex digits, any case.
#[inline]
#[must_use]
pub fn parse_hyphenated_guid(text: &[u8; 36]) -> Option<Uuid> {
    if [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut digits = [0; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);
    of_digits(&digits)
}

/// The GUID of 32 hex digits. Loops of one simple step for each digit, which compilers turn into steps for 16 at a time.
#[inline]
fn of_digits(digits: &[u8; 32]) -> Option<Uuid> {
    let mut values = [0_u8; 32];
    let mut is_wrong = false;
    for (value, digit) in values.iter_mut().zip(digits) {
        let decimal = digit.wrapping_sub(b'0');
        let letter = (digit | 0x20).wrapping_sub(b'a');
        *value = if decimal < 10 { decimal } else { letter.wrapping_add(10) };
        is_wrong |= !(decimal < 10 || letter < 6);
    }
    if is_wrong {
        return None;
    }
    let (pairs, _) = values.as_chunks();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let pair = u16::from_le_bytes(*pair);
        #[expect(clippy::cast_possible_truncation, reason = "the first digit and the second lie in the lower byte")]
        {
            *byte = ((pair << 4) | (pair >> 8)) as u8;
        }
    }
    Some(Uuid::from_bytes(bytes))
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
