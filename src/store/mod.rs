//! The store: what is small and needs transactions. One file a subject, each with its statements; `db` is where SQLite and
//! PostgreSQL differ.
//!
//! Whoever writes holds the [`Lease`], and every commit checks it. Readers are never blocked.

mod audit;
mod closings;
mod copy;
mod db;
mod dead_letters;
mod directory;
mod dirty;
mod draw;
mod erasure;
mod explained;
mod facts;
mod gauges;
mod history;
mod jobs;
mod keys;
mod lease;
mod lock_file;
mod locks;
mod log;
mod meters;
mod months;
mod recent;
mod repair;
mod restatements;
mod rollup;
mod rows;
mod segments;
mod services;
mod settings;
mod status;
mod tables;
mod usage;
mod verifications;

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::migrate::MigrateError;
use thiserror::Error;
use uuid::Uuid;

pub use audit::{AuditedInput, StoredProgress, StoredState};
pub use copy::{Copied, CopiedTable, CopyError};
pub use db::{Server, StoreUrl, UrlError, advice, without_password};
pub use dead_letters::{DeadLetter, StoredDeadLetter};
pub use dirty::{Arrived, DirtyPartition};
pub use draw::{Redraw, ServiceToDraw};
pub use erasure::{ContentOrder, ErasedUser};
pub use explained::Explained;
pub use facts::{EncodedSpans, ServiceFacts, StoredService};
pub use gauges::{Gauges, LastRun, Pool, SourceGauges};
pub use jobs::{JobEnd, JobOutcome};
pub use keys::{ApiKey, NewApiKey, Role};
pub use lease::{Lease, LeaseError};
pub use lock_file::{forget_commits, is_locked, last_commit_from};
pub use locks::{LockedMonth, PendingRow, Unclosed};
pub use log::{Input, InputKind, InputState, LogCommit};
pub use meters::{Meters, RunsMeasured};
pub use repair::{LedgerFix, ServiceFix};
pub use restatements::{Replaced, Version, VersionFilter};
pub use rollup::RollupCommit;
pub use rows::{PeriodRows, RowFate, RowsWritten, ServiceRows};
pub use segments::{DiscardedFile, SegmentSize};
pub use services::{Listed, ServiceFilter, StatusTold, Window};
pub use status::{Ledger, Status};
pub use usage::RowFilter;
pub use verifications::{Finding, Verification};

use crate::failpoint::{self, Point};
use crate::model::{Day, PeriodType, Service, UsageRow};
use db::Pools;
use recent::Recent;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot open the database {database}")]
    Open { database: String, source: sqlx::Error },
    #[error("there is no database at {path}; run `usage-rollup ingest` or `usage-rollup run` first")]
    Missing { path: PathBuf },
    #[error("the database {database} has version {found} of the schema, and this program needs {needed}: {way_out}")]
    OtherSchema { database: String, found: i64, needed: i64, way_out: &'static str },
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
            Self::Missing { .. } | Self::OutcomeUnknown(_) => true,
            Self::Open { source: error, .. }
            | Self::Database(error)
            | Self::Migrate(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                db::is_out_of_reach(error)
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
    db: Pools,
    recent: Arc<RecentAnswers>,
    meters: Arc<Meters>,
}

/// What the API asks for again and again.
#[derive(Debug)]
struct RecentAnswers {
    keys: Recent<[u8; 32], Option<Arc<ApiKey>>>,
    services: Recent<Uuid, Option<Arc<Service>>>,
    rows: Recent<(Uuid, PeriodType, Day), Option<UsageRow>>,
}

impl Store {
    fn of(db: Pools) -> Self {
        // Some megabytes each, where they are full.
        let recent =
            RecentAnswers { keys: Recent::new(4_096), services: Recent::new(4_096), rows: Recent::new(16_384) };
        Self { db, recent: Arc::new(recent), meters: Arc::default() }
    }

    /// Opens the database, and brings its schema up to date. One of SQLite is created where it is missing.
    ///
    /// # Errors
    /// When the database can't be opened, or a migration fails.
    pub async fn open(url: &StoreUrl) -> Result<Self> {
        let failed = |source| StoreError::Open { database: url.to_string(), source };
        let store = Self::of(db::open(url).await.map_err(failed)?);
        store.db.writer.migrate().await?;
        // In a box of its own: it has hardly ever anything to do.
        Box::pin(store.split_months()).await?;
        Ok(store)
    }

    /// Opens the database as it is, for whoever may only read: nothing is created, brought up to date or written.
    ///
    /// # Errors
    /// When the database can't be opened, or its schema is not the one of this version.
    pub async fn open_to_read(url: &StoreUrl) -> Result<Self> {
        url.must_exist()?;
        let failed = |source| StoreError::Open { database: url.to_string(), source };
        let store = Self::of(db::open_to_read(url).await.map_err(failed)?);
        let (found, needed) = (store.schema().await?, store.db.readers.schema());
        if found == needed {
            return Ok(store);
        }
        let way_out = if found < needed {
            "run a command of this version that writes, such as `usage-rollup rollup`, as the role that owns it"
        } else {
            "a newer version has written it, and is what it takes to read it"
        };
        Err(StoreError::OtherSchema { database: url.to_string(), found, needed, way_out })
    }

    /// The version of the schema that is there; 0 where there is none.
    async fn schema(&self) -> Result<i64> {
        let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        match self.db.readers.sql(newest).value().await {
            Err(StoreError::Database(error)) if db::is_no_such_table(&error) => Ok(0),
            found => found,
        }
    }

    /// Waits for open statements and closes the database.
    pub async fn close(&self) {
        for pool in [&self.db.exports, &self.db.readers, &self.db.writer] {
            pool.close().await;
        }
    }
}

/// Does what a test wants done within a transaction.
fn reach(point: Point) -> Result<()> {
    failpoint::reach(point).map_err(|error| sqlx::Error::Io(error).into())
}

fn count(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(StoreError::inconsistent)
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(StoreError::inconsistent)
}

/// The same, by way of a buffer that serves many times and need not grow each time.
fn encode_through<T: serde::Serialize>(buffer: &mut Vec<u8>, value: &T) -> Result<Vec<u8>> {
    buffer.clear();
    *buffer = postcard::to_extend(value, std::mem::take(buffer)).map_err(StoreError::inconsistent)?;
    Ok(buffer.as_slice().to_vec())
}

fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    match postcard::take_from_bytes(bytes).map_err(StoreError::inconsistent)? {
        (value, []) => Ok(value),
        (_, rest) => Err(StoreError::inconsistent(format_args!("a value with {} bytes behind it", rest.len()))),
    }
}
