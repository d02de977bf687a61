//! The two databases that a store can be in. A statement is written once, in the file of its subject; what differs from one
//! database to the other is in [`sqlite`] and [`postgres`], and nothing outside of this room knows which of them it asks.

mod cell;
mod insert;
mod lookup;
mod postgres;
mod query;
mod sqlite;
mod text;
mod url;
mod value;

use std::error::Error;
use std::sync::Arc;

use sqlx::migrate::MigrateError;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

pub(super) use cell::Kind;
pub(super) use insert::{Insert, Values};
pub(super) use lookup::{Answer, Column, Found, Lookup};
pub(super) use query::{Query, Row};
pub(super) use sqlite::Version;
pub(super) use text::{ByDialect, Spelled};
pub use url::{Server, StoreUrl, UrlError, without_password};
pub(super) use value::{AnyText, Guids, Integers, Shown};

use self::sqlite::WalIndex;
use self::text::Text;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// The pools of a database, by what is asked there.
#[derive(Clone, Debug)]
pub(super) struct Pools {
    /// One connection: there is one writer, and what a job reads it reads here, too.
    pub writer: Pool,
    pub readers: Pool,
    /// For answers that are as long as a table.
    pub exports: Pool,
    /// Where SQLite tells who reads that somebody has committed.
    wal_index: Option<Arc<WalIndex>>,
}

impl Pools {
    /// What is another one after each commit, whoever made it; none where the database does not tell without being asked.
    pub fn version(&self) -> Option<Version> {
        self.wal_index.as_ref()?.version()
    }

    /// Whether exports have connections of their own.
    pub fn has_exports_apart(&self) -> bool {
        matches!(self.exports, Pool::Postgres(_))
    }

    /// Has no byte of what was removed stay where it was. Tells whether a reader stood in the way.
    pub async fn scrub(&self) -> sqlx::Result<bool> {
        // On connections without a limit of time, or of memory.
        match &self.exports {
            Pool::Sqlite(pool) => sqlite::scrub(pool).await,
            Pool::Postgres(pool) => postgres::scrub(pool).await.map(|()| false),
        }
    }
}

/// Connections of one kind.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction that is rolled back where it is dropped.
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// Opens the pools of a database, one of SQLite is created where there is none.
pub(super) async fn open(url: &StoreUrl) -> sqlx::Result<Pools> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::open(path).await,
        StoreUrl::Postgres(server) => postgres::open(server).await,
    }
}

/// Opens the pools of a database that is there, for reading alone: the writer's stays without a connection.
pub(super) async fn open_to_read(url: &StoreUrl) -> sqlx::Result<Pools> {
    match url {
        StoreUrl::Sqlite(path) => Ok(sqlite::open_to_read(path)),
        StoreUrl::Postgres(server) => postgres::open(server).await,
    }
}

/// Whether a statement failed because a table is not there.
pub(super) fn is_no_such_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| sqlite::is_no_such_table(error) || postgres::is_no_such_table(error))
}

/// What to do about an error, where it is one of the database's and does not say.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    sqlite::advice(error.downcast_ref::<sqlx::Error>()?.as_database_error()?)
}

/// Whether the database could not be reached, so that the same may succeed later.
pub(super) fn is_out_of_reach(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, WorkerCrashed};
    match error {
        Io(_) | PoolClosed | PoolTimedOut | WorkerCrashed => true,
        Database(error) => sqlite::is_out_of_reach(&**error) || postgres::is_out_of_reach(&**error),
        _ => false,
    }
}

impl Pool {
    /// A statement, on any connection.
    pub fn sql(&self, text: impl Text) -> Query<'_> {
        match self {
            Self::Sqlite(pool) => Query::sqlite(text.of(Dialect::Sqlite), pool.into()),
            Self::Postgres(pool) => Query::postgres(text.of(Dialect::Postgres), pool.into()),
        }
    }

    /// Begins a transaction that will write.
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        Ok(match self {
            // It takes the write lock at once, so that it can't fail later.
            Self::Sqlite(pool) => Transaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Transaction::Postgres(postgres::begin(pool).await?),
        })
    }

    /// Begins a transaction that reads one state of everything.
    pub async fn begin_to_read(&self) -> sqlx::Result<Transaction> {
        Ok(match self {
            Self::Sqlite(pool) => Transaction::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => {
                Transaction::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        })
    }

    /// The version that the schema must have.
    pub fn schema(&self) -> i64 {
        let migrations = match self {
            Self::Sqlite(_) => &sqlite::MIGRATIONS,
            Self::Postgres(_) => &postgres::MIGRATIONS,
        };
        migrations.iter().map(|migration| migration.version).max().unwrap_or_default()
    }

    /// Begins a transaction that sees one state of these tables, and nobody else writes to them until it ends, however long
    /// that takes.
    pub async fn begin_alone(&self, tables: &[&str]) -> sqlx::Result<Transaction> {
        match self {
            // Whoever holds the write lock is the only one who writes, and reads what is there then.
            Self::Sqlite(_) => self.begin().await,
            Self::Postgres(pool) => postgres::begin_alone(pool, tables).await.map(Transaction::Postgres),
        }
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        match self {
            Self::Sqlite(pool) => sqlite::MIGRATIONS.run(pool).await,
            Self::Postgres(pool) => postgres::MIGRATIONS.run(pool).await,
        }
    }

    /// How many connections it has.
    pub fn size(&self) -> u32 {
        match self {
            Self::Sqlite(pool) => pool.size(),
            Self::Postgres(pool) => pool.size(),
        }
    }

    /// How many of them nobody uses.
    pub fn num_idle(&self) -> usize {
        match self {
            Self::Sqlite(pool) => pool.num_idle(),
            Self::Postgres(pool) => pool.num_idle(),
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Transaction {
    /// A statement within the transaction.
    pub fn sql(&mut self, text: impl Text) -> Query<'_> {
        match self {
            Self::Sqlite(on) => Query::sqlite(text.of(Dialect::Sqlite), (&mut **on).into()),
            Self::Postgres(on) => Query::postgres(text.of(Dialect::Postgres), (&mut **on).into()),
        }
    }

    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }
}
