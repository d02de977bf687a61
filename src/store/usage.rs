//! Reading ServiceUsage rows.

use futures_util::{Stream, StreamExt as _};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::{Result, Store, StoreError};
use crate::model::{Day, IdentityHash, Instant, Numbers, PeriodType, RowState, UsageRow};

/// Which rows are wanted; both ends are included.
#[derive(Clone, Debug)]
pub struct RowFilter {
    pub period_type: PeriodType,
    pub from: Option<Day>,
    pub to: Day,
    /// All services where empty.
    pub services: Vec<Uuid>,
}

impl Store {
    /// One row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage_row(&self, service: Uuid, period_type: PeriodType, period: Day) -> Result<Option<UsageRow>> {
        let row =
            sqlx::query("SELECT * FROM service_usage WHERE service_guid = $1 AND period_type = $2 AND period = $3")
                .bind(service.simple().to_string())
                .bind(period_type.name())
                .bind(period.to_string())
                .fetch_optional(&self.readers)
                .await?;
        row.as_ref().map(usage_row).transpose()
    }

    /// The rows of a period with the most messages, most first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn busiest_services(&self, period_type: PeriodType, period: Day, limit: i64) -> Result<Vec<UsageRow>> {
        let rows = sqlx::query(
            "SELECT * FROM service_usage WHERE period_type = $1 AND period = $2
             ORDER BY total_message_count DESC, service_guid LIMIT $3",
        )
        .bind(period_type.name())
        .bind(period.to_string())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(usage_row).collect()
    }

    /// The rows of a filter, by service, then period, as one snapshot. They are kept by period, and looked up one by one: at
    /// the services' pace the walk is at one place of each period, so no page is read twice, and none is sorted but the rows
    /// of one service.
    pub fn usage_rows(&self, filter: &RowFilter) -> impl Stream<Item = Result<UsageRow>> + use<'_> {
        let guids: Vec<String> = filter.services.iter().map(|guid| guid.simple().to_string()).collect();
        let guids = (!guids.is_empty()).then(|| serde_json::to_string(&guids).unwrap_or_default());
        let from = filter.from.map(|from| filter.period_type.period_of(from).to_string());
        sqlx::query(
            "WITH RECURSIVE periods (period) AS MATERIALIZED (
                 SELECT min(period) FROM service_usage WHERE period_type = $1 AND period >= coalesce($2, '')
                 UNION ALL
                 SELECT (SELECT min(period) FROM service_usage WHERE period_type = $1 AND period > periods.period)
                 FROM periods WHERE period < $3)
             SELECT u.* FROM service_progress s CROSS JOIN periods p CROSS JOIN service_usage u
             ON u.period_type = $1 AND u.period = p.period AND u.service_guid = lower(hex(s.service_guid))
             WHERE p.period <= $3 AND ($4 IS NULL OR s.service_guid IN (SELECT unhex(value) FROM json_each($4)))
             ORDER BY s.service_guid, p.period",
        )
        .bind(filter.period_type.name())
        .bind(from)
        .bind(filter.period_type.period_of(filter.to).to_string())
        .bind(guids)
        .fetch(&self.readers)
        .map(|row| usage_row(&row?))
    }
}

/// Columns are found by their place in the table: an export has many rows, and names cost as much as values.
fn usage_row(row: &SqliteRow) -> Result<UsageRow> {
    let text = |place: usize| row.try_get::<&str, _>(place);
    let instant = |place| Instant::parse_rfc3339(text(place)?).ok_or_else(|| StoreError::inconsistent("an instant"));
    let mut numbers = Numbers::default();
    for (number, place) in numbers.0.iter_mut().zip(3..) {
        *number = row.try_get::<i64, usize>(place)?;
    }
    let digest: &[u8] = row.try_get(17)?;
    let state = text(20)?;
    Ok(UsageRow {
        service: Uuid::try_parse(text(0)?).map_err(StoreError::inconsistent)?,
        period_type: text(1)?.parse().map_err(StoreError::Inconsistent)?,
        period: text(2)?.parse().map_err(StoreError::Inconsistent)?,
        numbers,
        event_count: row.try_get(16)?,
        input_digest: IdentityHash(u128::from_be_bytes(digest.try_into().map_err(StoreError::inconsistent)?)),
        clamped: row.try_get(18)?,
        revision: row.try_get(19)?,
        state: RowState::from_name(state).ok_or_else(|| StoreError::inconsistent(format!("the state {state}")))?,
        computed_at: instant(21)?,
        closes_at: instant(22)?,
    })
}
