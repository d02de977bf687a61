//! JSV: JSON without quotes where they are not needed, which are doubled where they are.

use super::{camel_case, shortest_date_time};
use crate::api::wire::document::{Object, Value};

pub(super) fn write(document: &Object<'_>) -> Vec<u8> {
    object(document).into_bytes()
}

/// An object as text, also for a cell of a table.
pub(super) fn object(object: &Object<'_>) -> String {
    let set = object.members().filter(|(_, member)| !matches!(member, Value::Null));
    let members = set.map(|(name, member)| format!("{}:{}", camel_case(name).collect::<String>(), value(member)));
    format!("{{{}}}", members.collect::<Vec<String>>().join(","))
}

pub(super) fn value(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => quoted(text),
        Value::Guid(guid) => guid.simple().to_string(),
        Value::DateTime(time) => shortest_date_time(*time),
        Value::Integer(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Flag(flag) => if *flag { "True" } else { "False" }.to_owned(),
        Value::Double(number) => number.to_string(),
        Value::Object(inner) => object(inner),
        Value::List(_, items) => format!("[{}]", items.iter().map(object).collect::<Vec<String>>().join(",")),
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains(['"', ',', ':', '{', '}', '[', ']', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
