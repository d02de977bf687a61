//! The canonical content of an event (`spec/events.md`, Identity, order, day): what makes two copies of one identity the
//! same event or a conflict, and what orders events that share identity and time.

use std::fmt::Write as _;

use uuid::Uuid;

use super::{Attachment, EventData, EventType, Instant, MemberValue};

/// The type's name, and behind it RFC 8785 (JCS) text of the known members: GUIDs as 32 lower-case hex digits, absent
/// members left out. So content is ordered by type first.
#[must_use]
pub fn content(event_type: EventType, data: &EventData<'_>) -> String {
    let mut text = String::with_capacity(160);
    text.push_str(event_type.name());
    match &data.patch {
        Some(patch) => text.push_str(patch.canonical()),
        None => push_members(&mut text, event_type, data),
    }
    text
}

/// What a content is known by among all of its service and day: a hash of it, with the identity and time that it is of.
#[must_use]
pub fn content_key(service: Uuid, time: Instant, source: &str, id: &str, content: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(service.as_bytes()).update(&time.nanos().to_le_bytes());
    for part in [source, id, content] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().into()
}

fn push_members(text: &mut String, event_type: EventType, data: &EventData<'_>) {
    text.push('{');
    let mut separator = "";
    for rule in event_type.members() {
        if let Some(value) = data.get(rule.member) {
            text.push_str(separator);
            push_string(text, rule.name);
            text.push(':');
            push_value(text, value);
            separator = ",";
        }
    }
    text.push('}');
}

fn push_value(text: &mut String, value: MemberValue<'_>) {
    match value {
        MemberValue::Guid(guid) => push_guid(text, guid),
        MemberValue::Guids(guids) => push_list(text, guids, push_guid),
        MemberValue::Attachments(attachments) => push_list(text, attachments, push_attachment),
        MemberValue::Count(count) => push_count(text, count),
        MemberValue::Flag(flag) => text.push_str(if flag { "true" } else { "false" }),
        MemberValue::Feature(feature) => push_string(text, feature.name()),
        MemberValue::GroupType(group_type) => push_string(text, group_type.name()),
        MemberValue::Text(value) => push_string(text, value),
        MemberValue::Time(time) => push_string(text, &time.to_utc().format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()),
    }
}

fn push_list<T: Copy>(text: &mut String, items: &[T], write: impl Fn(&mut String, T)) {
    text.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(text, *item);
    }
    text.push(']');
}

fn push_attachment(text: &mut String, attachment: Attachment) {
    text.push_str("{\"attachmentGuid\":");
    push_guid(text, attachment.attachment_guid);
    text.push_str(",\"sizeBytes\":");
    push_count(text, attachment.size_bytes);
    text.push('}');
}

fn push_guid(text: &mut String, guid: Uuid) {
    let _ = write!(text, "\"{}\"", guid.simple());
}

fn push_count(text: &mut String, count: u64) {
    let _ = write!(text, "{count}");
}

/// JCS writes strings as `JSON.stringify` does: two-character escapes where JSON has them, `\u00xx` for the other control
/// characters, everything else as it is. `serde_json` writes the same.
pub(super) fn push_string(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).expect("a string can always be written as JSON"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_is_absent_and_sorts_members() {
        let data = EventData {
            message_guid: Some(Uuid::from_u128(1)),
            user_guid: Some(Uuid::from_u128(0xAB)),
            attachments: Some(vec![Attachment { attachment_guid: Uuid::from_u128(2), size_bytes: 7 }]),
            recipient_user_guids: Some(Vec::new()),
            ..EventData::default()
        };
        insta::assert_snapshot!(content(EventType::MessageSent, &data), @r#"message.sent{"attachments":[{"attachmentGuid":"00000000000000000000000000000002","sizeBytes":7}],"messageGuid":"00000000000000000000000000000001","recipientUserGuids":[],"userGuid":"000000000000000000000000000000ab"}"#);
    }

    #[test]
    fn escapes_as_jcs_does() {
        let mut text = String::new();
        push_string(&mut text, "a\"\\/\u{8}\u{9}\u{a}\u{c}\u{d}\u{1f}\u{7f}é\u{2028}😀");
        assert_eq!(text, "\"a\\\"\\\\/\\b\\t\\n\\f\\r\\u001f\u{7f}é\u{2028}😀\"");
    }
}
