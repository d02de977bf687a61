//! One input line, read naively: the rules of `spec/events.md` for the envelope and the data of each
//! type. It shares no code with the engine, on purpose.

use super::oracle_json::{Json, parse};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// An accepted line. `data` holds the known members alone, normalised (events.md, "Content").
#[derive(Clone, Debug)]
pub struct Event {
    pub service: String,
    pub source: String,
    pub id: String,
    pub time: DateTime<Utc>,
    pub kind: String,
    pub data: Json,
}

/// What the shape of a known member may be.
#[derive(Clone, Copy)]
enum Shape {
    Guid,
    Guids,
    Text,
    Integer,
    Bool,
    Attachments,
    OneOf(&'static [&'static str]),
    Id,
    Source,
    Instant,
    Date,
    Object,
    IntegerOrText,
}

type Rules = &'static [(&'static str, bool, Shape)];

const GROUP: Shape = Shape::OneOf(&["Professional", "Guest"]);
const FEATURE: Shape = Shape::OneOf(&[
    "SecureMessagingGateway",
    "SecureMessagingPlus",
    "DataLeakPrevention",
    "SecureLargeFiles",
    "SecureForms",
]);
const STATUS: Shape = Shape::OneOf(&[
    "Blocked",
    "AccountCancelled",
    "AccountSuspended",
    "Provisioning",
    "TrialExpired",
    "TrialActive",
    "DemoAccount",
    "CertifiedSecure",
]);
const ATTACHMENT: Rules = &[("attachmentGuid", true, Shape::Guid), ("sizeBytes", true, Shape::Integer)];

/// events.md, "Types": the known members of each type's data; `true` is a required one.
fn rules(kind: &str) -> Option<Rules> {
    Some(match kind {
        "message.sent" => &[
            ("messageGuid", true, Shape::Guid),
            ("userGuid", true, Shape::Guid),
            ("recipientUserGuids", false, Shape::Guids),
            ("recipientCount", false, Shape::Integer),
            ("attachments", false, Shape::Attachments),
        ],
        "message.retrieved" => &[("messageGuid", true, Shape::Guid), ("userGuid", true, Shape::Guid)],
        "attachment.purged" => ATTACHMENT,
        "feature.used" => {
            &[("feature", true, FEATURE), ("userGuid", false, Shape::Guid), ("quantity", false, Shape::Integer)]
        }
        "user.invited" => &[
            ("userGuid", true, Shape::Guid),
            ("groupType", true, GROUP),
            ("emailAddress", false, Shape::Text),
            ("firstName", false, Shape::Text),
            ("lastName", false, Shape::Text),
            ("groupName", false, Shape::Text),
            ("groupGuid", false, Shape::Guid),
            ("invitedByUserGuid", false, Shape::Guid),
            ("invitedByEmailAddress", false, Shape::Text),
        ],
        "user.registered" => &[("userGuid", true, Shape::Guid), ("groupType", false, GROUP)],
        "user.groupChanged" => &[
            ("userGuid", true, Shape::Guid),
            ("groupType", true, GROUP),
            ("groupName", false, Shape::Text),
            ("groupGuid", false, Shape::Guid),
        ],
        "user.disabled" | "user.enabled" => &[("userGuid", true, Shape::Guid)],
        "user.loggedIn" => &[("userGuid", true, Shape::Guid), ("toolbarVersion", false, Shape::Text)],
        "user.updated" => &[
            ("userGuid", true, Shape::Guid),
            ("emailAddress", false, Shape::Text),
            ("firstName", false, Shape::Text),
            ("lastName", false, Shape::Text),
            ("isAlias", false, Shape::Bool),
        ],
        "service.updated" => SERVICE,
        "event.voided" => &[("source", true, Shape::Source), ("id", true, Shape::Id), ("time", true, Shape::Instant)],
        _ => return None,
    })
}

const SERVICE: Rules = &[
    ("name", false, Shape::Text),
    ("status", false, STATUS),
    ("serviceCode", false, Shape::Text),
    ("referenceId", false, Shape::Text),
    ("primaryDomain", false, Shape::Text),
    ("createdOn", false, Shape::Date),
    ("trialEndDate", false, Shape::Date),
    ("effectiveDate", false, Shape::Date),
    ("initialTerm", false, Shape::IntegerOrText),
    ("collectionGuid", false, Shape::Guid),
    ("collectionName", false, Shape::Text),
    ("clientGuid", false, Shape::Guid),
    ("resellerGuid", false, Shape::Guid),
    ("resellerName", false, Shape::Text),
    ("partnerGuid", false, Shape::Guid),
    ("partnerName", false, Shape::Text),
    ("contact", false, Shape::Object),
    ("company", false, Shape::Object),
];

