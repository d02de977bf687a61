//! Moving an installation to another database: its data directory stays, the store goes.

use std::path::Path;
use std::time::Duration;

use super::LOCK_FILE;
use crate::model::Instant;
use crate::store::{Copied, CopyError, Store, StoreUrl};

/// Copies the store of the installation in this directory into an empty one. It may be killed at any moment, and need not stop
/// between commits, for there is one.
///
/// # Errors
/// When the source is missing, its lease can't be had, the target is not empty, or a database fails; then nothing is copied.
pub async fn copy_store(
    data_dir: &Path,
    from: &StoreUrl,
    to: &StoreUrl,
    now: Instant,
    wait: Duration,
) -> Result<Copied, CopyError> {
    from.must_exist()?;
    let source = Store::open(from).await?;
    let lease = source.lease(&data_dir.join(LOCK_FILE), "store copy", now, wait).await?;
    let target = Store::open(to).await?;
    let copied = source.copy_to(&lease, &target, now).await;
    target.close().await;
    source.close().await;
    copied
}
