//! The store: what is small and needs transactions. One file a subject, each with its statements; SQLite for now.
//!
//! Whoever writes holds the [`Lease`], and every commit checks it. Readers are never blocked.

mod batch;
mod dead_letters;
mod directory;
mod dirty;
mod draw;
mod facts;
mod keys;
mod lease;
mod log;
mod rollup;
mod rows;
mod status;
mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Sqlite, Transaction};
use thiserror::Error;
use uuid::Uuid;

pub use dead_letters::{DeadLetter, StoredDeadLetter};
pub use dirty::DirtyPartition;
pub use draw::ServiceToDraw;
pub use facts::{EncodedMonths, ServiceFacts, StoredService};
pub use keys::{ApiKey, NewApiKey, Role};
pub use lease::{Lease, LeaseError};
pub use log::{Input, InputKind, InputState, LogCommit};
pub use rollup::RollupCommit;
pub use rows::{RowFate, RowsWritten, ServiceRows};
pub use status::{Ledger, Status};
pub use usage::RowFilter;

use crate::model::{Day, Instant};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot open the database {path}")]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("there is no database at {path}; run `usage-rollup ingest` or `usage-rollup run` first")]
    Missing { path: PathBuf },
    #[error("cannot bring the database's schema up to date")]
    Migrate(#[from] MigrateError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("the database holds something that it should not: {0}")]
    Inconsistent(String),
    #[error("another writer has taken the lease (epoch {found}, ours was {ours}); nothing was written")]
    LeaseLost { ours: i64, found: i64 },
}

/// The primary result codes of a database that others hold, or that the system won't let us at: busy, locked, I/O error,
/// full, cannot open.
const SQLITE_OUT_OF_REACH: [i32; 5] = [5, 6, 10, 13, 14];

impl StoreError {
    /// Whether the database could not be reached, so that the same request may succeed later.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, WorkerCrashed};
        match self {
            Self::Open { .. }
            | Self::Missing { .. }
            | Self::Database(Io(_) | PoolClosed | PoolTimedOut | WorkerCrashed) => true,
            Self::Database(Database(error)) => {
                let code = error.code().and_then(|code| code.parse::<i32>().ok());
                // The primary code is the low byte of an extended one.
                code.is_some_and(|code| SQLITE_OUT_OF_REACH.contains(&(code & 0xff)))
            }
            _ => false,
        }
    }

    fn inconsistent(what: impl std::fmt::Display) -> Self {
        Self::Inconsistent(what.to_string())
    }
}

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The store of one installation.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection: SQLite has one writer, and waiting for it in line is better than failing. What a job reads it reads
    /// here, too: most of those pages it writes then, and this connection's cache has them.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the database, creates it where it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file can't be opened, or a migration fails.
    pub async fn open(path: &Path) -> Result<Self> {
        let store = Self::connect(path, options(path).create_if_missing(true)).await?;
        MIGRATIONS.run(&store.writer).await?;
        Ok(store)
    }

    async fn connect(path: &Path, options: SqliteConnectOptions) -> Result<Self> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections);
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
        let readers = pool(4).connect_lazy_with(options);
        Ok(Self { writer, readers })
    }

    /// Begins a transaction that will write: it takes SQLite's write lock at once, so that it can't fail later.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Begins a writer's transaction, if it still holds the lease.
    async fn begin_leased(&self, lease: &Lease) -> Result<Transaction<'static, Sqlite>> {
        let mut transaction = self.begin().await?;
        let found: i64 = sqlx::query_scalar("SELECT epoch FROM lease").fetch_one(&mut *transaction).await?;
        if found == lease.epoch() { Ok(transaction) } else { Err(StoreError::LeaseLost { ours: lease.epoch(), found }) }
    }

    /// The time zone that the rows are in. It is this one from now on where no event is stored yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_zone(&self, zone: &str) -> Result<String> {
        let name = "reporting.timezone";
        let stored: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.writer)
            .await?;
        if stored.as_deref() == Some(zone) {
            return Ok(zone.to_owned());
        }
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2)
             ON CONFLICT DO UPDATE SET value = excluded.value WHERE NOT EXISTS (SELECT 1 FROM segments)",
        )
        .bind(name)
        .bind(zone)
        .execute(&mut *transaction)
        .await?;
        let settled = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(settled)
    }

    /// Waits for open statements and closes the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // Months' facts have 750 bytes on average, and more than 1.5 KB in busy services: a page must hold several.
        .page_size(8192)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(30))
        // Rows are handed over between threads: in larger portions there are fewer wake-ups.
        .row_buffer_size(1024)
        .pragma("cache_size", "-16384")
        .pragma("wal_autocheckpoint", "2000")
        // A long export is no slow statement, and nobody can act upon the log's saying so.
        .disable_statement_logging()
}

/// The GUID in a column of 16 bytes.
fn guid(row: &SqliteRow, column: &str) -> Result<Uuid> {
    use sqlx::Row as _;
    let bytes: &[u8] = row.try_get(column)?;
    Uuid::from_slice(bytes).map_err(StoreError::inconsistent)
}

/// The day in a column of days since 1970.
fn day(row: &SqliteRow, column: &str) -> Result<Day> {
    use sqlx::Row as _;
    Ok(Day(row.try_get(column)?))
}

fn count(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(StoreError::inconsistent)
}

/// An instant as the tables that people read have it: RFC 3339 to the second, which sorts as it should.
fn text_of(instant: Instant) -> String {
    instant.to_rfc3339_seconds()
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(StoreError::inconsistent)
}

fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(StoreError::inconsistent)
}
