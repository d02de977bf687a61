//! `PingResponse`.

use chrono::{DateTime, Utc};

use super::document::{Object, Type};

static RESPONSE: Type = Type { name: "PingResponse", members: &["Timestamp", "Version"] };

pub(in crate::api) fn response(timestamp: DateTime<Utc>, version: &'static str) -> Object<'static> {
    Object::new(&RESPONSE, vec![timestamp.into(), version.into()]).with_response_status()
}
