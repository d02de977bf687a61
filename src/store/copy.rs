//! Copying a whole store into an empty one, which may be in the other database.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use futures_util::stream::TryChunksError;
use serde::Serialize;
use thiserror::Error;

use super::db::{self, ByDialect, Transaction};
use super::settings::INSTALLATION;
use super::tables::{DECIDES_NOTHING, LEASE, TABLES, Table};
use super::{Lease, LeaseError, Store, StoreError, count, lease};
use crate::model::Instant;

/// So many rows lie in memory at once: dead letters can have 64 KiB each.
const ROWS_TOGETHER: usize = 512;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    pub tables: Vec<CopiedTable>,
    /// Tables of the source's database that are none of the store's, and were left there.
    pub others: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedTable {
    pub table: &'static str,
    pub rows: i64,
}

#[derive(Debug, Error)]
pub enum CopyError {
    #[error("the store to copy to is not empty: it has rows in {0}; nothing was changed")]
    NotEmpty(&'static str),
    #[error(
        "the table {table} has the columns {found}, and this version knows how to copy {known}; nothing was changed"
    )]
    OtherColumns { table: &'static str, found: String, known: String },
    #[error("{read} rows of {table} were read, but {written} are there now; nothing was changed")]
    Miscounted { table: &'static str, read: i64, written: i64 },
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Copies everything into an empty store, in one transaction: a copy that was cut short has left nothing. Nobody writes
    /// to either of them meanwhile. The lease is this store's; the name is what the copy's installation is called.
    ///
    /// # Errors
    /// When the target holds anything, the lease is lost, a schema is not the one that is copied, or a database fails.
    pub async fn copy_to(&self, lease: &Lease, target: &Self, name: &str, now: Instant) -> Result<Copied, CopyError> {
        let mut to = target.begin_empty().await?;
        let mut from = self.db.writer.begin_alone(&names()).await?;
        let found = from.sql("SELECT epoch FROM lease WHERE id = 1").value().await?;
        if found != lease.epoch() {
            return Err(StoreError::LeaseLost { ours: lease.epoch(), found }.into());
        }
        let copied = copy(&mut from, &mut to, Some(name), "store copy", now).await?;
        commit(to).await?;
        Ok(copied)
    }

    /// Copies the state of one moment into an empty store, in one transaction of its own, while others go on writing to this
    /// one. The copy's installation is called as this one is, or by another name.
    ///
    /// # Errors
    /// When the target holds anything, a schema is not the one that is copied, or a database fails.
    pub async fn copy_state_to(
        &self,
        target: &Self,
        name: Option<&str>,
        purpose: &str,
        now: Instant,
    ) -> Result<Copied, CopyError> {
        let mut to = target.begin_empty().await?;
        let mut from = self.db.exports.begin_to_read().await?;
        let copied = copy(&mut from, &mut to, name, purpose, now).await?;
        commit(to).await?;
        Ok(copied)
    }

    /// Makes sure that nothing is stored.
    ///
    /// # Errors
    /// When anything is, or the database fails.
    pub async fn must_be_empty(&self) -> Result<(), CopyError> {
        self.begin_empty().await.map(drop)
    }

    /// Begins to fill an empty store, alone.
    async fn begin_empty(&self) -> Result<Transaction, CopyError> {
        let mut to = self.db.writer.begin_alone(&names()).await?;
        for table in TABLES.iter().filter(|table| !DECIDES_NOTHING.contains(&table.name)) {
            if to.sql(table.any.as_str()).optional().await?.is_some() {
                return Err(CopyError::NotEmpty(table.name));
            }
        }
        Ok(to)
    }
}

fn names() -> Vec<&'static str> {
    TABLES.iter().map(|table| table.name).chain([LEASE]).collect()
}

