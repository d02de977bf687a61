use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn accepts(text: &str) -> bool {
    let mut json = Json::new(text, text.as_bytes());
    json.skip().and_then(|()| json.finish()).is_ok()
}

/// Builds a value with every reading method, to hold against `serde_json`'s.
fn value(json: &mut Json<'_>) -> Result<Value, JsonError> {
    Ok(match json.peek() {
        Some(b'"') => Value::String(json.string()?.into_owned()),
        Some(b'{') => {
            let mut members = serde_json::Map::new();
            json.open(b'{')?;
            let mut more = !json.close(b'}');
            while more {
                let name = json.name()?.into_owned();
                members.insert(name, value(json)?);
                more = json.comma(b'}')?;
            }
            Value::Object(members)
        }
        Some(b'[') => {
            let mut items = Vec::new();
            json.array(|json| {
                items.push(value(json)?);
                Ok::<_, JsonError>(())
            })?;
            Value::Array(items)
        }
        Some(b't' | b'f' | b'n') => json.literal()?.map_or(Value::Null, Value::Bool),
        _ => serde_json::from_str(json.number()?).expect("a number of JSON's grammar"),
    })
}

fn read(text: &str) -> Option<Value> {
    let mut json = Json::new(text, text.as_bytes());
    let value = value(&mut json).ok()?;
    json.finish().ok()?;
    Some(value)
}

#[test]
fn nesting_is_allowed_128_deep() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(accepts(&nested(128)));
    assert!(!accepts(&nested(129)));
}

#[test]
fn numbers_that_nobody_reads_may_have_any_size() {
    for text in ["100e901", "-1e-9999", "1234567890123456789000e901"] {
        assert!(accepts(text), "{text}");
    }
    for text in ["1e", "1e+", ".5", "-", "1.e5"] {
        assert!(!accepts(text), "{text}");
    }
}

#[test]
fn surrogates_must_come_in_pairs() {
    assert_eq!(read(r#""\ud83d\uDE00""#), Some("😀".into()));
    for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83dxxxxxx""#, r#""\ud8""#, r#""\u+123""#] {
        assert!(!accepts(text), "{text}");
    }
}

/// Pieces that are likely to meet each other in odd ways.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "00e9",
        "\\n",
        "\\ud83d",
        "\\ude00",
        "1",
        "0",
        "-",
        ".",
        "e",
        "E5",
        "+",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\t",
        "\r",
        "\n",
        "\"a\"",
        "\"id\":",
        "é",
        "\u{7f}",
        "\u{1}",
        "1.5",
        "-0",
        "01",
        "12345678901234567890",
        "\"abcdefghij\"",
        "[]",
        "{}",
        "\u{2028}",
        "/",
        "\\/",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn accepts_what_serde_json_accepts_and_reads_the_same(text in soup()) {
        let theirs = serde_json::from_str::<Value>(&text);
        // The grammar has numbers of any size; `serde_json` has those of an `f64`, and stops at others.
        let too_large = theirs.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
        prop_assume!(!too_large);
        prop_assert_eq!(accepts(&text), theirs.is_ok(), "{}", text);
        prop_assert_eq!(read(&text), theirs.ok());
    }

    #[test]
    fn reads_every_string_that_serde_json_writes(text in any::<String>()) {
        let written = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(read(&written), Some(Value::String(text)));
    }
}
