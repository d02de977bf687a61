//! The CloudEvents envelope (`spec/events.md`, Envelope).

use std::borrow::Cow;

use uuid::Uuid;

use super::json::Json;
use super::{Decoder, Reason, Rejection, data};
use crate::model::{Event, EventData, EventType, Instant, parse_guid};

const MAX_IDENTIFIER_BYTES: usize = 256;

/// The attributes that the envelope must have, in the order of the bits that tell which were seen.
const ATTRIBUTES: [&str; 7] = ["specversion", "id", "source", "type", "subject", "time", "data"];

#[derive(Default)]
struct Envelope<'a> {
    seen: u8,
    is_version_1: bool,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<EventType>,
    service: Option<Uuid>,
    time: Option<Instant>,
    data: EventData<'a>,
    has_data: bool,
    /// `data` where it stood before `type`, to be read once the type is known.
    unread_data: Option<Json<'a>>,
}

pub(super) fn decode<'a>(decoder: &Decoder, text: &'a str) -> Result<Event<'a>, Rejection> {
    let mut json = Json::new(text);
    if json.peek() != Some(b'{') {
        json.skip()?;
        json.finish()?;
        return Err(Rejection::envelope("", "an event is a JSON object"));
    }
    let mut envelope = Envelope::default();
    json.object(|json, name| envelope.member(decoder, json, name))?;
    json.finish()?;
    envelope.into_event()
}

impl<'a> Envelope<'a> {
    fn member(&mut self, decoder: &Decoder, json: &mut Json<'a>, name: &str) -> Result<(), Rejection> {
        let Some(index) = ATTRIBUTES.iter().position(|attribute| *attribute == name) else {
            return Ok(json.skip()?);
        };
        if self.seen & (1 << index) != 0 {
            return Err(Rejection::envelope(name, "given twice"));
        }
        self.seen |= 1 << index;
        if json.peek() == Some(b'n') {
            json.literal()?;
            return Ok(());
        }
        if name == "data" {
            return self.data(json);
        }
        if json.peek() != Some(b'"') {
            return Err(Rejection::envelope(name, "expected a string"));
        }
        let value = json.string()?;
        match name {
            "specversion" if value == "1.0" => self.is_version_1 = true,
            "specversion" => return Err(Rejection::envelope(name, "expected \"1.0\"")),
            "id" => self.id = Some(identifier(name, value)?),
            "source" => self.source = Some(uri_reference(identifier(name, value)?)?),
            "type" => self.event_type = Some(event_type(decoder, &value)?),
            "subject" => {
                let guid = parse_guid(&value).ok_or_else(|| Rejection::envelope(name, GUID_EXPECTED))?;
                self.service = Some(guid);
            }
            _ => self.time = Some(time_in_range(decoder, &value)?),
        }
        Ok(())
    }

    fn data(&mut self, json: &mut Json<'a>) -> Result<(), Rejection> {
        if let Some(event_type) = self.event_type {
            data::decode(event_type, json, &mut self.data)?;
            self.has_data = true;
        } else {
            self.unread_data = Some(json.clone());
            json.skip()?;
        }
        Ok(())
    }

    fn into_event(mut self) -> Result<Event<'a>, Rejection> {
        let missing = |name| Rejection::envelope(name, "missing");
        if !self.is_version_1 {
            return Err(missing("specversion"));
        }
        let event_type = self.event_type.ok_or_else(|| missing("type"))?;
        if let Some(mut json) = self.unread_data.take() {
            data::decode(event_type, &mut json, &mut self.data)?;
            self.has_data = true;
        }
        if !self.has_data {
            return Err(Rejection::new(Reason::InvalidData, "data", "missing"));
        }
        Ok(Event {
            service: self.service.ok_or_else(|| missing("subject"))?,
            time: self.time.ok_or_else(|| missing("time"))?,
            source: self.source.ok_or_else(|| missing("source"))?,
            id: self.id.ok_or_else(|| missing("id"))?,
            event_type,
            data: self.data,
        })
    }
}

pub(super) const GUID_EXPECTED: &str = "expected a GUID: 32 hex digits, or 8-4-4-4-12";

fn identifier<'a>(name: &str, value: Cow<'a, str>) -> Result<Cow<'a, str>, Rejection> {
    match value.len() {
        0 => Err(Rejection::envelope(name, "empty")),
        1..=MAX_IDENTIFIER_BYTES => Ok(value),
        length => {
            Err(Rejection::envelope(name, format!("{length} bytes long; at most {MAX_IDENTIFIER_BYTES} are allowed")))
        }
    }
}

/// Lets through what has only characters of a URI reference (RFC 3986, appendix A), percent signs with two hex digits.
fn uri_reference(value: Cow<'_, str>) -> Result<Cow<'_, str>, Rejection> {
    let bytes = value.as_bytes();
    let fits = |(at, byte): (usize, &u8)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
        byte => byte.is_ascii_graphic(),
    };
    if bytes.iter().enumerate().all(fits) {
        Ok(value)
    } else {
        Err(Rejection::envelope("source", "not a URI reference"))
    }
}

fn event_type(decoder: &Decoder, name: &str) -> Result<EventType, Rejection> {
    if name.is_empty() {
        return Err(Rejection::envelope("type", "empty"));
    }
    decoder.event_type(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        Rejection::new(
            Reason::UnknownType,
            "type",
            format!("'{shown}' is no type of the specification, nor mapped to one by ingest.types"),
        )
    })
}

fn time_in_range(decoder: &Decoder, text: &str) -> Result<Instant, Rejection> {
    let time = Instant::parse_rfc3339(text).ok_or_else(|| {
        Rejection::envelope("time", "expected RFC 3339 with an offset, such as 2026-03-04T05:06:07.123Z")
    })?;
    let (earliest, latest) = (decoder.earliest, decoder.latest);
    if (earliest..=latest).contains(&time) {
        return Ok(time);
    }
    let detail = if time < earliest {
        format!("before ingest.earliest, {}", earliest.to_rfc3339_seconds())
    } else {
        format!("later than now + ingest.max_future, {}", latest.to_rfc3339_seconds())
    };
    Err(Rejection::new(Reason::TimeOutOfRange, "time", detail))
}
