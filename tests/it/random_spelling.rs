//! How the events of `random_events` are spelled: each in many ways that mean the same (GUIDs, offsets,
//! escapes, white space, order of members, unknown members), or so that it must be rejected.

use super::oracle_json::quoted;
use chrono::{DateTime, FixedOffset, Offset, SecondsFormat, Utc};

pub const SERVICES: [&str; 3] =
    ["3f2b8c1e7d544f0a9a550d6f1f8f7a10", "a1b2c3d4e5f60718293a4b5c6d7e8f90", "00000000000000000000000000000000"];
pub const USERS: [&str; 4] = [
    "50c187fcce174b4e8837b8a3d261a7ab",
    "b02b61c4a3d74628ace66fa2fd5166e6",
    "00000001000040008000000000000000",
    "ffffffffffffffffffffffffffffffff",
];
pub const SOURCES: [&str; 3] = ["/eu1", "/eu1/a", "urn:x:gw"];
pub const IDS: [&str; 9] = ["a", "b", "B", "é\"✓\\😀", "a ", "0", "\u{7f}", "c", "d"];
/// An event before it is spelled; names and values of `data` are JSON text.
#[derive(Clone, Debug)]
pub struct Event {
    pub identity: [u8; 3],
    pub time: DateTime<Utc>,
    pub kind: &'static str,
    pub data: Vec<(&'static str, Value)>,
}

#[derive(Clone, Debug)]
pub enum Value {
    Guid(String),
    Text(&'static str),
    Time(DateTime<Utc>),
    Plain(String),
    List(Vec<Value>),
    Attachment(String, u64),
}

/// One spelling of an event: the bits choose among those that mean the same.
#[must_use]
pub fn spell(event: &Event, bits: u64) -> String {
    let [service, source, id] = event.identity.map(usize::from);
    let mut members: Vec<(&str, String)> = event.data.iter().map(|(name, value)| (*name, value.spell(bits))).collect();
    if bits & 0x80 == 0 {
        // Null and absent are the same; `service.updated`, where they are not, is never given a null.
        members.retain(|(_, value)| value != "null");
    }
    vary(&mut members, bits >> 8);
    let data = object(&members, bits);
    let mut members = vec![
        ("specversion", "\"1.0\"".to_owned()),
        ("id", text(IDS[id], bits)),
        ("source", text(SOURCES[source], bits >> 1)),
        ("type", text(event.kind, bits >> 2)),
        ("subject", guid(SERVICES[service], bits >> 3)),
        ("time", time(event.time, bits >> 4)),
        ("data", data),
    ];
    vary(&mut members, bits >> 16);
    object(&members, bits >> 24)
}

/// Unknown members (one of them twice), and another order.
fn vary(members: &mut Vec<(&str, String)>, bits: u64) {
    if bits & 3 == 1 {
        members.insert(0, ("unknown", "{\"x\":[1.5e3,null,-0,\"\\u0000\\u2028\"],\"id\":7}".to_owned()));
        members.push(("unknown", "[]".to_owned()));
    }
    let turn = (bits >> 2) as usize % members.len().max(1);
    members.rotate_left(turn);
    if bits & 32 == 32 {
        members.reverse();
    }
}

fn object(members: &[(&str, String)], bits: u64) -> String {
    let [colon, comma] = if bits & 1 == 1 { [" : ", " ,\t"] } else { [":", ","] };
    let spelled = members.iter().map(|(name, value)| format!("{}{colon}{value}", text(name, bits >> 1)));
    format!("{{{}}}", spelled.collect::<Vec<_>>().join(comma))
}

/// A string plainly, or with its first character escaped, or all of them.
fn text(value: &str, bits: u64) -> String {
    let escaped = match bits & 7 {
        0 => value.chars().count(),
        1 => 1,
        _ => return quoted(value),
    };
    let unit = |unit: &u16| format!("\\u{unit:04X}");
    let escape = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(unit).collect::<Vec<_>>().concat();
    let head: String = value.chars().take(escaped).map(escape).collect();
    let tail: String = value.chars().skip(escaped).collect();
    format!("\"{head}{}", &quoted(&tail)[1..])
}

fn guid(digits: &str, bits: u64) -> String {
    let dashed = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-");
    let form = if bits & 1 == 1 { dashed } else { digits.to_owned() };
    quoted(&if bits & 2 == 2 { form.to_uppercase() } else { form })
}

fn time(time: DateTime<Utc>, bits: u64) -> String {
    let minutes = [0, 0, 330, -300, 785, -1, -1439, 1439][(bits & 7) as usize];
    let offset = FixedOffset::east_opt(minutes * 60).unwrap_or_else(|| Utc.fix());
    let mut spelled = time.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::AutoSi, bits & 8 == 8);
    if bits & 16 == 16 {
        spelled = spelled.replace('T', "t").replace('Z', "z");
    }
    if bits & 32 == 32 && time.timestamp_subsec_nanos() % 10 == 9 {
        // Digits after the ninth are truncated, not rounded.
        spelled.insert_str(spelled.find('.').map_or(0, |dot| dot + 10), "9999");
    }
    quoted(&spelled)
}

impl Value {
    fn spell(&self, bits: u64) -> String {
        match self {
            Value::Guid(digits) => guid(digits, bits),
            Value::Text(value) => text(value, bits >> 2),
            Value::Time(instant) => time(*instant, bits >> 3),
            Value::Plain(json) => json.clone(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(|item| item.spell(bits >> 1)).collect::<Vec<_>>().join(","))
            }
            Value::Attachment(digits, size) => {
                let mut members = vec![("sizeBytes", size.to_string()), ("attachmentGuid", guid(digits, bits))];
                members.rotate_left((bits >> 5) as usize % 2);
                object(&members, bits)
            }
        }
    }
}

