//! Backfill: a range of days is recomputed from the event log, and all rows from there on are drawn anew.

use thiserror::Error;
use uuid::Uuid;

use super::plan::{BackfillPlan, plan};
use super::rollup::{RollupReport, rollup_leased};
use super::{Installation, Run};
use crate::model::{Day, Instant, Zone};
use crate::store::Lease;

#[derive(Debug, Error)]
#[error(
    "the plan has changed: it is {found} now, and {rows} rows would change; nothing was written, look at it again with --plan"
)]
pub struct PlanChanged {
    pub found: String,
    pub rows: usize,
}

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
    let lease = installation.begin(run, "backfill").await?;
    let done = Box::pin(backfill_leased(installation, run, &lease, from, to, services)).await;
    installation.end(&lease, done).await
}

/// The same, if it would do what this plan says ([`plan_backfill`]).
///
/// # Errors
/// As [`backfill`], and when the plan has changed.
pub async fn backfill_as_planned(
    installation: &Installation,
    run: &Run,
    from: Day,
    to: Day,
    services: &[Uuid],
    digest: &str,
) -> anyhow::Result<RollupReport> {
    let lease = installation.begin(run, "backfill").await?;
    let done = Box::pin(async {
        let plan = plan(installation, run, from, to, services).await?;
        let (found, rows) = (plan.digest(), plan.rows.len());
        if found != digest {
            return Err(PlanChanged { found, rows }.into());
        }
        backfill_leased(installation, run, &lease, from, to, services).await
    });
    installation.end(&lease, done.await).await
}

/// What a backfill would change. It writes nothing; the lease is held, so that nothing moves meanwhile.
///
/// # Errors
/// When the lease can't be had, the store fails, a segment can't be read, or the run was interrupted.
pub async fn plan_backfill(
    installation: &Installation,
    run: &Run,
    from: Day,
    to: Day,
    services: &[Uuid],
) -> anyhow::Result<BackfillPlan> {
    let _lease = installation.lease(run).await?;
    plan(installation, run, from, to, services).await
}

/// The UTC days that days of the reporting zone lie in.
pub(super) fn utc_days(zone: Zone, from: Day, to: Day) -> (Day, Day) {
    let last = Instant::from_nanos(zone.start_of(to.next()).nanos() - 1);
    (Day::utc_of(zone.start_of(from)), Day::utc_of(last))
}

async fn backfill_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    from: Day,
    to: Day,
    services: &[Uuid],
) -> anyhow::Result<RollupReport> {
    let (first, last) = utc_days(installation.config.reporting.timezone, from, to);
    installation.store.mark_for_backfill(lease, first, last, from, services).await?;
    rollup_leased(installation, run, lease).await
}
