//! One statement on its way to the database, and the rows that come back.

use std::str::FromStr;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{ColumnIndex, Database, Postgres, Row as _, Sqlite};
use uuid::Uuid;

use super::super::{Result, StoreError};
use super::value::{Field, Value};

/// A statement with its parameters so far, and where it is to run.
pub enum Query<'c> {
    Sqlite(sqlx::query::Query<'c, Sqlite, SqliteArguments>, On<'c, Sqlite>),
    Postgres(sqlx::query::Query<'c, Postgres, PgArguments>, On<'c, Postgres>),
}

/// Where a statement runs: on any connection of a pool, or within a transaction.
pub enum On<'c, DB: Database> {
    Pool(&'c sqlx::Pool<DB>),
    Connection(&'c mut DB::Connection),
}

impl<'c, DB: Database> From<&'c sqlx::Pool<DB>> for On<'c, DB> {
    fn from(pool: &'c sqlx::Pool<DB>) -> Self {
        Self::Pool(pool)
    }
}

impl<'c> From<&'c mut sqlx::SqliteConnection> for On<'c, Sqlite> {
    fn from(connection: &'c mut sqlx::SqliteConnection) -> Self {
        Self::Connection(connection)
    }
}

impl<'c> From<&'c mut sqlx::PgConnection> for On<'c, Postgres> {
    fn from(connection: &'c mut sqlx::PgConnection) -> Self {
        Self::Connection(connection)
    }
}

/// The same call on a pool and on a connection, which are of different types.
macro_rules! call {
    ($query:ident.$method:ident($on:ident)) => {
        match $on {
            On::Pool(pool) => $query.$method(pool).await,
            On::Connection(connection) => $query.$method(connection).await,
        }
    };
}

impl<'c> Query<'c> {
    pub(super) fn sqlite(text: &'static str, on: On<'c, Sqlite>) -> Self {
        Self::Sqlite(sqlx::query(text), on)
    }

    pub(super) fn postgres(text: &'static str, on: On<'c, Postgres>) -> Self {
        Self::Postgres(sqlx::query(text), on)
    }

    /// Sets the next parameter.
    #[must_use]
    pub fn bind(self, value: impl Value<'c> + 'c) -> Self {
        match self {
            Self::Sqlite(query, on) => Self::Sqlite(query.bind(value), on),
            Self::Postgres(query, on) => Self::Postgres(query.bind(value), on),
        }
    }

    /// Runs it for what it does, and tells how many rows that touched.
    pub async fn execute(self) -> Result<u64> {
        Ok(match self {
            Self::Sqlite(query, on) => call!(query.execute(on))?.rows_affected(),
            Self::Postgres(query, on) => call!(query.execute(on))?.rows_affected(),
        })
    }

    pub async fn all(self) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Sqlite(query, on) => call!(query.fetch_all(on))?.into_iter().map(Row::Sqlite).collect(),
            Self::Postgres(query, on) => call!(query.fetch_all(on))?.into_iter().map(Row::Postgres).collect(),
        })
    }

    pub async fn optional(self) -> Result<Option<Row>> {
        Ok(match self {
            Self::Sqlite(query, on) => call!(query.fetch_optional(on))?.map(Row::Sqlite),
            Self::Postgres(query, on) => call!(query.fetch_optional(on))?.map(Row::Postgres),
        })
    }

    pub async fn one(self) -> Result<Row> {
        Ok(self.optional().await?.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// The first value of the one row that there is.
    pub async fn value<T: for<'r> Field<'r>>(self) -> Result<T> {
        self.one().await?.get(0)
    }

    /// The rows as they come.
    pub fn stream(self) -> BoxStream<'c, Result<Row>> {
        let rows = match self {
            Self::Sqlite(query, On::Pool(pool)) => query.fetch(pool).map_ok(Row::Sqlite).boxed(),
            Self::Sqlite(query, On::Connection(connection)) => query.fetch(connection).map_ok(Row::Sqlite).boxed(),
            Self::Postgres(query, On::Pool(pool)) => query.fetch(pool).map_ok(Row::Postgres).boxed(),
            Self::Postgres(query, On::Connection(connection)) => query.fetch(connection).map_ok(Row::Postgres).boxed(),
        };
        rows.map_err(StoreError::from).boxed()
    }
}

pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value in a column, which is named, or told by its place.
    pub fn get<'r, T: Field<'r>>(&'r self, column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A number that is kept in 64 bits and is never below zero.
    pub fn unsigned(&self, column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>) -> Result<u64> {
        self.get::<i64>(column).map(i64::cast_unsigned)
    }

    /// What a text in a column is the name of.
    pub fn parsed<T: FromStr<Err = String>>(
        &self,
        column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    ) -> Result<T> {
        self.get::<&str>(column)?.parse().map_err(StoreError::Inconsistent)
    }

    /// A GUID in a table that people read ([`super::Shown`]).
    pub fn shown_guid(&self, column: usize) -> Result<Uuid> {
        match self {
            Self::Sqlite(row) => Uuid::try_parse(row.try_get(column)?).map_err(StoreError::inconsistent),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// What was kept as [`super::AnyText`].
    pub fn any_text(&self, column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>) -> Result<String> {
        match self {
            Self::Sqlite(row) => Ok(row.try_get(column)?),
            Self::Postgres(row) => String::from_utf8(row.try_get(column)?).map_err(StoreError::inconsistent),
        }
    }
}
