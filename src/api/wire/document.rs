//! A document before it is written: values with the names and types that every format needs to know (`spec/api.md`,
//! section 4). What the formats make of them is in [`crate::api::format`].

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::response_status;

/// A type of the contract: its name, and its own members in the order that was published. What is told about the API is made
/// from it, and what is answered is held against it where debug assertions are on, as they are in tests.
#[derive(Debug)]
pub(in crate::api) struct Type {
    pub name: &'static str,
    pub members: &'static [Member],
    /// What it inherits.
    pub base: Option<&'static Type>,
}

#[derive(Debug)]
pub(in crate::api) struct Member {
    /// In Pascal case.
    pub name: &'static str,
    pub kind: Kind,
    /// Whether it is never null.
    pub always: bool,
}

/// What a member holds.
#[derive(Debug)]
pub(in crate::api) enum Kind {
    Text,
    Guid,
    DateTime,
    Integer,
    Double,
    Flag,
    /// One of these names.
    Choice(&'static Choice),
    Object(&'static Type),
    List(&'static Type),
}

/// An enumeration of the contract, with its values in the order that was published.
#[derive(Debug)]
pub(in crate::api) struct Choice {
    pub name: &'static str,
    pub values: &'static [&'static str],
}

impl Member {
    pub const fn always(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, always: true }
    }

    pub const fn if_set(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, always: false }
    }

    fn takes(&self, value: &Value<'_>) -> bool {
        match (&self.kind, value) {
            (_, Value::Null) => !self.always,
            (Kind::Text, Value::Text(_))
            | (Kind::Guid, Value::Guid(_))
            | (Kind::DateTime, Value::DateTime(_))
            | (Kind::Integer, Value::Integer(_) | Value::Unsigned(_))
            | (Kind::Double, Value::Double(_))
            | (Kind::Flag, Value::Flag(_)) => true,
            (Kind::Choice(choice), Value::Text(text)) => choice.values.contains(&text.as_ref()),
            (Kind::Object(of), Value::Object(object)) => of.name == object.of.name,
            (Kind::List(of), Value::List(items_of, items)) => {
                of.name == items_of.name && items.iter().all(|item| item.of.name == of.name)
            }
            _ => false,
        }
    }
}

impl Type {
    /// All members, in wire order.
    pub fn all_members(&self) -> impl Iterator<Item = &'static Member> {
        self.members.iter().chain(self.base.into_iter().flat_map(|base| base.members))
    }
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
    /// A finite one; a whole one is written without a fraction.
    Double(f64),
    Flag(bool),
    Object(Object<'a>),
    /// Objects of one type, which is told so that a table has columns also where it has no rows.
    List(&'static Type, Vec<Object<'a>>),
}

/// What every response inherits or declares; in one that succeeded it is null.
pub(in crate::api) const RESPONSE_STATUS: &str = "ResponseStatus";

/// The items of a list.
pub(in crate::api) const RESULTS: &str = "Results";

/// What a response inherits that declares members of its own.
pub(in crate::api) static WITH_RESPONSE_STATUS: Type =
    Type { name: "WithResponseStatus", members: &[response_status::MEMBER], base: None };

impl<'a> Object<'a> {
    pub fn new(of: &'static Type, values: Vec<Value<'a>>) -> Self {
        debug_assert_eq!(of.members.len(), values.len(), "{}", of.name);
        for (member, value) in of.members.iter().zip(&values) {
            debug_assert!(member.takes(value), "{}.{} is {value:?}", of.name, member.name);
        }
        Self { of, values, base: None }
    }

    pub fn inherits(self, base: Object<'a>) -> Self {
        debug_assert_eq!(self.of.base.map(|of| of.name), Some(base.of.name), "{}", self.of.name);
        Self { base: Some(Box::new(base)), ..self }
    }

    /// Its last member is the status of a response that has nothing to complain about.
    pub fn with_response_status(self) -> Self {
        self.inherits(Object::new(&WITH_RESPONSE_STATUS, vec![Value::Null]))
    }

    /// The object's own members, with their names.
    pub fn own(&self) -> impl Iterator<Item = (&'static str, &Value<'a>)> {
        self.of.members.iter().map(|member| member.name).zip(&self.values)
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
