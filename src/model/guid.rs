//! GUIDs as events spell them.

use uuid::Uuid;

/// Reads 32 hex digits, or 8-4-4-4-12, any case; no other form (`spec/events.md`, Envelope, `subject`).
#[must_use]
pub fn parse_guid(text: &str) -> Option<Uuid> {
    matches!(text.len(), 32 | 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// The GUID that a text spells in the one form that it is written in: lower case, 8-4-4-4-12. So text and GUID stand for
/// each other, and sort alike.
#[must_use]
pub fn canonical_guid(text: &[u8]) -> Option<Uuid> {
    if text.len() != 36 || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    Uuid::try_parse_ascii(text).ok()
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
}
