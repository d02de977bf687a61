//! What an event must be, as JSON Schema, made from the tables that it is decoded by.

use serde_json::{Map, Value, json};

use super::data::MAX_COUNT;
use super::{envelope, service_patch};
use crate::model::{EventType, Feature, GroupType, MemberKind, MemberRule};

const GUID: &str = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$";
/// What [`envelope`] lets through as a URI reference.
const URI_REFERENCE: &str = r"^([!#$&-;=?-\[\]_a-z~]|%[0-9a-fA-F]{2})+$";

/// Patterns of those texts that are times, which are recommended: in UTC, and without a fraction.
#[derive(Clone, Debug)]
pub struct Times {
    /// Of events: no earlier and no later than they may be.
    pub of_events: String,
    pub any: String,
    /// A time, or a date.
    pub or_date: String,
}

/// The schema of an event of any type. Members that it does not name are not looked at.
#[must_use]
pub fn event(times: &Times) -> Value {
    let of_types: Vec<Value> = EventType::ALL.iter().map(|of| of_type(*of, times)).collect();
    json!({"description": "A CloudEvent (spec/events.md).", "oneOf": of_types})
}

fn of_type(of: EventType, times: &Times) -> Value {
    let data = match of {
        EventType::ServiceUpdated => service_patch::schema(times),
        _ => object(of.members().iter().map(|rule| (rule.name, member(rule, times), rule.required))),
    };
    let attribute = |index: usize, schema: Value| (envelope::ATTRIBUTES[index].text, schema, true);
    let mut event = object([
        attribute(envelope::SPECVERSION, one_of(&["1.0"])),
        attribute(envelope::ID, identifier()),
        attribute(envelope::SOURCE, json!({"type": "string", "pattern": URI_REFERENCE, "description": at_most()})),
        attribute(envelope::TYPE, one_of(&[of.name()])),
        attribute(envelope::SUBJECT, json!({"type": "string", "pattern": GUID, "description": "The service."})),
        attribute(envelope::TIME, text(&times.of_events)),
        attribute(envelope::DATA, data),
    ]);
    event["title"] = of.name().into();
    event
}

fn member(rule: &MemberRule, times: &Times) -> Value {
    match rule.member.kind() {
        MemberKind::Guid => guid(),
        MemberKind::GuidList => json!({"type": "array", "items": guid()}),
        MemberKind::Attachments => {
            let attachment = object([("attachmentGuid", guid(), true), ("sizeBytes", count(), true)]);
            json!({"type": "array", "items": attachment})
        }
        MemberKind::Count => count(),
        MemberKind::Flag => json!({"type": "boolean"}),
        MemberKind::Feature => one_of(Feature::NAMES),
        MemberKind::GroupType => one_of(GroupType::NAMES),
        MemberKind::Text => json!({"type": "string"}),
        MemberKind::Identifier => identifier(),
        MemberKind::Time => text(&times.any),
    }
}

/// An object of members, each with its schema, and whether it must be there. One that need not may be null.
pub(super) fn object(members: impl IntoIterator<Item = (&'static str, Value, bool)>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, mut schema, is_required) in members {
        if is_required {
            required.push(name);
        } else {
            schema["type"] = json!([schema["type"], "null"]);
            if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                values.push(Value::Null);
            }
        }
        properties.insert(name.to_owned(), schema);
    }
    json!({"type": "object", "properties": properties, "required": required})
}

pub(super) fn guid() -> Value {
    text(GUID)
}

/// How it is written is told in words: to a schema, 1.0 is an integer.
pub(super) fn count() -> Value {
    let spelt = "Written without sign, fraction or exponent.";
    json!({"type": "integer", "minimum": 0, "maximum": MAX_COUNT, "description": spelt})
}

pub(super) fn one_of(names: &[&str]) -> Value {
    json!({"type": "string", "enum": names})
}

pub(super) fn text(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// What is too long is told in words: a schema counts characters.
fn identifier() -> Value {
    json!({"type": "string", "minLength": 1, "description": at_most()})
}

fn at_most() -> String {
    format!("At most {} bytes.", envelope::MAX_IDENTIFIER_BYTES)
}
