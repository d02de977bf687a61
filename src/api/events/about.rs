//! What sending events takes and gives, for what is told about the API (`tell`).

use super::binding::{BATCH, LINES, STRUCTURED};

pub(in crate::api) const SUMMARY: &str = "Takes events, and answers when they are durable. Each is answered for.";
pub(in crate::api) const BODY: &str = "Events in UTF-8, as they are or encoded with gzip or zstd (Content-Encoding). In binary \
    mode the body is the data of one event, as application/json or any other JSON type, and its attributes are the headers ce-*, \
    percent-encoded.";

/// What a body of a content type holds.
pub(in crate::api) enum Holds {
    Event,
    Events,
    /// As text.
    Lines,
}

/// The content types of whole events.
pub(in crate::api) const FORMS: [(&str, Holds, &str); 3] = [
    (STRUCTURED, Holds::Event, "one event"),
    (BATCH, Holds::Events, "a JSON array of events"),
    (LINES[0], Holds::Lines, "an event a line; also application/ndjson and application/jsonl"),
];

/// The headers of binary mode, which the other forms do not look at.
pub(in crate::api) const HEADERS: [&str; 6] =
    ["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time"];

/// The statuses of an answer that tells of each event.
pub(in crate::api) const ANSWERS: [(&str, &str); 3] = [
    ("202", "All events are durable."),
    ("207", "Those that are accepted are durable; the others were rejected."),
    ("400", "Each event was rejected, or the body can't be told apart into events: none is kept."),
];

/// Those that tell of the request as a whole: nothing of it is acknowledged.
pub(in crate::api) const REFUSALS: [(&str, &str); 11] = [
    ("401", "There is no valid key."),
    ("403", "The key is one of a partner or a reseller: they only read."),
    ("404", "This server only reads (`serve`); events are sent to the one that `run` has started."),
    ("405", "The route takes POST and OPTIONS."),
    ("408", "The body did not come in time."),
    ("413", "The body is larger than ingest.max_post_bytes, as it was sent or decoded."),
    ("414", "Path and query are too long."),
    ("415", "The content type is none of those that events have, or the encoding is not known."),
    ("429", "Too many requests with this key."),
    ("500", "The request failed; the log says why, under the request's id."),
    (
        "503",
        "As many events wait to be ingested as may, the disk is full or can't be written, the store can't be reached, or the server is stopping. Send the same again later.",
    ),
];
