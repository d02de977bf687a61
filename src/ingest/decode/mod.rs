//! From a line of NDJSON to a valid [`Event`], or to the reason why it is not one. One file a format: today there is one,
//! CloudEvents 1.0 in JSON (`spec/events.md`).

mod data;
mod envelope;
mod json;
mod lines;
mod plain;
pub mod schema;
mod service_patch;

use std::collections::HashMap;
use std::fmt;

pub use json::JsonError;
pub use lines::LineDecoder;

use crate::config;
use crate::model::{Event, EventType, Instant};

/// Why a line was rejected: a closed set of codes, kept with the dead letter (`spec/events.md`, What happens to each line).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    InvalidJson,
    InvalidEnvelope,
    UnknownType,
    InvalidData,
    TimeOutOfRange,
    LineTooLong,
}

impl Reason {
    pub const ALL: [Self; 6] = [
        Self::InvalidJson,
        Self::InvalidEnvelope,
        Self::UnknownType,
        Self::InvalidData,
        Self::TimeOutOfRange,
        Self::LineTooLong,
    ];

    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidEnvelope => "invalid_envelope",
            Self::UnknownType => "unknown_type",
            Self::InvalidData => "invalid_data",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::LineTooLong => "line_too_long",
        }
    }

    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// Why a line is not an event, and which member is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Reason,
    /// The member's name, with `data.` before it within `data`; empty where no one member is at fault.
    pub member: String,
    /// What was expected, and what was found where that helps.
    pub detail: String,
}

impl Rejection {
    pub(crate) fn new(reason: Reason, member: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason, member: member.into(), detail: detail.into() }
    }

    #[cold]
    #[expect(clippy::unnecessary_box_returns, reason = "a refusal is passed on as it is")]
    fn envelope(member: &str, detail: impl Into<String>) -> Refusal {
        Self::new(Reason::InvalidEnvelope, member, detail).into()
    }

    #[cold]
    #[expect(clippy::unnecessary_box_returns, reason = "a refusal is passed on as it is")]
    fn data(member: &str, detail: impl Into<String>) -> Refusal {
        Self::new(Reason::InvalidData, format!("data.{member}"), detail).into()
    }
}

/// A rejection, boxed: the few lines that are rejected pay for it, and the many others pass on a pointer's width.
pub type Refusal = Box<Rejection>;

impl From<JsonError> for Refusal {
    #[cold]
    fn from(error: JsonError) -> Self {
        Rejection::new(Reason::InvalidJson, "", error.to_string()).into()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason.code())?;
        if !self.member.is_empty() {
            write!(f, ": {}", self.member)?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Turns lines into events, as configured.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Other names for the types of the specification (`ingest.types`).
    types: HashMap<String, EventType>,
    /// An event's time lies within these, both included.
    earliest: Instant,
    latest: Instant,
}

impl Decoder {
    #[must_use]
    pub fn new(types: HashMap<String, EventType>, earliest: Instant, latest: Instant) -> Self {
        Self { types, earliest, latest }
    }

    /// As the configuration has it, for what arrives at this instant.
    #[must_use]
    pub fn for_now(rules: &config::Ingest, now: Instant) -> Self {
        let seconds = i64::try_from(rules.max_future.as_secs()).unwrap_or(i64::MAX);
        Self::new(rules.types.clone(), rules.earliest, now.plus_seconds(seconds))
    }

    /// Decodes and validates one line, without its line ending.
    ///
    /// # Errors
    /// The reason for which the line is rejected; it concerns this line alone.
    pub fn decode<'a>(&self, line: &'a [u8]) -> Result<Event<'a>, Rejection> {
        let text = simdutf8::compat::from_utf8(line).map_err(|error| {
            Rejection::new(Reason::InvalidJson, "", format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1))
        })?;
        self.lines(text).decode_alone().map_err(|refusal| *refusal)
    }

    /// Decodes the lines of a text, quicker than one by one.
    #[must_use]
    pub fn lines<'a>(&self, text: &'a str) -> LineDecoder<'_, 'a> {
        LineDecoder::new(self, text)
    }

    fn event_type(&self, name: &str) -> Option<EventType> {
        EventType::from_name(name).or_else(|| self.types.get(name).copied())
    }
}
