//! One writer at a time: a file lock, which a dead process loses at once, and an epoch in the database, which fences a
//! writer that was thought dead.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant as Timer;

use super::{Store, StoreError, text_of};
use crate::model::Instant;

const POLL: Duration = Duration::from_millis(50);

/// The right to write, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    epoch: i64,
    _lock: File,
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
        let mut lock =
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
        let holder = format!("`usage-rollup {purpose}` (process {})", std::process::id());
        lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes())).map_err(failed)?;
        let mut transaction = self.begin().await?;
        let epoch = sqlx::query_scalar(
            "UPDATE lease SET epoch = epoch + 1, holder = $1, acquired_at = $2 WHERE id = 1 RETURNING epoch",
        )
        .bind(&holder)
        .bind(text_of(now))
        .fetch_one(&mut *transaction)
        .await
        .map_err(StoreError::from)?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(Lease { epoch, _lock: lock })
    }

    async fn lease_holder(&self) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar("SELECT holder FROM lease").fetch_one(&self.readers).await?)
    }
}
