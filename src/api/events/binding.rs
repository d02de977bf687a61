//! The forms in which events come over HTTP (CloudEvents 1.0, HTTP protocol binding), and what is read of each: the text of each
//! event, as it was sent.

use std::borrow::Cow;
use std::io::Read;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::error::ApiError;

pub(super) const STRUCTURED: &str = "application/cloudevents+json";
pub(super) const BATCH: &str = "application/cloudevents-batch+json";
pub(super) const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
const ATTRIBUTE: &str = "ce-";

/// How a body holds events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The event is the body.
    Structured,
    /// The body is an array of events.
    Batch,
    /// The attributes are headers, and the body is the data.
    Binary,
    /// An event a line.
    Lines,
}

/// What was sent.
pub(super) enum Sent<'b> {
    One(Cow<'b, [u8]>),
    Batch(Vec<&'b RawValue>),
    Lines(&'b [u8]),
}

impl Form {
    /// # Errors
    /// When the content type is none of those that events come in.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let content_type = headers.get(CONTENT_TYPE).map_or(Ok(""), |value| value.to_str());
        let content_type = content_type.map_err(|_| ApiError::NoEvents)?;
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let media_type = media_type.trim().to_ascii_lowercase();
        let charset = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        let mut charset = charset.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        if charset.any(|(_, value)| !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")) {
            return Err(ApiError::NoEvents);
        }
        let is_json = media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json");
        match media_type.as_str() {
            STRUCTURED => Ok(Self::Structured),
            BATCH => Ok(Self::Batch),
            lines if LINES.contains(&lines) => Ok(Self::Lines),
            of_data if (is_json || of_data.is_empty()) && headers.contains_key("ce-specversion") => Ok(Self::Binary),
            _ => Err(ApiError::NoEvents),
        }
    }

    /// The events of a body.
    ///
    /// # Errors
    /// When no event can be told from another.
    pub fn events<'b>(self, headers: &HeaderMap, body: &'b [u8]) -> Result<Sent<'b>, ApiError> {
        match self {
            Self::Structured => Ok(Sent::One(body.trim_ascii().into())),
            Self::Binary => Ok(Sent::One(structured(headers, body)?.into())),
            Self::Lines => Ok(Sent::Lines(body)),
            Self::Batch => serde_json::from_slice(body)
                .map(Sent::Batch)
                .map_err(|error| ApiError::argument("body", format!("the body is no JSON array of events: {error}"))),
        }
    }
}

impl Sent<'_> {
    /// The text of each event.
    pub fn events(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            Self::One(text) => Box::new(std::iter::once(text.as_ref())),
            Self::Batch(events) => Box::new(events.iter().map(|event| event.get().as_bytes())),
            Self::Lines(text) => {
                let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                Box::new(lines.filter(|line| !line.is_empty()))
            }
        }
    }
}

/// An event in binary mode, in the form that files have. Its data stays as it was sent.
fn structured(headers: &HeaderMap, data: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut event = b"{".to_vec();
    let mut member = |name: &str, value: &[u8]| {
        if event.len() > 1 {
            event.push(b',');
        }
        event.extend(serde_json::to_vec(name).unwrap_or_default());
        event.push(b':');
        event.extend_from_slice(value);
    };
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix(ATTRIBUTE) else { continue };
        let text = std::str::from_utf8(value.as_bytes()).ok().and_then(attribute_value);
        let text = text.ok_or_else(|| ApiError::argument("ce-*", format!("the header {name} is no UTF-8 text")))?;
        member(attribute, &serde_json::to_vec(&text).unwrap_or_default());
    }
    if let Some(content_type) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        member("datacontenttype", &serde_json::to_vec(content_type).unwrap_or_default());
    }
    if !data.trim_ascii().is_empty() {
        member("data", data);
    }
    event.push(b'}');
    Ok(event)
}

/// The text of an attribute in a header: perhaps quoted, then percent-encoded (section 3.1.3.2).
fn attribute_value(header: &str) -> Option<String> {
    let header = header.trim();
    let quoted = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = quoted.map_or(Cow::Borrowed(header), |quoted| {
        let mut unescaped = String::with_capacity(quoted.len());
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            unescaped.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
        }
        unescaped.into()
    });
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

/// The id of an event that was rejected, as far as it can be told.
pub(super) fn id(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    serde_json::from_slice::<Named>(text).ok().map(|named| named.id)
}

