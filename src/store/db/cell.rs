//! Values that go from one database to the other, and how each declares the columns that they stand in.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::Result;
use super::insert::Values;
use super::query::Row;
use super::text::ByDialect;
use super::value::{AnyText, Shown};
use super::{Dialect, Transaction};
use crate::model::{Day, Instant};

/// What a column holds, whichever database it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// [`AnyText`]
    AnyText,
    Integer,
    Day,
    Flag,
    Bytes,
    Guid,
    /// A GUID in a table that people read ([`Shown`]).
    ShownGuid,
    Instant,
}

impl Kind {
    fn declared(self, dialect: Dialect) -> &'static str {
        let (sqlite, postgres) = match self {
            Self::Text => ("TEXT", "text"),
            Self::AnyText => ("TEXT", "bytea"),
            Self::Integer => ("INTEGER", "bigint"),
            Self::Day => ("INTEGER", "integer"),
            Self::Flag => ("INTEGER", "boolean"),
            Self::Bytes => ("BLOB", "bytea"),
            Self::Guid => ("BLOB", "uuid"),
            Self::ShownGuid => ("TEXT", "uuid"),
            Self::Instant => ("TEXT", "timestamp with time zone"),
        };
        match dialect {
            Dialect::Sqlite => sqlite,
            Dialect::Postgres => postgres,
        }
    }
}

impl Values {
    /// Adds what stands in a column of a row, which may be of the other database.
    pub fn push_from(&mut self, row: &Row, place: usize, kind: Kind) {
        if let Err(error) = self.try_push_from(row, place, kind) {
            self.fail(error.into());
        }
    }

    fn try_push_from(&mut self, row: &Row, place: usize, kind: Kind) -> Result<()> {
        match kind {
            Kind::Text => self.push(row.get::<Option<&str>>(place)?),
            Kind::AnyText => self.push(AnyText(&row.any_text(place)?)),
            Kind::Integer => self.push(row.get::<Option<i64>>(place)?),
            Kind::Day => self.push(row.get::<Option<Day>>(place)?),
            Kind::Flag => self.push(row.get::<Option<bool>>(place)?),
            Kind::Bytes => self.push(row.get::<Option<&[u8]>>(place)?),
            Kind::Guid => self.push(row.get::<Option<Uuid>>(place)?),
            Kind::ShownGuid => self.push(Shown::from(row.shown_guid(place)?)),
            Kind::Instant => self.push(row.get::<Option<Instant>>(place)?),
        };
        Ok(())
    }
}

/// Types by column.
pub type Declared = BTreeMap<String, String>;

impl Transaction {
    /// How this database declares a column.
    pub fn declares(&self, kind: Kind) -> &'static str {
        kind.declared(self.dialect())
    }

    /// The tables that there are, with their columns; without the one in which sqlx keeps which migrations have run.
    pub async fn declared(&mut self) -> Result<BTreeMap<String, Declared>> {
        static COLUMNS: ByDialect = ByDialect {
            sqlite: "SELECT t.name AS of_table, c.name AS name, c.type AS declared
                     FROM sqlite_schema t JOIN pragma_table_info(t.name) c
                     WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> '_sqlx_migrations'",
            postgres: "SELECT t.table_name::text AS of_table, c.column_name::text AS name, c.data_type::text AS declared
                       FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
                       WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE'
                           AND t.table_name <> '_sqlx_migrations'",
        };
        let mut tables = BTreeMap::<String, Declared>::new();
        for row in self.sql(&COLUMNS).all().await? {
            tables.entry(row.get("of_table")?).or_default().insert(row.get("name")?, row.get("declared")?);
        }
        Ok(tables)
    }
}
