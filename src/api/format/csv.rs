//! CSV: a line for each result of a list, or one of the report that there is; objects within it are JSV.

use super::jsv;
use crate::api::wire::document::{Object, RESPONSE_STATUS, RESULTS, Value};

const END_OF_LINE: &str = "\r\n";

pub(super) fn write(document: &Object<'_>) -> Vec<u8> {
    let results = document.own().find_map(|(name, value)| match value {
        Value::List(of, items) if name == RESULTS => Some((of.members, items)),
        _ => None,
    });
    let mut out = String::new();
    if let Some((columns, items)) = results {
        line(&mut out, columns.iter().map(|column| column.name.to_owned()));
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
        Value::Text(text) => defused(text),
        // A cell with an object in it is as JSV writes one.
        value => jsv::value(value),
    }
}

/// A text that a spreadsheet would take for a formula, with an apostrophe before it; somebody may have named a service so. A
/// text that is a number is one to a spreadsheet, too, and stays as it is, as numbers do that are none of texts.
fn defused(text: &str) -> String {
    let is_risky = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_risky && !is_number(text) { format!("'{text}") } else { text.to_owned() }
}

/// Digits with a sign before them, and perhaps a fraction.
fn is_number(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text[1..].split_once('.').map_or((&text[1..], None), |(whole, rest)| (whole, Some(rest)));
    text.starts_with(['+', '-']) && is_digits(whole) && fraction.is_none_or(is_digits)
}

fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\r', '\n']) || cell.starts_with(['[', '{']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_and_numbers_are_not() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("-", "'-"),
            ("-1.", "'-1."),
            ("-\u{663}", "'-\u{663}"),
            ("-5", "-5"),
            ("+4.25", "+4.25"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(defused(text), expected);
        }
        assert_eq!(cell(&Value::Integer(-5)), "-5");
    }
}