/// How many kinds of malformed lines there are beside the one that is too long, which is number `MALFORMED`.
pub const MALFORMED: u8 = 28;

/// A line that must be rejected. `line` is a good one, of which some are spoiled.
#[must_use]
pub fn malformed(reason: u8, line: &str) -> String {
    let event = |kind: &str, time: &str, data: &str| {
        let subject = SERVICES[0];
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"bad\",\"source\":\"/eu1\",\"type\":\"{kind}\",\
             \"subject\":\"{subject}\",\"time\":\"{time}\",\"data\":{data}}}"
        )
    };
    let user = format!("{{\"userGuid\":\"{}\"}}", USERS[0]);
    let enabled = |time: &str| event("user.enabled", time, &user);
    let good = enabled("2026-03-01T00:00:00Z");
    let feature = |rest: &str| event("feature.used", "2026-03-01T00:00:00Z", &format!("{{\"feature\":{rest}}}"));
    let nested = format!("{{\"x\":{}{},{}", "[".repeat(128), "]".repeat(128), &good[1..]);
    match reason {
        // invalid_json
        0 => line.get(..line.len() - 1).unwrap_or("{").to_owned(),
        1 => format!("{line}}}"),
        2 => good.replacen('{', "{\"x\":\"\\ud83d\",", 1),
        3 => nested,
        4 => good.replacen('{', "{\"x\":01,", 1),
        5 => format!("\u{feff}\u{b}{line}"),
        // invalid_envelope
        6 => "null".to_owned(),
        7 => format!("[{line}]"),
        8 => good.replacen('{', "{\"id\":\"bad\",", 1),
        9 => good.replace("\"1.0\"", "\"0.3\""),
        10 => good.replace("\"bad\"", "\"\""),
        11 => good.replace("\"bad\"", &format!("\"{}\"", "é".repeat(129))),
        12 => good.replace("\"/eu1\"", "\"/eu 1\""),
        13 => good.replace("\"/eu1\"", "null"),
        14 => good.replace(SERVICES[0], "3f2b8c1e7d54-4f0a-9a55-0d6f1f8f7a10"),
        15 => enabled("2026-03-01T00:00:60Z"),
        16 => enabled("2026-02-29T00:00:00Z"),
        17 => enabled("2026-03-01T00:00:00"),
        18 => enabled("2026-03-01T00:00:00+24:00"),
        // unknown_type
        19 => event("message.Sent", "2026-03-01T00:00:00Z", "{}"),
        // time_out_of_range
        20 => enabled("1999-12-31T23:59:59.999999999Z"),
        21 => enabled("2000-01-01T00:00:00+00:01"),
        22 => enabled("2099-01-01T00:00:00Z"),
        // invalid_data
        23 => event("user.enabled", "2026-03-01T00:00:00Z", "{}"),
        24 => feature("\"secureForms\""),
        25 => feature("\"SecureForms\",\"quantity\":9007199254740993"),
        26 => feature("\"SecureForms\",\"quantity\":1.0"),
        27 => feature("\"SecureForms\",\"quantity\":null,\"quantity\":1"),
        // line_too_long
        _ => good.replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(1 << 20)), 1),
    }
}
