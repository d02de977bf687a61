//! A document before it is written: values with the names and types that every format needs to know (`spec/api.md`,
//! section 4). What the formats make of them is in [`crate::api::format`].

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A type of the contract: its name, and its own members in the order that was published, in Pascal case.
#[derive(Debug)]
pub(in crate::api) struct Type {
    pub name: &'static str,
    pub members: &'static [&'static str],
}

/// Whatever has members.
#[derive(Debug)]
pub(in crate::api) struct Object<'a> {
    pub of: &'static Type,
    /// One for each member of the type.
    pub values: Vec<Value<'a>>,
    /// What the type inherits: behind its own members, but before them in XML.
    pub base: Option<Box<Object<'a>>>,
}

#[derive(Debug)]
pub(in crate::api) enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Guid(Uuid),
    DateTime(DateTime<Utc>),
    Integer(i64),
    Unsigned(u64),
    Object(Object<'a>),
    /// Objects of one type, which is told so that a table has columns also where it has no rows.
    List(&'static Type, Vec<Object<'a>>),
}

/// What every response inherits or declares; in one that succeeded it is null.
pub(in crate::api) const RESPONSE_STATUS: &str = "ResponseStatus";

static WITH_RESPONSE_STATUS: Type = Type { name: "WithResponseStatus", members: &[RESPONSE_STATUS] };

impl<'a> Object<'a> {
    pub fn new(of: &'static Type, values: Vec<Value<'a>>) -> Self {
        debug_assert_eq!(of.members.len(), values.len(), "{}", of.name);
        Self { of, values, base: None }
    }

    pub fn inherits(self, base: Object<'a>) -> Self {
        Self { base: Some(Box::new(base)), ..self }
    }

    /// Its last member is the status of a response that has nothing to complain about.
    pub fn with_response_status(self) -> Self {
        self.inherits(Object::new(&WITH_RESPONSE_STATUS, vec![Value::Null]))
    }

    /// The object's own members, with their names.
    pub fn own(&self) -> impl Iterator<Item = (&'static str, &Value<'a>)> {
        self.of.members.iter().copied().zip(&self.values)
    }

    /// All members, in wire order.
    pub fn members(&self) -> impl Iterator<Item = (&'static str, &Value<'a>)> {
        let inherited = self.base.iter().flat_map(|base| base.own());
        self.own().chain(inherited)
    }
}

impl<'a> Value<'a> {
    pub fn of<T>(value: Option<T>) -> Self
    where
        Value<'a>: From<T>,
    {
        value.map_or(Self::Null, Self::from)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Uuid> for Value<'_> {
    fn from(guid: Uuid) -> Self {
        Self::Guid(guid)
    }
}

impl From<DateTime<Utc>> for Value<'_> {
    fn from(time: DateTime<Utc>) -> Self {
        Self::DateTime(time)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

impl<'a> From<Object<'a>> for Value<'a> {
    fn from(object: Object<'a>) -> Self {
        Self::Object(object)
    }
}
