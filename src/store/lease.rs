//! One writer at a time: a file lock, which a dead process loses at once, and an epoch in the database, which fences a
//! writer that was thought dead, also one on another machine.

use std::fs::{OpenOptions, TryLockError};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant as Timer;

use super::db::{self, ByDialect, Pool, Transaction};
use super::lock_file::LockFile;
use super::meters::Held;
use super::{Store, StoreError};
use crate::failpoint::{Point, Step, record};
use crate::model::Instant;

const POLL: Duration = Duration::from_millis(50);
/// How long a database that was lost within a COMMIT is waited for: a server may start anew.
const LOOK_FOR: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The right to write, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    epoch: i64,
    /// The number of the last commit when it was taken.
    commits: i64,
    /// How many commits the lock file knew of beyond that.
    lost: AtomicI64,
    lock: LockFile,
    _held: Held,
}

#[derive(Debug, Error)]
pub enum LeaseError {
    #[error("{holder} holds the lease and did not give it back within {} s; wait longer with --wait, or stop it", waited.as_secs())]
    Held { holder: String, waited: Duration },
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lease {
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// How many commits were made from this directory that the database does not have: more than none where an older copy of
    /// it was put in its place.
    #[must_use]
    pub fn lost_commits(&self) -> i64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What is lost has been dealt with: the database is as it is from now on.
    pub fn accept_loss(&self) {
        self.lost.store(0, Ordering::Relaxed);
        self.lock.set(self.commits);
    }
}

/// What this process calls itself while it holds a lease.
pub(super) fn holder(purpose: &str) -> String {
    format!("`usage-rollup {purpose}` (process {})", std::process::id())
}

impl Store {
    /// Takes the lease, waiting for another holder to give it back.
    ///
    /// # Errors
    /// When it is still held after `wait`; the error says by whom.
    pub async fn lease(
        &self,
        lock_file: &Path,
        purpose: &str,
        now: Instant,
        wait: Duration,
    ) -> Result<Lease, LeaseError> {
        let failed = |source| LeaseError::Lock { path: lock_file.to_owned(), source };
        let lock =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(lock_file).map_err(failed)?;
        let deadline = Timer::now() + wait;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if Timer::now() >= deadline => {
                    return Err(LeaseError::Held { holder: self.lease_holder().await?, waited: wait });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL).await,
            }
        }
        let holder = holder(purpose);
        let lock = LockFile::held_by(lock, &holder).map_err(failed)?;
        let take = "UPDATE lease SET epoch = epoch + 1, holder = $1, acquired_at = $2 WHERE id = 1
             RETURNING epoch, commits";
        let mut transaction = self.db.writer.begin().await.map_err(StoreError::from)?;
        let taken = transaction.sql(take).bind(&holder).bind(now).one().await?;
        transaction.commit().await.map_err(StoreError::from)?;
        let (epoch, commits) = (taken.get("epoch")?, taken.get::<i64>("commits")?);
        let lost = (lock.last_commit() - commits).max(0).into();
        Ok(Lease { epoch, commits, lost, lock, _held: Held::new(self.meters.clone()) })
    }

    /// The number of the last commit; none on a replica, which may lag.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_commit(&self) -> Result<Option<i64>, StoreError> {
        static LAST: ByDialect = ByDialect {
            sqlite: "SELECT commits FROM lease",
            postgres: "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE commits END AS commits FROM lease",
        };
        self.db.readers.sql(&LAST).one().await?.get("commits")
    }

    async fn lease_holder(&self) -> Result<String, StoreError> {
        self.db.readers.sql("SELECT holder FROM lease").value().await
    }

    /// Makes sure that the lease is ours still. Then it was all the time, and nobody else has written since it was taken.
    ///
    /// # Errors
    /// When another writer has taken the lease, or the database fails.
    pub async fn must_hold(&self, lease: &Lease) -> Result<(), StoreError> {
        let found = self.db.writer.sql("SELECT epoch FROM lease WHERE id = 1").one().await?.get("epoch")?;
        self.must_be_of(lease, found)
    }

    /// Whether the epoch that the database has is that of our lease.
    fn must_be_of(&self, lease: &Lease, found: i64) -> Result<(), StoreError> {
        if found == lease.epoch() {
            return Ok(());
        }
        self.meters.lost_lease();
        Err(StoreError::LeaseLost { ours: lease.epoch(), found })
    }

    /// Begins a writer's transaction, if it still holds the lease. The lease's row is held until the transaction ends, so that
    /// no other writer can take it meanwhile.
    pub(super) async fn begin_leased(&self, lease: &Lease) -> Result<Leased, StoreError> {
        let mut transaction = self.db.writer.begin().await?;
        let count = "UPDATE lease SET commits = commits + 1 WHERE id = 1 RETURNING epoch, commits";
        let row = transaction.sql(count).one().await?;
        let (found, commit) = (row.get("epoch")?, row.get("commits")?);
        self.must_be_of(lease, found)?;
        let (pool, lock) = (self.db.writer.clone(), lease.lock.clone());
        Ok(Leased { transaction, pool, lock, epoch: found, commit })
    }
}

/// A transaction of the writer that holds the lease.
pub(super) struct Leased {
    transaction: Transaction,
    pool: Pool,
    lock: LockFile,
    epoch: i64,
    /// The number that the database has if this commits.
    commit: i64,
}

impl Deref for Leased {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl DerefMut for Leased {
    fn deref_mut(&mut self) -> &mut Transaction {
        &mut self.transaction
    }
}

impl Leased {
    /// The number of this commit: commits are counted one by one, so it tells which of two came first.
    pub fn number(&self) -> i64 {
        self.commit
    }

    /// The job that holds the lease, by its epoch.
    pub fn job(&self) -> i64 {
        self.epoch
    }

    /// Commits, where a test does not want it cut short just before.
    pub async fn commit_at(self, point: Point) -> Result<(), StoreError> {
        super::reach(point)?;
        self.commit().await
    }

    /// Commits. Where the database is lost meanwhile, it is looked up whether it did.
    pub async fn commit(self) -> Result<(), StoreError> {
        let lock = self.lock.clone();
        let commit = self.commit;
        self.commit_or_look().await?;
        lock.note(commit);
        Ok(())
    }

    async fn commit_or_look(self) -> Result<(), StoreError> {
        let Self { transaction, pool, epoch, commit, .. } = self;
        let Err(lost) = transaction.commit().await else {
            record(Step::Committed);
            return Ok(());
        };
        // A database that answers has not committed.
        if matches!(lost, sqlx::Error::Database(_)) && !db::is_out_of_reach(&lost) {
            return Err(lost.into());
        }
        tracing::warn!(error = %lost, "the database was lost while it committed; looking whether it did");
        // Touching the row waits for a server's process that still works on that COMMIT.
        let look = "UPDATE lease SET commits = commits WHERE id = 1 RETURNING epoch, commits";
        let deadline = Timer::now() + LOOK_FOR;
        let row = loop {
            match pool.sql(look).one().await {
                Ok(row) => break row,
                Err(error) if error.is_out_of_reach() && Timer::now() < deadline => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(_) => return Err(StoreError::OutcomeUnknown(lost)),
            }
        };
        match (row.get::<i64>("epoch")?, row.get::<i64>("commits")?) {
            (found, commits) if found == epoch && commits == commit => Ok(()),
            (found, commits) if found == epoch && commits == commit - 1 => Err(lost.into()),
            // Another writer has counted on.
            _ => Err(StoreError::OutcomeUnknown(lost)),
        }
    }
}
