//! CSV: a line for each result of a list, or one of the report that there is; objects within it are JSV.

use super::{jsv, shortest_date_time};
use crate::api::wire::document::{Object, RESPONSE_STATUS, Value};

const END_OF_LINE: &str = "\r\n";

pub(super) fn write(document: &Object<'_>) -> Vec<u8> {
    let results = document.values.iter().find_map(|value| match value {
        Value::List(of, items) => Some((of.members, items)),
        _ => None,
    });
    let mut out = String::new();
    if let Some((columns, items)) = results {
        line(&mut out, columns.iter().map(|column| (*column).to_owned()));
        for item in items {
            line(&mut out, item.members().map(|(_, value)| cell(value)));
        }
    } else {
        // The status tells of errors, and there are none.
        let members = || document.members().filter(|(name, _)| *name != RESPONSE_STATUS);
        line(&mut out, members().map(|(name, _)| name.to_owned()));
        line(&mut out, members().map(|(_, value)| cell(value)));
    }
    out.into_bytes()
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str(&quoted(cell));
    }
    out.push_str(END_OF_LINE);
}

fn cell(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.clone().into_owned(),
        Value::Guid(guid) => guid.simple().to_string(),
        Value::DateTime(time) => shortest_date_time(*time),
        Value::Integer(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Object(object) => jsv::object(object),
        Value::List(_, items) => format!("[{}]", items.iter().map(jsv::object).collect::<Vec<String>>().join(",")),
    }
}

fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\r', '\n']) || cell.starts_with(['[', '{']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}
