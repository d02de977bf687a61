//! Close: a day or a month has ended and settled. What has arrived is rolled up, so that its rows are those of all events so far,
//! and they are counted: the run's row tells when the books of a period could be closed, and over how much.

use std::time::Duration;

use serde::Serialize;

use super::rollup::rollup_leased;
use super::{Installation, Run};
use crate::model::{Day, Instant, PeriodType};
use crate::store::Lease;

/// The rows of most job runs are kept for so long, and longer where the history of rows refers to them.
const RUNS_KEPT: Duration = Duration::from_hours(14 * 24);

/// What a close came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CloseReport {
    /// Rows of the period.
    pub rows: u64,
    /// Those of them that have not settled yet, for they have appeared only lately.
    pub unsettled: u64,
    /// Rows that were written before, of any period.
    pub rows_written: u64,
}

/// Closes the period that begins on this day.
///
/// # Errors
/// When the lease can't be had, the run's own period is done already, rolling up or the store fails, or the run was interrupted.
pub async fn close_period(
    installation: &Installation,
    run: &Run,
    period_type: PeriodType,
    period: Day,
) -> anyhow::Result<CloseReport> {
    let job = match period_type {
        PeriodType::Daily => "day-close",
        PeriodType::Monthly => "month-close",
    };
    let lease = installation.begin(run, job).await?;
    let done = Box::pin(close_leased(installation, run, &lease, period_type, period)).await;
    installation.end(&lease, done).await
}

async fn close_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    period_type: PeriodType,
    period: Day,
) -> anyhow::Result<CloseReport> {
    let rolled_up = rollup_leased(installation, run, lease).await?;
    let (store, now) = (&installation.store, installation.now());
    let found = store.period_rows(period_type, period, now).await?;
    let kept = i64::try_from(RUNS_KEPT.as_nanos()).unwrap_or(i64::MAX);
    store.forget_runs(lease, Instant::from_nanos(now.nanos().saturating_sub(kept))).await?;
    Ok(CloseReport { rows: found.rows, unsettled: found.unsettled, rows_written: rolled_up.rows_written })
}
