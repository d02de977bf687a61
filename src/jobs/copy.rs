//! Moving an installation to another database: its data directory stays, the store goes.

use std::path::Path;
use std::time::Duration;

use super::{LOCK_FILE, belonging};
use crate::model::Instant;
use crate::store::{Copied, Store, StoreUrl};

/// Copies the store of the installation in this directory into an empty one. It may be killed at any moment, and need not stop
/// between commits, for there is one. The directory belongs to both until one of them is written to.
///
/// # Errors
/// When the source is missing or another directory's, its lease can't be had, the target is not empty, or a database fails;
/// then nothing is copied.
pub async fn copy_store(
    data_dir: &Path,
    from: &StoreUrl,
    to: &StoreUrl,
    now: Instant,
    wait: Duration,
) -> anyhow::Result<Copied> {
    from.must_exist()?;
    let source = Store::open(from).await?;
    belonging::check(data_dir, &source, from).await?;
    let lease = source.lease(&data_dir.join(LOCK_FILE), "store copy", now, wait).await?;
    let target = Store::open(to).await?;
    let copied = source.copy_to(&lease, &target, &belonging::expect_copy(data_dir)?, now).await;
    target.close().await;
    source.close().await;
    Ok(copied?)
}
