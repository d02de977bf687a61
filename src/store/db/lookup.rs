//! Many rows by their keys.

use uuid::Uuid;

use super::super::Result;
use super::postgres::PlainRows;
use super::query::Query;
use super::sqlite::JoinedRows;
use super::text::{PerDialect, Text};
use super::value::{Guids, Value};
use super::{Dialect, Pool, Transaction, postgres, sqlite};
use crate::model::Day;

/// A column that is looked up.
#[derive(Clone, Copy)]
pub enum Column {
    Guid(&'static str),
    Day(&'static str),
    /// Of at most 11 characters.
    Number(&'static str),
    /// Bytes that `encode` made.
    Encoded(&'static str),
    /// Bytes of any length.
    Bytes(&'static str),
}

/// Rows of a table by their GUIDs, many at a time.
pub struct Lookup {
    pub(super) columns: &'static [Column],
    pub(super) table: &'static str,
    /// The columns that the GUIDs are of; where there are none, rows are chosen by the condition alone.
    pub(super) keys: &'static [&'static str],
    /// What else must hold of the rows; its parameters follow the keys.
    pub(super) condition: &'static str,
    text: PerDialect,
}

impl Lookup {
    pub const fn new(
        columns: &'static [Column],
        table: &'static str,
        keys: &'static [&'static str],
        condition: &'static str,
    ) -> Self {
        Self { columns, table, keys, condition, text: PerDialect::new() }
    }

    fn bind<'c>(&self, query: Query<'c>, keys: &'c [Uuid]) -> Asked<'c> {
        Asked(match (&query, self.keys.len()) {
            (_, 0) => query,
            (Query::Sqlite(..), _) | (_, 1) => query.bind(Guids::from(keys)),
            (Query::Postgres(..), of_key) => (0..of_key).fold(query, |query, at| {
                let column: Vec<Uuid> = keys.iter().skip(at).step_by(of_key).copied().collect();
                query.bind(Guids::from(column))
            }),
        })
    }
}

impl Pool {
    /// Asks for the rows of these keys, on any connection. Where a key is of several GUIDs, they follow each other, and the
    /// condition has no parameters.
    pub fn look_up<'c>(&'c self, lookup: &'static Lookup, keys: &'c [Uuid]) -> Asked<'c> {
        lookup.bind(self.sql(lookup), keys)
    }
}

impl Transaction {
    /// The same, within the transaction.
    pub fn look_up<'c>(&'c mut self, lookup: &'static Lookup, keys: &'c [Uuid]) -> Asked<'c> {
        lookup.bind(self.sql(lookup), keys)
    }
}

impl Text for &'static Lookup {
    fn of(self, dialect: Dialect) -> &'static str {
        self.text.get(dialect, || match dialect {
            Dialect::Sqlite => sqlite::lookup(self),
            Dialect::Postgres => postgres::lookup(self),
        })
    }
}

/// A look-up on its way.
pub struct Asked<'c>(Query<'c>);

impl<'c> Asked<'c> {
    /// Sets the next parameter of the condition.
    pub fn bind(self, value: impl Value<'c> + 'c) -> Self {
        Self(self.0.bind(value))
    }

    pub async fn answer(self) -> Result<Answer> {
        Ok(match self.0 {
            query @ Query::Sqlite(..) => Answer::Joined(query.value().await?),
            query @ Query::Postgres(..) => Answer::Plain(query.all().await?),
        })
    }
}

/// The rows that were found.
pub enum Answer {
    Joined(Option<Vec<u8>>),
    Plain(Vec<super::Row>),
}

impl Answer {
    /// The rows one after the other.
    pub fn rows(&self) -> Found<'_> {
        match self {
            Self::Joined(joined) => Found::Joined(JoinedRows::new(joined.as_deref())),
            Self::Plain(rows) => Found::Plain(PlainRows::new(rows)),
        }
    }
}

/// A walk through rows, and within each through its columns, which are taken in their order.
pub enum Found<'a> {
    Joined(JoinedRows<'a>),
    Plain(PlainRows<'a>),
}

impl<'a> Found<'a> {
    /// Goes to the next row, if there is one.
    pub fn next(&mut self) -> bool {
        match self {
            Self::Joined(rows) => rows.next(),
            Self::Plain(rows) => rows.next(),
        }
    }

    pub fn guid(&mut self) -> Result<Uuid> {
        match self {
            Self::Joined(rows) => rows.guid(),
            Self::Plain(rows) => rows.value(),
        }
    }

    pub fn day(&mut self) -> Result<Option<Day>> {
        match self {
            Self::Joined(rows) => rows.day(),
            Self::Plain(rows) => rows.value(),
        }
    }

    pub fn number(&mut self) -> Result<Option<i64>> {
        match self {
            Self::Joined(rows) => rows.number(),
            Self::Plain(rows) => rows.value(),
        }
    }

    pub fn decoded<T: serde::Deserialize<'a>>(&mut self) -> Result<T> {
        match self {
            Self::Joined(rows) => rows.decoded(),
            Self::Plain(rows) => super::super::decode(rows.value()?),
        }
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        match self {
            Self::Joined(rows) => rows.bytes(),
            Self::Plain(rows) => rows.value(),
        }
    }
}