/// Copies all tables, and passes the lease on, so that no writer of before can write to the copy. The copy's installation is called
/// as the original's, or by another name.
async fn copy(
    from: &mut Transaction,
    to: &mut Transaction,
    name: Option<&str>,
    purpose: &str,
    now: Instant,
) -> Result<Copied, CopyError> {
    let others = check_schema(from).await?;
    check_schema(to).await?;
    pass_lease(from, to, purpose, now).await?;
    to.sql("DELETE FROM settings").execute().await?;
    to.sql("DELETE FROM job_runs").execute().await?;
    let mut copied = Copied { tables: Vec::new(), others };
    for table in TABLES.iter() {
        let rows = copy_table(table, from, to).await?;
        tracing::debug!(table = table.name, rows, "copied");
        copied.tables.push(CopiedTable { table: table.name, rows });
    }
    count_on(to).await?;
    if let Some(name) = name {
        to.sql("UPDATE settings SET value = $2 WHERE name = $1").bind(INSTALLATION).bind(name).execute().await?;
    }
    Ok(copied)
}

async fn commit(to: Transaction) -> Result<(), StoreError> {
    let out_of_reach = |lost| if db::is_out_of_reach(&lost) { StoreError::OutcomeUnknown(lost) } else { lost.into() };
    to.commit().await.map_err(out_of_reach)
}

/// Holds the description of the tables against those that are there. Gives the names of tables that it does not know.
async fn check_schema(transaction: &mut Transaction) -> Result<BTreeSet<String>, CopyError> {
    let mut declared = transaction.declared().await?;
    for table in TABLES.iter() {
        let found = declared.remove(table.name).unwrap_or_default();
        let known =
            table.columns.iter().map(|(name, kind)| ((*name).to_owned(), transaction.declares(*kind).to_owned()));
        let known: BTreeMap<String, String> = known.collect();
        if found != known {
            let list = |columns: &BTreeMap<String, String>| {
                columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect::<Vec<_>>().join(", ")
            };
            return Err(CopyError::OtherColumns { table: table.name, found: list(&found), known: list(&known) });
        }
    }
    declared.remove(LEASE);
    Ok(declared.into_keys().collect())
}

/// Moves the target's lease on from both.
async fn pass_lease(
    from: &mut Transaction,
    to: &mut Transaction,
    purpose: &str,
    now: Instant,
) -> Result<(), StoreError> {
    let row = from.sql("SELECT epoch, commits FROM lease WHERE id = 1").one().await?;
    let (epoch, commits) = (row.get::<i64>("epoch")?, row.get::<i64>("commits")?);
    let take = to.sql(
        "UPDATE lease SET epoch = CASE WHEN epoch > $1 THEN epoch ELSE $1 END + 1,
             commits = CASE WHEN commits > $2 THEN commits ELSE $2 END + 1, holder = $3, acquired_at = $4
         WHERE id = 1",
    );
    take.bind(epoch).bind(commits).bind(lease::holder(purpose)).bind(now).execute().await?;
    Ok(())
}

async fn copy_table(table: &'static Table, from: &mut Transaction, to: &mut Transaction) -> Result<i64, CopyError> {
    let mut batches = from.sql(table.rows.as_str()).stream().try_chunks(ROWS_TOGETHER);
    let mut read = 0;
    while let Some(rows) = batches.try_next().await.map_err(|TryChunksError(_, error)| error)? {
        read += rows.len() as u64;
        let all = table.insert.all(to, &rows, |values, row| {
            for (place, (_, kind)) in table.columns.iter().enumerate() {
                values.push_from(row, place, *kind);
            }
        });
        all.await?;
    }
    let (read, written) = (count(read)?, to.sql(table.count.as_str()).value().await?);
    if read == written { Ok(written) } else { Err(CopyError::Miscounted { table: table.name, read, written }) }
}

/// Has the database number new dead letters after those that were copied. SQLite does so by itself.
async fn count_on(to: &mut Transaction) -> Result<(), StoreError> {
    static COUNT_ON: ByDialect = ByDialect {
        sqlite: "SELECT coalesce(max(id), 0) + 1 FROM dead_letters",
        postgres: "SELECT setval(pg_get_serial_sequence('dead_letters', 'id'), coalesce(max(id), 0) + 1, false)
                   FROM dead_letters",
    };
    to.sql(&COUNT_ON).one().await.map(|_| ())
}