/// events.md, "Envelope" and "What happens to each input line": the event, or the reason code.
///
/// # Errors
/// The code of the first rule that the line breaks: JSON, envelope, type, time range, data.
pub fn read(line: &[u8], earliest: DateTime<Utc>, latest: DateTime<Utc>) -> Result<Event, &'static str> {
    if line.len() > 1 << 20 {
        return Err("line_too_long");
    }
    let text = std::str::from_utf8(line).map_err(|_| "invalid_json")?;
    let json = parse(text).ok_or("invalid_json")?;
    let envelope: Rules = &[
        ("specversion", true, Shape::OneOf(&["1.0"])),
        ("id", true, Shape::Id),
        ("source", true, Shape::Source),
        ("type", true, Shape::Id),
        ("subject", true, Shape::Guid),
        ("time", true, Shape::Text),
    ];
    let known = members(&json, envelope, false).ok_or("invalid_envelope")?;
    let time = instant(known.text("time").unwrap_or_default()).ok_or("invalid_envelope")?;
    let get = |name| known.text(name).unwrap_or_default().to_owned();
    let kind = get("type");
    let data_rules = rules(&kind).ok_or("unknown_type")?;
    if time < earliest || time > latest {
        return Err("time_out_of_range");
    }
    let data = json.all("data");
    let [data] = data[..] else {
        return Err(if data.is_empty() { "invalid_data" } else { "invalid_envelope" });
    };
    let data = members(data, data_rules, kind == "service.updated").ok_or("invalid_data")?;
    Ok(Event { service: get("subject"), source: get("source"), id: get("id"), time, kind, data })
}

/// Known members alone, each at most once and normalised; absent and null ones are left out, except that
/// in a merge patch null says something.
fn members(object: &Json, rules: Rules, patch: bool) -> Option<Json> {
    let Json::Object(_) = object else { return None };
    let mut kept = Vec::new();
    for (name, required, shape) in rules {
        match object.all(name)[..] {
            [] | [Json::Null] if *required => return None,
            [] => {}
            [Json::Null] if !patch => {}
            [Json::Null] => kept.push(((*name).to_owned(), Json::Null)),
            [value] => kept.push(((*name).to_owned(), normal(value, *shape)?)),
            _ => return None,
        }
    }
    Some(Json::Object(kept))
}

/// A value of this shape in its one normal spelling, or nothing where it breaks the rule.
fn normal(value: &Json, shape: Shape) -> Option<Json> {
    let list = |item: fn(&Json) -> Option<Json>| match value {
        Json::Array(items) => items.iter().map(item).collect::<Option<Vec<_>>>().map(Json::Array),
        _ => None,
    };
    let same_if = |fits: bool| fits.then(|| value.clone());
    match (shape, value) {
        (Shape::Guid, Json::Text(text)) => guid(text).map(Json::Text),
        (Shape::Guids, _) => list(|item| normal(item, Shape::Guid)),
        (Shape::Attachments, _) => list(|item| members(item, ATTACHMENT, false)),
        (Shape::OneOf(names), Json::Text(text)) => same_if(names.contains(&text.as_str())),
        (Shape::Id, Json::Text(text)) => same_if((1..=256).contains(&text.len())),
        (Shape::Source, Json::Text(text)) => same_if((1..=256).contains(&text.len()) && is_uri_reference(text)),
        (Shape::Instant, Json::Text(text)) => instant(text).map(|time| Json::Text(time.to_rfc3339())),
        (Shape::Date, Json::Text(text)) => {
            same_if(instant(text).is_some() || instant(&format!("{text}T00:00:00Z")).is_some())
        }
        (Shape::Integer | Shape::IntegerOrText, Json::Number(number)) => {
            let plain = number == "0" || !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
            same_if(plain && number.parse::<u64>().is_ok_and(|n| n <= 1 << 53))
        }
        (Shape::Text | Shape::IntegerOrText, Json::Text(_))
        | (Shape::Bool, Json::Bool(_))
        | (Shape::Object, Json::Object(_)) => same_if(true),
        _ => None,
    }
}

/// 32 hex digits or 8-4-4-4-12, any case.
fn guid(text: &str) -> Option<String> {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.replace('-', "").to_ascii_lowercase();
    ((groups == [32] || groups == [8, 4, 4, 4, 12]) && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

/// RFC 3339 as the envelope's `time` restricts it; fractions are truncated to nine digits.
#[must_use]
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, any_of: &[u8]| text.as_bytes().get(at).filter(|b| any_of.contains(b)).map(|_| ());
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    for (at, any_of) in [(4, &b"-"[..]), (7, b"-"), (10, b"Tt"), (13, b":"), (16, b":")] {
        mark(at, any_of)?;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let nine: String = fraction[..digits].chars().chain("000000000".chars()).take(9).collect();
        nanos = if digits == 0 {
            return None;
        } else {
            nine.parse().ok()?
        };
        rest = &fraction[digits..];
    }
    let local = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?.and_hms_opt(hour, minute, second)?;
    let local = local + TimeDelta::nanoseconds(nanos);
    if rest == "Z" || rest == "z" {
        return Some(local.and_utc());
    }
    let start = text.len() - rest.len();
    let (hours, minutes) = (number(start + 1..start + 3)?, number(start + 4..start + 6)?);
    mark(start, b"+-")?;
    mark(start + 3, b":")?;
    if rest.len() != 6 || hours > 23 || minutes > 59 {
        return None;
    }
    let offset = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    Some(if rest.starts_with('-') { local + offset } else { local - offset }.and_utc())
}

/// RFC 3986 appendix A, roughly: allowed characters, whole percent escapes, a well-formed scheme, one `#`.
fn is_uri_reference(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%[]".contains(b);
    let escapes = text
        .split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)));
    let head = text.split(['/', '?', '#']).next().unwrap_or_default();
    let scheme = head.split_once(':').is_none_or(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    let after = text.split_once("//").map_or(text, |(_, rest)| rest.split_once(['/', '?', '#']).map_or("", |r| r.1));
    bytes.iter().all(plain) && escapes && scheme && text.matches('#').count() < 2 && !after.contains(['[', ']'])
}