/// A body without its compression.
///
/// # Errors
/// When the encoding is not known, the body is not encoded so, or there is more in it than may be.
pub(super) fn inflated(headers: &HeaderMap, body: Vec<u8>, most: usize) -> Result<Vec<u8>, ApiError> {
    let encoding = headers.get(CONTENT_ENCODING).map_or(Ok("identity"), |value| value.to_str());
    let encoding = encoding.unwrap_or("?").trim().to_ascii_lowercase();
    let reader: Box<dyn Read + '_> = match encoding.as_str() {
        "identity" => return Ok(body),
        "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body.as_slice())),
        "zstd" => {
            let decoder = zstd::stream::read::Decoder::new(body.as_slice());
            Box::new(decoder.map_err(|error| ApiError::Internal(error.into()))?)
        }
        _ => return Err(ApiError::UnknownEncoding),
    };
    let mut inflated = Vec::new();
    let read = reader.take(most as u64 + 1).read_to_end(&mut inflated);
    read.map_err(|error| ApiError::argument("body", format!("the body is no {encoding}: {error}")))?;
    if inflated.len() > most { Err(ApiError::BodyTooLarge(most as u64)) } else { Ok(inflated) }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_form_is_told_by_the_content_type() {
        let form = |content_type: &'static str| Form::of(&headers(&[("content-type", content_type)])).ok();
        assert_eq!(form("application/cloudevents+json"), Some(Form::Structured));
        assert_eq!(form("Application/CloudEvents+JSON; charset=UTF-8"), Some(Form::Structured));
        assert_eq!(form("application/cloudevents-batch+json;charset=\"utf-8\""), Some(Form::Batch));
        assert_eq!(form("application/x-ndjson"), Some(Form::Lines));
        assert_eq!(form("application/cloudevents+json; charset=latin1"), None);
        assert_eq!(form("application/cloudevents+avro"), None);
        assert_eq!(form("application/json"), None, "attributes are missing");
        let binary = |content_type| headers(&[("content-type", content_type), ("ce-specversion", "1.0")]);
        assert_eq!(Form::of(&binary("application/json")).ok(), Some(Form::Binary));
        assert_eq!(Form::of(&binary("text/plain")).ok(), None);
        assert_eq!(Form::of(&headers(&[("ce-specversion", "1.0")])).ok(), Some(Form::Binary));
    }

    #[test]
    fn headers_become_members_and_data_stays_as_it_was_sent() {
        let of = headers(&[
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20%22b%22 %E2%82%AC"),
            ("ce-subject", "\"a \\\"b\\\"\""),
            ("content-type", "application/json"),
            ("x-other", "1"),
        ]);
        let text = String::from_utf8(structured(&of, b"{\"a\": 1.0}\n").unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"specversion\":\"1.0\",\"id\":\"a \\\"b\\\" \u{20ac}\",\"subject\":\"a \\\"b\\\"\",\"datacontenttype\":\"application/json\",\"data\":{\"a\": 1.0}\n}"
        );
        assert!(structured(&headers(&[("ce-id", "%ff")]), b"").is_err());
    }

    #[test]
    fn events_keep_their_spelling() {
        let texts = |form: Form, body: &[u8]| -> Vec<String> {
            let none = HeaderMap::new();
            let sent = form.events(&none, body).unwrap();
            sent.events().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
        };
        assert_eq!(
            texts(Form::Batch, b" [ {\"a\": 1e0 }, 7,\n{\"a\":1,\"a\":2}] "),
            ["{\"a\": 1e0 }", "7", "{\"a\":1,\"a\":2}"]
        );
        assert_eq!(texts(Form::Lines, b"{}\r\n \n{ }"), ["{}", "{ }"]);
        assert_eq!(texts(Form::Structured, b"\n{ \n}\n"), ["{ \n}"]);
        assert!(Form::Batch.events(&HeaderMap::new(), b"{}").is_err());
    }

    #[test]
    fn what_is_compressed_is_bounded_by_what_it_holds() {
        let zstd = |content: &[u8]| zstd::encode_all(content, 1).unwrap();
        let of = headers(&[("content-encoding", "zstd")]);
        assert_eq!(inflated(&of, zstd(b"abc"), 3).unwrap(), b"abc");
        assert!(matches!(inflated(&of, zstd(&vec![0; 100_000]), 99_999), Err(ApiError::BodyTooLarge(99_999))));
        assert!(matches!(inflated(&of, b"abc".to_vec(), 10), Err(ApiError::Arguments(_))));
        assert!(matches!(
            inflated(&headers(&[("content-encoding", "br")]), Vec::new(), 1),
            Err(ApiError::UnknownEncoding)
        ));
    }
}
