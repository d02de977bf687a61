//! XML as .NET's data contracts have it: members in the order of the alphabet, those of the base type first, and nulls told.

use super::date_time;
use crate::api::wire::document::{Object, Value};

const DECLARATION: &str = r#"<?xml version="1.0" encoding="utf-8"?>"#;
const NAMESPACES: &str =
    r#" xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="http://schemas.servicestack.net/types""#;

pub(super) fn write(document: &Object<'_>) -> Vec<u8> {
    let mut out = DECLARATION.to_owned();
    let name = document.of.name;
    out.extend(["<", name, NAMESPACES, ">"]);
    members(&mut out, document);
    out.extend(["</", name, ">"]);
    out.into_bytes()
}

fn members(out: &mut String, object: &Object<'_>) {
    if let Some(base) = &object.base {
        members(out, base);
    }
    let mut own: Vec<(&str, &Value<'_>)> = object.own().collect();
    own.sort_unstable_by_key(|(name, _)| *name);
    for (name, member) in own {
        if matches!(member, Value::Null) {
            out.extend(["<", name, r#" i:nil="true"/>"#]);
            continue;
        }
        out.extend(["<", name, ">"]);
        value(out, member);
        out.extend(["</", name, ">"]);
    }
}

fn value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => {}
        Value::Text(text) => escaped(out, text),
        Value::Guid(guid) => out.push_str(&guid.hyphenated().to_string()),
        Value::DateTime(time) => out.push_str(&date_time(*time)),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::Unsigned(number) => out.push_str(&number.to_string()),
        Value::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Double(number) => out.push_str(&number.to_string()),
        Value::Object(object) => members(out, object),
        Value::List(of, items) => {
            for item in items {
                out.extend(["<", of.name, ">"]);
                members(out, item);
                out.extend(["</", of.name, ">"]);
            }
        }
    }
}

fn escaped(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A reader would take it for part of a line's end.
            '\r' => out.push_str("&#xD;"),
            '\n' | '\t' => out.push(letter),
            // XML has no way to say these.
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(letter),
        }
    }
}
