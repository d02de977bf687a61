//! The CloudEvents envelope (`spec/events.md`, Envelope).

use std::borrow::Cow;

use super::json::{Json, Name};
use super::lines::Memory;
use super::{Decoder, Reason, Refusal, Rejection, data};
use crate::model::{Event, EventType, Instant, LastDate, parse_guid};

pub(super) const MAX_IDENTIFIER_BYTES: usize = 256;

/// The attributes that the envelope must have, in the order of the bits that tell which were seen; and behind them one that
/// is ignored like any other, but comes with most events.
pub(super) static ATTRIBUTES: [Name; 8] =
    Name::all(["specversion", "id", "source", "type", "subject", "time", "data", "datacontenttype"]);
pub(super) const SPECVERSION: usize = 0;
pub(super) const ID: usize = 1;
pub(super) const SOURCE: usize = 2;
pub(super) const TYPE: usize = 3;
pub(super) const SUBJECT: usize = 4;
pub(super) const TIME: usize = 5;
pub(super) const DATA: usize = 6;
pub(super) const IGNORED: usize = 7;

/// An envelope that is being read.
struct Envelope<'e, 'a> {
    decoder: &'e Decoder,
    event: &'e mut Event<'a>,
    memory: &'e mut Memory,
    /// A bit for each of the attributes.
    seen: u8,
    /// Those that are not null.
    present: u8,
    /// `data` where it stood before `type`, to be read once the type is known.
    unread_data: Option<Json<'a>>,
}

/// Reads a line into `event`, of which the data is empty, and the source that of an event before.
pub(super) fn decode<'a>(
    decoder: &Decoder,
    mut json: Json<'a>,
    event: &mut Event<'a>,
    memory: &mut Memory,
) -> Result<(), Refusal> {
    if json.peek() != Some(b'{') {
        json.skip()?;
        json.finish()?;
        return Err(Rejection::envelope("", "an event is a JSON object"));
    }
    let mut order = memory.envelope;
    let mut envelope = Envelope { decoder, event, memory, seen: 0, present: 0, unread_data: None };
    json.object(&ATTRIBUTES, &mut order, |json, index| envelope.attribute(json, index))?;
    json.finish()?;
    envelope.finish()?;
    memory.envelope = order;
    Ok(())
}

impl<'a> Envelope<'_, 'a> {
    #[inline]
    fn attribute(&mut self, json: &mut Json<'a>, index: usize) -> Result<(), Refusal> {
        if index == IGNORED {
            return Ok(json.skip()?);
        }
        let (name, bit) = (ATTRIBUTES[index].text, 1 << index);
        if self.seen & bit != 0 {
            return Err(Rejection::envelope(name, "given twice"));
        }
        self.seen |= bit;
        let next = json.peek();
        if next == Some(b'n') {
            json.literal()?;
            return Ok(());
        }
        self.present |= bit;
        if index == DATA {
            return self.data(json);
        }
        if next != Some(b'"') {
            return Err(Rejection::envelope(name, "expected a string"));
        }
        match index {
            SPECVERSION => {
                if json.this_string("1.0").is_none() && json.string()? != "1.0" {
                    return Err(Rejection::envelope(name, "expected \"1.0\""));
                }
            }
            ID => self.event.id = identifier(name, json.string()?)?,
            SOURCE => {
                self.event.source = match json.this_string(&self.event.source) {
                    Some(source) => Cow::Borrowed(source),
                    None => uri_reference(identifier(name, json.string()?)?)?,
                }
            }
            TYPE => self.event.event_type = event_type(self.decoder, &json.string()?)?,
            SUBJECT => {
                self.event.service = match json.hyphenated_guid() {
                    Some(guid) => guid,
                    None => parse_guid(&json.string()?).ok_or_else(|| Rejection::envelope(name, GUID_EXPECTED))?,
                }
            }
            _ => self.event.time = time_in_range(self.decoder, &json.string()?, &mut self.memory.date)?,
        }
        Ok(())
    }

    fn is_present(&self, index: usize) -> bool {
        self.present & (1 << index) != 0
    }

    #[inline]
    fn data(&mut self, json: &mut Json<'a>) -> Result<(), Refusal> {
        if self.is_present(TYPE) {
            return data::decode(self.event.event_type, json, &mut self.event.data, self.memory);
        }
        self.unread_data = Some(json.clone());
        Ok(json.skip()?)
    }

    fn finish(mut self) -> Result<(), Refusal> {
        for index in [SPECVERSION, TYPE] {
            if !self.is_present(index) {
                return Err(Rejection::envelope(ATTRIBUTES[index].text, "missing"));
            }
        }
        if let Some(mut json) = self.unread_data.take() {
            data::decode(self.event.event_type, &mut json, &mut self.event.data, self.memory)?;
        }
        if !self.is_present(DATA) {
            return Err(Rejection::new(Reason::InvalidData, "data", "missing").into());
        }
        for index in [SUBJECT, TIME, SOURCE, ID] {
            if !self.is_present(index) {
                return Err(Rejection::envelope(ATTRIBUTES[index].text, "missing"));
            }
        }
        Ok(())
    }
}

pub(super) const GUID_EXPECTED: &str = "expected a GUID: 32 hex digits, or 8-4-4-4-12";

fn identifier<'a>(name: &str, value: Cow<'a, str>) -> Result<Cow<'a, str>, Refusal> {
    match value.len() {
        0 => Err(Rejection::envelope(name, "empty")),
        1..=MAX_IDENTIFIER_BYTES => Ok(value),
        length => {
            Err(Rejection::envelope(name, format!("{length} bytes long; at most {MAX_IDENTIFIER_BYTES} are allowed")))
        }
    }
}

/// Lets through what has only characters of a URI reference (RFC 3986, appendix A), percent signs with two hex digits.
fn uri_reference(value: Cow<'_, str>) -> Result<Cow<'_, str>, Refusal> {
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

fn event_type(decoder: &Decoder, name: &str) -> Result<EventType, Refusal> {
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
        .into()
    })
}

fn time_in_range(decoder: &Decoder, text: &str, last: &mut LastDate) -> Result<Instant, Refusal> {
    let time = Instant::parse_rfc3339_near(text, last).ok_or_else(|| {
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
    Err(Rejection::new(Reason::TimeOutOfRange, "time", detail).into())
}
