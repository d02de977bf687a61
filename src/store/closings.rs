//! From when on any row of a period may be closed: until then, no row of it needs to be looked at for the history.

use std::collections::HashSet;

use super::Result;
use super::db::{Insert, Shown, Transaction};
use super::rows::RowToWrite;
use crate::model::{Day, Instant, PeriodType, RowState};

/// The closing of a period of which some row is closed, whatever the clock says later.
const LONG_AGO: Instant = Instant::from_seconds(0);

/// Notes the closings of periods in which these rows, sorted by period, are new.
pub(super) async fn note(transaction: &mut Transaction, rows: &[RowToWrite<'_>]) -> Result<()> {
    static CLOSINGS: Insert = Insert::new(
        "first_closings AS stored",
        &["period_type", "period", "closes_at"],
        "ON CONFLICT (period_type, period) DO UPDATE SET closes_at = excluded.closes_at
         WHERE excluded.closes_at < stored.closes_at",
    );
    let period = |row: &RowToWrite| (row.draft.period_type, row.draft.period);
    let closing = |row: &RowToWrite| match row.fate.state {
        RowState::Open | RowState::Settling => row.fate.closes_at,
        _ => LONG_AGO,
    };
    let first = |rows: &[RowToWrite]| {
        let closes_at = rows.iter().filter(|row| row.fate.is_new).map(closing).min()?;
        Some((period(&rows[0]), closes_at))
    };
    let closings: Vec<((PeriodType, Day), Instant)> =
        rows.chunk_by(|a, b| period(a) == period(b)).filter_map(first).collect();
    CLOSINGS
        .all(transaction, &closings, |values, ((period_type, period), closes_at)| {
            values.push(period_type.name()).push(period.to_string()).push(*closes_at);
        })
        .await
}

/// Notes that rows which were to close by now are closed.
pub(super) async fn pass(transaction: &mut Transaction, now: Instant) -> Result<()> {
    let pass = "UPDATE first_closings SET closes_at = $1 WHERE closes_at <= $2 AND closes_at > $1";
    transaction.sql(pass).bind(LONG_AGO).bind(now).execute().await.map(|_| ())
}

/// The periods of which no row is closed at an instant.
pub(super) async fn unclosed(transaction: &mut Transaction, at: Instant) -> Result<HashSet<(PeriodType, Day)>> {
    let unclosed = transaction.sql("SELECT period_type, period FROM first_closings WHERE closes_at > $1");
    let mut periods = HashSet::new();
    for row in unclosed.bind(Shown::from(at)).all().await? {
        periods.insert((row.parsed("period_type")?, row.parsed("period")?));
    }
    Ok(periods)
}
