//! Closing the books: months are locked, so that no row of theirs changes, and unlocked.

use thiserror::Error;

use super::draw::DrawRules;
use super::rollup::rollup_leased;
use super::{Installation, Run};
use crate::model::{Day, Instant, PeriodType, Reason};
use crate::store::{Lease, PendingRow, RowsWritten, ServiceRows};

#[derive(Debug, Error)]
pub enum PeriodError {
    #[error("{month} has not ended: it ends at {}; nothing was locked", ends.to_rfc3339_seconds())]
    NotEnded { month: String, ends: Instant },
    #[error(
        "{rows} rows of {month} are not closed yet, the last of them will be at {}; nothing was locked",
        closes_at.to_rfc3339_seconds()
    )]
    NotClosed { month: String, rows: i64, closes_at: Instant },
}

/// Locks the month that begins on this day, and tells whether it was not locked before. What has arrived is rolled up first,
/// so that the rows that are locked are those of all events so far.
///
/// # Errors
/// When the month has not ended, or rows of it are not closed; when the lease can't be had, or rolling up or the store fails.
pub async fn lock_month(installation: &Installation, run: &Run, month: Day) -> anyhow::Result<bool> {
    let ends = installation.config.reporting.timezone.start_of(month.next_month());
    if installation.now() < ends {
        return Err(PeriodError::NotEnded { month: name(month), ends }.into());
    }
    let lease = installation.begin(run, "periods lock").await?;
    let done = Box::pin(lock_leased(installation, run, &lease, month)).await;
    installation.end(&lease, done).await
}

async fn lock_leased(installation: &Installation, run: &Run, lease: &Lease, month: Day) -> anyhow::Result<bool> {
    rollup_leased(installation, run, lease).await?;
    if let Some((rows, closes_at)) = installation.store.unclosed(month, installation.now()).await? {
        return Err(PeriodError::NotClosed { month: name(month), rows, closes_at }.into());
    }
    Ok(installation.store.lock_month(lease, month, installation.clock).await?)
}

/// Unlocks a month, restates its rows as is pending, and tells how many that were; none where it was not locked.
///
/// # Errors
/// When the lease can't be had, or the store fails; then it is still locked.
pub async fn unlock_month(installation: &Installation, run: &Run, month: Day) -> anyhow::Result<Option<RowsWritten>> {
    let lease = installation.begin(run, "periods unlock").await?;
    let done = unlock_leased(installation, &lease, month).await;
    installation.end(&lease, done).await
}

async fn unlock_leased(installation: &Installation, lease: &Lease, month: Day) -> anyhow::Result<Option<RowsWritten>> {
    let pending = installation.store.pending_rows(month).await?;
    let config = &installation.config;
    let last = month.next_month().previous();
    let (zone, settle_after) = (config.reporting.timezone, config.rollup.settle_after);
    let rules = DrawRules::new(zone, settle_after, month, last, installation.now());
    let services: Vec<ServiceRows> =
        pending.chunk_by(|a, b| a.service == b.service).map(|rows| of_service(rows, &rules)).collect();
    Ok(installation.store.unlock_month(lease, month, &services, installation.clock).await?)
}

/// What is pending of one service, as if it had just been drawn.
fn of_service(pending: &[PendingRow], rules: &DrawRules) -> ServiceRows {
    let (gone, kept): (Vec<&PendingRow>, Vec<&PendingRow>) = pending.iter().partition(|row| row.is_gone);
    // New rows lie below those that are there.
    let new = kept.iter().filter(|row| row.is_new && row.draft.period_type == PeriodType::Daily);
    ServiceRows {
        service: pending[0].service,
        stored: new.map(|row| row.draft.period.next()).max().map(|from| (from, from)),
        reason: pending.iter().map(|row| row.reason).max().unwrap_or(Reason::Late),
        gone: gone.iter().map(|row| (row.draft.period_type, row.draft.period)).collect(),
        rows: kept.iter().map(|row| (row.draft, rules.fate(&row.draft, row.is_new))).collect(),
    }
}

/// A month as people write it.
fn name(month: Day) -> String {
    month.date().format("%Y-%m").to_string()
}
