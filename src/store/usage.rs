//! Reading ServiceUsage rows.

use futures_util::{Stream, StreamExt as _};
use uuid::Uuid;

use super::db::{ByDialect, Guids, Row, Shown};
use super::{Result, Store, StoreError};
use crate::model::{Day, IdentityHash, Numbers, PeriodType, RowState, UsageRow};

/// Whether a month is locked.
macro_rules! is_locked {
    ($month:literal) => {
        concat!("EXISTS (SELECT 1 FROM period_locks WHERE month = ", $month, " AND unlocked_commit IS NULL)")
    };
}
pub(super) use is_locked;

/// Whether a month was locked after a commit.
macro_rules! was_locked {
    ($month:literal, $commit:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM period_locks WHERE month = ",
            $month,
            " AND locked_commit <= ",
            $commit,
            " AND (unlocked_commit IS NULL OR unlocked_commit > ",
            $commit,
            "))"
        )
    };
}

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
        let read = async || {
            let row = self.db.readers.sql(concat!(
                "SELECT *, ",
                is_locked!("$4"),
                " AS is_locked
                 FROM service_usage WHERE service_guid = $1 AND period_type = $2 AND period = $3"
            ));
            let row = row.bind(Shown::from(service)).bind(period_type.name()).bind(period.to_string());
            row.bind(period.month().to_string()).optional().await?.as_ref().map(lockable_row).transpose()
        };
        self.recent.rows.answer(&self.db, (service, period_type, period), read).await
    }

    /// One row as it stood after a commit ([`Store::commit_as_of`]). None where there was none, and where it was not closed
    /// then and has changed since: such versions are not kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage_row_as_of(
        &self,
        service: Uuid,
        period_type: PeriodType,
        period: Day,
        commit: i64,
    ) -> Result<Option<UsageRow>> {
        let row = self.db.readers.sql(concat!(
            "SELECT *, ",
            was_locked!("$5", "$4"),
            " AS is_locked
             FROM usage_versions WHERE service_guid = $1 AND period_type = $2 AND period = $3
                 AND since <= $4 AND until > $4"
        ));
        let row = row.bind(Shown::from(service)).bind(period_type.name()).bind(period.to_string());
        row.bind(commit).bind(period.month().to_string()).optional().await?.as_ref().map(lockable_row).transpose()
    }

    /// Whether a month was locked after a commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn was_locked(&self, month: Day, commit: i64) -> Result<bool> {
        let locked = self.db.readers.sql(concat!("SELECT ", was_locked!("$1", "$2")));
        locked.bind(month.to_string()).bind(commit).value().await
    }

    /// The rows of a period with the most messages, most first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn busiest_services(&self, period_type: PeriodType, period: Day, limit: i64) -> Result<Vec<UsageRow>> {
        let busiest = self.db.readers.sql(
            "SELECT * FROM service_usage WHERE period_type = $1 AND period = $2
             ORDER BY total_message_count DESC, service_guid LIMIT $3",
        );
        let rows = busiest.bind(period_type.name()).bind(period.to_string()).bind(limit).all().await?;
        rows.iter().map(usage_row).collect()
    }

    /// The rows of a filter, by service, then period, as one snapshot: as they are, or as they stood after a commit
    /// ([`Store::commit_as_of`]). Those that were not closed then and have changed since are not among them: such versions are not
    /// kept.
    pub fn usage_rows<'s>(
        &'s self,
        filter: &'s RowFilter,
        as_of: Option<i64>,
    ) -> impl Stream<Item = Result<UsageRow>> + use<'s> {
        let from = filter.from.map(|from| filter.period_type.period_of(from).to_string());
        let rows = self.db.exports.sql(if as_of.is_some() { &AS_OF } else { &BY_SERVICE });
        let rows = rows
            .bind(filter.period_type.name())
            .bind(from)
            .bind(filter.period_type.period_of(filter.to).to_string())
            .bind(filter.services.is_empty())
            .bind(Guids::from(filter.services.as_slice()));
        let rows = if let Some(commit) = as_of { rows.bind(commit) } else { rows };
        rows.stream().map(|row| usage_row(&row?))
    }
}

/// In SQLite rows are kept by period, and looked up one by one: at the services' pace the walk is at one place of each period,
/// so no page is read twice, and none is sorted but the rows of one service. PostgreSQL has an index in this order.
static BY_SERVICE: ByDialect = ByDialect {
    sqlite: "WITH RECURSIVE periods (period) AS MATERIALIZED (
                 SELECT min(period) FROM service_usage WHERE period_type = $1 AND period >= coalesce($2, '')
                 UNION ALL
                 SELECT (SELECT min(period) FROM service_usage WHERE period_type = $1 AND period > periods.period)
                 FROM periods WHERE period < $3),
             wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($5))
             SELECT u.* FROM service_progress s CROSS JOIN periods p CROSS JOIN service_usage u
             ON u.period_type = $1 AND u.period = p.period AND u.service_guid = lower(hex(s.service_guid))
             WHERE p.period <= $3 AND ($4 OR s.service_guid IN (SELECT substr($5, at, 16) FROM wanted))
             ORDER BY s.service_guid, p.period",
    postgres: "SELECT * FROM service_usage
               WHERE period_type = $1 AND period BETWEEN coalesce($2, '') AND $3 AND ($4 OR service_guid = ANY ($5))
               ORDER BY service_guid, period",
};

/// One statement, so that no row is missed which is replaced meanwhile.
static AS_OF: ByDialect = ByDialect {
    sqlite: "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($5))
             SELECT * FROM usage_versions
             WHERE period_type = $1 AND period BETWEEN coalesce($2, '') AND $3
                 AND ($4 OR service_guid IN (SELECT lower(hex(substr($5, at, 16))) FROM wanted))
                 AND since <= $6 AND until > $6
             ORDER BY service_guid, period",
    postgres: "SELECT * FROM usage_versions
               WHERE period_type = $1 AND period BETWEEN coalesce($2, '') AND $3 AND ($4 OR service_guid = ANY ($5))
                   AND since <= $6 AND until > $6
               ORDER BY service_guid, period",
};

/// With whether its month is locked, which no change is stored for in the row.
pub(super) fn lockable_row(row: &Row) -> Result<UsageRow> {
    let unlocked = usage_row(row)?;
    let is_locked = row.get("is_locked")?;
    Ok(if is_locked { unlocked.locked() } else { unlocked })
}

/// Columns are found by their place in the table: an export has many rows, and names cost as much as values.
pub(super) fn usage_row(row: &Row) -> Result<UsageRow> {
    let mut numbers = Numbers::default();
    for (number, place) in numbers.0.iter_mut().zip(3..) {
        *number = row.get::<i64>(place)?;
    }
    let digest: &[u8] = row.get(17)?;
    let state = row.get(20)?;
    Ok(UsageRow {
        service: row.shown_guid(0)?,
        period_type: row.parsed(1)?,
        period: row.parsed(2)?,
        numbers,
        event_count: row.get(16)?,
        input_digest: IdentityHash(u128::from_be_bytes(digest.try_into().map_err(StoreError::inconsistent)?)),
        clamped: row.get(18)?,
        revision: row.get(19)?,
        state: RowState::from_name(state).ok_or_else(|| StoreError::inconsistent(format!("the state {state}")))?,
        computed_at: row.get(21)?,
        closes_at: row.get(22)?,
    })
}
