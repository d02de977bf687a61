//! `PingResponse`.

use chrono::{DateTime, Utc};

use super::document::{Kind, Member, Object, Type, WITH_RESPONSE_STATUS};

pub(in crate::api) static RESPONSE: Type = Type {
    name: "PingResponse",
    members: &[Member::always("Timestamp", Kind::DateTime), Member::always("Version", Kind::Text)],
    base: Some(&WITH_RESPONSE_STATUS),
};

pub(in crate::api) fn response(timestamp: DateTime<Utc>, version: &'static str) -> Object<'static> {
    Object::new(&RESPONSE, vec![timestamp.into(), version.into()]).with_response_status()
}
