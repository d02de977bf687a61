//! A document of a type as it may look, for the pages about operations.

use chrono::{TimeZone as _, Utc};
use uuid::Uuid;

use crate::api::wire::document::{Kind, Member, Object, RESPONSE_STATUS, Type, Value};

const GUID: u128 = 0x3f2b_8c1e_7d54_4f0a_9a55_0d6f_1f8f_7a10;

/// Every member is there, but for the status of errors.
pub(super) fn of(of: &'static Type) -> Object<'static> {
    let sample = Object::new(of, of.members.iter().map(value).collect());
    match of.base {
        Some(base) => sample.inherits(self::of(base)),
        None => sample,
    }
}

fn value(member: &Member) -> Value<'static> {
    if member.name == RESPONSE_STATUS && !member.always {
        return Value::Null;
    }
    match &member.kind {
        Kind::Text => "text".into(),
        Kind::Guid => Uuid::from_u128(GUID).into(),
        Kind::DateTime => Utc.with_ymd_and_hms(2026, 3, 4, 0, 0, 0).single().map_or(Value::Null, Value::DateTime),
        Kind::Integer => Value::Integer(1),
        Kind::Flag => Value::Flag(true),
        Kind::Double => Value::Double(12.5),
        Kind::Choice(choice) => choice.values.last().copied().map_or(Value::Null, Value::from),
        Kind::Object(inner) => of(inner).into(),
        Kind::List(inner) => Value::List(inner, vec![of(inner)]),
    }
}
