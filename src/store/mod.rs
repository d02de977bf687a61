//! The store: what is small and needs transactions. One file a subject, each with its statements; `db` is where SQLite and
//! PostgreSQL differ.
//!
//! Whoever writes holds the [`Lease`], and every commit checks it. Readers are never blocked.

mod copy;
mod db;
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
mod tables;
mod usage;

use std::path::PathBuf;

use sqlx::migrate::MigrateError;
use thiserror::Error;

pub use copy::{Copied, CopiedTable, CopyError};
pub use db::{Server, StoreUrl, UrlError, without_password};
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

use db::Pools;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot open the database {database}")]
    Open { database: String, source: sqlx::Error },
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
    #[error("the database was lost while it committed, and can't be asked whether it did; the next run finds out")]
    OutcomeUnknown(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the database could not be reached, so that the same request may succeed later.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Missing { .. } | Self::OutcomeUnknown(_) => true,
            Self::Database(error) => db::is_out_of_reach(error),
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
    db: Pools,
}

impl Store {
    /// Opens the database, and brings its schema up to date. One of SQLite is created where it is missing.
    ///
    /// # Errors
    /// When the database can't be opened, or a migration fails.
    pub async fn open(url: &StoreUrl) -> Result<Self> {
        let failed = |source| StoreError::Open { database: url.to_string(), source };
        let store = Self { db: db::open(url).await.map_err(failed)? };
        store.db.writer.migrate().await?;
        Ok(store)
    }

    /// The time zone that the rows are in. It is this one from now on where no event is stored yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_zone(&self, zone: &str) -> Result<String> {
        const STORED: &str = "SELECT value FROM settings WHERE name = 'reporting.timezone'";
        let stored = self.db.writer.sql(STORED).optional().await?;
        if stored.is_some_and(|stored| stored.get::<&str>(0).is_ok_and(|stored| stored == zone)) {
            return Ok(zone.to_owned());
        }
        let mut transaction = self.db.writer.begin().await?;
        transaction
            .sql(
                "INSERT INTO settings (name, value) VALUES ('reporting.timezone', $1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE NOT EXISTS (SELECT 1 FROM segments)",
            )
            .bind(zone)
            .execute()
            .await?;
        let settled = transaction.sql(STORED).value().await?;
        transaction.commit().await?;
        Ok(settled)
    }

    /// Waits for open statements and closes the database.
    pub async fn close(&self) {
        for pool in [&self.db.exports, &self.db.readers, &self.db.writer] {
            pool.close().await;
        }
    }
}

fn count(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(StoreError::inconsistent)
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(StoreError::inconsistent)
}

fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(StoreError::inconsistent)
}
