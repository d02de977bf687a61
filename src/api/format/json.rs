//! JSON: names in camel case, members that are null left out.

use std::io::Write as _;

use super::{camel_case, date_time};
use crate::api::wire::document::{Object, Value};

/// A report has about a kilobyte.
const CAPACITY: usize = 2 * 1024;

pub(super) fn write(document: &Object<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(CAPACITY);
    object(&mut out, document);
    out
}

fn object(out: &mut Vec<u8>, object: &Object<'_>) {
    let mut before = b'{';
    for (name, member) in object.members().filter(|(_, member)| !matches!(member, Value::Null)) {
        out.extend([before, b'"']);
        // Names of members are ASCII.
        out.extend(camel_case(name).map(|letter| letter as u8));
        out.extend(b"\":");
        value(out, member);
        before = b',';
    }
    out.extend(if before == b'{' { b"{}".as_slice() } else { b"}" });
}

fn value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Text(text) => serde_json::to_writer(out, text).expect("text can be written as JSON"),
        Value::Guid(guid) => put(out, format_args!("\"{}\"", guid.simple())),
        Value::DateTime(time) => put(out, format_args!("\"{}\"", date_time(*time))),
        Value::Integer(number) => put(out, format_args!("{number}")),
        Value::Unsigned(number) => put(out, format_args!("{number}")),
        Value::Flag(flag) => put(out, format_args!("{flag}")),
        Value::Double(number) => put(out, format_args!("{number}")),
        Value::Object(inner) => object(out, inner),
        Value::List(_, items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                object(out, item);
            }
            out.push(b']');
        }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory can be written to");
}
