//! Backfill: a range of days is recomputed from the event log, and all rows from there on are drawn anew.

use uuid::Uuid;

use super::rollup::{RollupReport, rollup_leased};
use super::{Installation, Run};
use crate::model::{Day, Instant};
use crate::store::Lease;

/// Recomputes the days of the reporting zone from `from` through `to`, of these services or of all where none are named. Rows
/// that come out as they are keep their revision, so doing it twice changes nothing (`spec/usage.md`, law 6).
///
/// What is to be recomputed is noted first: where a run is cut short, the next rollup goes on.
///
/// # Errors
/// When the lease can't be had, the store fails, a segment can't be read, or the run was interrupted.
pub async fn backfill(
    installation: &Installation,
    run: &Run,
    from: Day,
    to: Day,
    services: &[Uuid],
) -> anyhow::Result<RollupReport> {
    let lease = installation.begin(run).await?;
    let done = backfill_leased(installation, run, &lease, from, to, services).await;
    installation.end(&lease, done).await
}

async fn backfill_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    from: Day,
    to: Day,
    services: &[Uuid],
) -> anyhow::Result<RollupReport> {
    let zone = installation.config.reporting.timezone;
    let first = Day::utc_of(zone.start_of(from));
    let last = Day::utc_of(Instant::from_nanos(zone.start_of(to.next()).nanos() - 1));
    installation.store.mark_for_backfill(lease, first, last, from, services).await?;
    rollup_leased(installation, run, lease).await
}
